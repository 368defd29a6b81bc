/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Strict number parsing, see mb-parse.h.  Written by hand because strtoull()
 * takes blanks, signs and the locale.
 */
#include <config.h>

#include "mb-parse.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "mb-overflow.h"

int
mb_digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Digits of base at *s, at least one; *s is moved behind them. */
static int
parse_digits(const char **s, unsigned base, uint64_t *out)
{
    const char *p = *s;
    uint64_t v = 0;

    if (mb_digit_value(*p) >= (int)base)
        return -EINVAL;
    for (; mb_digit_value(*p) < (int)base; p++) {
        if (MB_MUL_OVERFLOW(v, base, &v) || MB_ADD_OVERFLOW(v, (unsigned)mb_digit_value(*p), &v))
            return -ERANGE;
    }
    *s = p;
    *out = v;
    return 0;
}

int
mb_parse_u64(const char *s, uint64_t *out)
{
    bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    uint64_t v;
    int r;

    if (hex)
        s += 2;
    r = parse_digits(&s, hex ? 16 : 10, &v);
    if (r < 0)
        return r;
    if (*s)
        return -EINVAL;
    *out = v;
    return 0;
}

int
mb_parse_u32(const char *s, uint32_t *out)
{
    uint64_t v;
    int r = mb_parse_u64(s, &v);

    if (r < 0)
        return r;
    if (v > UINT32_MAX)
        return -ERANGE;
    *out = (uint32_t)v;
    return 0;
}

int
mb_parse_bool(const char *s, bool *out)
{
    static const char *const words[][2] = {{"off", "on"}, {"no", "yes"}, {"false", "true"}, {"0", "1"}};
    unsigned i, value;

    for (i = 0; i < MB_ARRAY_SIZE(words); i++) {
        for (value = 0; value < 2; value++) {
            if (strcmp(s, words[i][value]) == 0) {
                *out = value;
                return 0;
            }
        }
    }
    return -EINVAL;
}

int
mb_parse_size(const char *s, uint64_t *out)
{
    static const char units[] = "kmgtpe";
    unsigned shift = 0;
    uint64_t v;
    int r;

    r = parse_digits(&s, 10, &v);
    if (r < 0)
        return r;
    if (*s) {
        const char *unit = strchr(units, *s | 0x20);

        if (!unit)
            return -EINVAL;
        shift = 10 * (unsigned)(unit - units + 1);
        s++;
        if (*s && strcasecmp(s, "i") != 0 && strcasecmp(s, "b") != 0 && strcasecmp(s, "ib") != 0)
            return -EINVAL;
    }
    if (shift && v > UINT64_MAX >> shift)
        return -ERANGE;
    *out = v << shift;
    return 0;
}

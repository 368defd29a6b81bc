/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sizes and durations as people write them: a decimal number, at most one
 * fraction, a unit.  All arithmetic is on integers and checked.
 */
#include <config.h>

#include <string.h>

#include "msb-config.h"
#include "msb-error.h"

#define FRACTION_DIGITS 9

typedef struct {
    const char *suffix;
    guint64 factor;
} Unit;

static const Unit size_units[] = {
    { "", 1 << 20 },
    { "k", 1 << 10 }, { "kib", 1 << 10 },
    { "m", 1 << 20 }, { "mib", 1 << 20 },
    { "g", 1 << 30 }, { "gib", 1 << 30 },
    { "t", G_GUINT64_CONSTANT(1) << 40 }, { "tib", G_GUINT64_CONSTANT(1) << 40 },
    { NULL, 0 },
};

static const Unit duration_units[] = {
    { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 },
    { "d", G_GUINT64_CONSTANT(86400) * 1000 },
    { NULL, 0 },
};

/* Digits at *p as a number; FALSE if there are none or it overflows. */
static gboolean
take_digits(const char **p, guint64 *value)
{
    const char *start = *p;

    *value = 0;
    for (; g_ascii_isdigit(**p); (*p)++) {
        if (!g_uint64_checked_mul(value, *value, 10) ||
            !g_uint64_checked_add(value, *value, (guint64)(**p - '0')))
            return FALSE;
    }
    return *p > start;
}

/* ".25" at *p as billionths; nothing there is 0. Digits beyond the ninth must be zero. */
static gboolean
take_fraction(const char **p, guint64 *billionths)
{
    int digits = 0;

    *billionths = 0;
    if (**p != '.')
        return TRUE;
    for ((*p)++; g_ascii_isdigit(**p); (*p)++, digits++) {
        if (digits < FRACTION_DIGITS)
            *billionths = *billionths * 10 + (guint64)(**p - '0');
        else if (**p != '0')
            return FALSE;
    }
    if (digits == 0)
        return FALSE;
    for (; digits < FRACTION_DIGITS; digits++)
        *billionths *= 10;
    return TRUE;
}

static const Unit *
find_unit(const Unit *units, const char *suffix)
{
    for (; units->suffix; units++) {
        if (g_ascii_strcasecmp(units->suffix, suffix) == 0)
            return units;
    }
    return NULL;
}

/* value = (whole + billionths / 1e9) * factor, rounded down; FALSE if it is over G_MAXINT64. */
static gboolean
scale(guint64 whole, guint64 billionths, guint64 factor, guint64 *value)
{
    const guint64 billion = G_GUINT64_CONSTANT(1000000000);
    /* billionths is below 2^30 and factor at most 2^40: their product needs up to 70 bits. */
    guint64 part = (guint64)((unsigned __int128)billionths * factor / billion);

    return g_uint64_checked_mul(value, whole, factor) && g_uint64_checked_add(value, *value, part) &&
           *value <= G_MAXINT64;
}

static gboolean
parse_scaled(const char *text, const Unit *units, const char *what, const char *example, guint64 *value,
             GError **error)
{
    const char *p = text;
    guint64 whole, billionths;
    const Unit *unit;

    if (!take_digits(&p, &whole) || !take_fraction(&p, &billionths))
        return msb_error_set(error, MSB_ERROR_INVALID, "'%s' is not a %s; write for example %s", text, what, example);
    unit = find_unit(units, p);
    if (!unit)
        return msb_error_set(error, MSB_ERROR_INVALID, "'%s' is not a %s: unit '%s' is not known; write for example %s",
                             text, what, p, example);
    if (!scale(whole, billionths, unit->factor, value))
        return msb_error_set(error, MSB_ERROR_INVALID, "%s '%s' is too large", what, text);
    return TRUE;
}

gboolean
msb_parse_size(const char *text, guint64 *bytes, GError **error)
{
    return parse_scaled(text, size_units, "size", "512, 512M or 1.5G", bytes, error);
}

gboolean
msb_parse_duration(const char *text, guint64 *ms, GError **error)
{
    return parse_scaled(text, duration_units, "duration", "30, 500ms, 10s, 5m or 2h", ms, error);
}

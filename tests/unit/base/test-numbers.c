/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mb-overflow.h, mb-endian.h, mb-parse.h. */
#include <config.h>

#include <errno.h>

#include "mb-endian.h"
#include "mb-overflow.h"
#include "mb-parse.h"
#include "tap.h"

static void
test_overflow(void)
{
    uint64_t r = 0;
    uint16_t small = 0;

    ok(!MB_ADD_OVERFLOW(UINT64_MAX - 1, 1, &r) && r == UINT64_MAX, "the largest sum");
    ok(MB_ADD_OVERFLOW(UINT64_MAX, 1, &r), "a sum that does not fit");
    ok(MB_ADD_OVERFLOW(65535, 1, &small), "nor in the result's type");
    ok(MB_SUB_OVERFLOW(1u, 2u, &r), "a difference below zero");
    ok(MB_MUL_OVERFLOW(UINT64_C(1) << 32, UINT64_C(1) << 32, &r), "a product that does not fit");
    ok(mb_range_within(0, 10, 10) && mb_range_within(10, 0, 10), "ranges within");
    ok(!mb_range_within(1, 10, 10) && !mb_range_within(11, 0, 10), "ranges not within");
    ok(!mb_range_within(UINT64_MAX, 2, 10) && !mb_range_within(2, UINT64_MAX, 10), "ranges that wrap");
    ok(mb_ranges_overlap(0, 10, 9, 1) && mb_ranges_overlap(9, 1, 0, 10), "ranges that share a byte");
    ok(!mb_ranges_overlap(0, 10, 10, 5) && !mb_ranges_overlap(5, 0, 0, 10), "ranges that share none");
    ok(mb_is_power_of_2(1) && mb_is_power_of_2(UINT64_C(1) << 63) && !mb_is_power_of_2(0) &&
           !mb_is_power_of_2(6),
       "powers of two");
    ok(mb_round_up(1, 4096, &r) && r == 4096 && mb_round_up(4096, 4096, &r) && r == 4096, "rounding up");
    ok(!mb_round_up(UINT64_MAX, 4096, &r), "rounding up that wraps");
}

static void
test_endian(void)
{
    uint8_t b[9] = {0xff, 1, 2, 3, 4, 5, 6, 7, 8}, w[9] = {0};

    eq_int(mb_get_le16(b + 1), 0x0201, "le16");
    eq_int(mb_get_be16(b + 1), 0x0102, "be16");
    eq_int(mb_get_le32(b + 1), 0x04030201, "le32");
    eq_int(mb_get_be32(b + 1), 0x01020304, "be32");
    eq_int(mb_get_le64(b + 1), INT64_C(0x0807060504030201), "le64");
    eq_int(mb_get_be64(b + 1), INT64_C(0x0102030405060708), "be64");
    mb_put_le64(w + 1, INT64_C(0x0807060504030201));
    eq_int(memcmp(w + 1, b + 1, 8), 0, "le64 stored unaligned");
    mb_put_be32(w + 1, 0x01020304);
    eq_int(memcmp(w + 1, b + 1, 4), 0, "be32 stored unaligned");
}

struct number {
    const char *text;
    int result;
    uint64_t value;
};

static void
test_u64(void)
{
    static const struct number cases[] = {
        {"0", 0, 0},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"99999999999999999999999", -ERANGE, 0},
        {"0xffffffffffffffff", 0, UINT64_MAX},
        {"0x1ffffffffffffffff", -ERANGE, 0},
        {"0x10000000000000000", -ERANGE, 0},
        {"0xAb", 0, 0xab},
        {"", -EINVAL, 0},
        {"0x", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1a", -EINVAL, 0},
        {"010", 0, 10},
    };
    unsigned i;

    for (i = 0; i < MB_ARRAY_SIZE(cases); i++) {
        uint64_t v = 77;
        int r = mb_parse_u64(cases[i].text, &v);

        ok(r == cases[i].result && v == (r ? 77 : cases[i].value), "number '%s'", cases[i].text);
    }
}

static void
test_size(void)
{
    static const struct number cases[] = {
        {"0", 0, 0},
        {"512", 0, 512},
        {"4K", 0, 4096},
        {"4k", 0, 4096},
        {"1KiB", 0, 1024},
        {"1kb", 0, 1024},
        {"2Mi", 0, 2u << 20},
        {"3G", 0, UINT64_C(3) << 30},
        {"1T", 0, UINT64_C(1) << 40},
        {"1P", 0, UINT64_C(1) << 50},
        {"15E", 0, UINT64_C(15) << 60},
        {"16E", -ERANGE, 0},
        {"18446744073709551615K", -ERANGE, 0},
        {"K", -EINVAL, 0},
        {"4KK", -EINVAL, 0},
        {"4 K", -EINVAL, 0},
        {"4X", -EINVAL, 0},
        {"1.5G", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"4\x0b", -EINVAL, 0},
    };
    unsigned i;

    for (i = 0; i < MB_ARRAY_SIZE(cases); i++) {
        uint64_t v = 77;
        int r = mb_parse_size(cases[i].text, &v);

        ok(r == cases[i].result && v == (r ? 77 : cases[i].value), "size '%s'", cases[i].text);
    }
}

static void
test_others(void)
{
    uint32_t v = 0;
    bool b = false;

    ok(mb_parse_u32("4294967295", &v) == 0 && v == UINT32_MAX, "the largest 32-bit number");
    eq_int(mb_parse_u32("4294967296", &v), -ERANGE, "one too large");
    ok(mb_parse_bool("on", &b) == 0 && b, "on");
    ok(mb_parse_bool("false", &b) == 0 && !b, "false");
    ok(mb_parse_bool("1", &b) == 0 && b, "1");
    eq_int(mb_parse_bool("ON", &b), -EINVAL, "case matters");
    eq_int(mb_parse_bool("", &b), -EINVAL, "nothing is neither");
}

int
main(void)
{
    test_overflow();
    test_endian();
    test_u64();
    test_size();
    test_others();
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Typed fields: round trips, bounds, stickiness. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mp-codec.h"
#include "mp-frame.h"
#include "tap.h"

static void
test_round_trip(void)
{
    static const char *const list[] = { "one", "", "three", NULL };
    struct mp_enc e = { 0 };
    struct mp_dec d;
    const uint8_t *b;
    char **v, *s;
    size_t n;

    mp_enc_begin(&e, 1, 0, 0);
    mp_put_u8(&e, 0xfe);
    mp_put_u16(&e, 0x1234);
    mp_put_u32(&e, 0xdeadbeef);
    mp_put_u64(&e, UINT64_C(0x0123456789abcdef));
    mp_put_bytes(&e, "a\0b", 3);
    mp_put_str(&e, "text");
    mp_put_str(&e, NULL);
    mp_put_strv(&e, list);
    mp_put_strv(&e, NULL);
    eq_int(mp_enc_end(&e), 0, "encodes");

    mp_dec_init(&d, e.buf + MP_FRAME_HEADER_SIZE, e.len - MP_FRAME_HEADER_SIZE);
    eq_int(mp_get_u8(&d), 0xfe, "u8");
    eq_int(mp_get_u16(&d), 0x1234, "u16");
    eq_int(mp_get_u32(&d), 0xdeadbeef, "u32");
    ok(mp_get_u64(&d) == UINT64_C(0x0123456789abcdef), "u64");
    b = mp_get_bytes(&d, &n);
    ok(n == 3 && b && memcmp(b, "a\0b", 3) == 0, "bytes");
    s = mp_get_str(&d);
    eq_str(s, "text", "string");
    free(s);
    s = mp_get_str(&d);
    eq_str(s, "", "NULL travels as an empty string");
    free(s);
    v = mp_get_strv(&d, 3);
    ok(v && !strcmp(v[0], "one") && !strcmp(v[1], "") && !strcmp(v[2], "three") && !v[3], "list");
    mp_strv_free(v);
    v = mp_get_strv(&d, 0);
    ok(v && !v[0], "empty list");
    mp_strv_free(v);
    eq_int(mp_dec_end(&d), 0, "nothing left over");
    mp_enc_clear(&e);
}

static void
test_decode_errors(void)
{
    static const uint8_t nul[] = { 3, 0, 0, 0, 'a', 0, 'b' };
    static const uint8_t shorter[] = { 4, 0, 0, 0, 'a', 'b', 'c' };
    static const uint8_t huge[] = { 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 'a' };
    static const uint8_t many[] = { 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    struct mp_dec d;

    mp_dec_init(&d, nul, sizeof(nul));
    ok(!mp_get_str(&d), "a NUL inside a string is refused");
    eq_int(mp_dec_end(&d), -EPROTO, "and told at the end");
    mp_dec_init(&d, shorter, sizeof(shorter));
    ok(!mp_get_str(&d), "a string longer than the payload is refused");
    eq_int(mp_get_u8(&d), 0, "after an error nothing is read");
    eq_int(mp_dec_end(&d), -EPROTO, "the error stays");
    mp_dec_init(&d, huge, sizeof(huge));
    ok(!mp_get_strv(&d, UINT32_MAX), "a count that the payload cannot hold is refused");
    mp_dec_init(&d, many, sizeof(many));
    ok(!mp_get_strv(&d, 1), "a list longer than the caller's maximum is refused");
    mp_dec_init(&d, many, sizeof(many));
    (void)mp_get_u32(&d);
    eq_int(mp_dec_end(&d), -EPROTO, "bytes left over are an error");
    mp_dec_init(&d, NULL, 0);
    eq_int(mp_get_u64(&d), 0, "an empty payload has no u64");
    eq_int(mp_dec_end(&d), -EPROTO, "which is an error");
}

static void
test_too_long(void)
{
    static uint8_t big[MP_FRAME_MAX_PAYLOAD];
    struct mp_enc e = { 0 };
    size_t len;

    mp_enc_begin(&e, 5, 0, 0);
    eq_int(mp_enc_end(&e), 0, "an empty frame");
    len = e.len;
    mp_enc_begin(&e, 6, 0, 0);
    mp_put_bytes(&e, big, sizeof(big));
    mp_put_u8(&e, 1);
    eq_int(mp_enc_end(&e), -EMSGSIZE, "a payload above the maximum is told");
    eq_int(e.len, len, "and the frame is taken back");
    mp_enc_begin(&e, 7, 0, 0);
    mp_put_u8(&e, 1);
    eq_int(mp_enc_end(&e), 0, "the next one is good again");
    eq_int(e.len, len + MP_FRAME_HEADER_SIZE + 1, "and stands behind the first");
    mp_enc_clear(&e);
}

int
main(void)
{
    test_round_trip();
    test_decode_errors();
    test_too_long();
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frame header and reader: any cut of the stream, bounds, garbage. */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "mp-codec.h"
#include "mp-frame.h"
#include "tap.h"

/* Give the reader n bytes, at most step at a time; count the frames that come out
 * and check that frame i has type i and i * 1000 bytes of value i. */
static int
feed(struct mp_reader *r, const uint8_t *p, size_t n, size_t step, unsigned *frames)
{
    struct mp_header h;
    const uint8_t *payload;
    int got = 0;

    while (n > 0) {
        size_t space = 0, k;
        uint8_t *to = mp_reader_space(r, &space);

        if (!to || space == 0)
            return -ENOMEM;
        k = MB_MIN(MB_MIN(space, step), n);
        memcpy(to, p, k);
        mp_reader_added(r, k);
        p += k;
        n -= k;
        while ((got = mp_reader_next(r, &h, &payload)) == 1) {
            if (h.type != *frames || h.length != *frames * 1000 || h.session != *frames + 7)
                return -EINVAL;
            for (uint32_t i = 0; i < h.length; i++) {
                if (payload[i] != (uint8_t)*frames)
                    return -EINVAL;
            }
            (*frames)++;
        }
        if (got < 0)
            return got;
    }
    return 0;
}

static void
test_header(void)
{
    static const uint8_t wire[] = { 4, 3, 2, 0, 8, 7, 6, 5, 0x22, 0x11, 0x44, 0x33 };
    struct mp_header h = { .length = 0x020304, .session = 0x05060708, .type = 0x1122, .flags = 0x3344 };
    struct mp_header back;
    uint8_t out[MP_FRAME_HEADER_SIZE];

    mp_header_encode(&h, out);
    ok(memcmp(out, wire, sizeof(wire)) == 0, "header is little endian in the drawn order");
    eq_int(mp_header_decode(&back, out), 0, "header decodes");
    ok(back.length == h.length && back.session == h.session && back.type == h.type && back.flags == h.flags,
       "header comes back");
    h.length = MP_FRAME_MAX_PAYLOAD + 1;
    mp_header_encode(&h, out);
    eq_int(mp_header_decode(&back, out), -EPROTO, "length above the maximum is refused");
}

static void
test_reader(void)
{
    static const size_t steps[] = { 1, 3, 11, 12, 13, 4096, 100000, 1u << 20 };
    static const uint8_t zeroes[MP_FRAME_MAX_PAYLOAD];
    uint8_t chunk[1000];
    struct mp_enc e = { 0 };

    for (unsigned i = 0; i < 40; i++) {
        mp_enc_begin(&e, (uint16_t)i, i + 7, 0);
        memset(chunk, (int)i, sizeof(chunk));
        for (unsigned k = 0; k < i; k++)
            mp_put_raw(&e, chunk, sizeof(chunk));
        if (mp_enc_end(&e) < 0)
            ok(0, "encode frame %u", i);
    }
    for (size_t s = 0; s < MB_ARRAY_SIZE(steps); s++) {
        struct mp_reader r = { 0 };
        unsigned frames = 0;

        eq_int(feed(&r, e.buf, e.len, steps[s], &frames), 0, "stream is read");
        eq_int(frames, 40, "all frames come out");
        mp_reader_clear(&r);
    }

    e.len = 0;
    mp_enc_begin(&e, 1, 2, 3);
    mp_put_raw(&e, zeroes, sizeof(zeroes));
    eq_int(mp_enc_end(&e), 0, "a frame of the maximum size is made");
    {
        struct mp_reader r = { 0 };
        struct mp_header h;
        const uint8_t *payload;
        size_t space, done = 0;
        uint8_t *to;

        while (done < e.len && (to = mp_reader_space(&r, &space))) {
            space = MB_MIN(space, e.len - done);
            memcpy(to, e.buf + done, space);
            mp_reader_added(&r, space);
            done += space;
        }
        eq_int(done, e.len, "and fits into a reader");
        eq_int(mp_reader_next(&r, &h, &payload), 1, "and comes out");
        eq_int(h.length, MP_FRAME_MAX_PAYLOAD, "whole");
        mp_reader_clear(&r);
    }
    mp_enc_clear(&e);
}

static void
test_garbage(void)
{
    struct mp_reader r = { 0 };
    struct mp_header h;
    const uint8_t *payload;
    size_t space;
    uint8_t *to = mp_reader_space(&r, &space);

    memset(to, 0xff, 64);
    mp_reader_added(&r, 64);
    eq_int(mp_reader_next(&r, &h, &payload), -EPROTO, "garbage is told");
    eq_int(mp_reader_next(&r, &h, &payload), -EPROTO, "and told again");
    mp_reader_clear(&r);
    ok(r.buf == NULL, "cleared");
}

int
main(void)
{
    test_header();
    test_reader();
    test_garbage();
    return tap_done();
}

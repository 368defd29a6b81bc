/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The replay ring against a plain model of it. */
#include <config.h>

#include <string.h>

#include "sv-ring.h"

typedef struct {
    GByteArray *bytes;       /* what was replayed, */
    GByteArray *streams;     /* and which stream each byte is of */
} Replay;

static void
collect(guint8 stream, const guint8 *p, gsize n, gpointer data)
{
    Replay *replay = data;

    g_byte_array_append(replay->bytes, p, (guint)n);
    for (gsize i = 0; i < n; i++)
        g_byte_array_append(replay->streams, &stream, 1);
}

/* With large pieces: all but one whole record (4096 bytes and its header), which goes to make room, and the headers. */
#define LEAST_OF_LARGE (59 * 1024)

/* What comes back is the end of what went in, and enough of it. */
static void
check(const SvRing *ring, const GByteArray *bytes, const GByteArray *streams, gsize least)
{
    Replay replay = { g_byte_array_new(), g_byte_array_new() };
    gsize n;

    sv_ring_replay(ring, collect, &replay);
    n = replay.bytes->len;
    g_assert_cmpuint(n, <=, SV_RING_SIZE);
    g_assert_cmpuint(n, <=, bytes->len);
    g_assert_cmpuint(n, >=, MIN(least, bytes->len));
    if (n > 0) {
        g_assert_cmpmem(replay.bytes->data, n, bytes->data + bytes->len - n, n);
        g_assert_cmpmem(replay.streams->data, n, streams->data + streams->len - n, n);
    }
    g_byte_array_unref(replay.bytes);
    g_byte_array_unref(replay.streams);
}

static void
feed(SvRing *ring, GByteArray *bytes, GByteArray *streams, guint8 stream, gsize n)
{
    g_autofree guint8 *p = g_malloc(n + 1);

    for (gsize i = 0; i < n; i++) {
        p[i] = (guint8)g_test_rand_int();
        g_byte_array_append(streams, &stream, 1);
    }
    g_byte_array_append(bytes, p, (guint)n);
    sv_ring_add(ring, stream, p, n);
}

static void
test_sizes(gconstpointer data)
{
    const gsize *sizes = data;       /* largest piece, least that must come back */
    g_autoptr(SvRing) ring = sv_ring_new();
    GByteArray *bytes = g_byte_array_new();
    GByteArray *streams = g_byte_array_new();

    check(ring, bytes, streams, 0);
    for (int i = 0; i < 3000 && bytes->len < 3000000; i++) {
        feed(ring, bytes, streams, g_test_rand_bit() ? 1 : 2, (gsize)g_test_rand_int_range(0, (gint)sizes[0]));
        if (i % 50 == 0)
            check(ring, bytes, streams, sizes[1]);
    }
    check(ring, bytes, streams, sizes[1]);
    g_byte_array_unref(bytes);
    g_byte_array_unref(streams);
}

/* A program that writes byte by byte does not lose the ring to headers. */
static void
test_single_bytes(void)
{
    g_autoptr(SvRing) ring = sv_ring_new();
    GByteArray *bytes = g_byte_array_new();
    GByteArray *streams = g_byte_array_new();

    for (int i = 0; i < 200000; i++)
        feed(ring, bytes, streams, 1, 1);
    check(ring, bytes, streams, LEAST_OF_LARGE);
    g_byte_array_unref(bytes);
    g_byte_array_unref(streams);
}

int
main(int argc, char **argv)
{
    static const gsize tiny[] = { 3, 100 };
    static const gsize small[] = { 200, 32 * 1024 };
    static const gsize large[] = { 100000, LEAST_OF_LARGE };

    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/ring/tiny", tiny, test_sizes);
    g_test_add_data_func("/ring/small", small, test_sizes);
    g_test_add_data_func("/ring/large", large, test_sizes);
    g_test_add_func("/ring/single-bytes", test_single_bytes);
    return g_test_run();
}

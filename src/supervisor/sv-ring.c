/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Replay ring: see sv-ring.h.
 *
 * The ring holds records, each a header of three bytes (stream, u16 length) and
 * up to MAX_RECORD bytes; head is the offset of the oldest, used how many bytes
 * are taken, last that of the newest's header.  A small write to the same stream grows the
 * newest record, so that a program that writes byte by byte costs no headers.
 * The buffer doubles until it is SV_RING_SIZE; it is only ever grown while it
 * has not wrapped.
 */
#include <config.h>

#include <string.h>

#include "sv-ring.h"

#define RECORD_HEADER 3u
#define MAX_RECORD 4096u
#define FIRST_SIZE 4096u

struct SvRing {
    guint8 *buf;
    gsize size;             /* a power of two */
    gsize head;
    gsize used;
    gsize last;             /* offset of the newest record's header; valid when used > 0 */
};

SvRing *
sv_ring_new(void)
{
    return g_new0(SvRing, 1);
}

void
sv_ring_free(SvRing *ring)
{
    if (!ring)
        return;
    g_free(ring->buf);
    g_free(ring);
}

static guint8 *
at(const SvRing *ring, gsize offset)
{
    return &ring->buf[offset & (ring->size - 1)];
}

static guint
record_length(const SvRing *ring, gsize offset)
{
    return (guint)*at(ring, offset + 1) | (guint)*at(ring, offset + 2) << 8;
}

static void
set_record_length(SvRing *ring, gsize offset, guint length)
{
    *at(ring, offset + 1) = (guint8)length;
    *at(ring, offset + 2) = (guint8)(length >> 8);
}

static void
put(SvRing *ring, const guint8 *p, gsize n)
{
    gsize start = (ring->head + ring->used) & (ring->size - 1);
    gsize first = MIN(n, ring->size - start);

    memcpy(ring->buf + start, p, first);
    memcpy(ring->buf, p + first, n - first);
    ring->used += n;
}

/* Make room for n more bytes: grow while that is allowed, then drop the oldest. */
static void
make_room(SvRing *ring, gsize n)
{
    while (ring->size - ring->used < n && ring->size < SV_RING_SIZE) {
        /* Nothing was dropped so far, so the data begins at 0 and has not wrapped. */
        ring->size = ring->size ? ring->size * 2 : FIRST_SIZE;
        ring->buf = g_realloc(ring->buf, ring->size);
    }
    while (ring->size - ring->used < n) {
        gsize drop = RECORD_HEADER + record_length(ring, ring->head);

        ring->head = (ring->head + drop) & (ring->size - 1);
        ring->used -= drop;
    }
}

void
sv_ring_add(SvRing *ring, guint8 stream, const guint8 *p, gsize n)
{
    while (n > 0) {
        guint have = ring->used > 0 ? record_length(ring, ring->last) : MAX_RECORD;
        gsize take;

        if (have < MAX_RECORD && *at(ring, ring->last) == stream) {
            take = MIN(n, MAX_RECORD - have);
            make_room(ring, take);
            /* Its own record is only dropped when the ring is smaller than two of them. */
            set_record_length(ring, ring->last, have + (guint)take);
        } else {
            guint8 header[RECORD_HEADER] = { stream };

            take = MIN(n, MAX_RECORD);
            header[1] = (guint8)take;
            header[2] = (guint8)(take >> 8);
            make_room(ring, RECORD_HEADER + take);
            ring->last = (ring->head + ring->used) & (ring->size - 1);
            put(ring, header, sizeof(header));
        }
        put(ring, p, take);
        p += take;
        n -= take;
    }
}

void
sv_ring_replay(const SvRing *ring, SvRingFunc func, gpointer data)
{
    gsize done = 0;

    while (done < ring->used) {
        gsize offset = ring->head + done;
        guint length = record_length(ring, offset);
        gsize start = (offset + RECORD_HEADER) & (ring->size - 1);
        gsize first = MIN(length, ring->size - start);

        func(*at(ring, offset), ring->buf + start, first, data);
        if (length > first)
            func(*at(ring, offset), ring->buf, length - first, data);
        done += RECORD_HEADER + length;
    }
}

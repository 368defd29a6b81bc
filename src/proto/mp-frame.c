/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frame headers, and the reader that cuts a byte stream into frames.
 *
 * The reader's buffer holds consumed bytes up to pos and unread ones up to len.
 * It grows to what the frame at pos needs, never above one largest frame, so a
 * peer cannot make us allocate by announcing a length.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mp-frame.h"

#define READER_MIN 4096u
#define READER_MAX (MP_FRAME_HEADER_SIZE + MP_FRAME_MAX_PAYLOAD)

void
mp_header_encode(const struct mp_header *h, uint8_t out[MP_FRAME_HEADER_SIZE])
{
    uint32_t length = htole32(h->length);
    uint32_t session = htole32(h->session);
    uint16_t type = htole16(h->type);
    uint16_t flags = htole16(h->flags);

    memcpy(out, &length, 4);
    memcpy(out + 4, &session, 4);
    memcpy(out + 8, &type, 2);
    memcpy(out + 10, &flags, 2);
}

int
mp_header_decode(struct mp_header *h, const uint8_t in[MP_FRAME_HEADER_SIZE])
{
    uint32_t length, session;
    uint16_t type, flags;

    memcpy(&length, in, 4);
    memcpy(&session, in + 4, 4);
    memcpy(&type, in + 8, 2);
    memcpy(&flags, in + 10, 2);
    h->length = le32toh(length);
    h->session = le32toh(session);
    h->type = le16toh(type);
    h->flags = le16toh(flags);
    return h->length > MP_FRAME_MAX_PAYLOAD ? -EPROTO : 0;
}

void
mp_reader_clear(struct mp_reader *r)
{
    free(r->buf);
    memset(r, 0, sizeof(*r));
}

/* Bytes that the frame at the front of the buffer takes, as far as is known. */
static size_t
reader_need(const struct mp_reader *r)
{
    struct mp_header h;

    if (r->len < MP_FRAME_HEADER_SIZE || mp_header_decode(&h, r->buf) < 0)
        return MP_FRAME_HEADER_SIZE;
    return MP_FRAME_HEADER_SIZE + (size_t)h.length;
}

uint8_t *
mp_reader_space(struct mp_reader *r, size_t *space)
{
    size_t want;
    uint8_t *buf;

    if (r->pos > 0) {
        memmove(r->buf, r->buf + r->pos, r->len - r->pos);
        r->len -= r->pos;
        r->pos = 0;
    }
    want = MB_MAX(reader_need(r), READER_MIN);
    if (want <= r->len)
        want = READER_MAX;
    if (want > r->cap) {
        buf = realloc(r->buf, want);
        if (!buf)
            return NULL;
        r->buf = buf;
        r->cap = want;
    }
    if (r->cap == r->len)
        return NULL;
    *space = r->cap - r->len;
    return r->buf + r->len;
}

void
mp_reader_added(struct mp_reader *r, size_t n)
{
    r->len += MB_MIN(n, r->cap - r->len);
}

int
mp_reader_next(struct mp_reader *r, struct mp_header *h, const uint8_t **payload)
{
    size_t left = r->len - r->pos;
    const uint8_t *p;

    if (left < MP_FRAME_HEADER_SIZE)
        return 0;
    p = r->buf + r->pos;
    if (mp_header_decode(h, p) < 0)
        return -EPROTO;
    if (left - MP_FRAME_HEADER_SIZE < h->length)
        return 0;
    *payload = p + MP_FRAME_HEADER_SIZE;
    r->pos += MP_FRAME_HEADER_SIZE + (size_t)h->length;
    return 1;
}

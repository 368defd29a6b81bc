/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Encoder and decoder of typed fields.
 *
 * The encoder's buffer may hold several finished frames; e->frame is where the
 * one being made starts.  A frame that fails is taken back by mp_enc_end(), so
 * what was encoded before it stays good.  The decoder never allocates more than
 * the payload has bytes left for.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mp-codec.h"
#include "mp-frame.h"

#define ENC_MIN 256u

/* ---- encoder ------------------------------------------------------------------ */

void
mp_enc_clear(struct mp_enc *e)
{
    free(e->buf);
    memset(e, 0, sizeof(*e));
}

/* Room for n more bytes at the end, or NULL and the error set. */
static uint8_t *
enc_grow(struct mp_enc *e, size_t n)
{
    size_t cap, used = e->len - e->frame;
    uint8_t *buf;

    if (e->error)
        return NULL;
    if (n > MP_FRAME_HEADER_SIZE + MP_FRAME_MAX_PAYLOAD - used) {
        e->error = -EMSGSIZE;
        return NULL;
    }
    if (n > e->cap - e->len) {
        cap = MB_MAX(e->cap, ENC_MIN);
        while (cap - e->len < n) {
            if (__builtin_mul_overflow(cap, (size_t)2, &cap)) {
                e->error = -ENOMEM;
                return NULL;
            }
        }
        buf = realloc(e->buf, cap);
        if (!buf) {
            e->error = -ENOMEM;
            return NULL;
        }
        e->buf = buf;
        e->cap = cap;
    }
    e->len += n;
    return e->buf + e->len - n;
}

void
mp_enc_begin(struct mp_enc *e, uint16_t type, uint32_t session, uint16_t flags)
{
    struct mp_header h = { .session = session, .type = type, .flags = flags };
    uint8_t *p;

    e->error = 0;
    e->frame = e->len;
    p = enc_grow(e, MP_FRAME_HEADER_SIZE);
    if (p)
        mp_header_encode(&h, p);
}

int
mp_enc_end(struct mp_enc *e)
{
    uint32_t length;

    if (e->error) {
        e->len = e->frame;
        return e->error;
    }
    length = htole32((uint32_t)(e->len - e->frame - MP_FRAME_HEADER_SIZE));
    memcpy(e->buf + e->frame, &length, 4);
    e->frame = e->len;
    return 0;
}

void
mp_put_raw(struct mp_enc *e, const void *p, size_t n)
{
    uint8_t *out = enc_grow(e, n);

    if (out && n > 0)
        memcpy(out, p, n);
}

/* The low n bytes of v, lowest first. */
static void
put_number(struct mp_enc *e, uint64_t v, size_t n)
{
    v = htole64(v);
    mp_put_raw(e, &v, n);
}

void
mp_put_u8(struct mp_enc *e, uint8_t v)
{
    put_number(e, v, sizeof(v));
}

void
mp_put_u16(struct mp_enc *e, uint16_t v)
{
    put_number(e, v, sizeof(v));
}

void
mp_put_u32(struct mp_enc *e, uint32_t v)
{
    put_number(e, v, sizeof(v));
}

void
mp_put_u64(struct mp_enc *e, uint64_t v)
{
    put_number(e, v, sizeof(v));
}

void
mp_put_bytes(struct mp_enc *e, const void *p, size_t n)
{
    if (n > MP_FRAME_MAX_PAYLOAD) {
        if (!e->error)
            e->error = -EMSGSIZE;
        return;
    }
    mp_put_u32(e, (uint32_t)n);
    mp_put_raw(e, p, n);
}

void
mp_put_str(struct mp_enc *e, const char *s)
{
    mp_put_bytes(e, s ? s : "", s ? strlen(s) : 0);
}

void
mp_put_strv(struct mp_enc *e, const char *const *v)
{
    uint32_t n = 0;

    while (v && v[n] && n < MP_FRAME_MAX_PAYLOAD)
        n++;
    mp_put_u32(e, n);
    for (uint32_t i = 0; i < n && !e->error; i++)
        mp_put_str(e, v[i]);
}

/* ---- decoder ------------------------------------------------------------------ */

void
mp_dec_init(struct mp_dec *d, const void *payload, size_t len)
{
    d->p = payload;
    d->left = len;
    d->error = 0;
}

/* n bytes from the front, or NULL and the error set. */
static const uint8_t *
dec_take(struct mp_dec *d, size_t n)
{
    const uint8_t *p = d->p;

    if (d->error)
        return NULL;
    if (n > d->left) {
        d->error = -EPROTO;
        return NULL;
    }
    d->p += n;
    d->left -= n;
    return p;
}

/* A number of n bytes, lowest first; 0 after an error. */
static uint64_t
get_number(struct mp_dec *d, size_t n)
{
    const uint8_t *p = dec_take(d, n);
    uint64_t v = 0;

    if (p)
        memcpy(&v, p, n);
    return le64toh(v);
}

uint8_t
mp_get_u8(struct mp_dec *d)
{
    return (uint8_t)get_number(d, 1);
}

uint16_t
mp_get_u16(struct mp_dec *d)
{
    return (uint16_t)get_number(d, 2);
}

uint32_t
mp_get_u32(struct mp_dec *d)
{
    return (uint32_t)get_number(d, 4);
}

uint64_t
mp_get_u64(struct mp_dec *d)
{
    return get_number(d, 8);
}

const uint8_t *
mp_get_bytes(struct mp_dec *d, size_t *n)
{
    uint32_t len = mp_get_u32(d);
    const uint8_t *p = dec_take(d, len);

    *n = p ? len : 0;
    return p;
}

char *
mp_get_str(struct mp_dec *d)
{
    size_t n;
    const uint8_t *p = mp_get_bytes(d, &n);
    char *s;

    if (!p)
        return NULL;
    if (memchr(p, 0, n)) {
        d->error = -EPROTO;
        return NULL;
    }
    s = malloc(n + 1);
    if (!s) {
        d->error = -ENOMEM;
        return NULL;
    }
    memcpy(s, p, n);
    s[n] = '\0';
    return s;
}

char **
mp_get_strv(struct mp_dec *d, unsigned max)
{
    uint32_t n = mp_get_u32(d);
    char **v;

    if (d->error)
        return NULL;
    if (n > max || n > d->left / 4) {
        d->error = -EPROTO;
        return NULL;
    }
    v = calloc((size_t)n + 1, sizeof(*v));
    if (!v) {
        d->error = -ENOMEM;
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++) {
        v[i] = mp_get_str(d);
        if (!v[i]) {
            mp_strv_free(v);
            return NULL;
        }
    }
    return v;
}

void
mp_strv_free(char **v)
{
    for (char **s = v; s && *s; s++)
        free(*s);
    free(v);
}

int
mp_dec_end(const struct mp_dec *d)
{
    if (d->error)
        return d->error;
    return d->left > 0 ? -EPROTO : 0;
}

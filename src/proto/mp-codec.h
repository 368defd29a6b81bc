/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Typed fields in a payload: fixed-size little-endian integers, and strings or
 * byte strings as u32 length + bytes (strings without NUL inside, not
 * terminated on the wire).  Both sides are sticky: after an error every further
 * call does nothing, and the final check tells.
 */
#ifndef MP_CODEC_H
#define MP_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mb-macros.h"

/* Encoder: grows its buffer. Zero-initialise; free with mp_enc_clear(). */
struct mp_enc {
    uint8_t *buf;
    size_t len;
    size_t cap;
    size_t frame;           /* start of the frame being made */
    int error;              /* 0 or -errno (ENOMEM, EMSGSIZE) */
};
void mp_enc_clear(struct mp_enc *e);
/* Begin a frame after those that e holds: reserves the header, forgets an earlier error.
 * mp_enc_end() fills the length in, or takes the whole frame back and returns the error. */
void mp_enc_begin(struct mp_enc *e, uint16_t type, uint32_t session, uint16_t flags);
int mp_enc_end(struct mp_enc *e) MB_MUST_CHECK;   /* 0 or -errno */
void mp_put_u8(struct mp_enc *e, uint8_t v);
void mp_put_u16(struct mp_enc *e, uint16_t v);
void mp_put_u32(struct mp_enc *e, uint32_t v);
void mp_put_u64(struct mp_enc *e, uint64_t v);
void mp_put_bytes(struct mp_enc *e, const void *p, size_t n);
void mp_put_raw(struct mp_enc *e, const void *p, size_t n);   /* the bytes alone, no length */
void mp_put_str(struct mp_enc *e, const char *s);         /* NULL is sent as "" */
void mp_put_strv(struct mp_enc *e, const char *const *v); /* u32 count, strings; NULL = none */

/* Decoder: points into the payload, copies on request. */
struct mp_dec {
    const uint8_t *p;
    size_t left;
    int error;              /* 0 or -EPROTO, -ENOMEM */
};
void mp_dec_init(struct mp_dec *d, const void *payload, size_t len);
uint8_t mp_get_u8(struct mp_dec *d);
uint16_t mp_get_u16(struct mp_dec *d);
uint32_t mp_get_u32(struct mp_dec *d);
uint64_t mp_get_u64(struct mp_dec *d);
const uint8_t *mp_get_bytes(struct mp_dec *d, size_t *n); /* borrowed */
char *mp_get_str(struct mp_dec *d);                       /* malloc'ed, NULL on error; refuses NUL inside */
char **mp_get_strv(struct mp_dec *d, unsigned max);       /* malloc'ed, NULL-terminated; free with mp_strv_free */
void mp_strv_free(char **v);
/* 0 when all was well and nothing is left over, otherwise -errno. */
int mp_dec_end(const struct mp_dec *d) MB_MUST_CHECK;

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames: the unit of everything that msb programs say to each other, on the
 * agent's virtio-serial port and on the supervisor's control socket alike.
 * docs/agent-protocol.md draws them.
 *
 *      0       4       8      10      12          12+length
 *      +-------+-------+-------+-------+-----------+
 *      | length|session| type  | flags |  payload  |     little endian
 *      +-------+-------+-------+-------+-----------+
 *
 * length counts the payload alone and never exceeds MP_FRAME_MAX_PAYLOAD.
 * session 0 is the connection itself; other sessions are running commands.
 */
#ifndef MP_FRAME_H
#define MP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mb-macros.h"

#define MP_FRAME_HEADER_SIZE 12
#define MP_FRAME_MAX_PAYLOAD (256u * 1024)
/* Bytes of stdin, stdout or stderr in one frame at most. */
#define MP_DATA_MAX (32u * 1024)

struct mp_header {
    uint32_t length;
    uint32_t session;
    uint16_t type;
    uint16_t flags;
};

void mp_header_encode(const struct mp_header *h, uint8_t out[MP_FRAME_HEADER_SIZE]);
/* 0, or -EPROTO when length is above the maximum. */
int mp_header_decode(struct mp_header *h, const uint8_t in[MP_FRAME_HEADER_SIZE]) MB_MUST_CHECK;

/*
 * Incremental reader: bytes go in as they come, frames come out.  Holds at most
 * one frame.  Zero-initialise, release with mp_reader_clear().
 */
struct mp_reader {
    uint8_t *buf;
    size_t pos;             /* start of the next frame */
    size_t len;
    size_t cap;
};
void mp_reader_clear(struct mp_reader *r);
/* Where to read() the next bytes to, and how many fit (never 0).  NULL: no memory, or
 * mp_reader_next() was not called until it said 0. */
uint8_t *mp_reader_space(struct mp_reader *r, size_t *space);
void mp_reader_added(struct mp_reader *r, size_t n);
/* 1: *h and *payload (valid until the next mp_reader_next() or mp_reader_space())
 * are the next frame; 0: more bytes needed; -EPROTO: the stream is garbage. */
int mp_reader_next(struct mp_reader *r, struct mp_header *h, const uint8_t **payload) MB_MUST_CHECK;

#endif

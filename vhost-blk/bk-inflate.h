/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unpacking one deflate stream, by libdeflate where it is available (two to
 * three times as fast), by zlib where it is not or what comes is unusual.
 */
#ifndef BK_INFLATE_H
#define BK_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "mb-macros.h"

enum bk_deflate { BK_DEFLATE_RAW, BK_DEFLATE_ZLIB };

/* Unpack what in begins with until the stream ends or out is full; *got bytes of out are set then.
 * 0, -EIO when the stream is broken or ends too soon, -ENOMEM. Any thread. */
int bk_inflate(enum bk_deflate format, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len,
               size_t *got) MB_MUST_CHECK;

#endif

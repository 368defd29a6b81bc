/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unaligned loads and stores of fixed-size integers in a given byte order:
 * mb_get_le16(p), mb_put_le16(p, v), and so on for be and 16, 32, 64.
 */
#ifndef MB_ENDIAN_H
#define MB_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define MB_ENDIAN_DEFINE_(order, bits) \
    static inline uint##bits##_t mb_get_##order##bits(const void *p) \
    { \
        uint##bits##_t v; \
\
        memcpy(&v, p, sizeof(v)); \
        return order##bits##toh(v); \
    } \
    static inline void mb_put_##order##bits(void *p, uint##bits##_t v) \
    { \
        v = hto##order##bits(v); \
        memcpy(p, &v, sizeof(v)); \
    }

MB_ENDIAN_DEFINE_(le, 16)
MB_ENDIAN_DEFINE_(le, 32)
MB_ENDIAN_DEFINE_(le, 64)
MB_ENDIAN_DEFINE_(be, 16)
MB_ENDIAN_DEFINE_(be, 32)
MB_ENDIAN_DEFINE_(be, 64)

#undef MB_ENDIAN_DEFINE_

#endif

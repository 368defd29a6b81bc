/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <zlib.h>
#ifdef HAVE_LIBDEFLATE
#include <libdeflate.h>
#endif

#include "bk-inflate.h"

#ifdef HAVE_LIBDEFLATE
/* False: not for libdeflate, which wants the stream to end in what it has room for. */
static bool
inflate_whole(enum bk_deflate format, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len,
              size_t *got)
{
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    enum libdeflate_result rc;
    size_t used;

    if (!d)
        return false;
    if (format == BK_DEFLATE_ZLIB)
        rc = libdeflate_zlib_decompress_ex(d, in, in_len, out, out_len, &used, got);
    else
        rc = libdeflate_deflate_decompress_ex(d, in, in_len, out, out_len, &used, got);
    libdeflate_free_decompressor(d);
    return rc == LIBDEFLATE_SUCCESS;
}
#else
static bool
inflate_whole(enum bk_deflate format, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len,
              size_t *got)
{
    return false;
}
#endif

int
bk_inflate(enum bk_deflate format, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, size_t *got)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in,
                  .avail_in = (uInt)in_len,
                  .next_out = out,
                  .avail_out = (uInt)out_len};
    int rc;

    if (inflate_whole(format, in, in_len, out, out_len, got))
        return 0;
    if (inflateInit2(&z, format == BK_DEFLATE_ZLIB ? MAX_WBITS : -MAX_WBITS) != Z_OK)
        return -ENOMEM;
    rc = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    *got = out_len - z.avail_out;
    if (rc == Z_STREAM_END)
        return 0;
    return (rc == Z_BUF_ERROR || rc == Z_OK) && z.avail_out == 0 ? 0 : -EIO;
}

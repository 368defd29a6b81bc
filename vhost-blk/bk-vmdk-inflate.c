/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compressed grains (streamOptimized): a marker with the sector on the disk (8
 * bytes) and the length (4), then a zlib stream.  The last grain that was
 * unpacked is kept: sequential reads unpack each one once.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "mb-endian.h"
#include "mb-io.h"
#include "mb-iov.h"

#include "bk-vmdk-priv.h"

#define MARKER 12u

/* A grain that does not compress grows a little. */
static size_t
packed_max(size_t grain)
{
    return MARKER + 2 * grain;
}

static int
unpack(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)in_len, .next_out = out,
                  .avail_out = (uInt)out_len};
    int rc;

    if (inflateInit(&z) != Z_OK)
        return -EIO;
    rc = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    if (rc != Z_STREAM_END && z.avail_out > 0)
        return -EIO;
    /* The last grain of a disk may be short. */
    memset(z.next_out, 0, z.avail_out);
    return rc == Z_STREAM_END || rc == Z_BUF_ERROR || rc == Z_OK ? 0 : -EIO;
}

/* Bring the grain at offset into x->unpacked. Under the lock. */
static int
load(struct vmdk_extent *x, uint64_t offset)
{
    size_t grain = (size_t)1 << x->grain_bits, begin = x->markers ? MARKER : 0, len;
    ssize_t n;
    int rc;

    if (x->unpacked_at == offset)
        return 0;
    if (!x->unpacked)
        x->unpacked = malloc(grain);
    if (!x->packed)
        x->packed = malloc(packed_max(grain));
    if (!x->unpacked || !x->packed)
        return -ENOMEM;
    x->unpacked_at = 0;
    n = mb_pread_full(x->file->fd, x->packed, packed_max(grain), (off_t)offset);
    if (n < (ssize_t)begin)
        return -EIO;
    len = x->markers ? mb_get_le32(x->packed + 8) : (size_t)n;
    if (len > (size_t)n - begin)
        return -EIO;
    rc = unpack(x->packed + begin, len, x->unpacked, grain);
    if (rc == 0)
        x->unpacked_at = offset;
    return rc;
}

int
vmdk_inflate(const struct vmdk_place *p, const struct iovec *iov, unsigned n_iov, uint64_t len)
{
    int rc;

    pthread_mutex_lock(&p->owner->lock);
    rc = load(p->extent, p->offset);
    if (rc == 0)
        mb_iov_from_buf(iov, n_iov, 0, p->extent->unpacked + p->within, (size_t)len);
    pthread_mutex_unlock(&p->owner->lock);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compressed clusters.  The L2 entry has the byte offset of the packed data and
 * the number of 512-byte sectors it touches beyond the first.  The last cluster
 * that was unpacked is kept: sequential reads unpack each one once.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "mb-io.h"
#include "mb-iov.h"

#include "bk-qcow2-priv.h"

/* Raw deflate. A cluster is full when the output is; what follows is padding. */
static int
unpack_deflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)in_len, .next_out = out,
                  .avail_out = (uInt)out_len};
    int rc;

    if (inflateInit2(&z, -12) != Z_OK)
        return -EIO;
    rc = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    return (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && z.avail_out == 0 ? 0 : -EIO;
}

#ifdef HAVE_ZSTD
static int
unpack_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    ZSTD_inBuffer i = {in, in_len, 0};
    ZSTD_outBuffer o = {out, out_len, 0};
    ZSTD_DCtx *ctx = ZSTD_createDCtx();
    size_t rc = 1;

    if (!ctx)
        return -EIO;
    while (o.pos < o.size) {
        size_t before = i.pos + o.pos;

        rc = ZSTD_decompressStream(ctx, &o, &i);
        if (ZSTD_isError(rc) || i.pos + o.pos == before)
            break;
    }
    ZSTD_freeDCtx(ctx);
    return !ZSTD_isError(rc) && o.pos == o.size ? 0 : -EIO;
}
#else
static int
unpack_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    return -EIO;
}
#endif

/* Bring the cluster of entry into q->unpacked. Under the lock. */
static int
unpack(struct qcow2 *q, uint64_t entry)
{
    unsigned shift = 62 - (q->cluster_bits - 8);
    uint64_t offset = entry & ((UINT64_C(1) << shift) - 1);
    uint64_t sectors = (entry >> shift & ((UINT64_C(1) << (q->cluster_bits - 8)) - 1)) + 1;
    size_t len = (size_t)(sectors * BK_SECTOR - (offset & (BK_SECTOR - 1)));
    ssize_t n;
    int rc;

    if (q->unpacked_entry == entry)
        return 0;
    if (!q->unpacked)
        q->unpacked = malloc(q->cluster_size);
    if (!q->packed)
        q->packed = malloc(2 * q->cluster_size + BK_SECTOR);
    if (!q->unpacked || !q->packed)
        return -ENOMEM;
    q->unpacked_entry = 0;
    /* The file may end in the last sector. */
    n = mb_pread_full(q->file->fd, q->packed, len, (off_t)offset);
    if (n <= 0)
        return -EIO;
    if (q->compression == QCOW2_ZSTD)
        rc = unpack_zstd(q->packed, (size_t)n, q->unpacked, q->cluster_size);
    else
        rc = unpack_deflate(q->packed, (size_t)n, q->unpacked, q->cluster_size);
    if (rc == 0)
        q->unpacked_entry = entry;
    return rc;
}

int
qcow2_inflate(const struct qcow2_extent *x, const struct iovec *iov, unsigned n_iov, uint64_t len)
{
    struct qcow2 *q = x->owner;
    int rc;

    pthread_mutex_lock(&q->lock);
    rc = unpack(q, x->entry);
    if (rc == 0)
        mb_iov_from_buf(iov, n_iov, 0, q->unpacked + x->within, (size_t)len);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

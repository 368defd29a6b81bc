/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compressed clusters.  The L2 entry has the byte offset of the packed data and
 * the number of 512-byte sectors it touches beyond the first.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "mb-cleanup.h"
#include "mb-io.h"
#include "mb-iov.h"

#include "bk-inflate.h"
#include "bk-qcow2-priv.h"
#include "bk-vmdk.h"

/* A cluster is full when the output is; what follows is padding. */
static int
unpack_deflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    size_t got;
    int rc = bk_inflate(BK_DEFLATE_RAW, in, in_len, out, out_len, &got);

    return rc == 0 && got < out_len ? -EIO : rc;
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

void
qcow2_packed_range(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *len)
{
    unsigned shift = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (entry >> shift & ((UINT64_C(1) << (q->cluster_bits - 8)) - 1)) + 1;

    *offset = entry & ((UINT64_C(1) << shift) - 1);
    *len = sectors * BK_SECTOR - (*offset & (BK_SECTOR - 1));
}

static int
unpack(const struct bk_unpacked_source *source, uint8_t *out, size_t size)
{
    const struct qcow2 *q = source->image;
    mb_autofree uint8_t *packed = NULL;
    uint64_t offset, len;
    ssize_t n;

    qcow2_packed_range(q, source->key, &offset, &len);
    packed = malloc(len);
    if (!packed)
        return -ENOMEM;
    /* The file may end in the last sector. */
    n = mb_pread_full(q->file->fd, packed, len, (off_t)offset);
    if (n <= 0)
        return -EIO;
    if (q->compression == QCOW2_ZSTD)
        return unpack_zstd(packed, (size_t)n, out, size);
    return unpack_deflate(packed, (size_t)n, out, size);
}

int
qcow2_inflate(const struct qcow2_extent *x, bool only_ready, const struct iovec *iov, unsigned n_iov,
              uint64_t len)
{
    struct bk_unpacked_source source = {.key = x->entry, .unpack = unpack, .image = x->owner};

    if (!x->owner)
        return bk_vmdk_unpack(x->below, only_ready, iov, n_iov, x->offset, len);
    return bk_unpacked_read(&x->owner->unpacked, &source, only_ready, x->within, iov, n_iov, len);
}

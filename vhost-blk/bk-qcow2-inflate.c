/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compressed clusters.  The L2 entry has the byte offset of the packed data and
 * the number of 512-byte sectors it touches beyond the first.  The clusters that
 * were unpacked last are kept: sequential reads unpack each one once.  Several
 * threads unpack at the same time.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "mb-cleanup.h"
#include "mb-io.h"
#include "mb-iov.h"

#include "bk-qcow2-priv.h"
#include "bk-vmdk.h"

/* Raw deflate. A cluster is full when the output is; what follows is padding. */
static int
unpack_deflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in,
                  .avail_in = (uInt)in_len,
                  .next_out = out,
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

void
qcow2_packed_range(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *len)
{
    unsigned shift = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (entry >> shift & ((UINT64_C(1) << (q->cluster_bits - 8)) - 1)) + 1;

    *offset = entry & ((UINT64_C(1) << shift) - 1);
    *len = sectors * BK_SECTOR - (*offset & (BK_SECTOR - 1));
}

static int
unpack(const struct qcow2 *q, uint64_t entry, uint8_t *out)
{
    mb_autofree uint8_t *packed = NULL;
    uint64_t offset, len;
    ssize_t n;

    qcow2_packed_range(q, entry, &offset, &len);
    packed = malloc(len);
    if (!packed)
        return -ENOMEM;
    /* The file may end in the last sector. */
    n = mb_pread_full(q->file->fd, packed, len, (off_t)offset);
    if (n <= 0)
        return -EIO;
    if (q->compression == QCOW2_ZSTD)
        return unpack_zstd(packed, (size_t)n, out, q->cluster_size);
    return unpack_deflate(packed, (size_t)n, out, q->cluster_size);
}

/* ---- the clusters that are kept; under the lock ---------------------------------------- */

static struct qcow2_unpacked *
find(struct qcow2 *q, uint64_t entry)
{
    for (unsigned i = 0; i < QCOW2_UNPACKED; i++) {
        if (q->unpacked[i].entry == entry)
            return &q->unpacked[i];
    }
    return NULL;
}

/* The one that was not used for longest, if it is not in use. */
static struct qcow2_unpacked *
find_free(struct qcow2 *q)
{
    struct qcow2_unpacked *best = NULL;

    for (unsigned i = 0; i < QCOW2_UNPACKED; i++) {
        struct qcow2_unpacked *u = &q->unpacked[i];

        if (u->users == 0 && (!best || u->stamp < best->stamp))
            best = u;
    }
    return best;
}

/* Unpack into u, which becomes the entry's; without the lock meanwhile. */
static int
fill(struct qcow2 *q, struct qcow2_unpacked *u, uint64_t entry)
{
    int rc;

    u->entry = entry;
    u->ready = false;
    u->users = 1;
    pthread_mutex_unlock(&q->unpack_lock);
    if (!u->data)
        u->data = malloc(q->cluster_size);
    rc = u->data ? unpack(q, entry, u->data) : -ENOMEM;
    pthread_mutex_lock(&q->unpack_lock);
    u->ready = rc == 0;
    if (rc < 0)
        u->entry = 0;
    u->users = 0;
    pthread_cond_broadcast(&q->unpack_ready);
    return rc;
}

/* The unpacked cluster, in use by us. */
static int
get(struct qcow2 *q, uint64_t entry, bool only_ready, struct qcow2_unpacked **unpacked)
{
    for (;;) {
        struct qcow2_unpacked *u = find(q, entry);
        int rc = 0;

        if (u && u->ready) {
            u->users++;
            u->stamp = ++q->unpack_stamp;
            *unpacked = u;
            return 0;
        }
        if (only_ready)
            return -EAGAIN;
        if (u || !(u = find_free(q)))
            pthread_cond_wait(&q->unpack_ready, &q->unpack_lock);
        else
            rc = fill(q, u, entry);
        if (rc < 0)
            return rc;
    }
}

int
qcow2_inflate(const struct qcow2_extent *x, bool only_ready, const struct iovec *iov, unsigned n_iov,
              uint64_t len)
{
    struct qcow2 *q = x->owner;
    struct qcow2_unpacked *u;
    int rc;

    if (!q)
        return only_ready ? -EAGAIN : bk_vmdk_unpack(x->below, iov, n_iov, x->offset, len);
    pthread_mutex_lock(&q->unpack_lock);
    rc = get(q, x->entry, only_ready, &u);
    pthread_mutex_unlock(&q->unpack_lock);
    if (rc < 0)
        return rc;
    mb_iov_from_buf(iov, n_iov, 0, u->data + x->within, (size_t)len);
    pthread_mutex_lock(&q->unpack_lock);
    u->users--;
    if (u->users == 0)
        pthread_cond_broadcast(&q->unpack_ready);
    pthread_mutex_unlock(&q->unpack_lock);
    return 0;
}

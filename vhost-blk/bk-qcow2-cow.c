/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copy-on-write.  What a new cluster shows beside the data of the request is
 * copied from where it is now: a cluster shared with a snapshot, a compressed
 * one, the backing file.  Zeros need not be copied, the new cluster has them.
 *
 * What comes before and behind little data is put together with it in memory
 * and written as one: a third of the system calls, and the host's page cache
 * gets the cluster in one piece instead of three.
 *
 * Copying takes ten times as long as the rest of a small write.  So it is work
 * for the engine (BK_XFER_WORK), which has a thread of the pool take part in it
 * when one request is behind the other.
 *
 * None of that changes the order that bk-qcow2-rw.h explains.  Wherever a cluster
 * is copied, the entry is changed by the queue's thread after the call has
 * returned, so a commit that finds the new entry begins after the write of its
 * cluster has ended, and its fdatasync covers it.  Until then the guest cluster
 * is in the list of running allocations, for all that want to change it, and
 * reads see the old one.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mb-cleanup.h"
#include "mb-iov.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

/* Behind the end of the file is nothing but zeros. */
static int
read_data(const struct qcow2_extent *x, uint8_t *buf, bool may_block)
{
    uint64_t done = 0;

    while (done < x->len) {
        struct iovec iov = {buf + done, x->len - done};
        ssize_t n = preadv2(x->file->fd, &iov, 1, (off_t)(x->offset + done), may_block ? 0 : RWF_NOWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && !may_block)
            return -EAGAIN;
        if (n < 0)
            return -errno;
        if (n == 0) {
            memset(buf + done, 0, x->len - done);
            break;
        }
        done += (uint64_t)n;
    }
    return 0;
}

static int
read_extent(const struct qcow2_extent *x, uint8_t *buf, bool may_block)
{
    struct iovec iov = {buf, x->len};

    if (x->kind == QCOW2_DATA)
        return read_data(x, buf, may_block);
    if (x->kind == QCOW2_COMPRESSED)
        return qcow2_inflate(x, !may_block, &iov, 1, x->len);
    memset(buf, 0, x->len);
    return 0;
}

static int
copy_extent(struct qcow2 *q, const struct qcow2_extent *x, uint64_t host, uint8_t *buf, bool may_block)
{
    int rc;

    if (x->kind == QCOW2_ZERO)
        return 0;
    rc = read_extent(x, buf, may_block);
    return rc == 0 ? qcow2_write_at(q, host, buf, x->len) : rc;
}

static int
copy(struct qcow2 *q, uint64_t offset, uint64_t host, uint64_t len, bool may_block)
{
    mb_autofree uint8_t *buf = NULL;

    while (len > 0) {
        struct qcow2_extent x;
        int rc = qcow2_map(q, offset, len, &x);

        if (rc == 0 && x.kind != QCOW2_ZERO && !buf) {
            buf = malloc(q->cluster_size);
            rc = buf ? 0 : -ENOMEM;
        }
        if (rc == 0)
            rc = copy_extent(q, &x, host, buf, may_block);
        if (rc < 0)
            return rc;
        offset += x.len;
        host += x.len;
        len -= x.len;
    }
    return 0;
}

/* Before and behind the data, up to the borders of the clusters. */
static int
copy_edges(struct qcow2 *q, struct bk_io *io, bool may_block)
{
    struct bk_io_qcow2 *a = &io->qcow2;
    uint64_t from = a->first << q->cluster_bits, to = (a->first + a->count) << q->cluster_bits;
    uint64_t host = a->host << q->cluster_bits, end = io->offset + a->data_len;
    int rc = 0;

    if (from < io->offset)
        rc = copy(q, from, host, io->offset - from, may_block);
    if (rc >= 0 && end < to)
        rc = copy(q, end, host + (end - from), to - end, may_block);
    return rc;
}

/* Little data: the clusters as they are to be, but for zeros before and behind, written as one. */
static int
copy_around(struct qcow2 *q, struct bk_io *io, bool may_block)
{
    struct bk_io_qcow2 *a = &io->qcow2;
    uint64_t first = a->first << q->cluster_bits, len = a->count << q->cluster_bits;
    uint64_t data = io->offset - first;
    uint64_t from = data, to = data + a->data_len; /* what is not zeros at the borders */
    mb_autofree uint8_t *buf = malloc(len);
    struct qcow2_extent x;

    if (!buf)
        return -ENOMEM;
    for (uint64_t at = 0; at < len; at += x.len) {
        int rc = qcow2_map(q, first + at, len - at, &x);

        if (rc == 0)
            rc = read_extent(&x, buf + at, may_block);
        if (rc < 0)
            return rc;
        if (x.kind != QCOW2_ZERO) {
            from = MB_MIN(from, at);
            to = MB_MAX(to, at + x.len);
        }
    }
    mb_iov_to_buf(io->iov, io->n_iov, 0, buf + data, (size_t)a->data_len);
    return qcow2_write_at(q, (a->host << q->cluster_bits) + from, buf + from, (size_t)(to - from));
}

static int
copy_call(struct bk_xfer *x)
{
    struct bk_io *io = MB_CONTAINER_OF(x, struct bk_io, xfer);
    struct bk_io_qcow2 *a = &io->qcow2;
    struct qcow2 *q = qcow2_of(io->image);
    bool may_block = x->op == BK_XFER_CALL;
    int rc = -ENOTSUP;

    if (!a->zeros && 2 * a->data_len <= a->count << q->cluster_bits)
        rc = copy_around(q, io, may_block);
    if (rc == 0) {
        mb_iov_cut_front(&io->iov, &io->n_iov, (size_t)a->data_len);
        a->zeros = true;
    }
    /* It reads more than it has to: an error may be none of ours. */
    return rc == 0 || rc == -EAGAIN ? rc : copy_edges(q, io, may_block);
}

enum bk_status
qcow2_copy_kept(struct qcow2 *q, struct bk_io *io, void (*done)(struct bk_xfer *x))
{
    if (io->qcow2.data_len == io->qcow2.count << q->cluster_bits)
        return BK_DONE;
    io->xfer.op = BK_XFER_WORK;
    io->xfer.call = copy_call;
    io->xfer.done = done;
    return bk_engine_start(io->engine, &io->xfer);
}

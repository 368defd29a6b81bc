/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Discard and write-zeroes.  Whole clusters lose their entry, or get one that
 * says zeros; parts of clusters are zeros written in place.  A discard is a
 * hint, so what would cost a copy is left as it is.
 */
#include <config.h>

#include <errno.h>

#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

/* What the guest is to see as zeros without a cluster of its own; 0 when nothing is to be done
 * for it, as in version 2 an image with a backing file has no such entry. */
static bool
zero_entry(const struct qcow2 *q, uint64_t *entry)
{
    *entry = q->backing ? QCOW2_ZERO_FLAG : 0;
    return !q->backing || q->version >= 3;
}

/* Bytes of whole clusters at the beginning of the next n bytes. */
static uint64_t
whole_clusters(const struct qcow2 *q, const struct bk_io *io, uint64_t n)
{
    uint64_t rest = q->size - MB_MIN(q->size, io->offset);

    if (!mb_is_aligned(io->offset, q->cluster_size))
        return 0;
    /* The disk may end inside of its last cluster. */
    return n >= rest ? n : n & ~(q->cluster_size - 1);
}

static void
skip(struct bk_io *io, uint64_t n)
{
    io->offset += n;
    io->len -= n;
}

/* Give the entries of the next n bytes, whole clusters of one table, another value. Under the lock. */
static enum bk_status
replace(struct qcow2 *q, struct bk_io *io, uint64_t n, uint64_t entry)
{
    uint64_t first = io->offset >> q->cluster_bits;
    uint64_t count = (n + q->cluster_size - 1) >> q->cluster_bits;
    uint64_t i = first & ((UINT64_C(1) << q->l2_bits) - 1);
    struct bk_io *other = qcow2_find_running(q, first, count);
    struct qcow2_l2 *slot;
    int rc;

    if (other)
        return qcow2_wait_for(io, other);
    if (q->rw->dropped.n >= QCOW2_MAX_DROPS)
        return qcow2_await_commit(q, io);
    rc = qcow2_l2_for_change(q, first >> q->l2_bits, &slot);
    if (rc == -EBUSY)
        return qcow2_await_commit(q, io);
    io->xfer.err = rc;
    if (rc < 0)
        return BK_DONE;
    for (uint64_t k = 0; k < count; k++)
        qcow2_l2_replace(q, slot, i + k, entry);
    qcow2_keep(q, slot, io);
    skip(io, n);
    return BK_DONE;
}

static enum bk_status
replace_locked(struct qcow2 *q, struct bk_io *io, uint64_t n, uint64_t entry)
{
    enum bk_status status;

    pthread_mutex_lock(&q->lock);
    status = replace(q, io, n, entry);
    pthread_mutex_unlock(&q->lock);
    return status;
}

static uint64_t
in_file(const struct qcow2 *q, const struct bk_io *io, const struct qcow2_place *p)
{
    return p->host + (io->offset & (q->cluster_size - 1));
}

/* n bytes up to the end of the cluster at most. */
static uint64_t
in_cluster(const struct qcow2 *q, const struct bk_io *io, uint64_t n)
{
    return MB_MIN(n, q->cluster_size - (io->offset & (q->cluster_size - 1)));
}

static enum bk_status
discard_piece(struct qcow2 *q, struct bk_io *io, const struct qcow2_place *p, uint64_t n)
{
    uint64_t whole = whole_clusters(q, io, n);
    uint64_t entry;

    if (p->where == QCOW2_BELOW || (p->where == QCOW2_ZEROS && p->host == 0)) {
        skip(io, n);
        return BK_DONE;
    }
    if (whole && zero_entry(q, &entry))
        return replace_locked(q, io, whole, entry);
    n = in_cluster(q, io, n);
    if (p->where == QCOW2_HERE && p->copied)
        return bk_io_piece(io, BK_XFER_DISCARD, q->file, in_file(q, io, p), n);
    skip(io, n);
    return BK_DONE;
}

static enum bk_status
zero_piece(struct qcow2 *q, struct bk_io *io, const struct qcow2_place *p, uint64_t n)
{
    bool ours = p->where == QCOW2_HERE && p->copied;
    uint64_t whole = whole_clusters(q, io, n);
    uint64_t entry;

    if (p->where == QCOW2_ZEROS || (p->where == QCOW2_BELOW && !q->backing)) {
        skip(io, n);
        return BK_DONE;
    }
    if (ours && !io->unmap)
        return bk_io_piece(io, BK_XFER_ZERO, q->file, in_file(q, io, p), n);
    if (whole && zero_entry(q, &entry))
        return replace_locked(q, io, whole, entry);
    n = in_cluster(q, io, n);
    if (ours)
        return bk_io_piece(io, BK_XFER_UNMAP, q->file, in_file(q, io, p), n);
    io->qcow2.rest = io->len - n;
    io->len = n;
    return qcow2_allocate(q, io, true);
}

static void
run(struct bk_io *io,
    enum bk_status (*piece)(struct qcow2 *q, struct bk_io *io, const struct qcow2_place *p, uint64_t n))
{
    struct qcow2 *q = qcow2_of(io->image);

    io->len += io->qcow2.rest;
    io->qcow2.rest = 0;
    while (io->len > 0 && io->xfer.err == 0) {
        struct qcow2_place p;
        uint64_t n;

        io->xfer.err = qcow2_map_here(q, io->offset, io->len, &p, &n);
        if (io->xfer.err < 0)
            break;
        if (piece(q, io, &p, n) == BK_PENDING)
            return;
        io->len += io->qcow2.rest;
        io->qcow2.rest = 0;
    }
    qcow2_end(q, io);
}

static void
discard_step(struct bk_io *io)
{
    run(io, discard_piece);
}

static void
zero_step(struct bk_io *io)
{
    run(io, zero_piece);
}

static void
start(struct bk_image *image, struct bk_io *io, void (*step)(struct bk_io *io))
{
    qcow2_enter(qcow2_of(image), io);
    io->step = step;
    io->xfer.err = 0;
    io->qcow2.rest = 0;
    io->qcow2.commit = false;
    step(io);
}

void
qcow2_discard(struct bk_image *image, struct bk_io *io)
{
    start(image, io, discard_step);
}

void
qcow2_zero(struct bk_image *image, struct bk_io *io)
{
    start(image, io, zero_step);
}

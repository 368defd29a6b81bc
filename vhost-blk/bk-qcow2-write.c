/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes.  A cluster that is ours alone is written in place, like a raw file and
 * without a lock.  Anything else is an allocation:
 *
 *   take clusters - copy what they keep - write the data - change the entries
 *
 * The entries change last, so until then everybody sees the old contents, and
 * an allocation that fails has changed nothing.  Meanwhile the guest clusters
 * are in the list of running allocations, and what else wants to change them
 * waits for its end.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "mb-endian.h"
#include "mb-iov.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

/* ---- tables; under the lock --------------------------------------------------------- */

void
qcow2_l2_pin(struct qcow2 *q, struct qcow2_l2 *slot, int by)
{
    bool busy = qcow2_l2_is_busy(slot);

    slot->pins = (unsigned)((int)slot->pins + by);
    q->rw->n_dirty += (unsigned)qcow2_l2_is_busy(slot) - (unsigned)busy;
}

static void
mark_l2(struct qcow2 *q, struct qcow2_l2 *slot, uint64_t from, uint64_t to)
{
    bool busy = qcow2_l2_is_busy(slot);

    q->rw->n_changed += slot->dirty_to == 0;
    slot->dirty_from = slot->dirty_to ? MB_MIN(slot->dirty_from, (uint32_t)from) : (uint32_t)from;
    slot->dirty_to = MB_MAX(slot->dirty_to, (uint32_t)to);
    q->rw->n_dirty += !busy;
    q->rw->dirty = true;
}

void
qcow2_l2_replace(struct qcow2 *q, struct qcow2_l2 *slot, uint64_t i, uint64_t entry)
{
    uint64_t old = qcow2_l2_word(slot, i);
    uint64_t at = i * 8 & ~UINT64_C(511);

    if (old == entry)
        return;
    atomic_store(&slot->words[i], htobe64(entry));
    qcow2_journal_add(q, STAGE_L2, slot->offset + i * 8, entry);
    mark_l2(q, slot, at, at + 512);
    qcow2_drop_entry(q, old);
}

static void
set_l1(struct qcow2 *q, uint64_t l1_index, uint64_t cluster)
{
    struct qcow2_rw *rw = q->rw;

    q->l1[l1_index] = cluster << q->cluster_bits | QCOW2_COPIED;
    rw->l1_from = rw->l1_to ? MB_MIN(rw->l1_from, (uint32_t)l1_index) : (uint32_t)l1_index;
    rw->l1_to = MB_MAX(rw->l1_to, (uint32_t)l1_index + 1);
    rw->dirty = true;
    qcow2_journal_add(q, STAGE_L1, q->l1_offset + l1_index * 8, q->l1[l1_index]);
}

/* There will be no table in the cluster: why. */
static int
put_back(struct qcow2 *q, uint64_t cluster, int rc)
{
    qcow2_drop(q, cluster, 1);
    return rc;
}

/* A table shared with a snapshot gets a copy of its own. */
static int
copy_table(struct qcow2 *q, uint64_t l1_index, struct qcow2_l2 *slot)
{
    uint64_t old = slot->offset >> q->cluster_bits;
    uint64_t cluster, n;
    int rc = qcow2_take(q, 1, &cluster, &n);

    if (rc < 0)
        return rc;
    /* The journal is about what changes; the copy itself can be in the file as long as nothing leads to it. */
    if (q->journal)
        rc = qcow2_write_at(q, cluster << q->cluster_bits, slot->words, q->cluster_size);
    if (rc < 0)
        return put_back(q, cluster, rc);
    qcow2_set_meta(q, cluster, true);
    slot->offset = cluster << q->cluster_bits;
    mark_l2(q, slot, 0, q->cluster_size);
    set_l1(q, l1_index, cluster);
    q->rw->l1_copied = true;
    qcow2_drop(q, old, 1);
    return 0;
}

static int
new_table(struct qcow2 *q, uint64_t l1_index, struct qcow2_l2 **slot)
{
    uint64_t cluster, n;
    int rc = qcow2_take(q, 1, &cluster, &n);

    if (rc < 0)
        return rc;
    rc = qcow2_l2_make(q, l1_index, cluster << q->cluster_bits, slot);
    if (rc < 0)
        return put_back(q, cluster, rc);
    qcow2_set_meta(q, cluster, true);
    set_l1(q, l1_index, cluster);
    return 0;
}

int
qcow2_l2_for_change(struct qcow2 *q, uint64_t l1_index, struct qcow2_l2 **slot)
{
    struct qcow2_rw *rw = q->rw;
    int rc = rw->error ? rw->error : qcow2_l2_load(q, l1_index, slot);

    if (rc < 0)
        return rc;
    if (rw->n_dirty >= q->n_l2 - QCOW2_CLEAN_SLOTS && (!*slot || !qcow2_l2_is_busy(*slot)))
        return -EBUSY;
    if (!*slot)
        return new_table(q, l1_index, slot);
    if (!(q->l1[l1_index] & QCOW2_COPIED))
        return copy_table(q, l1_index, *slot);
    return 0;
}

/* ---- running allocations; under the lock ----------------------------------------------- */

struct bk_io *
qcow2_find_running(struct qcow2 *q, uint64_t first, uint64_t count)
{
    struct bk_io *found = NULL;

    for (struct bk_io *io = q->rw->running; io; io = io->qcow2.next) {
        if (mb_ranges_overlap(first, count, io->qcow2.first, io->qcow2.count) &&
            (!found || io->qcow2.first < found->qcow2.first))
            found = io;
    }
    return found;
}

static void
on_woken(struct bk_xfer *x)
{
    struct bk_io *io = MB_CONTAINER_OF(x, struct bk_io, xfer);

    io->step(io);
}

enum bk_status
qcow2_wait_for(struct bk_io *io, struct bk_io *other)
{
    io->qcow2.next = other->qcow2.waiters;
    other->qcow2.waiters = io;
    io->xfer.op = BK_XFER_WAIT;
    io->xfer.done = on_woken;
    return bk_engine_start(io->engine, &io->xfer);
}

static void
end_running(struct qcow2 *q, struct bk_io *io)
{
    struct bk_io **link = &q->rw->running;
    struct bk_io *w = io->qcow2.waiters;

    while (*link != io)
        link = &(*link)->qcow2.next;
    *link = io->qcow2.next;
    while (w) {
        struct bk_io *next = w->qcow2.next;

        bk_engine_wake(&w->xfer, 0);
        w = next;
    }
}

/* ---- an allocation ------------------------------------------------------------------------ */

/* How many of the clusters from entry i on, at most max, cannot be written in place, and whether what
 * they show now may be anything but zeros; -EIO when the first entry makes no sense. */
static int
count_needed(const struct qcow2 *q, const struct qcow2_l2 *slot, uint64_t i, uint64_t max, uint64_t *count,
             bool *shows_data)
{
    for (*count = 0; *count < max; ++*count) {
        struct qcow2_place p;
        int rc = qcow2_entry_place(q, qcow2_l2_word(slot, i + *count), 0, 0, &p);

        if (rc < 0 && *count == 0)
            return rc;
        if (rc < 0 || (p.where == QCOW2_HERE && p.copied))
            break;
        if (p.where != QCOW2_ZEROS && (p.where != QCOW2_BELOW || q->backing))
            *shows_data = true;
    }
    return 0;
}

/* Choose the clusters, enter the list. BK_PENDING: waits for something, then comes back. BK_DONE
 * with count 0: nothing to allocate, or io->xfer.err. Under the lock. */
static enum bk_status
begin(struct qcow2 *q, struct bk_io *io)
{
    struct bk_io_qcow2 *a = &io->qcow2;
    uint64_t first = io->offset >> q->cluster_bits;
    uint64_t last = (io->offset + io->len - 1) >> q->cluster_bits;
    uint64_t i = first & ((UINT64_C(1) << q->l2_bits) - 1);
    uint64_t max = MB_MIN(last - first + 1, (UINT64_C(1) << q->l2_bits) - i);
    struct bk_io *other = qcow2_find_running(q, first, max);
    uint64_t host, n = 0;
    int rc;

    a->count = 0;
    a->ordered = false;
    if (other && other->qcow2.first <= first)
        return qcow2_wait_for(io, other);
    if (other)
        max = other->qcow2.first - first;
    rc = qcow2_l2_for_change(q, first >> q->l2_bits, &a->slot);
    if (rc == -EBUSY)
        return qcow2_await_commit(q, io);
    if (rc == 0)
        rc = count_needed(q, a->slot, i, max, &n, &a->ordered);
    if (rc == 0 && n > 0)
        rc = qcow2_take(q, n, &host, &a->count);
    if (rc == -EBUSY)
        return qcow2_await_commit(q, io);
    io->xfer.err = rc;
    if (rc < 0 || n == 0)
        return BK_DONE;
    a->first = first;
    a->host = host;
    a->waiters = NULL;
    a->next = q->rw->running;
    q->rw->running = io;
    qcow2_l2_pin(q, a->slot, 1);
    return BK_DONE;
}

/* The data is there, or it failed. */
static void
finish(struct qcow2 *q, struct bk_io *io)
{
    struct bk_io_qcow2 *a = &io->qcow2;
    uint64_t i = a->first & ((UINT64_C(1) << q->l2_bits) - 1);

    pthread_mutex_lock(&q->lock);
    if (io->xfer.err == 0) {
        q->rw->barrier |= a->ordered;
        for (uint64_t k = 0; k < a->count; k++)
            qcow2_l2_replace(q, a->slot, i + k, (a->host + k) << q->cluster_bits | QCOW2_COPIED);
        qcow2_keep(q, a->slot, io);
    } else {
        qcow2_drop(q, a->host, a->count);
    }
    qcow2_l2_pin(q, a->slot, -1);
    end_running(q, io);
    pthread_mutex_unlock(&q->lock);
}

static void
data_written(struct bk_io *io)
{
    finish(qcow2_of(io->image), io);
    io->step = io->qcow2.step;
    io->step(io);
}

/* The clusters keep what they need: now the data itself. */
static enum bk_status
write_data(struct qcow2 *q, struct bk_io *io)
{
    struct bk_io_qcow2 *a = &io->qcow2;
    uint64_t within = io->offset - (a->first << q->cluster_bits);

    if (io->xfer.err == 0 && a->zeros) {
        io->offset += a->data_len;
        io->len -= a->data_len;
    } else if (io->xfer.err == 0) {
        a->step = io->step;
        io->step = data_written;
        if (bk_io_piece(io, BK_XFER_WRITE, q->file, (a->host << q->cluster_bits) + within, a->data_len) ==
            BK_PENDING)
            return BK_PENDING;
        io->step = a->step;
    }
    finish(q, io);
    return BK_DONE;
}

static void
on_copied(struct bk_xfer *x)
{
    struct bk_io *io = MB_CONTAINER_OF(x, struct bk_io, xfer);

    if (write_data(qcow2_of(io->image), io) == BK_DONE)
        io->step(io);
}

enum bk_status
qcow2_allocate(struct qcow2 *q, struct bk_io *io, bool zeros)
{
    struct bk_io_qcow2 *a = &io->qcow2;
    enum bk_status status;

    pthread_mutex_lock(&q->lock);
    status = begin(q, io);
    pthread_mutex_unlock(&q->lock);
    if (status == BK_PENDING || io->xfer.err < 0 || a->count == 0)
        return status;
    a->zeros = zeros;
    a->data_len = MB_MIN(io->len, ((a->first + a->count) << q->cluster_bits) - io->offset);
    if (a->ordered && qcow2_copy_kept(q, io, on_copied) == BK_PENDING)
        return BK_PENDING;
    return write_data(q, io);
}

/* ---- writes --------------------------------------------------------------------------------- */

static void
write_step(struct bk_io *io)
{
    struct qcow2 *q = qcow2_of(io->image);

    while (io->len > 0 && io->xfer.err == 0) {
        struct qcow2_place p;
        enum bk_status status = BK_DONE;
        uint64_t n;

        io->xfer.err = qcow2_map_here(q, io->offset, io->len, &p, &n);
        if (io->xfer.err < 0)
            break;
        if (p.where == QCOW2_HERE && p.copied)
            status =
                bk_io_piece(io, BK_XFER_WRITE, q->file, p.host + (io->offset & (q->cluster_size - 1)), n);
        else
            status = qcow2_allocate(q, io, false);
        if (status == BK_PENDING)
            return;
    }
    qcow2_end(q, io);
}

void
qcow2_write(struct bk_image *image, struct bk_io *io)
{
    qcow2_enter(qcow2_of(image), io);
    io->step = write_step;
    io->xfer.err = 0;
    io->qcow2.commit = false;
    write_step(io);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clusters come out of a reserve, see bk-qcow2-rw.h, and are let go of in
 * steps: dropped - in a commit - waiting - in a grace period - freed.
 *
 * The grace period has two halves, as an operation may be late to count itself
 * in the epoch it read: the epoch is advanced, everything that began in the old
 * one ends; once more; then nothing is under way that began before.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

#define MIN_BATCH 8u
#define MIN_BATCH_BYTES (UINT64_C(256) << 10)
#define MAX_BATCH_BYTES (UINT64_C(256) << 20) /* a hole in the file until it is used */

/* ---- reserve ------------------------------------------------------------------------- */

static int
claim_batch(struct qcow2 *q, uint64_t count)
{
    struct qcow2_rw *rw = q->rw;
    struct qcow2_run *run = &rw->reserve[rw->n_reserve];
    int rc = qcow2_claim(q, count, run);

    if (rc < 0)
        return rc;
    run->batch = rw->batch;
    rw->n_reserve++;
    return 0;
}

static uint64_t
batch_size(const struct qcow2 *q, uint64_t wanted)
{
    uint64_t min = MB_MAX((uint64_t)MIN_BATCH, MIN_BATCH_BYTES >> q->cluster_bits);

    return MB_MAX(min, MB_MIN(wanted, MAX_BATCH_BYTES >> q->cluster_bits));
}

int
qcow2_fill_reserve(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t want = batch_size(q, 4 * rw->taken);
    uint64_t have = 0;

    if (rw->taken == 0)
        return 0;
    for (unsigned i = 0; i < rw->n_reserve; i++)
        have += rw->reserve[i].count;
    while (have < want && rw->n_reserve < QCOW2_MAX_RUNS) {
        /* It is only an advance: whoever needs a cluster finds out. */
        if (claim_batch(q, want - have) < 0)
            return rw->error;
        have += rw->reserve[rw->n_reserve - 1].count;
    }
    return 0;
}

int
qcow2_take(struct qcow2 *q, uint64_t max, uint64_t *first, uint64_t *count)
{
    struct qcow2_rw *rw = q->rw;
    struct qcow2_run *run = &rw->reserve[0];
    int rc = rw->n_reserve ? 0 : claim_batch(q, batch_size(q, MB_MAX(max, 2 * rw->taken)));

    /* At the end of what the file can have there may be less. */
    if (rc == -EFBIG)
        rc = claim_batch(q, 1);
    if (rc < 0)
        return rc;
    *first = run->first;
    *count = MB_MIN(max, run->count);
    rw->taken += *count;
    if (run->batch > rw->stable)
        rw->barrier = true;
    run->first += *count;
    run->count -= *count;
    if (run->count > 0)
        return 0;
    rw->n_reserve--;
    for (unsigned i = 0; i < rw->n_reserve; i++)
        rw->reserve[i] = rw->reserve[i + 1];
    return 0;
}

static void
nothing(struct qcow2 *q, uint64_t first, uint64_t count)
{
}

void
qcow2_empty_reserve(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;

    while (rw->n_reserve > 0) {
        rw->n_reserve--;
        if (qcow2_unref(q, &rw->reserve[rw->n_reserve], nothing) < 0)
            return;
    }
}

/* ---- letting go ----------------------------------------------------------------------- */

static void
append(struct qcow2_runs *runs, uint64_t first, uint64_t count)
{
    struct qcow2_run *last = runs->n ? &runs->v[runs->n - 1] : NULL;

    if (last && last->first + last->count == first) {
        last->count += count;
        return;
    }
    if (runs->n == runs->cap) {
        size_t cap = runs->cap ? 2 * runs->cap : 16;
        struct qcow2_run *v = reallocarray(runs->v, cap, sizeof(*v));

        if (!v)
            return; /* lost until the image is checked */
        runs->v = v;
        runs->cap = cap;
    }
    runs->v[runs->n++] = (struct qcow2_run){.first = first, .count = count};
}

void
qcow2_drop(struct qcow2 *q, uint64_t first, uint64_t count)
{
    append(&q->rw->dropped, first, count);
    q->rw->dirty = true;
}

/* An entry that says a table is data is wrong: the table stays. */
static void
drop_data(struct qcow2 *q, uint64_t cluster)
{
    if (!qcow2_is_meta(q, cluster))
        qcow2_drop(q, cluster, 1);
}

void
qcow2_drop_entry(struct qcow2 *q, uint64_t entry)
{
    if (entry & QCOW2_COMPRESSED_FLAG) {
        uint64_t offset, len;

        qcow2_packed_range(q, entry, &offset, &len);
        for (uint64_t c = offset >> q->cluster_bits; c <= (offset + len - 1) >> q->cluster_bits; c++)
            drop_data(q, c);
    } else if (entry & QCOW2_OFFSET_MASK) {
        drop_data(q, (entry & QCOW2_OFFSET_MASK) >> q->cluster_bits);
    }
}

void
qcow2_move_runs(struct qcow2_runs *to, struct qcow2_runs *from)
{
    if (to->n == 0) {
        struct qcow2_runs t = *to;

        *to = *from;
        *from = t;
        return;
    }
    for (size_t i = 0; i < from->n; i++)
        append(to, from->v[i].first, from->v[i].count);
    from->n = 0;
}

/* ---- grace periods ----------------------------------------------------------------------- */

void
qcow2_enter(struct qcow2 *q, struct bk_io *io)
{
    struct qcow2_rw *rw = q->rw;

    io->qcow2.epoch = atomic_load(&rw->epoch) & 1;
    atomic_fetch_add(&rw->shard[bk_engine_id(io->engine) % QCOW2_SHARDS].running[io->qcow2.epoch], 1);
}

void
qcow2_leave(struct qcow2 *q, struct bk_io *io)
{
    atomic_fetch_sub(&q->rw->shard[bk_engine_id(io->engine) % QCOW2_SHARDS].running[io->qcow2.epoch], 1);
}

/* Nothing runs that began in the epoch before this one. */
static bool
epoch_ended(struct qcow2_rw *rw)
{
    unsigned old = ~atomic_load(&rw->epoch) & 1;

    for (unsigned i = 0; i < QCOW2_SHARDS; i++) {
        if (atomic_load(&rw->shard[i].running[old]))
            return false;
    }
    return true;
}

static void
punch(struct qcow2 *q, uint64_t first, uint64_t count)
{
    uint64_t from = first << q->cluster_bits, end = (first + count) << q->cluster_bits;
    struct bk_xfer x = {.op = BK_XFER_DISCARD, .file = q->file, .offset = from};

    end = MB_MIN(end, q->file->size);
    if (from >= end)
        return;
    x.len = end - from;
    if (bk_xfer_run(&x) < 0)
        return; /* a hint; the cluster is made zeros before it is used */
}

void
qcow2_free_dropped(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;

    for (;;) {
        if (rw->grace == QCOW2_GRACE_NONE) {
            if (rw->waiting.n == 0)
                return;
            qcow2_move_runs(&rw->gracing, &rw->waiting);
            atomic_fetch_add(&rw->epoch, 1);
            rw->grace = QCOW2_GRACE_FIRST;
        }
        if (!epoch_ended(rw))
            return;
        if (rw->grace == QCOW2_GRACE_FIRST) {
            atomic_fetch_add(&rw->epoch, 1);
            rw->grace = QCOW2_GRACE_SECOND;
            continue;
        }
        rw->grace = QCOW2_GRACE_NONE;
        for (size_t i = 0; i < rw->gracing.n; i++) {
            if (qcow2_unref(q, &rw->gracing.v[i], punch) < 0)
                break;
        }
        rw->gracing.n = 0;
    }
}

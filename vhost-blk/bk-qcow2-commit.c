/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commits.  What changed is copied under the lock, so that the file gets the
 * tables as they were at one moment, and written without it, in the stages that
 * bk-qcow2-rw.h explains.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

struct qcow2_chunk {
    struct qcow2_chunk *next;
    uint64_t offset;
    size_t len;
    uint8_t data[];
};

static uint8_t *
add(struct qcow2_commit *c, enum qcow2_stage stage, uint64_t offset, size_t len)
{
    struct qcow2_chunk *k = malloc(sizeof(*k) + len);

    if (!k) {
        c->err = -ENOMEM;
        return NULL;
    }
    k->next = c->stage[stage];
    k->offset = offset;
    k->len = len;
    c->stage[stage] = k;
    return k->data;
}

static void
clear(struct qcow2_commit *c)
{
    c->err = 0;
    for (unsigned i = 0; i < N_STAGES; i++) {
        while (c->stage[i]) {
            struct qcow2_chunk *k = c->stage[i];

            c->stage[i] = k->next;
            free(k);
        }
    }
}

/* ---- collecting; under the lock ------------------------------------------------------------- */

static void
collect_blocks(struct qcow2_rw *rw, struct qcow2_commit *c)
{
    for (uint64_t r = rw->block_from; r < rw->block_to; r++) {
        struct qcow2_refblock *b = &rw->blocks[r];
        uint8_t *data;

        if (b->dirty_to == 0)
            continue;
        data = add(c, STAGE_COUNTS, rw->reftable[r] + b->dirty_from, b->dirty_to - b->dirty_from);
        if (data)
            memcpy(data, b->data + b->dirty_from, b->dirty_to - b->dirty_from);
    }
}

static void
collect_words(struct qcow2_commit *c, enum qcow2_stage stage, uint64_t offset, const uint64_t *words, uint64_t from,
              uint64_t to)
{
    uint8_t *data = from < to ? add(c, stage, offset + from * 8, (to - from) * 8) : NULL;

    for (uint64_t i = from; data && i < to; i++)
        mb_put_be64(data + (i - from) * 8, words[i]);
}

static void
collect_reftable(struct qcow2 *q, struct qcow2_commit *c)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t header[QCOW2_REFTABLE_WORDS];

    if (!rw->reftable_moved) {
        collect_words(c, STAGE_REFTABLE, rw->reftable_offset, rw->reftable, rw->reftable_from,
                      rw->reftable_to);
        return;
    }
    collect_words(c, STAGE_COUNTS, rw->reftable_offset, rw->reftable, 0, rw->reftable_entries);
    qcow2_reftable_words(q, header);
    collect_words(c, STAGE_REFTABLE, QCOW2_HEADER_REFTABLE, header, 0, QCOW2_REFTABLE_WORDS);
}

/* Where L1 is, and for how large a disk, is one write into one sector. The new table is in the file. */
static void
collect_header(struct qcow2 *q, struct qcow2_commit *c)
{
    uint64_t header[QCOW2_SIZE_WORDS];

    qcow2_size_words(q, header);
    collect_words(c, STAGE_L1, QCOW2_HEADER_SIZE, header, 0, q->rw->grown ? QCOW2_SIZE_WORDS : 0);
}

static void
collect_l2(struct qcow2_commit *c, const struct qcow2_l2 *s)
{
    uint8_t *data;

    if (s->dirty_to == 0)
        return;
    data = add(c, STAGE_L2, s->offset + s->dirty_from, s->dirty_to - s->dirty_from);
    for (uint32_t at = s->dirty_from; data && at < s->dirty_to; at += 8)
        mb_put_be64(data + (at - s->dirty_from), qcow2_l2_word(s, at / 8));
}

/* What was collected is the file's now; what changes from here on is the next commit's. */
static void
hand_over(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;

    for (uint64_t r = rw->block_from; r < rw->block_to; r++) {
        rw->blocks[r].committing = rw->blocks[r].dirty_to > 0;
        rw->blocks[r].dirty_to = 0;
    }
    rw->commit_from = rw->block_from;
    rw->commit_to = rw->block_to;
    rw->block_from = rw->block_to = 0;
    for (unsigned i = 0; i < q->n_l2; i++) {
        q->l2[i].committing = q->l2[i].dirty_to > 0;
        q->l2[i].dirty_to = 0;
    }
    rw->reftable_from = rw->reftable_to = 0;
    rw->reftable_moved = false;
    rw->l1_from = rw->l1_to = 0;
    rw->l1_copied = rw->grown = rw->barrier = rw->dirty = false;
    rw->n_changed = 0;
    rw->taken = 0;
    qcow2_journal_turn(q->journal);
    rw->dropping.n = 0;
    qcow2_move_runs(&rw->dropping, &rw->dropped);
}

static int
collect(struct qcow2 *q, struct qcow2_commit *c)
{
    struct qcow2_rw *rw = q->rw;

    c->err = qcow2_fill_reserve(q);
    collect_blocks(rw, c);
    collect_reftable(q, c);
    for (unsigned i = 0; i < q->n_l2; i++)
        collect_l2(c, &q->l2[i]);
    collect_words(c, rw->l1_copied ? STAGE_L1 : STAGE_L2, q->l1_offset, q->l1, rw->l1_from, rw->l1_to);
    collect_header(q, c);
    c->barrier = rw->barrier;
    if (c->err == 0)
        hand_over(q);
    return c->err;
}

/* ---- writing ----------------------------------------------------------------------------------- */

int
qcow2_write_at(struct qcow2 *q, uint64_t offset, void *data, size_t len)
{
    struct iovec iov = {data, len};
    struct bk_xfer x = {
        .op = BK_XFER_WRITE, .file = q->file, .offset = offset, .len = len, .iov = &iov, .n_iov = 1};

    return bk_xfer_run(&x);
}

static int
write_stage(struct qcow2 *q, enum qcow2_stage stage, struct qcow2_commit *c)
{
    int rc = c->err;

    for (struct qcow2_chunk *k = c->stage[stage]; k && rc == 0; k = k->next)
        rc = qcow2_write_at(q, k->offset, k->data, k->len);
    return rc;
}

static int
write_stages(struct qcow2 *q, struct qcow2_commit *c)
{
    bool barrier = false;

    for (unsigned i = 0; i < N_STAGES; i++) {
        int rc = 0;

        if (c->stage[i] && barrier)
            rc = bk_file_sync(q->file);
        barrier = barrier && rc == 0 && !c->stage[i];
        if (rc == 0)
            rc = write_stage(q, i, c);
        if (rc < 0)
            return rc;
        /* Entries of L2 wait for counts and copies only if they said so. */
        if (i == STAGE_COUNTS)
            barrier = c->barrier || c->stage[STAGE_REFTABLE];
        else
            barrier = barrier || c->stage[i];
    }
    return bk_file_sync(q->file);
}

int
qcow2_write_counts(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;

    for (uint64_t r = rw->block_from; r < rw->block_to; r++) {
        struct qcow2_refblock *b = &rw->blocks[r];
        int rc;

        if (b->dirty_to == 0)
            continue;
        rc = qcow2_write_at(q, rw->reftable[r] + b->dirty_from, b->data + b->dirty_from,
                         b->dirty_to - b->dirty_from);
        if (rc < 0)
            return rc;
        b->dirty_to = 0;
    }
    rw->block_from = rw->block_to = 0;
    return 0;
}

/* ---- a commit ------------------------------------------------------------------------------------ */

static void
settle(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;

    for (unsigned i = 0; i < q->n_l2; i++) {
        struct qcow2_l2 *s = &q->l2[i];
        bool was = s->committing;

        s->committing = false;
        if (was && !qcow2_l2_is_busy(s))
            rw->n_dirty--;
    }
    for (uint64_t r = rw->commit_from; r < rw->commit_to; r++)
        rw->blocks[r].committing = false;
    rw->commit_from = rw->commit_to = 0;
    rw->stable = rw->batch - 1;
    qcow2_journal_retire(q->journal); /* before clusters it tells of are used again */
    qcow2_move_runs(&rw->waiting, &rw->dropping);
    qcow2_free_dropped(q);
    if (qcow2_write_counts(q) < 0)
        return; /* they stay dirty */
}

/* After a failure nobody knows what the file has, so all that was collected is kept, and written again as it is
 * before anything that changed later: there may be room on the host then. What a sync lost does not come back. */
static int
carry_out(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;
    int rc;

    pthread_mutex_unlock(&q->lock);
    rc = write_stages(q, &rw->commit);
    pthread_mutex_lock(&q->lock);
    rw->commit_failed = rc < 0;
    if (rc < 0) {
        rw->error = atomic_load(&q->file->sync_error);
        return rc;
    }
    clear(&rw->commit);
    settle(q);
    return 0;
}

int
qcow2_commit(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;
    int rc = rw->error;

    if (rc == 0 && rw->commit_failed)
        rc = carry_out(q);
    if (rc == 0)
        rc = qcow2_journal_make_way(q);
    if (rc == 0 && rw->dirty)
        rc = collect(q, &rw->commit);
    if (rc < 0) {
        if (!rw->commit_failed)
            clear(&rw->commit);
        return rc;
    }
    rw->batch++;
    return carry_out(q);
}

void
qcow2_commit_free(struct qcow2_rw *rw)
{
    clear(&rw->commit);
}

/* ---- without one ------------------------------------------------------------------------------ */

void
qcow2_keep(struct qcow2 *q, struct qcow2_l2 *slot, struct bk_io *io)
{
    struct qcow2_rw *rw = q->rw;
    struct qcow2_commit c = {{NULL}};
    bool was = slot->dirty_to > 0, ordered;

    ordered = rw->committing || rw->commit_failed || rw->barrier || rw->l1_copied || rw->grown || rw->reftable_moved ||
              rw->reftable_to > 0;
    if (q->journal) {
        io->qcow2.commit |= qcow2_journal_wants_commit(q->journal);
        return;
    }
    if (!q->eager)
        return;
    io->qcow2.commit |= ordered || rw->error;
    if (ordered || rw->error)
        return;
    collect_l2(&c, slot);
    collect_words(&c, STAGE_L2, q->l1_offset, q->l1, rw->l1_from, rw->l1_to);
    if (write_stage(q, STAGE_L2, &c) < 0) {
        clear(&c);
        io->qcow2.commit = true; /* which does it, or tells the error */
        return;
    }
    clear(&c);
    slot->dirty_to = 0;
    rw->n_changed -= was;
    rw->n_dirty -= was && !qcow2_l2_is_busy(slot);
    rw->l1_from = rw->l1_to = 0;
    rw->dirty = rw->n_changed > 0 || rw->dropped.n > 0;
}

bool
qcow2_needs_commit(const struct qcow2 *q)
{
    const struct qcow2_rw *rw = q->rw;

    return rw->dirty || rw->committing || rw->commit_failed || rw->waiting.n > 0 ||
           rw->grace != QCOW2_GRACE_NONE || rw->error;
}

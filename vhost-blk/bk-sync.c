/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Flushes.  One is tried at once when nothing else is in flight, and timed as
 * writes are.  Those that arrive while one runs are satisfied by one further
 * fdatasync; a flush of a file that did not change since the last one costs nothing.
 */
#include <config.h>

#include <errno.h>

#include "bk-engine-priv.h"

enum bk_status
bk_sync_start(struct bk_engine *e, struct bk_xfer *x)
{
    struct bk_file *f = x->file;
    int err = atomic_load(&f->sync_error);

    if (err || atomic_load(&f->dirty_gen) == atomic_load(&f->synced_gen))
        return bk_xfer_finished(x, err);
    x->next = e->waiting;
    e->waiting = x;
    e->n_waiting++;
    return BK_PENDING;
}

/* Move the flushes of one file from the waiting list to the running fdatasync. */
static void
collect_syncs(struct bk_engine *e)
{
    struct bk_xfer **link = &e->waiting;

    e->sync = (struct bk_xfer){.op = BK_XFER_SYNC, .file = e->waiting->file};
    while (*link) {
        struct bk_xfer *x = *link;

        if (x->file != e->sync.file) {
            link = &x->next;
            continue;
        }
        *link = x->next;
        x->next = e->syncing;
        e->syncing = x;
        e->n_waiting--;
    }
    e->sync_gen = atomic_load_explicit(&e->sync.file->dirty_gen, memory_order_acquire);
}

void
bk_sync_finished(struct bk_engine *e, int err)
{
    struct bk_file *f = e->sync.file;
    struct bk_xfer *list = e->syncing;

    if (err < 0)
        atomic_store(&f->sync_error, err);
    else
        bk_file_synced(f, e->sync_gen);
    e->syncing = NULL;
    e->sync_running = false;
    while (list) {
        struct bk_xfer *x = list;

        list = x->next;
        e->pending--;
        bk_xfer_finished(x, err);
        x->done(x);
    }
}

void
bk_sync_run(struct bk_engine *e)
{
    while (e->waiting && !e->sync_running) {
        bool alone = e->pending == e->n_waiting;
        uint64_t start;
        int rc;

        collect_syncs(e);
        e->sync_running = true;
        if (!alone || !bk_budget_allows(&e->syncs)) {
            bk_engine_hand_over(e, &e->sync);
            break;
        }
        /* What has completed so far shall not wait for the disk. */
        e->burst_end(e->opaque);
        start = bk_now_ns();
        do {
            rc = bk_blocking_run(&e->sync);
        } while (rc == -EINTR);
        if (bk_now_ns() - start > 2 * BK_SLOW_NS)
            e->syncs.skip = BK_SLOW_SKIP;
        bk_sync_finished(e, rc);
    }
}

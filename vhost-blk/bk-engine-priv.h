/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An engine from the inside:
 *
 *   bk-engine.c   the way of a transfer; an engine's life
 *   bk-try.c      what is tried at once, shared with the pool, written together
 *   bk-sync.c     flushes
 *   bk-xfer.c     what the result of a system call means
 *   bk-uring.c, bk-threads.c   the asynchronous ways
 */
#ifndef BK_ENGINE_PRIV_H
#define BK_ENGINE_PRIV_H

#include "bk-engine.h"
#include "bk-merge.h"
#include "bk-pool.h"
#include "bk-uring.h"
#include "bk-xfer.h"

#define BK_SLOW_NS 1000000u  /* an inline write or flush that took longer blocked */
#define BK_SLOW_SKIP 64u     /* so many go the other way then */

/* How often the direct way is left out after it turned out badly. */
struct bk_budget {
    unsigned skip;
};

struct bk_engine {
    struct bk_uring *ring;      /* NULL: threads only */
    struct bk_pool_client client;
    struct vh_loop *loop;
    void (*burst_end)(void *opaque);
    void *opaque;
    unsigned pending;
    struct bk_budget reads, writes, syncs;
    unsigned id;

    /* Reads shared with the pool. */
    bool can_share;             /* there is a processor for it */
    bool more;                  /* requests wait behind the one being started */
    unsigned n_sharing;         /* under way */
    unsigned n_large;           /* since the thread slept */

    /* Writes that adjoin. */
    struct bk_merge merge;
    bool alone;                 /* the request being started added nothing to them */

    /* Flushes: those the running fdatasync covers, and those that came later. */
    struct bk_xfer *syncing;
    struct bk_xfer *waiting;
    unsigned n_waiting;
    struct bk_xfer sync;        /* the fdatasync itself */
    uint64_t sync_gen;
    bool sync_running;
};

static inline bool
bk_budget_allows(struct bk_budget *b)
{
    if (b->skip == 0)
        return true;
    b->skip--;
    return false;
}

/* ---- bk-engine.c --------------------------------------------------------------- */

/* x goes the asynchronous way. */
void bk_engine_hand_over(struct bk_engine *e, struct bk_xfer *x);

/* x has the result of a system call: go on with it, or tell that it is finished. */
void bk_engine_deliver(struct bk_engine *e, struct bk_xfer *x);

/* ---- bk-try.c ------------------------------------------------------------------ */

/* Read or write at once. BK_PENDING: it goes the asynchronous way. */
enum bk_status bk_try_read(struct bk_engine *e, struct bk_xfer *x) MB_MUST_CHECK;
enum bk_status bk_try_write(struct bk_engine *e, struct bk_xfer *x) MB_MUST_CHECK;

/* Work of the caller's. BK_PENDING: a thread of the pool does it. */
enum bk_status bk_try_work(struct bk_engine *e, struct bk_xfer *x) MB_MUST_CHECK;

/* x is for a thread of the pool, which the queue's thread does not wait for; and when it has its result. */
bool bk_try_sharing(struct bk_engine *e, struct bk_xfer *x) MB_MUST_CHECK;
void bk_try_end_sharing(struct bk_engine *e, struct bk_xfer *x);

/* x is a write that waits for more that adjoin; write those that do. */
bool bk_try_holding(struct bk_engine *e, struct bk_xfer *x) MB_MUST_CHECK;
void bk_try_write_held(struct bk_engine *e);

/* ---- bk-sync.c ----------------------------------------------------------------- */

/* BK_PENDING: it waits for bk_sync_run(). */
enum bk_status bk_sync_start(struct bk_engine *e, struct bk_xfer *x) MB_MUST_CHECK;

/* Carry out the flushes that wait, unless some are under way. */
void bk_sync_run(struct bk_engine *e);

/* The flushes under way have ended with err. */
void bk_sync_finished(struct bk_engine *e, int err);

#endif

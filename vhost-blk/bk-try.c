/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is tried at once, and why that is right:
 *  - reads with RWF_NOWAIT: data in the page cache is copied with one system
 *    call and no wake-up;
 *  - buffered writes: they are a copy into the page cache, for which the kernel
 *    has no "do not wait" on most file systems.  They may block (dirty page
 *    limit, journal), so each is timed: after one that took long the next
 *    ones go the asynchronous way.
 *
 * Large reads of which one after the other comes are shared with a thread of
 * the pool: it copies one while we copy the next.  Writes are not, the host's
 * file systems let only one at a time into a file; those that adjoin become one
 * system call.  Work, which is copying clusters, is shared too: half of that is reading.
 */
#include <config.h>

#include <errno.h>
#include <sys/uio.h>

#include "bk-engine-priv.h"

#define MISS_SKIP 16u        /* reads that leave the page cache try after one that was not there */
#define SHARE_SIZE (128u * 1024) /* reads that are worth another thread, */
#define SHARE_AFTER 16u      /* after so many of them since the thread slept */
#define SHARED_READS 1u      /* that the pool has at once, */
#define SHARED_WORK 2u       /* and pieces of work: one that waits, as ours take as long as its */

/* ---- at once ------------------------------------------------------------------------ */

enum bk_status
bk_try_read(struct bk_engine *e, struct bk_xfer *x)
{
    ssize_t n;

    if (atomic_load_explicit(&x->file->no_nowait, memory_order_relaxed) || (e->ring && !bk_budget_allows(&e->reads)))
        return BK_PENDING;
    n = preadv2(x->file->fd, x->iov, (int)x->n_iov, (off_t)x->offset, RWF_NOWAIT);
    if (n >= 0)
        return bk_xfer_result(x, (int)n);
    if (errno == EOPNOTSUPP)
        atomic_store(&x->file->no_nowait, true);
    else if (errno == EAGAIN)
        e->reads.skip = MISS_SKIP;
    return BK_PENDING;
}

enum bk_status
bk_try_work(struct bk_engine *e, struct bk_xfer *x)
{
    uint64_t start;
    int rc;

    if (!bk_budget_allows(&e->writes))
        return bk_xfer_result(x, -EAGAIN);
    start = bk_now_ns();
    rc = x->call(x);
    if (bk_now_ns() - start > BK_SLOW_NS)
        e->writes.skip = BK_SLOW_SKIP;
    return bk_xfer_result(x, rc);
}

static bool
is_large_read(const struct bk_engine *e, const struct bk_xfer *x)
{
    return x->op == BK_XFER_READ && x->len >= SHARE_SIZE && (!e->ring || e->reads.skip == 0) &&
           !atomic_load_explicit(&x->file->no_nowait, memory_order_relaxed);
}

/* Something large with others behind it, while the pool's thread has not enough. */
bool
bk_try_sharing(struct bk_engine *e, struct bk_xfer *x)
{
    bool work = x->op == BK_XFER_WORK;

    if (!e->can_share || !e->more || (work ? e->writes.skip > 0 : !is_large_read(e, x)))
        return false;
    if (e->n_large < SHARE_AFTER)
        e->n_large++;
    if (e->n_large < SHARE_AFTER || e->n_sharing >= (work ? SHARED_WORK : SHARED_READS))
        return false;
    x->shared = true;
    e->n_sharing++;
    return true;
}

/* It is over: what was not there goes the usual way. */
void
bk_try_end_sharing(struct bk_engine *e, struct bk_xfer *x)
{
    x->shared = false;
    e->n_sharing--;
    if (x->op != BK_XFER_READ)
        return;
    if (x->result == -EAGAIN)
        e->reads.skip = MISS_SKIP;
    if (x->result != -EOPNOTSUPP)
        return;
    atomic_store(&x->file->no_nowait, true);
    x->result = -EAGAIN;
}

enum bk_status
bk_try_write(struct bk_engine *e, struct bk_xfer *x)
{
    enum bk_status status;
    uint64_t start;

    if (x->dsync || !bk_budget_allows(&e->writes))
        return BK_PENDING;
    start = bk_now_ns();
    status = bk_xfer_result(x, bk_blocking_run(x));
    if (bk_now_ns() - start > BK_SLOW_NS)
        e->writes.skip = BK_SLOW_SKIP;
    return status;
}

/* ---- writes together ---------------------------------------------------------------------- */

/* What was not written in one goes the usual way. The others are told of at once: more is to follow them. */
void
bk_try_write_held(struct bk_engine *e)
{
    uint64_t start = bk_now_ns();
    struct bk_xfer *list = bk_merge_write(&e->merge);

    if (bk_now_ns() - start > BK_SLOW_NS)
        e->writes.skip = BK_SLOW_SKIP;
    while (list) {
        struct bk_xfer *x = list;

        list = x->next;
        bk_engine_deliver(e, x);
    }
    e->burst_end(e->opaque);
}

/* A large write, behind which more may come that adjoins: bk_engine_poll() deals with it. */
bool
bk_try_holding(struct bk_engine *e, struct bk_xfer *x)
{
    if (!bk_merge_wants(x) || e->writes.skip > 0)
        return false;
    while (!bk_merge_is_empty(&e->merge) && !bk_merge_fits(&e->merge, x))
        bk_try_write_held(e);
    if (bk_merge_is_empty(&e->merge) && !e->more)
        return false;
    bk_merge_add(&e->merge, x);
    e->alone = false;
    return true;
}

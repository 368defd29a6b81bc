/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way of a transfer:
 *
 *   start ── tried at once ── finished ─────────────────────────────► BK_DONE
 *              │ not there, would block, or only in part
 *              ▼
 *        io_uring or pool ── result ── more to do: again
 *                                └──── x->done()
 *
 * What is tried at once, and why that is right:
 *  - reads with RWF_NOWAIT: data in the page cache is copied with one system
 *    call and no wake-up;
 *  - buffered writes: they are a copy into the page cache, for which the kernel
 *    has no "do not wait" on most file systems.  They may block (dirty page
 *    limit, journal), so each is timed: after one that took long the next
 *    ones go the asynchronous way;
 *  - a flush when nothing else is in flight, timed likewise.
 *
 * Large reads of which one after the other comes are shared with a thread of
 * the pool: it copies one while we copy the next.  Writes are not, the host's
 * file systems let only one at a time into a file; those that adjoin become one
 * system call.
 *
 * Flushes that arrive while one runs are satisfied by one further fdatasync;
 * a flush of a file that did not change since the last one costs nothing.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mb-cleanup.h"

#include "bk-engine.h"
#include "bk-merge.h"
#include "bk-pool.h"
#include "bk-uring.h"
#include "bk-xfer.h"

#define SLOW_NS 1000000u     /* an inline write or flush that took longer blocked */
#define SLOW_SKIP 64u        /* so many go the other way then */
#define MISS_SKIP 16u        /* reads that leave the page cache try after one that was not there */
#define SHARE_SIZE (128u * 1024) /* reads that are worth another thread, */
#define SHARE_AFTER 16u      /* after so many of them since the thread slept */

/* How often the direct way is left out after it turned out badly. */
struct budget {
    unsigned skip;
};

struct bk_engine {
    struct bk_uring *ring;      /* NULL: threads only */
    struct bk_pool_client client;
    struct vh_loop *loop;
    void (*burst_end)(void *opaque);
    void *opaque;
    unsigned pending;
    struct budget reads, writes, syncs;
    unsigned id;

    /* Reads shared with the pool. */
    bool can_share;             /* there is a processor for it */
    bool more;                  /* requests wait behind the one being started */
    bool sharing;               /* one is under way */
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

static bool
budget_allows(struct budget *b)
{
    if (b->skip == 0)
        return true;
    b->skip--;
    return false;
}

/* ---- at once ------------------------------------------------------------------------ */

static enum bk_status
try_read(struct bk_engine *e, struct bk_xfer *x)
{
    ssize_t n;

    if (atomic_load_explicit(&x->file->no_nowait, memory_order_relaxed) || (e->ring && !budget_allows(&e->reads)))
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

/* A large read with others behind it, while the pool's thread has none. */
static bool
share_read(struct bk_engine *e, struct bk_xfer *x)
{
    if (x->len < SHARE_SIZE || !e->can_share || !e->more || (e->ring && e->reads.skip > 0) ||
        atomic_load_explicit(&x->file->no_nowait, memory_order_relaxed))
        return false;
    if (e->n_large < SHARE_AFTER)
        e->n_large++;
    if (e->n_large < SHARE_AFTER || e->sharing)
        return false;
    e->sharing = x->shared = true;
    return true;
}

/* It is over: what was not there goes the usual way. */
static void
end_sharing(struct bk_engine *e, struct bk_xfer *x)
{
    e->sharing = x->shared = false;
    if (x->result == -EAGAIN)
        e->reads.skip = MISS_SKIP;
    if (x->result != -EOPNOTSUPP)
        return;
    atomic_store(&x->file->no_nowait, true);
    x->result = -EAGAIN;
}

static enum bk_status
try_write(struct bk_engine *e, struct bk_xfer *x)
{
    enum bk_status status;
    uint64_t start;

    if (x->dsync || !budget_allows(&e->writes))
        return BK_PENDING;
    start = bk_now_ns();
    status = bk_xfer_result(x, bk_blocking_run(x));
    if (bk_now_ns() - start > SLOW_NS)
        e->writes.skip = SLOW_SKIP;
    return status;
}

/* ---- writes together ---------------------------------------------------------------------- */

static void deliver(struct bk_engine *e, struct bk_xfer *x);

/* What was not written in one goes the usual way. The others are told of at once: more is to follow them. */
static void
write_merged(struct bk_engine *e)
{
    uint64_t start = bk_now_ns();
    struct bk_xfer *list = bk_merge_write(&e->merge);

    if (bk_now_ns() - start > SLOW_NS)
        e->writes.skip = SLOW_SKIP;
    while (list) {
        struct bk_xfer *x = list;

        list = x->next;
        deliver(e, x);
    }
    e->burst_end(e->opaque);
}

/* A large write, behind which more may come that adjoins: bk_engine_poll() deals with it. */
static bool
hold_write(struct bk_engine *e, struct bk_xfer *x)
{
    if (!bk_merge_wants(x) || e->writes.skip > 0)
        return false;
    while (!bk_merge_is_empty(&e->merge) && !bk_merge_fits(&e->merge, x))
        write_merged(e);
    if (bk_merge_is_empty(&e->merge) && !e->more)
        return false;
    bk_merge_add(&e->merge, x);
    e->alone = false;
    return true;
}

/* ---- flushes -------------------------------------------------------------------------- */

static enum bk_status
start_sync(struct bk_engine *e, struct bk_xfer *x)
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

static void
sync_finished(struct bk_engine *e, int err)
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

static void hand_over(struct bk_engine *e, struct bk_xfer *x);

static void
run_syncs(struct bk_engine *e)
{
    while (e->waiting && !e->sync_running) {
        bool alone = e->pending == e->n_waiting;
        uint64_t start;
        int rc;

        collect_syncs(e);
        e->sync_running = true;
        if (!alone || !budget_allows(&e->syncs)) {
            hand_over(e, &e->sync);
            break;
        }
        /* What has completed so far shall not wait for the disk. */
        e->burst_end(e->opaque);
        start = bk_now_ns();
        do {
            rc = bk_blocking_run(&e->sync);
        } while (rc == -EINTR);
        if (bk_now_ns() - start > 2 * SLOW_NS)
            e->syncs.skip = SLOW_SKIP;
        sync_finished(e, rc);
    }
}

/* ---- asynchronous ------------------------------------------------------------------- */

static void
hand_over(struct bk_engine *e, struct bk_xfer *x)
{
    if (!x->shared && e->ring && bk_uring_can(e->ring, x))
        bk_uring_queue(e->ring, x);
    else
        bk_pool_queue(&e->client, x);
}

enum bk_status
bk_engine_start(struct bk_engine *e, struct bk_xfer *x)
{
    enum bk_status status = BK_PENDING;

    x->by_writing = x->shared = false;
    if (x->op == BK_XFER_WRITE && hold_write(e, x)) {
        e->pending++;
        return BK_PENDING;
    }
    if (x->op == BK_XFER_READ && share_read(e, x))
        status = BK_PENDING;
    else if (x->op == BK_XFER_READ)
        status = x->len ? try_read(e, x) : bk_xfer_finished(x, 0);
    else if (x->op == BK_XFER_WRITE)
        status = x->len ? try_write(e, x) : bk_xfer_finished(x, 0);
    else if (x->op == BK_XFER_SYNC)
        status = start_sync(e, x);
    else if (x->op == BK_XFER_DISCARD && atomic_load(&x->file->no_punch))
        status = bk_xfer_finished(x, 0);
    else
        bk_xfer_settle(x);
    if (status == BK_DONE)
        return status;
    e->pending++;
    if (x->op == BK_XFER_WAIT)
        x->pool_client = &e->client;
    else if (x->op != BK_XFER_SYNC)
        hand_over(e, x);
    return BK_PENDING;
}

void
bk_engine_wake(struct bk_xfer *x, int err)
{
    x->result = err;
    bk_pool_finish(x);
}

void
bk_engine_wake_calling(struct bk_xfer *x, int (*call)(struct bk_xfer *x))
{
    x->op = BK_XFER_CALL;
    x->call = call;
    bk_pool_queue(x->pool_client, x);
}

unsigned
bk_engine_id(const struct bk_engine *e)
{
    return e->id;
}

static void
deliver(struct bk_engine *e, struct bk_xfer *x)
{
    if (x->shared)
        end_sharing(e, x);
    if (bk_xfer_result(x, x->result) == BK_PENDING) {
        hand_over(e, x);
        return;
    }
    if (x == &e->sync) {
        sync_finished(e, x->err);
        return;
    }
    e->pending--;
    x->done(x);
}

bool
bk_engine_poll(struct bk_engine *e)
{
    bool any = false;
    struct bk_xfer *x;

    if (!bk_merge_is_empty(&e->merge) && (e->alone || !e->more)) {
        write_merged(e);
        any = true;
    }
    while (e->ring && (x = bk_uring_take(e->ring))) {
        deliver(e, x);
        any = true;
    }
    x = bk_pool_take(&e->client);
    while (x) {
        struct bk_xfer *next = x->next;

        deliver(e, x);
        any = true;
        x = next;
    }
    return any;
}

void
bk_engine_submit(struct bk_engine *e)
{
    e->more = false;
    if (e->pending == 0)
        return;
    if (e->ring)
        bk_uring_submit(e->ring);
    bk_engine_poll(e);
    run_syncs(e);
    if (e->ring)
        bk_uring_submit(e->ring);
}

void
bk_engine_wakes(struct bk_engine *e)
{
    bk_pool_client_wakes(&e->client);
}

void
bk_engine_sleeps(struct bk_engine *e)
{
    e->n_large = 0;
    if (!bk_pool_client_sleeps(&e->client))
        return;
    bk_engine_poll(e);
    bk_engine_submit(e);
    e->burst_end(e->opaque);
}

void
bk_engine_expect(struct bk_engine *e, bool more)
{
    e->more = more;
    e->alone = true;
}

unsigned
bk_engine_pending(const struct bk_engine *e)
{
    return e->pending;
}

/* ---- life --------------------------------------------------------------------------- */

static void
on_ring_event(void *data, uint32_t events)
{
    struct bk_engine *e = data;

    bk_engine_poll(e);
    bk_engine_submit(e);
    e->burst_end(e->opaque);
}

static void
on_pool_event(void *data, uint32_t events)
{
    struct bk_engine *e = data;
    eventfd_t value;

    eventfd_read(e->client.event_fd, &value);
    on_ring_event(e, events);
}

int
bk_engine_parse_kind(const char *name, enum bk_engine_kind *kind)
{
    static const char *const names[] = {
        [BK_ENGINE_AUTO] = "auto", [BK_ENGINE_URING] = "io_uring", [BK_ENGINE_THREADS] = "threads"};

    for (unsigned i = 0; i < MB_ARRAY_SIZE(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *kind = (enum bk_engine_kind)i;
            return 0;
        }
    }
    return -EINVAL;
}

int
bk_engine_new(enum bk_engine_kind kind, struct bk_file *const *files, unsigned n_files, struct bk_pool *pool,
              struct bk_engine **engine, struct bk_err *err)
{
    static atomic_uint next_id;
    struct bk_engine *e = calloc(1, sizeof(*e));
    int rc;

    if (!e)
        return bk_fail(err, -ENOMEM, "out of memory");
    e->id = atomic_fetch_add(&next_id, 1);
    e->can_share = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    rc = bk_pool_client_init(&e->client, pool);
    if (rc < 0) {
        free(e);
        return bk_fail(err, rc, "cannot make an eventfd: %s", strerror(-rc));
    }
    if (kind != BK_ENGINE_THREADS)
        rc = bk_uring_new(files, n_files, &e->ring);
    if (rc < 0 && kind == BK_ENGINE_URING) {
        bk_engine_free(e);
        return bk_fail(err, rc, "io_uring is not available: %s", strerror(-rc));
    }
    *engine = e;
    return 0;
}

void
bk_engine_free(struct bk_engine *e)
{
    if (!e)
        return;
    bk_uring_free(e->ring);
    bk_pool_client_clear(&e->client);
    free(e);
}

bool
bk_engine_has_ring(const struct bk_engine *e)
{
    return e->ring;
}

void
bk_engine_get_fds(const struct bk_engine *e, int fds[2])
{
    fds[0] = e->client.event_fd;
    fds[1] = e->ring ? bk_uring_fd(e->ring) : -1;
}

const char *
bk_engine_name(const struct bk_engine *e)
{
    return e->ring ? "io_uring" : "threads";
}

int
bk_engine_attach(struct bk_engine *e, struct vh_loop *loop, void (*burst_end)(void *opaque), void *opaque)
{
    int rc = vh_loop_add(loop, e->client.event_fd, EPOLLIN, on_pool_event, e);

    if (rc < 0)
        return rc;
    if (e->ring)
        rc = vh_loop_add(loop, bk_uring_fd(e->ring), EPOLLIN, on_ring_event, e);
    if (rc < 0) {
        vh_loop_del(loop, e->client.event_fd);
        return rc;
    }
    e->loop = loop;
    e->burst_end = burst_end;
    e->opaque = opaque;
    return 0;
}

void
bk_engine_detach(struct bk_engine *e)
{
    if (bk_pool_client_sleeps(&e->client))
        bk_engine_poll(e);
    bk_engine_submit(e);
    while (e->pending > 0) {
        struct pollfd fds[2] = {
            {.fd = e->client.event_fd, .events = POLLIN},
            {.fd = e->ring ? bk_uring_fd(e->ring) : -1, .events = POLLIN},
        };

        poll(fds, 2, -1);
        on_pool_event(e, 0);
    }
    vh_loop_del(e->loop, e->client.event_fd);
    if (e->ring)
        vh_loop_del(e->loop, bk_uring_fd(e->ring));
}

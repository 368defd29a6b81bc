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
 * What is tried at once is in bk-try.c, flushes are in bk-sync.c.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bk-engine-priv.h"

/* ---- asynchronous ------------------------------------------------------------------- */

void
bk_engine_hand_over(struct bk_engine *e, struct bk_xfer *x)
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
    if (x->op == BK_XFER_WRITE && bk_try_holding(e, x)) {
        e->pending++;
        return BK_PENDING;
    }
    if (bk_try_sharing(e, x))
        status = BK_PENDING;
    else if (x->op == BK_XFER_READ)
        status = x->len ? bk_try_read(e, x) : bk_xfer_finished(x, 0);
    else if (x->op == BK_XFER_WRITE)
        status = x->len ? bk_try_write(e, x) : bk_xfer_finished(x, 0);
    else if (x->op == BK_XFER_WORK)
        status = bk_try_work(e, x);
    else if (x->op == BK_XFER_SYNC)
        status = bk_sync_start(e, x);
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
        bk_engine_hand_over(e, x);
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

void
bk_engine_deliver(struct bk_engine *e, struct bk_xfer *x)
{
    if (x->shared)
        bk_try_end_sharing(e, x);
    if (bk_xfer_result(x, x->result) == BK_PENDING) {
        bk_engine_hand_over(e, x);
        return;
    }
    if (x == &e->sync) {
        bk_sync_finished(e, x->err);
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
        bk_try_write_held(e);
        any = true;
    }
    while (e->ring && (x = bk_uring_take(e->ring))) {
        bk_engine_deliver(e, x);
        any = true;
    }
    x = bk_pool_take(&e->client);
    while (x) {
        struct bk_xfer *next = x->next;

        bk_engine_deliver(e, x);
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
    bk_sync_run(e);
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

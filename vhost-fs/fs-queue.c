/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One virtqueue, on its worker thread (vh-pump.h).  A request is run at once, in the
 * memory of the guest; what would block goes to the pool, and a lock that must
 * be waited for to a thread of its own.  Those come back through a list and an
 * eventfd, as only the worker may touch the ring.
 *
 * There is an entry for every request that the ring can hold.  They are mapped,
 * not allocated: only what requests really use becomes memory.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs-dev.h"
#include "mb-cleanup.h"
#include "vh-pump.h"

#define NOTIFY_EVERY 16u        /* completions that the driver is kept waiting for at most */
#define NOTIFY_BYTES 131072u    /* it is told of a larger one at once: the next will take as long */

struct fs_entry {
    struct fs_req req;
    struct vh_req ring;
    struct fs_queue *q;
    struct fs_entry *next;      /* in free or done */
    struct iovec iov[VH_REQ_MAX_IOV];
};

struct fs_queue {
    struct fs_dev *dev;
    struct vh_queue *vq;
    struct vh_pump pump;
    struct fs_worker *worker;
    struct fs_entry *entries, *free;
    unsigned n_entries, n_used; /* used: those that were taken once, the first of entries */
    unsigned n_away;            /* with the pool or waiting for a lock */

    int done_fd;
    pthread_mutex_t done_lock;
    _Atomic(struct fs_entry *) done; /* changed under done_lock */
};

/* ---- entries ------------------------------------------------------------------------------------- */

static struct fs_entry *
take_entry(struct fs_queue *q)
{
    struct fs_entry *e = q->free;

    if (e) {
        q->free = e->next;
        return e;
    }
    if (q->n_used >= q->n_entries)
        return NULL;
    e = &q->entries[q->n_used++];
    e->q = q;
    e->ring.iov = e->iov;
    e->ring.iov_cap = MB_ARRAY_SIZE(e->iov);
    return e;
}

static void
put_entry(struct fs_queue *q, struct fs_entry *e)
{
    e->next = q->free;
    q->free = e;
}

static void
push(struct fs_queue *q, struct fs_entry *e)
{
    size_t bytes = e->ring.in_len + e->ring.out_len;

    vh_queue_push(q->vq, &e->ring, (uint32_t)e->req.written);
    put_entry(q, e);
    if (bytes >= NOTIFY_BYTES)
        vh_pump_tell(&q->pump);
    else
        vh_pump_pushed(&q->pump);
}

/* ---- what comes back from other threads ------------------------------------------------------------- */

static void
request_done(struct fs_req *req)
{
    struct fs_entry *e = MB_CONTAINER_OF(req, struct fs_entry, req);
    struct fs_queue *q = e->q;

    /* The eventfd is written with the lock held: when the worker has found the last entry in
     * the list, nobody uses the queue any more. */
    pthread_mutex_lock(&q->done_lock);
    e->next = atomic_load_explicit(&q->done, memory_order_relaxed);
    if (!e->next)
        (void)!eventfd_write(q->done_fd, 1);
    atomic_store_explicit(&q->done, e, memory_order_relaxed);
    pthread_mutex_unlock(&q->done_lock);
}

static void
collect_done(struct fs_queue *q)
{
    struct fs_entry *e;

    pthread_mutex_lock(&q->done_lock);
    e = atomic_load_explicit(&q->done, memory_order_relaxed);
    atomic_store_explicit(&q->done, NULL, memory_order_relaxed);
    pthread_mutex_unlock(&q->done_lock);
    while (e) {
        struct fs_entry *next = e->next;

        q->n_away--;
        push(q, e);
        e = next;
    }
}

static void
on_done(void *data, uint32_t events MB_UNUSED)
{
    struct fs_queue *q = data;
    eventfd_t value;

    (void)!eventfd_read(q->done_fd, &value);
    collect_done(q);
    vh_pump_flush(&q->pump);
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static void
run(struct fs_queue *q, struct fs_entry *e)
{
    e->req = (struct fs_req){
        .fs = q->dev->fs,
        .out = vh_req_out(&e->ring),
        .n_out = e->ring.n_out,
        .in = vh_req_in(&e->ring),
        .n_in = e->ring.n_in,
        .may_wait = !q->dev->pool,
        .others_wait = e->ring.in_len > FS_LARGE_READ && vh_queue_ready(q->vq),
        .done = request_done,
    };
    switch (fs_req_run(&e->req, q->worker)) {
    case FS_REQ_DONE:
        push(q, e);
        break;
    case FS_REQ_WAITS:
        q->n_away++;
        fs_pool_run(q->dev->pool, &e->req);
        break;
    case FS_REQ_PENDING:
        q->n_away++;
        break;
    }
}

/* Take all that is there. */
static bool
burst(void *opaque)
{
    struct fs_queue *q = opaque;
    struct fs_entry *e;

    while ((e = take_entry(q))) {
        if (vh_queue_pop(q->vq, &e->ring) <= 0) {
            put_entry(q, e);
            break;
        }
        run(q, e);
    }
    return e != NULL;
}

/* What the other threads finished meanwhile. */
static void
idle(void *opaque)
{
    struct fs_queue *q = opaque;

    if (q->n_away && atomic_load_explicit(&q->done, memory_order_relaxed))
        collect_done(q);
}

static const struct vh_pump_ops pump_ops = {
    .burst = burst,
    .idle = idle,
    .notify_every = NOTIFY_EVERY,
};

void
fs_queue_process(void *opaque MB_UNUSED, struct vh_queue *vq)
{
    struct fs_queue *q = vh_queue_data(vq);

    vh_pump_run(&q->pump);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static void
queue_free(struct fs_queue *q)
{
    if (q->entries)
        munmap(q->entries, q->n_entries * sizeof(*q->entries));
    fs_worker_free(q->worker);
    mb_close(q->done_fd);
    pthread_mutex_destroy(&q->done_lock);
    free(q);
}

static int
make_entries(struct fs_queue *q)
{
    void *map;

    q->n_entries = vh_queue_size(q->vq);
    map = mmap(NULL, q->n_entries * sizeof(*q->entries), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return -errno;
    q->entries = map;
    return 0;
}

int
fs_queue_start(void *opaque, struct vh_queue *vq, struct vh_loop *loop)
{
    struct fs_queue *q = calloc(1, sizeof(*q));
    struct fs_dev *dev = opaque;
    int r;

    if (!q)
        return -ENOMEM;
    q->dev = dev;
    q->vq = vq;
    /* Nobody waits for what is in the queue for FORGET and INTERRUPT. */
    vh_pump_init(&q->pump, &pump_ops, q, vq, vh_queue_index(vq) == 0 ? 0 : dev->poll_max_ns);
    pthread_mutex_init(&q->done_lock, NULL);
    q->worker = fs_worker_new();
    q->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = q->done_fd < 0 ? -errno : make_entries(q);
    if (r == 0 && !q->worker)
        r = -ENOMEM;
    if (r == 0)
        r = vh_loop_add(loop, q->done_fd, EPOLLIN, on_done, q);
    if (r < 0)
        queue_free(q);
    else
        vh_queue_set_data(vq, q);
    return r;
}

void
fs_queue_stop(void *opaque, struct vh_queue *vq, struct vh_loop *loop)
{
    struct fs_queue *q = vh_queue_data(vq);
    struct fs_dev *dev = opaque;

    while (q->n_away) {
        struct pollfd wait = {.fd = q->done_fd, .events = POLLIN};
        eventfd_t value;

        fs_req_cancel_all(dev->fs);
        (void)!poll(&wait, 1, -1);
        (void)!eventfd_read(q->done_fd, &value);
        collect_done(q);
    }
    vh_loop_del(loop, q->done_fd);
    vh_queue_set_data(vq, NULL);
    queue_free(q);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One virtqueue, on its worker thread.  A request is run at once, in the
 * memory of the guest; what would block goes to the pool, and a lock that must
 * be waited for to a thread of its own.  Those come back through a list and an
 * eventfd, as only the worker may touch the ring.
 *
 * Before the worker sleeps it looks for new requests for a moment, which saves
 * the driver a kick and us a wake-up.  How long follows what happens: doubled,
 * up to the limit, when a request came shortly after the worker slept, halved
 * when it stayed away for longer.  When the worker loses its processor while it
 * looks, others have better use for it: then looking rests, for longer each
 * time.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fs-dev.h"
#include "mb-cleanup.h"

#define LOOK_MIN_NS 4000u
#define LOOK_GAP_NS 200000u     /* a look takes a microsecond; so long: the processor was taken away */
#define REST_MIN_NS 20000000u
#define REST_MAX_NS 640000000u
#define NOTIFY_EVERY 16u        /* completions that the driver is kept waiting for at most */

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
    struct fs_worker *worker;
    struct fs_entry *free;
    unsigned n_entries, n_away; /* away: with the pool or waiting for a lock */
    unsigned pushed;            /* since the driver was told */
    uint32_t look_ns;
    uint64_t slept_at;          /* 0: did not sleep since */
    uint64_t rest_until, rest_ns; /* no looking before */

    int done_fd;
    pthread_mutex_t done_lock;
    struct fs_entry *done;      /* under done_lock */
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
    if (q->n_entries >= vh_queue_size(q->vq))
        return NULL;
    e = malloc(sizeof(*e));
    if (!e)
        return NULL;
    e->q = q;
    e->ring.iov = e->iov;
    e->ring.iov_cap = MB_ARRAY_SIZE(e->iov);
    q->n_entries++;
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
    vh_queue_push(q->vq, &e->ring, (uint32_t)e->req.written);
    put_entry(q, e);
    if (++q->pushed >= NOTIFY_EVERY) {
        q->pushed = 0;
        vh_queue_notify(q->vq);
    }
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
    e->next = q->done;
    if (!q->done)
        (void)!eventfd_write(q->done_fd, 1);
    q->done = e;
    pthread_mutex_unlock(&q->done_lock);
}

static void
collect_done(struct fs_queue *q)
{
    struct fs_entry *e;
    eventfd_t value;

    (void)!eventfd_read(q->done_fd, &value);
    pthread_mutex_lock(&q->done_lock);
    e = q->done;
    q->done = NULL;
    pthread_mutex_unlock(&q->done_lock);
    while (e) {
        struct fs_entry *next = e->next;

        q->n_away--;
        push(q, e);
        e = next;
    }
    q->pushed = 0;
    vh_queue_notify(q->vq);
}

static void
on_done(void *data, uint32_t events MB_UNUSED)
{
    struct fs_queue *q = data;
    bool was_full = q->n_away >= vh_queue_size(q->vq);

    collect_done(q);
    /* Requests may have been left in the ring for want of an entry. */
    if (was_full) {
        do {
            fs_queue_process(q->dev, q->vq);
            vh_queue_notify(q->vq);
        } while (vh_queue_enable_kick(q->vq) && q->free);
    }
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
static void
burst(struct fs_queue *q)
{
    struct fs_entry *e;

    while ((e = take_entry(q))) {
        if (vh_queue_pop(q->vq, &e->ring) <= 0) {
            put_entry(q, e);
            break;
        }
        run(q, e);
    }
    q->pushed = 0;
    vh_queue_notify(q->vq);
}

/* ---- looking before sleeping ---------------------------------------------------------------------------- */

static uint64_t
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void
adapt(struct fs_queue *q, uint64_t now)
{
    uint32_t max = q->dev->poll_max_ns;

    if (!q->slept_at || now < q->rest_until)
        return;
    if (now - q->slept_at <= max)
        q->look_ns = MB_MIN(max, MB_MAX(LOOK_MIN_NS, q->look_ns * 2));
    else
        q->look_ns = q->look_ns / 2 >= LOOK_MIN_NS ? q->look_ns / 2 : 0;
    q->slept_at = 0;
}

static void
rest(struct fs_queue *q, uint64_t now)
{
    bool again = now < q->rest_until + q->rest_ns;

    q->rest_ns = again ? MB_MIN(2 * q->rest_ns, (uint64_t)REST_MAX_NS) : REST_MIN_NS;
    q->rest_until = now + q->rest_ns;
    q->look_ns = 0;
}

static bool
look(struct fs_queue *q)
{
    uint64_t now, last, until;

    if (q->look_ns == 0)
        return false;
    now = now_ns();
    until = now + q->look_ns;
    do {
        unsigned i;

        for (i = 0; i < 32; i++) {
            if (vh_queue_ready(q->vq))
                return true;
#if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
#endif
        }
        last = now;
        now = now_ns();
        if (now - last > LOOK_GAP_NS)
            rest(q, now);
        /* What the other threads finished must not wait until the looking ends. */
    } while (now < until && q->look_ns && !q->n_away);
    return false;
}

void
fs_queue_process(void *opaque MB_UNUSED, struct vh_queue *vq)
{
    struct fs_queue *q = vh_queue_data(vq);

    adapt(q, now_ns());
    vh_queue_disable_kick(vq);
    do {
        burst(q);
    } while (!vh_queue_is_broken(vq) && look(q));
    q->slept_at = now_ns();
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static void
queue_free(struct fs_queue *q)
{
    while (q->free) {
        struct fs_entry *e = q->free;

        q->free = e->next;
        free(e);
    }
    fs_worker_free(q->worker);
    mb_close(q->done_fd);
    pthread_mutex_destroy(&q->done_lock);
    free(q);
}

int
fs_queue_start(void *opaque, struct vh_queue *vq, struct vh_loop *loop)
{
    struct fs_queue *q = calloc(1, sizeof(*q));
    int r = 0;

    if (!q)
        return -ENOMEM;
    q->dev = opaque;
    q->vq = vq;
    pthread_mutex_init(&q->done_lock, NULL);
    q->worker = fs_worker_new();
    q->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!q->worker)
        r = -ENOMEM;
    else if (q->done_fd < 0)
        r = -errno;
    else
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

        fs_req_cancel_all(dev->fs);
        (void)!poll(&wait, 1, -1);
        collect_done(q);
    }
    vh_loop_del(loop, q->done_fd);
    vh_queue_set_data(vq, NULL);
    queue_free(q);
}

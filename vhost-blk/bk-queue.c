/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loop of one queue, on its worker thread: take what is there, hand over
 * what could not be done at once, tell the driver, look for more for a moment,
 * sleep.
 *
 * Looking for more (polling) saves the driver a kick and us a wake-up when the
 * next request follows soon.  How long it lasts follows what happens: doubled,
 * up to the limit, when work came shortly after the thread went to sleep;
 * halved when it stayed away longer than the limit.  A disk that is asked
 * rarely is not polled at all.
 *
 * Where somebody else wants the processor (the search was interrupted, or work
 * comes just after a search in vain, again and again), polling takes from the
 * driver what it wants to give: then it rests, each time twice as long.
 *
 * The pool has one request per ring entry.  Their segment lists are mapped,
 * not allocated: only what requests really use becomes memory.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mb-cleanup.h"

#include "bk-req.h"

#define POLL_MIN_NS 4000u
#define POLL_MAX_VAIN 4u
#define POLL_GAP_NS 20000u        /* a step of the search that took longer was interrupted */
#define REST_MIN_NS 20000000u
#define REST_MAX_NS 640000000u
#define TURN_NS 5000000u   /* after this long the worker's loop gets a turn */
#define NOTIFY_EVERY 4u    /* completions kept from the driver at most while requests are taken */

struct bk_queue {
    struct bk_dev *dev;
    struct vh_queue *vq;
    struct vh_loop *loop;
    struct bk_engine *engine;
    int again_fd;               /* written to come back after a turn of the loop */
    bool starved;               /* the ring has requests, the pool had none */
    unsigned completed;         /* since the driver was told */

    uint32_t poll_ns;
    unsigned vain;              /* searches of full length in a row that found nothing */
    uint64_t rest_ns, rest_until; /* no polling before, and how long it was */
    uint64_t slept_at;          /* 0: did not sleep since */

    unsigned n_reqs;
    struct bk_req *reqs, *free;
    struct iovec *iov;
};

static inline void
cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

struct vh_queue *
bk_queue_vq(struct bk_queue *bq)
{
    return bq->vq;
}

struct bk_engine *
bk_queue_engine(struct bk_queue *bq)
{
    return bq->engine;
}

/* ---- requests ------------------------------------------------------------------------ */

static struct bk_req *
take_free(struct bk_queue *bq)
{
    struct bk_req *req = bq->free;

    if (req)
        bq->free = req->next;
    return req;
}

void
bk_queue_put(struct bk_queue *bq, struct bk_req *req)
{
    req->next = bq->free;
    bq->free = req;
    bq->completed++;
}

static void
handle(struct bk_queue *bq, struct bk_req *req)
{
    switch (bk_req_parse(req)) {
    case 0:
        bk_req_dispatch(bq->dev, req);
        break;
    case -EINVAL:
        bk_req_complete(req, VIRTIO_BLK_S_IOERR, 0);
        break;
    default:
        vh_queue_break(bq->vq, "a request without a status byte");
        bk_queue_put(bq, req);
        break;
    }
}

static void
notify(struct bk_queue *bq)
{
    bq->completed = 0;
    vh_queue_notify(bq->vq);
}

/* Take everything that is available. */
static void
burst(struct bk_queue *bq)
{
    struct bk_req *req;

    bq->starved = false;
    while ((req = take_free(bq))) {
        if (vh_queue_pop(bq->vq, &req->vq) <= 0) {
            req->next = bq->free;
            bq->free = req;
            break;
        }
        handle(bq, req);
        if (bq->completed >= NOTIFY_EVERY)
            notify(bq);
    }
    if (!req)
        bq->starved = true;
    bk_engine_submit(bq->engine);
    notify(bq);
}

/* ---- polling --------------------------------------------------------------------------- */

/* No polling for a while. */
static void
rest(struct bk_queue *bq, uint64_t now)
{
    bool again = now < bq->rest_until + bq->rest_ns;

    bq->rest_ns = again ? MB_MIN(2 * bq->rest_ns, REST_MAX_NS) : REST_MIN_NS;
    bq->rest_until = now + bq->rest_ns;
    bq->poll_ns = 0;
    bq->vain = 0;
}

/* How long to look next time, from how long the thread slept now. */
static void
adapt(struct bk_queue *bq, uint64_t now)
{
    uint64_t slept = now - bq->slept_at;
    uint32_t max = bq->dev->set.poll_max_ns;

    if (bq->slept_at == 0 || now < bq->rest_until)
        return;
    bq->slept_at = 0;
    if (bq->vain >= POLL_MAX_VAIN) {
        rest(bq, now);
    } else if (slept <= max) {
        bq->poll_ns = MB_MIN(max, MB_MAX(POLL_MIN_NS, bq->poll_ns * 2));
    } else {
        bq->poll_ns = bq->poll_ns / 2 < POLL_MIN_NS ? 0 : bq->poll_ns / 2;
        bq->vain = 0;
    }
}

/* New requests or finished transfers, in about a microsecond of looking. */
static bool
look_briefly(struct bk_queue *bq)
{
    for (unsigned i = 0; i < 16; i++) {
        if (vh_queue_ready(bq->vq))
            return true;
        cpu_relax();
    }
    if (bk_engine_pending(bq->engine) && bk_engine_poll(bq->engine)) {
        bk_engine_submit(bq->engine);
        notify(bq);
    }
    return false;
}

/* Look for new requests for a moment; true if there are some. Completions are delivered meanwhile. */
static bool
look(struct bk_queue *bq)
{
    uint64_t now, last, until;

    if (bq->poll_ns == 0)
        return false;
    now = bk_now_ns();
    until = now + bq->poll_ns;
    do {
        if (look_briefly(bq)) {
            bq->vain = 0;
            return true;
        }
        last = now;
        now = bk_now_ns();
        if (now - last > POLL_GAP_NS) {
            rest(bq, now);
            return vh_queue_ready(bq->vq);
        }
    } while (now < until);
    bq->vain += bq->poll_ns == bq->dev->set.poll_max_ns;
    return false;
}

void
bk_queue_process(struct bk_queue *bq)
{
    uint64_t now = bk_now_ns();
    uint64_t turn_end = now + TURN_NS;

    adapt(bq, now);
    do {
        vh_queue_disable_kick(bq->vq);
        do {
            burst(bq);
            if (vh_queue_is_broken(bq->vq))
                return;
            if (bk_now_ns() > turn_end) {
                eventfd_write(bq->again_fd, 1);
                return;
            }
        } while (!bq->starved && look(bq));
        /* Without a free request new ones can wait: those that complete come back here. */
    } while (vh_queue_enable_kick(bq->vq) && !bq->starved);
    bq->slept_at = bk_now_ns();
}

/* Completions were delivered outside of bk_queue_process(). */
static void
on_burst_end(void *opaque)
{
    struct bk_queue *bq = opaque;

    notify(bq);
    if (bq->starved && bq->free)
        eventfd_write(bq->again_fd, 1);
}

static void
on_again(void *data, uint32_t events)
{
    struct bk_queue *bq = data;
    eventfd_t value;

    eventfd_read(bq->again_fd, &value);
    bk_queue_process(bq);
}

/* ---- life ----------------------------------------------------------------------------- */

static int
make_pool(struct bk_queue *bq)
{
    size_t bytes = (size_t)bq->n_reqs * VH_REQ_MAX_IOV * sizeof(struct iovec);
    void *map;

    bq->reqs = calloc(bq->n_reqs, sizeof(*bq->reqs));
    map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map != MAP_FAILED)
        bq->iov = map;
    if (!bq->reqs || !bq->iov)
        return -ENOMEM;
    for (unsigned i = bq->n_reqs; i-- > 0;) {
        struct bk_req *req = &bq->reqs[i];

        req->vq.iov = bq->iov + (size_t)i * VH_REQ_MAX_IOV;
        req->vq.iov_cap = VH_REQ_MAX_IOV;
        req->bq = bq;
        req->next = bq->free;
        bq->free = req;
    }
    return 0;
}

static void
queue_free(struct bk_queue *bq)
{
    if (bq->iov)
        munmap(bq->iov, (size_t)bq->n_reqs * VH_REQ_MAX_IOV * sizeof(struct iovec));
    free(bq->reqs);
    mb_close(bq->again_fd);
    free(bq);
}

int
bk_queue_start(struct bk_dev *dev, struct vh_queue *vq, struct vh_loop *loop)
{
    struct bk_queue *bq;
    unsigned index = vh_queue_index(vq);
    int rc;

    if (index >= dev->set.num_queues)
        return -EINVAL;
    bq = calloc(1, sizeof(*bq));
    if (!bq)
        return -ENOMEM;
    bq->dev = dev;
    bq->vq = vq;
    bq->loop = loop;
    bq->engine = dev->engines[index];
    bq->n_reqs = vh_queue_size(vq);
    bq->again_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = bq->again_fd < 0 ? -errno : make_pool(bq);
    if (rc == 0)
        rc = vh_loop_add(loop, bq->again_fd, EPOLLIN, on_again, bq);
    if (rc == 0) {
        rc = bk_engine_attach(bq->engine, loop, on_burst_end, bq);
        if (rc < 0)
            vh_loop_del(loop, bq->again_fd);
    }
    if (rc < 0) {
        queue_free(bq);
        return rc;
    }
    dev->queues[index] = bq;
    vh_queue_set_data(vq, bq);
    return 0;
}

void
bk_queue_stop(struct bk_queue *bq)
{
    bk_engine_detach(bq->engine);
    vh_queue_notify(bq->vq);
    vh_loop_del(bq->loop, bq->again_fd);
    vh_queue_set_data(bq->vq, NULL);
    bq->dev->queues[vh_queue_index(bq->vq)] = NULL;
    queue_free(bq);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One queue, on its worker thread (vh-pump.h): take what is there, hand over
 * what could not be done at once.
 *
 * The pool has one request per ring entry.  Their segment lists are mapped,
 * not allocated: only what requests really use becomes memory.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bk-req.h"
#include "vh-pump.h"

#define NOTIFY_EVERY 4u    /* completions kept from the driver at most while requests are taken */

struct bk_queue {
    struct bk_dev *dev;
    struct vh_queue *vq;
    struct vh_pump pump;
    struct bk_engine *engine;

    unsigned n_reqs;
    struct bk_req *reqs, *free;
    struct iovec *iov;
};

struct bk_dev *
bk_queue_dev(struct bk_queue *bq)
{
    return bq->dev;
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
    vh_pump_pushed(&bq->pump);
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

/* Take everything that is available. */
static bool
burst(void *opaque)
{
    struct bk_queue *bq = opaque;
    struct bk_req *req;

    while ((req = take_free(bq))) {
        if (vh_queue_pop(bq->vq, &req->vq) <= 0) {
            req->next = bq->free;
            bq->free = req;
            break;
        }
        bk_engine_expect(bq->engine, vh_queue_ready(bq->vq));
        handle(bq, req);
        if (bk_engine_pending(bq->engine))
            bk_engine_poll(bq->engine);
    }
    bk_engine_submit(bq->engine);
    return req != NULL;
}

/* Transfers that finished meanwhile. */
static void
idle(void *opaque)
{
    struct bk_queue *bq = opaque;

    if (bk_engine_pending(bq->engine) && bk_engine_poll(bq->engine))
        bk_engine_submit(bq->engine);
}

static const struct vh_pump_ops pump_ops = {
    .burst = burst,
    .idle = idle,
    .notify_every = NOTIFY_EVERY,
};

void
bk_queue_process(struct bk_queue *bq)
{
    bk_engine_wakes(bq->engine);
    vh_pump_run(&bq->pump);
    bk_engine_sleeps(bq->engine);
}

/* Completions were delivered outside of bk_queue_process(). */
static void
on_burst_end(void *opaque)
{
    struct bk_queue *bq = opaque;

    vh_pump_flush(&bq->pump);
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
    bq->engine = dev->engines[index];
    bq->n_reqs = vh_queue_size(vq);
    vh_pump_init(&bq->pump, &pump_ops, bq, vq, dev->set.poll_max_ns);
    rc = make_pool(bq);
    if (rc == 0)
        rc = bk_engine_attach(bq->engine, loop, on_burst_end, bq);
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
    vh_queue_set_data(bq->vq, NULL);
    bq->dev->queues[vh_queue_index(bq->vq)] = NULL;
    queue_free(bq);
}

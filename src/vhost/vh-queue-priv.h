/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A queue from the inside: for vh-queue.c (its requests), vh-queue-map.c (its
 * life), vh-worker.c (its thread), the message handlers, and tests.
 */
#ifndef VH_QUEUE_PRIV_H
#define VH_QUEUE_PRIV_H

#include <endian.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdatomic.h>

#include "vh-inflight.h"
#include "vh-loop.h"
#include "vh-mem.h"
#include "vh-queue.h"

struct vh_queue {
    /* The rings, for the worker alone while the queue runs. */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    const struct vh_mem *mem;
    const struct vh_region *last_region;     /* where the last address was found */
    uint16_t size;                           /* a power of 2 */
    uint16_t last_avail;                     /* next entry of the available ring to take */
    uint16_t shadow_avail;                   /* the driver's index as last read */
    uint16_t used_idx;                       /* next entry of the used ring to fill */
    uint16_t published;                      /* index that the driver sees */
    uint16_t signalled;                      /* published index at the last interrupt */
    bool signalled_valid;                    /* there was one since the start */
    bool event_idx, indirect;                /* negotiated */
    bool broken;
    bool fresh_pushes;                       /* published since the last vh_queue_notify() */
    int call_fd;                             /* eventfd, or -1 */
    struct vring_desc *table;                /* copy of the indirect table at hand */

    /* In-flight tracking; NULL and 0 without. */
    struct vh_inflight_queue *inflight;
    uint64_t counter;
    uint16_t *batch;                         /* the used_idx - published heads not published */
    uint16_t *resubmit;                      /* heads to serve again after a crash */
    unsigned n_resubmit, next_resubmit;

    struct vh_dev *dev;
    unsigned index;
    void *data;

    /* What the front-end said; for the protocol thread. */
    unsigned num;
    struct vh_vring_addr addr;
    uint16_t base;
    int kick_fd, err_fd;
    bool addr_set, kick_set, enabled;

    /* The worker (vh-worker.c). */
    bool running;
    pthread_t thread;
    struct vh_loop *loop;
    bool kick_watched;
    bool again;                              /* process() is to be called after a turn of the loop */
};

/* Fields of the rings: one access each, in the byte order of virtio 1. */
static inline uint16_t
vh_load16(const uint16_t *p)
{
    return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static inline uint16_t
vh_load16_acquire(const uint16_t *p)
{
    return le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static inline void
vh_store16(uint16_t *p, uint16_t v)
{
    __atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

static inline void
vh_store16_release(uint16_t *p, uint16_t v)
{
    __atomic_store_n(p, htole16(v), __ATOMIC_RELEASE);
}

/* Map the rings by the front-end's addresses and take up work where the ring (or the in-flight
 * region) says.  0, or -errno with the reason logged. */
int vh_queue_map(struct vh_queue *q, const struct vh_mem *mem, const struct vh_inflight *inflight,
                 bool event_idx, bool indirect) MB_MUST_CHECK;

/* Publish what is left and forget the rings; the position goes to q->base. */
void vh_queue_unmap(struct vh_queue *q);

/* Start and stop the worker, on the protocol thread. 0 or -errno. */
int vh_worker_start(struct vh_queue *q) MB_MUST_CHECK;
void vh_worker_stop(struct vh_queue *q);
/* Change a descriptor that the worker uses; the old one is closed. */
void vh_worker_set_fd(struct vh_queue *q, int *where, int fd);

#endif

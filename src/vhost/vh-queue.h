/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Split virtqueue, device side (virtio 1.2, section 2.7).
 *
 * A queue belongs to one thread: the worker that its device runs it on.  All
 * functions here are called on that thread.  Everything read from the rings is
 * hostile: each descriptor is copied once, checked, and never read again.  A
 * guest that breaks the rules gets the queue marked broken; from then on
 * vh_queue_pop() returns -EPROTO and nothing else happens.
 */
#ifndef VH_QUEUE_H
#define VH_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mb-macros.h"

#define VH_QUEUE_MAX_SIZE 1024   /* descriptors in a ring: what we accept */
#define VH_REQ_MAX_IOV 1024      /* segments of one request, regions split */

struct vh_dev;
struct vh_queue;

/*
 * One request: a descriptor chain that was taken from the available ring.  The
 * owner provides the structure and its iov storage, usually from a pool that
 * lives as long as the queue.  out (driver to device) comes first in iov, in
 * (device to driver) follows.
 */
struct vh_req {
    struct iovec *iov;      /* storage, set by the owner before vh_queue_pop() */
    unsigned iov_cap;       /* entries in iov, set by the owner */
    uint16_t head;          /* head descriptor, for vh_queue_push() */
    uint16_t n_out;         /* iov[0 .. n_out-1] are readable */
    uint16_t n_in;          /* iov[n_out .. n_out+n_in-1] are writable */
    size_t out_len;         /* bytes in the readable part */
    size_t in_len;          /* bytes in the writable part */
};

static inline struct iovec *
vh_req_out(struct vh_req *req)
{
    return req->iov;
}

static inline struct iovec *
vh_req_in(struct vh_req *req)
{
    return req->iov + req->n_out;
}

/*
 * Take the next request.  Returns 1 and fills req, 0 when the ring is empty,
 * -EPROTO when the queue is (or just became) broken, -ENOBUFS when the chain
 * has more segments than req->iov_cap (the queue is then broken too).
 * After a restart, requests that the in-flight region (vhost-user
 * specification, "Inflight I/O tracking") shows as unfinished come first.
 */
int vh_queue_pop(struct vh_queue *q, struct vh_req *req) MB_MUST_CHECK;

/*
 * Complete a request that wrote len bytes to its writable part.  The driver
 * sees it with the next vh_queue_notify(), which publishes everything pushed
 * since the last one at once.  Requests may complete in any order.
 */
void vh_queue_push(struct vh_queue *q, const struct vh_req *req, uint32_t len);

/* Publish what was pushed, and interrupt the driver if it asked for it since the last
 * time (event index or VRING_AVAIL_F_NO_INTERRUPT).  Cheap when nothing was pushed.
 * The worker calls it after process() and queue_stopped(); whoever pushes at other
 * times has to. */
void vh_queue_notify(struct vh_queue *q);

/*
 * Kick suppression around a processing burst.  vh_queue_disable_kick() tells
 * the driver not to bother; vh_queue_enable_kick() asks for kicks again and
 * returns true if requests slipped in meanwhile, in which case the caller has
 * to process once more.  The worker calls vh_queue_enable_kick() after process()
 * and processes again as long as requests are taken, unless vh_queue_again() asked
 * for that to wait; so process() needs neither.
 */
void vh_queue_disable_kick(struct vh_queue *q);
bool vh_queue_enable_kick(struct vh_queue *q) MB_MUST_CHECK;

/* True if the available ring has something, without taking it (for polling). */
bool vh_queue_ready(const struct vh_queue *q);

/* Have the worker call process() again after its loop dealt with other events: for a device that
 * could not take everything, or took enough for a turn. */
void vh_queue_again(struct vh_queue *q);

/* Mark the queue broken after a protocol violation found in a request; logs
 * once, tells the front-end through the err eventfd. */
void vh_queue_break(struct vh_queue *q, const char *why);
bool vh_queue_is_broken(const struct vh_queue *q);

unsigned vh_queue_index(const struct vh_queue *q);
unsigned vh_queue_size(const struct vh_queue *q);
struct vh_dev *vh_queue_dev(const struct vh_queue *q);

/* Per-queue pointer of the device implementation. */
void vh_queue_set_data(struct vh_queue *q, void *data);
void *vh_queue_data(const struct vh_queue *q);

#endif

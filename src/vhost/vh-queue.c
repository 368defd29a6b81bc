/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The split virtqueue, device side (virtio 1.2, section 2.7), see vh-queue.h.
 *
 * Shared memory is read with one load per field or copied whole before it is
 * looked at.  Order: the driver's index is loaded with acquire before the ring
 * entry and the descriptors behind it; the used entries are stored before our
 * index, with release; and a full barrier stands between storing our index (or
 * our event) and loading the driver's event (or index), as 2.7.10 asks.
 *
 * vh_queue_push() fills used entries, vh_queue_notify() publishes all of them
 * with one store: the driver's cache line moves once per batch.
 */
#include <config.h>

#include "vh-queue.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mb-log.h"
#include "mb-overflow.h"
#include "vh-dev-priv.h"
#include "vh-queue-priv.h"

/* ---- shared memory ---------------------------------------------------------------- */

static inline void
full_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* A private copy: the barrier keeps the compiler from reading the original again. */
static inline void
copy_once(void *to, const void *from, size_t len)
{
    memcpy(to, from, len);
    __asm__ volatile("" : : "r"(to) : "memory");
}

/* Where the event fields are: behind the last entry of the other side's ring. */
static inline uint16_t *
used_event(const struct vh_queue *q)
{
    return &q->avail->ring[q->size];
}

static inline uint16_t *
avail_event(const struct vh_queue *q)
{
    return (uint16_t *)(void *)&q->used->ring[q->size];
}

static int MB_MUST_CHECK
broken(struct vh_queue *q, int error, const char *why)
{
    vh_queue_break(q, why);
    return error;
}

/* ---- taking requests ----------------------------------------------------------------------- */

/* A buffer that does not lie wholly in the region of the last one. */
static int
append_slowly(struct vh_queue *q, struct vh_req *req, unsigned *n, uint64_t addr, uint64_t len)
{
    while (len > 0) {
        const struct vh_region *r = vh_mem_find(q->mem, addr);
        uint64_t offset, chunk;

        if (!r)
            return broken(q, -EPROTO, "a buffer is outside guest memory");
        if (*n >= req->iov_cap || *n >= VH_REQ_MAX_IOV)
            return broken(q, -ENOBUFS, "a request has too many segments");
        offset = addr - r->gpa;
        chunk = MB_MIN(len, r->size - offset);
        req->iov[*n].iov_base = r->host + offset;
        req->iov[*n].iov_len = (size_t)chunk;
        (*n)++;
        len -= chunk;
        if (MB_ADD_OVERFLOW(addr, chunk, &addr) && len > 0)
            return broken(q, -EPROTO, "a buffer wraps around the address space");
        q->last_region = r;
    }
    return 0;
}

/* A guest tells pages one by one, also those that lie one behind the other: these are one segment. */
static inline bool
extends(const struct vh_req *req, unsigned n, bool first, const char *base)
{
    return !first && (char *)req->iov[n - 1].iov_base + req->iov[n - 1].iov_len == base;
}

/* first: the buffer is the first of its direction. */
static inline int
append(struct vh_queue *q, struct vh_req *req, unsigned *n, bool first, uint64_t addr, uint32_t len)
{
    const struct vh_region *r = q->last_region;

    if (MB_UNLIKELY(!r || addr - r->gpa >= r->size || len > r->size - (addr - r->gpa) || *n >= req->iov_cap ||
                    *n >= VH_REQ_MAX_IOV))
        return append_slowly(q, req, n, addr, len);
    if (extends(req, *n, first, r->host + (addr - r->gpa))) {
        req->iov[*n - 1].iov_len += len;
        return 0;
    }
    req->iov[*n].iov_base = r->host + (addr - r->gpa);
    req->iov[*n].iov_len = len;
    (*n)++;
    return 0;
}

/* One descriptor's buffer goes to the request: readable ones first, then writable ones. */
static inline int
add_buffer(struct vh_queue *q, struct vh_req *req, const struct vring_desc *d, unsigned flags)
{
    uint32_t len = le32toh(d->len);
    unsigned n = req->n_out + req->n_in, before = n;
    int r;

    if (MB_UNLIKELY(len == 0))
        return broken(q, -EPROTO, "a buffer is empty");
    if (MB_UNLIKELY(!(flags & VRING_DESC_F_WRITE) && req->n_in > 0))
        return broken(q, -EPROTO, "a readable buffer follows a writable one");
    r = append(q, req, &n, (flags & VRING_DESC_F_WRITE ? req->n_in : req->n_out) == 0, le64toh(d->addr), len);
    if (MB_UNLIKELY(r < 0))
        return r;
    if (flags & VRING_DESC_F_WRITE) {
        req->n_in = (uint16_t)(req->n_in + (n - before));
        req->in_len += len;
    } else {
        req->n_out = (uint16_t)(req->n_out + (n - before));
        req->out_len += len;
    }
    return 0;
}

/* Walk the table of an indirect descriptor, in a private copy of it. */
static int
walk_indirect(struct vh_queue *q, struct vh_req *req, const struct vring_desc *d, unsigned flags)
{
    uint32_t len = le32toh(d->len);
    unsigned count = len / sizeof(*d), i = 0, seen;

    if (!q->indirect)
        return broken(q, -EPROTO, "an indirect descriptor without the feature");
    if (flags & VRING_DESC_F_NEXT)
        return broken(q, -EPROTO, "an indirect descriptor has a successor");
    if (len == 0 || len % sizeof(*d) != 0 || count > VH_QUEUE_MAX_SIZE)
        return broken(q, -EPROTO, "an indirect table has a wrong length");
    if (vh_mem_read(q->mem, le64toh(d->addr), q->table, len) < 0)
        return broken(q, -EPROTO, "an indirect table is outside guest memory");
    __asm__ volatile("" : : : "memory");
    for (seen = 0; seen < count; seen++) {
        const struct vring_desc *t = &q->table[i];
        int r;

        flags = le16toh(t->flags);
        if (flags & VRING_DESC_F_INDIRECT)
            return broken(q, -EPROTO, "an indirect descriptor in an indirect table");
        r = add_buffer(q, req, t, flags);
        if (r < 0)
            return r;
        if (!(flags & VRING_DESC_F_NEXT))
            return 0;
        i = le16toh(t->next);
        if (i >= count)
            return broken(q, -EPROTO, "an indirect table's next is out of range");
    }
    return broken(q, -EPROTO, "an indirect table has a loop");
}

static int
walk_chain(struct vh_queue *q, struct vh_req *req)
{
    unsigned i = req->head, seen;

    for (seen = 0; seen < q->size; seen++) {
        struct vring_desc d;
        unsigned flags;
        int r;

        copy_once(&d, &q->desc[i], sizeof(d));
        flags = le16toh(d.flags);
        if (flags & VRING_DESC_F_INDIRECT)
            return walk_indirect(q, req, &d, flags);
        r = add_buffer(q, req, &d, flags);
        if (MB_UNLIKELY(r < 0))
            return r;
        if (!(flags & VRING_DESC_F_NEXT))
            return 0;
        i = le16toh(d.next);
        if (MB_UNLIKELY(i >= q->size))
            return broken(q, -EPROTO, "a descriptor's next is out of range");
    }
    return broken(q, -EPROTO, "a descriptor chain has a loop");
}

/* The driver's index, checked; true when there is something to take. */
static inline int
look_at_avail(struct vh_queue *q)
{
    if (q->shadow_avail != q->last_avail)
        return 1;
    q->shadow_avail = vh_load16_acquire(&q->avail->idx);
    if (MB_UNLIKELY((uint16_t)(q->shadow_avail - q->last_avail) > q->size))
        return broken(q, -EPROTO, "the available index jumped");
    return q->shadow_avail != q->last_avail;
}

static int
next_head(struct vh_queue *q, uint16_t *head)
{
    int r;

    if (MB_UNLIKELY(q->next_resubmit < q->n_resubmit)) {
        *head = q->resubmit[q->next_resubmit++];
        return 1;
    }
    r = look_at_avail(q);
    if (r <= 0)
        return r;
    *head = vh_load16(&q->avail->ring[q->last_avail & (q->size - 1)]);
    if (MB_UNLIKELY(*head >= q->size))
        return broken(q, -EPROTO, "an available head is out of range");
    if (q->inflight) {
        struct vh_inflight_desc *d = &q->inflight->desc[*head];

        d->counter = q->counter++;
        __atomic_store_n(&d->inflight, 1, __ATOMIC_RELEASE);
    }
    q->last_avail++;
    return 1;
}

int
vh_queue_pop(struct vh_queue *q, struct vh_req *req)
{
    int r;

    if (MB_UNLIKELY(q->broken))
        return -EPROTO;
    r = next_head(q, &req->head);
    if (r <= 0)
        return r;
    req->n_out = req->n_in = 0;
    req->out_len = req->in_len = 0;
    r = walk_chain(q, req);
    return MB_UNLIKELY(r < 0) ? r : 1;
}

bool
vh_queue_ready(const struct vh_queue *q)
{
    if (q->broken)
        return false;
    return q->next_resubmit < q->n_resubmit || vh_load16_acquire(&q->avail->idx) != q->last_avail;
}

/* ---- completing them ------------------------------------------------------------------------ */

void
vh_queue_push(struct vh_queue *q, const struct vh_req *req, uint32_t len)
{
    struct vring_used_elem *e;

    if (MB_UNLIKELY(q->broken))
        return;
    if (MB_UNLIKELY((uint16_t)(q->used_idx - q->published) == q->size))
        vh_queue_notify(q);
    e = &q->used->ring[q->used_idx & (q->size - 1)];
    __atomic_store_n(&e->id, htole32(req->head), __ATOMIC_RELAXED);
    __atomic_store_n(&e->len, htole32(len), __ATOMIC_RELAXED);
    if (q->inflight) {
        q->batch[(uint16_t)(q->used_idx - q->published)] = req->head;
        q->inflight->desc[req->head].next = q->inflight->last_batch_head;
        __atomic_store_n(&q->inflight->last_batch_head, req->head, __ATOMIC_RELEASE);
    }
    q->used_idx++;
}

/* Let the driver see what was pushed, and strike it off the in-flight region. */
static void
publish(struct vh_queue *q)
{
    unsigned n = (uint16_t)(q->used_idx - q->published), i;

    vh_store16_release(&q->used->idx, q->used_idx);
    q->published = q->used_idx;
    q->fresh_pushes = true;
    if (!q->inflight)
        return;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (i = 0; i < n; i++)
        __atomic_store_n(&q->inflight->desc[q->batch[i]].inflight, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&q->inflight->used_idx, q->used_idx, __ATOMIC_RELEASE);
}

/* Does the driver want to hear of what was published since the last time? */
static bool
wants_interrupt(struct vh_queue *q)
{
    uint16_t old = q->signalled;
    bool valid = q->signalled_valid;

    full_barrier();
    if (!q->event_idx)
        return !(vh_load16(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
    q->signalled = q->published;
    q->signalled_valid = true;
    return !valid || vring_need_event(vh_load16(used_event(q)), q->published, old);
}

void
vh_queue_notify(struct vh_queue *q)
{
    uint64_t one = 1;

    if (q->used_idx != q->published)
        publish(q);
    if (!q->fresh_pushes)
        return;
    q->fresh_pushes = false;
    if (wants_interrupt(q) && q->call_fd >= 0 && write(q->call_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        mb_warn_limited("%s: queue %u: cannot interrupt the driver: %m", q->dev->ops->name, q->index);
}

/* ---- kick suppression --------------------------------------------------------------------------- */

void
vh_queue_disable_kick(struct vh_queue *q)
{
    /* With the event index the driver kicks once for each time we name an
     * index, so there is nothing to do. */
    if (!q->broken && !q->event_idx)
        vh_store16(&q->used->flags, VRING_USED_F_NO_NOTIFY);
}

bool
vh_queue_enable_kick(struct vh_queue *q)
{
    if (q->broken)
        return false;
    if (q->event_idx)
        vh_store16(avail_event(q), q->last_avail);
    else
        vh_store16(&q->used->flags, 0);
    full_barrier();
    return vh_queue_ready(q);
}

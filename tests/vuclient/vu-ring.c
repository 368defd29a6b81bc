/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver's side of a split ring (virtio 1.2, section 2.7), see vuclient.h.
 * Free descriptors are linked through their next field; what a request took is
 * kept in our own slots, so that a back-end that writes nonsense into the used
 * ring is noticed.
 */
#include <config.h>

#include "vuclient.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vu-priv.h"

void
vu_reset_ring(struct vu *vu, unsigned index)
{
    struct vu_queue *q = &vu->q[index];
    unsigned i;

    memset(q->ring.desc, 0, vring_size(q->size, 4096));
    memset(q->slots, 0, q->size * sizeof(*q->slots));
    for (i = 0; i < q->size; i++)
        q->ring.desc[i].next = (uint16_t)(i + 1);
    q->free_head = 0;
    q->n_free = (uint16_t)q->size;
    q->avail_idx = q->used_idx = q->kicked_idx = q->base = 0;
}

int
vu_ring_new(struct vu *vu, unsigned index)
{
    struct vu_queue *q = &vu->q[index];
    void *p = vu_alloc(vu, vring_size(q->size, 4096), 4096);

    q->tables = vu_alloc(vu, (size_t)q->size * q->max_segments * sizeof(struct vring_desc), 64);
    q->slots = calloc(q->size, sizeof(*q->slots));
    if (!p || !q->tables || !q->slots)
        return -ENOMEM;
    vring_init(&q->ring, q->size, p, 4096);
    vu_reset_ring(vu, index);
    return 0;
}

void
vu_ring_free(struct vu *vu, unsigned index)
{
    free(vu->q[index].slots);
    vu->q[index].slots = NULL;
}

/* ---- submitting ----------------------------------------------------------------------- */

/* Fill table entries with the segments, out then in; entry i is followed by next(i). */
static void
fill(const struct vu *vu, struct vring_desc *d, const struct iovec *iov, bool in, bool last)
{
    d->addr = vu_gpa(vu, iov->iov_base);
    d->len = (uint32_t)iov->iov_len;
    d->flags = (uint16_t)((in ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT));
}

static void
submit_direct(struct vu *vu, struct vu_queue *q, const struct iovec *out, unsigned n_out,
              const struct iovec *in, unsigned n_in)
{
    unsigned n = n_out + n_in, i;

    for (i = 0; i < n; i++) {
        struct vring_desc *d = &q->ring.desc[q->free_head];

        fill(vu, d, i < n_out ? &out[i] : &in[i - n_out], i >= n_out, i == n - 1);
        q->free_head = d->next;
    }
    q->n_free = (uint16_t)(q->n_free - n);
}

static void
submit_indirect(struct vu *vu, struct vu_queue *q, const struct iovec *out, unsigned n_out,
                const struct iovec *in, unsigned n_in)
{
    struct vring_desc *head = &q->ring.desc[q->free_head];
    struct vring_desc *table = q->tables + (size_t)q->free_head * q->max_segments;
    unsigned n = n_out + n_in, i;

    for (i = 0; i < n; i++) {
        fill(vu, &table[i], i < n_out ? &out[i] : &in[i - n_out], i >= n_out, i == n - 1);
        table[i].next = (uint16_t)(i + 1);
    }
    q->free_head = head->next;
    q->n_free--;
    head->addr = vu_gpa(vu, table);
    head->len = (uint32_t)(n * sizeof(*table));
    head->flags = VRING_DESC_F_INDIRECT;
}

void
vu_make_available(struct vu *vu, unsigned queue, uint16_t head)
{
    struct vu_queue *q = &vu->q[queue];

    q->ring.avail->ring[q->avail_idx & (q->size - 1)] = head;
    q->avail_idx++;
    __atomic_store_n(&q->ring.avail->idx, q->avail_idx, __ATOMIC_RELEASE);
}

void
vu_kick(struct vu *vu, unsigned queue, bool force)
{
    struct vu_queue *q = &vu->q[queue];
    uint16_t old = q->kicked_idx;
    uint64_t one = 1;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    q->kicked_idx = q->avail_idx;
    if (!force && q->event_idx &&
        !vring_need_event(__atomic_load_n(&vring_avail_event(&q->ring), __ATOMIC_RELAXED), q->avail_idx, old))
        return;
    if (!force && !q->event_idx &&
        (__atomic_load_n(&q->ring.used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY))
        return;
    q->kicks++;
    if (write(q->kick_fd, &one, sizeof(one)) < 0)
        vu_diag("kick: %s", strerror(errno));
}

int
vu_submit(struct vu *vu, unsigned queue, const struct iovec *out, unsigned n_out, const struct iovec *in,
          unsigned n_in, unsigned flags, void *token)
{
    struct vu_queue *q = &vu->q[queue];
    unsigned n = n_out + n_in, need = flags & VU_INDIRECT ? 1 : n;
    uint16_t head = q->free_head;

    if (n == 0)
        return -EINVAL;
    if (n > (flags & VU_INDIRECT ? q->max_segments : q->size))
        return -E2BIG;
    if (need > q->n_free)
        return -EAGAIN;
    if (flags & VU_INDIRECT)
        submit_indirect(vu, q, out, n_out, in, n_in);
    else
        submit_direct(vu, q, out, n_out, in, n_in);
    q->slots[head].token = token;
    q->slots[head].n_desc = (uint16_t)need;
    q->slots[head].busy = true;
    vu_make_available(vu, queue, head);
    if (flags & (VU_KICK | VU_FORCE_KICK))
        vu_kick(vu, queue, flags & VU_FORCE_KICK);
    return 0;
}

/* ---- completions ------------------------------------------------------------------------- */

static void
free_chain(struct vu_queue *q, uint16_t head)
{
    uint16_t last = head;
    unsigned i;

    for (i = 1; i < q->slots[head].n_desc; i++)
        last = q->ring.desc[last].next;
    q->ring.desc[last].next = q->free_head;
    q->free_head = head;
    q->n_free = (uint16_t)(q->n_free + q->slots[head].n_desc);
    q->slots[head].busy = false;
}

int
vu_poll(struct vu *vu, unsigned queue, void **token, uint32_t *len)
{
    struct vu_queue *q = &vu->q[queue];
    uint16_t idx = __atomic_load_n(&q->ring.used->idx, __ATOMIC_ACQUIRE);
    const struct vring_used_elem *e;

    if (idx == q->used_idx)
        return 0;
    e = &q->ring.used->ring[q->used_idx & (q->size - 1)];
    if ((uint16_t)(idx - q->used_idx) > q->size || e->id >= q->size || !q->slots[e->id].busy) {
        vu_diag("queue %u: used index %u, at %u: nonsense", queue, idx, q->used_idx);
        return -EPROTO;
    }
    if (token)
        *token = q->slots[e->id].token;
    if (len)
        *len = e->len;
    free_chain(q, (uint16_t)e->id);
    q->used_idx++;
    return 1;
}

/* Wait for an eventfd and take what it counted: 1, -ETIMEDOUT, -errno. */
static int
wait_fd(int fd, int timeout_ms, uint64_t *count)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int r;

    do {
        r = poll(&p, 1, timeout_ms);
    } while (r < 0 && errno == EINTR);
    if (r <= 0)
        return r < 0 ? -errno : -ETIMEDOUT;
    if (read(fd, count, sizeof(*count)) < 0)
        return -errno;
    return 1;
}

int
vu_wait(struct vu *vu, unsigned queue, int timeout_ms, void **token, uint32_t *len)
{
    struct vu_queue *q = &vu->q[queue];
    uint64_t count;

    for (;;) {
        int r = vu_poll(vu, queue, token, len);

        if (r != 0)
            return r;
        if (q->event_idx)
            __atomic_store_n(&vring_used_event(&q->ring), q->used_idx, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        r = vu_poll(vu, queue, token, len);
        if (r != 0)
            return r;
        r = wait_fd(q->call_fd, timeout_ms, &count);
        if (r < 0)
            return r;
        q->calls += count;
    }
}

unsigned
vu_in_flight(const struct vu *vu, unsigned queue)
{
    return (uint16_t)(vu->q[queue].avail_idx - vu->q[queue].used_idx);
}

int
vu_wait_err(struct vu *vu, unsigned queue, int timeout_ms)
{
    uint64_t count;

    return wait_fd(vu->q[queue].err_fd, timeout_ms, &count);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A queue's life: mapping its rings when it starts, finding where to go on,
 * breaking it, and what it tells about itself.  What it does while it runs is
 * in vh-queue.c.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "mb-log.h"
#include "mb-overflow.h"
#include "vh-dev-priv.h"
#include "vh-queue-priv.h"

static int
refuse(const struct vh_queue *q, int error, const char *why)
{
    mb_error("%s: queue %u: %s", q->dev->ops->name, q->index, why);
    return error;
}

static int
map_rings(struct vh_queue *q, const struct vh_mem *mem, bool event_idx)
{
    size_t event = event_idx ? sizeof(uint16_t) : 0;

    if (!mb_is_power_of_2(q->num) || q->num > VH_QUEUE_MAX_SIZE)
        return refuse(q, -EINVAL, "the ring size is no power of 2 or too large");
    if (!mb_is_aligned(q->addr.desc, 16) || !mb_is_aligned(q->addr.avail, 2) ||
        !mb_is_aligned(q->addr.used, 4))
        return refuse(q, -EINVAL, "the rings are not aligned");
    q->desc = vh_mem_user_to_host(mem, q->addr.desc, q->num * sizeof(struct vring_desc));
    q->avail = vh_mem_user_to_host(mem, q->addr.avail,
                                   sizeof(struct vring_avail) + q->num * sizeof(uint16_t) + event);
    q->used = vh_mem_user_to_host(
        mem, q->addr.used, sizeof(struct vring_used) + q->num * sizeof(struct vring_used_elem) + event);
    if (!q->desc || !q->avail || !q->used)
        return refuse(q, -EFAULT, "the rings are outside guest memory");
    /* The region may be mapped at an offset that is less aligned than the address was. */
    if (!mb_is_aligned((uintptr_t)q->desc, 16) || !mb_is_aligned((uintptr_t)q->avail, 2) ||
        !mb_is_aligned((uintptr_t)q->used, 4))
        return refuse(q, -EINVAL, "the rings are not aligned in memory");
    q->size = (uint16_t)q->num;
    return 0;
}

/* Find where to go on, from the in-flight region if it knows and else from the front-end. */
static int
recover(struct vh_queue *q, const struct vh_inflight *inflight)
{
    int n;

    q->used_idx = vh_load16(&q->used->idx);
    q->last_avail = q->base;
    q->n_resubmit = q->next_resubmit = 0;
    q->inflight = vh_inflight_get(inflight, q->index, q->size);
    if (!q->inflight)
        return 0;
    q->batch = calloc(q->size, sizeof(*q->batch));
    q->resubmit = calloc(q->size, sizeof(*q->resubmit));
    if (!q->batch || !q->resubmit)
        return -ENOMEM;
    n = vh_inflight_recover(q->inflight, q->size, q->used_idx, q->resubmit, &q->counter);
    if (n < 0)
        return 0;
    /* Everything the driver made available is either used or was in flight. */
    q->n_resubmit = (unsigned)n;
    q->last_avail = (uint16_t)(q->used_idx + n);
    if (n > 0)
        mb_info("%s: queue %u: %d request(s) in flight are served again", q->dev->ops->name, q->index, n);
    return 0;
}

static void
free_storage(struct vh_queue *q)
{
    free(q->table);
    free(q->batch);
    free(q->resubmit);
    q->table = NULL;
    q->batch = q->resubmit = NULL;
    q->n_resubmit = q->next_resubmit = 0;
    q->inflight = NULL;
    q->desc = NULL;
    q->avail = NULL;
    q->used = NULL;
}

int
vh_queue_map(struct vh_queue *q, const struct vh_mem *mem, const struct vh_inflight *inflight, bool event_idx,
             bool indirect)
{
    int r;

    r = map_rings(q, mem, event_idx);
    if (r < 0)
        return r;
    q->mem = mem;
    q->last_region = NULL;
    q->event_idx = event_idx;
    q->indirect = indirect;
    q->broken = false;
    q->signalled_valid = false;
    q->fresh_pushes = false;
    q->table = indirect ? calloc(VH_QUEUE_MAX_SIZE, sizeof(*q->table)) : NULL;
    r = indirect && !q->table ? -ENOMEM : recover(q, inflight);
    if (r < 0) {
        free_storage(q);
        return refuse(q, r, "out of memory");
    }
    q->shadow_avail = q->last_avail;
    q->published = q->used_idx;
    return 0;
}

void
vh_queue_unmap(struct vh_queue *q)
{
    if (!q->desc)
        return;
    vh_queue_notify(q);
    q->base = q->last_avail;
    free_storage(q);
}

/* ---- breaking --------------------------------------------------------------------------- */

void
vh_queue_break(struct vh_queue *q, const char *why)
{
    uint64_t one = 1;

    if (q->broken)
        return;
    q->broken = true;
    mb_error("%s: queue %u is broken: %s", q->dev->ops->name, q->index, why);
    if (q->err_fd >= 0 && write(q->err_fd, &one, sizeof(one)) < 0)
        mb_warn("%s: queue %u: cannot tell the front-end: %m", q->dev->ops->name, q->index);
}

/* ---- small ones ------------------------------------------------------------------------------------ */

bool
vh_queue_is_broken(const struct vh_queue *q)
{
    return q->broken;
}

unsigned
vh_queue_index(const struct vh_queue *q)
{
    return q->index;
}

unsigned
vh_queue_size(const struct vh_queue *q)
{
    return q->size;
}

struct vh_dev *
vh_queue_dev(const struct vh_queue *q)
{
    return q->dev;
}

void
vh_queue_set_data(struct vh_queue *q, void *data)
{
    q->data = data;
}

void *
vh_queue_data(const struct vh_queue *q)
{
    return q->data;
}

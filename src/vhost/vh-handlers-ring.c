/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages about rings.  A ring runs once its size, addresses and kick descriptor
 * are known and it is enabled; whichever message completes that starts it.
 */
#include <config.h>

#include <errno.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "mb-overflow.h"
#include "vh-handlers.h"

/* ---- rings ------------------------------------------------------------------------------- */

static struct vh_queue *
queue_of(struct vh_dev *dev, uint32_t index)
{
    return index < dev->ops->max_queues ? &dev->queues[index] : NULL;
}

int
vh_on_set_vring_num(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q = queue_of(dev, msg->u.state.index);

    if (!q || !mb_is_power_of_2(msg->u.state.num) || msg->u.state.num > VH_QUEUE_MAX_SIZE)
        return -EINVAL;
    if (q->running)
        return -EBUSY;
    q->num = msg->u.state.num;
    return 0;
}

int
vh_on_set_vring_addr(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q = queue_of(dev, msg->u.addr.index);

    if (!q)
        return -EINVAL;
    vh_dev_stop_queue(q);
    q->addr = msg->u.addr;
    q->addr_set = true;
    return vh_dev_start_queue(dev, q);
}

int
vh_on_set_vring_base(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q = queue_of(dev, msg->u.state.index);

    if (!q || msg->u.state.num > UINT16_MAX)
        return -EINVAL;
    if (q->running)
        return -EBUSY;
    q->base = (uint16_t)msg->u.state.num;
    return 0;
}

/* Stops the ring; a new kick descriptor starts it again. */
int
vh_on_get_vring_base(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q = queue_of(dev, msg->u.state.index);

    if (!q)
        return -EINVAL;
    vh_dev_stop_queue(q);
    mb_cleanup_fd(&q->kick_fd);
    q->kick_set = false;
    dev->reply.size = sizeof(dev->reply.u.state);
    dev->reply.u.state.index = msg->u.state.index;
    dev->reply.u.state.num = q->base;
    return 0;
}

/* The queue of a message that brings a descriptor, and the descriptor (-1: none is meant).  None
 * of them may make us wait. */
static int
queue_and_fd(struct vh_dev *dev, struct vh_msg *msg, struct vh_queue **q, int *fd)
{
    bool has_fd = !(msg->u.u64 & VH_VRING_NOFD);

    *q = queue_of(dev, msg->u.u64 & VH_VRING_INDEX_MASK);
    if (!*q || (msg->u.u64 & ~(uint64_t)(VH_VRING_INDEX_MASK | VH_VRING_NOFD)) || msg->n_fds != has_fd)
        return -EINVAL;
    *fd = -1;
    if (has_fd) {
        int r = mb_set_nonblock(msg->fds[0], true);

        if (r < 0)
            return r;
        *fd = vh_msg_steal_fd(msg, 0);
    }
    return 0;
}

int
vh_on_set_vring_kick(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q;
    int fd, r;

    r = queue_and_fd(dev, msg, &q, &fd);
    if (r < 0)
        return r;
    /* Polling instead of kicks is a thing that no front-end we know asks for. */
    if (fd < 0)
        return -ENOTSUP;
    vh_dev_stop_queue(q);
    mb_close(q->kick_fd);
    q->kick_fd = fd;
    q->kick_set = true;
    return vh_dev_start_queue(dev, q);
}

int
vh_on_set_vring_call(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q;
    int fd, r;

    r = queue_and_fd(dev, msg, &q, &fd);
    if (r == 0)
        vh_worker_set_fd(q, &q->call_fd, fd);
    return r;
}

int
vh_on_set_vring_err(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q;
    int fd, r;

    r = queue_and_fd(dev, msg, &q, &fd);
    if (r == 0)
        vh_worker_set_fd(q, &q->err_fd, fd);
    return r;
}

int
vh_on_set_vring_enable(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q = queue_of(dev, msg->u.state.index);

    if (!q || msg->u.state.num > 1)
        return -EINVAL;
    q->enabled = msg->u.state.num;
    if (q->enabled)
        return vh_dev_start_queue(dev, q);
    vh_dev_stop_queue(q);
    return 0;
}

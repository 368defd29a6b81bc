/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages about memory: the regions of the guest, and the in-flight region that
 * the front-end keeps for us.
 */
#include <config.h>

#include <errno.h>
#include <stddef.h>

#include "vh-handlers.h"

/* ---- memory ---------------------------------------------------------------------------- */

/*
 * Memory changes while nothing uses it: running queues are drained, and
 * afterwards every queue that can run is started (again).  One whose rings are
 * not in memory any more stays stopped, which the front-end hears through its
 * err descriptor: the message itself was about memory and went well.
 */
static void
resume_queues(struct vh_dev *dev)
{
    unsigned i;

    for (i = 0; i < dev->ops->max_queues; i++) {
        if (vh_dev_start_queue(dev, &dev->queues[i]) < 0)
            vh_queue_break(&dev->queues[i], "it does not start with the memory as it is now");
    }
}

int
vh_on_set_mem_table(struct vh_dev *dev, struct vh_msg *msg)
{
    const struct vh_mem_table *t = &msg->u.memory;
    unsigned i;
    int r = 0;

    if (t->n_regions > VH_MEM_TABLE_MAX || t->n_regions != msg->n_fds ||
        msg->size < offsetof(struct vh_mem_table, region) + t->n_regions * sizeof(t->region[0]))
        return -EINVAL;
    vh_dev_stop_all(dev);
    vh_mem_clear(&dev->mem);
    for (i = 0; i < t->n_regions && r == 0; i++)
        r = vh_mem_add(&dev->mem, &t->region[i], msg->fds[i]);
    if (r < 0)
        vh_mem_clear(&dev->mem);
    else
        resume_queues(dev);
    return r;
}

int
vh_on_get_max_mem_slots(struct vh_dev *dev, struct vh_msg *msg)
{
    return vh_reply_u64(dev, VH_MEM_MAX_REGIONS);
}

int
vh_on_add_mem_reg(struct vh_dev *dev, struct vh_msg *msg)
{
    int r;

    vh_dev_stop_all(dev);
    r = vh_mem_add(&dev->mem, &msg->u.region.region, msg->fds[0]);
    resume_queues(dev);
    return r;
}

int
vh_on_rem_mem_reg(struct vh_dev *dev, struct vh_msg *msg)
{
    int r;

    vh_dev_stop_all(dev);
    r = vh_mem_remove(&dev->mem, &msg->u.region.region);
    resume_queues(dev);
    return r;
}

/* ---- in-flight region ---------------------------------------------------------------------- */

int
vh_on_get_inflight_fd(struct vh_dev *dev, struct vh_msg *msg)
{
    int fd;

    if (vh_any_queue_runs(dev) || msg->u.inflight.n_queues > dev->ops->max_queues)
        return -EINVAL;
    /* As long as it was asked: with the structure's padding or without. */
    dev->reply.size = msg->size;
    dev->reply.u.inflight = msg->u.inflight;
    vh_dev_keep(dev, NULL);
    fd = vh_inflight_create(&dev->inflight, &dev->reply.u.inflight);
    vh_dev_keep(dev, dev->inflight.state);
    if (fd < 0)
        return fd;
    dev->reply.fds[0] = fd;
    dev->reply.n_fds = 1;
    return 0;
}

int
vh_on_set_inflight_fd(struct vh_dev *dev, struct vh_msg *msg)
{
    int r;

    if (vh_any_queue_runs(dev) || msg->u.inflight.n_queues > dev->ops->max_queues)
        return -EINVAL;
    vh_dev_keep(dev, NULL);
    r = vh_inflight_map(&dev->inflight, &msg->u.inflight, msg->fds[0]);
    vh_dev_keep(dev, dev->inflight.state);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What each message of the front-end does (vhost-user specification,
 * "Front-end message types").
 *
 * A table gives for every message its handler, the payload sizes and the number
 * of descriptors that are right, and whether it has a reply of its own.  A
 * handler returns 0 or -errno.  With REPLY_ACK the front-end hears of a failure
 * and goes on; without, it could not know, so the connection is ended.
 */
#include <config.h>

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "mb-log.h"
#include "mb-overflow.h"
#include "vh-dev-priv.h"

#define BIT(n) (UINT64_C(1) << (n))

static uint64_t
offered_features(const struct vh_dev *dev)
{
    return dev->ops->features | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
           BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VH_F_PROTOCOL_FEATURES);
}

static uint64_t
offered_protocol(const struct vh_dev *dev)
{
    uint64_t bits = BIT(VH_PROTOCOL_F_MQ) | BIT(VH_PROTOCOL_F_REPLY_ACK) | BIT(VH_PROTOCOL_F_INFLIGHT_SHMFD) |
                    BIT(VH_PROTOCOL_F_RESET_DEVICE) | BIT(VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS);

    if (dev->ops->get_config)
        bits |= BIT(VH_PROTOCOL_F_CONFIG) | BIT(VH_PROTOCOL_F_BACKEND_REQ);
    return bits;
}

static int
reply_u64(struct vh_dev *dev, uint64_t v)
{
    dev->reply.size = sizeof(v);
    dev->reply.u.u64 = v;
    return 0;
}

/* ---- features ------------------------------------------------------------------------ */

static bool
any_queue_runs(const struct vh_dev *dev)
{
    unsigned i;

    for (i = 0; i < dev->ops->max_queues; i++) {
        if (dev->queues[i].running)
            return true;
    }
    return false;
}

static int
get_features(struct vh_dev *dev, struct vh_msg *msg)
{
    return reply_u64(dev, offered_features(dev));
}

static int
set_features(struct vh_dev *dev, struct vh_msg *msg)
{
    uint64_t features = msg->u.u64;

    if (features & ~offered_features(dev))
        return -EINVAL;
    if (features == dev->features)
        return 0;
    if (any_queue_runs(dev))
        return -EBUSY;
    dev->features = features;
    if (dev->ops->set_features)
        dev->ops->set_features(dev->opaque, features);
    return 0;
}

static int
get_protocol_features(struct vh_dev *dev, struct vh_msg *msg)
{
    return reply_u64(dev, offered_protocol(dev));
}

static int
set_protocol_features(struct vh_dev *dev, struct vh_msg *msg)
{
    if (msg->u.u64 & ~offered_protocol(dev))
        return -EINVAL;
    dev->protocol = msg->u.u64;
    return 0;
}

static int
get_queue_num(struct vh_dev *dev, struct vh_msg *msg)
{
    return reply_u64(dev, dev->ops->max_queues);
}

static int
set_owner(struct vh_dev *dev, struct vh_msg *msg)
{
    return 0;
}

/* Deprecated; of the two meanings that the specification tells the harmless one. */
static int
reset_owner(struct vh_dev *dev, struct vh_msg *msg)
{
    unsigned i;

    vh_dev_stop_all(dev);
    for (i = 0; i < dev->ops->max_queues; i++)
        dev->queues[i].enabled = false;
    return 0;
}

static int
reset_device(struct vh_dev *dev, struct vh_msg *msg)
{
    vh_dev_reset(dev);
    return 0;
}

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

static int
set_mem_table(struct vh_dev *dev, struct vh_msg *msg)
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

static int
get_max_mem_slots(struct vh_dev *dev, struct vh_msg *msg)
{
    return reply_u64(dev, VH_MEM_MAX_REGIONS);
}

static int
add_mem_reg(struct vh_dev *dev, struct vh_msg *msg)
{
    int r;

    vh_dev_stop_all(dev);
    r = vh_mem_add(&dev->mem, &msg->u.region.region, msg->fds[0]);
    resume_queues(dev);
    return r;
}

static int
rem_mem_reg(struct vh_dev *dev, struct vh_msg *msg)
{
    int r;

    vh_dev_stop_all(dev);
    r = vh_mem_remove(&dev->mem, &msg->u.region.region);
    resume_queues(dev);
    return r;
}

/* ---- rings ------------------------------------------------------------------------------- */

static struct vh_queue *
queue_of(struct vh_dev *dev, uint32_t index)
{
    return index < dev->ops->max_queues ? &dev->queues[index] : NULL;
}

static int
set_vring_num(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q = queue_of(dev, msg->u.state.index);

    if (!q || !mb_is_power_of_2(msg->u.state.num) || msg->u.state.num > VH_QUEUE_MAX_SIZE)
        return -EINVAL;
    if (q->running)
        return -EBUSY;
    q->num = msg->u.state.num;
    return 0;
}

static int
set_vring_addr(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q = queue_of(dev, msg->u.addr.index);

    if (!q)
        return -EINVAL;
    vh_dev_stop_queue(q);
    q->addr = msg->u.addr;
    q->addr_set = true;
    return vh_dev_start_queue(dev, q);
}

static int
set_vring_base(struct vh_dev *dev, struct vh_msg *msg)
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
static int
get_vring_base(struct vh_dev *dev, struct vh_msg *msg)
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

static int
set_vring_kick(struct vh_dev *dev, struct vh_msg *msg)
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

static int
set_vring_call(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q;
    int fd, r;

    r = queue_and_fd(dev, msg, &q, &fd);
    if (r == 0)
        vh_worker_set_fd(q, &q->call_fd, fd);
    return r;
}

static int
set_vring_err(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_queue *q;
    int fd, r;

    r = queue_and_fd(dev, msg, &q, &fd);
    if (r == 0)
        vh_worker_set_fd(q, &q->err_fd, fd);
    return r;
}

static int
set_vring_enable(struct vh_dev *dev, struct vh_msg *msg)
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

/* ---- configuration space ------------------------------------------------------------------ */

static bool
config_range_ok(const struct vh_msg *msg)
{
    const struct vh_config *c = &msg->u.config;

    return mb_range_within(c->offset, c->size, VH_CONFIG_MAX) && msg->size == VH_CONFIG_HEADER + c->size;
}

/* A failure is told by an empty payload. */
static int
get_config(struct vh_dev *dev, struct vh_msg *msg)
{
    struct vh_config *c = &dev->reply.u.config;

    dev->reply.size = 0;
    if (!dev->ops->get_config || !config_range_ok(msg))
        return 0;
    memset(c, 0, sizeof(*c));
    c->offset = msg->u.config.offset;
    c->size = msg->u.config.size;
    c->flags = msg->u.config.flags;
    if (dev->ops->get_config(dev->opaque, c->offset, c->data, c->size) == 0)
        dev->reply.size = (uint32_t)(VH_CONFIG_HEADER + c->size);
    return 0;
}

static int
set_config(struct vh_dev *dev, struct vh_msg *msg)
{
    const struct vh_config *c = &msg->u.config;

    if (!config_range_ok(msg))
        return -EINVAL;
    if (!dev->ops->set_config)
        return -ENOTSUP;
    return dev->ops->set_config(dev->opaque, c->offset, c->data, c->size);
}

static int
set_backend_req_fd(struct vh_dev *dev, struct vh_msg *msg)
{
    /* A front-end that does not read must not hold up whoever has news. */
    int r = mb_set_nonblock(msg->fds[0], true);

    if (r == 0)
        vh_dev_set_backend_fd(dev, vh_msg_steal_fd(msg, 0));
    return r;
}

/* ---- in-flight region ---------------------------------------------------------------------- */

static int
get_inflight_fd(struct vh_dev *dev, struct vh_msg *msg)
{
    int fd;

    if (any_queue_runs(dev) || msg->u.inflight.n_queues > dev->ops->max_queues)
        return -EINVAL;
    /* As long as it was asked: with the structure's padding or without. */
    dev->reply.size = msg->size;
    dev->reply.u.inflight = msg->u.inflight;
    fd = vh_inflight_create(&dev->inflight, &dev->reply.u.inflight);
    if (fd < 0)
        return fd;
    dev->reply.fds[0] = fd;
    dev->reply.n_fds = 1;
    return 0;
}

static int
set_inflight_fd(struct vh_dev *dev, struct vh_msg *msg)
{
    if (any_queue_runs(dev) || msg->u.inflight.n_queues > dev->ops->max_queues)
        return -EINVAL;
    return vh_inflight_map(&dev->inflight, &msg->u.inflight, msg->fds[0]);
}

/* ---- the table ------------------------------------------------------------------------------ */

#define MANY_FDS VH_MSG_MAX_FDS
#define NO_FEATURE 0xff

static const struct handler {
    int (*fn)(struct vh_dev *dev, struct vh_msg *msg);
    uint16_t min_size, max_size;
    uint8_t min_fds, max_fds;
    bool replies;
    uint8_t feature;                /* protocol feature that allows it */
} handlers[VH_REQUEST_LIMIT] = {
    [VH_GET_FEATURES] = {get_features, 0, 0, 0, 0, true, NO_FEATURE},
    [VH_SET_FEATURES] = {set_features, 8, 8, 0, 0, false, NO_FEATURE},
    [VH_SET_OWNER] = {set_owner, 0, 0, 0, 0, false, NO_FEATURE},
    [VH_RESET_OWNER] = {reset_owner, 0, 0, 0, 0, false, NO_FEATURE},
    [VH_SET_MEM_TABLE] = {set_mem_table, 8, sizeof(struct vh_mem_table), 0, MANY_FDS, false, NO_FEATURE},
    [VH_SET_VRING_NUM] = {set_vring_num, 8, 8, 0, 0, false, NO_FEATURE},
    [VH_SET_VRING_ADDR] = {set_vring_addr, 40, 40, 0, 0, false, NO_FEATURE},
    [VH_SET_VRING_BASE] = {set_vring_base, 8, 8, 0, 0, false, NO_FEATURE},
    [VH_GET_VRING_BASE] = {get_vring_base, 8, 8, 0, 0, true, NO_FEATURE},
    [VH_SET_VRING_KICK] = {set_vring_kick, 8, 8, 0, 1, false, NO_FEATURE},
    [VH_SET_VRING_CALL] = {set_vring_call, 8, 8, 0, 1, false, NO_FEATURE},
    [VH_SET_VRING_ERR] = {set_vring_err, 8, 8, 0, 1, false, NO_FEATURE},
    [VH_GET_PROTOCOL_FEATURES] = {get_protocol_features, 0, 0, 0, 0, true, NO_FEATURE},
    [VH_SET_PROTOCOL_FEATURES] = {set_protocol_features, 8, 8, 0, 0, false, NO_FEATURE},
    [VH_GET_QUEUE_NUM] = {get_queue_num, 0, 0, 0, 0, true, VH_PROTOCOL_F_MQ},
    [VH_SET_VRING_ENABLE] = {set_vring_enable, 8, 8, 0, 0, false, NO_FEATURE},
    [VH_SET_BACKEND_REQ_FD] = {set_backend_req_fd, 0, 0, 1, 1, false, VH_PROTOCOL_F_BACKEND_REQ},
    [VH_GET_CONFIG] = {get_config, VH_CONFIG_HEADER, sizeof(struct vh_config), 0, 0, true, VH_PROTOCOL_F_CONFIG},
    [VH_SET_CONFIG] = {set_config, VH_CONFIG_HEADER, sizeof(struct vh_config), 0, 0, false, VH_PROTOCOL_F_CONFIG},
    [VH_GET_INFLIGHT_FD] = {get_inflight_fd, VH_INFLIGHT_MSG_MIN, sizeof(struct vh_inflight_msg), 0, 0, true,
                            VH_PROTOCOL_F_INFLIGHT_SHMFD},
    [VH_SET_INFLIGHT_FD] = {set_inflight_fd, VH_INFLIGHT_MSG_MIN, sizeof(struct vh_inflight_msg), 1, 1, false,
                            VH_PROTOCOL_F_INFLIGHT_SHMFD},
    [VH_RESET_DEVICE] = {reset_device, 0, 0, 0, 0, false, VH_PROTOCOL_F_RESET_DEVICE},
    [VH_GET_MAX_MEM_SLOTS] = {get_max_mem_slots, 0, 0, 0, 0, true, VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS},
    [VH_ADD_MEM_REG] = {add_mem_reg, 40, 40, 1, 1, false, VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS},
    /* Some front-ends send the region's descriptor along. */
    [VH_REM_MEM_REG] = {rem_mem_reg, 40, 40, 0, 1, false, VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS},
};

/* The handler, when message, payload and descriptors are as they should be. */
static int
find_handler(const struct vh_dev *dev, const struct vh_msg *msg, const struct handler **handler)
{
    const struct handler *h;

    if (msg->request >= VH_REQUEST_LIMIT || !handlers[msg->request].fn)
        return -EOPNOTSUPP;
    h = &handlers[msg->request];
    if (h->feature != NO_FEATURE && !(dev->protocol & BIT(h->feature)))
        return -EPROTO;
    if (msg->size < h->min_size || msg->size > h->max_size || msg->n_fds < h->min_fds || msg->n_fds > h->max_fds)
        return -EBADMSG;
    *handler = h;
    return 0;
}

static int
send_reply(struct vh_dev *dev, uint32_t request)
{
    int r;

    dev->reply.request = request;
    dev->reply.flags = VH_MSG_VERSION | VH_MSG_REPLY;
    r = vh_msg_send(dev->sock, &dev->reply);
    vh_msg_clear(&dev->reply);
    return r;
}

int
vh_dev_handle(struct vh_dev *dev, struct vh_msg *msg)
{
    const struct handler *h = NULL;
    bool wants_ack = (msg->flags & VH_MSG_NEED_REPLY) && (dev->protocol & BIT(VH_PROTOCOL_F_REPLY_ACK));
    int r;

    mb_debug("%s: message %u %s, %u bytes, %u descriptors", dev->ops->name, msg->request,
             vh_request_name(msg->request), msg->size, msg->n_fds);
    r = find_handler(dev, msg, &h);
    if (r == 0)
        r = h->fn(dev, msg);
    if (r < 0)
        mb_warn_limited("%s: message %u %s (%u bytes, %u descriptors) refused: %s", dev->ops->name, msg->request,
                        vh_request_name(msg->request), msg->size, msg->n_fds, strerror(-r));
    if (r == 0 && h->replies)
        return send_reply(dev, msg->request);
    if (wants_ack && !(h && h->replies)) {
        reply_u64(dev, r < 0);
        return send_reply(dev, msg->request);
    }
    return r;
}

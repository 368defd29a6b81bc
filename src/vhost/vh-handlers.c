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
#include "vh-handlers.h"

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

int
vh_reply_u64(struct vh_dev *dev, uint64_t v)
{
    dev->reply.size = sizeof(v);
    dev->reply.u.u64 = v;
    return 0;
}

bool
vh_any_queue_runs(const struct vh_dev *dev)
{
    unsigned i;

    for (i = 0; i < dev->ops->max_queues; i++) {
        if (dev->queues[i].running)
            return true;
    }
    return false;
}

/* ---- features ------------------------------------------------------------------------ */

static int
get_features(struct vh_dev *dev, struct vh_msg *msg)
{
    return vh_reply_u64(dev, offered_features(dev));
}

static int
set_features(struct vh_dev *dev, struct vh_msg *msg)
{
    uint64_t features = msg->u.u64;

    if (features & ~offered_features(dev))
        return -EINVAL;
    if (features == dev->features)
        return 0;
    if (vh_any_queue_runs(dev))
        return -EBUSY;
    dev->features = features;
    if (dev->ops->set_features)
        dev->ops->set_features(dev->opaque, features);
    return 0;
}

static int
get_protocol_features(struct vh_dev *dev, struct vh_msg *msg)
{
    return vh_reply_u64(dev, offered_protocol(dev));
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
    return vh_reply_u64(dev, dev->ops->max_queues);
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

/* ---- the table ------------------------------------------------------------------------------ */

#define MANY_FDS VH_MSG_MAX_FDS
#define NO_FEATURE 0xff

static const struct handler {
    int (*fn)(struct vh_dev *dev, struct vh_msg *msg);
    uint16_t min_size, max_size;
    uint8_t min_fds, max_fds;
    bool replies;
    uint8_t feature; /* protocol feature that allows it */
} handlers[VH_REQUEST_LIMIT] = {
    [VH_GET_FEATURES] = {get_features, 0, 0, 0, 0, true, NO_FEATURE},
    [VH_SET_FEATURES] = {set_features, 8, 8, 0, 0, false, NO_FEATURE},
    [VH_SET_OWNER] = {set_owner, 0, 0, 0, 0, false, NO_FEATURE},
    [VH_RESET_OWNER] = {reset_owner, 0, 0, 0, 0, false, NO_FEATURE},
    [VH_SET_MEM_TABLE] = {vh_on_set_mem_table, 8, sizeof(struct vh_mem_table), 0, MANY_FDS, false,
                          NO_FEATURE},
    [VH_SET_VRING_NUM] = {vh_on_set_vring_num, 8, 8, 0, 0, false, NO_FEATURE},
    [VH_SET_VRING_ADDR] = {vh_on_set_vring_addr, 40, 40, 0, 0, false, NO_FEATURE},
    [VH_SET_VRING_BASE] = {vh_on_set_vring_base, 8, 8, 0, 0, false, NO_FEATURE},
    [VH_GET_VRING_BASE] = {vh_on_get_vring_base, 8, 8, 0, 0, true, NO_FEATURE},
    [VH_SET_VRING_KICK] = {vh_on_set_vring_kick, 8, 8, 0, 1, false, NO_FEATURE},
    [VH_SET_VRING_CALL] = {vh_on_set_vring_call, 8, 8, 0, 1, false, NO_FEATURE},
    [VH_SET_VRING_ERR] = {vh_on_set_vring_err, 8, 8, 0, 1, false, NO_FEATURE},
    [VH_GET_PROTOCOL_FEATURES] = {get_protocol_features, 0, 0, 0, 0, true, NO_FEATURE},
    [VH_SET_PROTOCOL_FEATURES] = {set_protocol_features, 8, 8, 0, 0, false, NO_FEATURE},
    [VH_GET_QUEUE_NUM] = {get_queue_num, 0, 0, 0, 0, true, VH_PROTOCOL_F_MQ},
    [VH_SET_VRING_ENABLE] = {vh_on_set_vring_enable, 8, 8, 0, 0, false, NO_FEATURE},
    [VH_SET_BACKEND_REQ_FD] = {set_backend_req_fd, 0, 0, 1, 1, false, VH_PROTOCOL_F_BACKEND_REQ},
    [VH_GET_CONFIG] = {get_config, VH_CONFIG_HEADER, sizeof(struct vh_config), 0, 0, true,
                       VH_PROTOCOL_F_CONFIG},
    [VH_SET_CONFIG] = {set_config, VH_CONFIG_HEADER, sizeof(struct vh_config), 0, 0, false,
                       VH_PROTOCOL_F_CONFIG},
    [VH_GET_INFLIGHT_FD] = {vh_on_get_inflight_fd, VH_INFLIGHT_MSG_MIN, sizeof(struct vh_inflight_msg), 0, 0,
                            true, VH_PROTOCOL_F_INFLIGHT_SHMFD},
    [VH_SET_INFLIGHT_FD] = {vh_on_set_inflight_fd, VH_INFLIGHT_MSG_MIN, sizeof(struct vh_inflight_msg), 1, 1,
                            false, VH_PROTOCOL_F_INFLIGHT_SHMFD},
    [VH_RESET_DEVICE] = {reset_device, 0, 0, 0, 0, false, VH_PROTOCOL_F_RESET_DEVICE},
    [VH_GET_MAX_MEM_SLOTS] = {vh_on_get_max_mem_slots, 0, 0, 0, 0, true, VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS},
    [VH_ADD_MEM_REG] = {vh_on_add_mem_reg, 40, 40, 1, 1, false, VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS},
    /* Some front-ends send the region's descriptor along. */
    [VH_REM_MEM_REG] = {vh_on_rem_mem_reg, 40, 40, 0, 1, false, VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS},
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
    if (msg->size < h->min_size || msg->size > h->max_size || msg->n_fds < h->min_fds ||
        msg->n_fds > h->max_fds)
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
        mb_warn_limited("%s: message %u %s (%u bytes, %u descriptors) refused: %s", dev->ops->name,
                        msg->request, vh_request_name(msg->request), msg->size, msg->n_fds, strerror(-r));
    if (r == 0 && h->replies)
        return send_reply(dev, msg->request);
    if (wants_ack && !(h && h->replies)) {
        vh_reply_u64(dev, r < 0);
        return send_reply(dev, msg->request);
    }
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device's life: its queues, its connection, its back-end channel; see
 * vh-dev.h for the contract and vh-handlers.c for what messages do.
 */
#include <config.h>

#include "vh-dev.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "mb-cleanup.h"
#include "mb-log.h"
#include "vh-dev-priv.h"

/* A front-end that does not read our reply, or stops within a message, for so long is given up. */
#define SOCKET_TIMEOUT_SECONDS 30

/* As after the connection was made: no descriptors, no addresses. */
static void
reset_queue(struct vh_queue *q)
{
    mb_cleanup_fd(&q->kick_fd);
    mb_cleanup_fd(&q->call_fd);
    mb_cleanup_fd(&q->err_fd);
    q->addr_set = q->kick_set = q->enabled = q->broken = false;
    q->num = 0;
    q->base = 0;
    memset(&q->addr, 0, sizeof(q->addr));
}

struct vh_dev *
vh_dev_new(const struct vh_dev_ops *ops, void *opaque)
{
    struct vh_dev *dev;
    unsigned i;

    if (ops->max_queues == 0 || ops->max_queues > VH_DEV_MAX_QUEUES) {
        errno = EINVAL;
        return NULL;
    }
    dev = calloc(1, sizeof(*dev));
    if (!dev)
        return NULL;
    dev->queues = calloc(ops->max_queues, sizeof(*dev->queues));
    if (!dev->queues) {
        free(dev);
        return NULL;
    }
    dev->ops = ops;
    dev->opaque = opaque;
    dev->sock = dev->backend_fd = -1;
    pthread_mutex_init(&dev->backend_lock, NULL);
    for (i = 0; i < ops->max_queues; i++) {
        struct vh_queue *q = &dev->queues[i];

        q->dev = dev;
        q->index = i;
        q->kick_fd = q->call_fd = q->err_fd = -1;
    }
    return dev;
}

void
vh_dev_free(struct vh_dev *dev)
{
    if (!dev)
        return;
    pthread_mutex_destroy(&dev->backend_lock);
    free(dev->queues);
    free(dev);
}

/* ---- queues -------------------------------------------------------------------------- */

static bool
can_run(const struct vh_dev *dev, const struct vh_queue *q)
{
    /* Without protocol features rings are enabled from the start. */
    bool enabled = q->enabled || !vh_dev_has_feature(dev, VH_F_PROTOCOL_FEATURES);

    return enabled && q->kick_set && q->addr_set && q->num > 0;
}

/*
 * A front-end that comes back, or that starts long after it asked, does not ask for the configuration again: what it
 * knows may be what our predecessor said, who died before it could tell of a change.  So one of a device that can
 * change is told once, when it listens: QEMU drops what comes before the first queue is started.
 */
static void
refresh_config(struct vh_dev *dev)
{
    if (dev->ops->reload && !dev->refreshed)
        dev->refreshed = vh_dev_config_changed(dev) == 0;
}

int
vh_dev_start_queue(struct vh_dev *dev, struct vh_queue *q)
{
    int r;

    if (q->running || !can_run(dev, q))
        return 0;
    r = vh_queue_map(q, &dev->mem, &dev->inflight, vh_dev_has_feature(dev, VIRTIO_RING_F_EVENT_IDX),
                     vh_dev_has_feature(dev, VIRTIO_RING_F_INDIRECT_DESC));
    if (r < 0)
        return r;
    mb_debug("%s: queue %u starts at %u, size %u", dev->ops->name, q->index, q->last_avail, q->size);
    r = vh_worker_start(q);
    if (r < 0) {
        mb_error("%s: queue %u does not start: %s", dev->ops->name, q->index, strerror(-r));
        vh_queue_unmap(q);
        return r;
    }
    refresh_config(dev);
    return 0;
}

void
vh_dev_stop_queue(struct vh_queue *q)
{
    if (!q->running)
        return;
    vh_worker_stop(q);
    vh_queue_unmap(q);
    mb_debug("%s: queue %u stopped at %u", q->dev->ops->name, q->index, q->base);
}

void
vh_dev_stop_all(struct vh_dev *dev)
{
    unsigned i;

    for (i = 0; i < dev->ops->max_queues; i++)
        vh_dev_stop_queue(&dev->queues[i]);
}

void
vh_dev_reset(struct vh_dev *dev)
{
    unsigned i;

    vh_dev_stop_all(dev);
    for (i = 0; i < dev->ops->max_queues; i++)
        reset_queue(&dev->queues[i]);
    if (dev->ops->reset)
        dev->ops->reset(dev->opaque);
}

void
vh_dev_keep(struct vh_dev *dev, void *state)
{
    if (dev->ops->keep)
        dev->ops->keep(dev->opaque, state);
}

/* ---- the connection --------------------------------------------------------------------- */

static void
on_message(void *data, uint32_t events MB_UNUSED)
{
    struct vh_dev *dev = data;
    int r = vh_msg_read(&dev->reader, dev->sock);

    if (r > 0) {
        dev->talked = true;
        r = vh_dev_handle(dev, &dev->reader.msg);
        vh_msg_clear(&dev->reader.msg);
    }
    if (r == -EPIPE && dev->reader.got == 0)
        dev->hung_up = true;
    else if (r < 0)
        dev->error = r;
}

static void
set_timeouts(int sock)
{
    struct timeval tv = {.tv_sec = SOCKET_TIMEOUT_SECONDS};

    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

/* Back to the state before a front-end came. */
static void
forget_front_end(struct vh_dev *dev)
{
    vh_dev_stop_all(dev);
    vh_dev_keep(dev, NULL); /* as it is, for the next time */
    vh_dev_reset(dev);
    vh_dev_set_backend_fd(dev, -1);
    vh_mem_clear(&dev->mem);
    vh_inflight_clear(&dev->inflight);
    vh_msg_clear(&dev->reader.msg);
    memset(&dev->reader, 0, sizeof(dev->reader));
    dev->features = dev->protocol = 0;
    mb_cleanup_fd(&dev->sock);
}

int
vh_dev_serve(struct vh_dev *dev, struct vh_loop *loop, int sock)
{
    int r;

    dev->sock = sock;
    dev->hung_up = dev->talked = dev->refreshed = false;
    dev->error = 0;
    set_timeouts(sock);
    r = vh_loop_add(loop, sock, EPOLLIN | EPOLLRDHUP, on_message, dev);
    while (r == 0 && !dev->hung_up && dev->error == 0)
        r = vh_loop_step(loop, -1);
    vh_loop_del(loop, sock);
    forget_front_end(dev);
    if (dev->error < 0)
        mb_error("%s: front-end: %s", dev->ops->name, strerror(-dev->error));
    return dev->error < 0 ? dev->error : dev->hung_up ? 0 : r;
}

/* ---- the back-end channel ------------------------------------------------------------------ */

void
vh_dev_set_backend_fd(struct vh_dev *dev, int fd)
{
    pthread_mutex_lock(&dev->backend_lock);
    mb_close(dev->backend_fd);
    dev->backend_fd = fd;
    pthread_mutex_unlock(&dev->backend_lock);
}

int
vh_dev_config_changed(struct vh_dev *dev)
{
    struct vh_msg msg = {.request = VH_BACKEND_CONFIG_CHANGE, .flags = VH_MSG_VERSION};
    int r = -ENOTSUP;

    pthread_mutex_lock(&dev->backend_lock);
    if (dev->backend_fd >= 0)
        r = vh_msg_send(dev->backend_fd, &msg);
    pthread_mutex_unlock(&dev->backend_lock);
    return r;
}

uint64_t
vh_dev_features(const struct vh_dev *dev)
{
    return dev->features;
}

bool
vh_dev_has_feature(const struct vh_dev *dev, unsigned bit)
{
    return dev->features >> bit & 1;
}

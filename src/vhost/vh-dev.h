/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One vhost-user device: the protocol state machine of the vhost-user
 * specification, back-end side, and the callbacks a device provides.
 *
 * Threads: messages are handled on the protocol thread (the one that runs
 * vh_dev_run()).  Each queue that the front-end starts gets a worker thread
 * with a loop of its own (stack 512 KiB, all signals blocked);
 * started/process/stopped are called there.  The
 * protocol thread waits for a queue to stop (all its requests completed)
 * before it answers GET_VRING_BASE, changes the memory table or resets.
 */
#ifndef VH_DEV_H
#define VH_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mb-macros.h"
#include "vh-loop.h"
#include "vh-queue.h"

struct vh_dev;

struct vh_dev_ops {
    const char *name;          /* for logs */
    uint64_t features;         /* virtio device features offered, transport bits excluded */
    unsigned max_queues;       /* 1 .. VH_DEV_MAX_QUEUES */

    /* The negotiated features are final (called before any queue starts). Optional. */
    void (*set_features)(void *opaque, uint64_t features);

    /* Device configuration space; buf holds len bytes at offset. 0 or -errno. Optional
     * (then VHOST_USER_PROTOCOL_F_CONFIG is not offered). */
    int (*get_config)(void *opaque, uint32_t offset, void *buf, uint32_t len);
    int (*set_config)(void *opaque, uint32_t offset, const void *buf, uint32_t len);

    /* On the worker: the queue runs now / must be drained now.  queue_started may
     * add descriptors to the loop (an io_uring eventfd, say); queue_stopped returns
     * when every popped request was pushed, and takes them off again. */
    int (*queue_started)(void *opaque, struct vh_queue *q, struct vh_loop *loop);
    void (*queue_stopped)(void *opaque, struct vh_queue *q, struct vh_loop *loop);

    /* On the worker: the driver kicked (or may have). Pop until empty. */
    void (*process)(void *opaque, struct vh_queue *q);

    /* On the protocol thread, after SIGHUP: look again at what the device is made of.  True when the configuration
     * space is another one now, which the driver is then told.  A front-end of such a device is also told when it
     * starts its first queue, as what it knows may be older.  Optional. */
    bool (*reload)(void *opaque);

    /* On the protocol thread while no queue runs: VH_DEV_STATE_SIZE bytes that a front-end keeps for us while we are
     * dead, zeros at first, or what was left there; NULL: they are gone.  Shared, so not to be trusted.  Optional. */
    void (*keep)(void *opaque, void *state);

    /* The front-end went away or reset the device; all queues are stopped. Optional. */
    void (*reset)(void *opaque);
};

#define VH_DEV_MAX_QUEUES 64
#define VH_DEV_STATE_SIZE 64

struct vh_dev *vh_dev_new(const struct vh_dev_ops *ops, void *opaque) MB_MUST_CHECK;
void vh_dev_free(struct vh_dev *dev);

/* Serve one front-end on the connected socket sock (owned from here on) until it
 * disconnects (returns 0), the loop is told to quit (returns 1), or the socket
 * fails (-errno).  May be called again for the next front-end. */
int vh_dev_serve(struct vh_dev *dev, struct vh_loop *loop, int sock);

/* Tell the driver that the configuration space changed (back-end channel,
 * VHOST_USER_BACKEND_CONFIG_CHANGE_MSG). Any thread. 0, or -ENOTSUP if not negotiated. */
int vh_dev_config_changed(struct vh_dev *dev);

uint64_t vh_dev_features(const struct vh_dev *dev);
bool vh_dev_has_feature(const struct vh_dev *dev, unsigned bit);

#endif

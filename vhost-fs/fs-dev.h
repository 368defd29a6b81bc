/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtio-fs device (virtio 1.2, section 5.11): the core behind virtqueues.
 * Queue 0 takes FORGET and INTERRUPT, the others take requests.
 */
#ifndef FS_DEV_H
#define FS_DEV_H

#include <linux/virtio_fs.h>

#include "fs-core.h"
#include "fs-pool.h"
#include "vh-dev.h"

#define FS_DEV_MAX_QUEUES 17u   /* one for high priority, 16 for requests */

struct fs_dev {
    struct vh_dev_ops ops;
    struct fs *fs;
    struct fs_pool *pool;       /* NULL: requests that block hold their queue up */
    uint32_t poll_max_ns;       /* how long a queue may look for new requests before it sleeps */
    struct virtio_fs_config config;
};

/* tag may be NULL. */
void fs_dev_init(struct fs_dev *dev, struct fs *fs, struct fs_pool *pool, const char *tag, uint32_t poll_max_ns);

/* fs-queue.c: the device's queue callbacks. */
int fs_queue_start(void *opaque, struct vh_queue *vq, struct vh_loop *loop);
void fs_queue_stop(void *opaque, struct vh_queue *vq, struct vh_loop *loop);
void fs_queue_process(void *opaque, struct vh_queue *vq);

#endif

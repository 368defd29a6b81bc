/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The device: what is not per queue, see fs-dev.h.
 */
#include <config.h>

#include "fs-dev.h"

#include <errno.h>
#include <string.h>

#include "mb-endian.h"
#include "mb-overflow.h"

static int
get_config(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
    struct fs_dev *dev = opaque;

    if (!mb_range_within(offset, len, sizeof(dev->config)))
        return -EINVAL;
    memcpy(buf, (const char *)&dev->config + offset, len);
    return 0;
}

/* The guest went away or starts again: all that it had open or knew goes with it. */
static void
reset(void *opaque)
{
    struct fs_dev *dev = opaque;

    fs_reset(dev->fs);
}

void
fs_dev_init(struct fs_dev *dev, struct fs *fs, struct fs_pool *pool, const char *tag, uint32_t poll_max_ns)
{
    memset(dev, 0, sizeof(*dev));
    dev->fs = fs;
    dev->pool = pool;
    dev->poll_max_ns = poll_max_ns;
    if (tag)
        memcpy(dev->config.tag, tag, strnlen(tag, sizeof(dev->config.tag)));
    mb_put_le32(&dev->config.num_request_queues, FS_DEV_MAX_QUEUES - 1);
    dev->ops = (struct vh_dev_ops){
        .name = "virtio-fs",
        .max_queues = FS_DEV_MAX_QUEUES,
        .get_config = get_config,
        .queue_started = fs_queue_start,
        .queue_stopped = fs_queue_stop,
        .process = fs_queue_process,
        .reset = reset,
    };
}

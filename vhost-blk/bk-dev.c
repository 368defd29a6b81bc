/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The device: engines and pool made once, before confinement; the callbacks of
 * src/vhost.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "bk-dev.h"
#include "bk-pool.h"
#include "bk-resize.h"

#define BIT(n) (UINT64_C(1) << (n))

/* 5.2.5: with CONFIG_WCE the driver chooses the cache mode; without it a driver that knows
 * flushes gets a write-back cache.  One that does not gets stable writes in any case. */
static void
choose_mode(struct bk_dev *dev)
{
    bool asked = !(dev->taken & BIT(VIRTIO_BLK_F_CONFIG_WCE)) || atomic_load(&dev->wce);

    atomic_store(&dev->writeback, dev->taken & BIT(VIRTIO_BLK_F_FLUSH) && asked);
}

static void
set_features(void *opaque, uint64_t features)
{
    struct bk_dev *dev = opaque;

    dev->taken = features;
    if (!(features & BIT(VIRTIO_BLK_F_FLUSH)))
        atomic_store(&dev->wce, false);
    choose_mode(dev);
}

void
bk_dev_set_wce(struct bk_dev *dev, bool wce)
{
    atomic_store(&dev->wce, wce);
    if (dev->kept)
        dev->kept->write_through = !wce;
    choose_mode(dev);
}

/* A front-end that comes back does not say again what the driver chose, so we know it. */
static void
keep(void *opaque, void *state)
{
    struct bk_dev *dev = opaque;

    _Static_assert(sizeof(struct bk_kept) <= VH_DEV_STATE_SIZE, "there is room");
    dev->kept = state;
    if (!state)
        return;
    if (dev->kept->version == 1) {
        atomic_store(&dev->wce, !dev->kept->write_through);
        choose_mode(dev);
    } else {
        *dev->kept = (struct bk_kept){.version = 1, .write_through = !atomic_load(&dev->wce)};
    }
}

static int
get_config(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
    return bk_config_get(opaque, offset, buf, len);
}

static int
set_config(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
    return bk_config_set(opaque, offset, buf, len);
}

static int
queue_started(void *opaque, struct vh_queue *q, struct vh_loop *loop)
{
    return bk_queue_start(opaque, q, loop);
}

static void
queue_stopped(void *opaque, struct vh_queue *q, struct vh_loop *loop)
{
    if (vh_queue_data(q))
        bk_queue_stop(vh_queue_data(q));
}

static void
process(void *opaque, struct vh_queue *q)
{
    if (vh_queue_data(q))
        bk_queue_process(vh_queue_data(q));
}

/* 5.2.5: the driver is told of a larger disk. */
static bool
reload(void *opaque)
{
    return bk_resize_reload(opaque);
}

static void
reset(void *opaque)
{
    struct bk_dev *dev = opaque;

    bk_dev_set_wce(dev, true);
}

int
bk_dev_new(struct bk_image *image, const struct bk_dev_settings *set, struct bk_dev **dev, struct bk_err *err)
{
    struct bk_dev *d = calloc(1, sizeof(*d));
    int rc = 0;

    if (!d) {
        bk_image_close(image);
        return bk_fail(err, -ENOMEM, "out of memory");
    }
    d->image = image;
    atomic_store(&d->size, image->size);
    d->set = *set;
    d->features = bk_config_features(image, set);
    atomic_store(&d->wce, true);
    d->ops = (struct vh_dev_ops){
        .name = "vhost-user-blk",
        .features = d->features,
        .max_queues = set->num_queues,
        .set_features = set_features,
        .get_config = get_config,
        .set_config = set_config,
        .queue_started = queue_started,
        .queue_stopped = queue_stopped,
        .process = process,
        .reload = reload,
        .keep = keep,
        .reset = reset,
    };
    d->pool = bk_pool_new(set->max_threads);
    if (!d->pool)
        rc = bk_fail(err, -ENOMEM, "out of memory");
    for (unsigned i = 0; rc == 0 && i < set->num_queues; i++)
        rc = bk_engine_new(set->engine, image->files, image->n_files, d->pool, &d->engines[i], err);
    if (rc < 0) {
        bk_dev_free(d);
        return rc;
    }
    *dev = d;
    return 0;
}

void
bk_dev_free(struct bk_dev *dev)
{
    if (!dev)
        return;
    for (unsigned i = 0; i < dev->set.num_queues; i++)
        bk_engine_free(dev->engines[i]);
    bk_pool_free(dev->pool);
    bk_image_close(dev->image);
    free(dev);
}

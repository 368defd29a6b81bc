/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disk as the driver sees it: one image, its identity and settings, one
 * engine per queue, and the vhost-user device operations.  A map by file:
 * bk-dev.c life and callbacks, bk-resize.c larger ones, bk-config.c configuration space, bk-queue.c
 * the loop of one queue, bk-req.c and bk-dispatch.c one request.
 */
#ifndef BK_DEV_H
#define BK_DEV_H

#include <linux/virtio_blk.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bk-engine.h"
#include "bk-image.h"
#include "vh-dev.h"

#define BK_MAX_QUEUES 16
#define BK_MAX_SEGS 16                   /* ranges in one discard or write-zeroes request */
#define BK_MAX_RANGE_SECTORS 0x3ffff8u   /* sectors in one of them: 2 GiB less 4 KiB */
#define BK_SEG_MAX 126                   /* data segments of a request: what a ring of 128 holds */

struct bk_queue;

/* Zeros are written as such (OFF), or told of to the format (ON), which may also free their place (UNMAP). */
enum bk_detect_zeroes { BK_DETECT_ZEROES_OFF, BK_DETECT_ZEROES_ON, BK_DETECT_ZEROES_UNMAP };

struct bk_dev_settings {
    char serial[VIRTIO_BLK_ID_BYTES]; /* padded with NULs */
    unsigned num_queues;              /* 1 .. BK_MAX_QUEUES */
    enum bk_detect_zeroes detect_zeroes; /* in what is written */
    bool discard;                     /* offer discard and write-zeroes with unmap */
    enum bk_engine_kind engine;
    uint32_t poll_max_ns;             /* longest time a queue's thread looks for work before it sleeps */
    unsigned max_threads;             /* of the pool */
    int resize_fd;                    /* see bk-resize.h; -1: none */
};

/* What of the device outlives the process, in the in-flight region. */
struct bk_kept {
    uint32_t version;                 /* 1; 0 = fresh */
    uint32_t write_through;           /* the driver chose it */
};

struct bk_dev {
    struct bk_image *image;           /* the device's */
    struct bk_dev_settings set;
    atomic_uint_least64_t size;       /* bytes of the disk; only grows */
    uint64_t features;                /* VIRTIO_BLK_F_* offered */
    atomic_uint_least64_t tell_due;   /* no failed request is told of before; by bk_now_ns() */
    atomic_bool writeback;            /* the driver may rely on flushes; otherwise each write is stable */
    atomic_bool wce;                  /* the configuration field "writeback" */
    uint64_t taken;                   /* features that the driver took */
    struct bk_kept *kept;             /* outlives the process; NULL: nothing does */
    struct bk_pool *pool;
    struct bk_engine *engines[BK_MAX_QUEUES];
    struct bk_queue *queues[BK_MAX_QUEUES];
    struct vh_dev_ops ops;
};

/* ---- bk-dev.c ------------------------------------------------------------------- */

/* A device of the image, which it owns from then on, also on failure. 0 or -errno with err. */
int bk_dev_new(struct bk_image *image, const struct bk_dev_settings *set, struct bk_dev **dev,
               struct bk_err *err) MB_MUST_CHECK;
void bk_dev_free(struct bk_dev *dev);

/* The driver chose a cache mode. */
void bk_dev_set_wce(struct bk_dev *dev, bool wce);

/* ---- bk-config.c ---------------------------------------------------------------- */

/* Device feature bits for the image and settings. */
uint64_t bk_config_features(const struct bk_image *image, const struct bk_dev_settings *set);

/* Configuration space (virtio 1.2, 5.2.4). Reads behind its end give zeros; only the
 * cache mode can be written: -EINVAL otherwise. */
int bk_config_get(struct bk_dev *dev, uint32_t offset, void *buf, uint32_t len);
int bk_config_set(struct bk_dev *dev, uint32_t offset, const void *buf, uint32_t len);

/* ---- bk-queue.c ----------------------------------------------------------------- */

int bk_queue_start(struct bk_dev *dev, struct vh_queue *vq, struct vh_loop *loop) MB_MUST_CHECK;
void bk_queue_stop(struct bk_queue *bq);
void bk_queue_process(struct bk_queue *bq);

#endif

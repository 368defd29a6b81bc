/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The request types.  Each row says what a request of the type must satisfy;
 * its function starts the operation on the image.  Everything is checked here
 * and nowhere below.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "mb-endian.h"
#include "mb-iov.h"
#include "mb-log.h"
#include "mb-overflow.h"

#include "bk-req.h"

#define TELL_EVERY_NS (UINT64_C(60) * 1000000000)
#define FEATURE(n) (UINT64_C(1) << (n))

struct request_type {
    void (*start)(struct bk_dev *dev, struct bk_req *req);
    uint64_t feature;   /* has to be offered, or the request is not supported */
    bool changes;       /* refused on a read-only disk */
};

static uint8_t
status_of(int err)
{
    return err == 0 ? VIRTIO_BLK_S_OK : err == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* The guest learns no more than that it failed; who keeps the host's disks has to know why. Not each time. */
static void
tell_failure(const struct bk_req *req, int err)
{
    static const char *const names[] = {
        [VIRTIO_BLK_T_IN] = "read", [VIRTIO_BLK_T_OUT] = "write", [VIRTIO_BLK_T_FLUSH] = "flush",
        [VIRTIO_BLK_T_DISCARD] = "discard", [VIRTIO_BLK_T_WRITE_ZEROES] = "write of zeros"};
    struct bk_dev *dev = bk_queue_dev(req->bq);
    uint64_t now = bk_now_ns(), due = atomic_load(&dev->tell_due);

    if (now < due || !atomic_compare_exchange_strong(&dev->tell_due, &due, now + TELL_EVERY_NS))
        return;
    mb_warn("\"%s\": a %s of the guest failed: %s", dev->image->files[0]->path, names[req->type], strerror(-err));
}

static void
finish(struct bk_req *req, int err, size_t written)
{
    uint8_t status = status_of(err);

    if (status == VIRTIO_BLK_S_IOERR)
        tell_failure(req, err);
    bk_req_complete(req, status, written);
}

/* ---- read, write --------------------------------------------------------------------- */

static void
read_done(struct bk_io *io, int err)
{
    struct bk_req *req = MB_CONTAINER_OF(io, struct bk_req, io);

    finish(req, err, req->in_len);
}

static void
plain_done(struct bk_io *io, int err)
{
    finish(MB_CONTAINER_OF(io, struct bk_req, io), err, 0);
}

static uint64_t
disk_size(const struct bk_dev *dev)
{
    return atomic_load_explicit(&dev->size, memory_order_relaxed);
}

/* The range of a read or write, in bytes; false if it is not whole sectors of the disk. */
static bool
set_range(const struct bk_dev *dev, struct bk_req *req, uint64_t len)
{
    uint64_t offset;

    if (MB_MUL_OVERFLOW(req->sector, BK_SECTOR, &offset) || len % BK_SECTOR ||
        !mb_range_within(offset, len, disk_size(dev)))
        return false;
    req->io.offset = offset;
    req->io.len = len;
    return true;
}

static void
start_read(struct bk_dev *dev, struct bk_req *req)
{
    if (!set_range(dev, req, req->in_len)) {
        bk_req_complete(req, VIRTIO_BLK_S_IOERR, 0);
        return;
    }
    req->io.iov = req->in;
    req->io.n_iov = req->n_in;
    req->io.done = read_done;
    bk_image_read(dev->image, &req->io);
}

static void start_zeroes(struct bk_dev *dev, struct bk_req *req);

static void
start_write(struct bk_dev *dev, struct bk_req *req)
{
    if (!set_range(dev, req, req->out_len)) {
        bk_req_complete(req, VIRTIO_BLK_S_IOERR, 0);
        return;
    }
    if (dev->set.detect_zeroes != BK_DETECT_ZEROES_OFF && dev->image->caps & BK_CAP_ZERO &&
        mb_iov_is_zero(req->out, req->n_out)) {
        start_zeroes(dev, req);
        return;
    }
    req->io.iov = req->out;
    req->io.n_iov = req->n_out;
    req->io.dsync = !atomic_load_explicit(&dev->writeback, memory_order_relaxed);
    req->io.done = plain_done;
    bk_image_write(dev->image, &req->io);
}

static void
start_flush(struct bk_dev *dev, struct bk_req *req)
{
    req->io.offset = req->io.len = 0;
    req->io.done = plain_done;
    bk_image_flush(dev->image, &req->io);
}

static void
start_get_id(struct bk_dev *dev, struct bk_req *req)
{
    size_t n = mb_iov_from_buf(req->in, req->n_in, 0, dev->set.serial, sizeof(dev->set.serial));

    bk_req_complete(req, VIRTIO_BLK_S_OK, n);
}

/* ---- discard, write-zeroes (5.2.6.2) --------------------------------------------------- */

/* Copy and check the ranges; VIRTIO_BLK_S_OK or the status to answer. */
static uint8_t
take_ranges(struct bk_dev *dev, struct bk_req *req)
{
    struct virtio_blk_discard_write_zeroes raw[BK_MAX_SEGS];
    bool zeroes = req->type == VIRTIO_BLK_T_WRITE_ZEROES;

    if (req->out_len == 0 || req->out_len % sizeof(raw[0]) || req->out_len > sizeof(raw))
        return VIRTIO_BLK_S_IOERR;
    mb_iov_to_buf(req->out, req->n_out, 0, raw, req->out_len);
    req->n_ranges = (unsigned)(req->out_len / sizeof(raw[0]));
    for (unsigned i = 0; i < req->n_ranges; i++) {
        uint32_t flags = mb_get_le32(&raw[i].flags);
        uint32_t sectors = mb_get_le32(&raw[i].num_sectors);

        /* Unmap belongs to write-zeroes; all other bits are reserved. */
        if (flags & ~(zeroes ? (uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0))
            return VIRTIO_BLK_S_UNSUPP;
        if (sectors == 0 || sectors > BK_MAX_RANGE_SECTORS ||
            MB_MUL_OVERFLOW(mb_get_le64(&raw[i].sector), BK_SECTOR, &req->range[i].offset))
            return VIRTIO_BLK_S_IOERR;
        req->range[i].len = (uint64_t)sectors * BK_SECTOR;
        req->range[i].unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP && dev->set.discard;
        if (!mb_range_within(req->range[i].offset, req->range[i].len, disk_size(dev)))
            return VIRTIO_BLK_S_IOERR;
    }
    return VIRTIO_BLK_S_OK;
}

static void
next_range(struct bk_io *io, int err)
{
    struct bk_req *req = MB_CONTAINER_OF(io, struct bk_req, io);
    unsigned i = req->at_range;

    if (err < 0 || i == req->n_ranges) {
        io->done = plain_done;
        if (err == 0 && io->dsync)
            bk_image_flush(io->image, io);
        else
            plain_done(io, err);
        return;
    }
    req->at_range++;
    io->offset = req->range[i].offset;
    io->len = req->range[i].len;
    io->unmap = req->range[i].unmap;
    if (req->type == VIRTIO_BLK_T_DISCARD)
        bk_image_discard(io->image, io);
    else
        bk_image_zero(io->image, io);
}

static void
carry_out_ranges(struct bk_dev *dev, struct bk_req *req)
{
    req->at_range = 0;
    req->io.image = dev->image;
    req->io.dsync = !atomic_load_explicit(&dev->writeback, memory_order_relaxed);
    req->io.done = next_range;
    next_range(&req->io, 0);
}

static void
start_ranges(struct bk_dev *dev, struct bk_req *req)
{
    uint8_t status = take_ranges(dev, req);

    if (status == VIRTIO_BLK_S_OK)
        carry_out_ranges(dev, req);
    else
        bk_req_complete(req, status, 0);
}

/* A write of zeros, as a range of them. */
static void
start_zeroes(struct bk_dev *dev, struct bk_req *req)
{
    if (req->out_len == 0) {
        bk_req_complete(req, VIRTIO_BLK_S_OK, 0);
        return;
    }
    req->n_ranges = 1;
    req->range[0].offset = req->io.offset;
    req->range[0].len = req->io.len;
    req->range[0].unmap = dev->set.detect_zeroes == BK_DETECT_ZEROES_UNMAP && dev->set.discard;
    carry_out_ranges(dev, req);
}

/* ---- the table -------------------------------------------------------------------------- */

static const struct request_type types[] = {
    [VIRTIO_BLK_T_IN] = {start_read, 0, false},
    [VIRTIO_BLK_T_OUT] = {start_write, 0, true},
    [VIRTIO_BLK_T_FLUSH] = {start_flush, FEATURE(VIRTIO_BLK_F_FLUSH), false},
    [VIRTIO_BLK_T_GET_ID] = {start_get_id, 0, false},
    [VIRTIO_BLK_T_DISCARD] = {start_ranges, FEATURE(VIRTIO_BLK_F_DISCARD), true},
    [VIRTIO_BLK_T_WRITE_ZEROES] = {start_ranges, FEATURE(VIRTIO_BLK_F_WRITE_ZEROES), true},
};

void
bk_req_dispatch(struct bk_dev *dev, struct bk_req *req)
{
    const struct request_type *t = req->type < MB_ARRAY_SIZE(types) ? &types[req->type] : NULL;

    req->io.engine = bk_queue_engine(req->bq);
    req->io.dsync = false;
    if (!t || !t->start)
        bk_req_complete(req, VIRTIO_BLK_S_UNSUPP, 0);
    else if (t->changes && dev->image->read_only)
        bk_req_complete(req, VIRTIO_BLK_S_IOERR, 0);
    else if ((dev->features & t->feature) != t->feature)
        bk_req_complete(req, VIRTIO_BLK_S_UNSUPP, 0);
    else
        t->start(dev, req);
}

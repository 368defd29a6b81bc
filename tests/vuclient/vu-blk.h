/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * virtio-blk requests over vuclient (virtio 1.2, section 5.2).  Offsets and
 * lengths are in bytes, multiples of 512.
 */
#ifndef VU_BLK_H
#define VU_BLK_H

#include <linux/virtio_blk.h>

#include "vuclient.h"

struct vu_blk {
    struct vu *vu;
    struct virtio_blk_config config;
    bool indirect;              /* use indirect descriptors (default: if negotiated) */
    struct vu_blk_io *sync_io;  /* for the synchronous calls */
    char *sync_data;            /* VU_BLK_SYNC_MAX bytes of guest memory */
};
#define VU_BLK_SYNC_MAX (1u << 20)

/* One request under way.  Lives in guest memory (vu_blk_io_new()) because header and status are
 * part of it; reused as often as wanted. */
struct vu_blk_io {
    struct virtio_blk_outhdr header;
    struct virtio_blk_discard_write_zeroes range;
    uint8_t status;
    /* Below: not seen by the device. */
    uint32_t type;              /* VIRTIO_BLK_T_* */
    uint64_t offset;
    uint32_t length;
    void *data;                 /* guest memory; set by the caller */
    uint32_t flags;             /* of WRITE_ZEROES and DISCARD */
    uint32_t used_len;          /* as the device told */
    void *user;
};

/* Open the device and read its configuration. 0 or -errno. */
int vu_blk_open(struct vu_blk *b, const struct vu_options *o);
int vu_blk_close(struct vu_blk *b);
uint64_t vu_blk_size(const struct vu_blk *b);

/* A request object with data_size bytes of guest memory as its data (0: none). */
struct vu_blk_io *vu_blk_io_new(struct vu_blk *b, size_t data_size);

/* Asynchronous: submit with type, offset, length, data set; reap returns 1 with the completed
 * one, 0 when there is none (timeout_ms 0), -ETIMEDOUT, -EPROTO.  vu_blk_result() of it. */
int vu_blk_submit(struct vu_blk *b, unsigned queue, struct vu_blk_io *io, unsigned submit_flags);
int vu_blk_reap(struct vu_blk *b, unsigned queue, int timeout_ms, struct vu_blk_io **io);
/* 0, -EIO, -EOPNOTSUPP, or -EPROTO for a status that does not exist. */
int vu_blk_result(const struct vu_blk_io *io);

/* Synchronous, on queue 0, any length (split into VU_BLK_SYNC_MAX). 0 or -errno. */
int vu_blk_read(struct vu_blk *b, uint64_t offset, void *buf, size_t len);
int vu_blk_write(struct vu_blk *b, uint64_t offset, const void *buf, size_t len);
int vu_blk_flush(struct vu_blk *b);
int vu_blk_discard(struct vu_blk *b, uint64_t offset, uint64_t len);
int vu_blk_write_zeroes(struct vu_blk *b, uint64_t offset, uint64_t len, bool unmap);
/* The serial number, NUL-terminated. */
int vu_blk_get_id(struct vu_blk *b, char id[VIRTIO_BLK_ID_BYTES + 1]);

#endif

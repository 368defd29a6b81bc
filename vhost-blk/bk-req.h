/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One virtio-blk request (virtio 1.2, 5.2.6): taken apart, carried out,
 * answered.  Requests come from a pool that is as large as the ring.
 */
#ifndef BK_REQ_H
#define BK_REQ_H

#include "bk-dev.h"
#include "vh-queue.h"

struct bk_req {
    struct vh_req vq;               /* the chain; its segment storage belongs to the pool */
    struct bk_io io;
    struct bk_queue *bq;
    struct bk_req *next;            /* in the list of free ones */

    /* From the header, copied once. */
    uint32_t type;
    uint64_t sector;

    uint8_t *status;                /* last byte of the writable part */
    struct iovec *out, *in;         /* what is left beside header and status */
    unsigned n_out, n_in;
    size_t out_len, in_len;

    /* Discard and write-zeroes: the ranges, copied once, checked before the first is carried out. */
    struct {
        uint64_t offset, len;       /* bytes */
        bool unmap;
    } range[BK_MAX_SEGS];
    unsigned n_ranges, at_range;
};

/*
 * Find header and status in the chain, whatever its layout.  0; -EINVAL when
 * there is no whole header (req->status is usable then); -EPROTO when there is
 * not even a status byte, so that nobody could be told.
 */
int bk_req_parse(struct bk_req *req) MB_MUST_CHECK;

/* Write the status, give the request back to the driver and the pool. written: bytes of data in
 * the writable part. */
void bk_req_complete(struct bk_req *req, uint8_t status, size_t written);

/* Carry out a parsed request; completes it now or later. (bk-dispatch.c) */
void bk_req_dispatch(struct bk_dev *dev, struct bk_req *req);

/* Back into the pool. (bk-queue.c) */
void bk_queue_put(struct bk_queue *bq, struct bk_req *req);
struct bk_dev *bk_queue_dev(struct bk_queue *bq);
struct vh_queue *bk_queue_vq(struct bk_queue *bq);
struct bk_engine *bk_queue_engine(struct bk_queue *bq);

#endif

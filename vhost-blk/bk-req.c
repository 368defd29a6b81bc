/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking a request apart.  Header and status may be spread over descriptors in
 * any way (VIRTIO_F_ANY_LAYOUT): the header is the first 16 bytes of the
 * readable part, the status the last byte of the writable part.
 */
#include <config.h>

#include <errno.h>

#include "mb-endian.h"
#include "mb-iov.h"

#include "bk-req.h"

int
bk_req_parse(struct bk_req *req)
{
    struct virtio_blk_outhdr hdr;
    struct vh_req *vq = &req->vq;
    struct iovec *last;

    req->out = vh_req_out(vq);
    req->in = vh_req_in(vq);
    req->n_out = vq->n_out;
    req->n_in = vq->n_in;
    if (vq->in_len == 0)
        return -EPROTO;
    /* Empty segments at the end do not hold the last byte. */
    while (req->in[req->n_in - 1].iov_len == 0)
        req->n_in--;
    last = &req->in[req->n_in - 1];
    last->iov_len--;
    req->status = (uint8_t *)last->iov_base + last->iov_len;
    if (last->iov_len == 0)
        req->n_in--;
    req->in_len = vq->in_len - 1;

    if (vq->out_len < sizeof(hdr))
        return -EINVAL;
    mb_iov_to_buf(req->out, req->n_out, 0, &hdr, sizeof(hdr));
    mb_iov_cut_front(&req->out, &req->n_out, sizeof(hdr));
    req->out_len = vq->out_len - sizeof(hdr);
    req->type = mb_get_le32(&hdr.type);
    req->sector = mb_get_le64(&hdr.sector);
    return 0;
}

void
bk_req_complete(struct bk_req *req, uint8_t status, size_t written)
{
    struct bk_queue *bq = req->bq;

    *req->status = status;
    vh_queue_push(bk_queue_vq(bq), &req->vq, (uint32_t)(written + 1));
    bk_queue_put(bq, req);
}

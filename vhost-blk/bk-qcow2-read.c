/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads of a qcow2 image: extent by extent, data by the engine, zeros at once,
 * compressed clusters at once if they are unpacked already and otherwise on a
 * thread of the pool, for unpacking takes its time.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "mb-iov.h"

#include "bk-qcow2-rw.h"

/* On a thread of the pool; the operation is nobody else's meanwhile. */
static int
inflate_piece(struct bk_xfer *xfer)
{
    struct bk_io *io = MB_CONTAINER_OF(xfer, struct bk_io, xfer);
    struct qcow2_extent x;
    int rc = qcow2_map(qcow2_of(io->image), io->offset, xfer->len, &x);

    if (rc == 0 && x.kind != QCOW2_COMPRESSED)
        return -EAGAIN; /* it was written meanwhile */
    if (rc == 0)
        rc = qcow2_inflate(&x, false, io->iov, io->n_iov, xfer->len);
    if (rc == 0)
        mb_iov_cut_front(&io->iov, &io->n_iov, (size_t)xfer->len);
    return rc;
}

static void read_step(struct bk_io *io);

static void
on_inflated(struct bk_xfer *x)
{
    struct bk_io *io = MB_CONTAINER_OF(x, struct bk_io, xfer);

    if (x->err == 0) {
        io->offset += x->len;
        io->len -= x->len;
    } else if (x->err == -EAGAIN) {
        x->err = 0;
    }
    read_step(io);
}

static enum bk_status
read_compressed(struct bk_io *io, const struct qcow2_extent *e)
{
    struct bk_xfer *x = &io->xfer;

    x->err = qcow2_inflate(e, true, io->iov, io->n_iov, e->len);
    if (x->err == 0) {
        mb_iov_cut_front(&io->iov, &io->n_iov, (size_t)e->len);
        io->offset += e->len;
        io->len -= e->len;
    }
    if (x->err != -EAGAIN)
        return BK_DONE;
    x->op = BK_XFER_CALL;
    x->call = inflate_piece;
    x->done = on_inflated;
    x->len = e->len;
    return bk_engine_start(io->engine, x);
}

static void
read_step(struct bk_io *io)
{
    struct qcow2 *q = qcow2_of(io->image);

    while (io->len > 0 && io->xfer.err == 0) {
        struct qcow2_extent x;
        enum bk_status status = BK_DONE;

        io->xfer.err = qcow2_map(q, io->offset, io->len, &x);
        if (io->xfer.err < 0)
            break;
        if (x.kind == QCOW2_ZERO)
            bk_io_fill(io, NULL, x.len);
        else if (x.kind == QCOW2_DATA)
            status = bk_io_piece(io, BK_XFER_READ, x.file, x.offset, x.len);
        else
            status = read_compressed(io, &x);
        if (status == BK_PENDING)
            return;
    }
    if (q->rw)
        qcow2_leave(q, io);
    io->done(io, io->xfer.err);
}

void
qcow2_read(struct bk_image *image, struct bk_io *io)
{
    if (qcow2_of(image)->rw)
        qcow2_enter(qcow2_of(image), io);
    io->step = read_step;
    io->xfer.err = 0;
    read_step(io);
}

/* Only now, as the image may be hostile; and a repair writes a lot. */
static int
qcow2_begin(struct bk_image *image, struct bk_err *err)
{
    return image->read_only ? 0 : qcow2_rw_open(qcow2_of(image), err);
}

static void
qcow2_close(struct bk_image *image)
{
    qcow2_free(qcow2_of(image));
}

const struct bk_image_ops qcow2_ops = {
    .format = "qcow2",
    .begin = qcow2_begin,
    .read = qcow2_read,
    .write = qcow2_write,
    .flush = qcow2_flush,
    .discard = qcow2_discard,
    .zero = qcow2_zero,
    .grow = qcow2_grow,
    .close = qcow2_close,
};

bool
qcow2_is(const struct bk_image *image)
{
    return image->ops == &qcow2_ops;
}

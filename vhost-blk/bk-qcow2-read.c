/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads of a qcow2 image: extent by extent, data by the engine, zeros at once,
 * compressed clusters on a thread of the pool, for unpacking takes its time.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "mb-iov.h"

#include "bk-qcow2-priv.h"

/* On a thread of the pool; the operation is nobody else's meanwhile. */
static int
inflate_piece(struct bk_xfer *xfer)
{
    struct bk_io *io = MB_CONTAINER_OF(xfer, struct bk_io, xfer);
    struct qcow2_extent x;
    int rc = qcow2_map(qcow2_of(io->image), io->offset, xfer->len, &x);

    if (rc == 0 && x.kind != QCOW2_COMPRESSED)
        rc = -EIO;
    if (rc == 0)
        rc = qcow2_inflate(&x, io->iov, io->n_iov, xfer->len);
    if (rc == 0)
        mb_iov_cut_front(&io->iov, &io->n_iov, (size_t)xfer->len);
    return rc;
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
        if (x.kind == QCOW2_ZERO) {
            bk_io_fill(io, NULL, x.len);
        } else if (x.kind == QCOW2_DATA) {
            status = bk_io_piece(io, BK_XFER_READ, x.file, x.offset, x.len);
        } else {
            io->xfer.call = inflate_piece;
            status = bk_io_piece(io, BK_XFER_CALL, x.owner->file, 0, x.len);
        }
        if (status == BK_PENDING)
            return;
    }
    io->done(io, io->xfer.err);
}

static void
qcow2_read(struct bk_image *image, struct bk_io *io)
{
    io->step = read_step;
    io->xfer.err = 0;
    read_step(io);
}

static void
qcow2_close(struct bk_image *image)
{
    qcow2_free(qcow2_of(image));
}

const struct bk_image_ops qcow2_ops = {
    .format = "qcow2",
    .read = qcow2_read,
    .close = qcow2_close,
};

bool
qcow2_is(const struct bk_image *image)
{
    return image->ops == &qcow2_ops;
}

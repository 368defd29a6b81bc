/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What formats share: an operation runs as a row of pieces, each one transfer
 * of a contiguous part of a file, one after the other.  The segment list of
 * the request is cut in place at the end of a piece and mended afterwards, so
 * no second list is needed.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "mb-iov.h"

#include "bk-image.h"

void
bk_image_close(struct bk_image *image)
{
    if (image)
        image->ops->close(image);
}

int
bk_image_begin(struct bk_image *image, struct bk_err *err)
{
    return image->ops->begin ? image->ops->begin(image, err) : 0;
}

void
bk_image_read(struct bk_image *image, struct bk_io *io)
{
    io->image = image;
    image->ops->read(image, io);
}

void
bk_image_write(struct bk_image *image, struct bk_io *io)
{
    io->image = image;
    image->ops->write(image, io);
}

void
bk_image_flush(struct bk_image *image, struct bk_io *io)
{
    io->image = image;
    image->ops->flush(image, io);
}

void
bk_image_discard(struct bk_image *image, struct bk_io *io)
{
    io->image = image;
    image->ops->discard(image, io);
}

void
bk_image_zero(struct bk_image *image, struct bk_io *io)
{
    io->image = image;
    image->ops->zero(image, io);
}

/* ---- pieces ------------------------------------------------------------------------ */

/* Shorten the segment list to len bytes; returns the segments it has then and
 * remembers in io how it goes on. */
static unsigned
cut_piece(struct bk_io *io, uint64_t len)
{
    unsigned i = 0;

    while (i < io->n_iov && io->iov[i].iov_len <= len) {
        len -= io->iov[i].iov_len;
        i++;
    }
    io->rest = NULL;
    if (len == 0 || i == io->n_iov)
        return i;
    io->rest = &io->iov[i];
    io->rest_value.iov_base = (char *)io->iov[i].iov_base + len;
    io->rest_value.iov_len = io->iov[i].iov_len - len;
    io->iov[i].iov_len = len;
    return i + 1;
}

static void
piece_finished(struct bk_io *io)
{
    io->offset += io->piece;
    io->len -= io->piece;
    if (io->rest)
        *io->rest = io->rest_value;
}

static void
on_piece(struct bk_xfer *x)
{
    struct bk_io *io = MB_CONTAINER_OF(x, struct bk_io, xfer);

    piece_finished(io);
    io->step(io);
}

enum bk_status
bk_io_piece(struct bk_io *io, enum bk_xfer_op op, struct bk_file *file, uint64_t file_offset, uint64_t len)
{
    struct bk_xfer *x = &io->xfer;
    unsigned n = 0;

    x->op = op;
    x->dsync = io->dsync;
    x->file = file;
    x->offset = file_offset;
    x->len = len;
    x->iov = io->iov;
    x->done = on_piece;
    io->piece = len;
    io->rest = NULL;
    if (op == BK_XFER_READ || op == BK_XFER_WRITE) {
        n = len == io->len ? io->n_iov : cut_piece(io, len);
        x->n_iov = n;
        /* Where the next piece begins; the entries before it are the transfer's now. */
        if (io->rest)
            n--;
        io->iov += n;
        io->n_iov -= n;
    }
    if (bk_engine_start(io->engine, x) == BK_PENDING)
        return BK_PENDING;
    piece_finished(io);
    return BK_DONE;
}

void
bk_io_fill(struct bk_io *io, const void *data, uint64_t len)
{
    if (data)
        mb_iov_from_buf(io->iov, io->n_iov, 0, data, (size_t)len);
    else
        mb_iov_memset(io->iov, io->n_iov, 0, 0, (size_t)len);
    mb_iov_cut_front(&io->iov, &io->n_iov, (size_t)len);
    io->offset += len;
    io->len -= len;
}

static void
whole_finished(struct bk_io *io)
{
    io->done(io, io->xfer.err);
}

void
bk_io_whole(struct bk_io *io, enum bk_xfer_op op, struct bk_file *file, uint64_t file_offset)
{
    io->step = whole_finished;
    if (bk_io_piece(io, op, file, file_offset, io->len) == BK_DONE)
        whole_finished(io);
}

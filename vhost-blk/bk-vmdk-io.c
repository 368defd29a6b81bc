/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests on a VMDK image, place by place: what is in a file by the engine,
 * zeros at once, and what takes unpacking or allocating on a thread of the pool.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "mb-iov.h"

#include "bk-vmdk-priv.h"

static struct bk_io *
io_of(struct bk_xfer *xfer)
{
    return MB_CONTAINER_OF(xfer, struct bk_io, xfer);
}

/* ---- reading ------------------------------------------------------------------------ */

/* On a thread of the pool; the operation is nobody else's meanwhile. */
static int
inflate_piece(struct bk_xfer *xfer)
{
    struct bk_io *io = io_of(xfer);
    struct vmdk_place p;
    int rc = vmdk_map(vmdk_of(io->image), io->offset, xfer->len, &p);

    if (rc == 0)
        rc = vmdk_inflate(&p, false, io->iov, io->n_iov, xfer->len);
    if (rc == 0)
        mb_iov_cut_front(&io->iov, &io->n_iov, (size_t)xfer->len);
    return rc;
}

static void
skip(struct bk_io *io, uint64_t len)
{
    io->offset += len;
    io->len -= len;
}

static enum bk_status
read_packed(struct bk_io *io, const struct vmdk_place *p)
{
    io->xfer.err = vmdk_inflate(p, true, io->iov, io->n_iov, p->len);
    if (io->xfer.err == -EAGAIN) {
        io->xfer.call = inflate_piece;
        return bk_io_piece(io, BK_XFER_CALL, p->file, 0, p->len);
    }
    if (io->xfer.err == 0) {
        mb_iov_cut_front(&io->iov, &io->n_iov, (size_t)p->len);
        skip(io, p->len);
    }
    return BK_DONE;
}

static void
read_step(struct bk_io *io)
{
    struct vmdk *v = vmdk_of(io->image);

    while (io->len > 0 && io->xfer.err == 0) {
        struct vmdk_place p;
        enum bk_status status = BK_DONE;

        io->xfer.err = vmdk_map(v, io->offset, io->len, &p);
        if (io->xfer.err < 0)
            break;
        if (p.kind == VMDK_AT_FILE) {
            status = bk_io_piece(io, BK_XFER_READ, p.file, p.offset, p.len);
        } else if (p.kind == VMDK_AT_PACKED) {
            status = read_packed(io, &p);
        } else {
            bk_io_fill(io, NULL, p.len);
        }
        if (status == BK_PENDING)
            return;
    }
    io->done(io, io->xfer.err);
}

static void
start(struct bk_io *io, void (*step)(struct bk_io *io))
{
    io->step = step;
    io->xfer.err = 0;
    step(io);
}

static void
vmdk_read(struct bk_image *image, struct bk_io *io)
{
    start(io, read_step);
}

/* ---- changing ----------------------------------------------------------------------- */

/* The CID is another one from the first change on: an image made on top of this one would not fit any more. */
static void
start_change(struct bk_io *io, void (*step)(struct bk_io *io))
{
    struct vmdk *v = vmdk_of(io->image);
    char digits[9];
    struct iovec iov = {.iov_base = digits, .iov_len = (size_t)v->cid_digits};

    if (v->cid_file && !atomic_exchange(&v->changed, true)) {
        snprintf(digits, sizeof(digits), "%0*x", v->cid_digits, v->new_cid);
        if (pwritev(v->cid_file->fd, &iov, 1, (off_t)v->cid_offset) != v->cid_digits) {
            atomic_store(&v->changed, false);
            io->done(io, -EIO);
            return;
        }
        bk_file_dirtied(v->cid_file);
    }
    start(io, step);
}

static int
write_piece(struct bk_xfer *xfer)
{
    struct bk_io *io = io_of(xfer);
    int rc = vmdk_write_new(vmdk_of(io->image), io->iov, io->n_iov, io->offset, xfer->len, io->dsync);

    if (rc == 0)
        mb_iov_cut_front(&io->iov, &io->n_iov, (size_t)xfer->len);
    return rc;
}

static void
write_step(struct bk_io *io)
{
    struct vmdk *v = vmdk_of(io->image);

    while (io->len > 0 && io->xfer.err == 0) {
        struct vmdk_place p;
        enum bk_status status;

        io->xfer.err = vmdk_map_here(v, io->offset, io->len, &p);
        if (io->xfer.err < 0)
            break;
        if (p.kind == VMDK_AT_FILE) {
            status = bk_io_piece(io, BK_XFER_WRITE, p.file, p.offset, p.len);
        } else {
            io->xfer.call = write_piece;
            status = bk_io_piece(io, BK_XFER_CALL, p.extent->file, 0, p.len);
        }
        if (status == BK_PENDING)
            return;
    }
    io->done(io, io->xfer.err);
}

static void
vmdk_write(struct bk_image *image, struct bk_io *io)
{
    start_change(io, write_step);
}

static void
discard_step(struct bk_io *io)
{
    struct vmdk *v = vmdk_of(io->image);

    while (io->len > 0 && io->xfer.err == 0) {
        struct vmdk_place p;

        io->xfer.err = vmdk_map_here(v, io->offset, io->len, &p);
        if (io->xfer.err < 0)
            break;
        if (p.kind != VMDK_AT_FILE)
            skip(io, p.len);
        else if (bk_io_piece(io, BK_XFER_DISCARD, p.file, p.offset, p.len) == BK_PENDING)
            return;
    }
    io->done(io, io->xfer.err);
}

static void
vmdk_discard(struct bk_image *image, struct bk_io *io)
{
    start_change(io, discard_step);
}

static int
zero_piece(struct bk_xfer *xfer)
{
    struct bk_io *io = io_of(xfer);

    return vmdk_write_new(vmdk_of(io->image), NULL, 0, io->offset, xfer->len, io->dsync);
}

static void
zero_step(struct bk_io *io)
{
    struct vmdk *v = vmdk_of(io->image);

    while (io->len > 0 && io->xfer.err == 0) {
        struct vmdk_place p;
        enum bk_status status = BK_DONE;

        io->xfer.err = vmdk_map_here(v, io->offset, io->len, &p);
        if (io->xfer.err < 0)
            break;
        if (p.kind == VMDK_AT_FILE) {
            status = bk_io_piece(io, io->unmap ? BK_XFER_UNMAP : BK_XFER_ZERO, p.file, p.offset, p.len);
        } else if (p.kind == VMDK_AT_NONE && v->parent) {
            io->xfer.call = zero_piece;
            status = bk_io_piece(io, BK_XFER_CALL, p.extent->file, 0, p.len);
        } else {
            skip(io, p.len);
        }
        if (status == BK_PENDING)
            return;
    }
    io->done(io, io->xfer.err);
}

static void
vmdk_zero(struct bk_image *image, struct bk_io *io)
{
    start_change(io, zero_step);
}

/* Each file in turn; a flush has no range, so that offset can count them. */
static void
flush_step(struct bk_io *io)
{
    struct vmdk *v = vmdk_of(io->image);

    while (io->offset < v->n_own && io->xfer.err == 0) {
        struct bk_file *file = v->own[io->offset++];

        if (file->writable && bk_io_piece(io, BK_XFER_SYNC, file, 0, 0) == BK_PENDING)
            return;
    }
    io->done(io, io->xfer.err);
}

static void
vmdk_flush(struct bk_image *image, struct bk_io *io)
{
    io->offset = 0;
    io->len = 0;
    start(io, flush_step);
}

static void
vmdk_close(struct bk_image *image)
{
    vmdk_free(vmdk_of(image));
}

const struct bk_image_ops vmdk_ops = {
    .format = "vmdk",
    .read = vmdk_read,
    .write = vmdk_write,
    .flush = vmdk_flush,
    .discard = vmdk_discard,
    .zero = vmdk_zero,
    .close = vmdk_close,
};

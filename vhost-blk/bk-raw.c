/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw images: byte N of the disk is byte N of the file.  A file whose size is
 * not a multiple of the sector size is rounded up; what is missing reads as
 * zeros.  The contents are never looked at: a guest that writes the header of
 * another format into its disk gains nothing.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mb-overflow.h"

#include "bk-image.h"

struct raw {
    struct bk_image image;
    struct bk_file *file;
};

static struct bk_file *
raw_file(struct bk_image *image)
{
    return MB_CONTAINER_OF(image, struct raw, image)->file;
}

static void
raw_read(struct bk_image *image, struct bk_io *io)
{
    bk_io_whole(io, BK_XFER_READ, raw_file(image), io->offset);
}

static void
raw_write(struct bk_image *image, struct bk_io *io)
{
    bk_io_whole(io, BK_XFER_WRITE, raw_file(image), io->offset);
}

static void
raw_flush(struct bk_image *image, struct bk_io *io)
{
    bk_io_whole(io, BK_XFER_SYNC, raw_file(image), 0);
}

static void
raw_discard(struct bk_image *image, struct bk_io *io)
{
    bk_io_whole(io, BK_XFER_DISCARD, raw_file(image), io->offset);
}

static void
raw_zero(struct bk_image *image, struct bk_io *io)
{
    bk_io_whole(io, io->unmap ? BK_XFER_UNMAP : BK_XFER_ZERO, raw_file(image), io->offset);
}

/* For block devices and files alike. Nobody uses the offset of the descriptor. */
static int
raw_measure(struct bk_image *image, uint64_t *size)
{
    off_t end = lseek(raw_file(image)->fd, 0, SEEK_END);

    if (end < 0)
        return -errno;
    return mb_round_up((uint64_t)end, BK_SECTOR, size) ? 0 : -EFBIG;
}

static int
raw_grow(struct bk_image *image, uint64_t size, struct bk_err *err)
{
    struct bk_file *f = raw_file(image);
    uint64_t now = 0;
    int rc = raw_measure(image, &now);

    if (rc == 0 && f->is_block)
        return bk_fail(err, -ENOTSUP, "\"%s\" is a block device: make that larger", f->path);
    if (rc == 0 && size > now && ftruncate(f->fd, (off_t)size) < 0)
        rc = -errno;
    bk_file_dirtied(f);
    if (rc == 0)
        rc = bk_file_sync(f);
    return rc < 0 ? bk_fail(err, rc, "\"%s\" cannot become larger: %s", f->path, strerror(-rc)) : 0;
}

static void
raw_close(struct bk_image *image)
{
    struct raw *raw = MB_CONTAINER_OF(image, struct raw, image);

    bk_file_close(raw->file);
    free(raw);
}

static const struct bk_image_ops raw_ops = {
    .format = "raw",
    .read = raw_read,
    .write = raw_write,
    .flush = raw_flush,
    .discard = raw_discard,
    .zero = raw_zero,
    .measure = raw_measure,
    .grow = raw_grow,
    .close = raw_close,
};

int
bk_raw_open(const char *path, bool read_only, struct bk_image **image, struct bk_err *err)
{
    struct raw *raw = calloc(1, sizeof(*raw));
    int rc;

    if (!raw)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", path);
    raw->image.ops = &raw_ops;
    raw->image.read_only = read_only;
    raw->image.caps = BK_CAP_DISCARD | BK_CAP_ZERO;
    rc = bk_file_open(path, !read_only, &raw->file, err);
    if (rc == 0 && !mb_round_up(raw->file->size, BK_SECTOR, &raw->image.size))
        rc = bk_fail(err, -EFBIG, "\"%s\" is too large", path);
    if (rc < 0) {
        raw_close(&raw->image);
        return rc;
    }
    raw->image.io_size = raw->file->io_size;
    raw->image.files = &raw->file;
    raw->image.n_files = 1;
    *image = &raw->image;
    return 0;
}

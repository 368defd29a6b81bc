/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An image: a disk's contents, in whatever format.  A format implements struct
 * bk_image_ops; everything above it (requests, configuration space) and below
 * it (files, engines) is the same for all.
 *
 * A struct bk_io is one operation on the image.  It lives in the request, is
 * started on the request's queue's thread, and calls done() there exactly
 * once, perhaps before the start returns.  Several queues may start operations
 * on one image at the same time, each with its own engine.
 */
#ifndef BK_IMAGE_H
#define BK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "bk-engine.h"
#include "bk-err.h"
#include "bk-file.h"

#define BK_SECTOR 512u

struct bk_image;
struct bk_io;
struct qcow2_l2;

/* What a qcow2 image keeps in an operation. */
struct bk_io_qcow2 {
    struct bk_io *next;     /* in the list of running allocations, or of those that wait */
    struct bk_io *waiters;  /* go on when this one has ended */
    uint64_t first, count;  /* guest clusters being allocated, */
    uint64_t host;          /* and the first of their clusters in the file */
    uint64_t data_len;      /* bytes of the operation in them */
    uint64_t rest;          /* bytes behind the part that is allocated for now */
    struct qcow2_l2 *slot;  /* their table */
    bool zeros;             /* which are not written, or not any more */
    bool commit;            /* the operation ends with one */
    bool ordered;           /* they replace data, so they have to be on the disk before their entries */
    unsigned epoch;         /* the operation began in */
    void (*step)(struct bk_io *io); /* goes on afterwards */
};

struct bk_io {
    /* Set by the caller: */
    struct bk_engine *engine;
    uint64_t offset;        /* bytes; with len inside the image, multiples of BK_SECTOR */
    uint64_t len;
    struct iovec *iov;      /* READ and WRITE: len bytes in all; consumed */
    unsigned n_iov;
    bool dsync;             /* WRITE: on stable storage when done */
    bool unmap;             /* ZERO: the range may be freed */
    void (*done)(struct bk_io *io, int err);

    /* The image's: */
    struct bk_image *image;
    struct bk_xfer xfer;
    void (*step)(struct bk_io *io); /* goes on after a piece */
    uint64_t piece;         /* bytes of the running piece */
    struct iovec *rest;     /* segment the piece ended in (NULL: between segments), and */
    struct iovec rest_value; /* what of it comes after the piece */
    struct bk_io_qcow2 qcow2;
};

enum bk_image_caps {
    BK_CAP_DISCARD = 1,
    BK_CAP_ZERO = 2,
};

struct bk_image_ops {
    const char *format;     /* "raw", "concat" */
    /* The process is confined now: what is not done with a hostile image before.  When it fails the image can only be
     * closed. NULL: nothing. */
    int (*begin)(struct bk_image *image, struct bk_err *err);
    void (*read)(struct bk_image *image, struct bk_io *io);
    /* These four are NULL in formats that are only read. */
    void (*write)(struct bk_image *image, struct bk_io *io);
    void (*flush)(struct bk_image *image, struct bk_io *io);
    void (*discard)(struct bk_image *image, struct bk_io *io);
    void (*zero)(struct bk_image *image, struct bk_io *io);
    /* What size is now, for files that others make larger. NULL: it stays. 0 or -errno. Any thread. */
    int (*measure)(struct bk_image *image, uint64_t *size);
    /* Make the disk at least size bytes large, a multiple of BK_SECTOR, and that stable; blocks.  After begin(), any
     * thread, while operations run; the new part reads as zeros. NULL: it cannot. 0 or -errno with err. */
    int (*grow)(struct bk_image *image, uint64_t size, struct bk_err *err);
    /* Closes the files as well. */
    void (*close)(struct bk_image *image);
};

struct bk_image {
    const struct bk_image_ops *ops;
    uint64_t size;          /* bytes when opened, multiple of BK_SECTOR */
    bool read_only;
    unsigned caps;          /* enum bk_image_caps */
    uint32_t io_size;       /* bytes: granularity below which a write costs a read */
    struct bk_file **files; /* all files, for registration and confinement */
    unsigned n_files;
};

/* A raw file or block device. Nothing in it is ever interpreted. 0 or -errno with err. */
int bk_raw_open(const char *path, bool read_only, struct bk_image **image, struct bk_err *err) MB_MUST_CHECK;

/* Close the image and free it. NULL is allowed. */
void bk_image_close(struct bk_image *image);

/* The process is confined: to be called once, before the first operation. 0 or -errno with err. */
int bk_image_begin(struct bk_image *image, struct bk_err *err) MB_MUST_CHECK;

/* Start operations. The caller has checked the range and, for all but reads, that the image is
 * writable and the format can. */
void bk_image_read(struct bk_image *image, struct bk_io *io);
void bk_image_write(struct bk_image *image, struct bk_io *io);
void bk_image_flush(struct bk_image *image, struct bk_io *io);
void bk_image_discard(struct bk_image *image, struct bk_io *io);
void bk_image_zero(struct bk_image *image, struct bk_io *io);

/* ---- for formats ----------------------------------------------------------------- */

/*
 * Transfer the first len bytes of what remains of io from or to file at
 * file_offset.  Afterwards io->offset, len and iov describe the rest.  BK_DONE:
 * finished, the caller goes on, result in io->xfer.err.  BK_PENDING: io->step()
 * is called when it is.  A step that finds io->xfer.err set ends the operation.
 */
enum bk_status bk_io_piece(struct bk_io *io, enum bk_xfer_op op, struct bk_file *file, uint64_t file_offset,
                           uint64_t len) MB_MUST_CHECK;

/* Skip the first len bytes of what remains, having filled them with data (a READ), or
 * with zeros when data is NULL. */
void bk_io_fill(struct bk_io *io, const void *data, uint64_t len);

/* The whole of io is one transfer: run it and call done(). */
void bk_io_whole(struct bk_io *io, enum bk_xfer_op op, struct bk_file *file, uint64_t file_offset);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading through libqcow.  The file is opened and locked by us, and its header
 * checked: the sizes that the library allocates follow from it.  The library
 * gets callbacks that read our descriptor, so that it never opens anything, and a
 * buffer of ours, never the guest's memory.  It is made for one thread at a
 * time; so are its reads here.
 *
 *   version 1:   24 size  32 cluster bits  33 L2 bits  36 encryption  40 L1 offset
 *   version 2:   20 cluster bits  24 size  32 encryption  36 L1 entries  40 L1 offset
 *   both:         0 magic  4 version  8 backing name: offset  16 length
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-io.h"

#include "bk-libqcow.h"

#ifdef HAVE_LIBQCOW

#include <pthread.h>

/* Without it libqcow.h hides what takes a handle of libbfio, which libqcow is linked with. */
#define HAVE_LIBBFIO 1
#include <libbfio.h>
#include <libqcow.h>

#include "mb-iov.h"
#include "mb-overflow.h"

#define MAGIC 0x514649fbu
#define HEADER 48u
#define BUFFER (256u << 10)
#define KEY_SIZE 16
#define MAX_L1 (32u << 20) /* bytes; what QEMU accepts */

enum { CRYPT_NONE, CRYPT_AES };

struct legacy {
    struct bk_image image;
    struct bk_file *file;
    uint64_t position;          /* of the library's next read. Under the lock, as what follows */
    libqcow_file_t *library;
    libbfio_handle_t *io;
    bool is_open;
    bool encrypted;
    uint8_t key[KEY_SIZE];
    pthread_mutex_t lock;
    uint8_t buffer[BUFFER];
};

static struct legacy *
legacy_of(struct bk_image *image)
{
    return MB_CONTAINER_OF(image, struct legacy, image);
}

/* ---- what the library reads by; it calls under the lock ------------------------------------ */

static int
io_free(intptr_t **handle, libbfio_error_t **error)
{
    *handle = NULL;
    return 1;
}

static int
io_open(intptr_t *handle, int access, libbfio_error_t **error)
{
    return 1;
}

static int
io_close(intptr_t *handle, libbfio_error_t **error)
{
    return 0;
}

static ssize_t
io_read(intptr_t *handle, uint8_t *buf, size_t n, libbfio_error_t **error)
{
    struct legacy *l = (struct legacy *)handle;
    ssize_t r = mb_pread_full(l->file->fd, buf, n, (off_t)l->position);

    if (r < 0)
        return -1;
    l->position += (uint64_t)r;
    return r;
}

static off64_t
io_seek(intptr_t *handle, off64_t offset, int whence, libbfio_error_t **error)
{
    struct legacy *l = (struct legacy *)handle;
    int64_t base = whence == SEEK_SET ? 0 : (int64_t)(whence == SEEK_CUR ? l->position : l->file->size);
    int64_t at;

    if (MB_ADD_OVERFLOW(base, (int64_t)offset, &at) || at < 0)
        return -1;
    l->position = (uint64_t)at;
    return at;
}

static int
io_is_there(intptr_t *handle, libbfio_error_t **error)
{
    return 1;
}

static int
io_get_size(intptr_t *handle, size64_t *size, libbfio_error_t **error)
{
    *size = ((struct legacy *)handle)->file->size;
    return 1;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int
legacy_begin(struct bk_image *image, struct bk_err *err)
{
    struct legacy *l = legacy_of(image);
    size64_t size = 0;

    l->is_open =
        libbfio_handle_initialize(&l->io, (intptr_t *)l, io_free, NULL, io_open, io_close, io_read, NULL, io_seek,
                                  io_is_there, io_is_there, io_get_size, 0, NULL) == 1 &&
        libqcow_file_initialize(&l->library, NULL) == 1 &&
        (!l->encrypted || libqcow_file_set_keys(l->library, l->key, sizeof(l->key), NULL) == 1) &&
        libqcow_file_open_file_io_handle(l->library, l->io, libqcow_get_access_flags_read(), NULL) == 1;
    explicit_bzero(l->key, sizeof(l->key));
    if (!l->is_open)
        return bk_fail(err, -EIO, "\"%s\": libqcow cannot read the image's tables", l->file->path);
    if (libqcow_file_get_media_size(l->library, &size, NULL) != 1 || size / BK_SECTOR != image->size / BK_SECTOR)
        return bk_fail(err, -EIO, "\"%s\": libqcow finds another size than the header has", l->file->path);
    return 0;
}

/* Of the running piece, by parts that fit the buffer. On a thread of the pool. */
static int
read_piece(struct bk_xfer *xfer)
{
    struct bk_io *io = MB_CONTAINER_OF(xfer, struct bk_io, xfer);
    struct legacy *l = legacy_of(io->image);
    uint64_t done = 0;
    int rc = 0;

    pthread_mutex_lock(&l->lock);
    while (done < xfer->len && rc == 0) {
        size_t n = MB_MIN(xfer->len - done, sizeof(l->buffer));

        if (l->is_open && libqcow_file_read_buffer_at_offset(l->library, l->buffer, n, (off64_t)(io->offset + done),
                                                             NULL) == (ssize_t)n)
            mb_iov_from_buf(io->iov, io->n_iov, (size_t)done, l->buffer, n);
        else
            rc = -EIO;
        done += n;
    }
    pthread_mutex_unlock(&l->lock);
    if (rc == 0)
        mb_iov_cut_front(&io->iov, &io->n_iov, (size_t)xfer->len);
    return rc;
}

static void
legacy_read(struct bk_image *image, struct bk_io *io)
{
    io->xfer.call = read_piece;
    bk_io_whole(io, BK_XFER_CALL, legacy_of(image)->file, 0);
}

static void
legacy_close(struct bk_image *image)
{
    struct legacy *l = legacy_of(image);

    libqcow_file_free(&l->library, NULL);
    libbfio_handle_free(&l->io, NULL);
    bk_file_close(l->file);
    pthread_mutex_destroy(&l->lock);
    explicit_bzero(l->key, sizeof(l->key));
    free(l);
}

static const struct bk_image_ops legacy_ops = {
    .format = "libqcow",
    .begin = legacy_begin,
    .read = legacy_read,
    .close = legacy_close,
};

/* ---- opening ----------------------------------------------------------------------------------- */

static int
bad(const struct legacy *l, struct bk_err *err, const char *field)
{
    return bk_fail(err, -EINVAL, "\"%s\": not a usable qcow image: %s", l->file->path, field);
}

static int
check_crypt(struct legacy *l, uint32_t method, const char *secret_file, struct bk_err *err)
{
    if (method > CRYPT_AES)
        return bk_fail(err, -ENOTSUP, "\"%s\": qcow with LUKS encryption is not supported", l->file->path);
    l->encrypted = method == CRYPT_AES;
    if (l->encrypted && !secret_file)
        return bk_fail(err, -EINVAL, "\"%s\" is encrypted: give the file with its passphrase, --secret-file=",
                       l->file->path);
    if (!l->encrypted && secret_file)
        return bk_fail(err, -EINVAL, "\"%s\" is not encrypted, but there is a --secret-file=", l->file->path);
    return 0;
}

/* What decides how much the library allocates. */
static int
check_geometry(const struct legacy *l, unsigned cluster_bits, unsigned l2_bits, uint64_t size, uint64_t l1_offset,
               struct bk_err *err)
{
    uint64_t l1_bytes;

    if (cluster_bits < 9 || cluster_bits > 21)
        return bad(l, err, "cluster size");
    if (l2_bits < 6 || l2_bits > 18)
        return bad(l, err, "size of the L2 tables");
    if (size == 0 || size > INT64_MAX / 2)
        return bad(l, err, "size");
    l1_bytes = (((size - 1) >> (cluster_bits + l2_bits)) + 1) * 8;
    if (l1_bytes > MAX_L1 || !mb_range_within(l1_offset, l1_bytes, l->file->size))
        return bad(l, err, "L1 table");
    return 0;
}

static int
check_header(struct legacy *l, enum bk_libqcow_kind kind, const char *secret_file, struct bk_err *err)
{
    unsigned version = kind == BK_LIBQCOW_V1 ? 1 : 2;
    uint8_t h[HEADER];
    uint64_t size;
    int rc;

    if (l->file->size < sizeof(h) || bk_file_pread(l->file, h, sizeof(h), 0) < 0)
        return bad(l, err, "shorter than a header");
    if (mb_get_be32(h) != MAGIC)
        return bad(l, err, "magic");
    if (version == 2 && mb_get_be32(h + 4) == 3)
        return bk_fail(err, -ENOTSUP, "\"%s\": encrypted qcow2 of version 3 (compat=1.1) is not supported",
                       l->file->path);
    if (mb_get_be32(h + 4) != version)
        return bk_fail(err, -EINVAL, "\"%s\" is qcow version %u; %s", l->file->path, mb_get_be32(h + 4),
                       version == 1 ? "later ones have the format qcow2" : "version 1 has the format qcow");
    if (mb_get_be64(h + 8) != 0)
        return bk_fail(err, -ENOTSUP, "\"%s\": such an image with a backing file is not supported", l->file->path);
    size = mb_get_be64(h + 24);
    if (version == 1)
        rc = check_geometry(l, h[32], h[33], size, mb_get_be64(h + 40), err);
    else
        rc = check_geometry(l, mb_get_be32(h + 20), mb_get_be32(h + 20) - 3, size, mb_get_be64(h + 40), err);
    /* The library goes by the number of entries in the header of version 2. */
    if (rc == 0 && version == 2 &&
        (mb_get_be32(h + 36) > MAX_L1 / 8 ||
         !mb_range_within(mb_get_be64(h + 40), mb_get_be32(h + 36) * UINT64_C(8), l->file->size)))
        rc = bad(l, err, "L1 entries");
    if (rc == 0)
        rc = check_crypt(l, mb_get_be32(h + (version == 1 ? 36 : 32)), secret_file, err);
    l->image.size = size / BK_SECTOR * BK_SECTOR;
    return rc == 0 && l->image.size == 0 ? bad(l, err, "size") : rc;
}

static int
read_secret(struct legacy *l, const char *path, struct bk_err *err)
{
    mb_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char text[KEY_SIZE + 1];
    ssize_t n = fd < 0 ? -errno : mb_pread_full(fd, text, sizeof(text), 0);

    if (n < 0)
        return bk_fail(err, (int)n, "cannot read the passphrase from \"%s\": %s", path, strerror((int)-n));
    if (n > 0 && n <= KEY_SIZE && text[n - 1] == '\n')
        n--;
    if (n == 0)
        return bk_fail(err, -EINVAL, "the passphrase in \"%s\" is empty", path);
    memcpy(l->key, text, MB_MIN((size_t)n, sizeof(l->key)));
    explicit_bzero(text, sizeof(text));
    return 0;
}

int
bk_libqcow_open(const char *path, enum bk_libqcow_kind kind, const char *secret_file, struct bk_image **image,
                struct bk_err *err)
{
    struct legacy *l = calloc(1, sizeof(*l));
    int rc;

    if (!l)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", path);
    pthread_mutex_init(&l->lock, NULL);
    l->image.ops = &legacy_ops;
    l->image.read_only = true;
    rc = bk_file_open(path, false, &l->file, err);
    if (rc == 0)
        rc = check_header(l, kind, secret_file, err);
    if (rc == 0 && secret_file)
        rc = read_secret(l, secret_file, err);
    if (rc < 0) {
        legacy_close(&l->image);
        return rc;
    }
    l->image.io_size = 4096;
    l->image.files = &l->file;
    l->image.n_files = 1;
    *image = &l->image;
    return 0;
}

#else

int
bk_libqcow_open(const char *path, enum bk_libqcow_kind kind, const char *secret_file, struct bk_image **image,
                struct bk_err *err)
{
    return bk_fail(err, -ENOTSUP, "\"%s\": %s is not supported: this build is without libqcow", path,
                   kind == BK_LIBQCOW_V1 ? "qcow version 1" : "an encrypted qcow2 image");
}

#endif

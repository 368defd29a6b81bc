/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening host files.  Opened with O_NONBLOCK so that a FIFO put in the place
 * of an image cannot hang the start, and without it from then on: io_uring
 * takes the flag as "never wait".
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "mb-overflow.h"

#include "bk-file.h"
#include "bk-lock.h"

#define SECTOR 512u

static int
probe_block(struct bk_file *f, struct bk_err *err)
{
    uint64_t bytes;
    unsigned pbs;
    int lbs;

    if (ioctl(f->fd, BLKGETSIZE64, &bytes) < 0)
        return bk_fail(err, -errno, "\"%s\": cannot get the size of the block device: %s", f->path, strerror(errno));
    f->size = bytes;
    f->is_block = true;
    if (ioctl(f->fd, BLKSSZGET, &lbs) == 0 && lbs > 0 && mb_is_power_of_2((uint64_t)lbs))
        f->align = (uint32_t)lbs;
    if (ioctl(f->fd, BLKPBSZGET, &pbs) == 0)
        f->io_size = pbs;
    return 0;
}

static int
probe(struct bk_file *f, struct bk_err *err)
{
    struct stat st;
    int rc, flags;

    if (fstat(f->fd, &st) < 0)
        return bk_fail(err, -errno, "\"%s\": %s", f->path, strerror(errno));
    f->io_size = (uint32_t)st.st_blksize;
    f->align = 1;
    if (S_ISBLK(st.st_mode)) {
        rc = probe_block(f, err);
        if (rc < 0)
            return rc;
    } else if (S_ISREG(st.st_mode)) {
        f->size = (uint64_t)st.st_size;
    } else {
        return bk_fail(err, -EINVAL, "\"%s\" is neither a regular file nor a block device", f->path);
    }
    if (f->io_size < SECTOR || f->io_size > 65536 || !mb_is_power_of_2(f->io_size))
        f->io_size = 4096;
    f->zeros_from = f->size / SECTOR * SECTOR;

    flags = fcntl(f->fd, F_GETFL);
    if (flags < 0 || fcntl(f->fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
        return bk_fail(err, -errno, "\"%s\": %s", f->path, strerror(errno));
    return 0;
}

/* Open the same file once more, to lock it. */
static int
lock(struct bk_file *f, struct bk_err *err)
{
    struct stat a, b;

    f->lock_fd = open(f->path, (f->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (f->lock_fd < 0 || fstat(f->fd, &a) < 0 || fstat(f->lock_fd, &b) < 0)
        return bk_fail(err, -errno, "\"%s\": %s", f->path, strerror(errno));
    if (a.st_dev != b.st_dev || a.st_ino != b.st_ino)
        return bk_fail(err, -EAGAIN, "\"%s\" was replaced while it was opened", f->path);
    return bk_lock_file(f->lock_fd, f->path, f->writable, err);
}

int
bk_file_open(const char *path, bool writable, struct bk_file **file, struct bk_err *err)
{
    struct bk_file *f = calloc(1, sizeof(*f));
    int rc;

    if (!f)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", path);
    f->fd = f->lock_fd = -1;
    f->slot = -1;
    f->writable = writable;
    atomic_store(&f->dirty_gen, 1); /* what ran before us may not have flushed */
    f->path = strdup(path);
    if (!f->path) {
        free(f);
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", path);
    }
    f->fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (f->fd < 0)
        rc = bk_fail(err, -errno, "cannot open \"%s\" for %s: %s", path, writable ? "writing" : "reading",
                     strerror(errno));
    else
        rc = probe(f, err);
    if (rc == 0)
        rc = lock(f, err);
    if (rc < 0) {
        bk_file_close(f);
        return rc;
    }
    *file = f;
    return 0;
}

void
bk_file_close(struct bk_file *file)
{
    if (!file)
        return;
    mb_close(file->fd);
    mb_close(file->lock_fd);
    free(file->path);
    free(file);
}

int
bk_file_pread(const struct bk_file *file, void *buf, size_t len, uint64_t off)
{
    ssize_t n = mb_pread_full(file->fd, buf, len, (off_t)off);

    if (n < 0)
        return (int)n;
    return (size_t)n == len ? 0 : -ENODATA;
}

void
bk_file_synced(struct bk_file *file, uint_fast64_t gen)
{
    uint_fast64_t old = atomic_load(&file->synced_gen);

    while (old < gen && !atomic_compare_exchange_weak(&file->synced_gen, &old, gen))
        ;
}

int
bk_file_sync(struct bk_file *file)
{
    uint_fast64_t gen = atomic_load_explicit(&file->dirty_gen, memory_order_acquire);
    int rc = atomic_load(&file->sync_error);

    if (rc < 0 || gen == atomic_load(&file->synced_gen))
        return rc;
    do {
        rc = fdatasync(file->fd) < 0 ? -errno : 0;
    } while (rc == -EINTR);
    if (rc < 0)
        atomic_store(&file->sync_error, rc);
    else
        bk_file_synced(file, gen);
    return rc;
}

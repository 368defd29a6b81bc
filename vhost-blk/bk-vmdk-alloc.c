/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing where nothing is allocated.  New grains go to the end of the file, a
 * run of them side by side; their data is written first, then the entries in
 * the grain table and its copy, then those in memory, by which everybody finds
 * them.
 *
 * When an operation is done its entries are in the file, so that the death of
 * this process loses nothing.  For a power cut the order of what reaches the
 * disk counts as well: an entry without its data reads as zeros (the grain is
 * new room of the file), which is what was there before, unless there is a
 * parent.  With one, the data is therefore synced before the entries are written.
 * An entry behind the end of the file would be wrong in any case, so the file
 * grows in large steps, which are synced, and is cut when the image is closed.
 *
 * One allocation runs at a time in an image.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-endian.h"

#include "bk-vmdk-priv.h"

#define ROOM (UINT64_C(64) << 20) /* a hole in the file until it is used */

static const uint8_t zeros[64u << 10];

/* What failed to reach the disk has to fail the guest's flushes too, which the kernel tells of it once only. */
static int
sync_file(struct bk_file *file)
{
    bk_file_dirtied(file);
    return bk_file_sync(file);
}

static int
pwrite_all(int fd, const void *buf, uint64_t len, uint64_t offset)
{
    const uint8_t *p = buf;

    while (len > 0) {
        struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = (size_t)len};
        ssize_t n = pwritev(fd, &iov, 1, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        p += n;
        offset += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return 0;
}

/* Write bytes [skip, skip + len) of the segments; zeros without any. */
static int
write_source(struct bk_file *file, const struct iovec *iov, unsigned n_iov, uint64_t skip, uint64_t len,
             uint64_t offset)
{
    for (unsigned i = 0; iov && i < n_iov && len > 0; i++) {
        uint64_t n = iov[i].iov_len;
        int rc;

        if (skip >= n) {
            skip -= n;
            continue;
        }
        n = MB_MIN(n - skip, len);
        rc = pwrite_all(file->fd, (const uint8_t *)iov[i].iov_base + skip, n, offset);
        if (rc < 0)
            return rc;
        skip = 0;
        offset += n;
        len -= n;
    }
    while (len > 0) {
        uint64_t n = MB_MIN(len, sizeof(zeros));
        int rc = pwrite_all(file->fd, zeros, n, offset);

        if (rc < 0)
            return rc;
        offset += n;
        len -= n;
    }
    return 0;
}

/* Fill len bytes of a new grain from the parent; where that has nothing the file has a hole, which is as good. */
static int
copy_up(struct vmdk *v, struct bk_file *file, uint64_t from, uint64_t len, uint64_t to)
{
    mb_autofree uint8_t *buf = NULL;
    int rc;

    if (len == 0 || !v->parent || from >= v->parent->image.size)
        return 0;
    len = MB_MIN(len, v->parent->image.size - from);
    buf = malloc(len);
    if (!buf)
        return -ENOMEM;
    rc = vmdk_pread(v->parent, buf, len, from);
    return rc < 0 ? rc : pwrite_all(file->fd, buf, len, to);
}

/* Entries [first, first + n) of the tables at gt, which are sectors of the file. */
static int
write_entries(const struct vmdk_extent *x, const uint32_t *gt, uint64_t first, uint64_t n, uint64_t host)
{
    uint8_t le[VMDK_GTES * 4];

    while (n > 0) {
        uint64_t index = first % VMDK_GTES, count = MB_MIN(n, VMDK_GTES - index);
        int rc;

        for (uint64_t i = 0; i < count; i++)
            mb_put_le32(le + 4 * i, (uint32_t)((host >> 9) + (i << (x->grain_bits - 9))));
        rc = pwrite_all(x->file->fd, le, count * 4, (uint64_t)gt[first / VMDK_GTES] * BK_SECTOR + index * 4);
        if (rc < 0)
            return rc;
        first += count;
        host += count << x->grain_bits;
        n -= count;
    }
    return 0;
}

static int
publish(struct vmdk_extent *x, uint64_t first, uint64_t n, uint64_t host)
{
    int rc = x->rgt ? write_entries(x, x->rgt, first, n, host) : 0;

    if (rc == 0)
        rc = write_entries(x, x->gt, first, n, host);
    for (uint64_t i = 0; rc == 0 && i < n; i++)
        __atomic_store_n(&x->gte[first + i], (uint32_t)((host >> 9) + (i << (x->grain_bits - 9))), __ATOMIC_RELEASE);
    return rc;
}

/* The grains from first on that have to be allocated to reach the byte end of the extent. */
static uint64_t
count_new(const struct vmdk_extent *x, uint64_t first, uint64_t end)
{
    uint64_t n = 0;

    while (((first + n) << x->grain_bits) < end && vmdk_gte(x, first + n) <= VMDK_GTE_ZERO)
        n++;
    return n;
}

/* Make the file so long, on the disk too. */
static int
make_room(struct vmdk_extent *x, uint64_t end)
{
    uint64_t size = MB_MAX(end + ROOM, x->file->size);
    int rc;

    if (end <= x->room_end)
        return 0;
    if (ftruncate(x->file->fd, (off_t)size) < 0) {
        size = MB_MAX(end, x->file->size);
        if (errno != EFBIG || ftruncate(x->file->fd, (off_t)size) < 0)
            return -errno;
    }
    rc = sync_file(x->file);
    if (rc == 0)
        x->room_end = size;
    return rc;
}

void
vmdk_cut_room(struct vmdk_extent *x)
{
    /* Should it fail, the hole stays. */
    if (x->room_end > x->alloc_end && ftruncate(x->file->fd, (off_t)x->alloc_end) == 0)
        x->room_end = x->alloc_end;
}

/* Data that got into room which is not used after all would show in the grain that does get it: only holes are left
 * there, or else the place is given up. */
static void
clean_room(struct vmdk_extent *x, uint64_t host, uint64_t len)
{
    struct bk_xfer hole = {.op = BK_XFER_UNMAP, .file = x->file, .offset = host, .len = len};

    if (host + len > x->room_end)
        return; /* nothing was written */
    if (bk_xfer_run(&hole) < 0)
        x->alloc_end = host + len;
}

/* Fill n new grains from first on, at host: [at, at + len) of the extent from the segments, the rest with what was
 * there before. */
static int
fill_grains(struct vmdk *v, struct vmdk_extent *x, uint64_t first, uint64_t n, const struct iovec *iov, unsigned n_iov,
            uint64_t skip, uint64_t at, uint64_t len, uint64_t host)
{
    uint64_t begin = first << x->grain_bits, bytes = n << x->grain_bits;
    uint64_t head = at - begin, tail = bytes - head - len;
    /* A grain that reads as zeros hides its parent. */
    bool zero_head = vmdk_gte(x, first) == VMDK_GTE_ZERO, zero_tail = vmdk_gte(x, first + n - 1) == VMDK_GTE_ZERO;
    int rc = make_room(x, host + bytes);

    if (rc == 0 && !zero_head)
        rc = copy_up(v, x->file, x->start + begin, head, host);
    if (rc == 0)
        rc = write_source(x->file, iov, n_iov, skip, len, host + head);
    if (rc == 0 && !zero_tail)
        rc = copy_up(v, x->file, x->start + at + len, tail, host + head + len);
    return rc == 0 && v->parent ? sync_file(x->file) : rc;
}

/* Allocate those grains. Under the lock. */
static int
write_grains(struct vmdk *v, struct vmdk_extent *x, uint64_t first, uint64_t n, const struct iovec *iov, unsigned n_iov,
             uint64_t skip, uint64_t at, uint64_t len)
{
    uint64_t bytes = n << x->grain_bits, host = x->alloc_end;
    int rc;

    if ((host + bytes) >> 9 >= VMDK_GTE_BAD)
        return -ENOSPC;
    rc = fill_grains(v, x, first, n, iov, n_iov, skip, at, len, host);
    if (rc < 0) {
        clean_room(x, host, bytes);
        return rc;
    }
    x->alloc_end = host + bytes;
    rc = publish(x, first, n, host);
    /* Not before the entries are there: a flush that runs meanwhile does not cover them. */
    bk_file_dirtied(x->file);
    return rc;
}

/* One stretch at the beginning of the range; how much of it is done. */
static int
write_stretch(struct vmdk *v, struct vmdk_extent *x, const struct iovec *iov, unsigned n_iov, uint64_t skip,
              uint64_t at, uint64_t len, uint64_t *done)
{
    uint64_t grain = at >> x->grain_bits, size = UINT64_C(1) << x->grain_bits, within = at & (size - 1), n;
    uint32_t gte = vmdk_gte(x, grain);
    int rc;

    if (gte == VMDK_GTE_BAD)
        return -EIO;
    if (gte > VMDK_GTE_ZERO) {
        *done = MB_MIN(len, size - within);
        rc = write_source(x->file, iov, n_iov, skip, *done, (uint64_t)gte * BK_SECTOR + within);
        bk_file_dirtied(x->file);
        return rc;
    }
    n = count_new(x, grain, at + len);
    *done = MB_MIN(len, (n << x->grain_bits) - within);
    return write_grains(v, x, grain, n, iov, n_iov, skip, at, *done);
}

int
vmdk_write_new(struct vmdk *v, const struct iovec *iov, unsigned n_iov, uint64_t offset, uint64_t len, bool dsync)
{
    struct vmdk_place p;
    uint64_t skip = 0, done;
    int rc = vmdk_map_here(v, offset, len, &p);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&v->lock);
    while (rc == 0 && skip < len) {
        rc = write_stretch(v, p.extent, iov, n_iov, skip, offset + skip - p.extent->start, len - skip, &done);
        skip += done;
    }
    pthread_mutex_unlock(&v->lock);
    return rc == 0 && dsync ? sync_file(p.extent->file) : rc;
}

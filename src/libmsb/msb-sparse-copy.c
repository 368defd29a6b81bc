/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies of disk files: by reflink where the filesystem can, otherwise extent
 * by extent, holes left out, inside the kernel where it can do that.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-error.h"
#include "msb-ext4.h"

#define COPY_BUFFER (256u << 10)
#define COPY_AT_ONCE ((gsize)1 << 30)

static gboolean
copy_by_hand(int from, int to, off_t offset, off_t end)
{
    g_autofree guint8 *buffer = g_malloc(COPY_BUFFER);

    while (offset < end) {
        gssize n = mb_pread_full(from, buffer, MIN((gsize)(end - offset), COPY_BUFFER), offset);
        int r = n == 0 ? -EIO : n < 0 ? (int)n : mb_pwrite_full(to, buffer, (gsize)n, offset);

        if (r < 0) {
            errno = -r;
            return FALSE;
        }
        offset += n;
    }
    return TRUE;
}

static gboolean
copy_extent(int from, int to, off_t offset, off_t end)
{
    while (offset < end) {
        off_t in = offset, out = offset;
        gssize n = copy_file_range(from, &in, to, &out, MIN((gsize)(end - offset), COPY_AT_ONCE), 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EXDEV && errno != ENOSYS && errno != EOPNOTSUPP && errno != EINVAL)
            return FALSE;
        if (n <= 0)
            return copy_by_hand(from, to, offset, end);
        offset += n;
    }
    return TRUE;
}

static gboolean
copy_extents(int from, int to, off_t size)
{
    off_t data = 0, hole;

    if (ftruncate(to, size) < 0)
        return FALSE;
    while (data < size) {
        data = lseek(from, data, SEEK_DATA);
        if (data < 0)
            return errno == ENXIO;
        hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0 || !copy_extent(from, to, data, MIN(hole, size)))
            return FALSE;
        data = hole;
    }
    return TRUE;
}

gboolean
msb_sparse_copy(const char *source, const char *path, GError **error)
{
    mb_autofd int from = open(source, O_RDONLY | O_CLOEXEC);
    mb_autofd int to = -1;
    struct stat st;

    if (from < 0 || fstat(from, &st) < 0)
        return msb_error_set_errno(error, errno, "open '%s'", source);
    if (!S_ISREG(st.st_mode)) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID, "'%s' is not a regular file", source);
        return FALSE;
    }
    to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        return msb_error_set_errno(error, errno, "create '%s'", path);
    if (ioctl(to, FICLONE, from) == 0 || copy_extents(from, to, st.st_size))
        return TRUE;
    msb_error_set_errno(error, errno, "copy '%s' to '%s'", source, path);
    unlink(path);
    return FALSE;
}

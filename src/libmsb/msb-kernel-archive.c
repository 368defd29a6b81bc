/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libarchive for the kernel code: readers, bounded copies, decompression.
 * Whatever comes out of an archive is bounded by the caller's limit before it
 * reaches the disk.
 */
#include <config.h>

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-error.h"
#include "msb-kernel-private.h"

#define COPY_CHUNK (128 * 1024)

struct archive *
msb_archive_reader_new(void)
{
    struct archive *a = archive_read_new();

    if (!a)
        g_error("out of memory");
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_lzma(a);
    archive_read_support_filter_lz4(a);
    archive_read_support_filter_zstd(a);
    return a;
}

gboolean
msb_archive_write_all(int fd, const void *bytes, gsize n, const char *what, GError **error)
{
    int r = mb_write_full(fd, bytes, n);

    return r == 0 ? TRUE : msb_error_set_errno(error, -r, "cannot write '%s'", what);
}

gboolean
msb_archive_copy_data(struct archive *archive, const char *what, int fd, guint64 limit, guint64 *written,
                      GError **error)
{
    g_autofree guint8 *buffer = g_malloc(COPY_CHUNK);
    guint64 total = 0;

    for (;;) {
        la_ssize_t n = archive_read_data(archive, buffer, COPY_CHUNK);

        if (n == 0)
            break;
        if (n < 0) {
            g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' is damaged: %s", what,
                        archive_error_string(archive) ? archive_error_string(archive) : "unreadable data");
            return FALSE;
        }
        if ((guint64)n > limit - total) {
            g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT,
                        "'%s' unpacks to more than %" G_GUINT64_FORMAT " MiB, which no kernel needs", what,
                        limit >> 20);
            return FALSE;
        }
        if (!msb_archive_write_all(fd, buffer, (gsize)n, what, error))
            return FALSE;
        total += (guint64)n;
    }
    if (written)
        *written = total;
    return TRUE;
}

/* archive is an opened raw reader: its one entry goes to fd. */
static gboolean
unpack_raw(struct archive *archive, const char *what, int fd, guint64 limit, guint64 *written, GError **error)
{
    struct archive_entry *entry;

    if (archive_read_next_header(archive, &entry) != ARCHIVE_OK) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' cannot be unpacked: %s", what,
                    archive_error_string(archive) ? archive_error_string(archive) : "it is empty");
        return FALSE;
    }
    return msb_archive_copy_data(archive, what, fd, limit, written, error);
}

gboolean
msb_archive_unpack_bytes(const guint8 *bytes, gsize n, const char *what, int fd, guint64 limit,
                         guint64 *written, GError **error)
{
    struct archive *archive = msb_archive_reader_new();
    gboolean ok;

    archive_read_support_format_raw(archive);
    if (archive_read_open_memory(archive, bytes, n) != ARCHIVE_OK) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' cannot be unpacked: %s", what,
                    archive_error_string(archive));
        ok = FALSE;
    } else {
        ok = unpack_raw(archive, what, fd, limit, written, error);
    }
    archive_read_free(archive);
    return ok;
}

gboolean
msb_archive_unpack_file(const char *path, const char *out_path, guint64 limit, GError **error)
{
    struct archive *archive = NULL;
    mb_autofd int in = open(path, O_RDONLY | O_CLOEXEC);
    mb_autofd int out = -1;
    gboolean ok;

    if (in < 0)
        return msb_error_set_errno(error, errno, "cannot open '%s'", path);
    out = open(out_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (out < 0)
        return msb_error_set_errno(error, errno, "cannot create '%s'", out_path);
    archive = msb_archive_reader_new();
    archive_read_support_format_raw(archive);
    archive_read_support_format_empty(archive);
    if (archive_read_open_fd(archive, in, COPY_CHUNK) != ARCHIVE_OK) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' cannot be unpacked: %s", path,
                    archive_error_string(archive));
        ok = FALSE;
    } else {
        ok = unpack_raw(archive, path, out, limit, NULL, error);
    }
    archive_read_free(archive);
    return ok;
}

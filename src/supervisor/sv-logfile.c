/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rotating log files: see sv-logfile.h.  The supervisor is the only writer, so
 * the size is known without asking.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "sv-logfile.h"

struct SvLogFile {
    char *path;
    int fd;                 /* -1 after a failed rotation: opened again at the next record */
    gsize size;
    gsize limit;
    guint keep;
};

/* 0 or -errno. */
static int
open_file(SvLogFile *file)
{
    struct stat st;
    mb_autofd int fd = open(file->path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    file->size = (gsize)st.st_size;
    file->fd = mb_steal_fd(&fd);
    return 0;
}

SvLogFile *
sv_log_file_open(const char *path, gsize limit, guint keep, GError **error)
{
    g_autoptr(SvLogFile) file = g_new0(SvLogFile, 1);
    int r;

    file->path = g_strdup(path);
    file->fd = -1;
    file->limit = limit;
    file->keep = keep;
    r = open_file(file);
    if (r < 0) {
        msb_error_set_errno(error, -r, "cannot open the log '%s'", path);
        return NULL;
    }
    return g_steal_pointer(&file);
}

void
sv_log_file_free(SvLogFile *file)
{
    if (!file)
        return;
    mb_close(file->fd);
    g_free(file->path);
    g_free(file);
}

/* Renaming can only fail when somebody took the directory away; opening tells then. */
static void
rotate(SvLogFile *file)
{
    for (guint i = file->keep; i > 0; i--) {
        g_autofree char *to = g_strdup_printf("%s.%u", file->path, i);
        g_autofree char *from = i > 1 ? g_strdup_printf("%s.%u", file->path, i - 1) : g_strdup(file->path);

        (void)rename(from, to);
    }
    mb_close(mb_steal_fd(&file->fd));
}

int
sv_log_file_append(SvLogFile *file, const void *p, gsize n)
{
    const guint8 *next = p;
    gsize left = n;
    int r;

    if (file->fd >= 0 && file->size > 0 && file->size + n > file->limit)
        rotate(file);
    if (file->fd < 0 && (r = open_file(file)) < 0)
        return r;
    while (left > 0) {
        ssize_t written = write(file->fd, next, left);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            r = -errno;
            if (left < n && ftruncate(file->fd, (off_t)file->size) < 0)
                file->size += n - left;
            return r;
        }
        next += written;
        left -= (gsize)written;
    }
    file->size += n;
    return 0;
}

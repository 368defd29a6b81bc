/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Saved images: see the header.  The tar has no times and no owners, so the
 * same image gives the same bytes every time.
 */
#include <config.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-error.h"
#include "msb-paths.h"
#include "msb-save-out.h"

struct _MsbSaveOut {
    char *path;      /* as it was given */
    char *temporary; /* what is being made, NULL = standard output */
    gboolean directory;
    GHashTable *names;   /* written already */
    struct archive *tar; /* NULL for a directory */
    int fd;              /* of the tar, or of the current file of the directory */
    guint64 left;        /* bytes of the current file that are still to come */
};

static gboolean
tar_failed(MsbSaveOut *out, GError **error)
{
    int code = archive_errno(out->tar);
    const char *reason = archive_error_string(out->tar);

    if (code > 0)
        return msb_error_set_errno(error, code, "write '%s'", out->path);
    return msb_error_set(error, MSB_ERROR_FAILED, "write '%s': %s", out->path, reason ? reason : "failed");
}

/* What is there and no file (a device, a pipe) is written to, not replaced. */
static gboolean
is_special(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static int
open_file(MsbSaveOut *out)
{
    if (strcmp(out->path, "-") == 0)
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (is_special(out->path))
        return open(out->path, O_WRONLY | O_CLOEXEC);
    out->temporary = g_strconcat(out->path, ".XXXXXX", NULL);
    return g_mkstemp_full(out->temporary, O_WRONLY | O_CLOEXEC, 0666);
}

static gboolean
open_tar(MsbSaveOut *out, GError **error)
{
    out->tar = archive_write_new();
    if (!out->tar)
        return msb_error_set_errno(error, ENOMEM, "write '%s'", out->path);
    archive_write_set_format_pax_restricted(out->tar);
    archive_write_set_bytes_per_block(out->tar, 1 << 20);
    archive_write_set_bytes_in_last_block(out->tar, 1);
    out->fd = open_file(out);
    if (out->fd < 0) {
        int saved = errno;

        g_clear_pointer(&out->temporary, g_free);
        return msb_error_set_errno(error, saved, "create '%s'", out->path);
    }
    return archive_write_open_fd(out->tar, out->fd) == ARCHIVE_OK || tar_failed(out, error);
}

static gboolean
open_directory(MsbSaveOut *out, GError **error)
{
    g_autoptr(GDir) there = g_dir_open(out->path, 0, NULL);
    struct stat st;

    if (there && g_dir_read_name(there))
        return msb_error_set(error, MSB_ERROR_EXISTS, "directory '%s' is not empty", out->path);
    if (!there && lstat(out->path, &st) == 0)
        return msb_error_set(error, MSB_ERROR_EXISTS, "'%s' exists and is not a directory", out->path);
    out->temporary = g_strconcat(out->path, ".XXXXXX", NULL);
    if (!g_mkdtemp_full(out->temporary, 0777)) {
        int saved = errno;

        g_clear_pointer(&out->temporary, g_free);
        return msb_error_set_errno(error, saved, "make a directory '%s'", out->path);
    }
    return TRUE;
}

MsbSaveOut *
msb_save_out_new(const char *path, gboolean directory, GError **error)
{
    g_autoptr(MsbSaveOut) out = g_new0(MsbSaveOut, 1);
    gsize length = strlen(path);

    while (length > 1 && path[length - 1] == '/')
        length--;
    out->path = g_strndup(path, length);
    out->directory = directory;
    out->fd = -1;
    out->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (directory && strcmp(path, "-") == 0) {
        msb_error_set(error, MSB_ERROR_INVALID,
                      "a directory cannot be written to standard output: give it a path");
        return NULL;
    }
    if (!(directory ? open_directory(out, error) : open_tar(out, error)))
        return NULL;
    return g_steal_pointer(&out);
}

static gboolean
begin_in_tar(MsbSaveOut *out, const char *name, guint64 size, GError **error)
{
    struct archive_entry *entry = archive_entry_new();
    gboolean good;

    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_mtime(entry, 0, 0);
    good = archive_write_header(out->tar, entry) == ARCHIVE_OK || tar_failed(out, error);
    archive_entry_free(entry);
    return good;
}

static gboolean
begin_in_directory(MsbSaveOut *out, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(out->temporary, name, NULL);
    g_autofree char *parent = g_path_get_dirname(path);

    mb_close(out->fd);
    out->fd = -1;
    if (!msb_paths_make_dir(parent, 0777, error))
        return FALSE;
    out->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return out->fd >= 0 || msb_error_set_errno(error, errno, "create '%s'", path);
}

gboolean
msb_save_out_begin(MsbSaveOut *out, const char *name, guint64 size, gboolean *wanted, GError **error)
{
    g_assert(out->left == 0);
    *wanted = g_hash_table_add(out->names, g_strdup(name));
    if (!*wanted)
        return TRUE;
    out->left = size;
    return out->tar ? begin_in_tar(out, name, size, error) : begin_in_directory(out, name, error);
}

gboolean
msb_save_out_write(MsbSaveOut *out, const void *bytes, gsize n, GError **error)
{
    int r;

    if (n > out->left)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a blob of the store is longer than it should be");
    out->left -= n;
    if (out->tar)
        return archive_write_data(out->tar, bytes, n) == (la_ssize_t)n || tar_failed(out, error);
    r = mb_write_full(out->fd, bytes, n);
    return r >= 0 || msb_error_set_errno(error, -r, "write '%s'", out->path);
}

gboolean
msb_save_out_add(MsbSaveOut *out, const char *name, const void *bytes, gsize n, GError **error)
{
    gboolean wanted;

    return msb_save_out_begin(out, name, n, &wanted, error) &&
           (!wanted || msb_save_out_write(out, bytes, n, error));
}

gboolean
msb_save_out_finish(MsbSaveOut *out, GError **error)
{
    if (out->left > 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a blob of the store is shorter than it should be");
    if (out->tar && archive_write_close(out->tar) != ARCHIVE_OK)
        return tar_failed(out, error);
    if (out->temporary && out->tar && fsync(out->fd) < 0)
        return msb_error_set_errno(error, errno, "sync '%s'", out->path);
    if (out->temporary && rename(out->temporary, out->path) < 0)
        return msb_error_set_errno(error, errno, "rename '%s' to '%s'", out->temporary, out->path);
    g_clear_pointer(&out->temporary, g_free);
    return TRUE;
}

void
msb_save_out_free(MsbSaveOut *out)
{
    if (!out)
        return;
    if (out->tar)
        archive_write_free(out->tar);
    mb_close(out->fd);
    if (out->temporary && out->directory)
        msb_paths_remove_tree(out->temporary, NULL);
    else if (out->temporary)
        unlink(out->temporary);
    g_clear_pointer(&out->names, g_hash_table_unref);
    g_free(out->temporary);
    g_free(out->path);
    g_free(out);
}

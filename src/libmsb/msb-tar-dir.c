/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A directory tree as a pax tar, by libarchive: types, owners, modes, times
 * with nanoseconds, hard links, devices, holes, extended attributes and access
 * control lists.  Symbolic links are kept, not followed; mounts not entered.
 */
#include <config.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>

#include "msb-error.h"
#include "msb-image-private.h"

typedef struct {
    struct archive *disk, *tar;
    struct archive_entry_linkresolver *links;
    const char *dir;
    gboolean squash_owner;
    GCancellable *cancellable;
} Packing;

static gboolean
packing_error(Packing *packing, struct archive *archive, GError **error)
{
    const char *reason = archive_error_string(archive);
    int errnum = archive_errno(archive);

    return msb_error_set(error, errnum == ENOENT ? MSB_ERROR_NOT_FOUND : MSB_ERROR_IO,
                         "read the directory '%s': %s", packing->dir, reason ? reason : g_strerror(errnum));
}

/* The tar wants all bytes of a file, holes too; its writer leaves them out again. */
static gboolean
pad(Packing *packing, guint64 *position, guint64 target, GError **error)
{
    static const guint8 zeros[65536];

    while (*position < target) {
        la_ssize_t n = archive_write_data(packing->tar, zeros, (size_t)MIN(target - *position, sizeof zeros));

        if (n <= 0)
            return packing_error(packing, packing->tar, error);
        *position += (guint64)n;
    }
    return TRUE;
}

static gboolean
pack_data(Packing *packing, guint64 size, GError **error)
{
    guint64 position = 0;

    for (;;) {
        const void *bytes;
        size_t n;
        la_int64_t offset;
        int r = archive_read_data_block(packing->disk, &bytes, &n, &offset);

        if (r == ARCHIVE_EOF)
            return pad(packing, &position, size, error);
        if (r < ARCHIVE_WARN)
            return packing_error(packing, packing->disk, error);
        if (g_cancellable_set_error_if_cancelled(packing->cancellable, error) ||
            !pad(packing, &position, (guint64)offset, error))
            return FALSE;
        if (n > 0 && archive_write_data(packing->tar, bytes, n) != (la_ssize_t)n)
            return packing_error(packing, packing->tar, error);
        position += n;
    }
}

/* Names are relative to the directory, the directory itself is ".". */
static void
make_relative(Packing *packing, struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);
    g_autofree char *relative = NULL;

    if (path && g_str_has_prefix(path, packing->dir)) {
        path += strlen(packing->dir);
        path += strspn(path, "/");
        relative = g_strdup(*path ? path : ".");
        archive_entry_copy_pathname(entry, relative);
    }
}

static gboolean
pack_entry(Packing *packing, struct archive_entry *entry, GError **error)
{
    struct archive_entry *later = NULL;
    int r;

    make_relative(packing, entry);
    archive_entry_unset_atime(entry);
    archive_entry_unset_ctime(entry);
    archive_entry_unset_birthtime(entry);
    archive_entry_set_uname(entry, NULL);
    archive_entry_set_gname(entry, NULL);
    if (packing->squash_owner) {
        archive_entry_set_uid(entry, 0);
        archive_entry_set_gid(entry, 0);
    }
    archive_entry_linkify(packing->links, &entry, &later);
    if (!entry || archive_entry_filetype(entry) == AE_IFSOCK)
        return TRUE;
    r = archive_write_header(packing->tar, entry);
    if (r < ARCHIVE_WARN)
        return packing_error(packing, packing->tar, error);
    return archive_entry_size(entry) <= 0 || archive_entry_filetype(entry) != AE_IFREG ||
           archive_entry_hardlink(entry) || pack_data(packing, (guint64)archive_entry_size(entry), error);
}

static gboolean
pack_entries(Packing *packing, GError **error)
{
    for (;;) {
        struct archive_entry *entry = archive_entry_new2(packing->disk);
        int r = archive_read_next_header2(packing->disk, entry);
        gboolean done;

        if (r == ARCHIVE_EOF) {
            archive_entry_free(entry);
            return TRUE;
        }
        /* A warning means that something of it could not be read: here that would be a wrong image. */
        done = r >= ARCHIVE_WARN ? pack_entry(packing, entry, error)
                                 : packing_error(packing, packing->disk, error);
        archive_entry_free(entry);
        if (!done)
            return FALSE;
        archive_read_disk_descend(packing->disk);
    }
}

gboolean
msb_tar_from_directory(const char *dir, int fd, gboolean squash_owner, GCancellable *cancellable,
                       GError **error)
{
    Packing packing = {archive_read_disk_new(), archive_write_new(), archive_entry_linkresolver_new(), dir,
                       squash_owner, cancellable};
    gboolean done;

    archive_read_disk_set_symlink_physical(packing.disk);
    archive_read_disk_set_behavior(packing.disk, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS);
    archive_entry_linkresolver_set_strategy(packing.links, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE);
    archive_write_set_format_pax(packing.tar);
    archive_write_set_options(packing.tar, "pax:hdrcharset=BINARY,pax:xattrheader=SCHILY");
    archive_write_set_bytes_per_block(packing.tar, 1 << 20);
    archive_write_set_bytes_in_last_block(packing.tar, 512);
    if (archive_write_open_fd(packing.tar, fd) != ARCHIVE_OK)
        done = packing_error(&packing, packing.tar, error);
    else if (archive_read_disk_open(packing.disk, dir) != ARCHIVE_OK)
        done = packing_error(&packing, packing.disk, error);
    else
        done = pack_entries(&packing, error);
    if (done && archive_write_close(packing.tar) != ARCHIVE_OK)
        done = packing_error(&packing, packing.tar, error);
    archive_entry_linkresolver_free(packing.links);
    archive_write_free(packing.tar);
    archive_read_free(packing.disk);
    return done;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Image archives: see the header.  In a tar, symbolic and hard links between
 * its files are followed by name, as old versions of docker save wrote layers
 * that occur twice; nothing outside the table of names is ever opened.  In a
 * directory, the kernel keeps names beneath it.
 */
#include <config.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-archive.h"
#include "msb-error.h"
#include "msb-oci.h"

#define READ_SIZE (256u << 10)
#define MAX_FILES 100000
#define MAX_NAME 1024
#define MAX_LINKS 8
#define MAX_SPOOLED ((guint64)128 << 30)

typedef struct {
    char *spool;             /* path of the numbered file, or NULL */
    char *link;              /* name that this one stands for, or NULL */
    guint64 size;
} Member;

struct _MsbArchive {
    char *path;
    int dir_fd;              /* of a directory, or -1 */
    GHashTable *members;     /* of a tar: name → Member */
};

static void
member_free(gpointer data)
{
    Member *member = data;

    g_free(member->spool);
    g_free(member->link);
    g_free(member);
}

void
msb_archive_free(MsbArchive *archive)
{
    if (!archive)
        return;
    mb_close(archive->dir_fd);
    g_clear_pointer(&archive->members, g_hash_table_unref);
    g_free(archive->path);
    g_free(archive);
}

const char *
msb_archive_get_path(const MsbArchive *archive)
{
    return archive->path;
}

/* ---- spooling ----------------------------------------------------------------------- */

typedef struct {
    MsbArchive *archive;
    struct archive *tar;
    const char *dir;
    guint64 bytes;
    guint n_files;
    MsbProgressFunc progress;
    gpointer data;
    GCancellable *cancellable;
} Spooling;

/* "./a//b/../c" → "a/c" (transfer full); NULL if it leads out. */
static char *
canonical_name(const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, "/", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();

    for (char **part = parts; *part; part++) {
        if ((*part)[0] == '\0' || strcmp(*part, ".") == 0)
            continue;
        if (strcmp(*part, "..") != 0) {
            g_ptr_array_add(kept, *part);
        } else if (kept->len > 0) {
            g_ptr_array_set_size(kept, (gint)kept->len - 1);
        } else {
            return NULL;
        }
    }
    g_ptr_array_add(kept, NULL);
    return g_strjoinv("/", (char **)kept->pdata);
}

static gboolean
tar_error(Spooling *spooling, GError **error)
{
    const char *reason = archive_error_string(spooling->tar);

    return msb_error_set(error, MSB_ERROR_CORRUPT, "'%s': %s", spooling->archive->path,
                         reason ? reason : "broken archive");
}

static gboolean
spool_file(Spooling *spooling, Member *member, GError **error)
{
    mb_autofd int fd = -1;

    member->spool = g_strdup_printf("%s/%u", spooling->dir, spooling->n_files);
    fd = open(member->spool, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return msb_error_set_errno(error, errno, "create '%s'", member->spool);
    for (;;) {
        const void *bytes;
        size_t n;
        la_int64_t offset;
        int r = archive_read_data_block(spooling->tar, &bytes, &n, &offset);

        if (r == ARCHIVE_EOF)
            return TRUE;
        if (r < ARCHIVE_WARN)
            return tar_error(spooling, error);
        if (offset < 0 || (guint64)offset != member->size || spooling->bytes + n > MAX_SPOOLED)
            return msb_error_set(error, MSB_ERROR_CORRUPT, "'%s': sparse, or larger than %d GiB",
                                 spooling->archive->path, (int)(MAX_SPOOLED >> 30));
        if (g_cancellable_set_error_if_cancelled(spooling->cancellable, error))
            return FALSE;
        r = mb_write_full(fd, bytes, n);
        if (r < 0)
            return msb_error_set_errno(error, -r, "write '%s'", member->spool);
        member->size += n;
        spooling->bytes += n;
        if (spooling->progress)
            spooling->progress("read", spooling->bytes, 0, spooling->data);
    }
}

/* The member that an entry becomes, without its data; NULL for one that is nothing. */
static Member *
new_member(struct archive_entry *entry, const char *name)
{
    const char *hardlink = archive_entry_hardlink(entry);
    Member *member;
    char *target = NULL;

    if (hardlink) {
        target = canonical_name(hardlink);
    } else if (archive_entry_filetype(entry) == AE_IFLNK) {
        const char *symlink = archive_entry_symlink(entry);
        g_autofree char *dir = g_path_get_dirname(name);
        g_autofree char *joined = g_strconcat(dir, "/", symlink ? symlink : "", NULL);

        target = symlink && symlink[0] != '/' ? canonical_name(joined) : NULL;
    } else if (archive_entry_filetype(entry) == AE_IFREG) {
        return g_new0(Member, 1);
    }
    if (!target)
        return NULL;
    member = g_new0(Member, 1);
    member->link = target;
    return member;
}

static gboolean
spool_entry(Spooling *spooling, struct archive_entry *entry, GError **error)
{
    const char *path = archive_entry_pathname(entry);
    g_autofree char *name = path && strlen(path) <= MAX_NAME ? canonical_name(path) : NULL;
    Member *member;

    if (++spooling->n_files > MAX_FILES)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' has more than %d files", spooling->archive->path,
                             MAX_FILES);
    member = name && name[0] ? new_member(entry, name) : NULL;
    if (!member)
        return TRUE;
    if (!member->link && !spool_file(spooling, member, error)) {
        member_free(member);
        return FALSE;
    }
    g_hash_table_insert(spooling->archive->members, g_steal_pointer(&name), member);
    return TRUE;
}

static gboolean
spool_entries(Spooling *spooling, GError **error)
{
    for (;;) {
        struct archive_entry *entry;
        int r = archive_read_next_header(spooling->tar, &entry);

        if (r == ARCHIVE_EOF)
            return TRUE;
        if (r < ARCHIVE_WARN)
            return tar_error(spooling, error);
        if (!spool_entry(spooling, entry, error))
            return FALSE;
    }
}

static gboolean
spool(MsbArchive *archive, int fd, const char *dir, MsbProgressFunc progress, gpointer data,
      GCancellable *cancellable, GError **error)
{
    Spooling spooling = {archive, archive_read_new(), dir, .progress = progress, .data = data,
                         .cancellable = cancellable};
    gboolean done;

    if (!spooling.tar)
        return msb_error_set_errno(error, ENOMEM, "read '%s'", archive->path);
    archive_read_support_filter_gzip(spooling.tar);
    archive_read_support_filter_bzip2(spooling.tar);
    archive_read_support_filter_xz(spooling.tar);
    archive_read_support_filter_lzma(spooling.tar);
    archive_read_support_filter_zstd(spooling.tar);
    archive_read_support_filter_lz4(spooling.tar);
    archive_read_support_format_tar(spooling.tar);
    archive_read_set_options(spooling.tar, "hdrcharset=BINARY");
    archive->members = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, member_free);
    if (archive_read_open_fd(spooling.tar, fd, READ_SIZE) != ARCHIVE_OK)
        done = tar_error(&spooling, error);
    else
        done = spool_entries(&spooling, error);
    archive_read_free(spooling.tar);
    return done;
}

MsbArchive *
msb_archive_open(const char *path, const char *spool_dir, MsbProgressFunc progress, gpointer data,
                 GCancellable *cancellable, GError **error)
{
    g_autoptr(MsbArchive) archive = g_new0(MsbArchive, 1);
    gboolean is_stdin = strcmp(path, "-") == 0;
    mb_autofd int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    archive->path = g_strdup(is_stdin ? "standard input" : path);
    archive->dir_fd = -1;
    if (fd < 0 || fstat(fd, &st) < 0) {
        msb_error_set_errno(error, errno, "open '%s'", archive->path);
        return NULL;
    }
    if (S_ISDIR(st.st_mode))
        archive->dir_fd = mb_steal_fd(&fd);
    else if (!spool(archive, fd, spool_dir, progress, data, cancellable, error))
        return NULL;
    return g_steal_pointer(&archive);
}

/* ---- reading --------------------------------------------------------------------------- */

static int
open_beneath(int dir_fd, const char *name)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };

    return (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof how);
}

static const Member *
find_member(MsbArchive *archive, const char *name)
{
    g_autofree char *canonical = canonical_name(name);
    const Member *member = canonical ? g_hash_table_lookup(archive->members, canonical) : NULL;

    for (guint i = 0; member && member->link && i < MAX_LINKS; i++)
        member = g_hash_table_lookup(archive->members, member->link);
    return member && !member->link ? member : NULL;
}

int
msb_archive_open_file(MsbArchive *archive, const char *name, guint64 *size, const char **spool_path,
                      GError **error)
{
    mb_autofd int fd = -1;
    struct stat st;

    if (archive->dir_fd >= 0) {
        fd = open_beneath(archive->dir_fd, name);
    } else {
        const Member *member = find_member(archive, name);

        fd = member ? open(member->spool, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
        if (!member)
            errno = ENOENT;
        if (spool_path)
            *spool_path = member ? member->spool : NULL;
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        msb_error_set_errno(error, errno, "'%s' of '%s'", name, archive->path);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' of '%s' is not a regular file", name, archive->path);
        return -1;
    }
    *size = (guint64)st.st_size;
    return mb_steal_fd(&fd);
}

gboolean
msb_archive_has(MsbArchive *archive, const char *name)
{
    guint64 size;
    int fd = msb_archive_open_file(archive, name, &size, NULL, NULL);

    mb_close(fd);
    return fd >= 0;
}

GBytes *
msb_archive_read(MsbArchive *archive, const char *name, GError **error)
{
    guint64 size;
    mb_autofd int fd = msb_archive_open_file(archive, name, &size, NULL, error);
    g_autofree guint8 *bytes = NULL;
    gssize done;

    if (fd < 0)
        return NULL;
    if (size > MSB_OCI_MAX_DOCUMENT) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' of '%s' is larger than %u MiB", name, archive->path,
                      MSB_OCI_MAX_DOCUMENT >> 20);
        return NULL;
    }
    bytes = g_malloc((gsize)size + 1);
    done = mb_read_full(fd, bytes, (gsize)size);
    if (done < 0) {
        msb_error_set_errno(error, (int)-done, "read '%s' of '%s'", name, archive->path);
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&bytes), (gsize)done);
}

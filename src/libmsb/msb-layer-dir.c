/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directory tree to EROFS image: names in the order of their bytes, so that
 * the result depends on the tree alone.  Everything is opened relative to its
 * directory and never through a symbolic link; a mount point inside the tree
 * becomes an empty directory; holes of files stay holes.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-erofs-format.h"
#include "msb-error.h"
#include "msb-layer-private.h"

#define READ_BUFFER (256u << 10)
#define XATTR_LIST_MAX 65536
#define XATTR_VALUE_MAX 65536

typedef struct {
    MsbErofsWriter *writer;
    const MsbLayerOptions *options;
    GCancellable *cancellable;
    dev_t device;
    GHashTable *links;       /* inode number → path of its first name, of files with several */
    GString *path;           /* of the current entry, relative */
    guint depth;
    guint64 entries, bytes;
    guint8 *buffer;
    GArray *xattrs;
    GPtrArray *owned;
} Tree;

static gboolean
tree_error(Tree *tree, const char *what, GError **error)
{
    g_autofree char *shown = g_utf8_make_valid(tree->path->len ? tree->path->str : ".", -1);

    return msb_error_set_errno(error, errno, "%s '%s'", what, shown);
}

/* ---- extended attributes ------------------------------------------------------------ */

static gboolean
read_xattr(Tree *tree, const char *file, char *name, GError **error)
{
    g_autofree guint8 *value = g_malloc(XATTR_VALUE_MAX);
    gssize size = lgetxattr(file, name, value, XATTR_VALUE_MAX);
    MsbErofsXattr xattr = {.name = name};

    if (size < 0)
        return errno == ENODATA || errno == ENOTSUP || tree_error(tree, "extended attribute of", error);
    xattr.size = (gsize)size;
    xattr.value = g_memdup2(value, xattr.size);
    g_ptr_array_add(tree->owned, (gpointer)xattr.value);
    g_array_append_val(tree->xattrs, xattr);
    return TRUE;
}

/* file: a path that leads to the entry itself. */
static gboolean
read_xattrs(Tree *tree, const char *file, GError **error)
{
    char *names = g_malloc(XATTR_LIST_MAX);
    gssize size = llistxattr(file, names, XATTR_LIST_MAX);

    g_array_set_size(tree->xattrs, 0);
    g_ptr_array_set_size(tree->owned, 0);
    g_ptr_array_add(tree->owned, names);
    if (size < 0)
        return errno == ENOTSUP || tree_error(tree, "extended attributes of", error);
    for (char *name = names; name < names + size; name += strlen(name) + 1) {
        if (!read_xattr(tree, file, name, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
describe(Tree *tree, int dir_fd, const char *name, const struct stat *st, MsbErofsEntry *entry,
         GError **error)
{
    g_autofree char *file = g_strdup_printf("/proc/self/fd/%d/%s", dir_fd, name);

    if (!read_xattrs(tree, file, error))
        return FALSE;
    *entry = (MsbErofsEntry){
        .path = tree->path->str,
        .attr = {.mode = st->st_mode,
                 .uid = tree->options->squash_owner ? 0 : st->st_uid,
                 .gid = tree->options->squash_owner ? 0 : st->st_gid,
                 .mtime = st->st_mtim.tv_sec,
                 .mtime_nsec = (guint32)st->st_mtim.tv_nsec},
        .xattrs = (const MsbErofsXattr *)(const void *)tree->xattrs->data,
        .n_xattrs = tree->xattrs->len,
    };
    return TRUE;
}

/* ---- files ------------------------------------------------------------------------------ */

static gboolean
copy_range(Tree *tree, int fd, guint64 offset, guint64 end, GError **error)
{
    while (offset < end) {
        gssize n = pread(fd, tree->buffer, MIN(READ_BUFFER, end - offset), (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tree_error(tree, "read", error);
        if (n == 0) {
            errno = EIO;
            return tree_error(tree, "file became shorter while it was read:", error);
        }
        if (g_cancellable_set_error_if_cancelled(tree->cancellable, error) ||
            !msb_erofs_writer_write(tree->writer, offset, tree->buffer, (gsize)n, error))
            return FALSE;
        offset += (guint64)n;
        tree->bytes += (guint64)n;
        if (tree->options->progress)
            tree->options->progress(tree->bytes, tree->options->progress_data);
    }
    return TRUE;
}

static gboolean
copy_sparse(Tree *tree, int fd, guint64 size, GError **error)
{
    off_t data = 0, hole;

    while ((guint64)data < size) {
        data = lseek(fd, data, SEEK_DATA);
        if (data < 0)
            return errno == ENXIO || tree_error(tree, "find the data of", error);
        hole = lseek(fd, data, SEEK_HOLE);
        if (hole < 0)
            return tree_error(tree, "find the holes of", error);
        if (!copy_range(tree, fd, (guint64)data, MIN((guint64)hole, size), error))
            return FALSE;
        data = hole;
    }
    return TRUE;
}

static gboolean
add_file(Tree *tree, int dir_fd, const char *name, const MsbErofsEntry *entry, const struct stat *st,
         GError **error)
{
    mb_autofd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    guint64 size = (guint64)st->st_size;
    gboolean sparse = (guint64)st->st_blocks * 512 + MSB_EROFS_BLOCK <= size;
    struct stat now;

    if (fd < 0)
        return tree_error(tree, "open", error);
    if (fstat(fd, &now) < 0 || now.st_ino != st->st_ino || now.st_dev != st->st_dev) {
        errno = ESTALE;
        return tree_error(tree, "open", error);
    }
    if (!msb_erofs_writer_begin_file(tree->writer, entry, size, sparse, error))
        return FALSE;
    if (!(sparse ? copy_sparse(tree, fd, size, error) : copy_range(tree, fd, 0, size, error)))
        return FALSE;
    return msb_erofs_writer_end_file(tree->writer, error);
}

static gboolean
add_symlink(Tree *tree, int dir_fd, const char *name, const MsbErofsEntry *entry, GError **error)
{
    char target[MSB_EROFS_PATH_MAX];
    gssize n = readlinkat(dir_fd, name, target, sizeof target - 1);

    if (n < 0)
        return tree_error(tree, "read the symbolic link", error);
    target[n] = '\0';
    return msb_erofs_writer_add_symlink(tree->writer, entry, target, error);
}

/* ---- the walk ------------------------------------------------------------------------------ */

static gboolean add_directory(Tree *tree, int dir_fd, const char *name, const MsbErofsEntry *entry,
                              GError **error);

static gboolean
add_entry(Tree *tree, int dir_fd, const char *name, GError **error)
{
    guint64 max = tree->options->max_entries ? tree->options->max_entries : MSB_LAYER_MAX_ENTRIES;
    struct stat st;
    MsbErofsEntry entry;

    if (++tree->entries > max) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID,
                    "the directory has more than %" G_GUINT64_FORMAT " entries", max);
        return FALSE;
    }
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return tree_error(tree, "stat", error);
    if (g_cancellable_set_error_if_cancelled(tree->cancellable, error))
        return FALSE;
    if (st.st_nlink > 1 && !S_ISDIR(st.st_mode)) {
        gint64 ino = (gint64)st.st_ino;
        const char *first = g_hash_table_lookup(tree->links, &ino);

        if (first)
            return msb_erofs_writer_add_hardlink(tree->writer, tree->path->str, first, error);
        g_hash_table_insert(tree->links, g_memdup2(&ino, sizeof ino), g_strdup(tree->path->str));
    }
    if (!describe(tree, dir_fd, name, &st, &entry, error))
        return FALSE;
    if (S_ISDIR(st.st_mode))
        return st.st_dev == tree->device ? add_directory(tree, dir_fd, name, &entry, error)
                                         : msb_erofs_writer_add_dir(tree->writer, &entry, error);
    if (S_ISREG(st.st_mode))
        return add_file(tree, dir_fd, name, &entry, &st, error);
    if (S_ISLNK(st.st_mode))
        return add_symlink(tree, dir_fd, name, &entry, error);
    return msb_erofs_writer_add_special(tree->writer, &entry, major(st.st_rdev), minor(st.st_rdev), error);
}

static gint
compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static gboolean
list_names(Tree *tree, DIR *dir, GPtrArray *names, GError **error)
{
    const struct dirent *entry;

    for (errno = 0; (entry = readdir(dir)); errno = 0) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            g_ptr_array_add(names, g_strdup(entry->d_name));
    }
    if (errno)
        return tree_error(tree, "read the directory", error);
    g_ptr_array_sort(names, compare_strings);
    return TRUE;
}

static gboolean
add_directory(Tree *tree, int dir_fd, const char *name, const MsbErofsEntry *entry, GError **error)
{
    mb_autofd int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    mb_autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    gsize length = tree->path->len;

    if (!dir)
        return tree_error(tree, "open the directory", error);
    fd = -1;
    if (++tree->depth > MSB_EROFS_DEPTH_MAX) {
        errno = ENAMETOOLONG;
        return tree_error(tree, "directory too deep:", error);
    }
    if (!msb_erofs_writer_add_dir(tree->writer, entry, error) || !list_names(tree, dir, names, error))
        return FALSE;
    for (guint i = 0; i < names->len; i++) {
        const char *child = g_ptr_array_index(names, i);

        if (length > 0)
            g_string_append_c(tree->path, '/');
        g_string_append(tree->path, child);
        if (!add_entry(tree, dirfd(dir), child, error))
            return FALSE;
        g_string_truncate(tree->path, length);
    }
    tree->depth--;
    return TRUE;
}

static gboolean
add_root(Tree *tree, const char *dir, GError **error)
{
    mb_autofd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    MsbErofsEntry entry;

    if (fd < 0 || fstat(fd, &st) < 0)
        return msb_error_set_errno(error, errno, "open the directory '%s'", dir);
    tree->device = st.st_dev;
    return describe(tree, fd, ".", &st, &entry, error) && add_directory(tree, fd, ".", &entry, error);
}

gboolean
msb_layer_from_directory(const char *dir, int out_fd, const MsbLayerOptions *options,
                         GCancellable *cancellable, GError **error)
{
    static const MsbLayerOptions defaults;
    g_autoptr(MsbErofsWriter) writer = NULL;
    g_autoptr(GHashTable) links = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    g_autoptr(GString) path = g_string_new(NULL);
    g_autofree guint8 *buffer = g_malloc(READ_BUFFER);
    g_autoptr(GArray) xattrs = g_array_new(FALSE, FALSE, sizeof(MsbErofsXattr));
    g_autoptr(GPtrArray) owned = g_ptr_array_new_with_free_func(g_free);
    Tree tree = {
        .options = options ? options : &defaults,
        .cancellable = cancellable,
        .links = links,
        .path = path,
        .buffer = buffer,
        .xattrs = xattrs,
        .owned = owned,
    };

    tree.writer = writer = msb_layer_new_writer(out_fd, tree.options, error);
    return writer && add_root(&tree, dir, error) && msb_erofs_writer_finish(writer, error);
}

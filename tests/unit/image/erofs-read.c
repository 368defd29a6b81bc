/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reader of EROFS images for the tests: see the header. */
#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "erofs-read.h"

#define BLOCK 4096u

typedef struct {
    const guint8 *data;
    gsize size;
    guint64 meta, xattr;     /* positions */
    guint64 epoch;
    guint32 epoch_nsec;
    GTree *tree;
} Image;

static const guint8 *
at(const Image *image, guint64 position, gsize n)
{
    g_assert_cmpuint(position, <=, image->size);
    g_assert_cmpuint(n, <=, image->size - position);
    return image->data + position;
}

static guint64
le(const Image *image, guint64 position, guint width)
{
    const guint8 *p = at(image, position, width);
    guint64 value = 0;

    while (width-- > 0)
        value = value << 8 | p[width];
    return value;
}

void
erofs_entry_free(ErofsEntry *entry)
{
    g_free(entry->path);
    g_free(entry->target);
    g_free(entry->sha256);
    g_clear_pointer(&entry->xattrs, g_tree_unref);
    g_free(entry);
}

static gint
compare(gconstpointer a, gconstpointer b, gpointer data)
{
    (void)data;
    return strcmp(a, b);
}

static GTree *
new_tree(void)
{
    return g_tree_new_full(compare, NULL, NULL, (GDestroyNotify)erofs_entry_free);
}

static GTree *
new_xattrs(void)
{
    return g_tree_new_full(compare, NULL, g_free, (GDestroyNotify)g_bytes_unref);
}

static guint32
crc32c(const guint8 *bytes, gsize n)
{
    guint32 crc = 0xffffffff;

    for (gsize i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (guint bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) * 0x82F63B78u);
    }
    return crc;
}

/* ---- inodes --------------------------------------------------------------------------- */

typedef struct {
    guint64 position;
    guint layout;
    gsize core, xattr_size;
    guint32 u;
} Inode;

static guint64
read_one_xattr(const Image *image, guint64 position, GTree *xattrs)
{
    static const char *const prefixes[] = {
        NULL, "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", NULL, "security."};
    gsize name_length = le(image, position, 1), index = le(image, position + 1, 1),
          size = le(image, position + 2, 2);
    g_autofree char *rest = NULL;

    g_assert_cmpuint(index, <, G_N_ELEMENTS(prefixes));
    g_assert_nonnull(prefixes[index]);
    rest = g_strndup((const char *)at(image, position + 4, name_length), name_length);
    g_tree_insert(xattrs, g_strconcat(prefixes[index], rest, NULL),
                  g_bytes_new(at(image, position + 4 + name_length, size), size));
    return position + ((4 + name_length + size + 3) & ~(guint64)3);
}

static GTree *
read_xattrs(const Image *image, const Inode *inode)
{
    GTree *xattrs = new_xattrs();
    guint64 position = inode->position + inode->core, end = position + inode->xattr_size;
    guint shared;

    if (inode->xattr_size == 0)
        return xattrs;
    shared = (guint)le(image, position + 4, 1);
    position += 12;
    for (guint i = 0; i < shared; i++, position += 4)
        read_one_xattr(image, image->xattr + le(image, position, 4) * 4, xattrs);
    while (position < end)
        position = read_one_xattr(image, position, xattrs);
    g_assert_cmpuint(position, ==, end);
    return xattrs;
}

/* The bytes of an inode, from offset, as they lie in one piece; *n: how many. NULL: zeros. */
static const guint8 *
map(const Image *image, const Inode *inode, guint64 size, guint64 offset, gsize *n)
{
    guint64 whole = size, after = inode->position + inode->core + inode->xattr_size;

    if (inode->layout == 4) {
        guint64 chunk = (guint64)BLOCK << (inode->u & 31), index = offset / chunk;
        guint32 block = (guint32)le(image, after + index * 4, 4);

        g_assert_cmpuint(inode->u & 0x20, ==, 0);
        *n = (gsize)MIN(chunk - offset % chunk, size - offset);
        return block == 0xffffffff ? NULL : at(image, (guint64)block * BLOCK + offset % chunk, *n);
    }
    if (inode->layout == 2)
        whole = size - size % BLOCK;
    else
        g_assert_cmpuint(inode->layout, ==, 0);
    if (offset < whole) {
        *n = (gsize)(whole - offset);
        return at(image, (guint64)inode->u * BLOCK + offset, *n);
    }
    *n = (gsize)(size - offset);
    g_assert_cmpuint(after / BLOCK, ==, (after + *n - 1) / BLOCK);
    return at(image, after, *n);
}

static guint8 *
read_content(const Image *image, const Inode *inode, guint64 size)
{
    guint8 *content = g_malloc0((gsize)size + 1);

    for (guint64 offset = 0; offset < size;) {
        gsize n;
        const guint8 *bytes = map(image, inode, size, offset, &n);

        if (bytes)
            memcpy(content + offset, bytes, n);
        offset += n;
    }
    return content;
}

static char *
hash_content(const Image *image, const Inode *inode, guint64 size)
{
    static const guint8 zeros[BLOCK];
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

    for (guint64 offset = 0; offset < size;) {
        gsize n;
        const guint8 *bytes = map(image, inode, size, offset, &n);

        for (gsize left = bytes ? 0 : n; left > 0; left -= MIN(left, BLOCK))
            g_checksum_update(sum, zeros, (gssize)MIN(left, BLOCK));
        if (bytes)
            g_checksum_update(sum, bytes, (gssize)n);
        offset += n;
    }
    return g_strdup(g_checksum_get_string(sum));
}

static ErofsEntry *
read_inode(const Image *image, guint64 nid, const char *path, Inode *inode)
{
    ErofsEntry *entry = g_new0(ErofsEntry, 1);
    guint format, count;

    *inode = (Inode){.position = image->meta + nid * 32};
    format = (guint)le(image, inode->position, 2);
    count = (guint)le(image, inode->position + 2, 2);
    inode->layout = format >> 1;
    inode->xattr_size = count ? 12 + (count - 1) * 4u : 0;
    inode->core = format & 1 ? 64 : 32;
    inode->u = (guint32)le(image, inode->position + 16, 4);
    entry->path = g_strdup(path);
    entry->nid = nid;
    entry->mode = (guint32)le(image, inode->position + 4, 2);
    entry->chunked = inode->layout == 4;
    entry->inlined = inode->layout == 2;
    if (format & 1) {
        entry->size = le(image, inode->position + 8, 8);
        entry->uid = (guint32)le(image, inode->position + 24, 4);
        entry->gid = (guint32)le(image, inode->position + 28, 4);
        entry->mtime = (gint64)le(image, inode->position + 32, 8);
        entry->mtime_nsec = (guint32)le(image, inode->position + 40, 4);
        entry->nlink = (guint32)le(image, inode->position + 44, 4);
    } else {
        entry->compact = TRUE;
        entry->nlink = (guint32)le(image, inode->position + 6, 2);
        entry->size = le(image, inode->position + 8, 4);
        entry->uid = (guint32)le(image, inode->position + 24, 2);
        entry->gid = (guint32)le(image, inode->position + 26, 2);
        entry->mtime = (gint64)image->epoch;
        entry->mtime_nsec = image->epoch_nsec;
    }
    entry->xattrs = read_xattrs(image, inode);
    return entry;
}

/* ---- the tree ----------------------------------------------------------------------------- */

static void read_node(Image *image, guint64 nid, const char *path, guint64 parent, guint type);

static void
read_block(Image *image, const char *path, const guint8 *block, gsize n, guint64 self, guint64 parent,
           char **last)
{
    guint first = block[8] | (guint)block[9] << 8, count = first / 12;

    g_assert_cmpuint(first % 12, ==, 0);
    g_assert_cmpuint(count, >, 0);
    for (guint i = 0; i < count; i++) {
        const guint8 *dirent = block + i * 12u;
        gsize begin = dirent[8] | (gsize)dirent[9] << 8;
        gsize end = i + 1 < count ? dirent[20] | (gsize)dirent[21] << 8 : n;
        guint64 nid = 0;
        g_autofree char *name = NULL, *child = NULL;

        g_assert_cmpuint(begin, <, end);
        g_assert_cmpuint(end, <=, n);
        for (guint b = 8; b-- > 0;)
            nid = nid << 8 | dirent[b];
        name = g_strndup((const char *)block + begin, end - begin); /* a last name may end at a NUL */
        g_assert_cmpint(strcmp(*last, name), <, 0);
        g_free(*last);
        *last = g_strdup(name);
        if (strcmp(name, ".") == 0) {
            g_assert_cmpuint(nid, ==, self);
        } else if (strcmp(name, "..") == 0) {
            g_assert_cmpuint(nid, ==, parent);
        } else {
            g_assert_null(strchr(name, '/'));
            child = g_strconcat(path, path[0] ? "/" : "", name, NULL);
            read_node(image, nid, child, self, dirent[10]);
        }
    }
}

static void
read_node(Image *image, guint64 nid, const char *path, guint64 parent, guint type)
{
    static const guint types[] = {0, S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK};
    Inode inode;
    ErofsEntry *entry = read_inode(image, nid, path, &inode);

    g_assert_cmpuint(type, <, G_N_ELEMENTS(types));
    g_assert_cmpuint(entry->mode & S_IFMT, ==, types[type]);
    g_assert_null(g_tree_lookup(image->tree, path));
    g_tree_insert(image->tree, entry->path, entry);
    if (S_ISREG(entry->mode))
        entry->sha256 = hash_content(image, &inode, entry->size);
    if (S_ISLNK(entry->mode))
        entry->target = (char *)read_content(image, &inode, entry->size);
    if (S_ISCHR(entry->mode) || S_ISBLK(entry->mode))
        entry->rdev = inode.u;
    if (S_ISDIR(entry->mode)) {
        g_autofree guint8 *content = read_content(image, &inode, entry->size);
        g_autofree char *last = g_strdup("");

        for (guint64 offset = 0; offset < entry->size; offset += BLOCK)
            read_block(image, path, content + offset, (gsize)MIN(BLOCK, entry->size - offset), nid, parent,
                       &last);
    }
}

GTree *
erofs_read(const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GMappedFile) file = g_mapped_file_new(path, FALSE, &error);
    g_autofree guint8 *super = NULL;
    Image image = {.tree = new_tree()};
    guint64 root;

    g_assert_no_error(error);
    image.data = (const guint8 *)g_mapped_file_get_contents(file);
    image.size = g_mapped_file_get_length(file);
    g_assert_cmpuint(image.size % BLOCK, ==, 0);
    super = g_memdup2(at(&image, 1024, BLOCK - 1024), BLOCK - 1024);
    g_assert_cmphex(le(&image, 1024, 4), ==, 0xE0F5E1E2);
    memset(super + 4, 0, 4);
    g_assert_cmphex(le(&image, 1028, 4), ==, crc32c(super, BLOCK - 1024));
    g_assert_cmpuint(le(&image, 1024 + 12, 1), ==, 12);
    g_assert_cmphex(le(&image, 1024 + 80, 4) & ~(guint64)4, ==, 0);
    g_assert_cmpuint(le(&image, 1024 + 36, 4), ==, image.size / BLOCK);
    root = le(&image, 1024 + 14, 2);
    image.epoch = le(&image, 1024 + 24, 8);
    image.epoch_nsec = (guint32)le(&image, 1024 + 32, 4);
    image.meta = le(&image, 1024 + 40, 4) * BLOCK;
    image.xattr = le(&image, 1024 + 44, 4) * BLOCK;
    read_node(&image, root, "", root, 2);
    return image.tree;
}

/* ---- overlay ---------------------------------------------------------------------------------- */

static void
remove_below(GTree *tree, const char *path, gboolean itself)
{
    g_autofree char *prefix = path[0] ? g_strconcat(path, "/", NULL) : g_strdup("");
    GTreeNode *node = g_tree_lower_bound(tree, path);
    g_autoptr(GPtrArray) gone = g_ptr_array_new();

    for (; node; node = g_tree_node_next(node)) {
        const char *key = g_tree_node_key(node);

        if ((itself && strcmp(key, path) == 0) || (key[0] && g_str_has_prefix(key, prefix)))
            g_ptr_array_add(gone, (gpointer)key);
        else if (!g_str_has_prefix(key, path))
            break;
    }
    for (guint i = 0; i < gone->len; i++)
        g_tree_remove(tree, gone->pdata[i]);
}

void
erofs_apply(GTree *tree, GTree *layer)
{
    for (GTreeNode *node = g_tree_node_first(layer); node; node = g_tree_node_next(node)) {
        ErofsEntry *entry = g_tree_node_value(node);
        ErofsEntry *old = g_tree_lookup(tree, entry->path), *copy;

        if (S_ISCHR(entry->mode) && entry->rdev == 0) {
            remove_below(tree, entry->path, TRUE);
            continue;
        }
        if (old && (!S_ISDIR(old->mode) || !S_ISDIR(entry->mode) ||
                    g_tree_lookup(entry->xattrs, "trusted.overlay.opaque")))
            remove_below(tree, entry->path, TRUE);
        g_tree_remove(entry->xattrs, "trusted.overlay.opaque");
        copy = g_memdup2(entry, sizeof *entry);
        copy->path = g_strdup(entry->path);
        copy->target = g_strdup(entry->target);
        copy->sha256 = g_strdup(entry->sha256);
        g_tree_ref(copy->xattrs);
        g_tree_remove(tree, copy->path);
        g_tree_insert(tree, copy->path, copy);
    }
    g_tree_unref(layer);
}

/* ---- a directory of the host --------------------------------------------------------------------- */

static void
read_host_xattrs(const char *file, GTree *xattrs)
{
    char names[65536], value[65536];
    gssize n = llistxattr(file, names, sizeof names);

    for (char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        gssize size = lgetxattr(file, name, value, sizeof value);

        if (size >= 0)
            g_tree_insert(xattrs, g_strdup(name), g_bytes_new(value, (gsize)size));
    }
}

static char *
hash_file(const char *file)
{
    g_autoptr(GMappedFile) mapped = g_mapped_file_new(file, FALSE, NULL);

    g_assert_nonnull(mapped);
    return g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)g_mapped_file_get_contents(mapped),
                                       g_mapped_file_get_length(mapped));
}

static void
read_host(GTree *tree, const char *file, const char *path)
{
    ErofsEntry *entry = g_new0(ErofsEntry, 1);
    struct stat st;

    g_assert_cmpint(lstat(file, &st), ==, 0);
    entry->path = g_strdup(path);
    entry->mode = st.st_mode;
    entry->uid = st.st_uid;
    entry->gid = st.st_gid;
    entry->mtime = st.st_mtim.tv_sec;
    entry->mtime_nsec = (guint32)st.st_mtim.tv_nsec;
    entry->nlink = (guint32)st.st_nlink;
    entry->nid = st.st_ino;
    entry->size = (guint64)st.st_size;
    entry->rdev = (minor(st.st_rdev) & 0xff) | major(st.st_rdev) << 8 | (minor(st.st_rdev) & ~0xffu) << 12;
    entry->xattrs = new_xattrs();
    read_host_xattrs(file, entry->xattrs);
    g_tree_insert(tree, entry->path, entry);
    if (S_ISREG(st.st_mode))
        entry->sha256 = hash_file(file);
    if (S_ISLNK(st.st_mode)) {
        char target[4096] = "";

        g_assert_cmpint(readlink(file, target, sizeof target - 1), >, 0);
        entry->target = g_strdup(target);
    }
    if (S_ISDIR(st.st_mode)) {
        DIR *dir = opendir(file);
        struct dirent *dirent;

        g_assert_nonnull(dir);
        while ((dirent = readdir(dir))) {
            g_autofree char *inner = g_build_filename(file, dirent->d_name, NULL);
            g_autofree char *name = g_strconcat(path, path[0] ? "/" : "", dirent->d_name, NULL);

            if (strcmp(dirent->d_name, ".") != 0 && strcmp(dirent->d_name, "..") != 0)
                read_host(tree, inner, name);
        }
        closedir(dir);
    }
}

GTree *
erofs_read_directory(const char *dir)
{
    GTree *tree = new_tree();

    read_host(tree, dir, "");
    return tree;
}

/* ---- showing ------------------------------------------------------------------------------------------ */

void
erofs_split_device(guint32 rdev, guint *major_number, guint *minor_number)
{
    *major_number = rdev >> 8 & 0xfff;
    *minor_number = (rdev & 0xff) | (rdev >> 12 & 0xfff00);
}

static gboolean
print_xattr(gpointer name, gpointer value, gpointer data)
{
    gsize n;
    const guint8 *bytes = g_bytes_get_data(value, &n);

    (void)data;
    printf(" %s=", (const char *)name);
    for (gsize i = 0; i < n; i++)
        printf("%02x", bytes[i]);
    return FALSE;
}

static gboolean
print_entry(gpointer key, gpointer value, gpointer data)
{
    const ErofsEntry *entry = value;
    g_autofree char *path = g_strescape(key, NULL);
    guint major_number, minor_number;

    printf("%s %06o %u:%u", path, entry->mode, entry->uid, entry->gid);
    if (GPOINTER_TO_INT(data))
        printf(" %" G_GINT64_FORMAT ".%09u", entry->mtime, entry->mtime_nsec);
    if (S_ISREG(entry->mode))
        printf(" links=%u size=%" G_GUINT64_FORMAT " %s", entry->nlink, entry->size, entry->sha256);
    if (S_ISLNK(entry->mode))
        printf(" -> %s", entry->target);
    if (S_ISCHR(entry->mode) || S_ISBLK(entry->mode)) {
        erofs_split_device(entry->rdev, &major_number, &minor_number);
        printf(" %u:%u", major_number, minor_number);
    }
    g_tree_foreach(entry->xattrs, print_xattr, NULL);
    putchar('\n');
    return FALSE;
}

void
erofs_print(GTree *tree, gboolean times)
{
    g_tree_foreach(tree, print_entry, GINT_TO_POINTER(times));
}

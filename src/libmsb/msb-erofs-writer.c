/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The EROFS writer: space, names, and every kind of entry but files
 * (msb-erofs-file.c) and directory data (msb-erofs-dir.c).
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "msb-erofs-private.h"

#define FIRST_RUN (16u << 10)
#define MAX_RUN (1u << 20)
#define DATA_BUFFER (512u << 10)
#define MAX_LINKS 65000
#define MAX_BLOCKS 0xfffffffeu
#define SYMLINK_MAX 4095

gboolean
msb_erofs_entry_error(GError **error, MsbError code, const char *path, const char *reason)
{
    g_autofree char *shown = g_utf8_make_valid(path, -1);

    g_set_error(error, MSB_ERROR, code, "entry '%s': %s", shown, reason);
    return FALSE;
}

gboolean
msb_erofs_prefix_error(GError **error, const char *path)
{
    g_autofree char *shown = g_utf8_make_valid(path, -1);

    g_prefix_error(error, "entry '%s': ", shown);
    return FALSE;
}

guint64
msb_erofs_round_up(guint64 n)
{
    return (n + MSB_EROFS_BLOCK - 1) & ~(guint64)(MSB_EROFS_BLOCK - 1);
}

/* An inode lost a name. */
static void
name_gone(guint64 nid, gpointer data)
{
    MsbErofsWriter *writer = data;
    MsbErofsLink *link = g_hash_table_lookup(writer->links, &nid);

    if (link)
        link->nlink--;
    if (!link || link->nlink == 0)
        writer->inodes--;
}

MsbErofsWriter *
msb_erofs_writer_new(int fd, guint64 max_size, guint64 max_memory, GError **error)
{
    g_autoptr(MsbErofsWriter) writer = g_new0(MsbErofsWriter, 1);

    writer->fd = fd;
    writer->end = MSB_EROFS_BLOCK;
    writer->max_size = MIN(max_size, (guint64)MAX_BLOCKS << MSB_EROFS_BLOCK_BITS);
    writer->run_size = FIRST_RUN;
    msb_erofs_xattr_pool_init(&writer->pool);
    writer->xattr = g_byte_array_new();
    writer->links = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    writer->tree = msb_erofs_tree_new(max_memory, name_gone, writer);
    if (!writer->tree) {
        msb_error_set_errno(error, ENOMEM, "tables of the EROFS writer");
        return NULL;
    }
    if (!msb_erofs_out_init(&writer->data, fd, DATA_BUFFER, error) ||
        !msb_erofs_out_init(&writer->meta, fd, MAX_RUN, error))
        return NULL;
    return g_steal_pointer(&writer);
}

void
msb_erofs_writer_free(MsbErofsWriter *writer)
{
    if (!writer)
        return;
    msb_erofs_xattr_pool_clear(&writer->pool);
    g_clear_pointer(&writer->xattr, g_byte_array_unref);
    g_clear_pointer(&writer->links, g_hash_table_unref);
    msb_erofs_tree_free(writer->tree);
    msb_erofs_out_clear(&writer->data);
    msb_erofs_out_clear(&writer->meta);
    g_free(writer->file.path);
    g_free(writer->file.chunks);
    g_free(writer);
}

/* ---- space ------------------------------------------------------------------- */

gboolean
msb_erofs_take_space(MsbErofsWriter *writer, guint64 size, guint64 *position, GError **error)
{
    if (size > writer->max_size || writer->end > writer->max_size - size) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT,
                    "the image becomes larger than the limit of %" G_GUINT64_FORMAT
                    " bytes (limits.layer_bytes in config.json)",
                    writer->max_size);
        return FALSE;
    }
    *position = writer->end;
    writer->end += msb_erofs_round_up(size);
    return TRUE;
}

/* The first place at or after position where an inode can be. */
static guint64
align_inode(guint64 position, gsize head, gsize tail)
{
    gsize whole = tail > 0 ? head + tail : sizeof(MsbErofsInodeExtended);

    position = (position + (1u << MSB_EROFS_NID_BITS) - 1) & ~(guint64)((1u << MSB_EROFS_NID_BITS) - 1);
    if (position % MSB_EROFS_BLOCK + whole > MSB_EROFS_BLOCK)
        position = msb_erofs_round_up(position);
    return position;
}

gboolean
msb_erofs_take_meta(MsbErofsWriter *writer, gsize head, gsize tail, guint64 *position, GError **error)
{
    guint64 place = align_inode(writer->run_next, head, tail);

    if (writer->run_end == 0 || place + head + tail > writer->run_end) {
        guint64 size = MAX(writer->run_size, msb_erofs_round_up(head + tail));

        if (!msb_erofs_take_space(writer, size, &place, error))
            return FALSE;
        writer->run_end = place + size;
        writer->run_size = MIN(writer->run_size * 2, MAX_RUN);
    }
    writer->run_next = place + head + tail;
    *position = place;
    return TRUE;
}

gboolean
msb_erofs_fits_inline(gsize xattr_size, gsize n)
{
    return n > 0 && sizeof(MsbErofsInodeExtended) + xattr_size + n <= MSB_EROFS_BLOCK;
}

gboolean
msb_erofs_put_inode(MsbErofsWriter *writer, MsbErofsInode *inode, const void *payload, gsize n,
                    gboolean tail_inline, guint64 *nid, GError **error)
{
    guint8 core[sizeof(MsbErofsInodeExtended)];
    gsize core_size, head;
    guint64 position;

    inode->xattr_size = writer->xattr->len;
    inode->ino = ++writer->next_ino;
    core_size = msb_erofs_inode_encode(inode, &writer->epoch, core);
    head = core_size + inode->xattr_size;
    if (!msb_erofs_take_meta(writer, tail_inline ? head : head + n, tail_inline ? n : 0, &position, error) ||
        !msb_erofs_out_write(&writer->meta, position, core, core_size, error) ||
        !msb_erofs_out_write(&writer->meta, position + core_size, writer->xattr->data, inode->xattr_size,
                             error) ||
        !msb_erofs_out_write(&writer->meta, position + head, payload, n, error))
        return FALSE;
    *nid = position >> MSB_EROFS_NID_BITS;
    writer->inodes++;
    return TRUE;
}

/* ---- names ------------------------------------------------------------------- */

/* The node of path, made if need be; *root: path is the root, which has no name. */
static MsbErofsNode *
find_node(MsbErofsWriter *writer, const char *path, gboolean *root, guint32 *id, GError **error)
{
    const char *name;
    gsize length;
    guint32 parent;

    if (!msb_erofs_tree_walk(writer->tree, path, TRUE, &parent, &name, &length, error)) {
        msb_erofs_prefix_error(error, path);
        return NULL;
    }
    *root = length == 0;
    *id = parent;
    if (*root)
        return msb_erofs_tree_node(writer->tree, parent);
    *id = msb_erofs_tree_find(writer->tree, parent, name, length);
    if (*id == MSB_EROFS_NO_NODE)
        *id = msb_erofs_tree_add(writer->tree, parent, name, length);
    if (*id == MSB_EROFS_NO_NODE) {
        msb_erofs_entry_error(error, MSB_ERROR_FAILED, path, "out of memory for names");
        return NULL;
    }
    return msb_erofs_tree_node(writer->tree, *id);
}

MsbErofsNode *
msb_erofs_enter(MsbErofsWriter *writer, const char *path, guint8 type, GError **error)
{
    gboolean root;
    guint32 id;
    MsbErofsNode *node = find_node(writer, path, &root, &id, error);

    if (!node || (node->type == type && type == MSB_EROFS_FT_DIR))
        return node;
    if (root) {
        msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, path, "the root is not a directory");
        return NULL;
    }
    if (type != MSB_EROFS_FT_DIR) {
        msb_erofs_tree_reset(writer->tree, id);
    } else if (!msb_erofs_tree_make_dir(writer->tree, id)) {
        msb_erofs_entry_error(error, MSB_ERROR_FAILED, path, "out of memory for names");
        return NULL;
    }
    return node;
}

gboolean
msb_erofs_begin_entry(MsbErofsWriter *writer, const MsbErofsEntry *entry, gboolean all_shared, GError **error)
{
    if (!writer->has_epoch) {
        writer->has_epoch = TRUE;
        writer->epoch = (MsbErofsEpoch){entry->attr.mtime, entry->attr.mtime_nsec};
    }
    if (!msb_erofs_xattr_encode(&writer->pool, entry->xattrs, entry->n_xattrs, all_shared, writer->xattr,
                                error))
        return msb_erofs_prefix_error(error, entry->path);
    return TRUE;
}

static MsbErofsAttr
typed(const MsbErofsAttr *attr, guint32 type)
{
    MsbErofsAttr result = *attr;

    result.mode = (attr->mode & 07777) | type;
    return result;
}

/* ---- entries ------------------------------------------------------------------ */

gboolean
msb_erofs_set_directory(MsbErofsWriter *writer, MsbErofsDir *dir, const MsbErofsEntry *entry,
                        gboolean all_shared, GError **error)
{
    if (!msb_erofs_begin_entry(writer, entry, all_shared, error))
        return FALSE;
    dir->attr = typed(&entry->attr, S_IFDIR);
    dir->xattr_size = writer->xattr->len;
    dir->xattr = NULL;
    if (dir->xattr_size > 0) {
        dir->xattr = msb_erofs_tree_alloc(writer->tree, dir->xattr_size);
        if (!dir->xattr)
            return msb_erofs_entry_error(error, MSB_ERROR_FAILED, entry->path, "out of memory for names");
        memcpy(dir->xattr, writer->xattr->data, dir->xattr_size);
    }
    return TRUE;
}

gboolean
msb_erofs_writer_add_dir(MsbErofsWriter *writer, const MsbErofsEntry *entry, GError **error)
{
    MsbErofsNode *node = msb_erofs_enter(writer, entry->path, MSB_EROFS_FT_DIR, error);

    if (!node)
        return FALSE;
    node->u.dir->implicit = FALSE;
    return msb_erofs_set_directory(writer, node->u.dir, entry, node->name_length == 0, error);
}

void
msb_erofs_writer_set_implicit(MsbErofsWriter *writer, MsbErofsImplicit implicit, gpointer data)
{
    writer->implicit = implicit;
    writer->implicit_data = data;
}

gboolean
msb_erofs_writer_add_symlink(MsbErofsWriter *writer, const MsbErofsEntry *entry, const char *target,
                             GError **error)
{
    MsbErofsAttr attr = entry->attr;
    MsbErofsInode inode = {
        .attr = &attr, .layout = MSB_EROFS_FLAT_INLINE, .size = strlen(target), .nlink = 1};
    MsbErofsNode *node;
    guint64 position = 0;
    gboolean fits;

    attr.mode = S_IFLNK | 0777; /* what Linux says of every link, whatever an archive does */
    if (inode.size == 0 || inode.size > SYMLINK_MAX)
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, entry->path,
                                     "the target of a symbolic link is empty or longer than 4095 bytes");
    node = msb_erofs_enter(writer, entry->path, MSB_EROFS_FT_SYMLINK, error);
    if (!node || !msb_erofs_begin_entry(writer, entry, FALSE, error))
        return FALSE;
    fits = msb_erofs_fits_inline(writer->xattr->len, inode.size);
    if (!fits) {
        if (!msb_erofs_take_space(writer, inode.size, &position, error) ||
            !msb_erofs_out_write(&writer->data, position, target, inode.size, error))
            return msb_erofs_prefix_error(error, entry->path);
        inode.layout = MSB_EROFS_FLAT_PLAIN;
        inode.u = (guint32)(position >> MSB_EROFS_BLOCK_BITS);
    }
    if (!msb_erofs_put_inode(writer, &inode, target, fits ? inode.size : 0, fits, &node->nid, error))
        return msb_erofs_prefix_error(error, entry->path);
    node->u.target = msb_erofs_tree_copy(writer->tree, target, inode.size);
    if (!node->u.target)
        return msb_erofs_entry_error(error, MSB_ERROR_FAILED, entry->path, "out of memory for names");
    node->type = MSB_EROFS_FT_SYMLINK;
    return TRUE;
}

gboolean
msb_erofs_writer_add_special(MsbErofsWriter *writer, const MsbErofsEntry *entry, guint64 major, guint64 minor,
                             GError **error)
{
    guint8 type = msb_erofs_file_type(entry->attr.mode);
    MsbErofsAttr attr = typed(&entry->attr, entry->attr.mode & S_IFMT);
    MsbErofsInode inode = {.attr = &attr, .layout = MSB_EROFS_FLAT_PLAIN, .nlink = 1};
    MsbErofsNode *node;

    if (type < MSB_EROFS_FT_CHR || type > MSB_EROFS_FT_SOCK)
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, entry->path, "unknown type");
    if (type <= MSB_EROFS_FT_BLK && !msb_erofs_encode_device(major, minor, &inode.u))
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, entry->path, "impossible device number");
    node = msb_erofs_enter(writer, entry->path, type, error);
    if (!node || !msb_erofs_begin_entry(writer, entry, FALSE, error))
        return FALSE;
    if (!msb_erofs_put_inode(writer, &inode, NULL, 0, FALSE, &node->nid, error))
        return msb_erofs_prefix_error(error, entry->path);
    node->type = type;
    return TRUE;
}

static MsbErofsLink *
new_link(MsbErofsWriter *writer, guint64 nid, guint32 nlink)
{
    MsbErofsLink *link = g_new0(MsbErofsLink, 1);

    link->nid = nid;
    link->nlink = nlink;
    g_hash_table_insert(writer->links, &link->nid, link);
    return link;
}

/* Count one more name of an inode. FALSE if it has as many as it may. */
static gboolean
add_link(MsbErofsWriter *writer, guint64 nid)
{
    MsbErofsLink *link = g_hash_table_lookup(writer->links, &nid);

    if (!link)
        link = new_link(writer, nid, 1);
    if (link->nlink >= MAX_LINKS)
        return FALSE;
    if (link->nlink++ == 0)
        writer->inodes++;
    return TRUE;
}

gboolean
msb_erofs_writer_add_hardlink(MsbErofsWriter *writer, const char *path, const char *target, GError **error)
{
    guint32 parent, id = MSB_EROFS_NO_NODE;
    const char *name;
    gsize length;
    MsbErofsNode source, *node;
    GError *missing = NULL;

    if (msb_erofs_tree_walk(writer->tree, target, FALSE, &parent, &name, &length, &missing) && length > 0)
        id = msb_erofs_tree_find(writer->tree, parent, name, length);
    g_clear_error(&missing);
    if (id == MSB_EROFS_NO_NODE || msb_erofs_tree_node(writer->tree, id)->type == MSB_EROFS_FT_UNKNOWN ||
        msb_erofs_tree_node(writer->tree, id)->type == MSB_EROFS_FT_DIR ||
        msb_erofs_tree_node(writer->tree, id)->whiteout) {
        g_autofree char *shown = g_utf8_make_valid(target, -1);
        g_autofree char *reason =
            g_strdup_printf("a hard link to '%s', which is no file of this archive or the layers below", shown);

        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, path, reason);
    }
    source = *msb_erofs_tree_node(writer->tree, id);
    if (!msb_erofs_tree_walk(writer->tree, path, TRUE, &parent, &name, &length, error))
        return msb_erofs_prefix_error(error, path);
    if (length > 0 && msb_erofs_tree_find(writer->tree, parent, name, length) == id)
        return TRUE;
    if (!add_link(writer, source.nid))
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, path, "too many hard links to one file");
    node = msb_erofs_enter(writer, path, source.type, error);
    if (!node)
        return FALSE;
    node->nid = source.nid;
    node->type = source.type;
    node->u = source.u;
    return TRUE;
}

static MsbErofsSays
say_node(const MsbErofsNode *node, const char **target)
{
    if (node->type == MSB_EROFS_FT_DIR)
        return MSB_EROFS_HAS_DIR;
    if (node->type != MSB_EROFS_FT_SYMLINK)
        return node->whiteout ? MSB_EROFS_HAS_NONE : MSB_EROFS_HAS_FILE;
    if (target)
        *target = node->u.target;
    return MSB_EROFS_HAS_SYMLINK;
}

MsbErofsSays
msb_erofs_writer_ask(const MsbErofsWriter *writer, const char *path, const char **target)
{
    guint32 id = MSB_EROFS_ROOT_NODE;
    MsbErofsSays nothing = MSB_EROFS_SAYS_NOTHING;

    for (;;) {
        const MsbErofsNode *node = msb_erofs_tree_node(writer->tree, id);
        gsize length;

        if (node->type == MSB_EROFS_FT_UNKNOWN)
            return nothing;
        path += strspn(path, "/");
        length = strcspn(path, "/");
        if (length == 0)
            return say_node(node, target);
        if (node->type != MSB_EROFS_FT_DIR)
            return MSB_EROFS_HAS_NONE;
        if (node->u.dir->opaque)
            nothing = MSB_EROFS_HAS_NONE;
        if (length > 1 || *path != '.')
            id = msb_erofs_tree_find(writer->tree, id, path, length);
        if (id == MSB_EROFS_NO_NODE)
            return nothing;
        path += length;
    }
}

/* All whiteouts are one inode, or as many as its link count demands. */
static gboolean
new_whiteout_inode(MsbErofsWriter *writer, GError **error)
{
    const MsbErofsAttr attr = {.mode = S_IFCHR};
    MsbErofsInode inode = {.attr = &attr, .layout = MSB_EROFS_FLAT_PLAIN};

    g_byte_array_set_size(writer->xattr, 0);
    if (!msb_erofs_put_inode(writer, &inode, NULL, 0, FALSE, &writer->whiteout_nid, error))
        return FALSE;
    new_link(writer, writer->whiteout_nid, 0);
    writer->inodes--; /* until it has a name */
    return TRUE;
}

gboolean
msb_erofs_writer_add_whiteout(MsbErofsWriter *writer, const char *path, GError **error)
{
    gboolean root;
    guint32 id;
    MsbErofsNode *node = find_node(writer, path, &root, &id, error);

    if (!node)
        return FALSE;
    if (node->type == MSB_EROFS_FT_DIR)
        node->u.dir->opaque = TRUE;
    if (node->type != MSB_EROFS_FT_UNKNOWN)
        return TRUE;
    if (writer->whiteout_nid == 0 || !add_link(writer, writer->whiteout_nid)) {
        if (!new_whiteout_inode(writer, error))
            return msb_erofs_prefix_error(error, path);
        add_link(writer, writer->whiteout_nid);
    }
    node->nid = writer->whiteout_nid;
    node->type = MSB_EROFS_FT_CHR;
    node->whiteout = TRUE;
    return TRUE;
}

gboolean
msb_erofs_writer_set_opaque(MsbErofsWriter *writer, const char *path, GError **error)
{
    MsbErofsNode *node = msb_erofs_enter(writer, path, MSB_EROFS_FT_DIR, error);

    if (!node)
        return FALSE;
    node->u.dir->opaque = TRUE;
    return TRUE;
}

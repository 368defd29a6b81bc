/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories of an EROFS image, and its end.  When all entries are known, one
 * pass over the directories, parents first, sorts their names and gives every
 * directory its inode number and the place of its blocks; a second pass writes
 * them, which it can because all numbers are known then.
 *
 * A directory's data are blocks of their own: records of 12 bytes, then the
 * names they point to, sorted by the bytes of the names over all blocks, with
 * "." and ".." among them.  The last block is only as long as what is in it,
 * and goes beside the inode if it fits.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msb-erofs-private.h"

/* Goes through the names of a directory in their order, "." and ".." among them. */
typedef struct {
    MsbErofsTree *tree;
    const MsbErofsNode *self;
    guint64 parent_nid;
    guint32 child;
    guint dots;                  /* how many of "." and ".." are done */
} Names;

typedef struct {
    const char *bytes;
    gsize length;
    guint64 nid;
    guint8 type;
} Name;

static Names
names_of(MsbErofsTree *tree, guint32 id)
{
    const MsbErofsNode *self = msb_erofs_tree_node(tree, id);
    guint32 parent = self->parent == MSB_EROFS_NO_NODE ? id : self->parent;

    return (Names){tree, self, msb_erofs_tree_node(tree, parent)->nid, self->u.dir->first_child, 0};
}

static gboolean
next_name(Names *names, Name *name)
{
    static const char *const dots[] = {".", ".."};
    const MsbErofsNode *child = NULL;

    if (names->child != MSB_EROFS_NO_NODE)
        child = msb_erofs_tree_node(names->tree, names->child);
    if (names->dots < G_N_ELEMENTS(dots)) {
        gsize length = names->dots + 1u;
        int order = child ? memcmp(child->name, dots[names->dots], MIN(length, child->name_length)) : 1;

        if (order > 0 || (order == 0 && child->name_length > length)) {
            *name = (Name){dots[names->dots], length, names->dots ? names->parent_nid : names->self->nid,
                           MSB_EROFS_FT_DIR};
            names->dots++;
            return TRUE;
        }
    }
    if (!child)
        return FALSE;
    *name = (Name){child->name, child->name_length, child->nid, child->type};
    names->child = child->next;
    return TRUE;
}

static guint64
directory_size(MsbErofsTree *tree, guint32 id)
{
    Names names = names_of(tree, id);
    Name name;
    guint64 blocks = 0;
    gsize used = 0;

    while (next_name(&names, &name)) {
        gsize size = sizeof(MsbErofsDirent) + name.length;

        if (used + size > MSB_EROFS_BLOCK) {
            blocks++;
            used = 0;
        }
        used += size;
    }
    return blocks * MSB_EROFS_BLOCK + used;
}

/* The opaque mark joins the directory's extended attributes. */
static gboolean
mark_opaque(MsbErofsWriter *writer, MsbErofsDir *dir, GError **error)
{
    static const MsbErofsXattr opaque = {"trusted.overlay.opaque", "y", 1};

    g_byte_array_set_size(writer->xattr, 0);
    if (dir->xattr_size > 0)
        g_byte_array_append(writer->xattr, dir->xattr, dir->xattr_size);
    if (!msb_erofs_xattr_append(&writer->pool, &opaque, writer->xattr, error))
        return FALSE;
    dir->xattr = msb_erofs_tree_alloc(writer->tree, writer->xattr->len);
    if (!dir->xattr)
        return msb_error_set_errno(error, ENOMEM, "directories of the EROFS image");
    dir->xattr_size = writer->xattr->len;
    memcpy(dir->xattr, writer->xattr->data, dir->xattr_size);
    return TRUE;
}

static char *
path_of(MsbErofsTree *tree, guint32 id)
{
    g_autoptr(GString) path = g_string_new(NULL);

    while (id != MSB_EROFS_ROOT_NODE) {
        const MsbErofsNode *node = msb_erofs_tree_node(tree, id);

        if (path->len > 0)
            g_string_prepend_c(path, '/');
        g_string_prepend_len(path, node->name, node->name_length);
        id = node->parent;
    }
    return g_string_free(g_steal_pointer(&path), FALSE);
}

/* A directory without an entry of its own: somebody else may know what it is like. */
static gboolean
ask_about(MsbErofsWriter *writer, guint32 id, MsbErofsDir *dir, GError **error)
{
    g_autofree char *path = path_of(writer->tree, id);
    MsbErofsEntry entry = {.path = path, .attr = dir->attr};

    return writer->implicit(&entry, writer->implicit_data, error) &&
           msb_erofs_set_directory(writer, dir, &entry, FALSE, error);
}

static MsbErofsInode
directory_inode(const MsbErofsDir *dir)
{
    return (MsbErofsInode){
        .attr = &dir->attr,
        .layout = dir->tail_inline ? MSB_EROFS_FLAT_INLINE : MSB_EROFS_FLAT_PLAIN,
        .size = dir->size,
        .u = (guint32)(dir->data >> MSB_EROFS_BLOCK_BITS),
        .nlink = dir->n_subdirs + 2,
        .xattr_size = dir->xattr_size,
    };
}

/* Number and place of one directory. The root's inode has its own place behind the superblock. */
static gboolean
place_directory(MsbErofsWriter *writer, guint32 id, GError **error)
{
    MsbErofsNode *node = msb_erofs_tree_node(writer->tree, id);
    MsbErofsDir *dir = node->u.dir;
    guint8 core[sizeof(MsbErofsInodeExtended)];
    gboolean root = id == MSB_EROFS_ROOT_NODE;
    gsize tail, head;
    guint64 whole, position = MSB_EROFS_ROOT_POSITION;
    MsbErofsInode inode;

    dir->size = directory_size(writer->tree, id);
    inode = directory_inode(dir);
    head = msb_erofs_inode_encode(&inode, &writer->epoch, core) + dir->xattr_size;
    if (root && head > MSB_EROFS_ROOT_SPACE) {
        g_set_error_literal(error, MSB_ERROR, MSB_ERROR_CORRUPT,
                            "the extended attributes of the root directory are too large");
        return FALSE;
    }
    tail = dir->size % MSB_EROFS_BLOCK;
    dir->tail_inline = root ? tail > 0 && head + tail <= MSB_EROFS_ROOT_SPACE
                            : msb_erofs_fits_inline(dir->xattr_size, tail);
    if (!dir->tail_inline)
        tail = 0;
    whole = dir->size - tail;
    if (whole > 0 && !msb_erofs_take_space(writer, whole, &dir->data, error))
        return FALSE;
    if (!root && !msb_erofs_take_meta(writer, head, tail, &position, error))
        return FALSE;
    node->nid = position >> MSB_EROFS_NID_BITS;
    writer->inodes++;
    return TRUE;
}

/* All directories, a parent before its children; ids into order. */
static gboolean
place_directories(MsbErofsWriter *writer, GArray *order, GError **error)
{
    g_autoptr(GArray) scratch = g_array_new(FALSE, FALSE, sizeof(guint32));
    guint32 root = MSB_EROFS_ROOT_NODE;

    g_array_append_val(order, root);
    for (guint i = 0; i < order->len; i++) {
        guint32 id = g_array_index(order, guint32, i);
        MsbErofsDir *dir = msb_erofs_tree_node(writer->tree, id)->u.dir;

        msb_erofs_tree_sort(writer->tree, dir, scratch);
        if (dir->implicit && writer->implicit && id != root && !ask_about(writer, id, dir, error))
            return FALSE;
        if (dir->opaque && !mark_opaque(writer, dir, error))
            return FALSE;
        if (!place_directory(writer, id, error))
            return FALSE;
        for (guint j = 0; j < scratch->len; j++) {
            guint32 child = g_array_index(scratch, guint32, j);

            if (msb_erofs_tree_node(writer->tree, child)->type == MSB_EROFS_FT_DIR)
                g_array_append_val(order, child);
        }
    }
    return TRUE;
}

/* Fill one block with as many of the names as it holds, beginning with *name. Returns the bytes used, and in
 * *more whether *name is the first of the next block. */
static gsize
fill_block(Names *names, Name *name, guint8 *block, gboolean *more)
{
    Names ahead = *names;
    Name one = *name;
    gsize n = 0, used = 0, offset, i;

    do {
        gsize size = sizeof(MsbErofsDirent) + one.length;

        if (used + size > MSB_EROFS_BLOCK)
            break;
        used += size;
        n++;
    } while (next_name(&ahead, &one));

    offset = n * sizeof(MsbErofsDirent);
    for (i = 0; i < n; i++) {
        MsbErofsDirent dirent = {
            .nid = GUINT64_TO_LE(name->nid),
            .nameoff = GUINT16_TO_LE((guint16)offset),
            .file_type = name->type,
        };

        memcpy(block + i * sizeof dirent, &dirent, sizeof dirent);
        memcpy(block + offset, name->bytes, name->length);
        offset += name->length;
        *more = next_name(names, name);
    }
    return used;
}

static gboolean
write_directory(MsbErofsWriter *writer, guint32 id, GError **error)
{
    const MsbErofsNode *node = msb_erofs_tree_node(writer->tree, id);
    const MsbErofsDir *dir = node->u.dir;
    guint64 position = node->nid << MSB_EROFS_NID_BITS, done = 0;
    guint8 core[sizeof(MsbErofsInodeExtended)], block[MSB_EROFS_BLOCK];
    MsbErofsInode inode = directory_inode(dir);
    Names names = names_of(writer->tree, id);
    Name name;
    gsize core_size;
    gboolean more;

    inode.ino = ++writer->next_ino;
    core_size = msb_erofs_inode_encode(&inode, &writer->epoch, core);
    if (!msb_erofs_out_write(&writer->meta, position, core, core_size, error) ||
        !msb_erofs_out_write(&writer->meta, position + core_size, dir->xattr, dir->xattr_size, error))
        return FALSE;
    position += core_size + dir->xattr_size;
    for (more = next_name(&names, &name); more; done += MSB_EROFS_BLOCK) {
        gsize used = fill_block(&names, &name, block, &more);
        gboolean beside = !more && dir->tail_inline;

        if (more) {
            memset(block + used, 0, sizeof block - used);
            used = sizeof block;
        }
        if (!msb_erofs_out_write(beside ? &writer->meta : &writer->data, beside ? position : dir->data + done,
                                 block, used, error))
            return FALSE;
    }
    /* Nothing may join the root's inode: what follows its block is not padding. */
    return id != MSB_EROFS_ROOT_NODE || msb_erofs_out_flush(&writer->meta, error);
}

static gboolean
write_link_counts(MsbErofsWriter *writer, GError **error)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, writer->links);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const MsbErofsLink *link = value;
        guint64 position = link->nid << MSB_EROFS_NID_BITS;
        guint32 count = GUINT32_TO_LE(link->nlink);
        guint16 format;
        gsize offset, width;

        if (pread(writer->fd, &format, sizeof format, (off_t)position) != sizeof format)
            return msb_error_set_errno(error, errno, "read an inode of the EROFS image");
        offset = msb_erofs_inode_nlink_offset((GUINT16_FROM_LE(format) & MSB_EROFS_EXTENDED) != 0, &width);
        if (!msb_erofs_out_pwrite(writer->fd, position + offset, &count, width, error))
            return FALSE;
    }
    return TRUE;
}

/* Block 0: the superblock, and the root's inode, which is in the file already. */
static gboolean
write_super(MsbErofsWriter *writer, guint64 xattr_position, GError **error)
{
    guint8 block[MSB_EROFS_BLOCK] = {0};
    MsbErofsSuper super = {
        .magic = GUINT32_TO_LE(MSB_EROFS_MAGIC),
        .feature_compat = GUINT32_TO_LE(MSB_EROFS_COMPAT_SB_CHECKSUM | MSB_EROFS_COMPAT_MTIME),
        .blkszbits = MSB_EROFS_BLOCK_BITS,
        .root_nid = GUINT16_TO_LE((guint16)(MSB_EROFS_ROOT_POSITION >> MSB_EROFS_NID_BITS)),
        .inos = GUINT64_TO_LE(writer->inodes),
        .build_time = GUINT64_TO_LE((guint64)writer->epoch.mtime),
        .build_time_nsec = GUINT32_TO_LE(writer->epoch.mtime_nsec),
        .blocks = GUINT32_TO_LE((guint32)(writer->end >> MSB_EROFS_BLOCK_BITS)),
        .xattr_blkaddr = GUINT32_TO_LE((guint32)(xattr_position >> MSB_EROFS_BLOCK_BITS)),
        .feature_incompat = GUINT32_TO_LE(writer->chunked ? MSB_EROFS_INCOMPAT_CHUNKED : 0),
    };

    if (pread(writer->fd, block, sizeof block, 0) != sizeof block)
        return msb_error_set_errno(error, errno, "read the EROFS image");
    memcpy(block + MSB_EROFS_SUPER_OFFSET, &super, sizeof super);
    super.checksum = GUINT32_TO_LE(
        msb_erofs_crc32c(~0u, block + MSB_EROFS_SUPER_OFFSET, sizeof block - MSB_EROFS_SUPER_OFFSET));
    return msb_erofs_out_pwrite(writer->fd, MSB_EROFS_SUPER_OFFSET, &super, sizeof super, error);
}

gboolean
msb_erofs_writer_finish(MsbErofsWriter *writer, GError **error)
{
    g_autoptr(GArray) order = g_array_new(FALSE, FALSE, sizeof(guint32));
    guint64 xattr_position = 0;

    g_assert(!writer->file.open);
    if (!place_directories(writer, order, error))
        return FALSE;
    for (guint i = 0; i < order->len; i++) {
        if (!write_directory(writer, g_array_index(order, guint32, i), error))
            return FALSE;
    }
    if (writer->pool.area->len > 0 &&
        (!msb_erofs_take_space(writer, writer->pool.area->len, &xattr_position, error) ||
         !msb_erofs_out_write(&writer->data, xattr_position, writer->pool.area->data, writer->pool.area->len,
                              error)))
        return FALSE;
    if (!msb_erofs_out_flush(&writer->meta, error) || !msb_erofs_out_flush(&writer->data, error))
        return FALSE;
    if (ftruncate(writer->fd, (off_t)writer->end) < 0)
        return msb_error_set_errno(error, errno, "set the size of the EROFS image");
    return write_link_counts(writer, error) && write_super(writer, xattr_position, error);
}

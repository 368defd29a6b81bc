/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading EROFS images: see the header. */
#include <config.h>

#include <string.h>
#include <sys/stat.h>

#include "msb-erofs-format.h"
#include "msb-erofs-inode.h"
#include "msb-erofs-reader.h"
#include "msb-error.h"

typedef struct {
    GMappedFile *file;
    const guint8 *bytes;
    guint64 size;
    guint64 meta, xattr;         /* positions */
    guint16 root;
    MsbErofsEpoch epoch;
} Image;

typedef struct {
    guint64 position;
    guint layout;
    gsize core, xattr_size;
    guint64 size;
    guint32 u;
    MsbErofsAttr attr;
} Inode;

struct _MsbErofsStack {
    GStrv paths;
    guint n;
    Image *images;               /* file NULL = not opened yet */
    GArray *xattrs;              /* of MsbErofsXattr, of the last answer */
    GPtrArray *names;            /* their names */
    const Image *found_in;       /* of the last answer */
    Inode found;
};

MsbErofsStack *
msb_erofs_stack_new(const char *const *paths)
{
    MsbErofsStack *stack = g_new0(MsbErofsStack, 1);

    stack->paths = g_strdupv((GStrv)paths);
    stack->n = g_strv_length(stack->paths);
    stack->images = g_new0(Image, stack->n);
    stack->xattrs = g_array_new(FALSE, FALSE, sizeof(MsbErofsXattr));
    stack->names = g_ptr_array_new_with_free_func(g_free);
    return stack;
}

void
msb_erofs_stack_free(MsbErofsStack *stack)
{
    if (!stack)
        return;
    for (guint i = 0; i < stack->n; i++)
        g_clear_pointer(&stack->images[i].file, g_mapped_file_unref);
    g_free(stack->images);
    g_strfreev(stack->paths);
    g_array_unref(stack->xattrs);
    g_ptr_array_unref(stack->names);
    g_free(stack);
}

/* ---- one image -------------------------------------------------------------------------- */

/* n bytes at position, or NULL. */
static const guint8 *
at(const Image *image, guint64 position, guint64 n)
{
    return position <= image->size && n <= image->size - position ? image->bytes + position : NULL;
}

static gboolean
open_image(Image *image, const char *path, GError **error)
{
    const guint8 *bytes;
    MsbErofsSuper super;

    image->file = g_mapped_file_new(path, FALSE, error);
    if (!image->file)
        return FALSE;
    image->bytes = (const guint8 *)g_mapped_file_get_contents(image->file);
    image->size = g_mapped_file_get_length(image->file);
    bytes = at(image, MSB_EROFS_SUPER_OFFSET, sizeof super);
    if (bytes)
        memcpy(&super, bytes, sizeof super);
    if (!bytes || GUINT32_FROM_LE(super.magic) != MSB_EROFS_MAGIC ||
        super.blkszbits != MSB_EROFS_BLOCK_BITS) {
        g_clear_pointer(&image->file, g_mapped_file_unref);
        return msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' is not an EROFS image", path);
    }
    image->meta = (guint64)GUINT32_FROM_LE(super.meta_blkaddr) << MSB_EROFS_BLOCK_BITS;
    image->xattr = (guint64)GUINT32_FROM_LE(super.xattr_blkaddr) << MSB_EROFS_BLOCK_BITS;
    image->root = GUINT16_FROM_LE(super.root_nid);
    image->epoch.mtime = (gint64)GUINT64_FROM_LE(super.build_time);
    image->epoch.mtime_nsec = GUINT32_FROM_LE(super.build_time_nsec);
    return TRUE;
}

static void
read_extended(const guint8 *bytes, Inode *inode)
{
    MsbErofsInodeExtended core;

    memcpy(&core, bytes, sizeof core);
    inode->core = sizeof core;
    inode->size = GUINT64_FROM_LE(core.i_size);
    inode->u = GUINT32_FROM_LE(core.i_u);
    inode->attr =
        (MsbErofsAttr){GUINT16_FROM_LE(core.i_mode), GUINT32_FROM_LE(core.i_uid), GUINT32_FROM_LE(core.i_gid),
                       GUINT32_FROM_LE(core.i_mtime_nsec), (gint64)GUINT64_FROM_LE(core.i_mtime)};
}

static void
read_compact(const Image *image, const guint8 *bytes, Inode *inode)
{
    MsbErofsInodeCompact core;

    memcpy(&core, bytes, sizeof core);
    inode->core = sizeof core;
    inode->size = GUINT32_FROM_LE(core.i_size);
    inode->u = GUINT32_FROM_LE(core.i_u);
    inode->attr = (MsbErofsAttr){GUINT16_FROM_LE(core.i_mode), GUINT16_FROM_LE(core.i_uid),
                                 GUINT16_FROM_LE(core.i_gid), image->epoch.mtime_nsec, image->epoch.mtime};
}

static gboolean
read_inode(const Image *image, guint64 nid, Inode *inode)
{
    guint16 head[2];
    const guint8 *bytes;
    gboolean extended;

    if (nid > (image->size >> MSB_EROFS_NID_BITS))
        return FALSE;
    inode->position = image->meta + (nid << MSB_EROFS_NID_BITS);
    bytes = at(image, inode->position, sizeof(MsbErofsInodeCompact));
    if (!bytes)
        return FALSE;
    memcpy(head, bytes, sizeof head);
    extended = GUINT16_FROM_LE(head[0]) & MSB_EROFS_EXTENDED;
    inode->layout = GUINT16_FROM_LE(head[0]) >> MSB_EROFS_LAYOUT_SHIFT;
    inode->xattr_size = 0;
    if (head[1])
        inode->xattr_size =
            sizeof(MsbErofsXattrHeader) + (GUINT16_FROM_LE(head[1]) - 1u) * sizeof(MsbErofsXattrEntry);
    if (extended && !at(image, inode->position, sizeof(MsbErofsInodeExtended)))
        return FALSE;
    if (extended)
        read_extended(bytes, inode);
    else
        read_compact(image, bytes, inode);
    return at(image, inode->position, inode->core + inode->xattr_size) != NULL;
}

/* One block of a directory's data, and how long it is. */
static const guint8 *
directory_block(const Image *image, const Inode *inode, guint64 block, gsize *n)
{
    guint64 offset = block << MSB_EROFS_BLOCK_BITS;

    *n = (gsize)MIN(MSB_EROFS_BLOCK, inode->size - offset);
    if (inode->layout == MSB_EROFS_FLAT_INLINE && *n < MSB_EROFS_BLOCK)
        return at(image, inode->position + inode->core + inode->xattr_size, *n);
    return at(image, ((guint64)inode->u << MSB_EROFS_BLOCK_BITS) + offset, *n);
}

/* Record i of a directory block: FALSE if it is damaged. */
static gboolean
read_dirent(const guint8 *block, gsize n, guint i, guint count, guint64 *nid, const char **name,
            gsize *length)
{
    MsbErofsDirent dirent, next;
    gsize begin, end = n;

    memcpy(&dirent, block + i * sizeof dirent, sizeof dirent);
    begin = GUINT16_FROM_LE(dirent.nameoff);
    if (i + 1 < count) {
        memcpy(&next, block + (i + 1) * sizeof next, sizeof next);
        end = GUINT16_FROM_LE(next.nameoff);
    }
    if (begin >= end || end > n)
        return FALSE;
    *name = (const char *)block + begin;
    *length = strnlen(*name, end - begin);
    *nid = GUINT64_FROM_LE(dirent.nid);
    return TRUE;
}

static int
compare_names(const char *a, gsize a_length, const char *b, gsize b_length)
{
    int order = memcmp(a, b, MIN(a_length, b_length));

    return order ? order : (a_length > b_length) - (a_length < b_length);
}

/* Look for a name in one block. *order: where it would be: <0 before it, >0 after it, 0 in it; *nid 0 = not
 * there. */
static gboolean
search_block(const guint8 *block, gsize n, const char *name, gsize length, int *order, guint64 *nid)
{
    MsbErofsDirent first;
    guint count;

    *nid = 0;
    *order = 0;
    if (n < sizeof first)
        return FALSE;
    memcpy(&first, block, sizeof first);
    count = GUINT16_FROM_LE(first.nameoff) / sizeof first;
    if (count == 0 || count * sizeof first > n)
        return FALSE;
    for (guint i = 0; i < count; i++) {
        const char *here;
        gsize here_length;
        guint64 here_nid;
        int r;

        if (!read_dirent(block, n, i, count, &here_nid, &here, &here_length))
            return FALSE;
        r = compare_names(name, length, here, here_length);
        if (r == 0)
            *nid = here_nid;
        if (r < 0 && i == 0)
            *order = -1;
        if (r <= 0)
            return TRUE;
    }
    *order = 1;
    return TRUE;
}

/* *nid 0: the directory has no such name. FALSE: it is damaged. */
static gboolean
find_name(const Image *image, const Inode *dir, const char *name, gsize length, guint64 *nid)
{
    guint64 low = 0, high = (dir->size + MSB_EROFS_BLOCK - 1) >> MSB_EROFS_BLOCK_BITS;

    *nid = 0;
    while (low < high) {
        guint64 middle = low + (high - low) / 2;
        gsize n;
        const guint8 *block = directory_block(image, dir, middle, &n);
        int order;

        if (!block || !search_block(block, n, name, length, &order, nid))
            return FALSE;
        if (order == 0)
            return TRUE;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return TRUE;
}

/* ---- extended attributes --------------------------------------------------------------------- */

static const char *
prefix_of(guint8 index)
{
    switch (index) {
    case MSB_EROFS_XATTR_USER:
        return "user.";
    case MSB_EROFS_XATTR_ACL_ACCESS:
        return "system.posix_acl_access";
    case MSB_EROFS_XATTR_ACL_DEFAULT:
        return "system.posix_acl_default";
    case MSB_EROFS_XATTR_TRUSTED:
        return "trusted.";
    case MSB_EROFS_XATTR_SECURITY:
        return "security.";
    default:
        return NULL;
    }
}

/* Add the entry at position; *size: what it takes there. */
static gboolean
read_xattr(MsbErofsStack *stack, const Image *image, guint64 position, guint64 *size)
{
    const guint8 *bytes = at(image, position, sizeof(MsbErofsXattrEntry));
    MsbErofsXattrEntry head;
    MsbErofsXattr xattr;
    const char *prefix;
    g_autofree char *rest = NULL;
    char *name;

    if (!bytes)
        return FALSE;
    memcpy(&head, bytes, sizeof head);
    *size = sizeof head + head.e_name_len + GUINT16_FROM_LE(head.e_value_size);
    bytes = at(image, position, *size);
    prefix = prefix_of(head.e_name_index);
    if (!bytes || !prefix)
        return FALSE;
    rest = g_strndup((const char *)bytes + sizeof head, head.e_name_len);
    name = g_strconcat(prefix, rest, NULL);
    g_ptr_array_add(stack->names, name);
    xattr = (MsbErofsXattr){name, bytes + sizeof head + head.e_name_len, GUINT16_FROM_LE(head.e_value_size)};
    g_array_append_val(stack->xattrs, xattr);
    *size = (*size + 3) & ~(guint64)3;
    return TRUE;
}

static gboolean
read_xattrs(MsbErofsStack *stack, const Image *image, const Inode *inode)
{
    guint64 position = inode->position + inode->core, end = position + inode->xattr_size, size;
    MsbErofsXattrHeader header;

    g_array_set_size(stack->xattrs, 0);
    g_ptr_array_set_size(stack->names, 0);
    if (inode->xattr_size == 0)
        return TRUE;
    memcpy(&header, image->bytes + position, sizeof header);
    position += sizeof header;
    if (position + 4u * header.h_shared_count > end)
        return FALSE;
    for (guint i = 0; i < header.h_shared_count; i++, position += 4) {
        guint32 id;

        memcpy(&id, image->bytes + position, sizeof id);
        if (!read_xattr(stack, image, image->xattr + 4 * (guint64)GUINT32_FROM_LE(id), &size))
            return FALSE;
    }
    while (position < end) {
        if (!read_xattr(stack, image, position, &size))
            return FALSE;
        position += size;
    }
    return TRUE;
}

/* The opaque mark of the directory whose attributes were read last; it is taken out of them. */
static gboolean
take_opaque(MsbErofsStack *stack)
{
    for (guint i = 0; i < stack->xattrs->len; i++) {
        if (strcmp(g_array_index(stack->xattrs, MsbErofsXattr, i).name, "trusted.overlay.opaque") == 0) {
            g_array_remove_index(stack->xattrs, i);
            return TRUE;
        }
    }
    return FALSE;
}

/* ---- the stack ---------------------------------------------------------------------------------- */

typedef enum { FOUND, HIDDEN, BELOW, DAMAGED } Answer;

static gboolean
is_whiteout(const Inode *inode)
{
    return S_ISCHR(inode->attr.mode) && inode->u == 0;
}

/* What one image says of path: a directory, or else a file, as was asked; nothing, and nothing below counts; nothing,
 * look below. */
static Answer
ask_image(MsbErofsStack *stack, const Image *image, const char *path, gboolean directory, Inode *inode)
{
    gboolean opaque;

    if (!read_inode(image, image->root, inode) || !read_xattrs(stack, image, inode))
        return DAMAGED;
    opaque = take_opaque(stack);
    while (*path) {
        gsize length = strcspn(path, "/");
        guint64 nid;

        if (!find_name(image, inode, path, length, &nid))
            return DAMAGED;
        if (nid == 0)
            return opaque ? HIDDEN : BELOW;
        if (!read_inode(image, nid, inode) || !read_xattrs(stack, image, inode))
            return DAMAGED;
        path += length;
        path += strspn(path, "/");
        if (!S_ISDIR(inode->attr.mode))
            return *path || directory || is_whiteout(inode) ? HIDDEN : FOUND;
        opaque = take_opaque(stack) || opaque;
    }
    return directory ? FOUND : HIDDEN;
}

static gboolean
find(MsbErofsStack *stack, const char *path, gboolean directory, MsbErofsEntry *entry, gboolean *found, GError **error)
{
    Answer answer = BELOW;

    *found = FALSE;
    for (guint i = stack->n; i-- > 0 && answer == BELOW;) {
        Image *image = &stack->images[i];

        if (!image->file && !open_image(image, stack->paths[i], error))
            return FALSE;
        answer = ask_image(stack, image, path, directory, &stack->found);
        stack->found_in = image;
        if (answer == DAMAGED)
            return msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' is damaged", stack->paths[i]);
    }
    if (answer != FOUND)
        return TRUE;
    *found = TRUE;
    entry->attr = stack->found.attr;
    entry->xattrs = (const MsbErofsXattr *)(const void *)stack->xattrs->data;
    entry->n_xattrs = stack->xattrs->len;
    return TRUE;
}

gboolean
msb_erofs_stack_find_directory(MsbErofsStack *stack, const char *path, MsbErofsEntry *entry, gboolean *found,
                               GError **error)
{
    return find(stack, path, TRUE, entry, found, error);
}

gboolean
msb_erofs_stack_find_file(MsbErofsStack *stack, const char *path, MsbErofsEntry *entry, gboolean *found, GError **error)
{
    return find(stack, path, FALSE, entry, found, error);
}

/* ---- content of the file that was found ----------------------------------------------------------- */

guint64
msb_erofs_stack_get_size(const MsbErofsStack *stack)
{
    return stack->found.size;
}

static gboolean
map_chunk(const Image *image, const Inode *inode, guint64 offset, const guint8 **bytes, guint64 *n)
{
    guint64 map = inode->position + inode->core + inode->xattr_size;
    guint bits = (inode->u & MSB_EROFS_CHUNK_BITS_MASK) + MSB_EROFS_BLOCK_BITS;
    guint64 within = offset & (((guint64)1 << bits) - 1), index = offset >> bits;
    const guint8 *place;
    guint32 block;

    if (index > image->size / sizeof block)
        return FALSE;
    place = at(image, map + index * sizeof block, sizeof block);
    if (!place)
        return FALSE;
    memcpy(&block, place, sizeof block);
    block = GUINT32_FROM_LE(block);
    *n = MIN(((guint64)1 << bits) - within, inode->size - offset);
    *bytes = NULL;
    if (block == MSB_EROFS_NULL_BLOCK)
        return TRUE;
    *bytes = at(image, ((guint64)block << MSB_EROFS_BLOCK_BITS) + within, *n);
    return *bytes != NULL;
}

gboolean
msb_erofs_stack_map(const MsbErofsStack *stack, guint64 offset, const guint8 **bytes, guint64 *n)
{
    const Image *image = stack->found_in;
    const Inode *inode = &stack->found;
    guint64 whole = inode->size;

    if (offset >= inode->size)
        return FALSE;
    if (inode->layout == MSB_EROFS_CHUNK_BASED)
        return map_chunk(image, inode, offset, bytes, n);
    if (inode->layout == MSB_EROFS_FLAT_INLINE)
        whole -= whole % MSB_EROFS_BLOCK;
    else if (inode->layout != MSB_EROFS_FLAT_PLAIN)
        return FALSE;
    *n = (offset < whole ? whole : inode->size) - offset;
    *bytes = offset < whole ? at(image, ((guint64)inode->u << MSB_EROFS_BLOCK_BITS) + offset, *n)
                            : at(image, inode->position + inode->core + inode->xattr_size + (offset - whole), *n);
    return *bytes != NULL;
}

void
msb_erofs_stack_get_device(const MsbErofsStack *stack, guint64 *major, guint64 *minor)
{
    msb_erofs_decode_device(stack->found.u, major, minor);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tar archive to EROFS image: what libarchive says of an entry becomes calls
 * of the EROFS writer.  Rules of a layer:
 *
 *  - leading "/" and "./" of a name are nothing; ".." in it is an error, also
 *    in the target of a hard link; there is no way out of the image, because
 *    it is a tree of names and never a directory of the host;
 *  - a symbolic link in the middle of a name is resolved inside the layer (as
 *    docker's and umoci's extraction in a chroot would), missing directories
 *    on the way are made;
 *  - the target of a hard link may be a file of the layers below, which is
 *    copied then: both names are one file, as they are with extraction; on
 *    the way to it symbolic links of all layers are followed, inside the image;
 *  - with whiteouts, ".wh.NAME" hides NAME of lower layers, ".wh..wh..opq"
 *    everything the directory has there; other ".wh..wh." names are AUFS's
 *    own and left out; so are attributes trusted.overlay.*, which would be
 *    orders to the guest's overlayfs.
 */
#include <config.h>

#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "msb-erofs-writer.h"
#include "msb-error.h"
#include "msb-layer-private.h"

#define WHITEOUT_PREFIX ".wh."
#define WHITEOUT_META_PREFIX ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define OVERLAY_PREFIX "trusted.overlay."
#define PROGRESS_STEP (1u << 20)
#define MAX_XATTRS 1024

typedef struct {
    struct archive *archive;
    MsbErofsWriter *writer;
    const MsbLayerOptions *options;
    GCancellable *cancellable;
    guint64 bytes, reported;
    gboolean sparse;            /* the current file has holes */
    GArray *xattrs;             /* of MsbErofsXattr, of the current entry */
    GPtrArray *owned;           /* what they point to, where libarchive does not hold it */
} Layer;

static gboolean
layer_error(Layer *layer, const char *path, GError **error)
{
    const char *reason = archive_error_string(layer->archive);

    return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, path, reason ? reason : "the archive is broken");
}

static gboolean
has_dot_dot(const char *path)
{
    for (const char *p = path; *p; p += strspn(p, "/")) {
        gsize length = strcspn(p, "/");

        if (length == 2 && memcmp(p, "..", 2) == 0)
            return TRUE;
        p += length;
    }
    return FALSE;
}

/* ---- attributes ----------------------------------------------------------------- */

static void
add_xattr(Layer *layer, const char *name, const void *value, gsize size)
{
    MsbErofsXattr xattr = {name, value, size};

    for (guint i = 0; i < layer->xattrs->len; i++) {
        if (strcmp(g_array_index(layer->xattrs, MsbErofsXattr, i).name, name) == 0)
            return;
    }
    g_array_append_val(layer->xattrs, xattr);
}

static gboolean
read_xattrs(Layer *layer, struct archive_entry *entry, const char *path, GError **error)
{
    const char *name;
    const void *value;
    size_t size;

    g_array_set_size(layer->xattrs, 0);
    g_ptr_array_set_size(layer->owned, 0);
    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
        if (layer->options->whiteouts && g_str_has_prefix(name, OVERLAY_PREFIX))
            continue;
        if (layer->xattrs->len == MAX_XATTRS)
            return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, path, "too many extended attributes");
        add_xattr(layer, name, value, size);
    }
    for (gboolean is_default = FALSE; is_default <= TRUE; is_default++) {
        GByteArray *acl = msb_layer_encode_acl(entry, is_default);

        if (!acl)
            continue;
        g_ptr_array_add(layer->owned, acl);
        add_xattr(layer, is_default ? "system.posix_acl_default" : "system.posix_acl_access", acl->data,
                  acl->len);
    }
    return TRUE;
}

static gboolean
read_attributes(Layer *layer, struct archive_entry *entry, MsbErofsEntry *result, GError **error)
{
    gint64 uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);

    if (uid < 0 || uid >= G_MAXUINT32 || gid < 0 || gid >= G_MAXUINT32)
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, result->path, "impossible owner");
    result->attr = (MsbErofsAttr){
        .mode = archive_entry_perm(entry) | archive_entry_filetype(entry),
        .uid = (guint32)uid,
        .gid = (guint32)gid,
    };
    if (archive_entry_mtime_is_set(entry)) {
        long nsec = archive_entry_mtime_nsec(entry);

        result->attr.mtime = archive_entry_mtime(entry);
        result->attr.mtime_nsec = nsec >= 0 && nsec < 1000000000 ? (guint32)nsec : 0;
    }
    if (!read_xattrs(layer, entry, result->path, error))
        return FALSE;
    result->xattrs = (const MsbErofsXattr *)(const void *)layer->xattrs->data;
    result->n_xattrs = layer->xattrs->len;
    return TRUE;
}

/* ---- data ------------------------------------------------------------------------ */

static void
report(Layer *layer, gboolean last)
{
    if (!layer->options->progress || (!last && layer->bytes - layer->reported < PROGRESS_STEP))
        return;
    layer->reported = layer->bytes;
    layer->options->progress(layer->bytes, layer->options->progress_data);
}

static gboolean
copy_data(Layer *layer, const MsbErofsEntry *entry, guint64 size, GError **error)
{
    guint64 end = 0;

    for (;;) {
        const void *block;
        size_t n;
        la_int64_t offset;
        int r = archive_read_data_block(layer->archive, &block, &n, &offset);

        if (r == ARCHIVE_EOF)
            break;
        if (r < ARCHIVE_WARN)
            return layer_error(layer, entry->path, error);
        if (g_cancellable_set_error_if_cancelled(layer->cancellable, error))
            return FALSE;
        if (n == 0)
            continue;
        if (offset < 0)
            return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, entry->path, "data at a negative offset");
        if (!msb_erofs_writer_write(layer->writer, (guint64)offset, block, n, error))
            return FALSE;
        end = (guint64)offset + n;
        layer->bytes += n;
        report(layer, FALSE);
    }
    if (end < size && !layer->sparse)
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, entry->path, "its data ends early");
    return TRUE;
}

static gboolean
add_file(Layer *layer, struct archive_entry *entry, const MsbErofsEntry *result, GError **error)
{
    gint64 size = archive_entry_size(entry);

    layer->sparse = archive_entry_sparse_count(entry) > 0;
    if (size < 0)
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, result->path, "impossible size");
    return msb_erofs_writer_begin_file(layer->writer, result, (guint64)size, layer->sparse, error) &&
           copy_data(layer, result, (guint64)size, error) && msb_erofs_writer_end_file(layer->writer, error);
}

/* ---- entries ----------------------------------------------------------------------- */

/* An entry whose name begins with ".wh.": base points to that name in path. */
static gboolean
add_whiteout(Layer *layer, const char *path, const char *base, GError **error)
{
    g_autofree char *directory = g_strndup(path, (gsize)(base - path));
    g_autofree char *hidden = NULL;

    base += strlen(WHITEOUT_PREFIX);
    if (*base == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, path, "a whiteout of no name");
    hidden = g_strconcat(directory, base, NULL);
    return msb_erofs_writer_add_whiteout(layer->writer, hidden, error);
}

/* *done: the entry was one of the special names of layers. */
static gboolean
add_special_name(Layer *layer, const char *path, gboolean *done, GError **error)
{
    gsize end = strlen(path);
    g_autofree char *trimmed = NULL;
    const char *base;

    *done = FALSE;
    while (end > 0 && path[end - 1] == '/')
        end--;
    trimmed = g_strndup(path, end);
    base = strrchr(trimmed, '/');
    base = base ? base + 1 : trimmed;
    if (!g_str_has_prefix(base, WHITEOUT_PREFIX))
        return TRUE;
    *done = TRUE;
    if (strcmp(base, WHITEOUT_OPAQUE) == 0) {
        g_autofree char *directory = g_strndup(trimmed, (gsize)(base - trimmed));

        return msb_erofs_writer_set_opaque(layer->writer, directory, error);
    }
    if (g_str_has_prefix(base, WHITEOUT_META_PREFIX))
        return TRUE;
    return add_whiteout(layer, trimmed, base, error);
}

static gboolean
add_hardlink(Layer *layer, const char *path, const char *target, GError **error)
{
    g_autofree char *resolved = NULL;

    if (has_dot_dot(target))
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, path, "a hard link through '..'");
    if (layer->options->below && !msb_layer_find_target(layer->writer, layer->options, target, layer->cancellable,
                                                         &resolved, error))
        return FALSE;
    return msb_erofs_writer_add_hardlink(layer->writer, path, resolved ? resolved : target, error);
}

static gboolean
add_entry(Layer *layer, struct archive_entry *entry, GError **error)
{
    MsbErofsEntry result = {.path = archive_entry_pathname(entry)};
    const char *hardlink = archive_entry_hardlink(entry), *target;
    gboolean done = FALSE;

    if (!result.path) {
        g_set_error_literal(error, MSB_ERROR, MSB_ERROR_CORRUPT, "an entry of the archive has no name");
        return FALSE;
    }
    if (has_dot_dot(result.path))
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, result.path, "its name has a '..' component");
    if (layer->options->whiteouts && !add_special_name(layer, result.path, &done, error))
        return FALSE;
    if (done)
        return TRUE;
    if (hardlink)
        return add_hardlink(layer, result.path, hardlink, error);
    if (!read_attributes(layer, entry, &result, error))
        return FALSE;
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return add_file(layer, entry, &result, error);
    case AE_IFDIR:
        return msb_erofs_writer_add_dir(layer->writer, &result, error);
    case AE_IFLNK:
        target = archive_entry_symlink(entry);
        return msb_erofs_writer_add_symlink(layer->writer, &result, target ? target : "", error);
    default:
        return msb_erofs_writer_add_special(layer->writer, &result, (guint64)archive_entry_rdevmajor(entry),
                                            (guint64)archive_entry_rdevminor(entry), error);
    }
}

static gboolean
add_entries(Layer *layer, GError **error)
{
    guint64 max = layer->options->max_entries ? layer->options->max_entries : MSB_LAYER_MAX_ENTRIES;

    for (guint64 n = 0;; n++) {
        struct archive_entry *entry;
        int r = archive_read_next_header(layer->archive, &entry);

        if (r == ARCHIVE_EOF)
            return TRUE;
        if (r < ARCHIVE_WARN) {
            const char *reason = archive_error_string(layer->archive);

            g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "entry %" G_GUINT64_FORMAT " of the archive: %s",
                        n + 1, reason ? reason : "broken");
            return FALSE;
        }
        if (n == max) {
            g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT,
                        "the archive has more than %" G_GUINT64_FORMAT
                        " entries (limits.layer_entries in config.json)", max);
            return FALSE;
        }
        if (g_cancellable_set_error_if_cancelled(layer->cancellable, error) ||
            !add_entry(layer, entry, error))
            return FALSE;
    }
}

MsbErofsWriter *
msb_layer_new_writer(int out_fd, const MsbLayerOptions *options, GError **error)
{
    return msb_erofs_writer_new(out_fd, options->max_bytes ? options->max_bytes : MSB_LAYER_MAX_BYTES,
                                MSB_LAYER_MAX_MEMORY, error);
}

gboolean
msb_layer_from_archive(struct archive *archive, int out_fd, const MsbLayerOptions *options,
                       GCancellable *cancellable, GError **error)
{
    static const MsbLayerOptions defaults;
    g_autoptr(MsbErofsWriter) writer = NULL;
    g_autoptr(GArray) xattrs = g_array_new(FALSE, FALSE, sizeof(MsbErofsXattr));
    g_autoptr(GPtrArray) owned = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    Layer layer = {archive,          NULL,          options ? options : &defaults, cancellable,
                   .xattrs = xattrs, .owned = owned};

    layer.writer = writer = msb_layer_new_writer(out_fd, layer.options, error);
    if (!writer)
        return FALSE;
    if (layer.options->implicit)
        msb_erofs_writer_set_implicit(writer, layer.options->implicit, layer.options->implicit_data);
    if (!add_entries(&layer, error) || !msb_erofs_writer_finish(writer, error))
        return FALSE;
    report(&layer, TRUE);
    return TRUE;
}

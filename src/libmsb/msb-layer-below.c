/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hard links whose target is in a layer below.  Layers are file systems of
 * their own, so a name here cannot lead to an inode there: the file comes up
 * into this layer, where both names are links to it.
 */
#include <config.h>

#include <string.h>
#include <sys/stat.h>

#include "msb-erofs-reader.h"
#include "msb-layer-private.h"

#define STEP (1u << 20)         /* bytes between two looks at the cancellable */

/* "./a//b" is "a/b" (transfer full). */
static char *
plain_path(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();

    for (char **part = parts; *part; part++) {
        if (**part && strcmp(*part, ".") != 0)
            g_ptr_array_add(kept, *part);
    }
    g_ptr_array_add(kept, NULL);
    return g_strjoinv("/", (char **)kept->pdata);
}

static gboolean
damaged(const char *path, GError **error)
{
    return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, path, "it is damaged in the layer below");
}

static gboolean
copy_content(MsbErofsWriter *writer, const MsbErofsStack *stack, const char *path, GCancellable *cancellable,
             GError **error)
{
    guint64 size = msb_erofs_stack_get_size(stack);

    for (guint64 offset = 0; offset < size;) {
        const guint8 *bytes;
        guint64 n;

        if (g_cancellable_set_error_if_cancelled(cancellable, error))
            return FALSE;
        if (!msb_erofs_stack_map(stack, offset, &bytes, &n))
            return damaged(path, error);
        if (bytes)
            n = MIN(n, STEP);
        if (bytes && !msb_erofs_writer_write(writer, offset, bytes, (gsize)n, error))
            return FALSE;
        offset += n;
    }
    return TRUE;
}

static gboolean
copy_symlink(MsbErofsWriter *writer, const MsbErofsStack *stack, const MsbErofsEntry *entry, GError **error)
{
    guint64 size = msb_erofs_stack_get_size(stack), n;
    g_autofree char *target = NULL;
    const guint8 *bytes;

    if (!msb_erofs_stack_map(stack, 0, &bytes, &n) || !bytes || n != size)
        return damaged(entry->path, error);
    target = g_strndup((const char *)bytes, (gsize)n);
    return msb_erofs_writer_add_symlink(writer, entry, target, error);
}

static gboolean
copy_entry(MsbErofsWriter *writer, const MsbErofsStack *stack, const MsbErofsEntry *entry, GCancellable *cancellable,
           GError **error)
{
    guint64 major, minor;

    if (S_ISREG(entry->attr.mode))
        return msb_erofs_writer_begin_file(writer, entry, msb_erofs_stack_get_size(stack), TRUE, error) &&
               copy_content(writer, stack, entry->path, cancellable, error) &&
               msb_erofs_writer_end_file(writer, error);
    if (S_ISLNK(entry->attr.mode))
        return copy_symlink(writer, stack, entry, error);
    msb_erofs_stack_get_device(stack, &major, &minor);
    return msb_erofs_writer_add_special(writer, entry, major, minor, error);
}

gboolean
msb_layer_copy_up(MsbErofsWriter *writer, const MsbLayerOptions *options, const char *target,
                  GCancellable *cancellable, GError **error)
{
    MsbErofsStack *stack = options->below(options->implicit_data, error);
    g_autofree char *path = plain_path(target);
    MsbErofsEntry entry = {.path = path};
    gboolean found;

    return stack && msb_erofs_stack_find_file(stack, path, &entry, &found, error) &&
           (!found || copy_entry(writer, stack, &entry, cancellable, error));
}

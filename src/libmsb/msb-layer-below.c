/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hard links whose target is in a layer below.  Layers are file systems of
 * their own, so a name here cannot lead to an inode there: the file comes up
 * into this layer, where both names are links to it.
 *
 * The target's path means what it does in a root of all layers so far, where
 * extraction would look for it: at every component this layer is asked first,
 * then those below.  A symbolic link puts its target before what is left of
 * the path; ".." and "/" end at the root of the image.
 */
#include <config.h>

#include <string.h>
#include <sys/stat.h>

#include "msb-erofs-reader.h"
#include "msb-layer-private.h"

#define STEP (1u << 20)         /* bytes between two looks at the cancellable */

/* On the way to a target. */
typedef struct {
    MsbErofsWriter *writer;
    const MsbLayerOptions *options;
    GString *at;                /* the directory where it is: no symbolic links, no slash at the end */
    char *rest;                 /* what is left of the path */
    guint symlinks;
    MsbErofsSays found;         /* what is at the end, SAYS_NOTHING: it is a file of the layers below */
} Walk;

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

/* The target of the symbolic link that was found last (transfer full); NULL with error. */
static char *
read_symlink(const MsbErofsStack *stack, const char *path, GError **error)
{
    guint64 size = msb_erofs_stack_get_size(stack), n;
    const guint8 *bytes;

    if (msb_erofs_stack_map(stack, 0, &bytes, &n) && bytes && n == size)
        return g_strndup((const char *)bytes, (gsize)n);
    damaged(path, error);
    return NULL;
}

static gboolean
copy_symlink(MsbErofsWriter *writer, const MsbErofsStack *stack, const MsbErofsEntry *entry, GError **error)
{
    g_autofree char *target = read_symlink(stack, entry->path, error);

    return target && msb_erofs_writer_add_symlink(writer, entry, target, error);
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

static gboolean
copy_up(const Walk *walk, GCancellable *cancellable, GError **error)
{
    MsbErofsStack *stack = walk->options->below(walk->options->implicit_data, error);
    MsbErofsEntry entry = {.path = walk->at->str};
    gboolean found;

    return stack && msb_erofs_stack_find_file(stack, entry.path, &entry, &found, error) &&
           (!found || copy_entry(walk->writer, stack, &entry, cancellable, error));
}

/* ---- the way to the target ------------------------------------------------------------------- */

static void
go_up(GString *at)
{
    const char *slash = strrchr(at->str, '/');

    g_string_truncate(at, slash ? (gsize)(slash - at->str) : 0);
}

/* The layers below, of what walk->at is now and this layer says nothing of. *target (transfer full): of a symbolic
 * link; *says NOTHING: there is a file. */
static gboolean
ask_below(const Walk *walk, MsbErofsSays *says, char **target, GError **error)
{
    MsbErofsStack *stack = walk->options->below(walk->options->implicit_data, error);
    const char *path = walk->at->str;
    MsbErofsEntry entry = {.path = path};
    gboolean found;

    if (!stack || !msb_erofs_stack_find_file(stack, path, &entry, &found, error))
        return FALSE;
    *says = MSB_EROFS_SAYS_NOTHING;
    if (found && S_ISLNK(entry.attr.mode)) {
        *says = MSB_EROFS_HAS_SYMLINK;
        *target = read_symlink(stack, path, error);
        return *target != NULL;
    }
    if (!found && !msb_erofs_stack_find_directory(stack, path, &entry, &found, error))
        return FALSE;
    if (!found)
        *says = MSB_EROFS_HAS_NONE;
    else if (S_ISDIR(entry.attr.mode))
        *says = MSB_EROFS_HAS_DIR;
    return TRUE;
}

static void
follow_symlink(Walk *walk, const char *target)
{
    char *rest = g_strconcat(target, "/", walk->rest, NULL);

    if (target[0] == '/')
        g_string_truncate(walk->at, 0);
    else
        go_up(walk->at);
    g_free(walk->rest);
    walk->rest = rest;
}

/* Take the next component of the path, which is no "." or "..". *done: it was the last one, or there is no way on. */
static gboolean
step(Walk *walk, const char *name, gboolean *done, GError **error)
{
    g_autofree char *below = NULL;
    const char *target = NULL;
    MsbErofsSays says;
    gboolean last = *walk->rest == '\0', here;

    if (walk->at->len > 0)
        g_string_append_c(walk->at, '/');
    g_string_append(walk->at, name);
    says = msb_erofs_writer_ask(walk->writer, walk->at->str, &target);
    here = says != MSB_EROFS_SAYS_NOTHING;
    if (!here && !ask_below(walk, &says, &below, error))
        return FALSE;
    *done = TRUE;
    walk->found = MSB_EROFS_HAS_NONE;
    if (last) {
        /* The link itself, not what it leads to. */
        walk->found = !here && says == MSB_EROFS_HAS_SYMLINK ? MSB_EROFS_SAYS_NOTHING : says;
    } else if (says == MSB_EROFS_HAS_SYMLINK && walk->symlinks < MSB_EROFS_SYMLINKS_MAX) {
        walk->symlinks++;
        follow_symlink(walk, here ? target : below);
        *done = walk->at->len + strlen(walk->rest) >= MSB_EROFS_PATH_MAX;
    } else if (says == MSB_EROFS_HAS_DIR) {
        *done = FALSE;
    }
    return TRUE;
}

/* The first component of the path that is left, which it loses (transfer full); NULL at its end. */
static char *
next_component(Walk *walk)
{
    const char *p = walk->rest + strspn(walk->rest, "/");
    gsize length = strcspn(p, "/");
    char *name = length > 0 ? g_strndup(p, length) : NULL;

    p += length;
    p += strspn(p, "/");
    memmove(walk->rest, p, strlen(p) + 1);
    return name;
}

static gboolean
find_target(Walk *walk, GCancellable *cancellable, GError **error)
{
    gboolean done = FALSE;

    while (!done) {
        g_autofree char *name = next_component(walk);

        if (!name)
            return TRUE;        /* the root, or a directory: whoever links to it says so */
        if (strcmp(name, "..") == 0)
            go_up(walk->at);
        else if (strcmp(name, ".") != 0 && !step(walk, name, &done, error))
            return FALSE;
    }
    return walk->found != MSB_EROFS_SAYS_NOTHING || copy_up(walk, cancellable, error);
}

gboolean
msb_layer_find_target(MsbErofsWriter *writer, const MsbLayerOptions *options, const char *target,
                      GCancellable *cancellable, char **resolved, GError **error)
{
    g_autoptr(GString) at = g_string_new(NULL);
    Walk walk = {.writer = writer, .options = options, .at = at, .rest = g_strdup(target),
                 .found = MSB_EROFS_HAS_NONE};
    gboolean good = strlen(target) >= MSB_EROFS_PATH_MAX || find_target(&walk, cancellable, error);

    if (good)
        *resolved = walk.found == MSB_EROFS_HAS_NONE || walk.found == MSB_EROFS_HAS_DIR ? g_strdup(target)
                                                                                        : g_strdup(at->str);
    g_free(walk.rest);
    return good;
}

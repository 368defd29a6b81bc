/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk images of the user's own become larger.  Only who has an image open may
 * change it: the back-end of the sandbox that writes it, or else one that is
 * started for that alone, which locks it as any other does.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "msb-client-private.h"
#include "msb-config-private.h"
#include "msb-error.h"
#include "msb-paths.h"
#include "msb-plan-private.h"
#include "msb-process.h"
#include "msb-sandbox-private.h"
#include "msb-volumes.h"

#define GROW_TIMEOUT_MS 120000

/* What sandboxes say about the image. */
typedef struct {
    const char *path;
    struct stat st;
    char *format;               /* as one of them has it; NULL: none says */
    MsbSandbox *writer;         /* runs and writes it */
    char *id;                   /* as this disk */
} Image;

static void
image_clear(Image *image)
{
    g_free(image->format);
    g_free(image->id);
    g_clear_pointer(&image->writer, msb_sandbox_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Image, image_clear)

/* The disk id of the sandbox is path. */
static void
consider(Image *image, MsbSandbox *sandbox, const char *id, const char *path, const char *format, gboolean readonly)
{
    struct stat st;

    if (!path || stat(path, &st) < 0 || st.st_dev != image->st.st_dev || st.st_ino != image->st.st_ino)
        return;
    if (format && !image->format)
        image->format = g_strdup(format);
    if (readonly || image->writer || !msb_sandbox_is_supervised(sandbox->home, sandbox->name))
        return;
    image->writer = msb_sandbox_ref(sandbox);
    image->id = g_strdup(id);
}

static void
ask_sandbox(Image *image, MsbSandbox *sandbox)
{
    const MsbConfig *config = sandbox->config;
    const GPtrArray *mounts = msb_config_get_mounts(config);

    if (msb_config_get_root_kind(config) == MSB_ROOT_DISK)
        consider(image, sandbox, "root", msb_config_get_image(config), msb_config_get_root_format(config),
                 msb_config_get_root_readonly(config));
    for (guint i = 0; i < mounts->len; i++) {
        const MsbMount *m = g_ptr_array_index(mounts, i);
        g_autofree char *id = msb_plan_mount_id(i);

        if (m->kind == MSB_MOUNT_DISK)
            consider(image, sandbox, id, m->source, m->format, m->readonly);
    }
}

static gboolean
grow_offline(const Image *image, const char *size, GError **error)
{
    g_autofree char *program = msb_paths_find_program("msb-vhost-blk", error);
    g_autofree char *format = g_strconcat("--format=", msb_disk_format(image->format, image->path), NULL);
    g_autofree char *file = g_strconcat("--blk-file=", image->path, NULL);
    g_autofree char *grow = g_strconcat("--grow=", size, NULL);
    g_autoptr(GError) local = NULL;
    const char *reason;

    if (!program)
        return FALSE;
    if (msb_process_run((const char *const[]){ program, file, format, grow, "--log-level=error", NULL },
                        GROW_TIMEOUT_MS, NULL, &local))
        return TRUE;
    reason = strstr(local->message, "error: ");
    return msb_error_set(error, MSB_ERROR_FAILED, "%s", reason ? reason + strlen("error: ") : local->message);
}

static gboolean
grow_online(const Image *image, const char *size, GError **error)
{
    g_autoptr(MsbClient) client = msb_client_connect(image->writer, error);

    return client && msb_client_disk_grow(client, image->id, size, error);
}

static gboolean
has_extension(const char *path)
{
    const char *slash = strrchr(path, '/');

    return strchr(slash ? slash + 1 : path, '.') != NULL;
}

gboolean
msb_disk_image_resize(MsbHome *home, const char *path, gboolean add, guint64 size, GError **error)
{
    g_autofree char *text = g_strdup_printf("%s%" G_GUINT64_FORMAT, add ? "+" : "", size);
    g_autoptr(GPtrArray) sandboxes = NULL;
    g_auto(Image) image = { .path = path };

    if (stat(path, &image.st) < 0)
        return msb_error_set_errno(error, errno, "'%s'", path);
    if (!S_ISREG(image.st.st_mode))
        return msb_error_set(error, MSB_ERROR_INVALID, "'%s' is not a disk image", path);
    sandboxes = msb_sandbox_list(home, error);
    if (!sandboxes)
        return FALSE;
    for (guint i = 0; i < sandboxes->len; i++)
        ask_sandbox(&image, g_ptr_array_index(sandboxes, i));
    if (!image.format && !has_extension(path))
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "the name of '%s' does not tell its format, and no sandbox does that mounts it: it would "
                             "be taken for a raw one; give it an extension", path);
    return image.writer ? grow_online(&image, text, error) : grow_offline(&image, text, error);
}

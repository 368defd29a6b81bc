/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Larger disks: named volumes, and the writable layers of sandboxes.  The file
 * becomes larger here; the sandboxes that have it are told, and make the file
 * system larger themselves.  One that does not run does so when it mounts the
 * disk next.  So nothing on the host reads what a guest wrote.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-client-private.h"
#include "msb-config-private.h"
#include "msb-error.h"
#include "msb-ext4.h"
#include "msb-plan-private.h"
#include "msb-sandbox-private.h"
#include "msb-volume.h"
#include "msb-volumes.h"

#define LOCK_TIMEOUT_MS 30000

/* The size that a disk of old bytes is to have: size, or with add so much more. */
static gboolean
new_size(const char *what, const char *name, guint64 old, gboolean add, guint64 *size, GError **error)
{
    if (add && !g_uint64_checked_add(size, *size, old))
        *size = G_MAXUINT64;
    *size = msb_ext4_round_size(*size);
    if (*size > MSB_MAX_DISK)
        return msb_error_set(error, MSB_ERROR_INVALID, "the disk of %s '%s' cannot be larger than 15 TiB", what, name);
    if (*size < old) {
        g_autofree char *has = g_format_size_full(old, G_FORMAT_SIZE_IEC_UNITS);

        return msb_error_set(error, MSB_ERROR_INVALID,
                             "the disk of %s '%s' has %s and cannot become smaller, which would cut off what is at its "
                             "end; make another one of that size and copy the files",
                             what, name, has);
    }
    return TRUE;
}

/* What is not written is not allocated, so only the file system that the file is on limits it. *size becomes what
 * the file has then. */
static gboolean
grow_file(const char *what, const char *name, const char *path, gboolean add, guint64 *size, GError **error)
{
    mb_autofd int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return msb_error_set_errno(error, errno, "'%s'", path);
    if (!new_size(what, name, (guint64)st.st_size, add, size, error))
        return FALSE;
    if (*size > (guint64)st.st_size && (ftruncate(fd, (off_t)*size) < 0 || fsync(fd) < 0))
        return msb_error_set_errno(error, errno, "make '%s' larger", path);
    return TRUE;
}

/* Tell a sandbox, if it runs, of the new size of the disk with this id. One that is ending needs not know. */
static gboolean
tell(MsbSandbox *sandbox, const char *id, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(MsbClient) client = NULL;

    if (!msb_sandbox_is_supervised(sandbox->home, sandbox->name))
        return TRUE;
    client = msb_client_connect(sandbox, &local);
    if ((client && msb_client_disk_changed(client, id, &local)) ||
        g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_RUNNING))
        return TRUE;
    g_propagate_prefixed_error(error, g_steal_pointer(&local),
                               "the disk is larger, but sandbox '%s' will see it only when it is started next: ",
                               sandbox->name);
    return FALSE;
}

/* ---- volumes -------------------------------------------------------------------------------- */

static gboolean
note_size(const MsbHome *home, const char *name, guint64 size, GError **error)
{
    g_autofree char *path = msb_volume_meta_path(home, name);
    g_autoptr(JsonObject) object = msb_state_load(path, 1, NULL);

    if (!object)
        return TRUE; /* the file itself tells */
    json_object_set_int_member(object, "size", (gint64)size);
    return msb_state_save(path, object, error);
}

static gboolean
grow_volume(MsbHome *home, const char *name, gboolean add, guint64 size, GError **error)
{
    g_autofree char *path = msb_volume_disk_path(home, name);
    g_autoptr(MsbLock) lock = msb_volume_lock(home, name, error);

    return lock && grow_file("volume", name, path, add, &size, error) && note_size(home, name, size, error);
}

static gboolean
tell_user(MsbHome *home, const char *name, const char *volume, GError **error)
{
    g_autoptr(MsbSandbox) sandbox = msb_sandbox_lookup(home, name, NULL);
    const GPtrArray *mounts = sandbox ? msb_config_get_mounts(sandbox->config) : NULL;

    for (guint i = 0; mounts && i < mounts->len; i++) {
        const MsbMount *m = g_ptr_array_index(mounts, i);
        g_autofree char *id = msb_plan_mount_id(i);

        if (m->kind == MSB_MOUNT_NAMED && g_str_equal(m->source, volume) && !tell(sandbox, id, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
msb_volume_resize(MsbHome *home, const char *name, gboolean add, guint64 size, GError **error)
{
    g_autoptr(MsbVolume) volume = msb_volume_lookup(home, name, error);
    g_auto(GStrv) users = NULL;

    if (!volume)
        return FALSE;
    if (msb_volume_get_capacity(volume) == 0)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "volume '%s' is a directory, which is as large as the file system it is on; only disks "
                             "have a size", name);
    if (!grow_volume(home, name, add, size, error))
        return FALSE;
    users = msb_volume_dup_users(home, name, error);
    for (guint i = 0; users && users[i]; i++) {
        if (!tell_user(home, users[i], name, error))
            return FALSE;
    }
    return users != NULL;
}

/* ---- writable layers ---------------------------------------------------------------------------- */

static gboolean
grow_root(MsbSandbox *sandbox, gboolean add, guint64 size, GError **error)
{
    g_autofree char *dir = msb_home_sandbox_dir(sandbox->home, sandbox->name);
    g_autofree char *upper = g_build_filename(dir, "upper.raw", NULL);
    g_autofree char *path = g_build_filename(dir, "config.json", NULL);
    g_autoptr(MsbLock) lock = msb_sandbox_lock_name(sandbox->home, sandbox->name, LOCK_TIMEOUT_MS, error);
    g_autoptr(MsbConfig) config = lock ? msb_sandbox_load_config(sandbox->home, sandbox->name, error) : NULL;
    g_autoptr(JsonNode) node = NULL;

    if (!config || !grow_file("sandbox", sandbox->name, upper, add, &size, error))
        return FALSE;
    msb_config_set_root_disk_bytes(config, size);
    msb_config_set_root_disk_bytes(sandbox->config, size);
    node = msb_config_to_json(config);
    return msb_state_save(path, json_node_get_object(node), error);
}

gboolean
msb_sandbox_resize_root(MsbSandbox *sandbox, gboolean add, guint64 size, GError **error)
{
    if (msb_config_get_root_kind(sandbox->config) == MSB_ROOT_DISK)
        return msb_disk_image_resize(sandbox->home, msb_config_get_image(sandbox->config), add, size, error);
    if (msb_config_get_root_kind(sandbox->config) != MSB_ROOT_IMAGE)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "the root of sandbox '%s' is '%s' itself, without a writable disk over it", sandbox->name,
                             msb_config_get_image(sandbox->config));
    return grow_root(sandbox, add, size, error) && tell(sandbox, "upper", error);
}

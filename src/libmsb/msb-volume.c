/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named volumes, as far as creating a sandbox needs them.  Changes to one
 * volume happen under volumes/.locks/<name>.
 */
#include <config.h>

#include <sys/stat.h>
#include <unistd.h>

#include "msb-error.h"
#include "msb-json.h"
#include "msb-state.h"
#include "msb-volume.h"

#define VOLUME_VERSION 1
#define LOCK_TIMEOUT_MS 30000

char *
msb_volume_dir(const MsbHome *home, const char *name)
{
    return msb_home_build_path(home, "volumes", name, NULL);
}

static char *
meta_path(const MsbHome *home, const char *name)
{
    g_autofree char *file = g_strconcat(name, ".json", NULL);

    return msb_home_build_path(home, "volumes", ".meta", file, NULL);
}

static MsbLock *
lock_volume(const MsbHome *home, const char *name, GError **error)
{
    g_autofree char *path = msb_home_build_path(home, "volumes", ".locks", name, NULL);

    return msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, LOCK_TIMEOUT_MS, error);
}

/* What the metadata says, or without it the directory: *is_disk. */
static gboolean
read_kind(const MsbHome *home, const char *name, gboolean *is_disk, gboolean *has_meta, GError **error)
{
    static const char *const kinds[] = { "dir", "disk", NULL };
    g_autofree char *path = meta_path(home, name), *disk = msb_volume_disk_path(home, name);
    g_autoptr(GError) local = NULL;
    g_autoptr(JsonObject) object = msb_state_load(path, VOLUME_VERSION, &local);
    g_autoptr(JsonNode) node = NULL;
    MsbJsonReader r;

    *has_meta = object != NULL;
    *is_disk = access(disk, F_OK) == 0;
    if (!object) {
        if (g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND))
            return TRUE;
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    node = json_node_init_object(json_node_alloc(), object);
    msb_json_reader_begin(&r, node, path);
    *is_disk = msb_json_get_choice(&r, "kind", kinds, 0) == 1;
    msb_json_reader_allow_unknown(&r);
    return msb_json_reader_end(&r, error);
}

static gboolean
write_meta(const MsbHome *home, const char *name, GError **error)
{
    g_autofree char *path = meta_path(home, name);
    g_autoptr(JsonObject) object = json_object_new();

    json_object_set_int_member(object, "version", VOLUME_VERSION);
    json_object_set_string_member(object, "name", name);
    json_object_set_string_member(object, "kind", "dir");
    json_object_set_int_member(object, "created", g_get_real_time());
    return msb_state_save(path, object, error);
}

char *
msb_volume_meta_path(const MsbHome *home, const char *name)
{
    return meta_path(home, name);
}

MsbLock *
msb_volume_lock(const MsbHome *home, const char *name, GError **error)
{
    return lock_volume(home, name, error);
}

gboolean
msb_volume_ensure_dir(MsbHome *home, const char *name, gboolean *created, GError **error)
{
    g_autofree char *dir = msb_volume_dir(home, name);
    g_autoptr(MsbLock) lock = lock_volume(home, name, error);
    gboolean is_disk, has_meta, is_new;

    if (created)
        *created = FALSE;
    if (!lock || !read_kind(home, name, &is_disk, &has_meta, error))
        return FALSE;
    if (is_disk)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "volume '%s' exists as a disk; leave kind=dir out, or choose another name", name);
    is_new = access(dir, F_OK) < 0;
    if (!msb_paths_make_dir(dir, 0700, error))
        return FALSE;
    if (!has_meta && !write_meta(home, name, error)) {
        if (is_new)
            rmdir(dir);
        return FALSE;
    }
    if (created)
        *created = is_new;
    return TRUE;
}

gboolean
msb_volume_discard(MsbHome *home, const char *name, GError **error)
{
    g_autofree char *dir = msb_volume_dir(home, name), *meta = meta_path(home, name);
    g_autoptr(MsbLock) lock = lock_volume(home, name, error);

    return lock && msb_paths_remove_tree(dir, error) && msb_paths_remove_tree(meta, error);
}

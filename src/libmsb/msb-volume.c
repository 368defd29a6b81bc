/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named volumes, as far as creating a sandbox needs them.  Changes to one
 * volume happen under volumes/.locks/<name>.
 */
#include <config.h>

#include <sys/stat.h>
#include <sys/sysmacros.h>
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

/* What is known of a volume: from its metadata, or without it from the directory. */
typedef struct {
    JsonObject *object;     /* the metadata, NULL: there is none */
    gboolean is_disk;
    MsbQuota quota;
} Meta;

static void
meta_clear(Meta *meta)
{
    g_clear_pointer(&meta->object, json_object_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Meta, meta_clear)

static gboolean
read_meta(const MsbHome *home, const char *name, Meta *meta, GError **error)
{
    static const char *const kinds[] = { "dir", "disk", NULL };
    g_autofree char *path = meta_path(home, name), *disk = msb_volume_disk_path(home, name);
    g_autoptr(GError) local = NULL;
    g_autoptr(JsonNode) node = NULL;
    MsbJsonReader r;

    meta->object = msb_state_load(path, VOLUME_VERSION, &local);
    meta->is_disk = access(disk, F_OK) == 0;
    if (!meta->object) {
        if (g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND))
            return TRUE;
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    node = json_node_init_object(json_node_alloc(), meta->object);
    msb_json_reader_begin(&r, node, path);
    meta->is_disk = msb_json_get_choice(&r, "kind", kinds, 0) == 1;
    meta->quota.bytes = (guint64)msb_json_get_int(&r, "quota", 0, 0, G_MAXINT64);
    meta->quota.inodes = (guint64)msb_json_get_int(&r, "inodes", 0, 0, G_MAXINT64);
    msb_json_reader_allow_unknown(&r);
    return msb_json_reader_end(&r, error);
}

/* Note quota, in new metadata or in what there is. */
static gboolean
write_meta(const MsbHome *home, const char *name, Meta *meta, const MsbQuota *quota, GError **error)
{
    g_autofree char *path = meta_path(home, name);

    if (!meta->object) {
        meta->object = json_object_new();
        json_object_set_int_member(meta->object, "version", VOLUME_VERSION);
        json_object_set_string_member(meta->object, "name", name);
        json_object_set_string_member(meta->object, "kind", "dir");
        json_object_set_int_member(meta->object, "created", g_get_real_time());
    }
    if (quota->bytes)
        json_object_set_int_member(meta->object, "quota", (gint64)quota->bytes);
    if (quota->inodes)
        json_object_set_int_member(meta->object, "inodes", (gint64)quota->inodes);
    return msb_state_save(path, meta->object, error);
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
msb_volume_read_quota(const MsbHome *home, const char *name, MsbQuota *quota, GError **error)
{
    g_auto(Meta) meta = { .object = NULL };

    if (!read_meta(home, name, &meta, error))
        return FALSE;
    *quota = meta.quota;
    return TRUE;
}

static gboolean
check_existing(const char *name, const Meta *meta, const MsbQuota *quota, GError **error)
{
    if (meta->is_disk)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "volume '%s' exists as a disk; leave kind=dir out, or choose another name", name);
    if (quota->bytes && meta->quota.bytes && quota->bytes != meta->quota.bytes)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "volume '%s' has a quota of %" G_GUINT64_FORMAT " bytes, not of %" G_GUINT64_FORMAT
                             "; mount it with that, or without 'quota'", name, meta->quota.bytes, quota->bytes);
    if (quota->inodes && meta->quota.inodes && quota->inodes != meta->quota.inodes)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "volume '%s' has a quota of %" G_GUINT64_FORMAT " inodes, not of %" G_GUINT64_FORMAT
                             "; mount it with that, or without 'inodes'", name, meta->quota.inodes, quota->inodes);
    return TRUE;
}

gboolean
msb_volume_ensure_dir(MsbHome *home, const char *name, const MsbQuota *quota, gboolean *created, GError **error)
{
    static const MsbQuota none = { 0, 0 };
    g_autofree char *dir = msb_volume_dir(home, name);
    g_autoptr(MsbLock) lock = lock_volume(home, name, error);
    g_auto(Meta) meta = { .object = NULL };
    gboolean is_new, to_note;

    if (!quota)
        quota = &none;
    if (created)
        *created = FALSE;
    if (!lock || !read_meta(home, name, &meta, error) || !check_existing(name, &meta, quota, error))
        return FALSE;
    is_new = access(dir, F_OK) < 0;
    if (!msb_paths_make_dir(dir, 0700, error))
        return FALSE;
    to_note = (quota->bytes && !meta.quota.bytes) || (quota->inodes && !meta.quota.inodes);
    if ((!meta.object || to_note) && !write_meta(home, name, &meta, quota, error)) {
        if (is_new)
            rmdir(dir);
        return FALSE;
    }
    if (created)
        *created = is_new;
    return TRUE;
}

char *
msb_volume_quota_dir(const MsbHome *home)
{
    return msb_home_build_path(home, "volumes", ".quota", NULL);
}

/* The account of a directory that goes; named as msb-vhost-fs names it. */
static void
remove_account(const MsbHome *home, const char *dir)
{
    g_autofree char *accounts = msb_volume_quota_dir(home), *path = NULL;
    struct stat st;

    if (stat(dir, &st) < 0)
        return;
    path = g_strdup_printf("%s/%x-%" G_GUINT64_FORMAT ".quota", accounts, major(st.st_dev) << 20 | minor(st.st_dev),
                           (guint64)st.st_ino);
    unlink(path);
}

gboolean
msb_volume_discard(MsbHome *home, const char *name, GError **error)
{
    g_autofree char *dir = msb_volume_dir(home, name), *meta = meta_path(home, name);
    g_autoptr(MsbLock) lock = lock_volume(home, name, error);

    if (!lock)
        return FALSE;
    remove_account(home, dir);
    return msb_paths_remove_tree(dir, error) && msb_paths_remove_tree(meta, error);
}

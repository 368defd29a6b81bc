/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk volumes: volumes/<name>/disk.raw, a sparse ext4.  Who mounts one for
 * writing has it alone: its back-end locks the file.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msb-error.h"
#include "msb-ext4.h"
#include "msb-state.h"
#include "msb-volume.h"

#define VOLUME_VERSION 1
#define LABEL "msb-volume"

char *
msb_volume_disk_path(const MsbHome *home, const char *name)
{
    return msb_home_build_path(home, "volumes", name, MSB_VOLUME_DISK_FILE, NULL);
}

gboolean
msb_volume_is_disk(const MsbHome *home, const char *name)
{
    g_autofree char *path = msb_volume_disk_path(home, name);

    return access(path, F_OK) == 0;
}

static gboolean
write_meta(const MsbHome *home, const char *name, guint64 size, GError **error)
{
    g_autofree char *path = msb_volume_meta_path(home, name);
    g_autoptr(JsonObject) object = json_object_new();

    json_object_set_int_member(object, "version", VOLUME_VERSION);
    json_object_set_string_member(object, "name", name);
    json_object_set_string_member(object, "kind", "disk");
    json_object_set_int_member(object, "size", (gint64)size);
    json_object_set_int_member(object, "created", g_get_real_time());
    return msb_state_save(path, object, error);
}

/* In a directory beside, which is renamed when it is complete; what a killed predecessor left there goes. */
static gboolean
make(const MsbHome *home, const char *name, guint64 size, GError **error)
{
    g_autofree char *stage_name = g_strdup_printf(".%s.new", name);
    g_autofree char *stage = msb_home_build_path(home, "volumes", stage_name, NULL);
    g_autofree char *disk = g_build_filename(stage, MSB_VOLUME_DISK_FILE, NULL);
    g_autofree char *dir = msb_volume_dir(home, name);

    if (!msb_paths_remove_tree(stage, error) || !msb_paths_make_dir(stage, 0700, error))
        return FALSE;
    if (!msb_ext4_create(disk, size, LABEL, FALSE, error) || !write_meta(home, name, size, error)) {
        (void)msb_paths_remove_tree(stage, NULL);
        return FALSE;
    }
    if (renameat2(AT_FDCWD, stage, AT_FDCWD, dir, RENAME_NOREPLACE) == 0)
        return TRUE;
    msb_error_set_errno(error, errno, "cannot make volume '%s'", name);
    (void)msb_paths_remove_tree(stage, NULL);
    return FALSE;
}

static gboolean
check_existing(const MsbHome *home, const char *name, guint64 size, GError **error)
{
    g_autofree char *path = msb_volume_disk_path(home, name);
    struct stat st;

    if (stat(path, &st) < 0)
        return msb_error_set_errno(error, errno, "volume '%s'", name);
    if (size && (guint64)st.st_size != size)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "volume '%s' exists with a size of %" G_GUINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT
                             "; leave size= out to use it as it is", name, (guint64)st.st_size, size);
    return TRUE;
}

gboolean
msb_volume_ensure_disk(MsbHome *home, const char *name, guint64 size, gboolean *created, GError **error)
{
    g_autofree char *dir = msb_volume_dir(home, name);
    g_autoptr(MsbLock) lock = msb_volume_lock(home, name, error);

    *created = FALSE;
    if (!lock)
        return FALSE;
    if (msb_volume_is_disk(home, name))
        return check_existing(home, name, size, error);
    if (access(dir, F_OK) == 0)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "volume '%s' exists as a directory; leave kind=disk out, or choose another name", name);
    if (size == 0)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "there is no volume '%s' yet; to make a disk it needs a size, as in kind=disk,size=20G",
                             name);
    *created = make(home, name, size, error);
    return *created;
}

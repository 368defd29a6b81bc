/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes as their owner sees them, see msb-volumes.h.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msb-error.h"
#include "msb-refs.h"
#include "msb-sandbox.h"
#include "msb-state.h"
#include "msb-volume.h"
#include "msb-volumes.h"

struct _MsbVolume {
    gatomicrefcount refs;
    char *name;
    char *path;
    gboolean is_disk;
    guint64 capacity;       /* of a disk */
    gint64 created;
    MsbQuota quota;
};

static void
volume_free(MsbVolume *volume)
{
    g_free(volume->name);
    g_free(volume->path);
    g_free(volume);
}

MSB_DEFINE_REFS(MsbVolume, msb_volume, volume_free)

const char *
msb_volume_get_name(const MsbVolume *volume)
{
    return volume->name;
}

const char *
msb_volume_get_path(const MsbVolume *volume)
{
    return volume->path;
}

const char *
msb_volume_get_kind(const MsbVolume *volume)
{
    return volume->is_disk ? "disk" : "dir";
}

guint64
msb_volume_get_capacity(const MsbVolume *volume)
{
    return volume->capacity;
}

gint64
msb_volume_get_created(const MsbVolume *volume)
{
    return volume->created;
}

const MsbQuota *
msb_volume_get_quota(const MsbVolume *volume)
{
    return &volume->quota;
}

/* ---- finding -------------------------------------------------------------------------------- */

static guint64
disk_capacity(MsbHome *home, const char *name)
{
    g_autofree char *path = msb_volume_disk_path(home, name);
    struct stat st;

    return stat(path, &st) == 0 ? (guint64)st.st_size : 0;
}

/* Metadata that is damaged, or of a later version, leaves what the directory shows. */
static MsbVolume *
volume_new(MsbHome *home, const char *name)
{
    g_autofree char *meta = msb_volume_meta_path(home, name);
    g_autoptr(JsonObject) object = msb_state_load(meta, 1, NULL);
    MsbVolume *volume = g_new0(MsbVolume, 1);

    g_atomic_ref_count_init(&volume->refs);
    volume->name = g_strdup(name);
    volume->path = msb_volume_dir(home, name);
    volume->is_disk = msb_volume_is_disk(home, name);
    if (volume->is_disk)
        volume->capacity = disk_capacity(home, name);
    if (object)
        volume->created = json_object_get_int_member_with_default(object, "created", 0);
    msb_volume_read_quota(home, name, &volume->quota, NULL);
    return volume;
}

MsbVolume *
msb_volume_lookup(MsbHome *home, const char *name, GError **error)
{
    g_autofree char *path = NULL;

    if (!msb_name_validate("volume", name, error))
        return NULL;
    path = msb_volume_dir(home, name);
    if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
        msb_error_set(error, MSB_ERROR_NOT_FOUND, "there is no volume '%s' ('msb volume ls' lists them)", name);
        return NULL;
    }
    return volume_new(home, name);
}

static gint
newest_first(gconstpointer a, gconstpointer b)
{
    const MsbVolume *x = *(MsbVolume *const *)a, *y = *(MsbVolume *const *)b;

    if (x->created != y->created)
        return x->created < y->created ? 1 : -1;
    return strcmp(x->name, y->name);
}

GPtrArray *
msb_volume_list(MsbHome *home, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)msb_volume_unref);
    g_autofree char *path = msb_home_build_path(home, "volumes", NULL);
    g_autoptr(GError) local = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &local);
    const char *name;

    if (!dir) {
        msb_error_set(error, MSB_ERROR_IO, "%s", local->message);
        return NULL;
    }
    while ((name = g_dir_read_name(dir))) {
        MsbVolume *volume = msb_volume_lookup(home, name, NULL);

        if (volume)
            g_ptr_array_add(list, volume);
    }
    g_ptr_array_sort(list, newest_first);
    return g_steal_pointer(&list);
}

static gboolean
is_taken(const char *name, GError **error)
{
    return msb_error_set(error, MSB_ERROR_EXISTS, "there is a volume '%s' already", name);
}

static gboolean
check_free(MsbHome *home, const char *name, GError **error)
{
    g_autoptr(MsbVolume) taken = NULL;

    if (!msb_name_validate("volume", name, error))
        return FALSE;
    taken = msb_volume_lookup(home, name, NULL);
    return !taken || is_taken(name, error);
}

/* What was just made, unless somebody else made it meanwhile. */
static MsbVolume *
made(MsbHome *home, const char *name, gboolean created, GError **error)
{
    return created || is_taken(name, error) ? volume_new(home, name) : NULL;
}

MsbVolume *
msb_volume_create(MsbHome *home, const char *name, const MsbQuota *quota, GError **error)
{
    gboolean created = FALSE;

    if (!check_free(home, name, error) || !msb_volume_ensure_dir(home, name, quota, &created, error))
        return NULL;
    return made(home, name, created, error);
}

MsbVolume *
msb_volume_create_disk(MsbHome *home, const char *name, guint64 size, GError **error)
{
    gboolean created = FALSE;

    if (!check_free(home, name, error) || !msb_volume_ensure_disk(home, name, size, &created, error))
        return NULL;
    return made(home, name, created, error);
}

/* ---- size ------------------------------------------------------------------------------------ */

typedef struct {
    guint64 bytes, files;
    GHashTable *linked;     /* inode numbers of files with several names */
} Usage;

static gboolean measure_entry(int dir, const char *name, dev_t dev, Usage *usage);

/* Takes dir. What vanishes meanwhile does not count. */
static gboolean
measure_dir(int dir, dev_t dev, Usage *usage)
{
    DIR *stream = fdopendir(dir);
    struct dirent *entry;
    gboolean ok = TRUE;

    if (!stream) {
        close(dir);
        return FALSE;
    }
    while (ok && (errno = 0, entry = readdir(stream))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ok = measure_entry(dirfd(stream), entry->d_name, dev, usage);
    }
    ok = ok && errno == 0;
    closedir(stream);
    return ok;
}

static gboolean
measure_entry(int dir, const char *name, dev_t dev, Usage *usage)
{
    struct stat st;
    int fd;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT;
    if (st.st_dev != dev)
        return TRUE;
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
        gint64 ino = (gint64)st.st_ino;

        if (!g_hash_table_add(usage->linked, g_memdup2(&ino, sizeof ino)))
            return TRUE;
    }
    usage->bytes += (guint64)st.st_blocks * 512;
    usage->files++;
    if (!S_ISDIR(st.st_mode))
        return TRUE;
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? errno == ENOENT : measure_dir(fd, dev, usage);
}

gboolean
msb_volume_measure(const MsbVolume *volume, guint64 *bytes, guint64 *files, GError **error)
{
    g_autoptr(GHashTable) linked = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    Usage usage = { .linked = linked };
    struct stat st;
    int fd = open(volume->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return msb_error_set_errno(error, errno, "volume '%s'", volume->name);
    if (fstat(fd, &st) < 0 || !measure_dir(fd, st.st_dev, &usage))
        return msb_error_set_errno(error, errno, "volume '%s': cannot look at all of it", volume->name);
    *bytes = usage.bytes;
    if (files)
        *files = usage.files;
    return TRUE;
}

/* ---- removal ----------------------------------------------------------------------------------- */

static gboolean
names_volume(const MsbConfig *config, const char *name)
{
    const GPtrArray *mounts = msb_config_get_mounts(config);

    for (guint i = 0; i < mounts->len; i++) {
        const MsbMount *m = g_ptr_array_index(mounts, i);

        if (m->kind == MSB_MOUNT_NAMED && strcmp(m->source, name) == 0)
            return TRUE;
    }
    return FALSE;
}

static gint
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A sandbox whose configuration cannot be read may name it: that is an error. */
char **
msb_volume_dup_users(MsbHome *home, const char *name, GError **error)
{
    g_autoptr(GPtrArray) users = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *path = msb_home_build_path(home, "sandboxes", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, error);
    const char *sandbox_name;

    if (!dir)
        return NULL;
    while ((sandbox_name = g_dir_read_name(dir))) {
        g_autoptr(MsbSandbox) sandbox = NULL;
        g_autoptr(GError) local = NULL;

        if (!msb_name_validate("sandbox", sandbox_name, NULL))
            continue;
        sandbox = msb_sandbox_lookup(home, sandbox_name, &local);
        if (!sandbox && !g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND)) {
            g_propagate_prefixed_error(error, g_steal_pointer(&local), "whether volume '%s' is in use: ", name);
            return NULL;
        }
        if (sandbox && names_volume(msb_sandbox_get_config(sandbox), name))
            g_ptr_array_add(users, g_strdup(sandbox_name));
    }
    g_ptr_array_sort(users, compare_names);
    g_ptr_array_add(users, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&users), FALSE);
}

gboolean
msb_volume_remove(MsbHome *home, const char *name, GError **error)
{
    g_autoptr(MsbVolume) volume = msb_volume_lookup(home, name, error);
    g_auto(GStrv) users = volume ? msb_volume_dup_users(home, name, error) : NULL;
    g_autofree char *list = NULL;

    if (!users)
        return FALSE;
    if (users[0]) {
        list = g_strjoinv("', '", users);
        return msb_error_set(error, MSB_ERROR_IN_USE, "volume '%s' is in use by %s '%s'; remove %s first", name,
                             users[1] ? "the sandboxes" : "sandbox", list, users[1] ? "them" : "it");
    }
    return msb_volume_discard(home, name, error);
}

/* ---- on this host --------------------------------------------------------------------------------- */

static char **
mount_command(const MsbVolume *volume, const char *program, const char *mount_point, MsbStatVirt stat_virt,
              gboolean readonly)
{
    static const char *const modes[] = { "strict", "relaxed", "off" };
    g_autofree char *volumes = g_path_get_dirname(volume->path);
    GPtrArray *argv = g_ptr_array_new();

    g_ptr_array_add(argv, g_strdup(program));
    g_ptr_array_add(argv, g_strconcat("--shared-dir=", volume->path, NULL));
    g_ptr_array_add(argv, g_strconcat("--mount=", mount_point, NULL));
    g_ptr_array_add(argv, g_strconcat("--stat-virt=", modes[stat_virt], NULL));
    g_ptr_array_add(argv, g_strconcat("--quota-dir=", volumes, "/.quota", NULL));
    if (volume->quota.bytes)
        g_ptr_array_add(argv, g_strdup_printf("--quota=%" G_GUINT64_FORMAT, volume->quota.bytes));
    if (volume->quota.inodes)
        g_ptr_array_add(argv, g_strdup_printf("--quota-inodes=%" G_GUINT64_FORMAT, volume->quota.inodes));
    if (readonly)
        g_ptr_array_add(argv, g_strdup("--read-only"));
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(argv, FALSE);
}

void
msb_volume_exec_mount(const MsbVolume *volume, const char *mount_point, MsbStatVirt stat_virt, gboolean readonly,
                      GError **error)
{
    g_autofree char *program = msb_paths_find_program("msb-vhost-fs", error);
    g_auto(GStrv) argv = !program ? NULL : mount_command(volume, program, mount_point, stat_virt, readonly);

    if (!program)
        return;
    if (volume->is_disk)
        msb_error_set(error, MSB_ERROR_UNSUPPORTED,
                      "volume '%s' is a disk; '%s/" MSB_VOLUME_DISK_FILE "' can be mounted with mount(8)",
                      volume->name, volume->path);
    else if (!g_file_test(mount_point, G_FILE_TEST_IS_DIR))
        msb_error_set(error, MSB_ERROR_INVALID, "mount on '%s': there is no such directory", mount_point);
    else if (geteuid() != 0)
        msb_error_set(error, MSB_ERROR_UNSUPPORTED,
                      "mount on '%s': only root may mount; with sudo, give MSB_HOME along", mount_point);
    else if (access("/dev/fuse", R_OK | W_OK) < 0)
        msb_error_set_errno(error, errno, "mount on '%s': /dev/fuse (is the module 'fuse' loaded?)", mount_point);
    else if (execv(program, argv) < 0)
        msb_error_set_errno(error, errno, "run '%s'", program);
}

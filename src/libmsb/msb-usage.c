/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the state directory takes on disk. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>

#include "msb-error.h"
#include "msb-image.h"
#include "msb-sandbox.h"
#include "msb-store.h"

/* Bytes on disk below path; what vanishes meanwhile counts nothing, hard links count once per directory
 * entry. */
static guint64
tree_bytes(const char *path)
{
    char *const paths[] = {(char *)path, NULL};
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    guint64 bytes = 0;
    FTSENT *entry;

    while (tree && (entry = fts_read(tree))) {
        if (entry->fts_info != FTS_DP && entry->fts_info != FTS_NS && entry->fts_info != FTS_ERR &&
            entry->fts_info != FTS_DNR)
            bytes += (guint64)entry->fts_statp->st_blocks * 512;
    }
    if (tree)
        fts_close(tree);
    return bytes;
}

/* Those of a directory of the state directory that is_active knows to be in use, or all of them. */
static MsbDiskUsage *
count_directory(MsbHome *home, const char *directory, const char *kind, GHashTable *active)
{
    MsbDiskUsage *usage = g_new0(MsbDiskUsage, 1);
    g_autofree char *path = msb_home_build_path(home, directory, NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    usage->kind = kind;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *entry = g_build_filename(path, name, NULL);
        guint64 bytes;

        /* Names with a dot in front are ours: locks, what is being made. A link is another name. */
        if (!g_file_test(entry, G_FILE_TEST_IS_DIR) || g_file_test(entry, G_FILE_TEST_IS_SYMLINK))
            continue;
        bytes = tree_bytes(entry);
        usage->bytes += bytes;
        if (name[0] == '.')
            continue;
        usage->count++;
        if (!active || g_hash_table_contains(active, name))
            usage->active++;
        else
            usage->reclaimable += bytes;
    }
    return usage;
}

static MsbDiskUsage *
count_images(MsbHome *home, GError **error)
{
    g_autoptr(MsbStore) store = msb_store_open(home, error);
    g_autoptr(GPtrArray) removed = g_ptr_array_new_with_free_func(g_free), left = NULL;
    MsbDiskUsage *usage;
    MsbStoreUse use;

    if (!store || !msb_store_untag_unused(store, TRUE, &left, removed, error) ||
        !msb_store_measure(home, left, &use, error))
        return NULL;
    usage = g_new0(MsbDiskUsage, 1);
    usage->kind = "images";
    usage->count = left->len + removed->len;
    usage->active = left->len;
    usage->bytes = use.used + use.unused;
    usage->reclaimable = use.unused;
    return usage;
}

/* Names of running sandboxes and of the volumes that any sandbox names (borrowed by sandboxes). */
static void
find_active(const GPtrArray *sandboxes, GHashTable *running, GHashTable *volumes)
{
    for (guint i = 0; i < sandboxes->len; i++) {
        MsbSandbox *sandbox = g_ptr_array_index(sandboxes, i);
        const GPtrArray *mounts = msb_config_get_mounts(msb_sandbox_get_config(sandbox));

        MsbSandboxState state = msb_sandbox_get_state(sandbox);

        if (state != MSB_STATE_STOPPED && state != MSB_STATE_CRASHED)
            g_hash_table_add(running, (gpointer)msb_sandbox_get_name(sandbox));
        for (guint j = 0; j < mounts->len; j++) {
            const MsbMount *mount = g_ptr_array_index(mounts, j);

            if (mount->kind == MSB_MOUNT_NAMED)
                g_hash_table_add(volumes, (gpointer)mount->source);
        }
    }
}

GPtrArray *
msb_home_disk_usage(MsbHome *home, GError **error)
{
    g_autoptr(GPtrArray) result = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) sandboxes = msb_sandbox_list(home, error);
    g_autoptr(GHashTable) running = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) volumes = g_hash_table_new(g_str_hash, g_str_equal);
    MsbDiskUsage *images = sandboxes ? count_images(home, error) : NULL;

    if (!images)
        return NULL;
    find_active(sandboxes, running, volumes);
    g_ptr_array_add(result, images);
    g_ptr_array_add(result, count_directory(home, "sandboxes", "sandboxes", running));
    g_ptr_array_add(result, count_directory(home, "volumes", "volumes", volumes));
    g_ptr_array_add(result, count_directory(home, "snapshots", "snapshots", NULL));
    g_ptr_array_add(result, count_directory(home, "kernel", "kernels", NULL));
    return g_steal_pointer(&result);
}

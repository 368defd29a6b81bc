/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Garbage of the image store.  Roots are the manifests that the index names
 * and those that sandboxes and snapshots were made from; a root leads to its manifest, its
 * configuration, its layers and, by the configuration's diff_ids, the converted
 * layers.  If any of the documents on the way cannot be read, nothing is
 * removed: what it leads to is not known.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-digest.h"
#include "msb-error.h"
#include "msb-store.h"

#define MAX_VERSION G_MAXINT64  /* only the image's digest is read here */

typedef struct {
    GHashTable *blobs;    /* hexadecimal part of the digest, set */
    GHashTable *layers;   /* name of the file, set */
} Live;

/* Add who a document says the image belongs to: member, or that of the object called within. */
static void
add_user(GHashTable *users, const char *kind, const char *name, JsonObject *object, const char *within,
         const char *member)
{
    JsonNode *node = within ? json_object_get_member(object, within) : NULL;

    if (node && JSON_NODE_HOLDS_OBJECT(node))
        object = json_node_get_object(node);
    else if (within)
        return;
    node = json_object_get_member(object, member);
    if (node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING &&
        msb_digest_is_valid(json_node_get_string(node)))
        g_hash_table_insert(users, g_strconcat(kind, " ", name, NULL), g_strdup(json_node_get_string(node)));
}

/* Those of one directory of the state directory, each described by the file called so. */
static gboolean
read_users(MsbHome *home, GHashTable *users, const char *directory, const char *kind, const char *description,
           GError **error)
{
    g_autofree char *path = msb_home_build_path(home, directory, NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = msb_home_build_path(home, directory, name, description, NULL);
        g_autoptr(JsonObject) object = NULL;

        if (!g_file_test(file, G_FILE_TEST_EXISTS))
            continue;
        object = msb_state_load(file, MAX_VERSION, error);
        if (!object)
            return FALSE;
        add_user(users, kind, name, object, NULL, "image_digest");
        add_user(users, kind, name, object, "image", "manifest_digest");
    }
    return TRUE;
}

GHashTable *
msb_store_read_users(MsbHome *home, GError **error)
{
    g_autoptr(GHashTable) users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    if (!read_users(home, users, "sandboxes", "sandbox", "config.json", error) ||
        !read_users(home, users, "snapshots", "snapshot", "snapshot.json", error))
        return NULL;
    return g_steal_pointer(&users);
}

static gint
compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char **
msb_store_users_of(MsbHome *home, const char *digest, GError **error)
{
    g_autoptr(GHashTable) users = msb_store_read_users(home, error);
    g_autoptr(GPtrArray) names = NULL;
    GHashTableIter iter;
    gpointer name, used;

    if (!users)
        return NULL;
    names = g_ptr_array_new_with_free_func(g_free);
    g_hash_table_iter_init(&iter, users);
    while (g_hash_table_iter_next(&iter, &name, &used)) {
        if (strcmp(used, digest) == 0)
            g_ptr_array_add(names, g_strdup(name));
    }
    g_ptr_array_sort(names, compare_strings);
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_steal(names, NULL);
}

static gboolean
mark_image(MsbHome *home, const char *digest, Live *live, GError **error)
{
    g_autoptr(GBytes) bytes = NULL, config_bytes = NULL;
    g_autoptr(MsbOciManifest) manifest = NULL;
    g_autoptr(MsbOciConfig) config = NULL;

    if (!g_hash_table_add(live->blobs, g_strdup(msb_digest_hex(digest))))
        return TRUE;
    bytes = msb_store_read_blob(home, digest, digest, error);
    if (!bytes)
        return FALSE;
    manifest = msb_oci_manifest_parse(digest, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    if (!manifest)
        return FALSE;
    if (!manifest->config)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "%s is not the manifest of an image", digest);
    config_bytes = msb_store_read_blob(home, manifest->config->digest, manifest->config->digest, error);
    if (!config_bytes)
        return FALSE;
    config = msb_oci_config_parse(manifest->config->digest, g_bytes_get_data(config_bytes, NULL),
                                  g_bytes_get_size(config_bytes), error);
    if (!config)
        return FALSE;
    g_hash_table_add(live->blobs, g_strdup(msb_digest_hex(manifest->config->digest)));
    for (guint i = 0; i < manifest->layers->len; i++) {
        const MsbOciDescriptor *layer = g_ptr_array_index(manifest->layers, i);

        g_hash_table_add(live->blobs, g_strdup(msb_digest_hex(layer->digest)));
    }
    for (guint i = 0; config->diff_ids[i]; i++) {
        g_autofree char *path = msb_store_find_layer(home, (const char *const *)config->diff_ids, i);

        if (path)
            g_hash_table_add(live->layers, g_path_get_basename(path));
    }
    return TRUE;
}

/* Everything that these entries and the users of images lead to. */
static gboolean
mark(MsbHome *home, const GPtrArray *entries, Live *live, GError **error)
{
    g_autoptr(GHashTable) users = msb_store_read_users(home, error);
    GHashTableIter iter;
    gpointer digest;

    if (!users)
        return FALSE;
    for (guint i = 0; i < entries->len; i++) {
        if (!mark_image(home, ((MsbStoreEntry *)g_ptr_array_index(entries, i))->digest, live, error))
            return FALSE;
    }
    g_hash_table_iter_init(&iter, users);
    while (g_hash_table_iter_next(&iter, NULL, &digest)) {
        g_autofree char *path = msb_store_blob_path(home, digest);

        /* A sandbox may outlive its image by force: then there is nothing left to keep. */
        if (g_file_test(path, G_FILE_TEST_EXISTS) && !mark_image(home, digest, live, error))
            return FALSE;
    }
    return TRUE;
}

static Live *
live_new(void)
{
    Live *live = g_new0(Live, 1);

    live->blobs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    live->layers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return live;
}

static void
live_free(Live *live)
{
    g_hash_table_unref(live->blobs);
    g_hash_table_unref(live->layers);
    g_free(live);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Live, live_free)

/* Remove every file of a directory whose name is not in the set. */
static gboolean
sweep(const char *path, GHashTable *keep, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        if (!(keep && g_hash_table_contains(keep, name)) && !msb_paths_remove_tree(file, error))
            return FALSE;
    }
    return TRUE;
}

static MsbLock *
lock_store(MsbHome *home, gboolean *busy, GError **error)
{
    g_autofree char *path = msb_home_build_path(home, "images", "lock", NULL);
    g_autoptr(GError) local = NULL;
    MsbLock *lock = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, 0, &local);

    *busy = !lock && g_error_matches(local, MSB_ERROR, MSB_ERROR_IN_USE);
    if (!lock && !*busy)
        g_propagate_error(error, g_steal_pointer(&local));
    return lock;
}

gboolean
msb_store_collect(MsbHome *home, GError **error)
{
    g_autofree char *blobs = msb_home_build_path(home, "images", "blobs", "sha256", NULL);
    g_autofree char *layers = msb_home_build_path(home, "images", "layers", NULL);
    g_autofree char *tmp = msb_home_build_path(home, "images", "tmp", NULL);
    gboolean busy;
    g_autoptr(MsbLock) lock = lock_store(home, &busy, error);
    g_autoptr(GPtrArray) entries = lock ? msb_store_read_index(home, error) : NULL;
    g_autoptr(Live) live = live_new();

    if (!lock)
        return busy;
    return entries && sweep(tmp, NULL, error) && mark(home, entries, live, error) &&
           sweep(blobs, live->blobs, error) && sweep(layers, live->layers, error);
}

/* ---- measuring ------------------------------------------------------------------------------ */

/* Count the files of a directory by whether their names are in keep. */
static void
measure(const char *path, GHashTable *keep, guint64 *used, guint64 *unused, guint *n_unused)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        struct stat st;

        if (lstat(file, &st) < 0)
            continue;
        if (g_hash_table_contains(keep, name)) {
            *used += (guint64)st.st_blocks * 512;
        } else {
            *unused += (guint64)st.st_blocks * 512;
            (*n_unused)++;
        }
    }
}

gboolean
msb_store_measure(MsbHome *home, const GPtrArray *entries, MsbStoreUse *use, GError **error)
{
    g_autofree char *blobs = msb_home_build_path(home, "images", "blobs", "sha256", NULL);
    g_autofree char *layers = msb_home_build_path(home, "images", "layers", NULL);
    g_autoptr(Live) live = live_new();

    *use = (MsbStoreUse){0};
    if (!mark(home, entries, live, error))
        return FALSE;
    measure(blobs, live->blobs, &use->used, &use->unused, &use->unused_blobs);
    measure(layers, live->layers, &use->used, &use->unused, &use->unused_layers);
    return TRUE;
}

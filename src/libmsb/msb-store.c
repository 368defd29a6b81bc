/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The image store: content and index. See the header. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-digest.h"
#include "msb-error.h"
#include "msb-json.h"
#include "msb-store.h"

#define INDEX_VERSION 1
#define MAX_IMAGES 100000

void
msb_store_entry_free(MsbStoreEntry *entry)
{
    if (!entry)
        return;
    g_free(entry->reference);
    g_free(entry->digest);
    g_free(entry);
}

/* ---- opening ---------------------------------------------------------------------- */

static gboolean
make_directories(MsbHome *home, GError **error)
{
    g_autofree char *blobs = msb_home_build_path(home, "images", "blobs", "sha256", NULL);
    g_autofree char *layers = msb_home_build_path(home, "images", "layers", NULL);
    g_autofree char *tmp = msb_home_build_path(home, "images", "tmp", NULL);

    return msb_paths_make_dir(blobs, 0700, error) && msb_paths_make_dir(layers, 0700, error) &&
           msb_paths_make_dir(tmp, 0700, error);
}

MsbLock *
msb_store_hold(MsbHome *home, GError **error)
{
    g_autofree char *path = msb_home_build_path(home, "images", "lock", NULL);

    return msb_lock_acquire(path, MSB_LOCK_SHARED, -1, error);
}

MsbStore *
msb_store_open(MsbHome *home, GError **error)
{
    g_autoptr(MsbStore) store = g_new0(MsbStore, 1);
    g_autoptr(MsbSettings) settings = NULL;

    if (!make_directories(home, error))
        return NULL;
    store->home = msb_home_ref(home);
    settings = msb_settings_load(home, error);
    store->lock = settings ? msb_store_hold(home, error) : NULL;
    if (!store->lock)
        return NULL;
    store->limits = settings->limits;
    store->tmp = msb_home_build_path(home, "images", "tmp", "work-XXXXXX", NULL);
    if (!g_mkdtemp_full(store->tmp, 0700)) {
        int saved = errno;

        msb_error_set_errno(error, saved, "make a directory '%s'", store->tmp);
        g_clear_pointer(&store->tmp, g_free);
        return NULL;
    }
    return g_steal_pointer(&store);
}

void
msb_store_close(MsbStore *store)
{
    if (!store)
        return;
    if (store->tmp)
        msb_paths_remove_tree(store->tmp, NULL);
    if (store->lock) {
        msb_lock_release(store->lock);
        msb_store_collect(store->home, NULL);
    }
    g_clear_pointer(&store->home, msb_home_unref);
    g_free(store->tmp);
    g_free(store);
}

/* ---- content ------------------------------------------------------------------------ */

char *
msb_store_blob_path(const MsbHome *home, const char *digest)
{
    return msb_home_build_path(home, "images", "blobs", "sha256", msb_digest_hex(digest), NULL);
}

/* The chain id of layer number i: that of the lowest is its diff_id. */
static char *
chain_id(const char *const *diff_ids, guint i)
{
    char *id = g_strdup(diff_ids[0]);

    for (guint j = 1; j <= i; j++) {
        g_autofree char *below = id;
        g_autofree char *both = g_strconcat(below, " ", diff_ids[j], NULL);

        id = msb_digest_of_bytes(both, strlen(both));
    }
    return id;
}

char *
msb_store_layer_path(const MsbHome *home, const char *const *diff_ids, guint i, gboolean chained)
{
    g_autofree char *chain = chained ? chain_id(diff_ids, i) : NULL;
    g_autofree char *name =
        g_strconcat(msb_digest_hex(chain ? chain : diff_ids[i]), chained ? ".chained" : "", ".erofs", NULL);

    return msb_home_build_path(home, "images", "layers", name, NULL);
}

char *
msb_store_find_layer(const MsbHome *home, const char *const *diff_ids, guint i)
{
    for (gboolean chained = FALSE; chained <= TRUE; chained++) {
        g_autofree char *path = msb_store_layer_path(home, diff_ids, i, chained);

        if (g_file_test(path, G_FILE_TEST_EXISTS))
            return g_steal_pointer(&path);
    }
    return NULL;
}

GBytes *
msb_store_read_blob(MsbHome *home, const char *what, const char *digest, GError **error)
{
    g_autofree char *path = msb_store_blob_path(home, digest);
    g_autofree char *got = NULL;
    char *text = NULL;
    size_t length;
    g_autoptr(GBytes) bytes = NULL;
    int r = mb_read_file_at(AT_FDCWD, path, MSB_OCI_MAX_DOCUMENT, &text, &length);

    if (r < 0) {
        msb_error_set_errno(error, -r, "%s, '%s'", what, path);
        return NULL;
    }
    bytes = g_bytes_new_with_free_func(text, length, free, text);
    got = msb_digest_of_bytes(text, length);
    return msb_digest_check(what, digest, got, error) ? g_steal_pointer(&bytes) : NULL;
}

static gboolean
sync_directory_of(const char *path, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(path);
    mb_autofd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return msb_error_set_errno(error, errno, "sync the directory '%s'", dir);
    return TRUE;
}

gboolean
msb_store_publish(const char *file, const char *path, GError **error)
{
    mb_autofd int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 || fsync(fd) < 0)
        return msb_error_set_errno(error, errno, "sync '%s'", file);
    if (rename(file, path) < 0)
        return msb_error_set_errno(error, errno, "rename '%s' to '%s'", file, path);
    return sync_directory_of(path, error);
}

gboolean
msb_store_add_blob(MsbStore *store, const void *bytes, gsize n, const char *digest, GError **error)
{
    g_autofree char *path = msb_store_blob_path(store->home, digest);
    g_autofree char *file = g_build_filename(store->tmp, "document", NULL);

    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return TRUE;
    if (!g_file_set_contents_full(file, bytes, (gssize)n, G_FILE_SET_CONTENTS_NONE, 0600, error)) {
        g_prefix_error(error, "write '%s': ", file);
        return FALSE;
    }
    return msb_store_publish(file, path, error);
}

/* ---- index ---------------------------------------------------------------------------- */

static char *
index_path(MsbHome *home)
{
    return msb_home_build_path(home, "images", "index.json", NULL);
}

static MsbStoreEntry *
read_entry(JsonNode *node, GError **error)
{
    MsbStoreEntry *entry = g_new0(MsbStoreEntry, 1);
    g_autoptr(GError) local = NULL;
    MsbJsonReader reader;

    msb_json_reader_begin(&reader, node, "images/index.json");
    msb_json_reader_allow_unknown(&reader);
    entry->reference = g_strdup(msb_json_get_string(&reader, "reference"));
    entry->digest = g_strdup(msb_json_get_string(&reader, "digest"));
    entry->created = msb_json_get_int(&reader, "created", 0, 0, G_MAXINT64);
    if (!entry->reference || !msb_digest_is_valid(entry->digest))
        msb_json_reader_fail(&reader, "an image without reference or digest");
    if (msb_json_reader_end(&reader, &local))
        return entry;
    msb_error_set(error, MSB_ERROR_CORRUPT, "%s", local->message);
    msb_store_entry_free(entry);
    return NULL;
}

GPtrArray *
msb_store_read_index(MsbHome *home, GError **error)
{
    g_autofree char *path = index_path(home);
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify)msb_store_entry_free);
    g_autoptr(JsonObject) object = NULL;
    JsonNode *list;
    JsonArray *array;

    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return g_steal_pointer(&entries);
    object = msb_state_load(path, INDEX_VERSION, error);
    if (!object)
        return NULL;
    list = json_object_get_member(object, "images");
    array = list && JSON_NODE_HOLDS_ARRAY(list) ? json_node_get_array(list) : NULL;
    if (!array || json_array_get_length(array) > MAX_IMAGES) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "'%s' has no list of images", path);
        return NULL;
    }
    for (guint i = 0; i < json_array_get_length(array); i++) {
        MsbStoreEntry *entry = read_entry(json_array_get_element(array, i), error);

        if (!entry)
            return NULL;
        g_ptr_array_add(entries, entry);
    }
    return g_steal_pointer(&entries);
}

static gboolean
write_index(MsbHome *home, const GPtrArray *entries, GError **error)
{
    g_autofree char *path = index_path(home);
    g_autoptr(JsonObject) object = json_object_new();
    JsonArray *array = json_array_new();

    for (guint i = 0; i < entries->len; i++) {
        const MsbStoreEntry *entry = g_ptr_array_index(entries, i);
        JsonObject *one = json_object_new();

        json_object_set_string_member(one, "reference", entry->reference);
        json_object_set_string_member(one, "digest", entry->digest);
        json_object_set_int_member(one, "created", entry->created);
        json_array_add_object_element(array, one);
    }
    json_object_set_int_member(object, "version", INDEX_VERSION);
    json_object_set_array_member(object, "images", array);
    return msb_state_save(path, object, error);
}

static MsbLock *
lock_index(MsbHome *home, GError **error)
{
    g_autofree char *path = msb_home_build_path(home, "images", "index.lock", NULL);

    return msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, -1, error);
}

static void
drop_reference(GPtrArray *entries, const char *reference)
{
    for (guint i = 0; i < entries->len; i++) {
        const MsbStoreEntry *entry = g_ptr_array_index(entries, i);

        if (strcmp(entry->reference, reference) == 0) {
            g_ptr_array_remove_index(entries, i);
            return;
        }
    }
}

gboolean
msb_store_tag(MsbStore *store, const char *const *references, const char *const *digests, GError **error)
{
    g_autoptr(MsbLock) lock = lock_index(store->home, error);
    g_autoptr(GPtrArray) entries = lock ? msb_store_read_index(store->home, error) : NULL;

    if (!entries)
        return FALSE;
    for (; *references; references++, digests++) {
        MsbStoreEntry *entry = g_new0(MsbStoreEntry, 1);

        drop_reference(entries, *references);
        entry->reference = g_strdup(*references);
        entry->digest = g_strdup(*digests);
        entry->created = g_get_real_time();
        g_ptr_array_add(entries, entry);
    }
    return write_index(store->home, entries, error);
}

gboolean
msb_store_untag(MsbStore *store, MsbStoreChoose choose, gpointer data, GError **error)
{
    g_autoptr(MsbLock) lock = lock_index(store->home, error);
    g_autoptr(GPtrArray) entries = lock ? msb_store_read_index(store->home, error) : NULL;
    g_autoptr(GPtrArray) references = g_ptr_array_new_with_free_func(g_free);

    if (!entries || !choose(entries, data, references, error))
        return FALSE;
    for (guint i = 0; i < references->len; i++)
        drop_reference(entries, g_ptr_array_index(references, i));
    return write_index(store->home, entries, error);
}

gboolean
msb_store_untag_unused(MsbStore *store, gboolean only_look, GPtrArray **entries, GPtrArray *removed, GError **error)
{
    g_autoptr(MsbLock) lock = lock_index(store->home, error);
    g_autoptr(GPtrArray) all = lock ? msb_store_read_index(store->home, error) : NULL;
    g_autoptr(GHashTable) users = all ? msb_store_read_users(store->home, error) : NULL;
    g_autoptr(GHashTable) needed = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    gpointer digest;

    if (!users)
        return FALSE;
    g_hash_table_iter_init(&iter, users);
    while (g_hash_table_iter_next(&iter, NULL, &digest))
        g_hash_table_add(needed, digest);
    for (guint i = 0; i < all->len;) {
        const MsbStoreEntry *entry = g_ptr_array_index(all, i);

        if (g_hash_table_contains(needed, entry->digest)) {
            i++;
            continue;
        }
        g_ptr_array_add(removed, g_strdup(entry->reference));
        g_ptr_array_remove_index(all, i);
    }
    if (!only_look && removed->len > 0 && !write_index(store->home, all, error))
        return FALSE;
    *entries = g_steal_pointer(&all);
    return TRUE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images in the store: read, looked up, listed. */
#include <config.h>

#include <string.h>
#include <sys/stat.h>

#include "msb-digest.h"
#include "msb-error.h"
#include "msb-image-private.h"
#include "msb-json.h"
#include "msb-reference.h"
#include "msb-refs.h"

#define MIN_PREFIX 4      /* hexadecimal digits that may stand for a digest */

struct _MsbImage {
    gatomicrefcount refs;
    char *reference;
    char *digest;
    gint64 created;
    guint64 size;
    GPtrArray *layer_paths;
    MsbOciConfig *config;
    GBytes *config_bytes;
};

static void
image_free(MsbImage *image)
{
    g_free(image->reference);
    g_free(image->digest);
    g_clear_pointer(&image->layer_paths, g_ptr_array_unref);
    g_clear_pointer(&image->config_bytes, g_bytes_unref);
    msb_oci_config_free(image->config);
    g_free(image);
}

MSB_DEFINE_REFS(MsbImage, msb_image, image_free)

const char *
msb_image_get_reference(const MsbImage *image)
{
    return image->reference;
}

const char *
msb_image_get_digest(const MsbImage *image)
{
    return image->digest;
}

const char *
msb_image_get_architecture(const MsbImage *image)
{
    return image->config->architecture;
}

const char *
msb_image_get_os(const MsbImage *image)
{
    return image->config->os;
}

gint64
msb_image_get_created(const MsbImage *image)
{
    return image->created;
}

guint64
msb_image_get_size(const MsbImage *image)
{
    return image->size;
}

guint
msb_image_get_n_layers(const MsbImage *image)
{
    return image->layer_paths->len;
}

const char *
msb_image_get_diff_id(const MsbImage *image, guint layer)
{
    return layer < image->layer_paths->len ? image->config->diff_ids[layer] : NULL;
}

const char *
msb_image_get_layer_path(const MsbImage *image, guint layer)
{
    return layer < image->layer_paths->len ? g_ptr_array_index(image->layer_paths, layer) : NULL;
}

const char *const *
msb_image_get_env(const MsbImage *image)
{
    static const char *const none[] = {NULL};

    return image->config->env ? (const char *const *)image->config->env : none;
}

const char *const *
msb_image_get_entrypoint(const MsbImage *image)
{
    return (const char *const *)image->config->entrypoint;
}

const char *const *
msb_image_get_cmd(const MsbImage *image)
{
    return (const char *const *)image->config->cmd;
}

const char *
msb_image_get_workdir(const MsbImage *image)
{
    return image->config->workdir;
}

const char *
msb_image_get_user(const MsbImage *image)
{
    return image->config->user;
}

GBytes *
msb_image_get_config_bytes(const MsbImage *image)
{
    return image->config_bytes;
}

/* ---- reading -------------------------------------------------------------------------- */

static gboolean
find_layers(MsbImage *image, MsbHome *home, GError **error)
{
    image->layer_paths = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; image->config->diff_ids[i]; i++) {
        char *path = msb_store_find_layer(home, (const char *const *)image->config->diff_ids, i);
        struct stat st;

        if (!path || stat(path, &st) < 0) {
            g_free(path);
            return msb_error_set(error, MSB_ERROR_CORRUPT,
                                 "layer %s of image '%s' is missing in the store: load it again",
                                 image->config->diff_ids[i], image->reference);
        }
        g_ptr_array_add(image->layer_paths, path);
        image->size += (guint64)st.st_size;
    }
    return TRUE;
}

MsbOciManifest *
msb_image_read_manifest(MsbHome *home, const char *digest, GBytes **out, GError **error)
{
    g_autofree char *what = g_strconcat("manifest ", digest, NULL);
    g_autoptr(GBytes) bytes = msb_store_read_blob(home, what, digest, error);
    g_autoptr(MsbOciManifest) manifest = NULL;

    if (!bytes)
        return NULL;
    manifest = msb_oci_manifest_parse(what, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    if (manifest && !manifest->config) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "%s is an index, not an image", what);
        return NULL;
    }
    if (manifest && out)
        *out = g_steal_pointer(&bytes);
    return g_steal_pointer(&manifest);
}

MsbImage *
msb_image_read(MsbHome *home, const char *reference, const char *digest, gint64 created, GError **error)
{
    g_autoptr(MsbImage) image = g_new0(MsbImage, 1);
    g_autoptr(MsbOciManifest) manifest = NULL;
    g_autofree char *what = NULL;

    g_atomic_ref_count_init(&image->refs);
    image->reference = g_strdup(reference ? reference : digest);
    image->digest = g_strdup(digest);
    image->created = created;
    manifest = msb_image_read_manifest(home, digest, NULL, error);
    if (!manifest)
        return NULL;
    what = g_strconcat("configuration of image ", image->reference, NULL);
    image->config_bytes = msb_store_read_blob(home, what, manifest->config->digest, error);
    if (!image->config_bytes)
        return NULL;
    image->config = msb_oci_config_parse(what, g_bytes_get_data(image->config_bytes, NULL),
                                         g_bytes_get_size(image->config_bytes), error);
    if (!image->config || !msb_image_check_config(image->config, manifest->layers->len, what, error) ||
        !find_layers(image, home, error))
        return NULL;
    return g_steal_pointer(&image);
}

/* ---- looking up ------------------------------------------------------------------------ */

static MsbImage *
read_entry(MsbHome *home, const MsbStoreEntry *entry, GError **error)
{
    return msb_image_read(home, entry->reference, entry->digest, entry->created, error);
}

/* The hexadecimal digits if text may stand for a digest, else NULL. */
static const char *
digest_prefix(const char *text)
{
    const char *hex = g_str_has_prefix(text, "sha256:") ? text + strlen("sha256:") : text;
    gsize length = strlen(hex);

    return length >= MIN_PREFIX && length <= MSB_DIGEST_HEX_LENGTH &&
                   strspn(hex, "0123456789abcdef") == length
               ? hex
               : NULL;
}

/* An entry of this repository, for this digest: the manifest's, or that of the index it was found through,
 * under which a pinned image is filed. */
static gboolean
has_digest(const MsbStoreEntry *entry, const char *repository, const char *digest)
{
    const char *rest = entry->reference + strlen(repository);

    if (!g_str_has_prefix(entry->reference, repository) || (*rest != ':' && *rest != '@'))
        return FALSE;
    return strcmp(entry->digest, digest) == 0 || (*rest == '@' && strcmp(rest + 1, digest) == 0);
}

/* By name. A digest in the reference decides, whatever tag of the repository has it (a tag may have moved
 * since). NULL without an error: there is none. */
static const MsbStoreEntry *
find_by_name(const GPtrArray *entries, const char *text)
{
    g_autoptr(MsbReference) reference = msb_reference_parse(text, NULL);
    g_autofree char *name = NULL;

    if (!reference)
        return NULL;
    name = reference->digest ? g_strconcat(reference->registry, "/", reference->repository, NULL)
                             : msb_reference_dup_name(reference);
    for (guint i = 0; i < entries->len; i++) {
        const MsbStoreEntry *entry = g_ptr_array_index(entries, i);
        gboolean named = strcmp(entry->reference, name) == 0;

        if (reference->digest)
            named = has_digest(entry, name, reference->digest);
        if (named)
            return entry;
    }
    return NULL;
}

/* By digest; AMBIGUOUS prefixes are an error. */
static gboolean
find_by_digest(const GPtrArray *entries, const char *text, const MsbStoreEntry **found, GError **error)
{
    const char *hex = digest_prefix(text);

    *found = NULL;
    for (guint i = 0; hex && i < entries->len; i++) {
        const MsbStoreEntry *entry = g_ptr_array_index(entries, i);

        if (!g_str_has_prefix(msb_digest_hex(entry->digest), hex))
            continue;
        if (*found && strcmp((*found)->digest, entry->digest) != 0)
            return msb_error_set(error, MSB_ERROR_INVALID,
                                 "'%s' is the beginning of more than one image's digest: %s, %s",
                                 text, (*found)->digest, entry->digest);
        if (!*found)
            *found = entry;
    }
    return TRUE;
}

gboolean
msb_image_find_entry(const GPtrArray *entries, const char *text, const MsbStoreEntry **found, gboolean *by_name,
                     GError **error)
{
    *found = find_by_name(entries, text);
    *by_name = *found != NULL;
    return *found || find_by_digest(entries, text, found, error);
}

gboolean
msb_image_set_not_found(const char *text, GError **error)
{
    g_autofree char *shown = g_utf8_make_valid(text, -1);

    return msb_error_set(
        error, MSB_ERROR_NOT_FOUND,
        "image '%s' is not in the store: 'msb image ls' lists what is, 'msb pull', 'msb load' and 'msb import' add "
        "to it",
        shown);
}

MsbImage *
msb_image_lookup(MsbHome *home, const char *text, GError **error)
{
    g_autoptr(GPtrArray) entries = msb_store_read_index(home, error);
    const MsbStoreEntry *entry;
    gboolean by_name;

    if (!entries || !msb_image_find_entry(entries, text, &entry, &by_name, error))
        return NULL;
    if (entry)
        return read_entry(home, entry, error);
    if (msb_digest_is_valid(text)) {
        /* The image of a sandbox whose name went to another one. */
        g_autofree char *path = msb_store_blob_path(home, text);

        if (g_file_test(path, G_FILE_TEST_EXISTS))
            return msb_image_read(home, NULL, text, 0, error);
    }
    msb_image_set_not_found(text, error);
    return NULL;
}

static gint
newest_first(gconstpointer a, gconstpointer b)
{
    const MsbImage *x = *(const MsbImage *const *)a, *y = *(const MsbImage *const *)b;

    if (x->created != y->created)
        return x->created < y->created ? 1 : -1;
    return strcmp(x->reference, y->reference);
}

GPtrArray *
msb_image_list(MsbHome *home, GError **error)
{
    g_autoptr(GPtrArray) images = g_ptr_array_new_with_free_func((GDestroyNotify)msb_image_unref);
    g_autoptr(GPtrArray) entries = msb_store_read_index(home, error);

    if (!entries)
        return NULL;
    for (guint i = 0; i < entries->len; i++) {
        MsbImage *image = read_entry(home, g_ptr_array_index(entries, i), error);

        if (!image)
            return NULL;
        g_ptr_array_add(images, image);
    }
    g_ptr_array_sort(images, newest_first);
    return g_steal_pointer(&images);
}

/* ---- showing ----------------------------------------------------------------------------- */

char *
msb_image_dup_json(const MsbImage *image)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    g_autoptr(JsonNode) root = NULL, config = NULL;
    g_autoptr(GDateTime) created = g_date_time_new_from_unix_utc(image->created / G_USEC_PER_SEC);
    g_autofree char *when = created ? g_date_time_format_iso8601(created) : NULL;

    config = msb_json_parse("image configuration", g_bytes_get_data(image->config_bytes, NULL),
                            g_bytes_get_size(image->config_bytes), NULL);
    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "reference");
    json_builder_add_string_value(builder, image->reference);
    json_builder_set_member_name(builder, "digest");
    json_builder_add_string_value(builder, image->digest);
    json_builder_set_member_name(builder, "loaded");
    json_builder_add_string_value(builder, when ? when : "");
    json_builder_set_member_name(builder, "size");
    json_builder_add_int_value(builder, (gint64)image->size);
    json_builder_set_member_name(builder, "layers");
    json_builder_begin_array(builder);
    for (guint i = 0; i < image->layer_paths->len; i++) {
        json_builder_begin_object(builder);
        json_builder_set_member_name(builder, "diff_id");
        json_builder_add_string_value(builder, image->config->diff_ids[i]);
        json_builder_set_member_name(builder, "path");
        json_builder_add_string_value(builder, g_ptr_array_index(image->layer_paths, i));
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
    if (config) {
        json_builder_set_member_name(builder, "config");
        json_builder_add_value(builder, g_steal_pointer(&config));
    }
    json_builder_end_object(builder);
    root = json_builder_get_root(builder);
    return msb_json_to_string(root, TRUE);
}

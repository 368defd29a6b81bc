/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * OCI image layouts.  index.json leads to manifests, directly or through
 * further indexes; of an index that offers several platforms the one for this
 * machine is taken.  Documents go into the store as they are, byte for byte.
 */
#include <config.h>

#include <string.h>

#include "msb-digest.h"
#include "msb-error.h"
#include "msb-image-private.h"

#define MAX_DEPTH 8

static char *
blob_name(const char *digest)
{
    return g_strconcat("blobs/sha256/", msb_digest_hex(digest), NULL);
}

/* A document of the layout, verified. */
static GBytes *
read_document(MsbImageLoad *load, const MsbOciDescriptor *descriptor, GError **error)
{
    g_autofree char *name = blob_name(descriptor->digest);
    g_autoptr(GBytes) bytes = msb_archive_read(load->archive, name, error);
    g_autofree char *got = NULL;

    if (!bytes)
        return NULL;
    got = msb_digest_of_bytes(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
    if (!msb_digest_check(name, descriptor->digest, got, error))
        return NULL;
    return g_steal_pointer(&bytes);
}

static gboolean
store_document(MsbImageLoad *load, GBytes *bytes, const char *digest, GError **error)
{
    return msb_store_add_blob(load->store, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), digest,
                              error);
}

static gboolean
load_layers(MsbImageLoad *load, const MsbOciManifest *manifest, const MsbOciConfig *config, GError **error)
{
    for (guint i = 0; i < manifest->layers->len; i++) {
        const MsbOciDescriptor *layer = g_ptr_array_index(manifest->layers, i);
        g_autofree char *name = blob_name(layer->digest);
        g_autofree char *what = g_strdup_printf("layer %u (%s)", i + 1, layer->digest);
        g_autoptr(MsbOciDescriptor) got = msb_image_load_layer(
            load, name, what, layer->digest, (const char *const *)config->diff_ids, i, error);

        if (!got)
            return FALSE;
        if (got->size != layer->size)
            return msb_error_set(error, MSB_ERROR_CORRUPT,
                                 "%s has %" G_GUINT64_FORMAT " bytes, its manifest says %" G_GUINT64_FORMAT,
                                 what, got->size, layer->size);
    }
    return TRUE;
}

/* Everything of one image into the store; bytes: its manifest. */
static gboolean
load_image(MsbImageLoad *load, const MsbOciDescriptor *descriptor, GBytes *bytes,
           const MsbOciManifest *manifest, GError **error)
{
    g_autoptr(GBytes) config_bytes = read_document(load, manifest->config, error);
    g_autoptr(MsbOciConfig) config = NULL;
    g_autofree char *what = g_strconcat("configuration ", manifest->config->digest, NULL);

    if (!config_bytes)
        return FALSE;
    config = msb_oci_config_parse(what, g_bytes_get_data(config_bytes, NULL), g_bytes_get_size(config_bytes),
                                  error);
    return config && msb_image_check_platform(config->os, config->architecture, what, error) &&
           msb_image_check_config(config, manifest->layers->len, what, error) &&
           load_layers(load, manifest, config, error) &&
           store_document(load, config_bytes, manifest->config->digest, error) &&
           store_document(load, bytes, descriptor->digest, error);
}

/* The entries of an index that can be meant. */
static gboolean
is_candidate(const MsbOciDescriptor *descriptor)
{
    return !descriptor->attestation && msb_oci_platform_matches(descriptor->os, descriptor->architecture);
}

static gboolean
no_candidate(const GPtrArray *manifests, const char *what, GError **error)
{
    g_autoptr(GString) offers = g_string_new(NULL);

    for (guint i = 0; i < manifests->len; i++) {
        const MsbOciDescriptor *descriptor = g_ptr_array_index(manifests, i);

        if (!descriptor->attestation)
            g_string_append_printf(offers, "%s%s/%s", offers->len ? ", " : "",
                                   descriptor->os ? descriptor->os : "?",
                                   descriptor->architecture ? descriptor->architecture : "?");
    }
    return msb_error_set(error, MSB_ERROR_UNSUPPORTED, "%s has no image for linux/%s (it has: %s)", what,
                         msb_oci_host_architecture(), offers->len ? offers->str : "none");
}

/* Follow a descriptor to the one image it stands for. *digest: transfer full. */
static gboolean
load_descriptor(MsbImageLoad *load, const MsbOciDescriptor *descriptor, guint depth, char **digest,
                GError **error)
{
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(MsbOciManifest) manifest = NULL;
    g_autofree char *what = g_strconcat("manifest ", descriptor->digest, NULL);

    if (depth > MAX_DEPTH)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "%s: indexes are nested too deeply", what);
    bytes = read_document(load, descriptor, error);
    if (!bytes)
        return FALSE;
    manifest = msb_oci_manifest_parse(what, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    if (!manifest)
        return FALSE;
    if (!manifest->manifests) {
        *digest = g_strdup(descriptor->digest);
        return load_image(load, descriptor, bytes, manifest, error);
    }
    for (guint i = 0; i < manifest->manifests->len; i++) {
        const MsbOciDescriptor *inner = g_ptr_array_index(manifest->manifests, i);

        if (is_candidate(inner))
            return load_descriptor(load, inner, depth + 1, digest, error);
    }
    return no_candidate(manifest->manifests, what, error);
}

/* docker save's hybrid: names of an image that index.json does not name are in manifest.json. */
static void
add_docker_names(MsbImageLoad *load, MsbLoadedImage *image, guint position)
{
    g_autoptr(GBytes) bytes = msb_archive_read(load->archive, "manifest.json", NULL);
    g_autoptr(GPtrArray) docker = NULL;

    if (bytes)
        docker = msb_docker_manifest_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), NULL);
    if (docker && position < docker->len) {
        const MsbDockerImage *one = g_ptr_array_index(docker, position);

        for (char **tag = one->tags; *tag; tag++)
            g_ptr_array_add(image->names, g_strdup(*tag));
    }
}

static MsbLoadedImage *
find_loaded(const GPtrArray *images, const char *digest)
{
    for (guint i = 0; i < images->len; i++) {
        MsbLoadedImage *image = g_ptr_array_index(images, i);

        if (strcmp(image->digest, digest) == 0)
            return image;
    }
    return NULL;
}

static gboolean
load_entry(MsbImageLoad *load, const MsbOciDescriptor *descriptor, GPtrArray *images, GError **error)
{
    g_autofree char *digest = NULL;
    MsbLoadedImage *image;

    if (!load_descriptor(load, descriptor, 0, &digest, error))
        return FALSE;
    image = find_loaded(images, digest);
    if (!image) {
        image = g_new0(MsbLoadedImage, 1);
        image->digest = g_steal_pointer(&digest);
        image->names = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_add(images, image);
    }
    if (descriptor->name)
        g_ptr_array_add(image->names, g_strdup(descriptor->name));
    return TRUE;
}

GPtrArray *
msb_image_load_oci(MsbImageLoad *load, GError **error)
{
    g_autoptr(GPtrArray) images = g_ptr_array_new_with_free_func((GDestroyNotify)msb_loaded_image_free);
    g_autoptr(GBytes) bytes = msb_archive_read(load->archive, "index.json", error);
    g_autoptr(MsbOciManifest) index = NULL;

    if (!bytes)
        return NULL;
    index =
        msb_oci_manifest_parse("index.json", g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    if (!index)
        return NULL;
    if (!index->manifests) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "index.json of '%s' has no list of manifests",
                      msb_archive_get_path(load->archive));
        return NULL;
    }
    for (guint i = 0; i < index->manifests->len; i++) {
        const MsbOciDescriptor *descriptor = g_ptr_array_index(index->manifests, i);

        if (is_candidate(descriptor) && !load_entry(load, descriptor, images, error))
            return NULL;
    }
    if (images->len == 0) {
        no_candidate(index->manifests, msb_archive_get_path(load->archive), error);
        return NULL;
    }
    for (guint i = 0; i < images->len; i++) {
        MsbLoadedImage *image = g_ptr_array_index(images, i);
        gboolean named = FALSE;

        for (guint j = 0; j < image->names->len; j++)
            named = named || msb_image_is_full_name(g_ptr_array_index(image->names, j));
        if (!named)
            add_docker_names(load, image, i);
    }
    return g_steal_pointer(&images);
}

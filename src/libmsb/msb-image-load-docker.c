/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * docker-archive: manifest.json names configuration and layer files.  It has
 * no manifest, so one is made here of the configuration as it is and of the
 * layers as they are; the same archive gives the same digest every time.
 */
#include <config.h>

#include <string.h>

#include "msb-digest.h"
#include "msb-error.h"
#include "msb-image-private.h"

/* "<hex>.json" and "blobs/sha256/<hex>" promise the digest of the file. */
static gboolean
check_promise(const char *name, const char *got, GError **error)
{
    g_autofree char *base = g_path_get_basename(name);
    g_autofree char *promised = NULL;

    if (g_str_has_suffix(base, ".json"))
        base[strlen(base) - strlen(".json")] = '\0';
    promised = g_strconcat("sha256:", base, NULL);
    return !msb_digest_is_valid(promised) || msb_digest_check(name, promised, got, error);
}

static GPtrArray *
load_layers(MsbImageLoad *load, const MsbDockerImage *image, const MsbOciConfig *config, GError **error)
{
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func((GDestroyNotify)msb_oci_descriptor_free);

    for (guint i = 0; image->layers[i]; i++) {
        g_autofree char *what = g_strdup_printf("layer %u (%s)", i + 1, image->layers[i]);
        MsbOciDescriptor *layer = msb_image_load_layer(load, image->layers[i], what, NULL,
                                                       (const char *const *)config->diff_ids, i, error);

        if (!layer)
            return NULL;
        g_ptr_array_add(layers, layer);
    }
    return g_steal_pointer(&layers);
}

static MsbLoadedImage *
load_image(MsbImageLoad *load, const MsbDockerImage *image, GError **error)
{
    g_autoptr(GBytes) bytes = msb_archive_read(load->archive, image->config, error);
    g_autofree char *manifest = NULL;
    g_autoptr(MsbOciConfig) config = NULL;
    g_autoptr(MsbOciDescriptor) descriptor = g_new0(MsbOciDescriptor, 1);
    g_autoptr(GPtrArray) layers = NULL;
    MsbLoadedImage *result;

    if (!bytes)
        return NULL;
    descriptor->media_type = g_strdup(MSB_OCI_TYPE_CONFIG);
    descriptor->size = g_bytes_get_size(bytes);
    descriptor->digest = msb_digest_of_bytes(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
    if (!check_promise(image->config, descriptor->digest, error))
        return NULL;
    config =
        msb_oci_config_parse(image->config, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    if (!config || !msb_image_check_platform(config->os, config->architecture, image->config, error) ||
        !msb_image_check_config(config, g_strv_length(image->layers), image->config, error))
        return NULL;
    layers = load_layers(load, image, config, error);
    if (!layers || !msb_store_add_blob(load->store, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
                                       descriptor->digest, error))
        return NULL;
    manifest = msb_oci_manifest_format(descriptor, layers);
    result = g_new0(MsbLoadedImage, 1);
    result->digest = msb_digest_of_bytes(manifest, strlen(manifest));
    result->names = g_ptr_array_new_with_free_func(g_free);
    for (char **tag = image->tags; *tag; tag++)
        g_ptr_array_add(result->names, g_strdup(*tag));
    if (msb_store_add_blob(load->store, manifest, strlen(manifest), result->digest, error))
        return result;
    msb_loaded_image_free(result);
    return NULL;
}

GPtrArray *
msb_image_load_docker(MsbImageLoad *load, GError **error)
{
    g_autoptr(GPtrArray) result = g_ptr_array_new_with_free_func((GDestroyNotify)msb_loaded_image_free);
    g_autoptr(GBytes) bytes = msb_archive_read(load->archive, "manifest.json", error);
    g_autoptr(GPtrArray) images = NULL;

    if (!bytes)
        return NULL;
    images = msb_docker_manifest_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    for (guint i = 0; images && i < images->len; i++) {
        MsbLoadedImage *one = load_image(load, g_ptr_array_index(images, i), error);

        if (!one)
            return NULL;
        g_ptr_array_add(result, one);
    }
    return images ? g_steal_pointer(&result) : NULL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loading of image archives.  The content goes into the store first, image by
 * image; the names come last, in one change of the index, so a load that fails
 * in between has changed nothing that anybody sees, and what it left is garbage.
 */
#include <config.h>

#include <string.h>

#include "mb-cleanup.h"
#include "msb-digest.h"
#include "msb-error.h"
#include "msb-image-private.h"
#include "msb-reference.h"

void
msb_loaded_image_free(MsbLoadedImage *image)
{
    if (!image)
        return;
    g_free(image->digest);
    g_clear_pointer(&image->names, g_ptr_array_unref);
    g_free(image);
}

MsbOciDescriptor *
msb_image_load_layer(MsbImageLoad *load, const char *file, const char *what, const char *digest,
                     const char *const *diff_ids, guint index, GError **error)
{
    MsbLayerSource source = {
        .read = msb_layer_read_fd,
        .digest = digest,
        .diff_ids = diff_ids,
        .index = index,
        .total = &load->unpacked,
        .what = what,
        .progress = load->progress,
        .progress_data = load->progress_data,
        .cancellable = load->cancellable,
    };
    mb_autofd int fd = -1;

    if (index == 0)
        load->unpacked = 0;
    fd = msb_archive_open_file(load->archive, file, &source.size, &source.spool, error);
    if (fd < 0)
        return NULL;
    source.reader = GINT_TO_POINTER(fd);
    return msb_store_add_layer(load->store, &source, NULL, error);
}

gboolean
msb_image_check_config(const MsbOciConfig *config, guint n_layers, const char *what, GError **error)
{
    guint n_ids = g_strv_length(config->diff_ids);

    if (n_ids != n_layers)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "%s: it has %u diff_ids for %u layers", what, n_ids,
                             n_layers);
    if (n_ids == 0 || n_ids > MSB_OCI_MAX_LAYERS)
        return msb_error_set(error, MSB_ERROR_UNSUPPORTED, "%s: %u layers, 1 to %d are possible", what, n_ids,
                             MSB_OCI_MAX_LAYERS);
    return TRUE;
}

gboolean
msb_image_check_platform(const char *os, const char *architecture, const char *what, GError **error)
{
    return msb_oci_platform_matches(os, architecture) ||
           msb_error_set(error, MSB_ERROR_UNSUPPORTED, "%s: it is for %s/%s, this machine is linux/%s", what, os,
                         architecture, msb_oci_host_architecture());
}

gboolean
msb_image_is_full_name(const char *name)
{
    return strpbrk(name, "/:@") != NULL;
}

/* A name that pins a digest is believed when the image has it: else an archive could pass for what others rely on. */
static gboolean
check_pin(const char *reference, const char *digest, GError **error)
{
    const char *at = strrchr(reference, '@');

    return !at || strcmp(at + 1, digest) == 0 ||
           msb_error_set(error, MSB_ERROR_CORRUPT, "the archive calls an image '%s' whose digest is %s", reference,
                         digest);
}

/* Full references of one image (transfer full, may be empty). */
static gboolean
full_names(const MsbLoadedImage *image, GPtrArray *references, GError **error)
{
    for (guint i = 0; i < image->names->len; i++) {
        const char *name = g_ptr_array_index(image->names, i);
        char *full;

        if (!msb_image_is_full_name(name))
            continue;
        full = msb_reference_normalize(name, error);
        if (!full || !check_pin(full, image->digest, error)) {
            g_free(full);
            return FALSE;
        }
        g_ptr_array_add(references, full);
    }
    return TRUE;
}

/* References to tag, digest by digest: element i of references names the image of element i of digests. */
typedef struct {
    GPtrArray *references, *digests;
} Names;

static gboolean
choose_names(MsbImageLoad *load, const GPtrArray *images, const char *tag, Names *names, GError **error)
{
    for (guint i = 0; i < images->len; i++) {
        const MsbLoadedImage *image = g_ptr_array_index(images, i);
        guint before = names->references->len;

        if (i == 0 && tag) {
            char *full = msb_reference_normalize(tag, error);

            if (!full || !check_pin(full, image->digest, error)) {
                g_free(full);
                return FALSE;
            }
            g_ptr_array_add(names->references, full);
        } else if (!full_names(image, names->references, error)) {
            return FALSE;
        }
        if (names->references->len == before)
            return msb_error_set(
                error, MSB_ERROR_INVALID, "image %u of '%s' has no name%s%s%s: %s", i + 1,
                msb_archive_get_path(load->archive), image->names->len ? ", only the tag '" : "",
                image->names->len ? (char *)g_ptr_array_index(image->names, 0) : "", image->names->len ? "'" : "",
                i == 0 ? "give it one with --tag"
                       : "--tag is for the first image alone; copy the others out of there with a name each");
        while (names->digests->len < names->references->len)
            g_ptr_array_add(names->digests, g_strdup(image->digest));
    }
    return TRUE;
}

static GPtrArray *
name_images(MsbImageLoad *load, const GPtrArray *images, const char *tag, GError **error)
{
    g_autoptr(GPtrArray) references = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) digests = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) result = g_ptr_array_new_with_free_func((GDestroyNotify)msb_image_unref);
    Names names = {references, digests};

    if (!choose_names(load, images, tag, &names, error))
        return NULL;
    for (guint i = 0; i < references->len; i++) {
        MsbImage *image = msb_image_read(load->store->home, g_ptr_array_index(references, i),
                                         g_ptr_array_index(digests, i), g_get_real_time(), error);

        if (!image)
            return NULL;
        g_ptr_array_add(result, image);
    }
    g_ptr_array_add(references, NULL);
    g_ptr_array_add(digests, NULL);
    if (!msb_store_tag(load->store, (const char *const *)references->pdata,
                       (const char *const *)digests->pdata, error))
        return NULL;
    return g_steal_pointer(&result);
}

GPtrArray *
msb_image_load(MsbHome *home, const char *path, const char *tag, MsbProgressFunc progress, gpointer data,
               GCancellable *cancellable, GError **error)
{
    g_autoptr(MsbStore) store = NULL;
    g_autoptr(MsbArchive) archive = NULL;
    g_autoptr(GPtrArray) images = NULL;
    g_autofree char *checked = NULL;
    MsbImageLoad load = {.progress = progress, .progress_data = data, .cancellable = cancellable};

    if (tag && !(checked = msb_reference_normalize(tag, error)))
        return NULL;
    store = msb_store_open(home, error);
    if (!store)
        return NULL;
    archive = msb_archive_open(path, store->tmp, progress, data, cancellable, error);
    if (!archive)
        return NULL;
    load.store = store;
    load.archive = archive;
    if (msb_archive_has(archive, "oci-layout") || msb_archive_has(archive, "index.json")) {
        images = msb_image_load_oci(&load, error);
    } else if (msb_archive_has(archive, "manifest.json")) {
        images = msb_image_load_docker(&load, error);
    } else {
        msb_error_set(
            error, MSB_ERROR_INVALID,
            "'%s' is no image archive: it has neither index.json (OCI layout) nor manifest.json (docker "
            "save); 'msb import' makes an image of a root filesystem",
            msb_archive_get_path(archive));
    }
    return images ? name_images(&load, images, tag, error) : NULL;
}

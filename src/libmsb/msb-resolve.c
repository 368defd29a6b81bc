/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Resolving references: see the header.  An index is searched depth first.
 * Digests make cycles impossible, but not trees that never end: their depth is
 * bounded, and so is the number of documents that are looked at.
 */
#include <config.h>

#include <string.h>

#include "msb-digest.h"
#include "msb-error.h"
#include "msb-resolve.h"

#define MAX_DEPTH 4
#define MAX_DOCUMENTS 64

typedef struct {
    MsbMirrors *mirrors;
    const MsbReference *reference;
    const MsbPlatform *platform;
    MsbResolved *resolved;
    GCancellable *cancellable;
    char *name;
    guint documents;
    GString *offered;           /* platforms that do not suit */
} Search;

void
msb_resolved_clear(MsbResolved *resolved)
{
    g_clear_pointer(&resolved->manifest_bytes, g_bytes_unref);
    g_clear_pointer(&resolved->manifest_digest, g_free);
    g_clear_pointer(&resolved->manifest, msb_oci_manifest_free);
    g_clear_pointer(&resolved->config_bytes, g_bytes_unref);
    g_clear_pointer(&resolved->config, msb_oci_config_free);
}

static void
add_offered(Search *search, const char *os, const char *architecture, const char *variant)
{
    g_string_append_printf(search->offered, "%s%s/%s%s%s", search->offered->len ? ", " : "", os && *os ? os : "?",
                           architecture && *architecture ? architecture : "?", variant && *variant ? "/" : "",
                           variant ? variant : "");
}

/* ---- the configuration --------------------------------------------------------------------- */

/* All of a blob, whatever it is, and its digest (transfer full). */
static GBytes *
read_blob(Search *search, MsbMirrorBlob *blob, char **digest, GError **error)
{
    g_autoptr(GByteArray) all = g_byte_array_new();
    guint8 chunk[16384];
    gssize n;

    while ((n = msb_mirror_blob_read(blob, chunk, sizeof chunk, search->cancellable, error)) > 0)
        g_byte_array_append(all, chunk, (guint)n);
    if (n < 0)
        return NULL;
    *digest = msb_digest_of_bytes(all->data, all->len);
    return g_byte_array_free_to_bytes(g_steal_pointer(&all));
}

static GBytes *
read_document(Search *search, const MsbOciDescriptor *descriptor, const char *what, GError **error)
{
    g_autoptr(MsbMirrorBlob) blob = NULL;
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(GError) local = NULL;

    if (descriptor->size > MSB_OCI_MAX_DOCUMENT) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "%s is larger than %u MiB", what, MSB_OCI_MAX_DOCUMENT >> 20);
        return NULL;
    }
    blob = msb_mirrors_open_blob(search->mirrors, search->reference->repository, descriptor->digest, descriptor->size);
    for (;;) {
        g_autofree char *digest = NULL;

        bytes = read_blob(search, blob, &digest, error);
        if (!bytes || msb_digest_check(what, descriptor->digest, digest, &local))
            return g_steal_pointer(&bytes);
        g_clear_pointer(&bytes, g_bytes_unref);
        if (!msb_mirror_blob_begin_again(blob, digest))
            break;
        g_clear_error(&local);
    }
    msb_mirror_blob_add_failures(blob, local);
    g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
}

static gboolean
fetch_config(Search *search, GError **error)
{
    MsbResolved *resolved = search->resolved;
    g_autofree char *what = g_strdup_printf("the configuration of image '%s'", search->name);

    resolved->config_bytes = read_document(search, resolved->manifest->config, what, error);
    if (!resolved->config_bytes)
        return FALSE;
    resolved->config = msb_oci_config_parse(what, g_bytes_get_data(resolved->config_bytes, NULL),
                                            g_bytes_get_size(resolved->config_bytes), error);
    if (!resolved->config)
        return FALSE;
    if (g_strv_length(resolved->config->diff_ids) != resolved->manifest->layers->len)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "image '%s': %u layers in the manifest, %u in the configuration",
                             search->name, resolved->manifest->layers->len,
                             g_strv_length(resolved->config->diff_ids));
    return TRUE;
}

/* Whether the configuration suits. One that does not say its platform is taken at the word of who named it. */
static gboolean
config_suits(const Search *search)
{
    const MsbOciConfig *config = search->resolved->config;
    MsbPlatform any = *search->platform;

    any.variant = NULL;
    return !*config->architecture ||
           msb_platform_rank(&any, *config->os ? config->os : any.os, config->architecture, NULL) !=
               MSB_PLATFORM_NO_MATCH;
}

/* ---- indexes ---------------------------------------------------------------------------------- */

static gboolean search_document(Search *search, const char *wanted, guint depth, gboolean *found, GError **error);

/* The entry that suits best of those that say their platform, or NULL. */
static const MsbOciDescriptor *
best_entry(Search *search, const MsbOciManifest *index)
{
    const MsbOciDescriptor *best = NULL;
    guint best_rank = MSB_PLATFORM_NO_MATCH;

    for (guint i = 0; i < index->manifests->len; i++) {
        const MsbOciDescriptor *entry = g_ptr_array_index(index->manifests, i);
        guint rank = entry->attestation ? MSB_PLATFORM_NO_MATCH
                                        : msb_platform_rank(search->platform, entry->os, entry->architecture,
                                                            entry->variant);

        if (rank < best_rank) {
            best = entry;
            best_rank = rank;
        } else if (!entry->attestation && entry->architecture) {
            add_offered(search, entry->os, entry->architecture, entry->variant);
        }
    }
    return best;
}

static gboolean
search_index(Search *search, const MsbOciManifest *index, guint depth, gboolean *found, GError **error)
{
    const MsbOciDescriptor *best = best_entry(search, index);

    if (best)
        return search_document(search, best->digest, depth + 1, found, error);
    for (guint i = 0; i < index->manifests->len && !*found; i++) {
        const MsbOciDescriptor *entry = g_ptr_array_index(index->manifests, i);

        if (entry->attestation || (entry->architecture && *entry->architecture))
            continue;
        if (!search_document(search, entry->digest, depth + 1, found, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
check_bounds(Search *search, guint depth, GError **error)
{
    if (depth == MAX_DEPTH)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "image '%s': indexes nested more than %d deep", search->name,
                             MAX_DEPTH);
    if (search->documents++ == MAX_DOCUMENTS)
        return msb_error_set(error, MSB_ERROR_CORRUPT,
                             "image '%s': none of the first %d manifests of its indexes is for platform '%s/%s'",
                             search->name, MAX_DOCUMENTS, search->platform->os, search->platform->architecture);
    return TRUE;
}

/* wanted: a tag or a digest. */
static gboolean
search_document(Search *search, const char *wanted, guint depth, gboolean *found, GError **error)
{
    MsbResolved *resolved = search->resolved;
    g_autofree char *digest = NULL;
    g_autoptr(MsbOciManifest) manifest = NULL;
    g_autoptr(GBytes) bytes = NULL;

    if (!check_bounds(search, depth, error))
        return FALSE;
    bytes = msb_mirrors_get_manifest(search->mirrors, search->reference->repository, wanted, search->cancellable,
                                     &digest, error);
    if (!bytes)
        return FALSE;
    manifest = msb_oci_manifest_parse(search->name, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    if (!manifest)
        return FALSE;
    if (manifest->manifests)
        return search_index(search, manifest, depth, found, error);
    msb_resolved_clear(resolved);
    resolved->manifest = g_steal_pointer(&manifest);
    resolved->manifest_bytes = g_steal_pointer(&bytes);
    resolved->manifest_digest = g_steal_pointer(&digest);
    if (!fetch_config(search, error))
        return FALSE;
    *found = config_suits(search);
    if (!*found)
        add_offered(search, resolved->config->os, resolved->config->architecture, NULL);
    return TRUE;
}

gboolean
msb_resolve(MsbMirrors *mirrors, const MsbReference *reference, const MsbPlatform *platform, MsbResolved *resolved,
            GCancellable *cancellable, GError **error)
{
    g_autofree char *name = msb_reference_to_string(reference);
    g_autofree char *wanted = msb_platform_to_string(platform);
    g_autoptr(GString) offered = g_string_new(NULL);
    Search search = {mirrors, reference, platform, resolved, cancellable, name, 0, offered};
    gboolean found = FALSE;

    if (!search_document(&search, reference->digest ? reference->digest : reference->tag, 0, &found, error))
        return FALSE;
    return found || msb_error_set(error, MSB_ERROR_UNSUPPORTED,
                                  "image '%s' does not exist for platform '%s' (it does for: %s)", name, wanted,
                                  offered->len ? offered->str : "none");
}

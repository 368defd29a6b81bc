/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A registry and its mirrors: see the header. */
#include <config.h>

#include <string.h>

#include "msb-error.h"
#include "msb-mirrors.h"
#include "msb-oci.h"

#define MIRROR_RETRIES 1 /* there are others to ask */

/* One that can be asked. */
typedef struct {
    MsbRegistry *registry;
    char *address;              /* of a mirror, for messages; NULL = the registry itself */
    char *prefix;               /* before the names of repositories: "", "cache/" */
    gint lied;                  /* atomic */
} Endpoint;

struct _MsbMirrors {
    GPtrArray *endpoints;       /* of Endpoint */
    guint current;              /* who answered last */
    GAsyncQueue *warnings;      /* of char * */
};

struct _MsbMirrorBlob {
    MsbMirrors *mirrors;
    char *repository;
    char *digest;
    guint64 size;
    guint64 offset;
    guint endpoint;             /* who is asked */
    guint first;                /* who sent the first byte */
    MsbBlob *blob;              /* NULL = not yet */
    GString *failures;          /* of those that were asked before */
};

static void
endpoint_free(Endpoint *endpoint)
{
    g_clear_pointer(&endpoint->registry, msb_registry_free);
    g_free(endpoint->address);
    g_free(endpoint->prefix);
    g_free(endpoint);
}

static gboolean
add_endpoint(MsbMirrors *mirrors, MsbHome *home, const char *host, const char *path, const char *address,
             const MsbRegistryOptions *options, GError **error)
{
    Endpoint *endpoint = g_new0(Endpoint, 1);

    g_ptr_array_add(mirrors->endpoints, endpoint);
    endpoint->address = g_strdup(address);
    endpoint->prefix = *path ? g_strconcat(path, "/", NULL) : g_strdup("");
    endpoint->registry = msb_registry_new(home, host, options, error);
    return endpoint->registry != NULL;
}

/* http[s]://HOST[:PORT][/PATH] */
static gboolean
add_mirror(MsbMirrors *mirrors, MsbHome *home, const char *address, GError **error)
{
    MsbRegistryOptions options = {.mirror = TRUE, .plain_http = g_str_has_prefix(address, "http://"),
                                  .retries = MIRROR_RETRIES};
    const char *rest = strstr(address, "://") + strlen("://");
    gsize length = strcspn(rest, "/");
    g_autofree char *host = g_strndup(rest, length);
    g_autofree char *path = g_strdup(rest + length + strspn(rest + length, "/"));

    while (g_str_has_suffix(path, "/"))
        path[strlen(path) - 1] = '\0';
    return add_endpoint(mirrors, home, host, path, address, &options, error);
}

MsbMirrors *
msb_mirrors_new(MsbHome *home, const MsbSettings *settings, const char *host, const MsbRegistryOptions *options,
                GError **error)
{
    g_autoptr(MsbMirrors) mirrors = g_new0(MsbMirrors, 1);
    const MsbHostSettings *said = msb_settings_get_host(settings, host);

    mirrors->endpoints = g_ptr_array_new_with_free_func((GDestroyNotify)endpoint_free);
    mirrors->warnings = g_async_queue_new_full(g_free);
    for (guint i = 0; said->mirrors[i]; i++) {
        if (!add_mirror(mirrors, home, said->mirrors[i], error))
            return NULL;
    }
    return add_endpoint(mirrors, home, host, "", NULL, options, error) ? g_steal_pointer(&mirrors) : NULL;
}

void
msb_mirrors_free(MsbMirrors *mirrors)
{
    g_ptr_array_unref(mirrors->endpoints);
    g_async_queue_unref(mirrors->warnings);
    g_free(mirrors);
}

/* ---- failures ------------------------------------------------------------------------- */

/* Whether the next one is to be asked. If not, *error is what this one said, and what those before it did. */
static gboolean
ask_next(const MsbMirrors *mirrors, guint *index, GString *failures, GError *failure, GError **error)
{
    const Endpoint *endpoint = g_ptr_array_index(mirrors->endpoints, *index);

    if (*index + 1 < mirrors->endpoints->len && failure->domain == MSB_ERROR) {
        if (failure->code == MSB_ERROR_CORRUPT)
            g_async_queue_push(mirrors->warnings,
                               g_strdup_printf("mirror %s: %s", endpoint->address, failure->message));
        g_string_append_printf(failures, " (mirror %s: %s)", endpoint->address, failure->message);
        g_error_free(failure);
        (*index)++;
        return TRUE;
    }
    if (failures->len > 0 && failure->domain == MSB_ERROR)
        msb_error_set(error, (MsbError)failure->code, "%s%s", failure->message, failures->str);
    else
        g_propagate_error(error, g_steal_pointer(&failure));
    g_clear_error(&failure);
    return FALSE;
}

char *
msb_mirrors_take_warning(MsbMirrors *mirrors)
{
    return g_async_queue_try_pop(mirrors->warnings);
}

/* ---- reading ---------------------------------------------------------------------------- */

/* Of a mirror, which may answer with a page for people; what the registry itself says is looked at by who asked. */
static gboolean
is_manifest(const Endpoint *endpoint, const char *reference, GBytes *bytes, GError **error)
{
    g_autoptr(MsbOciManifest) manifest = NULL;

    if (!endpoint->address)
        return TRUE;
    manifest = msb_oci_manifest_parse(reference, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    return manifest != NULL;
}

GBytes *
msb_mirrors_get_manifest(MsbMirrors *mirrors, const char *repository, const char *reference, GCancellable *cancellable,
                         char **digest, GError **error)
{
    g_autoptr(GString) failures = g_string_new(NULL);
    GError *failure = NULL;

    do {
        const Endpoint *endpoint = g_ptr_array_index(mirrors->endpoints, mirrors->current);
        g_autofree char *name = g_strconcat(endpoint->prefix, repository, NULL);
        g_autofree char *media_type = NULL;
        GBytes *bytes = msb_registry_get_manifest(endpoint->registry, name, reference, &media_type, digest,
                                                  cancellable, &failure);

        if (bytes && is_manifest(endpoint, reference, bytes, &failure))
            return bytes;
        if (bytes) {
            g_bytes_unref(bytes);
            g_clear_pointer(digest, g_free);
        }
    } while (ask_next(mirrors, &mirrors->current, failures, g_steal_pointer(&failure), error));
    return NULL;
}

MsbMirrorBlob *
msb_mirrors_open_blob(MsbMirrors *mirrors, const char *repository, const char *digest, guint64 size)
{
    MsbMirrorBlob *blob = g_new0(MsbMirrorBlob, 1);

    blob->mirrors = mirrors;
    blob->endpoint = mirrors->current;
    while (g_atomic_int_get(&((Endpoint *)g_ptr_array_index(mirrors->endpoints, blob->endpoint))->lied))
        blob->endpoint++;
    blob->first = blob->endpoint;
    blob->repository = g_strdup(repository);
    blob->digest = g_strdup(digest);
    blob->size = size;
    blob->failures = g_string_new(NULL);
    return blob;
}

static gssize
read_from_endpoint(MsbMirrorBlob *blob, void *buf, gsize n, GCancellable *cancellable, GError **error)
{
    const Endpoint *endpoint = g_ptr_array_index(blob->mirrors->endpoints, blob->endpoint);

    if (!blob->blob) {
        g_autofree char *name = g_strconcat(endpoint->prefix, blob->repository, NULL);

        blob->blob = msb_registry_open_blob(endpoint->registry, name, blob->digest, blob->offset, (gint64)blob->size,
                                            cancellable, error);
    }
    return blob->blob ? msb_blob_read(blob->blob, buf, n, cancellable, error) : -1;
}

gssize
msb_mirror_blob_read(MsbMirrorBlob *blob, void *buf, gsize n, GCancellable *cancellable, GError **error)
{
    GError *failure = NULL;

    do {
        gssize got = read_from_endpoint(blob, buf, n, cancellable, &failure);

        if (got >= 0) {
            if (blob->offset == 0)
                blob->first = blob->endpoint;
            blob->offset += (guint64)got;
            return got;
        }
        g_clear_pointer(&blob->blob, msb_blob_free);
    } while (ask_next(blob->mirrors, &blob->endpoint, blob->failures, g_steal_pointer(&failure), error));
    return -1;
}

/* Who sent the last part has not lied for sure if others sent a part too. */
static gboolean
can_begin_again(const MsbMirrorBlob *blob)
{
    return blob->endpoint + 1 < blob->mirrors->endpoints->len || blob->first != blob->endpoint;
}

gboolean
msb_mirror_blob_begin_again(MsbMirrorBlob *blob, const char *got)
{
    gboolean together = blob->first != blob->endpoint;
    Endpoint *endpoint = g_ptr_array_index(blob->mirrors->endpoints, together ? blob->first : blob->endpoint);

    if (strcmp(got, blob->digest) == 0 || !can_begin_again(blob))
        return FALSE;
    g_async_queue_push(blob->mirrors->warnings,
                       g_strdup_printf("mirror %s%s: a blob of '%s' has not its digest: expected %s, got %s; "
                                       "it is asked for elsewhere", endpoint->address,
                                       together ? ", with those after it" : "", blob->repository, blob->digest, got));
    g_string_append_printf(blob->failures, " (mirror %s%s: got %s)", endpoint->address,
                           together ? ", with those after it" : "", got);
    if (!together) {
        g_atomic_int_set(&endpoint->lied, TRUE);
        blob->endpoint++;
    }
    blob->first = blob->endpoint;
    blob->offset = 0;
    g_clear_pointer(&blob->blob, msb_blob_free);
    return TRUE;
}

void
msb_mirror_blob_add_failures(const MsbMirrorBlob *blob, GError *error)
{
    char *message;

    if (!error || error->domain != MSB_ERROR || blob->failures->len == 0 ||
        g_str_has_suffix(error->message, blob->failures->str))
        return;
    message = g_strconcat(error->message, blob->failures->str, NULL);
    g_free(error->message);
    error->message = message;
}

void
msb_mirror_blob_free(MsbMirrorBlob *blob)
{
    if (!blob)
        return;
    g_clear_pointer(&blob->blob, msb_blob_free);
    g_string_free(blob->failures, TRUE);
    g_free(blob->repository);
    g_free(blob->digest);
    g_free(blob);
}

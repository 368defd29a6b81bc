/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a blob from a registry: over as many connections as it takes, each from where the one before broke off. */
#include <config.h>

#include "msb-error.h"
#include "msb-registry-private.h"

/* Of one connection, for a blob, before it counts as no failure: else a server that sends a byte and breaks off would
 * be asked for ever. */
#define USEFUL_BYTES (64 * 1024)

struct _MsbBlob {
    MsbRegistry *registry;
    MsbHttpResponse *response;
    char *repository;
    char *digest;
    char *url;
    guint64 offset;
    gint64 size;
    guint64 arrived;        /* bytes of this connection */
    guint failures;         /* since one that was of use */
};

/* (Re)open at blob->offset. */
static gboolean
blob_connect(MsbBlob *blob, GCancellable *cancellable, GError **error)
{
    g_autofree char *scope = msb_registry_pull_scope(blob->repository);
    MsbHttpRequest request = { .url = blob->url, .offset = blob->offset };
    guint want = blob->offset ? 206 : 200;
    guint status;

    g_clear_pointer(&blob->response, msb_http_response_free);
    blob->arrived = 0;
    blob->response = msb_registry_send_retrying(blob->registry, &request, scope, cancellable, error);
    if (!blob->response)
        return FALSE;
    status = msb_http_response_get_status(blob->response);
    if (status == want)
        return TRUE;
    if (status == 200) {
        /* The server does not do ranges: read up to where we were. */
        guint64 skip = blob->offset;
        guint8 sink[16384];

        while (skip > 0) {
            gssize n = msb_http_response_read(blob->response, sink, MIN(skip, sizeof sink), cancellable, error);

            if (n < 0)
                return FALSE;
            if (n == 0)
                return msb_error_set(error, MSB_ERROR_CORRUPT, "blob %s of '%s' from registry '%s' became shorter",
                                     blob->digest, blob->repository, blob->registry->host);
            skip -= (guint64)n;
        }
        return TRUE;
    }
    msb_registry_set_status_error(blob->registry, blob->response, blob->repository, blob->digest, cancellable, error);
    return FALSE;
}

MsbBlob *
msb_registry_open_blob(MsbRegistry *registry, const char *repository, const char *digest,
                       guint64 offset, gint64 size, GCancellable *cancellable, GError **error)
{
    g_autoptr(MsbBlob) blob = g_new0(MsbBlob, 1);

    blob->registry = registry;
    blob->repository = g_strdup(repository);
    blob->digest = g_strdup(digest);
    blob->url = g_strdup_printf("%s/v2/%s/blobs/%s", registry->base, repository, digest);
    blob->offset = offset;
    blob->size = size;
    if (size >= 0 && offset >= (guint64)size)
        return g_steal_pointer(&blob);
    if (!blob_connect(blob, cancellable, error))
        return NULL;
    return g_steal_pointer(&blob);
}

/* One read; -1 with a transient error means that connecting again may help. */
static gssize
blob_read_once(MsbBlob *blob, void *buf, gsize n, GCancellable *cancellable, GError **error)
{
    gssize got = msb_http_response_read(blob->response, buf, n, cancellable, error);

    if (got == 0 && blob->size >= 0 && blob->offset < (guint64)blob->size) {
        msb_error_set(error, MSB_ERROR_IO, "blob %s of '%s' from registry '%s' ends after %" G_GUINT64_FORMAT
                      " of %" G_GINT64_FORMAT " bytes", blob->digest, blob->repository, blob->registry->host,
                      blob->offset, blob->size);
        return -1;
    }
    return got;
}

gssize
msb_blob_read(MsbBlob *blob, void *buf, gsize n, GCancellable *cancellable, GError **error)
{
    if (!blob->response)
        return 0;
    for (;;) {
        g_autoptr(GError) local = NULL;
        gssize got = blob_read_once(blob, buf, n, cancellable, &local);

        if (got >= 0) {
            blob->offset += (guint64)got;
            blob->arrived += (guint64)got;
            if (blob->arrived >= USEFUL_BYTES)
                blob->failures = 0;
            if (blob->size >= 0 && blob->offset > (guint64)blob->size) {
                msb_error_set(error, MSB_ERROR_CORRUPT, "blob %s of '%s' from registry '%s' is longer than the %"
                              G_GINT64_FORMAT " bytes its manifest says", blob->digest, blob->repository,
                              blob->registry->host, blob->size);
                return -1;
            }
            return got;
        }
        if (blob->failures >= blob->registry->retries || !g_error_matches(local, MSB_ERROR, MSB_ERROR_IO)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return -1;
        }
        if (!msb_registry_back_off(blob->failures++, 0, cancellable, error) || !blob_connect(blob, cancellable, error))
            return -1;
    }
}

void
msb_blob_free(MsbBlob *blob)
{
    g_clear_pointer(&blob->response, msb_http_response_free);
    g_free(blob->repository);
    g_free(blob->digest);
    g_free(blob->url);
    g_free(blob);
}

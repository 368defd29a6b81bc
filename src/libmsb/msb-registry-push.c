/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing to a registry (OCI distribution specification 1.0, "Push").  A blob
 * begins with POST, which may mount it from another repository of the same
 * registry; a small one follows in one PUT, a large one in chunks, so that a
 * broken connection costs one of them: the registry says how far it got.
 *
 * The address to upload to is the registry's choice.  On another host it gets
 * no credentials of ours.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "msb-error.h"
#include "msb-registry-private.h"

#define CHUNK ((guint64)32 << 20)

typedef struct {
    MsbRegistry *registry;
    const char *repository;
    const char *digest;
    const char *scope;
    int fd;
    guint64 size;
    guint64 base; /* where the body that is being sent begins */
    MsbBlobProgress progress;
    gpointer data;
    char *location; /* of the upload under way, or NULL */
    guint64 offset; /* what the registry has of it */
    GCancellable *cancellable;
} Upload;

static char *
push_scope(const char *repository, const char *from)
{
    if (from)
        return g_strdup_printf("repository:%s:pull,push repository:%s:pull", repository, from);
    return g_strdup_printf("repository:%s:pull,push", repository);
}

static gboolean
unexpected(Upload *upload, MsbHttpResponse *response, GError **error)
{
    msb_registry_set_status_error(upload->registry, response, upload->repository, upload->digest,
                                  upload->cancellable, error);
    return FALSE;
}

/* Take the address of the next request from a response. */
static gboolean
take_location(Upload *upload, MsbHttpResponse *response, GError **error)
{
    const char *location = msb_http_response_get_header(response, "location");
    g_autofree char *url = location ? g_uri_resolve_relative(msb_http_response_get_url(response), location,
                                                             G_URI_FLAGS_ENCODED, NULL)
                                    : NULL;

    if (!url || !(g_str_has_prefix(url, "https://") ||
                  (upload->registry->plain_http && g_str_has_prefix(url, "http://"))))
        return msb_error_set(error, MSB_ERROR_CORRUPT,
                             "registry '%s' sends us to '%s' to upload a blob, which is not "
                             "an https address",
                             upload->registry->host, location ? location : "");
    g_free(upload->location);
    upload->location = g_steal_pointer(&url);
    return TRUE;
}

static gboolean
is_own_host(const MsbRegistry *registry, const char *url)
{
    gsize length = strlen(registry->base);

    return strncmp(url, registry->base, length) == 0 && (url[length] == '/' || url[length] == '\0');
}

/* Once: what the registry took of a body that broke decides what comes next. */
static MsbHttpResponse *
send_upload(Upload *upload, const MsbHttpRequest *request, GError **error)
{
    if (!is_own_host(upload->registry, request->url))
        return msb_http_send(upload->registry->session, request, upload->cancellable, error);
    return msb_registry_send_once(upload->registry, request, upload->scope, upload->cancellable, error);
}

static void
bytes_sent(guint64 bytes, gpointer data)
{
    Upload *upload = data;

    if (upload->progress)
        upload->progress(upload->base + bytes, upload->data);
}

/* POST: *mounted if the registry had the blob in repository from (may be NULL), else upload->location is set.
 */
static gboolean
begin_upload(Upload *upload, const char *from, gboolean *mounted, GError **error)
{
    g_autofree char *query = from ? g_strdup_printf("?mount=%s&from=%s", upload->digest, from) : g_strdup("");
    g_autofree char *url =
        g_strdup_printf("%s/v2/%s/blobs/uploads/%s", upload->registry->base, upload->repository, query);
    g_autofree char *scope = push_scope(upload->repository, from);
    g_autoptr(GBytes) nothing = g_bytes_new(NULL, 0);
    MsbHttpRequest request = {.method = "POST", .url = url, .body = nothing};
    g_autoptr(MsbHttpResponse) response =
        msb_registry_send_retrying(upload->registry, &request, scope, upload->cancellable, error);

    if (!response)
        return FALSE;
    upload->offset = 0;
    *mounted = from && msb_http_response_get_status(response) == 201;
    if (*mounted)
        return TRUE;
    return msb_http_response_get_status(response) == 202 ? take_location(upload, response, error)
                                                         : unexpected(upload, response, error);
}

/* PUT the rest, which may be nothing, and name the digest. */
static gboolean
finish_upload(Upload *upload, GError **error)
{
    static const char *const headers[] = {"Content-Type: application/octet-stream", NULL};
    g_autofree char *escaped = g_uri_escape_string(upload->digest, NULL, FALSE);
    g_autofree char *url = g_strdup_printf("%s%cdigest=%s", upload->location,
                                           strchr(upload->location, '?') ? '&' : '?', escaped);
    MsbHttpFile file = {upload->fd, upload->offset, upload->size - upload->offset, bytes_sent, upload};
    MsbHttpRequest request = {.method = "PUT", .url = url, .headers = headers, .file = &file};
    g_autoptr(MsbHttpResponse) response = NULL;

    upload->base = upload->offset;
    response = send_upload(upload, &request, error);
    if (!response)
        return FALSE;
    return msb_http_response_get_status(response) == 201 || unexpected(upload, response, error);
}

static gboolean
send_chunk(Upload *upload, GError **error)
{
    guint64 n = MIN(CHUNK, upload->size - upload->offset);
    g_autofree char *range = g_strdup_printf("Content-Range: %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT,
                                             upload->offset, upload->offset + n - 1);
    const char *const headers[] = {"Content-Type: application/octet-stream", range, NULL};
    MsbHttpFile file = {upload->fd, upload->offset, n, bytes_sent, upload};
    /* Half of it sent twice would not be what the registry has to have: whether it goes on is our decision. */
    MsbHttpRequest request = {.method = "PATCH", .url = upload->location, .headers = headers, .file = &file,
                              .fresh = TRUE};
    g_autoptr(MsbHttpResponse) response = NULL;

    upload->base = upload->offset;
    response = send_upload(upload, &request, error);
    if (!response)
        return FALSE;
    if (msb_http_response_get_status(response) != 202)
        return unexpected(upload, response, error);
    upload->offset += n;
    return take_location(upload, response, error);
}

/* After a broken chunk: how far did the registry get? Without an answer, the upload begins anew. */
static void
ask_progress(Upload *upload)
{
    MsbHttpRequest request = {.url = upload->location};
    g_autoptr(MsbHttpResponse) response = send_upload(upload, &request, NULL);
    const char *range = response && msb_http_response_get_status(response) == 204
                            ? msb_http_response_get_header(response, "range")
                            : NULL;
    guint64 last;

    if (range && g_str_has_prefix(range, "0-") &&
        g_ascii_string_to_unsigned(range + 2, 10, 0, upload->size - 1, &last, NULL) &&
        take_location(upload, response, NULL)) {
        /* "0-0" stands for nothing as well as for one byte. */
        upload->offset = last == 0 ? 0 : last + 1;
        return;
    }
    g_clear_pointer(&upload->location, g_free);
}

static gboolean
try_upload(Upload *upload, GError **error)
{
    gboolean mounted;

    if (!upload->location && !begin_upload(upload, NULL, &mounted, error))
        return FALSE;
    while (upload->size > CHUNK && upload->offset < upload->size) {
        if (!send_chunk(upload, error))
            return FALSE;
    }
    return finish_upload(upload, error);
}

/* What broke and may pass is tried again, from where the registry got. */
static gboolean
run_upload(Upload *upload, GError **error)
{
    guint failures = 0;

    for (;;) {
        guint64 before = upload->offset;
        g_autoptr(GError) local = NULL;
        gboolean may_pass;

        if (try_upload(upload, &local))
            return TRUE;
        failures = upload->offset > before ? 1 : failures + 1;
        /* An upload may be forgotten between two requests of it. */
        may_pass = g_error_matches(local, MSB_ERROR, MSB_ERROR_IO) ||
                   (upload->location && g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND));
        if (failures > upload->registry->retries || !may_pass) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (!msb_registry_back_off(failures - 1, 0, upload->cancellable, error))
            return FALSE;
        if (upload->location && upload->size > CHUNK)
            ask_progress(upload);
        else
            g_clear_pointer(&upload->location, g_free);
    }
}

static gboolean
has_blob(Upload *upload, gboolean *there, GError **error)
{
    g_autofree char *url =
        g_strdup_printf("%s/v2/%s/blobs/%s", upload->registry->base, upload->repository, upload->digest);
    MsbHttpRequest request = {.method = "HEAD", .url = url};
    g_autoptr(MsbHttpResponse) response =
        msb_registry_send_retrying(upload->registry, &request, upload->scope, upload->cancellable, error);

    if (!response)
        return FALSE;
    *there = msb_http_response_get_status(response) == 200;
    return *there || msb_http_response_get_status(response) == 404 || unexpected(upload, response, error);
}

gboolean
msb_registry_put_blob(MsbRegistry *registry, const char *repository, const char *digest, int fd, guint64 size,
                      const char *const *others, MsbBlobProgress progress, gpointer data, MsbBlobFate *fate,
                      GCancellable *cancellable, GError **error)
{
    g_autofree char *scope = push_scope(repository, NULL);
    Upload upload = {.registry = registry,
                     .repository = repository,
                     .digest = digest,
                     .scope = scope,
                     .fd = fd,
                     .size = size,
                     .progress = progress,
                     .data = data,
                     .cancellable = cancellable};
    gboolean there, good = has_blob(&upload, &there, error);

    *fate = MSB_BLOB_WAS_THERE;
    if (!good || there)
        return good;
    *fate = MSB_BLOB_MOUNTED;
    for (there = FALSE; good && !there && others && *others; others++) {
        g_autoptr(GError) local = NULL;

        /* A registry that refuses to mount gets the bytes. */
        if (!begin_upload(&upload, *others, &there, &local) &&
            g_error_matches(local, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
            g_propagate_error(error, g_steal_pointer(&local));
            good = FALSE;
        }
    }
    if (good && !there) {
        *fate = MSB_BLOB_UPLOADED;
        good = run_upload(&upload, error);
    }
    g_free(upload.location);
    return good;
}

gboolean
msb_registry_put_manifest(MsbRegistry *registry, const char *repository, const char *reference,
                          const char *media_type, GBytes *bytes, const char *digest,
                          GCancellable *cancellable, GError **error)
{
    g_autofree char *url = g_strdup_printf("%s/v2/%s/manifests/%s", registry->base, repository, reference);
    g_autofree char *type = g_strconcat("Content-Type: ", media_type, NULL);
    g_autofree char *scope = push_scope(repository, NULL);
    const char *const headers[] = {type, NULL};
    MsbHttpRequest request = {.method = "PUT", .url = url, .headers = headers, .body = bytes};
    g_autoptr(MsbHttpResponse) response =
        msb_registry_send_retrying(registry, &request, scope, cancellable, error);
    const char *got;

    if (!response)
        return FALSE;
    if (msb_http_response_get_status(response) != 201) {
        msb_registry_set_status_error(registry, response, repository, reference, cancellable, error);
        return FALSE;
    }
    got = msb_http_response_get_header(response, "docker-content-digest");
    return !got || strcmp(got, digest) == 0 ||
           msb_error_set(error, MSB_ERROR_CORRUPT, "registry '%s' filed the manifest of '%s' as %s, it is %s",
                         registry->host, repository, got, digest);
}

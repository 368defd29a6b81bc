/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry client: what a request goes through, and manifests.  msb_registry_send_once() (msb-registry-auth.c)
 * sees to authorization.  Around it msb_registry_send_retrying() tries again, with
 * exponential back-off and jitter, what may pass: broken connections, 408, 429 and
 * 5xx; a Retry-After of up to a minute is obeyed.
 */
#include <config.h>

#include <string.h>

#include "msb-error.h"
#include "msb-json.h"
#include "msb-registry-private.h"
#include "msb-settings.h"

#define ERROR_BODY_MAX (64 * 1024)
#define BACKOFF_MS 300
#define BACKOFF_MAX_MS 20000
#define RETRY_AFTER_MAX_MS 60000

#define ACCEPT_MANIFESTS \
    "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " \
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

/* ---- construction ------------------------------------------------------------------ */

MsbRegistry *
msb_registry_new(MsbHome *home, const char *host, const MsbRegistryOptions *options, GError **error)
{
    g_autoptr(MsbSettings) settings = msb_settings_load(home, error);
    g_autoptr(MsbRegistry) registry = NULL;
    const MsbHostSettings *said;
    MsbHttpOptions http;

    if (!settings)
        return NULL;
    said = msb_settings_get_host(settings, host);
    http = (MsbHttpOptions){ .ca_file = options->ca_file ? options->ca_file
                                        : said->ca_certs ? said->ca_certs : settings->ca_certs,
                             .stall_seconds = settings->stall_seconds,
                             .connect_seconds = settings->connect_seconds };
    registry = g_new0(MsbRegistry, 1);
    g_mutex_init(&registry->lock);
    g_mutex_init(&registry->credentials_lock);
    registry->home = msb_home_ref(home);
    registry->tokens = msb_registry_new_tokens();
    registry->session = msb_http_session_new(&http);
    registry->host = g_strdup(host);
    registry->plain_http = options->plain_http || (said->insecure && !options->mirror);
    registry->retries = options->retries ? options->retries : settings->retries;
    registry->base = g_strdup_printf("%s://%s", registry->plain_http ? "http" : "https",
                                     strcmp(host, "docker.io") == 0 ? "registry-1.docker.io" : host);
    if (options->username) {
        registry->credentials =
            msb_credentials_new(options->username, options->password ? options->password : "", "given explicitly");
        registry->asked = TRUE;
    }
    return g_steal_pointer(&registry);
}

void
msb_registry_free(MsbRegistry *registry)
{
    g_clear_pointer(&registry->session, msb_http_session_unref);
    g_clear_pointer(&registry->tokens, g_hash_table_unref);
    g_clear_pointer(&registry->credentials, msb_credentials_free);
    g_clear_pointer(&registry->home, msb_home_unref);
    g_mutex_clear(&registry->lock);
    g_mutex_clear(&registry->credentials_lock);
    g_free(registry->host);
    g_free(registry->base);
    g_free(registry);
}

/* ---- retries ------------------------------------------------------------------------- */

/* Wait, cancellably. */
gboolean
msb_registry_back_off(guint attempt, gint64 at_least_ms, GCancellable *cancellable, GError **error)
{
    gint64 ms = MIN((gint64)BACKOFF_MS << MIN(attempt, 16), BACKOFF_MAX_MS);
    GPollFD poll_fd;

    ms = MAX(ms / 2 + g_random_int_range(0, (gint32)ms), at_least_ms);
    if (cancellable && g_cancellable_make_pollfd(cancellable, &poll_fd)) {
        g_poll(&poll_fd, 1, (gint)ms);
        g_cancellable_release_fd(cancellable);
        return !g_cancellable_set_error_if_cancelled(cancellable, error);
    }
    g_poll(NULL, 0, (gint)ms);
    return TRUE;
}

static gint64
retry_after_ms(const MsbHttpResponse *response)
{
    const char *text = msb_http_response_get_header(response, "retry-after");
    guint64 seconds = 0;

    if (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32, &seconds, NULL))
        return 0;
    return MIN((gint64)seconds * 1000, RETRY_AFTER_MAX_MS);
}

static gboolean
status_may_pass(guint status)
{
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

MsbHttpResponse *
msb_registry_send_retrying(MsbRegistry *registry, const MsbHttpRequest *request, const char *scope,
              GCancellable *cancellable, GError **error)
{
    guint attempt;

    for (attempt = 0;; attempt++) {
        g_autoptr(GError) local = NULL;
        g_autoptr(MsbHttpResponse) response = msb_registry_send_once(registry, request, scope, cancellable, &local);
        gint64 wait = 0;

        if (response && !status_may_pass(msb_http_response_get_status(response)))
            return g_steal_pointer(&response);
        if (attempt >= registry->retries || (local && !g_error_matches(local, MSB_ERROR, MSB_ERROR_IO))) {
            if (local)
                g_propagate_error(error, g_steal_pointer(&local));
            return g_steal_pointer(&response);
        }
        if (response)
            wait = retry_after_ms(response);
        if (!msb_registry_back_off(attempt, wait, cancellable, error))
            return NULL;
    }
}

/* ---- errors the server explains --------------------------------------------------------- */

/* {"errors": [{"code", "message"}]} (distribution specification, "Error Codes"). */
static char *
server_message(MsbHttpResponse *response, GCancellable *cancellable)
{
    static const char printable[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .,:;/_-'()@=";
    g_autoptr(GBytes) body = msb_http_response_read_all(response, ERROR_BODY_MAX, cancellable, NULL);
    g_autoptr(JsonNode) root = NULL;
    char *message = NULL;
    JsonArray *errors;
    MsbJsonReader outer, inner;

    if (!body || g_bytes_get_size(body) == 0)
        return NULL;
    root = msb_json_parse("answer", g_bytes_get_data(body, NULL), g_bytes_get_size(body), NULL);
    if (!root)
        return NULL;
    msb_json_reader_begin(&outer, root, "answer");
    msb_json_reader_allow_unknown(&outer);
    errors = msb_json_get_array(&outer, "errors");
    if (errors && json_array_get_length(errors) > 0) {
        msb_json_reader_begin(&inner, json_array_get_element(errors, 0), "error");
        msb_json_reader_allow_unknown(&inner);
        message = g_strdup(msb_json_get_string(&inner, "message"));
        msb_json_reader_end(&inner, NULL);
    }
    msb_json_reader_end(&outer, NULL);
    return message ? g_strcanon(message, printable, '?') : NULL;
}

void
msb_registry_set_status_error(MsbRegistry *registry, MsbHttpResponse *response, const char *repository,
                              const char *reference, GCancellable *cancellable, GError **error)
{
    guint status = msb_http_response_get_status(response);
    g_autofree char *message = server_message(response, cancellable);
    const char *separator = strchr(reference, ':') ? "@" : ":";

    if (status == 404)
        msb_error_set(error, MSB_ERROR_NOT_FOUND, "registry '%s' has no '%s%s%s'", registry->host, repository,
                      separator, reference);
    else if (status == 401 || status == 403)
        msb_error_set(error, MSB_ERROR_FAILED, "registry '%s' refuses access to '%s'%s%s (%s)", registry->host,
                      repository, message ? ": " : "", message ? message : "",
                      registry->credentials ? "the credentials do not suffice" : "msb registry login");
    else
        msb_error_set(error, MSB_ERROR_IO, "registry '%s' answers %u for '%s%s%s'%s%s", registry->host, status,
                      repository, separator, reference, message ? ": " : "", message ? message : "");
}

/* ---- manifests ------------------------------------------------------------------------------ */

char *
msb_registry_pull_scope(const char *repository)
{
    return g_strdup_printf("repository:%s:pull", repository);
}

static char *
media_type_of(const MsbHttpResponse *response)
{
    const char *type = msb_http_response_get_header(response, "content-type");

    return g_strstrip(g_strndup(type ? type : "", type ? strcspn(type, ";") : 0));
}

GBytes *
msb_registry_get_manifest(MsbRegistry *registry, const char *repository, const char *reference,
                          char **media_type, char **digest, GCancellable *cancellable, GError **error)
{
    static const char *const accept[] = { ACCEPT_MANIFESTS, NULL };
    g_autofree char *url = g_strdup_printf("%s/v2/%s/manifests/%s", registry->base, repository, reference);
    g_autofree char *scope = msb_registry_pull_scope(repository);
    MsbHttpRequest request = { .url = url, .headers = accept };
    g_autoptr(MsbHttpResponse) response = msb_registry_send_retrying(registry, &request, scope, cancellable, error);
    g_autoptr(GBytes) body = NULL;
    g_autofree char *hex = NULL;
    g_autofree char *actual = NULL;

    if (!response)
        return NULL;
    if (msb_http_response_get_status(response) != 200) {
        msb_registry_set_status_error(registry, response, repository, reference, cancellable, error);
        return NULL;
    }
    body = msb_http_response_read_all(response, MSB_MANIFEST_MAX, cancellable, error);
    if (!body)
        return NULL;
    hex = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, body);
    actual = g_strconcat("sha256:", hex, NULL);
    if (strchr(reference, ':') && strcmp(reference, actual) != 0) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "the manifest of '%s' from registry '%s' does not match its digest: "
                      "expected %s, got %s", repository, registry->host, reference, actual);
        return NULL;
    }
    *media_type = media_type_of(response);
    *digest = g_steal_pointer(&actual);
    return g_steal_pointer(&body);
}

gboolean
msb_registry_check(MsbRegistry *registry, GCancellable *cancellable, GError **error)
{
    g_autofree char *url = g_strconcat(registry->base, "/v2/", NULL);
    MsbHttpRequest request = { .url = url };
    g_autoptr(MsbHttpResponse) response = msb_registry_send_retrying(registry, &request, "", cancellable, error);
    guint status;

    if (!response)
        return FALSE;
    status = msb_http_response_get_status(response);
    if (status == 200)
        return TRUE;
    if (status == 401 || status == 403)
        return msb_error_set(error, MSB_ERROR_FAILED, "registry '%s' does not accept these credentials",
                             registry->host);
    return msb_error_set(error, MSB_ERROR_FAILED, "'%s' answers %u: no registry with API version 2 is there", url,
                         status);
}

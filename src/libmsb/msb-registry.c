/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry client.  One request goes through msb_registry_send_once(): with the
 * token it has for the scope (or none), and once more after a 401 whose
 * challenge it could answer.  Around it msb_registry_send_retrying() tries again, with
 * exponential back-off and jitter, what may pass: broken connections, 408, 429 and
 * 5xx; a Retry-After of up to a minute is obeyed.
 *
 * Tokens are kept per scope until shortly before they expire.  Credentials go to the
 * registry itself (basic) or to the realm of its challenge (bearer), and nowhere
 * else: a realm over plain http gets none unless the registry itself is plain.
 */
#include <config.h>

#include <string.h>

#include "msb-error.h"
#include "msb-json.h"
#include "msb-registry-private.h"
#include "msb-settings.h"

#define TOKEN_MAX (1024 * 1024)
#define ERROR_BODY_MAX (64 * 1024)
#define BACKOFF_MS 300
#define BACKOFF_MAX_MS 20000
#define RETRY_AFTER_MAX_MS 60000
#define TOKEN_DEFAULT_SECONDS 60
#define TOKEN_MARGIN_SECONDS 10
/* Of one connection, for a blob, before it counts as no failure: else a server that sends a byte and breaks off would
 * be asked for ever. */
#define USEFUL_BYTES (64 * 1024)

#define ACCEPT_MANIFESTS \
    "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " \
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

typedef struct {
    char *value;            /* of the Authorization header */
    gint64 expires;         /* monotonic, microseconds */
} Token;

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

static void
token_free(Token *token)
{
    g_free(token->value);
    g_free(token);
}

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
    registry->tokens = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)token_free);
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

/* ---- authentication ------------------------------------------------------------------ */

/* Look for credentials, once: a Secret Service or a helper may ask its user, which nobody wants for what everybody may
 * have. Before registry->credentials is used. */
static gboolean
find_credentials(MsbRegistry *registry, GCancellable *cancellable, GError **error)
{
    gboolean good = TRUE;

    g_mutex_lock(&registry->credentials_lock);
    if (!registry->asked)
        good = registry->asked =
            msb_credentials_find(registry->home, registry->host, cancellable, &registry->credentials, error);
    g_mutex_unlock(&registry->credentials_lock);
    return good;
}

static char *
basic_authorization(const MsbCredentials *credentials)
{
    g_autofree char *pair = g_strdup_printf("%s:%s", credentials->username, credentials->password);
    g_autofree char *encoded = g_base64_encode((const guchar *)pair, strlen(pair));

    return g_strconcat("Basic ", encoded, NULL);
}

static char *
lookup_token(MsbRegistry *registry, const char *scope)
{
    char *value = NULL;
    Token *token;

    g_mutex_lock(&registry->lock);
    token = g_hash_table_lookup(registry->tokens, scope);
    if (token && token->expires > g_get_monotonic_time())
        value = g_strdup(token->value);
    g_mutex_unlock(&registry->lock);
    return value;
}

static void
keep_token(MsbRegistry *registry, const char *scope, const char *value, gint64 seconds)
{
    Token *token = g_new0(Token, 1);

    token->value = g_strdup(value);
    token->expires = g_get_monotonic_time() + MAX(seconds - TOKEN_MARGIN_SECONDS, 1) * G_USEC_PER_SEC;
    g_mutex_lock(&registry->lock);
    g_hash_table_replace(registry->tokens, g_strdup(scope), token);
    g_mutex_unlock(&registry->lock);
}

/* {"token"|"access_token": "...", "expires_in": seconds} (Docker's token authentication). */
static char *
parse_token(GBytes *body, gint64 *seconds)
{
    gsize length;
    const char *text = g_bytes_get_data(body, &length);
    g_autoptr(JsonNode) root = msb_json_parse("token", text, length, NULL);
    g_autofree char *value = NULL;
    MsbJsonReader reader;
    const char *token;
    const char *alias;

    if (!root)
        return NULL;
    msb_json_reader_begin(&reader, root, "token");
    msb_json_reader_allow_unknown(&reader);
    token = msb_json_get_string(&reader, "token");
    alias = msb_json_get_string(&reader, "access_token");
    *seconds = msb_json_get_int(&reader, "expires_in", TOKEN_DEFAULT_SECONDS, 0, G_MAXINT32);
    if (!token || !*token)
        token = alias;
    if (token && *token && !strpbrk(token, "\r\n"))
        value = g_strconcat("Bearer ", token, NULL);
    return msb_json_reader_end(&reader, NULL) ? g_steal_pointer(&value) : NULL;
}

/* The request to a token server: GET with basic credentials, or POST with an identity token (OAuth2). */
static MsbHttpResponse *
ask_token(MsbRegistry *registry, const char *realm, const char *service, const char *scope,
          GCancellable *cancellable, GError **error)
{
    static const char *const form[] = { "Content-Type: application/x-www-form-urlencoded", NULL };
    const MsbCredentials *credentials = registry->credentials;
    g_autofree char *service_esc = g_uri_escape_string(service ? service : "", NULL, FALSE);
    g_autofree char *scope_esc = g_uri_escape_string(scope, NULL, FALSE);
    g_auto(GStrv) scopes = g_strsplit(scope, " ", 4);      /* one parameter each, as token servers want it */
    g_autofree char *query = NULL;
    g_autofree char *url = NULL;
    g_autofree char *authorization = NULL;
    g_autoptr(GBytes) body = NULL;
    MsbHttpRequest request = { 0 };

    if (credentials && strcmp(credentials->username, "<token>") == 0) {
        g_autofree char *token_esc = g_uri_escape_string(credentials->password, NULL, FALSE);
        char *text = g_strdup_printf("grant_type=refresh_token&service=%s&scope=%s&client_id=msb&refresh_token=%s",
                                     service_esc, scope_esc, token_esc);

        body = g_bytes_new_take(text, strlen(text));
        request = (MsbHttpRequest){ .method = "POST", .url = realm, .headers = form, .body = body };
        return msb_http_send(registry->session, &request, cancellable, error);
    }
    query = g_strdup_printf("service=%s", service_esc);
    for (guint i = 0; scopes[i]; i++) {
        g_autofree char *before = query;
        g_autofree char *escaped = g_uri_escape_string(scopes[i], NULL, FALSE);

        query = scopes[i][0] ? g_strconcat(before, "&scope=", escaped, NULL) : g_steal_pointer(&before);
    }
    url = g_strdup_printf("%s%c%s", realm, strchr(realm, '?') ? '&' : '?', query);
    if (credentials)
        authorization = basic_authorization(credentials);
    request = (MsbHttpRequest){ .url = url, .authorization = authorization };
    return msb_http_send(registry->session, &request, cancellable, error);
}

static char *
fetch_token(MsbRegistry *registry, const char *challenge, const char *scope, GCancellable *cancellable, GError **error)
{
    g_autofree char *realm = msb_http_challenge_param(challenge, "realm");
    g_autofree char *service = msb_http_challenge_param(challenge, "service");
    g_autofree char *asked = msb_http_challenge_param(challenge, "scope");
    g_autoptr(MsbHttpResponse) response = NULL;
    g_autoptr(GBytes) body = NULL;
    g_autofree char *value = NULL;
    gint64 seconds = 0;

    if (!realm || !(g_str_has_prefix(realm, "https://") ||
                    (registry->plain_http && g_str_has_prefix(realm, "http://")))) {
        msb_error_set(error, MSB_ERROR_FAILED, "registry '%s' sends us for a token to '%s', which is not an https "
                      "address", registry->host, realm ? realm : "");
        return NULL;
    }
    response = ask_token(registry, realm, service, asked ? asked : scope, cancellable, error);
    if (!response)
        return NULL;
    if (msb_http_response_get_status(response) != 200) {
        msb_error_set(error, MSB_ERROR_FAILED, "registry '%s' refuses access (%u from its token server%s%s)",
                      registry->host, msb_http_response_get_status(response),
                      registry->credentials ? ", credentials " : "; msb registry login",
                      registry->credentials ? registry->credentials->origin : "");
        return NULL;
    }
    body = msb_http_response_read_all(response, TOKEN_MAX, cancellable, error);
    if (!body)
        return NULL;
    value = parse_token(body, &seconds);
    if (!value) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "the token server of registry '%s' does not answer with a token",
                      registry->host);
        return NULL;
    }
    keep_token(registry, scope, value, seconds);
    return g_steal_pointer(&value);
}

/* The Authorization value that answers a 401's challenge; NULL with error if there is none. */
static char *
answer_challenge(MsbRegistry *registry, const MsbHttpResponse *response, const char *scope,
                 GCancellable *cancellable, GError **error)
{
    const char *challenge = msb_http_response_get_header(response, "www-authenticate");

    if (!find_credentials(registry, cancellable, error))
        return NULL;
    if (challenge && g_ascii_strncasecmp(challenge, "bearer ", 7) == 0)
        return fetch_token(registry, challenge, scope, cancellable, error);
    if (challenge && g_ascii_strncasecmp(challenge, "basic", 5) == 0 && registry->credentials) {
        g_autofree char *value = basic_authorization(registry->credentials);

        keep_token(registry, scope, value, G_MAXINT32);
        return g_steal_pointer(&value);
    }
    msb_error_set(error, MSB_ERROR_FAILED, "registry '%s' wants credentials (msb registry login %s)",
                  registry->host, registry->host);
    return NULL;
}

MsbHttpResponse *
msb_registry_send_once(MsbRegistry *registry, const MsbHttpRequest *template, const char *scope,
                       GCancellable *cancellable, GError **error)
{
    g_autofree char *authorization = lookup_token(registry, scope);
    g_autoptr(MsbHttpResponse) response = NULL;
    MsbHttpRequest request = *template;

    request.authorization = authorization;
    response = msb_http_send(registry->session, &request, cancellable, error);
    if (!response || msb_http_response_get_status(response) != 401)
        return g_steal_pointer(&response);
    g_free(authorization);
    authorization = answer_challenge(registry, response, scope, cancellable, error);
    if (!authorization)
        return NULL;
    request.authorization = authorization;
    g_clear_pointer(&response, msb_http_response_free);
    return msb_http_send(registry->session, &request, cancellable, error);
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

static char *
pull_scope(const char *repository)
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
    g_autofree char *scope = pull_scope(repository);
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

/* ---- blobs ------------------------------------------------------------------------------------ */

/* (Re)open at blob->offset. */
static gboolean
blob_connect(MsbBlob *blob, GCancellable *cancellable, GError **error)
{
    g_autofree char *scope = pull_scope(blob->repository);
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

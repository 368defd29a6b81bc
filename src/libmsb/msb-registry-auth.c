/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Authentication to a registry.  A request goes with the token that there is for its scope (or none), and once more
 * after a 401 whose challenge could be answered.
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

#define TOKEN_MAX (1024 * 1024)
#define TOKEN_DEFAULT_SECONDS 60
#define TOKEN_MARGIN_SECONDS 10

typedef struct {
    char *value;            /* of the Authorization header */
    gint64 expires;         /* monotonic, microseconds */
} Token;

static void
token_free(gpointer data)
{
    Token *token = data;

    g_free(token->value);
    g_free(token);
}

GHashTable *
msb_registry_new_tokens(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, token_free);
}

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

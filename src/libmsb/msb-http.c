/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HTTP on libcurl, pulled instead of pushed: each response is one easy handle in
 * a multi handle that it has to itself, which msb_http_response_read() drives
 * until there are bytes.  The write callback stops the transfer when BUFFER_HIGH
 * bytes wait, so a slow reader slows the server down through TCP and nothing
 * piles up here.
 *
 * Everything a server says is hostile: header names, values and their number
 * are bounded; only http and https are spoken, also after redirects.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "msb-error.h"
#include "msb-http-private.h"

#define BUFFER_HIGH (1024 * 1024)
#define MAX_HEADERS 200
#define MAX_HEADER_LINE 16384
#define MAX_REDIRECTS 5L
#define POLL_MS 250
#define DISCARD_MAX (64 * 1024)

struct _MsbHttpResponse {
    MsbHttpSession *session;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers_out;
    GBytes *body;
    const MsbHttpFile *file;
    guint64 body_sent;
    char errbuf[CURL_ERROR_SIZE];
    char *url;

    guint status;
    GHashTable *headers;        /* lower-case name to value, of the last response of a chain */
    gboolean headers_done;
    GByteArray *buffer;
    gsize consumed;             /* of buffer */
    gboolean paused;
    gboolean discard;           /* nobody reads any more */
    gboolean done;
    CURLcode result;
};

/* ---- callbacks of one transfer --------------------------------------------------- */

static size_t
on_header(char *data, size_t size, size_t n, void *opaque)
{
    MsbHttpResponse *response = opaque;
    gsize length = size * n;
    const char *colon;

    if (length > MAX_HEADER_LINE)
        return 0;
    if (length >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        g_hash_table_remove_all(response->headers);   /* a new response of a redirect chain */
        return length;
    }
    colon = memchr(data, ':', length);
    if (colon && colon > data) {
        g_autofree char *name = g_ascii_strdown(data, colon - data);
        g_autofree char *value = g_strndup(colon + 1, length - (gsize)(colon + 1 - data));

        if (g_hash_table_size(response->headers) >= MAX_HEADERS)
            return 0;
        g_hash_table_replace(response->headers, g_steal_pointer(&name), g_strdup(g_strstrip(value)));
    }
    return length;
}

static size_t
on_body(char *data, size_t size, size_t n, void *opaque)
{
    MsbHttpResponse *response = opaque;
    gsize length = size * n;

    response->headers_done = TRUE;
    if (response->discard) {
        response->consumed += length;
        return response->consumed > DISCARD_MAX ? 0 : length;
    }
    if (response->buffer->len - response->consumed > BUFFER_HIGH) {
        response->paused = TRUE;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (response->consumed == response->buffer->len) {
        g_byte_array_set_size(response->buffer, 0);
        response->consumed = 0;
    }
    g_byte_array_append(response->buffer, (const guint8 *)data, (guint)length);
    return length;
}

static guint64
body_size(const MsbHttpResponse *response)
{
    return response->file ? response->file->size : g_bytes_get_size(response->body);
}

static size_t
on_upload_file(char *data, size_t size, size_t n, void *opaque)
{
    MsbHttpResponse *response = opaque;
    const MsbHttpFile *file = response->file;
    gsize length = (gsize)MIN((guint64)size * n, file->size - response->body_sent);
    gssize got;

    do {
        got = pread(file->fd, data, length, (off_t)(file->offset + response->body_sent));
    } while (got < 0 && errno == EINTR);
    if (got < 0 || (got == 0 && length > 0))
        return CURL_READFUNC_ABORT;
    response->body_sent += (guint64)got;
    if (file->sent)
        file->sent(response->body_sent, file->data);
    return (size_t)got;
}

static size_t
on_upload(char *data, size_t size, size_t n, void *opaque)
{
    MsbHttpResponse *response = opaque;
    gsize total;
    const char *bytes = g_bytes_get_data(response->body, &total);
    gsize length = (gsize)MIN((guint64)size * n, total - response->body_sent);

    memcpy(data, bytes + response->body_sent, length);
    response->body_sent += length;
    return length;
}

static int
on_seek(void *opaque, curl_off_t offset, int origin)
{
    MsbHttpResponse *response = opaque;

    if (origin != SEEK_SET || offset < 0 || (guint64)offset > body_size(response))
        return CURL_SEEKFUNC_CANTSEEK;
    response->body_sent = (guint64)offset;
    return CURL_SEEKFUNC_OK;
}

/* ---- driving -------------------------------------------------------------------- */

/* Errors for which another try could help. */
static gboolean
is_transient(CURLcode code)
{
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_COULDNT_RESOLVE_HOST:    /* a typing error, or no network: say so at once */
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_WRITE_ERROR:
    case CURLE_SSL_CERTPROBLEM:
        return FALSE;
    default:
        return TRUE;
    }
}

/* What answers does not speak TLS; libcurl has no code for it, and passes OpenSSL's or GnuTLS's words on. */
static gboolean
is_plain(const MsbHttpResponse *response)
{
    return response->result == CURLE_SSL_CONNECT_ERROR &&
           (strstr(response->errbuf, "wrong version number") || strstr(response->errbuf, "unexpected TLS packet"));
}

static void
set_curl_error(MsbHttpResponse *response, GError **error)
{
    const char *what = response->errbuf[0] ? response->errbuf : curl_easy_strerror(response->result);
    MsbError code = is_transient(response->result) ? MSB_ERROR_IO : MSB_ERROR_FAILED;

    if (is_plain(response)) {
        msb_error_set(error, MSB_ERROR_FAILED, "'%s': the server does not speak TLS (--insecure talks plain HTTP)",
                      response->url);
        return;
    }
    if (response->result == CURLE_PEER_FAILED_VERIFICATION)
        msb_error_set(error, code, "'%s': the server's certificate does not verify: %s (--ca-certs FILE names "
                      "the authority to trust)", response->url, what);
    else
        msb_error_set(error, code, "'%s': %s", response->url, what);
}

static void
collect_result(MsbHttpResponse *response)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(response->multi, &left))) {
        if (message->msg == CURLMSG_DONE) {
            response->done = TRUE;
            response->headers_done = TRUE;
            response->result = message->data.result;
        }
    }
}

/* Let the transfer go on, waiting at most POLL_MS for something to happen. */
static gboolean
step(MsbHttpResponse *response, GCancellable *cancellable, GError **error)
{
    int running;

    if (g_cancellable_set_error_if_cancelled(cancellable, error))
        return FALSE;
    if (curl_multi_perform(response->multi, &running) != CURLM_OK)
        return msb_error_set(error, MSB_ERROR_FAILED, "'%s': the transfer engine failed", response->url);
    collect_result(response);
    if (!response->done && response->buffer->len == response->consumed)
        curl_multi_poll(response->multi, NULL, 0, POLL_MS, NULL);
    return TRUE;
}

static void
set_headers(MsbHttpResponse *response, const MsbHttpRequest *request)
{
    guint i;

    for (i = 0; request->headers && request->headers[i]; i++)
        response->headers_out = curl_slist_append(response->headers_out, request->headers[i]);
    if (request->authorization) {
        g_autofree char *line = g_strdup_printf("Authorization: %s", request->authorization);

        response->headers_out = curl_slist_append(response->headers_out, line);
    }
    response->headers_out = curl_slist_append(response->headers_out, "Expect:");
    curl_easy_setopt(response->easy, CURLOPT_HTTPHEADER, response->headers_out);
}

static void
set_method(MsbHttpResponse *response, const MsbHttpRequest *request)
{
    CURL *easy = response->easy;

    if (request->body || request->file) {
        response->body = request->body ? g_bytes_ref(request->body) : NULL;
        response->file = request->file;
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, request->file ? on_upload_file : on_upload);
        curl_easy_setopt(easy, CURLOPT_READDATA, response);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, response);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)body_size(response));
    }
    if (g_strcmp0(request->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else if (request->method)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static void
set_options(MsbHttpResponse *response, const MsbHttpRequest *request)
{
    const MsbHttpSession *session = response->session;
    gboolean https = g_ascii_strncasecmp(request->url, "https:", 6) == 0;
    CURL *easy = response->easy;

    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_SHARE, session->share);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, response->errbuf);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, PACKAGE_NAME "/" PACKAGE_VERSION);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request->no_redirect ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, MAX_REDIRECTS);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)session->connect_seconds);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1024L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)session->stall_seconds);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
    if (session->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, session->ca_file);
    if (session->insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (request->fresh)
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    if (request->offset)
        curl_easy_setopt(easy, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)request->offset);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, response);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, response);
    set_method(response, request);
    set_headers(response, request);
}

MsbHttpResponse *
msb_http_send(MsbHttpSession *session, const MsbHttpRequest *request, GCancellable *cancellable, GError **error)
{
    g_autoptr(MsbHttpResponse) response = g_new0(MsbHttpResponse, 1);
    long status = 0;

    response->session = msb_http_session_ref(session);
    response->url = g_strdup(request->url);
    response->headers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    response->buffer = g_byte_array_new();
    response->multi = msb_http_session_take_multi(session);
    response->easy = curl_easy_init();
    if (!response->multi || !response->easy) {
        msb_error_set(error, MSB_ERROR_FAILED, "libcurl could not be set up");
        return NULL;
    }
    set_options(response, request);
    if (curl_multi_add_handle(response->multi, response->easy) != CURLM_OK) {
        msb_error_set(error, MSB_ERROR_FAILED, "'%s': the request could not be started", request->url);
        return NULL;
    }
    while (!response->headers_done) {
        if (!step(response, cancellable, error))
            return NULL;
    }
    if (response->done && response->result != CURLE_OK && response->buffer->len == 0) {
        set_curl_error(response, error);
        return NULL;
    }
    curl_easy_getinfo(response->easy, CURLINFO_RESPONSE_CODE, &status);
    response->status = (guint)status;
    return g_steal_pointer(&response);
}

gssize
msb_http_response_read(MsbHttpResponse *response, void *buf, gsize size, GCancellable *cancellable, GError **error)
{
    gsize n;

    while (response->buffer->len == response->consumed && !response->done) {
        if (response->paused) {
            response->paused = FALSE;
            curl_easy_pause(response->easy, CURLPAUSE_CONT);
        }
        if (!step(response, cancellable, error))
            return -1;
    }
    n = MIN(size, response->buffer->len - response->consumed);
    if (n > 0) {
        memcpy(buf, response->buffer->data + response->consumed, n);
        response->consumed += n;
        return (gssize)n;
    }
    if (response->result != CURLE_OK) {
        set_curl_error(response, error);
        return -1;
    }
    return 0;
}

GBytes *
msb_http_response_read_all(MsbHttpResponse *response, gsize max, GCancellable *cancellable, GError **error)
{
    g_autoptr(GByteArray) all = g_byte_array_new();
    guint8 chunk[16384];
    gssize n;

    while ((n = msb_http_response_read(response, chunk, sizeof chunk, cancellable, error)) > 0) {
        if (all->len + (gsize)n > max) {
            msb_error_set(error, MSB_ERROR_CORRUPT, "'%s': the answer is larger than %zu bytes", response->url, max);
            return NULL;
        }
        g_byte_array_append(all, chunk, (guint)n);
    }
    return n < 0 ? NULL : g_byte_array_free_to_bytes(g_steal_pointer(&all));
}

guint
msb_http_response_get_status(const MsbHttpResponse *response)
{
    return response->status;
}

const char *
msb_http_response_get_url(const MsbHttpResponse *response)
{
    char *url = NULL;

    curl_easy_getinfo(response->easy, CURLINFO_EFFECTIVE_URL, &url);
    return url ? url : response->url;
}

const char *
msb_http_response_get_header(const MsbHttpResponse *response, const char *name)
{
    g_autofree char *lower = g_ascii_strdown(name, -1);

    return g_hash_table_lookup(response->headers, lower);
}

gint64
msb_http_response_get_length(const MsbHttpResponse *response)
{
    curl_off_t length = -1;

    curl_easy_getinfo(response->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length;
}

/* A connection can be used again when its answer has been read: what is here of it already is let in. */
static void
finish_transfer(MsbHttpResponse *response)
{
    int running;

    if (response->done || !response->headers_done)
        return;
    response->discard = TRUE;
    response->consumed = 0;
    if (response->paused)
        curl_easy_pause(response->easy, CURLPAUSE_CONT);
    curl_multi_perform(response->multi, &running);
}

void
msb_http_response_free(MsbHttpResponse *response)
{
    if (response->multi && response->easy) {
        finish_transfer(response);
        curl_multi_remove_handle(response->multi, response->easy);
    }
    if (response->easy)
        curl_easy_cleanup(response->easy);
    if (response->multi)
        msb_http_session_give_multi(response->session, response->multi);
    curl_slist_free_all(response->headers_out);
    g_clear_pointer(&response->body, g_bytes_unref);
    g_clear_pointer(&response->headers, g_hash_table_unref);
    g_clear_pointer(&response->buffer, g_byte_array_unref);
    msb_http_session_unref(response->session);
    g_free(response->url);
    g_free(response);
}

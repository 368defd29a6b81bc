/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HTTP as a registry client needs it, on libcurl: a session with the settings
 * that all requests share, and responses read as a stream, at the reader's
 * pace, in bounded memory.  Internal to libmsb.
 */
#ifndef MSB_HTTP_H
#define MSB_HTTP_H

#include <gio/gio.h>

G_BEGIN_DECLS

typedef struct _MsbHttpSession MsbHttpSession;
typedef struct _MsbHttpResponse MsbHttpResponse;

typedef struct {
    const char *ca_file;        /* PEM bundle that is trusted instead of the system's, NULL = the system's */
    gboolean insecure;          /* certificates are not verified (plain http needs no switch here) */
    guint stall_seconds;        /* give up when less than 1 KiB/s arrives for that long; 0 = 30 */
    guint connect_seconds;      /* 0 = 20 */
} MsbHttpOptions;

/* Options are copied. A session is thread-safe: it shares DNS answers and TLS sessions, and keeps connections for the
 * next request. */
MsbHttpSession *msb_http_session_new(const MsbHttpOptions *options);
MsbHttpSession *msb_http_session_ref(MsbHttpSession *session);
void msb_http_session_unref(MsbHttpSession *session);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbHttpSession, msb_http_session_unref)

/* A body that is read from a file as it is sent. */
typedef struct {
    int fd;                         /* borrowed, may be shared: its position is not used */
    guint64 offset, size;
    void (*sent)(guint64 bytes, gpointer data);     /* of this body so far; may be NULL */
    gpointer data;
} MsbHttpFile;

typedef struct {
    const char *method;             /* NULL = GET; HEAD, POST, PUT, PATCH, DELETE */
    const char *url;
    const char *const *headers;     /* "Name: value", may be NULL. After a redirect, not sent to another host. */
    const char *authorization;      /* value of the Authorization header, NULL = none; same rule */
    guint64 offset;                 /* Range: bytes=offset-, 0 = the whole */
    GBytes *body;                   /* POST, PUT, PATCH */
    const MsbHttpFile *file;        /* the same from a file, instead; must stay until the answer is there */
    gboolean no_redirect;
    gboolean fresh;                 /* by a new connection: libcurl repeats, unseen, what breaks on one that was used */
} MsbHttpRequest;

/* Send the request and wait for the final response's header. A response of any status is a success here;
 * FALSE means none came (MSB_ERROR_IO, transient; MSB_ERROR_FAILED when trying again is pointless, such as a
 * certificate that does not verify). Redirects are followed, 5 at most, never from https to http. */
MsbHttpResponse *msb_http_send(MsbHttpSession *session, const MsbHttpRequest *request,
                               GCancellable *cancellable, GError **error);
guint msb_http_response_get_status(const MsbHttpResponse *response);
/* The address that answered: the request's, or where redirects led. */
const char *msb_http_response_get_url(const MsbHttpResponse *response);
/* Value of a header (name in any case), NULL if it is absent; the last one if there are several. */
const char *msb_http_response_get_header(const MsbHttpResponse *response, const char *name);
/* Content-Length, or -1. */
gint64 msb_http_response_get_length(const MsbHttpResponse *response);
/* Next bytes of the body: up to size, 0 at the end, -1 with error (a body shorter than announced is an
 * MSB_ERROR_IO too). */
gssize msb_http_response_read(MsbHttpResponse *response, void *buf, gsize size, GCancellable *cancellable,
                              GError **error);
/* The rest of the body, at most max bytes (more is MSB_ERROR_CORRUPT). */
GBytes *msb_http_response_read_all(MsbHttpResponse *response, gsize max, GCancellable *cancellable, GError **error);
void msb_http_response_free(MsbHttpResponse *response);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbHttpResponse, msb_http_response_free)

/* A parameter of a challenge such as `Bearer realm="...",scope="..."` (transfer full), NULL if absent. */
char *msb_http_challenge_param(const char *challenge, const char *name);

G_END_DECLS

#endif

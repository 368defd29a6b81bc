/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the HTTP client share: msb-http-session.c, msb-http.c (one request and its response). */
#ifndef MSB_HTTP_PRIVATE_H
#define MSB_HTTP_PRIVATE_H

#include <curl/curl.h>

#include "msb-http.h"

G_BEGIN_DECLS

struct _MsbHttpSession {
    gint refs;
    CURLSH *share;
    GMutex locks[CURL_LOCK_DATA_LAST];
    GMutex idle_lock;
    GPtrArray *idle;            /* of CURLM that no response has; the last one is taken first */
    char *ca_file;
    gboolean insecure;
    guint stall_seconds;
    guint connect_seconds;
};

/* A multi handle for one response alone, with connections of those before it; NULL if libcurl has none. */
CURLM *msb_http_session_take_multi(MsbHttpSession *session);
/* Give it back, without easy handles. */
void msb_http_session_give_multi(MsbHttpSession *session, CURLM *multi);

G_END_DECLS

#endif

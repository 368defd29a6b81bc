/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What requests share: settings, DNS answers, TLS sessions, and connections; and
 * how challenges are read.
 *
 * Connections stay open in the multi handle, which goes back to the session with
 * the response and serves the next one: there are as many connections to a host
 * as responses were read at once.  Bodies do not share one HTTP/2 connection, as
 * a reader that pauses (it may wait for another layer) would hold up the others,
 * or its share of the window (32 MiB in libcurl) would pile up in memory.
 */
#include <config.h>

#include "msb-http-private.h"

#define KEPT_CONNECTIONS 6L     /* by one multi handle: the registry's, its token server's, where it redirects to */

static void
share_lock(CURL *easy, curl_lock_data data, curl_lock_access access, void *opaque)
{
    MsbHttpSession *session = opaque;

    g_mutex_lock(&session->locks[data]);
}

static void
share_unlock(CURL *easy, curl_lock_data data, void *opaque)
{
    MsbHttpSession *session = opaque;

    g_mutex_unlock(&session->locks[data]);
}

static void
free_multi(gpointer multi)
{
    curl_multi_cleanup(multi);
}

MsbHttpSession *
msb_http_session_new(const MsbHttpOptions *options)
{
    static gsize initialised;
    MsbHttpSession *session = g_new0(MsbHttpSession, 1);
    guint i;

    if (g_once_init_enter(&initialised)) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        g_once_init_leave(&initialised, 1);
    }
    session->refs = 1;
    for (i = 0; i < G_N_ELEMENTS(session->locks); i++)
        g_mutex_init(&session->locks[i]);
    session->share = curl_share_init();
    curl_share_setopt(session->share, CURLSHOPT_LOCKFUNC, share_lock);
    curl_share_setopt(session->share, CURLSHOPT_UNLOCKFUNC, share_unlock);
    curl_share_setopt(session->share, CURLSHOPT_USERDATA, session);
    curl_share_setopt(session->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(session->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    g_mutex_init(&session->idle_lock);
    session->idle = g_ptr_array_new_with_free_func(free_multi);
    session->ca_file = g_strdup(options->ca_file);
    session->insecure = options->insecure;
    session->stall_seconds = options->stall_seconds ? options->stall_seconds : 30;
    session->connect_seconds = options->connect_seconds ? options->connect_seconds : 20;
    return session;
}

MsbHttpSession *
msb_http_session_ref(MsbHttpSession *session)
{
    g_atomic_int_inc(&session->refs);
    return session;
}

void
msb_http_session_unref(MsbHttpSession *session)
{
    guint i;

    if (!g_atomic_int_dec_and_test(&session->refs))
        return;
    g_ptr_array_unref(session->idle);
    g_mutex_clear(&session->idle_lock);
    curl_share_cleanup(session->share);
    for (i = 0; i < G_N_ELEMENTS(session->locks); i++)
        g_mutex_clear(&session->locks[i]);
    g_free(session->ca_file);
    g_free(session);
}

CURLM *
msb_http_session_take_multi(MsbHttpSession *session)
{
    CURLM *multi = NULL;

    g_mutex_lock(&session->idle_lock);
    if (session->idle->len > 0)
        multi = g_ptr_array_steal_index(session->idle, session->idle->len - 1);
    g_mutex_unlock(&session->idle_lock);
    if (!multi) {
        multi = curl_multi_init();
        if (multi)
            curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
    }
    return multi;
}

void
msb_http_session_give_multi(MsbHttpSession *session, CURLM *multi)
{
    g_mutex_lock(&session->idle_lock);
    g_ptr_array_add(session->idle, multi);
    g_mutex_unlock(&session->idle_lock);
}

/* ---- challenges (RFC 9110, 11.2: token or quoted-string after name=) ----------------- */

char *
msb_http_challenge_param(const char *challenge, const char *name)
{
    gsize length = strlen(name);
    const char *p = strchr(challenge, ' ');

    while (p && *p) {
        GString *value = NULL;
        const char *start;

        p += strspn(p, " ,\t");
        start = p;
        p += strcspn(p, "=, ");
        if (*p != '=')
            continue;
        if ((gsize)(p - start) == length && g_ascii_strncasecmp(start, name, length) == 0)
            value = g_string_new(NULL);
        p++;
        if (*p == '"') {
            for (p++; *p && *p != '"'; p++) {
                if (*p == '\\' && p[1])
                    p++;
                if (value)
                    g_string_append_c(value, *p);
            }
            p += *p == '"';
        } else {
            for (; *p && *p != ',' && *p != ' '; p++) {
                if (value)
                    g_string_append_c(value, *p);
            }
        }
        if (value)
            return g_string_free(value, FALSE);
    }
    return NULL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay's life and the agent's side of it: see sv-relay.h. */
#include <config.h>

#include <errno.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "sv-log.h"
#include "sv-relay-private.h"

static void
free_session(gpointer session)
{
    sv_session_free(session);
}

SvRelay *
sv_relay_new(SvExecLog *log, const SvRelayFuncs *funcs, gpointer data)
{
    SvRelay *relay = g_new0(SvRelay, 1);

    relay->log = log;
    relay->funcs = funcs;
    relay->data = data;
    relay->sessions = g_hash_table_new_full(NULL, NULL, NULL, free_session);
    g_queue_init(&relay->ended);
    relay->clients = g_ptr_array_new();
    relay->hangup_grace_ms = SV_HANGUP_GRACE_MS;
    relay->listen_fd = -1;
    relay->state = MP_CTL_STARTING;
    relay->started_us = g_get_real_time();
    return relay;
}

static void
stop_listening(SvRelay *relay)
{
    if (relay->listen_source)
        g_source_remove(relay->listen_source);
    relay->listen_source = 0;
    mb_close(mb_steal_fd(&relay->listen_fd));
    if (relay->listen_path)
        unlink(relay->listen_path);
    g_clear_pointer(&relay->listen_path, g_free);
}

void
sv_relay_free(SvRelay *relay)
{
    if (!relay)
        return;
    stop_listening(relay);
    g_hash_table_remove_all(relay->sessions);
    while (relay->clients->len > 0)
        sv_client_free(g_ptr_array_index(relay->clients, relay->clients->len - 1));
    g_ptr_array_unref(relay->clients);
    g_hash_table_unref(relay->sessions);
    g_queue_clear_full(&relay->ended, free_session);
    g_strfreev(relay->timings);
    g_free(relay->message);
    g_free(relay);
}

void
sv_relay_set_hangup_grace(SvRelay *relay, guint ms)
{
    relay->hangup_grace_ms = ms;
}

void
sv_relay_set_state(SvRelay *relay, enum mp_ctl_state state, const char *message, const char *const *timings)
{
    char **copy = g_strdupv((char **)timings);
    char *text = g_strdup(message);

    g_strfreev(relay->timings);
    g_free(relay->message);
    relay->timings = copy;
    relay->message = text;
    relay->state = state;
    sv_clients_announce_state(relay);
}

void
sv_relay_set_agent(SvRelay *relay, MsbLink *agent)
{
    relay->agent = agent;
}

gboolean
sv_relay_is_flushed(const SvRelay *relay)
{
    for (guint i = 0; i < relay->clients->len; i++)
        if (!msb_link_is_closed(((SvClient *)g_ptr_array_index(relay->clients, i))->link))
            return FALSE;
    return TRUE;
}

gboolean
sv_relay_is_quiet(const SvRelay *relay)
{
    return relay->last_id > 0 && relay->clients->len == 0 && g_hash_table_size(relay->sessions) == 0;
}

void
sv_relay_check_quiet(SvRelay *relay)
{
    if (relay->agent && relay->funcs->quiet && sv_relay_is_quiet(relay))
        relay->funcs->quiet(relay->data);
}

guint
sv_relay_count_clients(const SvRelay *relay)
{
    return relay->clients->len;
}

guint
sv_relay_count_sessions(const SvRelay *relay)
{
    return g_hash_table_size(relay->sessions);
}

void
sv_relay_end_sessions(SvRelay *relay, const char *message)
{
    GHashTableIter iter;
    gpointer session;

    relay->agent = NULL;
    g_hash_table_iter_init(&iter, relay->sessions);
    while (g_hash_table_iter_next(&iter, NULL, &session))
        sv_session_lost(session, message);
    g_hash_table_remove_all(relay->sessions);
}

void
sv_relay_close_clients(SvRelay *relay)
{
    stop_listening(relay);
    for (guint i = relay->clients->len; i > 0; i--) {
        SvClient *client = g_ptr_array_index(relay->clients, i - 1);

        if (msb_link_get_queued(client->link) == 0)
            sv_client_free(client);
        else
            msb_link_close_after_write(client->link);
    }
}

/* ---- the agent's frames ------------------------------------------------------------ */

static gboolean
handle_output(SvSession *session, const struct mp_header *h, const guint8 *payload, GError **error)
{
    guint stream = h->type == MP_STDERR ? 1 : 0;

    if (h->length > MP_DATA_MAX || session->unacked[stream] + h->length > MP_WINDOW)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "the guest sent more output than its window allows");
    sv_session_agent_output(session, h->type, payload, h->length);
    return TRUE;
}

static gboolean
handle_started(SvSession *session, const struct mp_header *h, const guint8 *payload, GError **error)
{
    struct mp_dec d;
    guint32 pid;

    mp_dec_init(&d, payload, h->length);
    pid = mp_get_u32(&d);
    if (mp_dec_end(&d) < 0 || pid == 0 || session->pid != 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "the guest sent a bad STARTED message");
    session->pid = pid;
    sv_session_announce_started(session);
    return TRUE;
}

static gboolean
handle_end(SvSession *session, const struct mp_header *h, const guint8 *payload, GError **error)
{
    int r;

    if (h->type == MP_EXITED) {
        bool signalled;
        guint32 code;

        r = mp_exited_decode(payload, h->length, &signalled, &code);
    } else {
        struct mp_exec_failed failed = { 0 };

        r = mp_exec_failed_decode(&failed, payload, h->length);
        if (r == 0)
            mp_exec_failed_clear(&failed);
    }
    if (r < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "the guest sent a bad end of a command");
    sv_session_ended(session, h->type, payload, h->length);
    return TRUE;
}

static gboolean
handle_stdin_credit(SvSession *session, const struct mp_header *h, const guint8 *payload, GError **error)
{
    guint8 stream;
    guint32 n;
    int r = mp_credit_decode(payload, h->length, &stream, &n);

    if (r < 0 || stream != 0 || n > MP_WINDOW - session->stdin_window)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "the guest credited what was not sent");
    session->stdin_window += n;
    sv_session_pump_stdin(session);
    return TRUE;
}

gboolean
sv_relay_agent_frame(SvRelay *relay, const struct mp_header *h, const guint8 *payload, GError **error)
{
    SvSession *session = g_hash_table_lookup(relay->sessions, GUINT_TO_POINTER(h->session));

    /* Not known, or over: frames about it may still have been under way. */
    if (!session)
        return TRUE;
    switch (h->type) {
    case MP_STARTED:
        return handle_started(session, h, payload, error);
    case MP_STDOUT:
    case MP_STDERR:
        return handle_output(session, h, payload, error);
    case MP_EXEC_FAILED:
    case MP_EXITED:
        return handle_end(session, h, payload, error);
    case MP_CREDIT:
        return handle_stdin_credit(session, h, payload, error);
    default:
        /* A later agent may have more to say. */
        return TRUE;
    }
}

void
sv_relay_agent_drained(SvRelay *relay)
{
    GHashTableIter iter;
    gpointer session;

    g_hash_table_iter_init(&iter, relay->sessions);
    while (g_hash_table_iter_next(&iter, NULL, &session))
        sv_session_agent_drained(session);
}

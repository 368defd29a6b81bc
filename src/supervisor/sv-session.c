/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sessions and attachments: starting, attaching, leaving, ending.  sv-relay.h has
 * the picture and the bounds, sv-streams.c what flows.
 */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "msb-error.h"
#include "sv-log.h"
#include "sv-relay-private.h"

/* Bytes of a command line that are kept: SV_MAX_SESSIONS of them fit in one frame. */
#define ARGV_SHOWN 512u

/* ---- small things ------------------------------------------------------------ */

static void
agent_send_u32(SvSession *session, guint16 type, guint32 value)
{
    g_auto(SvEnc) e = { 0 };

    if (!session->relay->agent)
        return;
    mp_enc_begin(&e, type, session->id, 0);
    mp_put_u32(&e, value);
    if (mp_enc_end(&e) == 0)
        msb_link_send(session->relay->agent, &e);
}

static void
send_started(const SvAttachment *attachment)
{
    g_auto(SvEnc) e = { 0 };

    mp_enc_begin(&e, MP_STARTED, attachment->number, 0);
    mp_put_u32(&e, attachment->session->pid);
    mp_put_u32(&e, attachment->session->id);
    if (mp_enc_end(&e) == 0)
        msb_link_send(attachment->client->link, &e);
}

void
sv_session_announce_started(SvSession *session)
{
    for (guint i = 0; i < session->attachments->len; i++)
        send_started(g_ptr_array_index(session->attachments, i));
}

/* ---- life ---------------------------------------------------------------------- */

static guint32
new_id(SvRelay *relay)
{
    /* Never 0, never one in use, even after four billion commands. */
    do
        relay->last_id++;
    while (relay->last_id == 0 || g_hash_table_contains(relay->sessions, GUINT_TO_POINTER(relay->last_id)));
    return relay->last_id;
}

static SvSession *
session_new(SvRelay *relay, char **argv, gboolean tty)
{
    SvSession *session = g_new0(SvSession, 1);

    session->relay = relay;
    session->id = new_id(relay);
    session->argv = argv;
    session->tty = tty;
    session->started_us = g_get_real_time();
    session->attachments = g_ptr_array_new_with_free_func(g_free);
    session->ring = sv_ring_new();
    g_queue_init(&session->stdin_queue);
    session->stdin_window = MP_WINDOW;
    g_hash_table_insert(relay->sessions, GUINT_TO_POINTER(session->id), session);
    return session;
}

void
sv_session_free(SvSession *session)
{
    if (session->kill_timer)
        g_source_remove(session->kill_timer);
    for (guint i = 0; i < session->attachments->len; i++) {
        const SvAttachment *a = g_ptr_array_index(session->attachments, i);

        g_hash_table_remove(a->client->attachments, GUINT_TO_POINTER(a->number));
    }
    g_ptr_array_unref(session->attachments);
    sv_session_drop_stdin(session);
    g_strfreev(session->argv);
    sv_ring_free(session->ring);
    g_clear_pointer(&session->end_payload, g_bytes_unref);
    g_free(session);
}

static SvAttachment *
attach(SvClient *client, SvSession *session, guint32 number)
{
    SvAttachment *previous = sv_session_owner(session);
    SvAttachment *a = g_new0(SvAttachment, 1);

    if (previous)
        sv_attachment_return_stdin(previous);
    if (session->kill_timer) {
        g_source_remove(session->kill_timer);
        session->kill_timer = 0;
    }
    a->client = client;
    a->session = session;
    a->number = number;
    g_ptr_array_add(session->attachments, a);
    g_hash_table_insert(client->attachments, GUINT_TO_POINTER(number), a);
    return a;
}

/* The beginning of a command line, for the log and the list of commands. */
static char **
shorten(char **argv)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    gsize left = ARGV_SHOWN;

    for (char **arg = argv; *arg; arg++) {
        g_autofree char *text = g_strdup(*arg);

        gsize cost = strlen(text) + 4;    /* with its length in the list */

        if (cost > left) {
            text[left > 4 ? left - 4 : 0] = 0;
            g_strv_builder_add(builder, text);
            g_strv_builder_add(builder, "...");
            break;
        }
        left -= cost;
        g_strv_builder_add(builder, text);
    }
    return g_strv_builder_end(builder);
}

static void
log_start(SvSession *session)
{
    g_autoptr(GString) line = g_string_new("started:");

    for (char **arg = session->argv; *arg; arg++) {
        g_autofree char *quoted = g_shell_quote(*arg);
        gboolean plain = **arg && !strpbrk(*arg, " \t\n'\"\\$`;&|<>()*?[]#~!{}");

        g_string_append_printf(line, " %s", plain ? *arg : quoted);
    }
    sv_exec_log_system(session->relay->log, session->id, "%s", line->str);
}

gboolean
sv_session_exec(SvClient *client, guint32 number, const guint8 *payload, gsize n, GError **error)
{
    SvRelay *relay = client->relay;
    struct mp_exec exec = { 0 };
    SvSession *session;
    int r;

    r = mp_exec_decode(&exec, payload, n);
    if (r < 0 || !exec.argv || !exec.argv[0]) {
        mp_exec_clear(&exec);
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a command that cannot be decoded");
    }
    if (!relay->agent || relay->state != MP_CTL_RUNNING) {
        sv_client_send_error(client, number, relay->state == MP_CTL_STARTING ? EAGAIN : ESHUTDOWN,
                             relay->state == MP_CTL_STARTING ? "the sandbox is still starting"
                                                             : "the sandbox is stopping");
    } else if (g_hash_table_size(relay->sessions) >= SV_MAX_SESSIONS) {
        sv_client_send_error(client, number, EAGAIN, "%u commands are running, the most there can be",
                             SV_MAX_SESSIONS);
    } else if (msb_link_get_queued(relay->agent) > SV_AGENT_QUEUE_MAX) {
        sv_client_send_error(client, number, EAGAIN, "the guest does not take any more commands");
    } else {
        session = session_new(relay, shorten(exec.argv), exec.tty != 0);
        attach(client, session, number);
        msb_link_send_data(relay->agent, MP_EXEC, session->id, payload, n);
        log_start(session);
    }
    mp_exec_clear(&exec);
    return TRUE;
}

/* ---- attaching and leaving ------------------------------------------------------- */

static void
send_end(const SvAttachment *attachment)
{
    const SvSession *session = attachment->session;

    msb_link_send_bytes(attachment->client->link, session->end_type, attachment->number, session->end_payload);
}

static SvSession *
take_ended(SvRelay *relay, guint32 id)
{
    for (GList *l = relay->ended.head; l; l = l->next) {
        SvSession *session = l->data;

        if (session->id == id) {
            g_queue_delete_link(&relay->ended, l);
            return session;
        }
    }
    return NULL;
}

void
sv_session_attach(SvClient *client, guint32 number, guint32 id)
{
    SvRelay *relay = client->relay;
    SvSession *session = g_hash_table_lookup(relay->sessions, GUINT_TO_POINTER(id));
    SvSession *ended = session ? NULL : take_ended(relay, id);
    SvAttachment *a;

    if (!session && !ended) {
        sv_client_send_error(client, number, ESRCH, "no command %u is running", id);
        return;
    }
    a = attach(client, session ? session : ended, number);
    if (a->session->pid)
        send_started(a);
    sv_attachment_replay(a);
    if (ended) {
        send_end(a);
        sv_session_free(ended);
    } else {
        /* The pace is the new owner's now: what the previous one had not read no longer holds. */
        sv_session_acknowledge(session);
    }
}

/* A guest that says that SIGKILL did not end it lies, or does not answer any more. */
static gboolean
give_up(gpointer data)
{
    SvSession *session = data;
    SvRelay *relay = session->relay;
    gboolean workload = session->workload;

    session->kill_timer = 0;
    sv_session_lost(session, "the guest does not end it, given up");
    g_hash_table_remove(relay->sessions, GUINT_TO_POINTER(session->id));
    if (workload && relay->funcs->workload_ended)
        relay->funcs->workload_ended(relay->data);
    sv_relay_check_quiet(relay);
    return G_SOURCE_REMOVE;
}

static gboolean
kill_now(gpointer data)
{
    SvSession *session = data;

    sv_exec_log_system(session->relay->log, session->id, "killed: its client is gone and it ignored SIGHUP");
    agent_send_u32(session, MP_SIGNAL, SIGKILL);
    session->kill_timer = g_timeout_add(session->relay->hangup_grace_ms, give_up, session);
    return G_SOURCE_REMOVE;
}

static void
hang_up(SvSession *session)
{
    sv_exec_log_system(session->relay->log, session->id, "its client is gone, SIGHUP sent");
    sv_session_drop_stdin(session);
    session->stdin_ended = TRUE;
    sv_session_pump_stdin(session);
    agent_send_u32(session, MP_SIGNAL, SIGHUP);
    if (!session->kill_timer)
        session->kill_timer = g_timeout_add(session->relay->hangup_grace_ms, kill_now, session);
}

void
sv_attachment_remove(SvAttachment *attachment, gboolean lost)
{
    SvSession *session = attachment->session;

    g_hash_table_remove(attachment->client->attachments, GUINT_TO_POINTER(attachment->number));
    g_ptr_array_remove(session->attachments, attachment);
    if (lost && session->attachments->len == 0 && !session->kept)
        hang_up(session);
    sv_session_acknowledge(session);
}

/* ---- the end ----------------------------------------------------------------------- */

static void
log_end(SvSession *session, guint16 type, const guint8 *p, gsize n)
{
    SvExecLog *log = session->relay->log;
    bool signalled;
    guint32 code;

    sv_session_end_output(session);
    if (type == MP_EXEC_FAILED)
        sv_exec_log_system(log, session->id, "could not be started");
    else if (mp_exited_decode(p, n, &signalled, &code) < 0)
        return;
    else if (signalled)
        sv_exec_log_system(log, session->id, "ended by signal %u", code);
    else
        sv_exec_log_system(log, session->id, "exited with status %u", code);
}

/* A detached command that ended waits for whoever attaches to learn how. */
static void
keep_ended(SvSession *session)
{
    SvRelay *relay = session->relay;

    sv_session_drop_stdin(session);
    if (session->kill_timer) {
        g_source_remove(session->kill_timer);
        session->kill_timer = 0;
    }
    g_queue_push_tail(&relay->ended, session);
    if (relay->ended.length > SV_MAX_ENDED)
        sv_session_free(g_queue_pop_head(&relay->ended));
}

void
sv_session_ended(SvSession *session, guint16 type, const guint8 *p, gsize n)
{
    SvRelay *relay = session->relay;
    gboolean workload = session->workload;

    log_end(session, type, p, n);
    session->end_type = type;
    session->end_payload = g_bytes_new(p, n);
    for (guint i = 0; i < session->attachments->len; i++)
        send_end(g_ptr_array_index(session->attachments, i));
    g_hash_table_steal(relay->sessions, GUINT_TO_POINTER(session->id));
    if (session->kept && session->attachments->len == 0)
        keep_ended(session);
    else
        sv_session_free(session);
    if (workload && relay->funcs->workload_ended)
        relay->funcs->workload_ended(relay->data);
    sv_relay_check_quiet(relay);
}

void
sv_session_lost(SvSession *session, const char *message)
{
    sv_session_end_output(session);
    sv_exec_log_system(session->relay->log, session->id, "lost: %s", message);
    for (guint i = 0; i < session->attachments->len; i++) {
        const SvAttachment *a = g_ptr_array_index(session->attachments, i);

        sv_client_send_error(a->client, a->number, ECONNRESET, "%s", message);
    }
    /* The caller owns the table of sessions. */
}

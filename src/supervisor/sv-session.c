/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sessions and attachments: starting, attaching, output, stdin, ending.
 * sv-relay.h has the picture and the bounds.
 *
 * Output.  The agent may have MP_WINDOW bytes of a stream uncredited.  It is
 * credited when the owner has credited us: unacked follows the owner's unread.
 * Without an owner it is credited at once.  An agent that does not take what is
 * sent to it gets no credit either, or it could make that queue grow for ever.
 *
 * Stdin.  The owner may have MP_WINDOW bytes uncredited; it is credited when
 * they go on to the agent, which they do as its own window allows.
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

static SvAttachment *
owner_of(const SvSession *session)
{
    guint n = session->attachments->len;

    return n > 0 ? g_ptr_array_index(session->attachments, n - 1) : NULL;
}

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
send_credit(MsbLink *link, guint32 number, guint8 stream, gsize n)
{
    g_auto(SvEnc) e = { 0 };

    if (link && mp_credit_encode(&e, number, stream, (guint32)n) == 0)
        msb_link_send(link, &e);
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

gboolean
sv_attachment_is_owner(const SvAttachment *attachment)
{
    return attachment == owner_of(attachment->session);
}

static const char *
stream_name(const SvSession *session, guint stream)
{
    if (session->tty)
        return "output";
    return stream == 0 ? "stdout" : "stderr";
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

static void
drop_stdin(SvSession *session)
{
    g_queue_clear_full(&session->stdin_queue, (GDestroyNotify)g_bytes_unref);
    session->stdin_queued = 0;
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
    drop_stdin(session);
    g_strfreev(session->argv);
    sv_ring_free(session->ring);
    g_clear_pointer(&session->end_payload, g_bytes_unref);
    g_free(session);
}

static SvAttachment *
attach(SvClient *client, SvSession *session, guint32 number)
{
    SvAttachment *previous = owner_of(session);
    SvAttachment *a = g_new0(SvAttachment, 1);

    if (previous && previous->stdin_uncredited > 0) {
        send_credit(previous->client->link, previous->number, 0, previous->stdin_uncredited);
        previous->stdin_uncredited = 0;
    }
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

/* ---- output -------------------------------------------------------------------- */

/* Whether more may be queued for the agent than what somebody asked for.  If not, the drained callback comes. */
static gboolean
agent_has_room(const SvRelay *relay)
{
    return relay->agent && msb_link_get_queued(relay->agent) <= MSB_LINK_LOW_WATER;
}

/* Credit the agent for what the owner has read, or for all when there is none. */
static void
acknowledge(SvSession *session, guint stream)
{
    const SvAttachment *owner = owner_of(session);
    gsize hold = owner ? owner->unread[stream] : 0;
    gsize n;

    if (session->unacked[stream] < hold + SV_CREDIT_BATCH || !agent_has_room(session->relay))
        return;
    n = session->unacked[stream] - hold;
    session->unacked[stream] = hold;
    send_credit(session->relay->agent, session->id, (guint8)(stream + 1), n);
}

static void
acknowledge_all(SvSession *session)
{
    acknowledge(session, 0);
    acknowledge(session, 1);
}

static void
cut_off(SvAttachment *attachment)
{
    SvClient *client = attachment->client;
    guint32 number = attachment->number;

    sv_attachment_remove(attachment, FALSE);
    sv_client_send_error(client, number, ENOBUFS, "you read too slowly to watch a command that another owns");
}

void
sv_session_agent_output(SvSession *session, guint16 type, const guint8 *p, gsize n)
{
    guint stream = type == MP_STDERR ? 1 : 0;
    g_autoptr(GBytes) bytes = NULL;

    if (n == 0)
        return;
    session->unacked[stream] += n;
    sv_exec_log_output(session->relay->log, stream_name(session, stream), session->id, &session->tails[stream],
                       p, n);
    sv_ring_add(session->ring, (guint8)(stream + 1), p, n);
    if (session->attachments->len > 0)
        bytes = g_bytes_new(p, n);
    for (guint i = session->attachments->len; i > 0; i--) {
        SvAttachment *a = g_ptr_array_index(session->attachments, i - 1);

        if (i < session->attachments->len && a->unread[stream] + n > SV_LAG_MAX) {
            cut_off(a);
            continue;
        }
        a->unread[stream] += n;
        msb_link_send_bytes(a->client->link, type, a->number, bytes);
    }
    acknowledge(session, stream);
}

gboolean
sv_attachment_credit(SvAttachment *attachment, guint8 stream, guint32 n, GError **error)
{
    SvSession *session = attachment->session;

    if (stream < 1 || stream > 2 || n > attachment->unread[stream - 1])
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a credit for what was not sent");
    attachment->unread[stream - 1] -= n;
    if (attachment == owner_of(session))
        acknowledge(session, stream - 1u);
    return TRUE;
}

static void
replay_piece(guint8 stream, const guint8 *p, gsize n, gpointer data)
{
    SvAttachment *a = data;

    a->unread[stream - 1] += n;
    msb_link_send_data(a->client->link, stream == 2 ? MP_STDERR : MP_STDOUT, a->number, p, n);
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
    sv_ring_replay(a->session->ring, replay_piece, a);
    if (ended) {
        send_end(a);
        sv_session_free(ended);
    } else {
        /* The pace is the new owner's now: what the previous one had not read no longer holds. */
        acknowledge_all(session);
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
    drop_stdin(session);
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
    acknowledge_all(session);
}

/* ---- stdin ----------------------------------------------------------------------- */

void
sv_session_pump_stdin(SvSession *session)
{
    MsbLink *agent = session->relay->agent;
    gsize moved = 0;
    SvAttachment *owner;

    while (session->stdin_queued > 0 && session->stdin_window > 0 && agent_has_room(session->relay)) {
        g_autoptr(GBytes) first = g_queue_pop_head(&session->stdin_queue);
        gsize size = g_bytes_get_size(first);
        gsize n = MIN(size, MIN(session->stdin_window, (gsize)MP_DATA_MAX));

        msb_link_send_data(agent, MP_STDIN, session->id, g_bytes_get_data(first, NULL), n);
        if (n < size)
            g_queue_push_head(&session->stdin_queue, g_bytes_new_from_bytes(first, n, size - n));
        session->stdin_queued -= n;
        session->stdin_window -= n;
        moved += n;
    }
    if (agent && session->stdin_ended && session->stdin_queued == 0 && !session->stdin_eof_sent) {
        session->stdin_eof_sent = TRUE;
        msb_link_send_data(agent, MP_STDIN_EOF, session->id, NULL, 0);
    }
    owner = owner_of(session);
    if (moved > 0 && owner) {
        gsize n = owner->stdin_uncredited > session->stdin_queued ? owner->stdin_uncredited - session->stdin_queued
                                                                  : 0;

        if (n >= SV_CREDIT_BATCH) {
            owner->stdin_uncredited -= n;
            send_credit(owner->client->link, owner->number, 0, n);
        }
    }
}

void
sv_session_agent_drained(SvSession *session)
{
    sv_session_pump_stdin(session);
    acknowledge_all(session);
}

gboolean
sv_attachment_stdin(SvAttachment *attachment, const guint8 *p, gsize n, GError **error)
{
    SvSession *session = attachment->session;

    if (n > MP_DATA_MAX || attachment->stdin_uncredited + n > MP_WINDOW)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "more input than its window allows");
    attachment->stdin_uncredited += n;
    /* What a watcher types, or what comes after the end, goes nowhere. */
    if (attachment != owner_of(session) || session->stdin_ended) {
        if (attachment->stdin_uncredited >= SV_CREDIT_BATCH) {
            send_credit(attachment->client->link, attachment->number, 0, attachment->stdin_uncredited);
            attachment->stdin_uncredited = 0;
        }
        return TRUE;
    }
    if (session->stdin_queued + n > SV_STDIN_MAX) {
        cut_off(attachment);
        return TRUE;
    }
    if (n > 0) {
        g_queue_push_tail(&session->stdin_queue, g_bytes_new(p, n));
        session->stdin_queued += n;
    }
    sv_session_pump_stdin(session);
    return TRUE;
}

void
sv_attachment_stdin_eof(SvAttachment *attachment)
{
    if (attachment != owner_of(attachment->session))
        return;
    attachment->session->stdin_ended = TRUE;
    sv_session_pump_stdin(attachment->session);
}

/* ---- the end ----------------------------------------------------------------------- */

static void
log_end(SvSession *session, guint16 type, const guint8 *p, gsize n)
{
    SvExecLog *log = session->relay->log;
    bool signalled;
    guint32 code;

    for (guint stream = 0; stream < 2; stream++)
        sv_exec_log_end(log, stream_name(session, stream), session->id, &session->tails[stream]);
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

    drop_stdin(session);
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
    for (guint stream = 0; stream < 2; stream++)
        sv_exec_log_end(session->relay->log, stream_name(session, stream), session->id, &session->tails[stream]);
    sv_exec_log_system(session->relay->log, session->id, "lost: %s", message);
    for (guint i = 0; i < session->attachments->len; i++) {
        const SvAttachment *a = g_ptr_array_index(session->attachments, i);

        sv_client_send_error(a->client, a->number, ECONNRESET, "%s", message);
    }
    /* The caller owns the table of sessions. */
}

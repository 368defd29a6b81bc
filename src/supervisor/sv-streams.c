/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What flows between an agent's command and those attached to it.
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

#include "msb-error.h"
#include "sv-relay-private.h"

SvAttachment *
sv_session_owner(const SvSession *session)
{
    guint n = session->attachments->len;

    return n > 0 ? g_ptr_array_index(session->attachments, n - 1) : NULL;
}

gboolean
sv_attachment_is_owner(const SvAttachment *attachment)
{
    return attachment == sv_session_owner(attachment->session);
}

static void
send_credit(MsbLink *link, guint32 number, guint8 stream, gsize n)
{
    g_auto(SvEnc) e = { 0 };

    if (link && mp_credit_encode(&e, number, stream, (guint32)n) == 0)
        msb_link_send(link, &e);
}

static const char *
stream_name(const SvSession *session, guint stream)
{
    if (session->tty)
        return "output";
    return stream == 0 ? "stdout" : "stderr";
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
    const SvAttachment *owner = sv_session_owner(session);
    gsize hold = owner ? owner->unread[stream] : 0;
    gsize n;

    if (session->unacked[stream] < hold + SV_CREDIT_BATCH || !agent_has_room(session->relay))
        return;
    n = session->unacked[stream] - hold;
    session->unacked[stream] = hold;
    send_credit(session->relay->agent, session->id, (guint8)(stream + 1), n);
}

void
sv_session_acknowledge(SvSession *session)
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
    if (attachment == sv_session_owner(session))
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

void
sv_attachment_replay(SvAttachment *attachment)
{
    sv_ring_replay(attachment->session->ring, replay_piece, attachment);
}

void
sv_session_end_output(SvSession *session)
{
    for (guint stream = 0; stream < 2; stream++)
        sv_exec_log_end(session->relay->log, stream_name(session, stream), session->id, &session->tails[stream]);
}

/* ---- stdin ----------------------------------------------------------------------- */

void
sv_session_drop_stdin(SvSession *session)
{
    g_queue_clear_full(&session->stdin_queue, (GDestroyNotify)g_bytes_unref);
    session->stdin_queued = 0;
}

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
    owner = sv_session_owner(session);
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
    sv_session_acknowledge(session);
}

void
sv_attachment_return_stdin(SvAttachment *attachment)
{
    if (attachment->stdin_uncredited > 0)
        send_credit(attachment->client->link, attachment->number, 0, attachment->stdin_uncredited);
    attachment->stdin_uncredited = 0;
}

gboolean
sv_attachment_stdin(SvAttachment *attachment, const guint8 *p, gsize n, GError **error)
{
    SvSession *session = attachment->session;

    if (n > MP_DATA_MAX || attachment->stdin_uncredited + n > MP_WINDOW)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "more input than its window allows");
    attachment->stdin_uncredited += n;
    /* What a watcher types, or what comes after the end, goes nowhere. */
    if (attachment != sv_session_owner(session) || session->stdin_ended) {
        if (attachment->stdin_uncredited >= SV_CREDIT_BATCH)
            sv_attachment_return_stdin(attachment);
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
    if (attachment != sv_session_owner(attachment->session))
        return;
    attachment->session->stdin_ended = TRUE;
    sv_session_pump_stdin(attachment->session);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients of the control socket: accepting them, and their frames.
 *
 * The socket is 0600 in a 0700 directory, and a peer's uid is looked at all the
 * same.  A client that breaks the protocol is told why and hung up on.  One that
 * does not read its answers is not read from until it does.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib-unix.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "sv-log.h"
#include "sv-relay-private.h"

#define LISTEN_BACKLOG 64

void
sv_client_send_error(SvClient *client, guint32 number, int errnum, const char *format, ...)
{
    g_auto(SvEnc) e = { 0 };
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    mp_enc_begin(&e, MP_CTL_ERROR, number, 0);
    mp_put_u32(&e, (guint32)errnum);
    mp_put_str(&e, text);
    if (mp_enc_end(&e) == 0)
        msb_link_send(client->link, &e);
}

void
sv_client_send_ok(SvClient *client, guint32 number, guint32 value, gboolean with_value)
{
    g_auto(SvEnc) e = { 0 };

    mp_enc_begin(&e, MP_CTL_OK, number, 0);
    if (with_value)
        mp_put_u32(&e, value);
    if (mp_enc_end(&e) == 0)
        msb_link_send(client->link, &e);
}

static void
send_status(SvClient *client)
{
    SvRelay *relay = client->relay;
    g_auto(SvEnc) e = { 0 };
    struct mp_ctl_status status = {
        .version = MP_VERSION,
        .state = (guint8)relay->state,
        .supervisor_pid = (guint32)getpid(),
        .started_ns = (guint64)relay->started_us * 1000,
        .message = relay->message,
        .timings = relay->timings,
    };

    if (mp_ctl_status_encode(&e, &status) == 0)
        msb_link_send(client->link, &e);
}

void
sv_clients_announce_state(SvRelay *relay)
{
    if (relay->state == MP_CTL_STARTING)
        return;
    for (guint i = 0; i < relay->clients->len; i++) {
        SvClient *client = g_ptr_array_index(relay->clients, i);

        if (client->wants_ready)
            send_status(client);
        client->wants_ready = FALSE;
    }
}

static void
send_sessions(SvClient *client)
{
    SvRelay *relay = client->relay;
    g_auto(SvEnc) e = { 0 };
    g_autofree struct mp_ctl_session *list = g_new0(struct mp_ctl_session, SV_MAX_SESSIONS);
    unsigned n = 0;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, relay->sessions);
    while (n < SV_MAX_SESSIONS && g_hash_table_iter_next(&iter, NULL, &value)) {
        const SvSession *session = value;

        list[n].id = session->id;
        list[n].attached = (guint8)MIN(session->attachments->len, 255);
        list[n].tty = session->tty != 0;
        list[n].pid = session->pid;
        list[n].started_ns = (guint64)session->started_us * 1000;
        list[n++].argv = session->argv;
    }
    if (mp_ctl_session_list_encode(&e, list, n) == 0)
        msb_link_send(client->link, &e);
    else
        sv_client_send_error(client, 0, EMSGSIZE, "the list of commands is too long to send");
}

/* ---- frames -------------------------------------------------------------------------- */

static gboolean
handle_hello(SvClient *client, const guint8 *p, gsize n, GError **error)
{
    struct mp_dec d;
    guint32 version;

    mp_dec_init(&d, p, n);
    version = mp_get_u32(&d);
    if (mp_dec_end(&d) < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a greeting that cannot be decoded");
    if (version != MP_VERSION) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_UNSUPPORTED,
                    "the client speaks version %u of the protocol, this sandbox's supervisor version %d; "
                    "stop the sandbox with the msb that started it", version, MP_VERSION);
        return FALSE;
    }
    client->greeted = TRUE;
    send_status(client);
    return TRUE;
}

static gboolean
handle_stop(SvClient *client, const guint8 *p, gsize n, GError **error)
{
    struct mp_dec d;
    guint32 grace;
    gboolean force;

    mp_dec_init(&d, p, n);
    grace = mp_get_u32(&d);
    force = mp_get_u8(&d) != 0;
    if (mp_dec_end(&d) < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a stop request that cannot be decoded");
    sv_client_send_ok(client, 0, 0, FALSE);
    client->relay->funcs->stop(grace, force, client->relay->data);
    return TRUE;
}

static gboolean
handle_connection_frame(SvClient *client, const struct mp_header *h, const guint8 *payload, GError **error)
{
    switch (h->type) {
    case MP_CTL_HELLO:
        return handle_hello(client, payload, h->length, error);
    case MP_CTL_STATUS:
        send_status(client);
        return TRUE;
    case MP_CTL_SESSIONS:
        send_sessions(client);
        return TRUE;
    case MP_CTL_STOP:
        return handle_stop(client, payload, h->length, error);
    case MP_CTL_DISK_CHANGED:
        return sv_client_disk_changed(client, payload, h->length, error);
    case MP_CTL_DISK_GROW:
        return sv_client_disk_grow(client, payload, h->length, error);
    case MP_CTL_WAIT_READY:
        if (client->relay->state == MP_CTL_STARTING)
            client->wants_ready = TRUE;
        else
            send_status(client);
        return TRUE;
    default:
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a message of unknown type %u", h->type);
    }
}

/* EXEC and ATTACH make a session number, the others need one. */
static gboolean
handle_new_session(SvClient *client, const struct mp_header *h, const guint8 *payload, GError **error)
{
    struct mp_dec d;
    guint32 id;

    if (g_hash_table_contains(client->attachments, GUINT_TO_POINTER(h->session)))
        return msb_error_set(error, MSB_ERROR_CORRUPT, "session number %u is taken", h->session);
    if (h->type == MP_EXEC)
        return sv_session_exec(client, h->session, payload, h->length, error);
    mp_dec_init(&d, payload, h->length);
    id = mp_get_u32(&d);
    if (mp_dec_end(&d) < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "an attach request that cannot be decoded");
    sv_session_attach(client, h->session, id);
    return TRUE;
}

static void
detach(SvAttachment *attachment)
{
    SvSession *session = attachment->session;
    SvClient *client = attachment->client;
    guint32 number = attachment->number;

    session->kept = TRUE;
    sv_attachment_remove(attachment, FALSE);
    sv_client_send_ok(client, number, session->id, TRUE);
}

static void
pass_on(SvSession *session, const struct mp_header *h, const guint8 *payload)
{
    if (session->relay->agent && msb_link_get_queued(session->relay->agent) <= SV_AGENT_QUEUE_MAX)
        msb_link_send_data(session->relay->agent, h->type, session->id, payload, h->length);
}

static gboolean
handle_credit(SvAttachment *attachment, const struct mp_header *h, const guint8 *payload, GError **error)
{
    guint8 stream;
    guint32 n;

    if (mp_credit_decode(payload, h->length, &stream, &n) < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a credit that cannot be decoded");
    return sv_attachment_credit(attachment, stream, n, error);
}

static gboolean
handle_session_frame(SvClient *client, const struct mp_header *h, const guint8 *payload, GError **error)
{
    SvAttachment *attachment;

    if (h->type == MP_EXEC || h->type == MP_CTL_ATTACH)
        return handle_new_session(client, h, payload, error);
    attachment = g_hash_table_lookup(client->attachments, GUINT_TO_POINTER(h->session));
    /* It may have ended while this was under way. */
    if (!attachment)
        return TRUE;
    switch (h->type) {
    case MP_STDIN:
        return sv_attachment_stdin(attachment, payload, h->length, error);
    case MP_STDIN_EOF:
        sv_attachment_stdin_eof(attachment);
        return TRUE;
    case MP_CREDIT:
        return handle_credit(attachment, h, payload, error);
    case MP_SIGNAL:
        if (h->length != 4)
            return msb_error_set(error, MSB_ERROR_CORRUPT, "a signal that cannot be decoded");
        pass_on(attachment->session, h, payload);
        return TRUE;
    case MP_RESIZE:
        if (h->length != 4)
            return msb_error_set(error, MSB_ERROR_CORRUPT, "a window size that cannot be decoded");
        if (sv_attachment_is_owner(attachment))
            pass_on(attachment->session, h, payload);
        return TRUE;
    case MP_CTL_DETACH:
        detach(attachment);
        return TRUE;
    case MP_CTL_WORKLOAD:
        attachment->session->workload = TRUE;
        return TRUE;
    default:
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a message of unknown type %u", h->type);
    }
}

static gboolean
client_frame(MsbLink *link, const struct mp_header *h, const guint8 *payload, gpointer data, GError **error)
{
    SvClient *client = data;
    g_autoptr(GError) local = NULL;
    gboolean good;

    if (!client->greeted && (h->session != 0 || h->type != MP_CTL_HELLO))
        good = msb_error_set(&local, MSB_ERROR_CORRUPT, "a message before the greeting");
    else if (h->session == 0)
        good = handle_connection_frame(client, h, payload, &local);
    else
        good = handle_session_frame(client, h, payload, &local);
    if (!good) {
        sv_client_send_error(client, 0, EPROTO, "%s", local->message);
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (msb_link_get_queued(link) > SV_CLIENT_QUEUE_MAX)
        msb_link_set_reading(link, FALSE);
    return TRUE;
}

static void
client_drained(MsbLink *link, gpointer data G_GNUC_UNUSED)
{
    msb_link_set_reading(link, TRUE);
}

static void
client_closed(MsbLink *link G_GNUC_UNUSED, const GError *error, gpointer data)
{
    if (error)
        sv_warn("a client was hung up on: %s", error->message);
    sv_client_free(data);
}

static const MsbLinkFuncs client_funcs = { client_frame, client_drained, client_closed };

/* ---- life ------------------------------------------------------------------------------ */

void
sv_client_free(SvClient *client)
{
    g_autoptr(GList) attachments = g_hash_table_get_values(client->attachments);
    SvRelay *relay = client->relay;

    for (GList *l = attachments; l; l = l->next)
        sv_attachment_remove(l->data, TRUE);
    g_ptr_array_remove_fast(relay->clients, client);
    g_hash_table_unref(client->attachments);
    msb_link_unref(client->link);
    g_free(client->growing);
    g_free(client);
    sv_relay_check_quiet(relay);
}

void
sv_relay_add_client(SvRelay *relay, int fd)
{
    SvClient *client = g_new0(SvClient, 1);

    client->relay = relay;
    client->attachments = g_hash_table_new(NULL, NULL);
    client->link = msb_link_new(fd, &client_funcs, client);
    g_ptr_array_add(relay->clients, client);
}

/* Ours, or root's. */
static gboolean
is_allowed(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || len != sizeof(cred))
        return FALSE;
    return cred.uid == geteuid() || cred.uid == 0;
}

static gboolean
accept_client(gint listen_fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    SvRelay *relay = data;
    mb_autofd int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return G_SOURCE_CONTINUE;
    if (!is_allowed(fd)) {
        sv_warn("a connection of another user was refused");
        return G_SOURCE_CONTINUE;
    }
    if (relay->clients->len >= SV_MAX_CLIENTS) {
        sv_warn("a connection was refused: %u clients are connected", relay->clients->len);
        return G_SOURCE_CONTINUE;
    }
    sv_relay_add_client(relay, mb_steal_fd(&fd));
    return G_SOURCE_CONTINUE;
}

/* The socket appears under its name when it already listens: whoever sees it can connect. */
gboolean
sv_relay_listen(SvRelay *relay, const char *path, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_autofree char *early = g_strconcat(path, "+", NULL);
    mb_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (g_strlcpy(address.sun_path, early, sizeof(address.sun_path)) >= sizeof(address.sun_path))
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "the socket path '%s' is longer than %zu bytes: use a shorter MSB_HOME", path,
                             sizeof(address.sun_path) - 2);
    unlink(early);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(early, 0600) < 0 ||
        listen(fd, LISTEN_BACKLOG) < 0 || rename(early, path) < 0)
        return msb_error_set_errno(error, errno, "cannot listen on '%s'", path);
    relay->listen_path = g_strdup(path);
    relay->listen_fd = mb_steal_fd(&fd);
    relay->listen_source = g_unix_fd_add(relay->listen_fd, G_IO_IN, accept_client, relay);
    return TRUE;
}

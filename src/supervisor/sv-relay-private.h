/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay's own structures, for its own files alone: relay, session, streams, clients, disks. */
#ifndef SV_RELAY_PRIVATE_H
#define SV_RELAY_PRIVATE_H

#include "sv-relay.h"

G_BEGIN_DECLS

typedef struct SvSession SvSession;
typedef struct SvClient SvClient;

typedef struct {
    SvClient *client;
    SvSession *session;
    guint32 number;              /* the client's name for it */
    gsize unread[2];             /* of stdout, stderr: sent and not credited by the client */
    gsize stdin_uncredited;      /* received and not credited to the client */
} SvAttachment;

struct SvSession {
    SvRelay *relay;
    guint32 id;
    char **argv;
    gboolean tty;
    gboolean kept;               /* was detached once: lives without clients */
    gboolean workload;           /* the sandbox ends with it */
    guint32 pid;                 /* 0 until started */
    gint64 started_us;           /* real time */
    GPtrArray *attachments;      /* of SvAttachment, owned; the last one owns the session */
    gsize unacked[2];            /* of stdout, stderr: received and not credited to the agent */
    SvLogTail tails[2];
    SvRing *ring;
    GQueue stdin_queue;          /* of GBytes: waits for the agent's credit */
    gsize stdin_queued;
    gsize stdin_window;          /* what the agent still takes */
    gboolean stdin_ended;        /* MP_STDIN_EOF is to be sent, or was, after the queue */
    gboolean stdin_eof_sent;
    guint kill_timer;
    guint16 end_type;            /* MP_EXITED or MP_EXEC_FAILED once it ended, and what came with it */
    GBytes *end_payload;
};

struct SvClient {
    SvRelay *relay;
    MsbLink *link;
    GHashTable *attachments;     /* number -> SvAttachment, borrowed */
    gboolean greeted;
    gboolean wants_ready;
    char *growing;               /* id of a disk that it waits for, or NULL */
};

struct SvRelay {
    SvExecLog *log;
    const SvRelayFuncs *funcs;
    gpointer data;
    MsbLink *agent;              /* NULL unless commands can run */
    GHashTable *sessions;        /* id -> SvSession, owned; the running ones */
    GQueue ended;                /* of SvSession, owned, oldest first: see SV_MAX_ENDED */
    GPtrArray *clients;          /* of SvClient, owned */
    guint32 last_id;
    guint hangup_grace_ms;
    int listen_fd;
    guint listen_source;
    char *listen_path;
    enum mp_ctl_state state;
    char *message;
    char **timings;
    gint64 started_us;
};

/* Encoders release their buffer at the end of the scope. */
typedef struct mp_enc SvEnc;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SvEnc, mp_enc_clear)

/* sv-relay.c: call when a session or a client has gone. */
void sv_relay_check_quiet(SvRelay *relay);

/* sv-session.c */
void sv_session_free(SvSession *session);
/* Start a command for a client: FALSE when it was refused (and the client told). */
gboolean sv_session_exec(SvClient *client, guint32 number, const guint8 *payload, gsize n, GError **error);
void sv_session_attach(SvClient *client, guint32 number, guint32 id);
/* The client lets go.  lost: it did not say so. */
void sv_attachment_remove(SvAttachment *attachment, gboolean lost);
void sv_session_ended(SvSession *session, guint16 type, const guint8 *p, gsize n);
/* session->pid is known now. */
void sv_session_announce_started(SvSession *session);
/* The agent is gone: tell the attached ones why; the caller frees it. */
void sv_session_lost(SvSession *session, const char *message);

/* sv-streams.c */
/* Who sets the pace of the output and whose input counts; NULL if nobody is attached. */
SvAttachment *sv_session_owner(const SvSession *session);
gboolean sv_attachment_is_owner(const SvAttachment *attachment);
void sv_session_agent_output(SvSession *session, guint16 type, const guint8 *p, gsize n);
/* Credit the agent for all that the owner has read, or for all when there is none. */
void sv_session_acknowledge(SvSession *session);
gboolean sv_attachment_credit(SvAttachment *attachment, guint8 stream, guint32 n, GError **error);
/* Send what the ring still has of the output. */
void sv_attachment_replay(SvAttachment *attachment);
/* Lines without an end go to the log. */
void sv_session_end_output(SvSession *session);
void sv_session_drop_stdin(SvSession *session);
void sv_session_pump_stdin(SvSession *session);
/* The agent takes more again. */
void sv_session_agent_drained(SvSession *session);
gboolean sv_attachment_stdin(SvAttachment *attachment, const guint8 *p, gsize n, GError **error);
void sv_attachment_stdin_eof(SvAttachment *attachment);
/* Credit a client for all of the input it sent. */
void sv_attachment_return_stdin(SvAttachment *attachment);

/* sv-disks.c: the messages of these names. FALSE: they break the protocol. */
gboolean sv_client_disk_changed(SvClient *client, const guint8 *p, gsize n, GError **error);
gboolean sv_client_disk_grow(SvClient *client, const guint8 *p, gsize n, GError **error);

/* sv-clients.c */
/* session 0: about the connection.  On a session it ends it. */
void sv_client_send_error(SvClient *client, guint32 number, int errnum, const char *format, ...) G_GNUC_PRINTF(4, 5);
/* MP_CTL_OK, with a value if there is one to it. */
void sv_client_send_ok(SvClient *client, guint32 number, guint32 value, gboolean with_value);
void sv_client_free(SvClient *client);
void sv_clients_announce_state(SvRelay *relay);

G_END_DECLS

#endif

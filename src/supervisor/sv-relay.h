/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The relay: commands of any number of clients on the one agent channel.
 *
 *     SvClient ──< SvAttachment >── SvSession ── agent
 *
 * A session is one command in the guest; its id is the agent's session number,
 * the one in the logs, and the one to attach by.  An attachment is one client's
 * view of it under a number of the client's own.  The latest attached client
 * owns the session: its stdin and window size count, and how fast it reads is
 * how fast the command may write.  Others watch; one that falls behind by more
 * than SV_LAG_MAX is cut off (ENOBUFS) rather than slowing anybody down.
 *
 * Memory.  Nothing is buffered without a bound, whoever stops reading:
 *   per session    MP_WINDOW * 4 of stdin that the agent has no room for,
 *                  SV_RING_SIZE of output for those who attach later;
 *   per attachment and stream   SV_LAG_MAX + MP_WINDOW of output queued;
 *   per client     SV_CLIENT_QUEUE_MAX of answers (then it is not read from),
 *                  plus one frame;
 *   agent channel  SV_AGENT_QUEUE_MAX (then new commands are refused); of stdin and
 *                  credits MSB_LINK_LOW_WATER (then they wait).
 * A stream that nobody reads stops its own command and nothing else.
 *
 * A client that goes away without having detached takes its commands with it,
 * as closing a terminal does, unless somebody else is attached or the command
 * was detached before: their stdin ends, they get SIGHUP, and SIGKILL
 * SV_HANGUP_GRACE_MS later.  A guest that has not ended one after the same time
 * again is not waited for: as far as we are concerned it is over.
 */
#ifndef SV_RELAY_H
#define SV_RELAY_H

#include "msb-link.h"
#include "mp-msg.h"
#include "sv-execlog.h"
#include "sv-ring.h"

G_BEGIN_DECLS

#define SV_MAX_CLIENTS 128u
#define SV_MAX_SESSIONS 256u
#define SV_MAX_ENDED 16u                            /* detached commands that ended, kept for attaching */
#define SV_LAG_MAX (MP_WINDOW + SV_RING_SIZE)
#define SV_STDIN_MAX (4u * MP_WINDOW)
#define SV_CLIENT_QUEUE_MAX (1024u * 1024)
#define SV_AGENT_QUEUE_MAX (8u * 1024 * 1024)
#define SV_CREDIT_BATCH (MP_WINDOW / 4)
#define SV_HANGUP_GRACE_MS 10000u

typedef struct SvRelay SvRelay;

typedef struct {
    /* A client asks for the end. */
    void (*stop)(guint32 grace_ms, gboolean force, gpointer data);
    /* The command that the sandbox was for has ended.  May be NULL. */
    void (*workload_ended)(gpointer data);
    /* Commands have run, none runs any more, and no client is connected.  May be NULL. */
    void (*quiet)(gpointer data);
    /* The file of the disk with this id has another size.  FALSE: there is no such disk.  May be NULL. */
    gboolean (*disk_changed)(const char *id, gpointer data);
    /* The disk with this id is to become larger, as sv_backends_grow().  0: sv_relay_disk_resized() follows.  May be
     * NULL. */
    int (*disk_grow)(const char *id, const char *size, gpointer data);
} SvRelayFuncs;

/* log: borrowed, outlives the relay. */
SvRelay *sv_relay_new(SvExecLog *log, const SvRelayFuncs *funcs, gpointer data);
void sv_relay_free(SvRelay *relay);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SvRelay, sv_relay_free)

/* Milliseconds between SIGHUP and SIGKILL for the commands of a lost client. */
void sv_relay_set_hangup_grace(SvRelay *relay, guint ms);

/* Listen on path (made 0600, removed by sv_relay_free()). */
gboolean sv_relay_listen(SvRelay *relay, const char *path, GError **error);
/* Serve a client on fd (taken): what accepting does after looking at its credentials. */
void sv_relay_add_client(SvRelay *relay, int fd);

/* What clients are told.  message and timings (NULL-terminated, may be NULL) are copied. */
void sv_relay_set_state(SvRelay *relay, enum mp_ctl_state state, const char *message,
                        const char *const *timings);

/* What disk_grow() began has ended: reason NULL, the disk has that size; otherwise why it has not. */
void sv_relay_disk_resized(SvRelay *relay, const char *id, const char *reason);

/* The agent is ready: link is its channel (borrowed until sv_relay_end_sessions()). */
void sv_relay_set_agent(SvRelay *relay, MsbLink *agent);
/* A frame of the agent about a session.  FALSE: it breaks the protocol. */
gboolean sv_relay_agent_frame(SvRelay *relay, const struct mp_header *header, const guint8 *payload,
                              GError **error);
/* The agent channel has taken what was queued. */
void sv_relay_agent_drained(SvRelay *relay);

/* The agent is gone: every session ends with message. */
void sv_relay_end_sessions(SvRelay *relay, const char *message);
/* Let no client in any more and hang up on all once they have what is queued for them. */
void sv_relay_close_clients(SvRelay *relay);
/* TRUE once nothing is queued for any client after sv_relay_close_clients(). */
gboolean sv_relay_is_flushed(const SvRelay *relay);
/* Commands have run, and neither a command nor a client is left. */
gboolean sv_relay_is_quiet(const SvRelay *relay);
guint sv_relay_count_clients(const SvRelay *relay);
guint sv_relay_count_sessions(const SvRelay *relay);

G_END_DECLS

#endif

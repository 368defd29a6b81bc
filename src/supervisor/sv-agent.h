/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent channel: the handshake of booting, then sessions to and from the
 * relay.  What comes from the guest is hostile: a frame that breaks the protocol
 * ends the channel with an error, never the supervisor.
 */
#ifndef SV_AGENT_H
#define SV_AGENT_H

#include "sv-relay.h"

G_BEGIN_DECLS

typedef struct SvAgent SvAgent;

typedef enum {
    SV_AGENT_SILENT,       /* connected, nothing heard */
    SV_AGENT_BOOTING,      /* HELLO came, BOOT is sent */
    SV_AGENT_READY,
    SV_AGENT_GONE,
} SvAgentStage;

typedef struct {
    /* HELLO came; BOOT goes out now. */
    void (*hello)(gpointer data);
    void (*ready)(const struct mp_ready *ready, gpointer data);
    /* Once, the agent is of no use any more: it could not boot (BOOT), the channel closed
     * (NOT_RUNNING), or it broke the protocol (CORRUPT). */
    void (*gone)(const GError *error, gpointer data);
} SvAgentFuncs;

/* fd is taken.  boot and relay are borrowed and outlive it; boot->realtime_ns is set when it is sent. */
SvAgent *sv_agent_new(int fd, struct mp_boot *boot, SvRelay *relay, const SvAgentFuncs *funcs, gpointer data);
void sv_agent_free(SvAgent *agent);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SvAgent, sv_agent_free)
SvAgentStage sv_agent_get_stage(const SvAgent *agent);
/* Ask for power-off: SIGTERM to all, SIGKILL after grace_ms, sync, unmount, off. */
void sv_agent_shutdown(SvAgent *agent, guint32 grace_ms);

G_END_DECLS

#endif

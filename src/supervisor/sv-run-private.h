/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One run: what sv-run.c, sv-boot.c and sv-end.c share. */
#ifndef SV_RUN_PRIVATE_H
#define SV_RUN_PRIVATE_H

#include "msb-plan.h"
#include "msb-state.h"
#include "sv-agent.h"
#include "sv-backends.h"
#include "sv-machine.h"
#include "sv-run.h"

G_BEGIN_DECLS

typedef enum {
    SV_STAGE_PREPARING,          /* plan, back-ends, libvirt */
    SV_STAGE_STARTING,           /* the domain is being started */
    SV_STAGE_WAITING,            /* it runs, nothing heard of the agent */
    SV_STAGE_BOOTING,            /* the agent has the boot frame */
    SV_STAGE_RUNNING,
    SV_STAGE_ENDING,
} SvStage;

struct SvRun {
    MsbHome *home;
    char *name;
    MsbConfig *config;
    MsbLock *lock;
    int ready_fd;                /* -1 once it was told */
    MsbRunStatus status;
    GMainLoop *loop;
    SvExecLog *exec_log;
    SvRelay *relay;
    MsbPlan *plan;
    MsbLock *kernel_lock;        /* keeps the kernel from being removed */
    SvBackends *backends;
    SvMachine *machine;
    SvAgent *agent;
    guint signal_sources[3];

    /* sv-boot.c */
    SvStage stage;
    gboolean connected, defined, backends_ready;
    gboolean busy;               /* defining or starting the domain is under way */
    guint boot_timer;
    guint boot_timeout_ms;
    guint64 console_start;       /* where this run begins in the console's log */
    gint64 t_begin, t_connect, t_backends, t_define, t_start, t_started, t_hello;
    GPtrArray *timings;          /* of "stage=microseconds" */

    /* sv-end.c */
    MsbEndReason reason;
    char *message;
    gboolean failed_boot;
    guint destroys;              /* under way */
    gboolean destroy_failed;
    guint destroy_timer;         /* until libvirt has been waited for long enough */
    gboolean killed;             /* QEMU was ended without libvirt */
    gboolean backends_stopping;
    guint grace_timer;
    guint doubt_timer;           /* something left in good order: is QEMU gone? */
    MsbEndReason doubt_reason;
    char *doubt_message;
    guint quiet_timer;
};

/* sv-boot.c */
void sv_boot_begin(SvRun *run);
/* "stage=microseconds since"; now if until is 0. */
void sv_timing_add(SvRun *run, const char *stage, gint64 since, gint64 until);

/* sv-end.c */
/* End it.  message may be NULL.  grace_ms >= 0: ask the guest first. */
void sv_end_begin(SvRun *run, MsbEndReason reason, const char *message, gint grace_ms);
/* It did not come up: report error to whoever waits, then end. */
void sv_end_boot_failed(SvRun *run, MsbEndReason reason, const GError *error);
void sv_end_machine_event(SvRun *run, MsbDomainEvent event);
void sv_end_machine_gone(SvRun *run);
void sv_end_machine_step(SvRun *run, SvMachineStep step, const GError *error);
void sv_end_agent_gone(SvRun *run, const GError *error);
void sv_end_backend_failed(SvRun *run, const GError *error, gboolean left);
void sv_end_backends_stopped(SvRun *run);

G_END_DECLS

#endif

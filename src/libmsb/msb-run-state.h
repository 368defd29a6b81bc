/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a supervisor leaves for others to read.  Internal to libmsb and the
 * supervisor, which alone writes both while it holds run/<name>/lock; the
 * reaper writes the second once it holds that lock.
 *
 *   run/<name>/status.json        the run under way: state, supervisor, since when
 *   sandboxes/<name>/state.json   how the last run ended
 *
 * A supervisor goes in this order: take the lock, save status STARTING, ...,
 * RUNNING, STOPPING, save how it ended, msb_run_remove().
 */
#ifndef MSB_RUN_STATE_H
#define MSB_RUN_STATE_H

#include "msb-paths.h"
#include "msb-sandbox.h"

G_BEGIN_DECLS

typedef struct {
    MsbSandboxState state;      /* STARTING, RUNNING or STOPPING */
    guint supervisor_pid;
    gint64 started;             /* microseconds, real time */
    char *error;                /* what is going wrong, or NULL */
} MsbRunStatus;

#define MSB_RUN_STATUS_INIT { MSB_STATE_STARTING, 0, 0, NULL }

/* status must be initialised; it is left alone on failure. NOT_FOUND if there is no run. */
gboolean msb_run_status_load(MsbHome *home, const char *name, MsbRunStatus *status, GError **error);
gboolean msb_run_status_save(MsbHome *home, const char *name, const MsbRunStatus *status, GError **error);
void msb_run_status_clear(MsbRunStatus *status);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MsbRunStatus, msb_run_status_clear)

typedef enum {
    MSB_END_NONE,               /* it never ran */
    MSB_END_REQUESTED,          /* msb stop, virsh shutdown, virsh destroy */
    MSB_END_POWEROFF,           /* the guest powered itself off, or its workload was done */
    MSB_END_BOOT_FAILED,
    MSB_END_GUEST_PANIC,
    MSB_END_QEMU_DIED,
    MSB_END_BACKEND_DIED,
    MSB_END_SUPERVISOR_DIED,
    MSB_END_INTERNAL,           /* anything else that went wrong on the host */
} MsbEndReason;

typedef struct {
    MsbEndReason reason;
    char *message;              /* for a user; NULL = the reason says all */
    gint64 time;                /* microseconds, real time */
    gint64 run;                 /* when the run had started: MsbRunStatus.started */
} MsbLastEnd;

#define MSB_LAST_END_INIT { MSB_END_NONE, NULL, 0, 0 }

/* A sandbox that never ran has reason NONE; FALSE only for a file that cannot be read. */
gboolean msb_last_end_load(MsbHome *home, const char *name, MsbLastEnd *end, GError **error);
/* time 0 = now. */
gboolean msb_last_end_save(MsbHome *home, const char *name, const MsbLastEnd *end, GError **error);
void msb_last_end_clear(MsbLastEnd *end);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MsbLastEnd, msb_last_end_clear)
/* STOPPED or CRASHED (CREATED for NONE). */
MsbSandboxState msb_end_reason_to_state(MsbEndReason reason);
/* "stopped by request", ... */
const char *msb_end_reason_describe(MsbEndReason reason);

/* Paths in the run directory (transfer full). */
char *msb_run_lock_path(MsbHome *home, const char *name);
char *msb_run_control_socket(MsbHome *home, const char *name);
/* Remove run/<name>, the lock file last. The caller holds the lock. Whoever takes it next keeps the directory. */
gboolean msb_run_remove(MsbHome *home, const char *name, GError **error);

G_END_DECLS

#endif

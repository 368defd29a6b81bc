/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One run of a sandbox, from the lock to the lock.
 *
 *   prepare   lock, configuration, logs, control socket
 *   boot      libvirt is connected (in a thread) while the plan is made and the
 *             back-ends start; then define, start, HELLO, BOOT, READY
 *   run       until somebody asks for the end or something ends
 *   end       ask the guest (if that is wanted and possible), destroy the domain,
 *             end the back-ends, record how it ended, remove what is to go
 *
 * However it ends it ends that way.  The end of the command that a client has
 * called the workload ends the sandbox.  An ephemeral sandbox also ends when it has
 * done its work: commands have run, none is left, and no client is connected.
 */
#ifndef SV_RUN_H
#define SV_RUN_H

#include "msb-run-state.h"

G_BEGIN_DECLS

typedef struct SvRun SvRun;

/* Take the lock and prepare.  ready_fd (taken, -1 = none) gets "ok\n", or "error CODE MESSAGE". NULL with error:
 * nothing has been done. */
SvRun *sv_run_new(const char *home, const char *name, int ready_fd, GError **error);
/* Until the end; the exit status: 0, or 1 if it did not end by request or by itself. */
int sv_run_main(SvRun *run);
void sv_run_free(SvRun *run);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SvRun, sv_run_free)

/* Tell the one who started us; fd is closed. FALSE if nobody is there to be told. */
gboolean sv_report_ready(int fd, const GError *error);

G_END_DECLS

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vhost-user back-ends of a sandbox: started in parallel, watched, ended and
 * reaped.  What they write to standard error goes to supervisor.log, a line each
 * with the device's name in front.
 *
 * A disk's back-end that dies is started again: QEMU reconnects and has the
 * requests that were under way done once more; the memory file in which a qcow2
 * image's back-end keeps what the image does not have yet is ours, and its
 * successor gets it.  One that dies more than
 * SV_RESTARTS_MAX times in SV_RESTARTS_SECONDS is given up.  A file server's
 * state (its nodes and handles) dies with it, so that ends the sandbox.
 */
#ifndef SV_BACKENDS_H
#define SV_BACKENDS_H

#include "msb-plan.h"

G_BEGIN_DECLS

#define SV_RESTARTS_MAX 5u
#define SV_RESTARTS_SECONDS 60
#define SV_BACKEND_END_MS 3000u        /* between SIGTERM and SIGKILL */

typedef struct SvBackends SvBackends;

typedef struct {
    /* All sockets are there. */
    void (*ready)(gpointer data);
    /* Once: a back-end did not come up or is lost for good; error says which and how it ended.
     * left: it went in good order, as it does when QEMU is gone. */
    void (*failed)(const GError *error, gboolean left, gpointer data);
    /* After sv_backends_stop(): all have ended and are reaped. */
    void (*stopped)(gpointer data);
    /* What sv_backends_grow() asked for has ended, see SvResizeDone. May be NULL. */
    void (*resized)(const char *id, const char *reason, gpointer data);
} SvBackendsFuncs;

/* plan is borrowed and outlives it.  Callbacks come from the main loop.  Main thread only: the back-ends die
 * with the thread that starts them. */
SvBackends *sv_backends_new(const MsbPlan *plan, const SvBackendsFuncs *funcs, gpointer data);
/* FALSE: one could not be started; those that were are to be stopped. */
gboolean sv_backends_start(SvBackends *backends, GError **error);
void sv_backends_stop(SvBackends *backends);
/* The disk with this id has to look at the size of its file again, now or as soon as its back-end is ready.
 * FALSE: there is none. */
gboolean sv_backends_reload(SvBackends *backends, const char *id);
/* The back-end of the disk with this id is to make it larger: size as of sv_resize_ask(). 0, resized() follows;
 * -ENODEV: there is none, or it is only read; -EBUSY: it is being started, or made larger already. */
int sv_backends_grow(SvBackends *backends, const char *id, const char *size);
/* Those still there are killed. */
void sv_backends_free(SvBackends *backends);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SvBackends, sv_backends_free)

G_END_DECLS

#endif

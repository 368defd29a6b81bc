/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is asked of libvirt in a thread, as libvirt may take for ever to answer.
 * Of sv-machine.c alone.
 */
#ifndef SV_WORK_H
#define SV_WORK_H

#include "msb-domain.h"

G_BEGIN_DECLS

typedef enum {
    SV_WORK_CONNECT,
    SV_WORK_DEFINE,              /* and watch */
    SV_WORK_START,
    SV_WORK_DESTROY,
    SV_WORK_RECONNECT,           /* find the domain again, and watch it */
    SV_WORK_RELEASE,             /* let go of connection and domain */
} SvWorkKind;

/* The thread works on this alone; the machine's fields belong to the main thread, which puts in what is to be used
 * and takes out what came of it. */
typedef struct {
    SvWorkKind kind;
    char *uuid;
    char *name, *xml;            /* DEFINE */
    gboolean undefine;           /* DESTROY */
    MsbDomainEventFunc event;    /* DEFINE, RECONNECT: from the main context, until it is silenced */
    gpointer event_data;
    MsbConnection *connection;   /* what to use; after CONNECT and RECONNECT what was opened */
    MsbDomain *domain;           /* after DEFINE and RECONNECT the one found (NULL: it is not defined) */
    gboolean active;             /* after RECONNECT */
    int process;                 /* after START and RECONNECT: a pidfd of QEMU, or -1 */
} SvWork;

SvWork *sv_work_new(SvWorkKind kind, const char *uuid);
void sv_work_free(SvWork *work);
/* In a thread.  What the main thread has no use for is let go here, as that asks libvirt, too. */
gboolean sv_work_run(SvWork *work, GError **error);

G_END_DECLS

#endif

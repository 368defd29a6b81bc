/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The libvirt side of a sandbox.  All that asks libvirt runs in threads (sv-work.h),
 * one step after the other; callbacks come from the main loop, which never
 * waits for libvirt: one that hangs keeps a thread, and nothing else.
 *
 * When libvirtd goes away the machine runs on: the connection is made again and
 * the domain found by its UUID, for as long as it takes.  QEMU's process is held
 * by a pidfd, so that its end is known, and can be brought about, without libvirt.
 */
#ifndef SV_MACHINE_H
#define SV_MACHINE_H

#include "msb-domain.h"

G_BEGIN_DECLS

typedef struct SvMachine SvMachine;

typedef enum { SV_MACHINE_CONNECTED, SV_MACHINE_DEFINED, SV_MACHINE_STARTED, SV_MACHINE_DESTROYED } SvMachineStep;

typedef struct {
    /* A step is done, or failed with error. */
    void (*step)(SvMachineStep step, const GError *error, gpointer data);
    /* What libvirt tells.  CONNECTION_LOST is dealt with and not told; if the domain is found ended after a
     * reconnection, that is MSB_DOMAIN_CRASHED. */
    void (*event)(MsbDomainEvent event, gpointer data);
    /* QEMU's process has ended.  libvirt's event, which says why, may come before or after, or never. */
    void (*gone)(gpointer data);
} SvMachineFuncs;

/* uuid: the domain's; copied. */
SvMachine *sv_machine_new(const char *uuid, const SvMachineFuncs *funcs, gpointer data);
/* No callback comes any more.  Waits for a step under way, at most SV_MACHINE_FREE_MS: a libvirtd that hangs
 * keeps its thread, which ends with the process. */
#define SV_MACHINE_FREE_MS 5000
void sv_machine_free(SvMachine *machine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SvMachine, sv_machine_free)

void sv_machine_connect(SvMachine *machine);
/* xml and name are copied. */
void sv_machine_define(SvMachine *machine, const char *name, const char *xml);
void sv_machine_start(SvMachine *machine);
/* Kill the domain if it is active, and with undefine forget it; also after a failed step or with libvirtd
 * restarted in between.  A domain that does not exist is fine. */
void sv_machine_destroy(SvMachine *machine, gboolean undefine);
/* Kill QEMU's process, without libvirt.  Nothing happens if it is not known, or has ended. */
void sv_machine_kill(SvMachine *machine);
/* Whether QEMU's process is known to have ended. */
gboolean sv_machine_has_ended(const SvMachine *machine);
/* libvirt has been waited for long enough: no callback comes any more, and sv_machine_free() does not wait. */
void sv_machine_abandon(SvMachine *machine);

G_END_DECLS

#endif

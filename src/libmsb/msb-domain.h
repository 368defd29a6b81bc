/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One sandbox's libvirt domain.  Internal to libmsb and the supervisor.
 *
 * Everything that asks libvirt (also the last unref) takes as long as libvirt takes to answer: for ever, if its
 * daemon hangs and the connection was not opened with msb_connection_open_bounded().
 */
#ifndef MSB_DOMAIN_H
#define MSB_DOMAIN_H

#include "msb-connection.h"

G_BEGIN_DECLS

typedef struct _MsbDomain MsbDomain;

/* Define (or redefine) the domain persistently. EXISTS when a domain of this name is not this sandbox's: it
 * has another UUID, for example that of a sandbox in another state directory. */
MsbDomain *msb_domain_define(MsbConnection *connection, const char *name, const char *uuid, const char *xml,
                             GError **error);
/* Look up by UUID. NOT_FOUND if it is not defined. */
MsbDomain *msb_domain_lookup(MsbConnection *connection, const char *uuid, GError **error);
MsbDomain *msb_domain_ref(MsbDomain *domain);
void msb_domain_unref(MsbDomain *domain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbDomain, msb_domain_unref)

const char *msb_domain_get_name(const MsbDomain *domain);
virDomainPtr msb_domain_get(MsbDomain *domain);

/* Start it (blocks until QEMU runs). The message has what QEMU said. */
gboolean msb_domain_start(MsbDomain *domain, GError **error);
gboolean msb_domain_is_active(MsbDomain *domain);
/* A pidfd of QEMU's process (the caller's to close), which tells of its end, and can end it, when libvirt does not
 * answer. -1 if it cannot be found: another driver than QEMU's, or the domain is not active. */
int msb_domain_open_process(MsbDomain *domain);
/* Kill the machine. One that does not run is fine. */
gboolean msb_domain_destroy(MsbDomain *domain, GError **error);
/* Forget it, and remove libvirt's log of it. One that is not defined any more is fine. */
gboolean msb_domain_undefine(MsbDomain *domain, GError **error);

typedef enum {
    MSB_DOMAIN_STARTED,
    MSB_DOMAIN_POWEROFF,        /* the guest did it (or was asked to by ACPI) */
    MSB_DOMAIN_DESTROYED,       /* virsh destroy, or we */
    MSB_DOMAIN_CRASHED,         /* QEMU died or reported a crash */
    MSB_DOMAIN_FAILED,          /* it did not start */
    MSB_DOMAIN_PANICKED,        /* the guest kernel said so */
    MSB_DOMAIN_CONNECTION_LOST, /* libvirtd ended; the machine may well run on */
} MsbDomainEvent;

typedef void (*MsbDomainEventFunc)(MsbDomainEvent event, gpointer data);

/* Call func from the default main context for every event, until msb_domain_silence() or the last unref.
 * Needs msb_connection_enable_events() before the connection was opened. One watch per domain. May be called
 * from any thread: func may be called before it returns. */
gboolean msb_domain_watch(MsbDomain *domain, MsbDomainEventFunc func, gpointer data, GError **error);
/* func is not called any more. Asks libvirt nothing: the watch goes with the last unref. Only from the thread of
 * the default main context. */
void msb_domain_silence(MsbDomain *domain);

G_END_DECLS

#endif

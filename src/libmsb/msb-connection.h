/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection to libvirt: qemu:///session for users, qemu:///system for
 * root, $MSB_LIBVIRT_URI overrides.  Internal to libmsb and the supervisor.
 */
#ifndef MSB_CONNECTION_H
#define MSB_CONNECTION_H

#include <glib.h>
#include <libvirt/libvirt.h>

G_BEGIN_DECLS

typedef struct _MsbConnection MsbConnection;

/* The URI that would be used; owned by libmsb. */
const char *msb_connection_default_uri(void);
/* Dispatch libvirt's events from the default main context. Call once, before the first open, in programs
 * that watch domains. */
void msb_connection_enable_events(void);
/* Open. HYPERVISOR with the URI and what to do when libvirt cannot be reached.  A daemon that hangs is waited for,
 * for ever, here and in all that uses the connection: for threads that nobody waits for. */
MsbConnection *msb_connection_open(GError **error);
/* Open for a command: HYPERVISOR also if libvirt does not answer within MSB_LIBVIRT_TIMEOUT (a duration in the
 * environment, by default 60 s).  What uses the connection fails, too, once libvirt has been silent for so long. */
MsbConnection *msb_connection_open_bounded(GError **error);
MsbConnection *msb_connection_ref(MsbConnection *connection);
void msb_connection_unref(MsbConnection *connection);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbConnection, msb_connection_unref)

virConnectPtr msb_connection_get(MsbConnection *connection);
const char *msb_connection_get_uri(const MsbConnection *connection);
/* QEMU runs as the system daemon's child: static DAC label, files labelled by nobody. */
gboolean msb_connection_is_system(const MsbConnection *connection);
/* "9.0.0" of the daemon and of its hypervisor (transfer full), NULL when it will not say. */
char *msb_connection_dup_version(MsbConnection *connection);
char *msb_connection_dup_hypervisor_version(MsbConnection *connection);

/* Set error to HYPERVISOR "<formatted>: <libvirt's last error>" (NOT_FOUND when that is a missing domain).
 * Always returns FALSE. */
gboolean msb_connection_set_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

G_END_DECLS

#endif

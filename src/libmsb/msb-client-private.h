/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of the client is libmsb's own business: connecting without waiting for
 * the guest, stopping, and what msb-client.c and msb-exec.c share.
 */
#ifndef MSB_CLIENT_PRIVATE_H
#define MSB_CLIENT_PRIVATE_H

#include "mp-msg.h"
#include "msb-client.h"
#include "msb-link.h"

G_BEGIN_DECLS

typedef struct mp_enc MsbEnc;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MsbEnc, mp_enc_clear)

/* Connect to the control socket at path; name is for messages.  wait_ready: until the guest is up (BOOT with
 * the supervisor's message if that fails); otherwise in whatever state it is. NOT_RUNNING if nobody listens. */
MsbClient *msb_client_open(const char *path, const char *name, gboolean wait_ready, GError **error);
/* The state as of the last answer. */
enum mp_ctl_state msb_client_get_state(const MsbClient *client);
/* Ask for the end (grace_ms between SIGTERM and SIGKILL in the guest, then by force), and wait until the
 * supervisor hangs up, which it does when all is down; at most timeout_ms (-1 = for ever). */
gboolean msb_client_stop(MsbClient *client, guint grace_ms, gboolean force, int timeout_ms, GError **error);

/* The file of the disk with this id in the sandbox's plan has another size now. */
gboolean msb_client_disk_changed(MsbClient *client, const char *id, GError **error);

/* The disk with this id is to become larger: size in digits, with a plus sign before them so many bytes more. */
gboolean msb_client_disk_grow(MsbClient *client, const char *id, const char *size, GError **error);

/* ---- between msb-client.c and msb-exec.c ---- */

/* Takes a session number for exec; NULL-safe against a closed connection (FALSE with error). */
gboolean msb_client_add_exec(MsbClient *client, MsbExec *exec, guint32 *number, GError **error);
void msb_client_forget_exec(MsbClient *client, guint32 number);
MsbLink *msb_client_get_link(MsbClient *client);
/* Handle what came within timeout_ms (-1 = for ever). FALSE with error: timeout or connection lost. */
gboolean msb_client_iterate(MsbClient *client, int timeout_ms, GError **error);

MsbExec *msb_exec_ref(MsbExec *exec);
/* A frame about it; FALSE: it breaks the protocol. */
gboolean msb_exec_frame(MsbExec *exec, const struct mp_header *header, const guint8 *payload, GError **error);
/* The connection is lost. */
void msb_exec_lost(MsbExec *exec, const GError *error);
/* The client is being released: no callback comes any more. */
void msb_exec_disown(MsbExec *exec);

G_END_DECLS

#endif

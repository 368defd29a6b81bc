/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A sandbox from creation to removal.  Every call first reaps what a dead
 * supervisor left behind (its lock is free, but run/<name> or the domain is
 * still there), so state is always the truth.
 */
#ifndef MSB_SANDBOX_H
#define MSB_SANDBOX_H

#include "msb-config.h"
#include "msb-paths.h"

G_BEGIN_DECLS

typedef enum {
    MSB_STATE_CREATED,     /* never started */
    MSB_STATE_STARTING,
    MSB_STATE_RUNNING,
    MSB_STATE_STOPPING,
    MSB_STATE_STOPPED,
    MSB_STATE_CRASHED,     /* its last run did not end by request; get_last_error tells */
} MsbSandboxState;

typedef struct _MsbSandbox MsbSandbox;
MsbSandbox *msb_sandbox_ref(MsbSandbox *sandbox);
void msb_sandbox_unref(MsbSandbox *sandbox);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbSandbox, msb_sandbox_unref)

/* Create: resolves the image, makes sandboxes/<name> with config.json and the upper disk.
 * EXISTS if the name is taken. A failure leaves nothing behind. Does not start it. A config without
 * a name gets a generated one ("msb-" + 8 hex). */
MsbSandbox *msb_sandbox_create(MsbHome *home, MsbConfig *config, GError **error);
MsbSandbox *msb_sandbox_lookup(MsbHome *home, const char *name, GError **error);
/* Sorted by name (element-type MsbSandbox). One unreadable config does not hide the others. */
GPtrArray *msb_sandbox_list(MsbHome *home, GError **error);

const char *msb_sandbox_get_name(const MsbSandbox *sandbox);
MsbConfig *msb_sandbox_get_config(const MsbSandbox *sandbox);          /* borrowed */
MsbSandboxState msb_sandbox_get_state(MsbSandbox *sandbox);            /* looked up now */
const char *msb_sandbox_state_to_string(MsbSandboxState state);        /* "running", ... */
char *msb_sandbox_dup_last_error(MsbSandbox *sandbox);                 /* why it crashed, or NULL */
char *msb_sandbox_dup_domain_name(MsbSandbox *sandbox);
char *msb_sandbox_dup_log_path(MsbSandbox *sandbox, const char *which);/* "exec", "console", "supervisor" */

/* Start the supervisor and wait until the guest is ready (deadline: 180 s under TCG, 60 s
 * under KVM, $MSB_BOOT_TIMEOUT overrides). RUNNING if it runs. A failure stops everything again; the message has
 * the stage and, if the guest never answered, the console's tail. */
gboolean msb_sandbox_start(MsbSandbox *sandbox, GError **error);
/* Stop gracefully; after timeout_ms (0 = at once) by force. NOT_RUNNING if it does not run. */
gboolean msb_sandbox_stop(MsbSandbox *sandbox, guint timeout_ms, GError **error);
/* Make the writable disk over its image size bytes large, or with add larger by size bytes; as msb_volume_resize().
 * INVALID: its root is a directory or disk image, or the disk would become smaller or too large. */
gboolean msb_sandbox_resize_root(MsbSandbox *sandbox, gboolean add, guint64 size, GError **error);
/* Undefine the domain, remove sandboxes/<name>. RUNNING unless force, which also goes on when libvirt cannot be
 * reached. */
gboolean msb_sandbox_remove(MsbSandbox *sandbox, gboolean force, GError **error);

G_END_DECLS

#endif

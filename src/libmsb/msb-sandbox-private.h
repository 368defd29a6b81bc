/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inside of MsbSandbox, grouped by the file that implements it, and what
 * the supervisor shares with it.
 *
 * Who may do what is decided by two locks:
 *   sandboxes/.locks/<name>   whoever creates, starts, reaps or removes it
 *   run/<name>/lock           its supervisor, as long as it lives
 */
#ifndef MSB_SANDBOX_PRIVATE_H
#define MSB_SANDBOX_PRIVATE_H

#include "msb-connection.h"
#include "msb-run-state.h"
#include "msb-sandbox.h"
#include "msb-state.h"

G_BEGIN_DECLS

struct _MsbSandbox {
    gatomicrefcount refs;
    MsbHome *home;
    char *name;
    MsbConfig *config;
};

/* msb-sandbox.c */
/* Read sandboxes/<name>/config.json. NOT_FOUND names the sandbox; reaps nothing. */
MsbConfig *msb_sandbox_load_config(MsbHome *home, const char *name, GError **error);
/* Look up without reaping: for whoever has the name lock. */
MsbSandbox *msb_sandbox_open(MsbHome *home, const char *name, GError **error);
gboolean msb_sandbox_exists(MsbHome *home, const char *name);
/* TRUE while a supervisor holds the run lock. */
gboolean msb_sandbox_is_supervised(MsbHome *home, const char *name);
/* The name lock; timeout as for msb_lock_acquire(). The message says which sandbox is busy. */
MsbLock *msb_sandbox_lock_name(MsbHome *home, const char *name, gint timeout_ms, GError **error);

/* msb-sandbox-create.c */
/* Directories, files and disk images that are mounted must be there, and be what they are mounted as. */
gboolean msb_sandbox_check_sources(MsbHome *home, const MsbConfig *config, GError **error);

/* msb-sandbox-remove.c */
/* Put in order what a dead supervisor left of one sandbox: end the domain, remove the run directory, note how it
 * ended, and remove it all if it is ephemeral. Does nothing while it runs or somebody works on it (locked: the
 * caller has the name lock itself). FALSE if something is left that could not be put in order. */
gboolean msb_sandbox_reap(MsbHome *home, const char *name, gboolean locked, GError **error);
/* Remove the lock file of a name that no sandbox has, unless somebody is working on it. */
void msb_sandbox_forget_lock(MsbHome *home, const char *name);
/* Remove what half-made, half-removed and ephemeral sandboxes left in sandboxes/. */
void msb_sandbox_sweep(MsbHome *home);
/* Undefine the domain (connection NULL = there is none) and remove sandboxes/<name>. The caller holds the run
 * lock or the name lock and has ended the domain. For the supervisor of an ephemeral sandbox. */
gboolean msb_sandbox_discard(MsbHome *home, const char *name, MsbConnection *connection, GError **error);

/* msb-sandbox-run.c */
/* How long a guest may take to be ready: 180 s emulated, 60 s under KVM, $MSB_BOOT_TIMEOUT overrides. */
guint msb_sandbox_boot_timeout_ms(const char *accel);

G_END_DECLS

#endif

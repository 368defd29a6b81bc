/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Accounts with registries.  The password is kept in the Secret Service of the
 * user's session if there is one, else in $MSB_HOME/registries.json, which only
 * its owner may read; which registries there are accounts for, and where their
 * passwords are, is in that file in either case.
 */
#ifndef MSB_LOGIN_H
#define MSB_LOGIN_H

#include <gio/gio.h>

#include "msb-paths.h"

G_BEGIN_DECLS

typedef enum {
    MSB_LOGIN_AUTO,             /* the Secret Service if there is one, else the file */
    MSB_LOGIN_FILE,
    MSB_LOGIN_SECRET_SERVICE,
} MsbLoginStore;

typedef struct {
    const char *username;
    const char *password;
    MsbLoginStore store;
    gboolean plain_http;        /* http instead of https */
    const char *ca_file;        /* PEM file of authorities, NULL = the system's */
} MsbLoginOptions;

/* Check an account with a registry ("docker.io", "localhost:5000"; INVALID if it is none) and keep it for later.
 * *store (may be NULL): where the password is. A Secret Service that is there and does not take it is an error, and
 * nothing is kept. */
gboolean msb_registry_login(MsbHome *home, const char *name, const MsbLoginOptions *options, MsbLoginStore *store,
                            GCancellable *cancellable, GError **error);
/* Forget it. INVALID as above, NOT_FOUND if there is none; an error, and nothing changes, if the Secret Service that
 * has the password cannot be asked. */
gboolean msb_registry_logout(MsbHome *home, const char *name, GCancellable *cancellable, GError **error);

/* An account that is kept. */
typedef struct {
    char *registry;
    char *username;
    MsbLoginStore store;        /* where the password is, never AUTO */
} MsbLogin;
void msb_login_free(MsbLogin *login);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbLogin, msb_login_free)
/* "file", "secret-service", "auto". */
const char *msb_login_store_to_string(MsbLoginStore store);
gboolean msb_login_store_from_string(const char *text, MsbLoginStore *store);

/* All of them, in the order of the registries' names (element-type MsbLogin). No password is looked at. */
GPtrArray *msb_registry_list(MsbHome *home, GError **error);

G_END_DECLS

#endif

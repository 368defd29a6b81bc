/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who we are to a registry.  Looked for in this order: what `msb registry login` kept (msb-login.h), then what docker
 * and podman know: $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json (or ~/.docker/config.json),
 * $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json, with their credential helpers (credHelpers,
 * credsStore).  Internal to libmsb.
 */
#ifndef MSB_CREDENTIALS_H
#define MSB_CREDENTIALS_H

#include "msb-login.h"
#include "msb-paths.h"

G_BEGIN_DECLS

typedef struct {
    char *username;
    char *password;         /* for username "<token>": an identity (OAuth2 refresh) token */
    char *origin;           /* where they were found, for messages */
} MsbCredentials;

MsbCredentials *msb_credentials_new(const char *username, const char *password, const char *origin);
void msb_credentials_free(MsbCredentials *credentials);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbCredentials, msb_credentials_free)

/* Credentials for a registry host ("docker.io", "localhost:5000"). Success with *found NULL means there are none:
 * anonymous. A file that cannot be read as what it should be, a helper that fails, or a Secret Service that does not
 * give what it was given, is an error that names it. */
gboolean msb_credentials_find(MsbHome *home, const char *host, GCancellable *cancellable, MsbCredentials **found,
                              GError **error);

/* ---- msb-login.c ---- */
/* Of ours alone. */
gboolean msb_credentials_find_kept(MsbHome *home, const char *host, GCancellable *cancellable, MsbCredentials **found,
                                   GError **error);
/* Keep them in store, where AUTO becomes what was taken. */
gboolean msb_credentials_keep(MsbHome *home, const char *host, const char *username, const char *password,
                              MsbLoginStore *store, GCancellable *cancellable, GError **error);

G_END_DECLS

#endif

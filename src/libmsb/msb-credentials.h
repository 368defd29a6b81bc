/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who we are to a registry.  Looked for in this order: what `msb registry login` stored ($MSB_HOME/registries.json,
 * mode 0600), then what docker and podman know: $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json (or
 * ~/.docker/config.json), $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json, with their
 * credential helpers (credHelpers, credsStore).  Internal to libmsb.
 */
#ifndef MSB_CREDENTIALS_H
#define MSB_CREDENTIALS_H

#include "msb-paths.h"

G_BEGIN_DECLS

typedef struct {
    char *username;
    char *password;         /* for username "<token>": an identity (OAuth2 refresh) token */
    char *origin;           /* where they were found, for messages */
} MsbCredentials;

void msb_credentials_free(MsbCredentials *credentials);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbCredentials, msb_credentials_free)

/* Credentials for a registry host ("docker.io", "localhost:5000"). Success with *found NULL means there are none:
 * anonymous. A file that cannot be read as what it should be, or a helper that fails, is an error that names it. */
gboolean msb_credentials_find(MsbHome *home, const char *host, MsbCredentials **found, GError **error);
/* Store, remove (NOT_FOUND if there are none of ours) and list (sorted host names, transfer full) our own. */
gboolean msb_credentials_store(MsbHome *home, const char *host, const char *username, const char *password,
                               GError **error);
gboolean msb_credentials_remove(MsbHome *home, const char *host, GError **error);
char **msb_credentials_list(MsbHome *home, GError **error);

G_END_DECLS

#endif

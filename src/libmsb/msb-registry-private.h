/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the registry client share: its requests, authorization, reading and writing. */
#ifndef MSB_REGISTRY_PRIVATE_H
#define MSB_REGISTRY_PRIVATE_H

#include "msb-registry.h"

G_BEGIN_DECLS

struct _MsbRegistry {
    MsbHttpSession *session;
    char *host;             /* as users write it */
    char *base;             /* "https://registry-1.docker.io" */
    gboolean plain_http;
    MsbHome *home;
    MsbCredentials *credentials;
    gboolean asked;         /* credentials are what was given or found; looked for when the registry wants some */
    guint retries;
    GMutex credentials_lock;
    GMutex lock;            /* of tokens */
    GHashTable *tokens;     /* scope to Token */
};

/* ---- msb-registry-auth.c ---- */
/* An empty table of tokens. */
GHashTable *msb_registry_new_tokens(void);
/* Send a request with the authorization that the registry wants for scope. */
MsbHttpResponse *msb_registry_send_once(MsbRegistry *registry, const MsbHttpRequest *request, const char *scope,
                                        GCancellable *cancellable, GError **error);

/* ---- msb-registry.c ---- */
/* msb_registry_send_once() again and again while it fails in a way that may pass. */
MsbHttpResponse *msb_registry_send_retrying(MsbRegistry *registry, const MsbHttpRequest *request, const char *scope,
                                            GCancellable *cancellable, GError **error);
/* The scope of a token for reading from a repository. Transfer full. */
char *msb_registry_pull_scope(const char *repository);
/* Wait before try number attempt (from 0), cancellably. */
gboolean msb_registry_back_off(guint attempt, gint64 at_least_ms, GCancellable *cancellable, GError **error);
/* Say what a response of an unexpected status means. reference: tag or digest. */
void msb_registry_set_status_error(MsbRegistry *registry, MsbHttpResponse *response, const char *repository,
                                   const char *reference, GCancellable *cancellable, GError **error);

G_END_DECLS

#endif

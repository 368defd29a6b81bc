/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images from and to registries.  Manifests, configurations and layers are verified
 * against their digests; each layer is downloaded, hashed, decompressed, hashed
 * again and converted in one streaming pass, several layers at a time.
 */
#ifndef MSB_PULL_H
#define MSB_PULL_H

#include "msb-config.h"
#include "msb-image.h"

G_BEGIN_DECLS

/* What the user should know although the pull goes on, such as a mirror that sends something else than was asked for.
 * Called on the calling thread. */
typedef void (*MsbWarningFunc)(const char *text, gpointer data);

typedef struct {
    MsbPullPolicy policy;       /* MSB_PULL_IF_MISSING: no request at all if the reference is in the store */
    const char *platform;       /* "linux/arm64", NULL = this host's */
    gboolean plain_http;        /* http instead of https */
    const char *ca_file;        /* PEM file of authorities, NULL = the system's */
    const char *username;       /* NULL = what is stored for the registry, if anything */
    const char *password;
    guint parallel;             /* layers at a time, 0 = what the settings say (4) */
    MsbProgressFunc progress;   /* per layer, by its digest; on the calling thread. May be NULL */
    gpointer progress_data;
    MsbWarningFunc warning;     /* may be NULL */
    gpointer warning_data;
} MsbPullOptions;

/* Get an image. NULL options = all defaults. With MSB_PULL_NEVER it must be in the store (NOT_FOUND).
 * A failure leaves the store as it was. */
MsbImage *msb_image_pull(MsbHome *home, const char *reference, const MsbPullOptions *options,
                         GCancellable *cancellable, GError **error);

typedef struct {
    gboolean plain_http;        /* as for pulling, all of these */
    const char *ca_file;
    const char *username;
    const char *password;
    guint parallel;             /* blobs at a time, 0 = what the settings say (4) */
    MsbProgressFunc progress;   /* per blob, by its digest; on the calling thread. May be NULL */
    gpointer progress_data;
} MsbPushOptions;

/* Put an image of the store into a registry: as destination, or under its own reference (NULL). Blobs that the registry
 * has are not sent; the manifest comes last. Returns the reference with the digest it has there (transfer full). */
char *msb_image_push(MsbHome *home, const char *reference, const char *destination, const MsbPushOptions *options,
                     GCancellable *cancellable, GError **error);

G_END_DECLS

#endif

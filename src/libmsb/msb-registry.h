/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A registry, as the OCI distribution specification 1.0 and Docker's registry API
 * v2 describe it: manifests and blobs, with basic and bearer-token
 * authentication, retries and resumption.  Internal to libmsb; thread-safe.
 */
#ifndef MSB_REGISTRY_H
#define MSB_REGISTRY_H

#include <gio/gio.h>

#include "msb-credentials.h"
#include "msb-http.h"

G_BEGIN_DECLS

#define MSB_MANIFEST_MAX (4 * 1024 * 1024)

typedef struct _MsbRegistry MsbRegistry;
typedef struct _MsbBlob MsbBlob;

typedef struct {
    gboolean plain_http;        /* http instead of https */
    const char *ca_file;        /* PEM, NULL = the system's authorities */
    const char *username;       /* explicit credentials; NULL = find some (msb-credentials.h) */
    const char *password;
    guint retries;              /* tries after the first for what may pass, 0 = what the settings say */
    gboolean mirror;            /* plain_http is what its address says, whatever the settings say of the host */
} MsbRegistryOptions;

/* host as in a reference: "docker.io", "quay.io", "localhost:5000". What options leave open is as the settings of home
 * (msb-settings.h) say. */
MsbRegistry *msb_registry_new(MsbHome *home, const char *host, const MsbRegistryOptions *options, GError **error);
void msb_registry_free(MsbRegistry *registry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbRegistry, msb_registry_free)

/* Is the registry there and do the credentials (if any) hold? For `registry login`. */
gboolean msb_registry_check(MsbRegistry *registry, GCancellable *cancellable, GError **error);

/* The bytes of a manifest or index: reference is a tag or a digest. A digest is verified against the bytes; *digest
 * (transfer full) is that of the bytes, *media_type (transfer full) as the server says, without parameters. */
GBytes *msb_registry_get_manifest(MsbRegistry *registry, const char *repository, const char *reference,
                                  char **media_type, char **digest, GCancellable *cancellable, GError **error);

/* Open a blob for reading from offset. Reading resumes by range after a broken connection, as often as retries
 * says with less than 64 KiB in between. The caller verifies the digest. size (-1 = not known) is what the manifest
 * says; a blob that is longer or shorter is MSB_ERROR_CORRUPT. */
MsbBlob *msb_registry_open_blob(MsbRegistry *registry, const char *repository, const char *digest,
                                guint64 offset, gint64 size, GCancellable *cancellable, GError **error);
/* Up to n bytes, 0 at the end, -1 with error. */
gssize msb_blob_read(MsbBlob *blob, void *buf, gsize n, GCancellable *cancellable, GError **error);
void msb_blob_free(MsbBlob *blob);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbBlob, msb_blob_free)

/* ---- msb-registry-push.c ---- */
typedef enum { MSB_BLOB_WAS_THERE, MSB_BLOB_MOUNTED, MSB_BLOB_UPLOADED } MsbBlobFate;
typedef void (*MsbBlobProgress)(guint64 sent, gpointer data);
/* Have the registry have a blob: nothing is sent if it is there already, or in one of others (repositories of the same
 * registry, NULL-terminated, may be NULL) from where it can be mounted; else size bytes of fd, from its beginning. A
 * broken upload goes on where the registry says it broke. progress may be NULL. */
gboolean msb_registry_put_blob(MsbRegistry *registry, const char *repository, const char *digest, int fd, guint64 size,
                               const char *const *others, MsbBlobProgress progress, gpointer data, MsbBlobFate *fate,
                               GCancellable *cancellable, GError **error);
/* File a manifest under reference, a tag or its digest. */
gboolean msb_registry_put_manifest(MsbRegistry *registry, const char *repository, const char *reference,
                                   const char *media_type, GBytes *bytes, const char *digest, GCancellable *cancellable,
                                   GError **error);

G_END_DECLS

#endif

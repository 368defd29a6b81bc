/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A registry and its mirrors, to read from: the mirrors that the settings name
 * are asked first, in their order, the registry itself last.  Whoever answers
 * for the manifest is asked for the blobs too; when it fails there, also in the
 * middle of one, those after it take over.  Every digest is verified, so a
 * mirror can say what a tag means but not what a digest does: one that sends
 * something else is named in a warning and not asked again.  Credentials are
 * each host's own.  Internal to libmsb; thread-safe but for manifests.
 */
#ifndef MSB_MIRRORS_H
#define MSB_MIRRORS_H

#include "msb-registry.h"
#include "msb-settings.h"

G_BEGIN_DECLS

typedef struct _MsbMirrors MsbMirrors;
typedef struct _MsbMirrorBlob MsbMirrorBlob;

/* options are those of the registry itself. */
MsbMirrors *msb_mirrors_new(MsbHome *home, const MsbSettings *settings, const char *host,
                            const MsbRegistryOptions *options, GError **error);
void msb_mirrors_free(MsbMirrors *mirrors);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbMirrors, msb_mirrors_free)

/* As msb_registry_get_manifest(), from the first that has it. One thread at a time, and not while blobs are read. */
GBytes *msb_mirrors_get_manifest(MsbMirrors *mirrors, const char *repository, const char *reference,
                                 GCancellable *cancellable, char **digest, GError **error);

/* A blob of size bytes, from its beginning. Nothing is asked for before the first read. */
MsbMirrorBlob *msb_mirrors_open_blob(MsbMirrors *mirrors, const char *repository, const char *digest, guint64 size);
/* Up to n bytes, 0 at the end, -1 with error. The caller verifies the digest. */
gssize msb_mirror_blob_read(MsbMirrorBlob *blob, void *buf, gsize n, GCancellable *cancellable, GError **error);
/* What was read has the digest got. TRUE: whoever is next is asked for the whole of it, by the reads that follow.
 * FALSE: there is nobody left, or got is right. */
gboolean msb_mirror_blob_begin_again(MsbMirrorBlob *blob, const char *got);
/* Add to the message what those said that were asked before; error may be NULL. */
void msb_mirror_blob_add_failures(const MsbMirrorBlob *blob, GError *error);
void msb_mirror_blob_free(MsbMirrorBlob *blob);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbMirrorBlob, msb_mirror_blob_free)

/* What the user should know of a mirror: the oldest warning that was not taken yet (transfer full), or NULL. */
char *msb_mirrors_take_warning(MsbMirrors *mirrors);

G_END_DECLS

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of an image archive by name: a directory, or a tar (with any
 * compression, from a file or standard input) that was spooled into numbered
 * files of a temporary directory.  Spooling costs nothing that is not needed
 * anyway: the layers become blobs of the store by rename.  Internal to libmsb.
 */
#ifndef MSB_ARCHIVE_H
#define MSB_ARCHIVE_H

#include <gio/gio.h>

#include "msb-image.h"

G_BEGIN_DECLS

typedef struct _MsbArchive MsbArchive;

/* path: a directory, a tar, or "-". spool_dir: exists, owned by the caller, on the store's file system. */
MsbArchive *msb_archive_open(const char *path, const char *spool_dir, MsbProgressFunc progress, gpointer data,
                             GCancellable *cancellable, GError **error);
void msb_archive_free(MsbArchive *archive);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbArchive, msb_archive_free)

gboolean msb_archive_has(MsbArchive *archive, const char *name);
/* A regular file of the archive, read-only; -1 with NOT_FOUND if there is none. *spool (may be NULL): where
 * it was spooled, owned by the archive, NULL for a directory. */
int msb_archive_open_file(MsbArchive *archive, const char *name, guint64 *size, const char **spool,
                          GError **error);
/* A document, at most MSB_OCI_MAX_DOCUMENT. */
GBytes *msb_archive_read(MsbArchive *archive, const char *name, GError **error);
/* For messages. */
const char *msb_archive_get_path(const MsbArchive *archive);

G_END_DECLS

#endif

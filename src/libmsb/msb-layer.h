/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A layer: tar archive or directory to a deterministic EROFS image, streamed.
 * Internal to libmsb.
 */
#ifndef MSB_LAYER_H
#define MSB_LAYER_H

#include <archive.h>
#include <gio/gio.h>

#include "msb-erofs-reader.h"

G_BEGIN_DECLS

typedef struct {
    gboolean whiteouts;        /* OCI ".wh." entries become overlayfs whiteouts and opaque directories */
    guint64 max_bytes;         /* uncompressed total, 0 = default (64 GiB) */
    guint64 max_entries;       /* 0 = default (2,000,000) */
    gboolean squash_owner;     /* directory source: everything belongs to root (0:0) */
    void (*progress)(guint64 bytes, gpointer data);
    gpointer progress_data;
    MsbErofsImplicit implicit; /* archive source: attributes of directories that have no entry, may be NULL */
    gpointer implicit_data;
    /* archive source: the layers below, asked for when a hard link leads there; NULL = there are none. Gets
     * implicit_data; the stack stays the function's. */
    MsbErofsStack *(*below)(gpointer data, GError **error);
} MsbLayerOptions;

/* Convert what archive (opened, positioned before its first entry) holds. out_fd: an empty regular
 * file, seekable; on failure its content is undefined and the caller unlinks it. CORRUPT names the entry. */
gboolean msb_layer_from_archive(struct archive *archive, int out_fd, const MsbLayerOptions *options,
                                GCancellable *cancellable, GError **error);
/* Convert a directory tree (never followed through symlinks, one filesystem). */
gboolean msb_layer_from_directory(const char *dir, int out_fd, const MsbLayerOptions *options,
                                  GCancellable *cancellable, GError **error);

G_END_DECLS

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the layer conversion share. */
#ifndef MSB_LAYER_PRIVATE_H
#define MSB_LAYER_PRIVATE_H

#include "msb-layer.h"

G_BEGIN_DECLS

#define MSB_LAYER_MAX_BYTES ((guint64)64 << 30)
#define MSB_LAYER_MAX_ENTRIES 2000000u
#define MSB_LAYER_MAX_MEMORY ((guint64)512 << 20)   /* names and directories */

/* ---- msb-layer.c ---- */
MsbErofsWriter *msb_layer_new_writer(int out_fd, const MsbLayerOptions *options, GError **error);

/* ---- msb-layer-below.c ---- */
/* The file that target, of a hard link, means in this layer and those below it: symbolic links on the way to it are
 * followed inside the image, the last component is not. If that is a file of the layers below, it becomes one of this
 * layer too, as overlayfs would copy it up. *resolved (transfer full): its path in this layer; target as it was if
 * there is no such file. */
gboolean msb_layer_find_target(MsbErofsWriter *writer, const MsbLayerOptions *options, const char *target,
                               GCancellable *cancellable, char **resolved, GError **error);

/* ---- msb-layer-acl.c ---- */
/* The POSIX.1e access or default list of an entry in the form of the system.posix_acl_* attributes; NULL if
 * it has none beyond the mode (transfer full). */
GByteArray *msb_layer_encode_acl(struct archive_entry *entry, gboolean is_default);

G_END_DECLS

#endif

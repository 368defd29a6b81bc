/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sparse ext4 images by libext2fs. Internal to libmsb. */
#ifndef MSB_EXT4_H
#define MSB_EXT4_H

#include <glib.h>

G_BEGIN_DECLS

/* The size that a disk of size bytes has: whole blocks. */
guint64 msb_ext4_round_size(guint64 size);
/* Make path (must not exist; 0600) a sparse ext4 of size bytes with the given label; with
 * overlay_dirs it has the directories "upper" (0755) and "work" in it. A failure leaves no file. */
gboolean msb_ext4_create(const char *path, guint64 size, const char *label, gboolean overlay_dirs,
                         GError **error);
/* Copy sparsely, by reflink where the filesystem can. path must not exist. */
gboolean msb_sparse_copy(const char *source, const char *path, GError **error);

G_END_DECLS

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where an image is saved to: a tar, or a directory, filled file by file and
 * given its name when all of it is there.  Internal to libmsb.
 */
#ifndef MSB_SAVE_OUT_H
#define MSB_SAVE_OUT_H

#include <gio/gio.h>

G_BEGIN_DECLS

typedef struct _MsbSaveOut MsbSaveOut;

/* path "-" = standard output (not for a directory). */
MsbSaveOut *msb_save_out_new(const char *path, gboolean directory, GError **error);
/* A file of size bytes, by its name in the archive: '/' between directories, none of which need exist. All of its
 * bytes follow, then the next one or the end. A name that was written already is written no second time: FALSE in
 * *wanted. */
gboolean msb_save_out_begin(MsbSaveOut *out, const char *name, guint64 size, gboolean *wanted, GError **error);
gboolean msb_save_out_write(MsbSaveOut *out, const void *bytes, gsize n, GError **error);
/* The whole file at once. */
gboolean msb_save_out_add(MsbSaveOut *out, const char *name, const void *bytes, gsize n, GError **error);
/* Everything is there: flush, and give it its name. */
gboolean msb_save_out_finish(MsbSaveOut *out, GError **error);
/* Without msb_save_out_finish(), nothing is left. */
void msb_save_out_free(MsbSaveOut *out);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbSaveOut, msb_save_out_free)

G_END_DECLS

#endif

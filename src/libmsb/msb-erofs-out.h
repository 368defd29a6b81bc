/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Buffered positional output of the EROFS writer.  Two of them write to one
 * file: one the data, one the metadata; each mostly moves forward.  What lies
 * between two writes that are less than a block apart is padding and becomes
 * zeros; everything never written is a hole.  Internal to libmsb.
 */
#ifndef MSB_EROFS_OUT_H
#define MSB_EROFS_OUT_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
    int fd;              /* borrowed */
    guint64 start;       /* position of buffer[0] in the file */
    gsize used;
    gsize capacity;
    guint8 *buffer;
} MsbErofsOut;

gboolean msb_erofs_out_init(MsbErofsOut *out, int fd, gsize capacity, GError **error);
void msb_erofs_out_clear(MsbErofsOut *out);
gboolean msb_erofs_out_write(MsbErofsOut *out, guint64 position, const void *bytes, gsize n, GError **error);
gboolean msb_erofs_out_flush(MsbErofsOut *out, GError **error);
/* The whole of it, at once, without buffering. */
gboolean msb_erofs_out_pwrite(int fd, guint64 position, const void *bytes, gsize n, GError **error);

G_END_DECLS

#endif

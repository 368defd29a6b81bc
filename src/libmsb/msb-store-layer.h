/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A layer's way into the store, in one pass: the blob is read once, hashed as
 * it is and stored, decompressed, hashed again, and converted.  Internal.
 */
#ifndef MSB_STORE_LAYER_H
#define MSB_STORE_LAYER_H

#include "msb-store.h"

G_BEGIN_DECLS

typedef struct {
    /* The next bytes of the blob: up to n, 0 at its end, -1 with the error set. */
    gssize (*read)(gpointer reader, void *buffer, gsize n, GCancellable *cancellable, GError **error);
    gpointer reader;
    const char *spool; /* a file on the store's file system that is the blob, NULL = none: it is copied */
    guint64 size;                /* for progress, 0 = not known */
    const char *digest;          /* expected, NULL = whatever it is */
    /* Set (transfer full) after a failure if that was because the blob has another digest than is expected: for that it
     * is read to its end, whatever else was found wrong before. May be NULL. */
    char **wrong_digest;
    const char *const
        *diff_ids; /* expected, of all layers of the image; NULL = a single one, whatever it is */
    guint index;   /* of this layer; those below it are in the store, or ready() waits for them */
    gboolean (*ready)(gpointer data, GError **error);  /* may be NULL */
    gpointer ready_data;
    guint64 *total;              /* bytes of all layers of the image without compression, counted here by any
                                  * thread; NULL = this is the only layer */
    const char *what;            /* for messages: "layer 2 of ..." */
    MsbProgressFunc progress;
    gpointer progress_data;
    GCancellable *cancellable;
} MsbLayerSource;

/* The read function of a descriptor; reader: GINT_TO_POINTER(fd). */
gssize msb_layer_read_fd(gpointer reader, void *buffer, gsize n, GCancellable *cancellable, GError **error);

/* Bring a layer in. A layer that is in the store already is not converted again; while another process
 * converts the same one, this waits for it. *diff_id (may be NULL): transfer full. Returns its descriptor,
 * with the media type that its compression has. */
MsbOciDescriptor *msb_store_add_layer(MsbStore *store, const MsbLayerSource *source, char **diff_id,
                                      GError **error);

G_END_DECLS

#endif

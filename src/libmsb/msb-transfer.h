/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Several blobs on their way at once: jobs on worker threads, whose progress is
 * told on the thread that waits for them.  The first failure cancels the
 * others.  Internal to libmsb.
 */
#ifndef MSB_TRANSFER_H
#define MSB_TRANSFER_H

#include "msb-image.h"

G_BEGIN_DECLS

typedef struct _MsbTransfer MsbTransfer;

/* One job, on a worker. cancellable follows the caller's and is cancelled by the first failure; those that
 * had not begun by then are called too, so that each can say to others that it ended. */
typedef gboolean (*MsbTransferFunc)(MsbTransfer *transfer, gpointer job, GCancellable *cancellable,
                                    GError **error);

/* Do every job of jobs, begun in this order, threads of them at a time; progress may be NULL. Returns when
 * all have ended, with the first error if there was one. */
gboolean msb_transfer_run(const GPtrArray *jobs, guint threads, MsbTransferFunc work,
                          MsbProgressFunc progress, gpointer progress_data, GCancellable *cancellable,
                          GError **error);

/* For workers: have progress told. At most ten times a second per what, and when done reaches total. told:
 * where the worker keeps when it last was, 0 at first. */
void msb_transfer_tell(MsbTransfer *transfer, const char *what, guint64 done, guint64 total, gint64 *told);

G_END_DECLS

#endif

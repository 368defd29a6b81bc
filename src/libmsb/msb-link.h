/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A link: frames of src/proto over one non-blocking stream descriptor, driven by
 * a main context.  The client library, the supervisor's control socket and its
 * agent channel are links.  Internal to msb.
 *
 * What is sent is queued and written as the peer takes it; a link never blocks
 * and never drops.  Bounding the queue is its user's business:
 * msb_link_get_queued() tells, drained() is called when it has become empty
 * after having been written late, msb_link_set_reading() stops what makes it
 * grow.  Received frames are bounded by MP_FRAME_MAX_PAYLOAD.
 */
#ifndef MSB_LINK_H
#define MSB_LINK_H

#include <glib.h>

#include "mp-codec.h"
#include "mp-frame.h"

G_BEGIN_DECLS

typedef struct _MsbLink MsbLink;

typedef struct {
    /* A frame came; payload is borrowed for the call.  FALSE with error set: the peer broke the
     * protocol; the link closes and closed() gets that error. */
    gboolean (*frame)(MsbLink *link, const struct mp_header *header, const guint8 *payload, gpointer data,
                      GError **error);
    /* The queue fell to MSB_LINK_LOW_WATER bytes or less after it had been above.  May be NULL. */
    void (*drained)(MsbLink *link, gpointer data);
    /* Once: the peer closed (error NULL) or the link failed.  Not called after msb_link_close(). */
    void (*closed)(MsbLink *link, const GError *error, gpointer data);
} MsbLinkFuncs;

#define MSB_LINK_LOW_WATER (256u * 1024)

/* A link on fd (taken; made non-blocking), on the thread-default main context.  Starts reading at once. */
MsbLink *msb_link_new(int fd, const MsbLinkFuncs *funcs, gpointer data);
MsbLink *msb_link_ref(MsbLink *link);
/* The last reference closes it. */
void msb_link_unref(MsbLink *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbLink, msb_link_unref)

/* Send the frames an encoder holds, and clear it.  No callback ever comes from within a send. */
void msb_link_send(MsbLink *link, struct mp_enc *enc);
/* Send one frame whose payload is bytes (shared, not copied; NULL = empty). */
void msb_link_send_bytes(MsbLink *link, guint16 type, guint32 session, GBytes *bytes);
/* The same from memory (copied). */
void msb_link_send_data(MsbLink *link, guint16 type, guint32 session, const void *p, gsize n);

/* Bytes queued and not yet written. */
gsize msb_link_get_queued(const MsbLink *link);
/* Stop or go on reading.  Frames already read and complete are still delivered first. */
void msb_link_set_reading(MsbLink *link, gboolean reading);
/* Close now, what is queued is lost; no callback comes any more. */
void msb_link_close(MsbLink *link);
/* Close after the queue has been written (or the peer is gone); nothing is read any more. */
void msb_link_close_after_write(MsbLink *link);
gboolean msb_link_is_closed(const MsbLink *link);

/* Wait for the descriptor alone, at most timeout_ms (-1 = for ever), and handle what came, without
 * running anything else of the main context.  FALSE when nothing came in time. */
gboolean msb_link_iterate(MsbLink *link, int timeout_ms);

G_END_DECLS

#endif

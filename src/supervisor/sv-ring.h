/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The last output of a command, for whoever attaches later: a byte ring of
 * bounded size that remembers which stream each piece came from.
 */
#ifndef SV_RING_H
#define SV_RING_H

#include <glib.h>

G_BEGIN_DECLS

#define SV_RING_SIZE (64u * 1024)

typedef struct SvRing SvRing;

/* Memory is taken as output comes, SV_RING_SIZE at most. */
SvRing *sv_ring_new(void);
void sv_ring_free(SvRing *ring);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SvRing, sv_ring_free)

/* Append; what is oldest goes. */
void sv_ring_add(SvRing *ring, guint8 stream, const guint8 *p, gsize n);

typedef void (*SvRingFunc)(guint8 stream, const guint8 *p, gsize n, gpointer data);
/* Oldest first; neighbouring pieces of one stream may come joined or apart. */
void sv_ring_replay(const SvRing *ring, SvRingFunc func, gpointer data);

G_END_DECLS

#endif

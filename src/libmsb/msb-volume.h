/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named volumes: volumes/<name>/ holds a directory volume's files and nothing
 * else; what msb knows about it is beside, in volumes/.meta/<name>.json.
 * Internal to libmsb.
 */
#ifndef MSB_VOLUME_H
#define MSB_VOLUME_H

#include "msb-paths.h"

G_BEGIN_DECLS

/* The directory of a volume (transfer full). */
char *msb_volume_dir(const MsbHome *home, const char *name);
/* Make the directory volume if it is not there; *created (may be NULL) tells. A directory without metadata, made
 * by other means, is taken for what it is. INVALID if the name is that of a disk volume. */
gboolean msb_volume_ensure_dir(MsbHome *home, const char *name, gboolean *created, GError **error);
/* Remove a volume that was made a moment ago and never used. */
gboolean msb_volume_discard(MsbHome *home, const char *name, GError **error);

G_END_DECLS

#endif

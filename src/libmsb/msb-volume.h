/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named volumes: volumes/<name>/ holds a directory volume's files and nothing
 * else, or the image of a disk volume; what msb knows about it is beside, in
 * volumes/.meta/<name>.json.
 * Internal to libmsb.
 */
#ifndef MSB_VOLUME_H
#define MSB_VOLUME_H

#include "msb-config.h"
#include "msb-paths.h"
#include "msb-state.h"

G_BEGIN_DECLS

/* The directory of a volume (transfer full). */
char *msb_volume_dir(const MsbHome *home, const char *name);
/* Make the directory volume if it is not there; *created (may be NULL) tells. A directory without metadata, made
 * by other means, is taken for what it is. What quota limits (NULL or 0 = whatever it has) becomes the limit of a
 * volume that has none. INVALID if the name is that of a disk volume, or the volume has another limit. */
gboolean msb_volume_ensure_dir(MsbHome *home, const char *name, const MsbQuota *quota, gboolean *created,
                               GError **error);
/* The volume's quota; no limits without metadata. */
gboolean msb_volume_read_quota(const MsbHome *home, const char *name, MsbQuota *quota, GError **error);
/* Where the accounts of directories with a quota are (transfer full), see msb-vhost-fs(1). */
char *msb_volume_quota_dir(const MsbHome *home);
/* Remove a volume that was made a moment ago and never used. */
gboolean msb_volume_discard(MsbHome *home, const char *name, GError **error);

/* volumes/.meta/<name>.json (transfer full). */
char *msb_volume_meta_path(const MsbHome *home, const char *name);
/* What changes to the volume happen under; NULL with an error. */
MsbLock *msb_volume_lock(const MsbHome *home, const char *name, GError **error);

/* ---- msb-volume-disk.c ---- */

#define MSB_VOLUME_DISK_FILE "disk.raw"

/* The image of a disk volume (transfer full). */
char *msb_volume_disk_path(const MsbHome *home, const char *name);
/* Whether there is a disk volume of this name. */
gboolean msb_volume_is_disk(const MsbHome *home, const char *name);
/* Make the disk volume, an ext4 of size bytes, if it is not there; *created tells. INVALID if the name is that of a
 * directory volume, if there is a disk of another size, or if there is none and size is 0. */
gboolean msb_volume_ensure_disk(MsbHome *home, const char *name, guint64 size, gboolean *created, GError **error);

G_END_DECLS

#endif

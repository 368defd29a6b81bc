/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named volumes as their owner sees them: made, listed, looked at, removed.
 * A volume is volumes/<name>/; sandboxes that name it keep it from being
 * removed, whether they run or not.
 */
#ifndef MSB_VOLUMES_H
#define MSB_VOLUMES_H

#include "msb-config.h"
#include "msb-paths.h"

G_BEGIN_DECLS

typedef struct _MsbVolume MsbVolume;
MsbVolume *msb_volume_ref(MsbVolume *volume);
void msb_volume_unref(MsbVolume *volume);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbVolume, msb_volume_unref)

/* Make an empty directory volume, with a quota if that is not NULL. EXISTS if the name is taken, INVALID if it is
 * no name. */
MsbVolume *msb_volume_create(MsbHome *home, const char *name, const MsbQuota *quota, GError **error);
/* Make a disk volume, an empty ext4 of size bytes that takes what is written to it. EXISTS as above; INVALID if it is
 * no name or the size is none that such a file system can have. */
MsbVolume *msb_volume_create_disk(MsbHome *home, const char *name, guint64 size, GError **error);
MsbVolume *msb_volume_lookup(MsbHome *home, const char *name, GError **error);
/* All of them, the newest first (transfer full, element-type MsbVolume). */
GPtrArray *msb_volume_list(MsbHome *home, GError **error);

const char *msb_volume_get_name(const MsbVolume *volume);
const char *msb_volume_get_path(const MsbVolume *volume);       /* its directory, absolute */
const char *msb_volume_get_kind(const MsbVolume *volume);       /* "dir" or "disk" */
guint64 msb_volume_get_capacity(const MsbVolume *volume);       /* size of a disk, bytes; 0 = not a disk */
gint64 msb_volume_get_created(const MsbVolume *volume);         /* microseconds since 1970; 0 = not known */
const MsbQuota *msb_volume_get_quota(const MsbVolume *volume);  /* the volume's own */
/* What it takes on the host's disk, counted now: allocated bytes and, if files is not NULL, files and
 * directories without its own. A file with several names counts once. */
gboolean msb_volume_measure(const MsbVolume *volume, guint64 *bytes, guint64 *files, GError **error);
/* Names of the sandboxes whose configuration names it (transfer full), sorted; NULL with an error. */
char **msb_volume_dup_users(MsbHome *home, const char *name, GError **error);

/* Make a disk volume size bytes large, or with add larger by size bytes.  Sandboxes that have it see it at once, and
 * those that mount it writable make the file system as large; others when they mount it next.  INVALID: it is a
 * directory, or would become smaller or too large. Works on the thread-default main context, see MsbClient. */
gboolean msb_volume_resize(MsbHome *home, const char *name, gboolean add, guint64 size, GError **error);

/* The same with a disk image of the user's own, raw or qcow2: its format is what a sandbox says that mounts it, or its
 * name's extension.  A sandbox that writes it makes it larger and sees it at once; an ext4 that is on the whole disk
 * then grows with it.  FAILED says what is in the way. */
gboolean msb_disk_image_resize(MsbHome *home, const char *path, gboolean add, guint64 size, GError **error);

/* Remove it with all that is in it. IN_USE names the sandboxes that name it, also stopped ones. */
gboolean msb_volume_remove(MsbHome *home, const char *name, GError **error);

/* Become the server of the volume, mounted on the directory mount_point of this host with the owners and modes
 * that the guests see; it ends when the directory is unmounted, or with SIGINT or SIGTERM. Returns, with an error,
 * only when that is not possible: needs root and /dev/fuse. */
void msb_volume_exec_mount(const MsbVolume *volume, const char *mount_point, MsbStatVirt stat_virt, gboolean readonly,
                           GError **error);

G_END_DECLS

#endif

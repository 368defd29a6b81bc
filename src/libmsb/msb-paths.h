/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where things are: the state directory ($MSB_HOME, default ~/.microsandbox)
 * and the programs of this build.
 *
 *   images/ sandboxes/<name>/ volumes/<name>/ snapshots/<name>/ kernel/<version>/ run/<name>/
 */
#ifndef MSB_PATHS_H
#define MSB_PATHS_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct _MsbHome MsbHome;

/* Open the state directory: path, or NULL for $MSB_HOME or the default. Made (0700)
 * with its subdirectories when missing. The handle is immutable and thread-safe. */
MsbHome *msb_home_open(const char *path, GError **error);
MsbHome *msb_home_ref(MsbHome *home);
void msb_home_unref(MsbHome *home);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbHome, msb_home_unref)

/* Absolute path of the state directory (owned by home). */
const char *msb_home_get_path(const MsbHome *home);
/* <home>/<element>/... (transfer full). */
char *msb_home_build_path(const MsbHome *home, const char *first, ...) G_GNUC_NULL_TERMINATED;
char *msb_home_sandbox_dir(const MsbHome *home, const char *name);  /* sandboxes/<name> */
/* run/<name>, shortened with a hash for names over 32 bytes: it holds sockets, whose
 * paths are limited to 107 bytes (transfer full). */
char *msb_home_run_dir(const MsbHome *home, const char *name);

/* Full path of one of our programs: "msb-supervisor", "msb-vhost-blk", "msb-vhost-fs",
 * "msb-agent".  In a build tree ($MSB_BUILDDIR) from there, otherwise from the
 * installation ($MSB_LIBEXECDIR overrides). NULL with NOT_FOUND if it is not there. */
char *msb_paths_find_program(const char *name, GError **error);
/* Same for a data file, by its path below data/ ("schema/domain-metadata.rng"). */
char *msb_paths_find_data(const char *name, GError **error);

/* Create path (mode) with its parents; an existing directory is fine. */
gboolean msb_paths_make_dir(const char *path, guint mode, GError **error);
/* Remove a tree, never following symlinks or crossing into mounts. Missing is fine. */
gboolean msb_paths_remove_tree(const char *path, GError **error);

G_END_DECLS

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Serving a share to this host's own kernel over /dev/fuse, instead of to a
 * guest: for looking at a volume with the guest's owners and modes, and for
 * running test suites for file systems against the core.  Needs root.
 */
#ifndef FS_DEVFUSE_H
#define FS_DEVFUSE_H

#include "fs-core.h"

/* As root, go on as the owner of what will be shared, so that what is made there belongs to whose it is, and can be
 * used by their own servers of it; before fs_new().  Root is kept aside for mounting.  0 or -errno, message logged. */
int fs_devfuse_become_owner(const char *path) MB_MUST_CHECK;

/* Mount the share on the directory and serve it with n threads until it is unmounted or
 * SIGTERM or SIGINT comes, which unmounts it (those who use it are served to the end).  0 or -errno, message logged. */
int fs_devfuse_serve(struct fs *fs, const char *mount_point, unsigned n_threads) MB_MUST_CHECK;

#endif

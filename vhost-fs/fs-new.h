/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects that the guest creates.  What one shall be is decided before it
 * exists; if it then cannot be given its identity it is removed again, unless
 * its name has come to mean something else.  Objects that are more than an
 * empty file (virtual links and devices) are made without a name and linked
 * when they are complete.
 */
#ifndef FS_NEW_H
#define FS_NEW_H

#include <stdint.h>
#include <sys/types.h>

#include "fs-ops.h"

struct fs_ident;

/* Identity of what the request is to create in dir; mode with type. Fails with EPERM for
 * bits that stat-virt off cannot represent. */
int fs_new_identity(const struct fs_req *req, const struct fs_dir_ref *dir, uint32_t mode, uint32_t umask,
                    uint32_t rdev, struct fs_ident *id) MB_MUST_CHECK;

/* Permission bits to create a regular file or a directory with on the host. */
mode_t fs_new_host_mode(const struct fs *fs, const struct fs_ident *id);

/* Give the new object behind fd its identity (and host permissions). 0 or -errno. */
int fs_new_apply(struct fs *fs, const struct fs_fd *fd, const struct fs_ident *id) MB_MUST_CHECK;

/* Give what was just made as name in dir, behind path_fd (owned from here on), its identity, or remove it; and answer
 * with its entry. 0 or -errno. */
int fs_new_complete(struct fs_req *req, struct fs_dir_ref *dir, const char *name, int path_fd,
                    const struct fs_ident *id) MB_MUST_CHECK;

/* That, opened by its name; which another server or the host may have given to something else by now, whose identity
 * is not ours to write, and which is not ours to remove: then -ESTALE. */
int fs_new_complete_named(struct fs_req *req, struct fs_dir_ref *dir, const char *name,
                          const struct fs_ident *id) MB_MUST_CHECK;

/* Remove name from dir if it still is the object behind fd. */
void fs_new_undo(const struct fs_dir_ref *dir, const char *name, const struct fs_fd *fd, int unlink_flags);

/* Make a regular file with content and identity appear as name at once. 0 or -errno. */
int fs_new_whole_file(struct fs_dir_ref *dir, const char *name, const void *content, size_t len,
                      const struct fs_ident *id) MB_MUST_CHECK;

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes of what is behind a descriptor, be it O_PATH or real.
 * Sizes or 0 on success, negative errno.
 */
#ifndef FS_XATTR_H
#define FS_XATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "mb-macros.h"

struct fs;
struct fs_fd;

#define FS_ACL_ACCESS "system.posix_acl_access"
#define FS_ACL_DEFAULT "system.posix_acl_default"
/* The guest has the host's POSIX ACLs, and its kernel obeys them. */
bool fs_xattr_acls(const struct fs *fs);

ssize_t fs_xattr_get(const struct fs_fd *fd, const char *name, void *value, size_t size) MB_MUST_CHECK;
int fs_xattr_set(const struct fs_fd *fd, const char *name, const void *value, size_t size, int flags) MB_MUST_CHECK;
int fs_xattr_remove(const struct fs_fd *fd, const char *name) MB_MUST_CHECK;
ssize_t fs_xattr_list(const struct fs_fd *fd, char *list, size_t size) MB_MUST_CHECK;

#endif

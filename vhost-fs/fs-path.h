/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names and descriptors: all that keeps a guest inside its share.
 *
 * A name from the guest is one component; it is checked here before anything
 * else sees it.  Files are found relative to the descriptor of a directory
 * that was found in the same way, with openat2(RESOLVE_BENEATH |
 * RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS), or openat(O_NOFOLLOW) where the
 * kernel lacks it.  What is found is an O_PATH descriptor, so that neither a
 * FIFO nor a device is ever opened; only when it is known to be a regular file
 * or a directory is it opened again for I/O, through the descriptor itself
 * (/proc/self/fd), never by name.
 *
 * /proc/self/fd is the working directory: "17" then is the cheapest path of
 * descriptor 17 for the calls that have no variant for O_PATH descriptors.
 */
#ifndef FS_PATH_H
#define FS_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "mb-macros.h"

struct fs;
struct fs_fd;

/* 0; -EINVAL for "", "." and a NUL inside; -EPERM for ".." and a slash; -ENAMETOOLONG. */
int fs_name_check(const char *name, size_t len) MB_MUST_CHECK;

/* Attributes that every look-up asks for. */
#define FS_STATX_MASK (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)

/* Attributes of name in the directory dfd (not followed), or of dfd itself. 0 or -errno. */
int fs_path_stat(int dfd, const char *name, struct statx *stx) MB_MUST_CHECK;
int fs_path_stat_fd(int fd, struct statx *stx) MB_MUST_CHECK;
/* Whether name in dfd is the very file behind fd. */
bool fs_path_is(int dfd, const char *name, int fd);

/* O_PATH descriptor of name in the directory dfd. fd or -errno. */
int fs_path_open(const struct fs *fs, int dfd, const char *name) MB_MUST_CHECK;

/* Create name, which must not exist, as a regular file: descriptor opened with flags, or -errno. */
int fs_path_create(const struct fs *fs, int dfd, const char *name, int flags, mode_t mode) MB_MUST_CHECK;

/* Open the regular file behind an O_PATH (or any) descriptor for I/O. fd or -errno. */
int fs_path_reopen(const struct fs *fs, int fd, int flags) MB_MUST_CHECK;

/* Open the directory behind a descriptor for reading; quietly: so that its access time stays, if that
 * is allowed. fd or -errno. */
int fs_path_open_dir(int fd, bool quietly) MB_MUST_CHECK;

/* True if the descriptor is of a file of procfs: not data that somebody put there, but the memory of
 * processes, this one's among them. */
bool fs_path_is_proc(int fd);

/* Path of a descriptor relative to the working directory. */
struct fs_fd_path {
    char s[12];
};
struct fs_fd_path fs_path_of_fd(int fd);

/* chmod() of what is behind a descriptor of either kind. 0 or -errno. */
int fs_path_chmod(const struct fs_fd *fd, mode_t mode) MB_MUST_CHECK;

/* The directory of the share itself: *fd is an O_PATH descriptor. 0 or -errno. */
int fs_path_open_root(const char *path, bool follow, int *fd) MB_MUST_CHECK;

/* True if the kernel has openat2(). */
bool fs_path_probe_openat2(void);

#endif

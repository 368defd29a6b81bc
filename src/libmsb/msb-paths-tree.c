/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removal of a tree that a guest may have filled: names are taken relative to
 * directory descriptors, symbolic links are removed and never followed, a
 * mount point stops the removal, directories without permissions are opened
 * up, and the depth is bounded.  A directory deeper than MAX_DEPTH is moved up
 * into the top directory and removed from there, so that neither the stack nor
 * the descriptor table grows with what the guest made.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-paths.h"

#define MAX_DEPTH 48
#define PARKED_PREFIX ".msb-rm-"

typedef struct {
    int top_fd;         /* deep directories are parked here */
    guint parked;       /* how many were, for their names */
    guint64 mount_id;   /* of the top: nothing else is entered */
} Removal;

static int remove_children(Removal *rm, int dirfd, int depth);

static int
mount_id_of(int fd, guint64 *id)
{
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &stx) < 0)
        return -errno;
    *id = stx.stx_mask & STATX_MNT_ID ? stx.stx_mnt_id
                                      : ((guint64)stx.stx_dev_major << 32 | stx.stx_dev_minor);
    return 0;
}

/* Open a directory for removal of what is in it, whatever its mode. */
static int
open_dir(int dirfd, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    struct stat st;
    int fd = openat(dirfd, name, flags);

    if (fd < 0 && errno == EACCES && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(st.st_mode) && fchmodat(dirfd, name, 0700, 0) == 0)
        fd = openat(dirfd, name, flags);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700)
        (void)!fchmod(fd, 0700);
    return fd;
}

static int
park(Removal *rm, int dirfd, const char *name)
{
    char parked[64];

    do {
        snprintf(parked, sizeof parked, PARKED_PREFIX "%u", rm->parked++);
    } while (faccessat(rm->top_fd, parked, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
    return renameat(dirfd, name, rm->top_fd, parked) < 0 ? -errno : 0;
}

static int
remove_entry(Removal *rm, int dirfd, const char *name, int depth)
{
    mb_autofd int fd = -1;
    guint64 id;
    int r;

    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -errno;
    fd = open_dir(dirfd, name);
    if (fd < 0)
        return fd;
    r = mount_id_of(fd, &id);
    if (r < 0)
        return r;
    if (id != rm->mount_id)
        return -EBUSY;
    if (depth >= MAX_DEPTH)
        return park(rm, dirfd, name);
    r = remove_children(rm, mb_steal_fd(&fd), depth + 1);
    if (r < 0)
        return r;
    return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/* Takes dirfd. */
static int
remove_children(Removal *rm, int dirfd, int depth)
{
    mb_autodir DIR *dir = fdopendir(dirfd);
    struct dirent *entry;
    int r;

    if (!dir) {
        r = -errno;
        mb_close(dirfd);
        return r;
    }
    while ((errno = 0, entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        r = remove_entry(rm, dirfd, entry->d_name, depth);
        if (r < 0)
            return r;
    }
    return -errno;
}

/* Directories parked in the top while it was read may not have shown up in that reading. */
static int
empty_top(Removal *rm)
{
    guint before;
    int fd, r;

    do {
        before = rm->parked;
        fd = openat(rm->top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        r = remove_children(rm, fd, 0);
        if (r < 0)
            return r;
    } while (rm->parked != before);
    return 0;
}

gboolean
msb_paths_remove_tree(const char *path, GError **error)
{
    mb_autofd int top = -1;
    Removal rm = { .top_fd = -1 };
    int r;

    if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR)
        return TRUE;
    if (errno != EISDIR && errno != EPERM)
        return msb_error_set_errno(error, errno, "cannot remove '%s'", path);
    top = open_dir(AT_FDCWD, path);
    if (top < 0)
        return msb_error_set_errno(error, -top, "cannot remove '%s'", path);
    rm.top_fd = top;
    r = mount_id_of(top, &rm.mount_id);
    if (r == 0)
        r = empty_top(&rm);
    if (r == 0 && rmdir(path) < 0 && errno != ENOENT)
        r = -errno;
    if (r == -EBUSY)
        return msb_error_set(error, MSB_ERROR_IN_USE,
                             "cannot remove '%s': something is mounted in it; unmount it first", path);
    if (r < 0)
        return msb_error_set_errno(error, -r, "cannot remove '%s'", path);
    return TRUE;
}

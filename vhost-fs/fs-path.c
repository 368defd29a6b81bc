/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names and descriptors, see fs-path.h.
 */
#include <config.h>

#include "fs-path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs-core.h"
#include "mb-cleanup.h"

#define RESOLVE_CONTAINED (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

int
fs_name_check(const char *name, size_t len)
{
    if (len == 0 || memchr(name, 0, len))
        return -EINVAL;
    if (len > NAME_MAX)
        return -ENAMETOOLONG;
    if (memchr(name, '/', len))
        return -EPERM;
    if (name[0] == '.' && len == 1)
        return -EINVAL;
    if (name[0] == '.' && name[1] == '.' && len == 2)
        return -EPERM;
    return 0;
}

int
fs_path_stat(int dfd, const char *name, struct statx *stx)
{
    return statx(dfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, FS_STATX_MASK, stx) < 0 ? -errno : 0;
}

int
fs_path_stat_fd(int fd, struct statx *stx)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, FS_STATX_MASK, stx) < 0 ? -errno
                                                                                                        : 0;
}

bool
fs_path_is(int dfd, const char *name, int fd)
{
    struct statx a, b;

    return fs_path_stat(dfd, name, &a) == 0 && fs_path_stat_fd(fd, &b) == 0 && a.stx_ino == b.stx_ino &&
           a.stx_dev_major == b.stx_dev_major && a.stx_dev_minor == b.stx_dev_minor;
}

static int
openat2_contained(int dfd, const char *name, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
        .mode = mode,
        .resolve = resolve,
    };
    int tries, fd = -1;

    /* RESOLVE_BENEATH answers EAGAIN when a rename elsewhere made it unsure. */
    for (tries = 0; tries < 16; tries++) {
        fd = (int)syscall(SYS_openat2, dfd, name, &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd < 0 ? -errno : fd;
}

static int
open_contained(const struct fs *fs, int dfd, const char *name, int flags, mode_t mode)
{
    int fd;

    if (fs->openat2)
        return openat2_contained(dfd, name, flags, mode, RESOLVE_CONTAINED);
    /* One component that is not "..": nothing but a symbolic link could lead away. */
    fd = openat(dfd, name, flags | O_CLOEXEC | O_NOFOLLOW, mode);
    return fd < 0 ? -errno : fd;
}

int
fs_path_open(const struct fs *fs, int dfd, const char *name)
{
    return open_contained(fs, dfd, name, O_PATH, 0);
}

int
fs_path_create(const struct fs *fs, int dfd, const char *name, int flags, mode_t mode)
{
    return open_contained(fs, dfd, name, flags | O_CREAT | O_EXCL, mode);
}

struct fs_fd_path
fs_path_of_fd(int fd)
{
    struct fs_fd_path p;
    unsigned v = (unsigned)fd;
    size_t i = sizeof(p.s);

    p.s[--i] = 0;
    do {
        p.s[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    memmove(p.s, p.s + i, sizeof(p.s) - i);
    return p;
}

int
fs_path_reopen(const struct fs *fs, int fd, int flags)
{
    struct fs_fd_path path = fs_path_of_fd(fd);
    int new_fd;

    do {
        new_fd = openat(fs->proc_fd, path.s, (flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL)) | O_CLOEXEC);
    } while (new_fd < 0 && errno == EINTR);
    return new_fd < 0 ? -errno : new_fd;
}

int
fs_path_open_dir(int fd, bool quietly)
{
    int new_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | (quietly ? O_NOATIME : 0));

    if (new_fd < 0 && errno == EPERM && quietly)
        new_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return new_fd < 0 ? -errno : new_fd;
}

bool
fs_path_is_proc(int fd)
{
    struct statfs st;

    return fstatfs(fd, &st) == 0 && st.f_type == PROC_SUPER_MAGIC;
}

int
fs_path_chmod(const struct fs_fd *fd, mode_t mode)
{
    struct fs_fd_path path;

    if (fd->real)
        return fchmod(fd->fd, mode) < 0 ? -errno : 0;
    path = fs_path_of_fd(fd->fd);
    return chmod(path.s, mode) < 0 ? -errno : 0;
}

/* As openat2() from "/" with RESOLVE_NO_SYMLINKS would do it. */
static int
open_root_by_component(const char *path)
{
    mb_autofd int fd = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char name[NAME_MAX + 1];

    while (fd >= 0) {
        size_t len;
        int next;

        path += strspn(path, "/");
        len = strcspn(path, "/");
        if (len == 0)
            return mb_steal_fd(&fd);
        if (len > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, path, len);
        name[len] = 0;
        path += len;
        next = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (next >= 0) {
            struct stat st;

            if (fstat(next, &st) == 0 && S_ISLNK(st.st_mode)) {
                close(next);
                return -ELOOP;
            }
        }
        mb_close(fd);
        fd = next;
    }
    return -errno;
}

int
fs_path_open_root(const char *path, bool follow, int *fd)
{
    if (follow) {
        *fd = open(path, O_PATH | O_CLOEXEC);
        return *fd < 0 ? -errno : 0;
    }
    *fd = fs_path_probe_openat2() ? openat2_contained(AT_FDCWD, path, O_PATH, 0,
                                                      RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
                                  : open_root_by_component(path);
    if (*fd >= 0) {
        struct stat st;

        /* O_PATH | O_NOFOLLOW gives a descriptor of a trailing link itself. */
        if (fstat(*fd, &st) == 0 && S_ISLNK(st.st_mode)) {
            close(*fd);
            *fd = -1;
            return -ELOOP;
        }
    }
    return *fd < 0 ? *fd : 0;
}

bool
fs_path_probe_openat2(void)
{
    int fd = openat2_contained(AT_FDCWD, ".", O_PATH, 0, RESOLVE_NO_SYMLINKS);

    mb_close(fd);
    return fd >= 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System calls that one of the C libraries we build with has no wrapper for.
 * Everything about mounting goes through here: <sys/mount.h> of glibc and
 * <linux/mount.h> cannot be included together.
 */
#ifndef AG_SYS_H
#define AG_SYS_H

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#define AG_MNT_DETACH 2

static inline int
ag_sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = { .flags = flags, .resolve = resolve };

    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

static inline int
ag_sys_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
    return (int)syscall(SYS_mount, source, target, type, flags, data);
}

static inline int
ag_sys_umount2(const char *target, int flags)
{
    return (int)syscall(SYS_umount2, target, flags);
}

static inline int
ag_sys_fsopen(const char *type, unsigned flags)
{
    return (int)syscall(SYS_fsopen, type, flags);
}

static inline int
ag_sys_fspick(int dirfd, const char *path, unsigned flags)
{
    return (int)syscall(SYS_fspick, dirfd, path, flags);
}

static inline int
ag_sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux)
{
    return (int)syscall(SYS_fsconfig, fd, cmd, key, value, aux);
}

static inline int
ag_sys_fsmount(int fd, unsigned flags, unsigned attrs)
{
    return (int)syscall(SYS_fsmount, fd, flags, attrs);
}

static inline int
ag_sys_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags)
{
    return (int)syscall(SYS_move_mount, from, from_path, to, to_path, flags);
}

static inline int
ag_sys_open_tree(int dirfd, const char *path, unsigned flags)
{
    return (int)syscall(SYS_open_tree, dirfd, path, flags);
}

/* Close-on-exec for every descriptor from first on. */
static inline int
ag_sys_cloexec_from(unsigned first)
{
    return (int)syscall(SYS_close_range, first, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
}

static inline int
ag_sys_init_module(const void *image, size_t n, const char *args)
{
    return (int)syscall(SYS_init_module, image, n, args);
}

static inline int
ag_sys_finit_module(int fd, const char *args, int flags)
{
    return (int)syscall(SYS_finit_module, fd, args, flags);
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Confinement, see fs-confine.h.
 *
 * Capabilities: an ordinary user has none and needs none.  A process of root
 * serves files of all owners, for which it keeps CAP_DAC_OVERRIDE and
 * CAP_FOWNER; with stat-virt off it also sets owners and makes devices as the
 * guest says, which takes CAP_CHOWN, CAP_FSETID, CAP_MKNOD and CAP_SETFCAP.
 *
 * Landlock: the share, for reading or for everything.  Descriptors opened
 * through /proc/self/fd are judged by where the file is.
 */
#include <config.h>

#include "fs-confine.h"

#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>

#include "mb-macros.h"
#include "vh-syscalls.h"

/* Beside those that every back-end needs, vh_syscalls. */
static const int syscalls[] = {
    /* names and attributes */
    SYS_fchdir, SYS_fchmodat, SYS_fchmod, SYS_fchown, SYS_fchownat, SYS_fstatfs, SYS_getdents64,
    SYS_linkat, SYS_mkdirat, SYS_mknodat, SYS_openat, SYS_openat2, SYS_readlinkat, SYS_renameat2,
    SYS_statx, SYS_symlinkat, SYS_unlinkat, SYS_utimensat,
#ifdef SYS_chmod
    SYS_chmod,
#endif
#ifdef SYS_renameat
    SYS_renameat, /* what renameat2() without flags becomes in the C library */
#endif
    SYS_fgetxattr, SYS_flistxattr, SYS_fremovexattr, SYS_fsetxattr, SYS_getxattr, SYS_listxattr, SYS_removexattr,
    SYS_setxattr,
    /* data */
    SYS_copy_file_range, SYS_fallocate, SYS_fdatasync, SYS_fsync, SYS_ftruncate, SYS_lseek, SYS_pread64,
    SYS_preadv, SYS_preadv2, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_syncfs, SYS_truncate,
    /* locks, pending requests, limits, the account of a quota */
    SYS_flock, SYS_inotify_add_watch, SYS_inotify_rm_watch, SYS_msync, SYS_ppoll, SYS_prlimit64,
#ifdef SYS_poll
    SYS_poll,
#endif
};

static const int capabilities[] = {
    CAP_DAC_OVERRIDE, CAP_FOWNER,
    /* stat-virt off, from here on */
    CAP_CHOWN, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP,
};
#define N_CAPABILITIES_VIRTUAL 2u

/* A sanitizer makes system calls of its own, and reads /proc when it has something to tell. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STAGES (MB_CONFINE_ALL & ~(1u << MB_CONFINE_SECCOMP | 1u << MB_CONFINE_LANDLOCK))
#else
#define STAGES MB_CONFINE_ALL
#endif

#define MAX_FDS 16u

int
fs_confine(struct fs *fs, const int *fds, unsigned n_fds, struct mb_confine_report *report)
{
    bool off = fs->config.stat_virt == FS_STAT_OFF;
    struct mb_confine_path path;
    int keep[MAX_FDS];
    struct mb_confine_policy policy = {
        .stages = STAGES,
        .capabilities = capabilities,
        .n_capabilities = off ? MB_ARRAY_SIZE(capabilities) : N_CAPABILITIES_VIRTUAL,
        .fds = keep,
        .paths = &path,
        .n_paths = 1,
        .syscalls = syscalls,
        .n_syscalls = MB_ARRAY_SIZE(syscalls),
        .more_syscalls = vh_syscalls,
        .n_more_syscalls = vh_n_syscalls,
    };
    fs_auto_fd struct fs_fd root = FS_FD_NONE;

    if (!fs_node_fd_ready(fs, fs->root, &root) || n_fds + 2 + FS_QUOTA_FDS > MAX_FDS)
        return -1;
    memcpy(keep, fds, n_fds * sizeof(*fds));
    keep[n_fds] = fs->proc_fd;
    keep[n_fds + 1] = fs->sync_fd;
    policy.n_fds = n_fds + 2 + fs_quota_fds(fs->quota, keep + n_fds + 2);
    path = (struct mb_confine_path){
        .fd = root.fd,
        .access = fs->config.read_only ? MB_CONFINE_READ : MB_CONFINE_READ_WRITE,
    };
    return mb_confine(&policy, report);
}

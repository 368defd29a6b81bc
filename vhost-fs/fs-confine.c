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

static const int syscalls[] = {
    /* names and attributes */
    SYS_fchdir, SYS_fchmodat, SYS_fchmod, SYS_fchown, SYS_fchownat, SYS_fstat, SYS_fstatfs, SYS_getdents64,
    SYS_linkat, SYS_mkdirat, SYS_mknodat, SYS_newfstatat, SYS_openat, SYS_openat2, SYS_readlinkat, SYS_renameat2,
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
    SYS_preadv, SYS_preadv2, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_read, SYS_syncfs, SYS_truncate,
    SYS_write, SYS_writev,
    /* locks, and descriptors in general */
    SYS_close, SYS_fcntl, SYS_flock, SYS_prlimit64,
    /* the front-end: connection, messages, shared memory, events */
    SYS_accept4, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_eventfd2, SYS_memfd_create, SYS_ppoll,
    SYS_recvmsg, SYS_sendmsg, SYS_sendto, SYS_setsockopt, SYS_shutdown,
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
#ifdef SYS_poll
    SYS_poll,
#endif
    /* memory, threads, time, signals */
    SYS_brk, SYS_clock_gettime, SYS_clone, SYS_clone3, SYS_exit, SYS_exit_group, SYS_futex, SYS_getpid,
    SYS_getrandom, SYS_gettid, SYS_madvise, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_munmap, SYS_prctl,
    SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_yield,
    SYS_set_robust_list, SYS_setitimer, SYS_sysinfo, SYS_tgkill,
#ifdef SYS_alarm
    SYS_alarm,
#endif
};

static const int capabilities[] = {
    CAP_DAC_OVERRIDE, CAP_FOWNER,
    /* stat-virt off, from here on */
    CAP_CHOWN, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP,
};
#define N_CAPABILITIES_VIRTUAL 2u

#define MAX_FDS 16u

int
fs_confine(struct fs *fs, const int *fds, unsigned n_fds, struct mb_confine_report *report)
{
    bool off = fs->config.stat_virt == FS_STAT_OFF;
    struct mb_confine_path path;
    int keep[MAX_FDS];
    struct mb_confine_policy policy = {
        .stages = MB_CONFINE_ALL,
        .capabilities = capabilities,
        .n_capabilities = off ? MB_ARRAY_SIZE(capabilities) : N_CAPABILITIES_VIRTUAL,
        .fds = keep,
        .paths = &path,
        .n_paths = 1,
        .syscalls = syscalls,
        .n_syscalls = MB_ARRAY_SIZE(syscalls),
    };
    fs_auto_fd struct fs_fd root = FS_FD_NONE;

    if (!fs_node_fd_ready(fs, fs->root, &root) || n_fds + 2 > MAX_FDS)
        return -1;
    memcpy(keep, fds, n_fds * sizeof(*fds));
    keep[n_fds] = fs->proc_fd;
    keep[n_fds + 1] = fs->sync_fd;
    policy.n_fds = n_fds + 2;
    path = (struct mb_confine_path){
        .fd = root.fd,
        .access = fs->config.read_only ? MB_CONFINE_READ : MB_CONFINE_READ_WRITE,
    };
    return mb_confine(&policy, report);
}

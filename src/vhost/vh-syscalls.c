/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See vh-syscalls.h.  tests/unit/vhost/test-main.c serves a front-end under
 * this very list.
 */
#include <config.h>

#include "vh-syscalls.h"

#include <sys/syscall.h>

#include "mb-macros.h"

const int vh_syscalls[] = {
    /* the front-end: vh-main.c, vh-dev.c, vh-msg.c, mb-io.c, mb-log.c */
    SYS_accept4,
    SYS_close,
    SYS_fcntl,
    SYS_recvmsg,
    SYS_sendmsg,
    SYS_setsockopt,
    SYS_write,
    SYS_read,
    /* memory it shares: vh-mem.c, vh-inflight.c */
    SYS_fstat,
    SYS_newfstatat,
    SYS_ftruncate,
    SYS_madvise,
    SYS_memfd_create,
    SYS_mmap,
    SYS_munmap,
    /* loops: vh-loop.c */
    SYS_clock_gettime,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
    SYS_eventfd2,
    SYS_restart_syscall,
    /* workers, and what libc does for threads and allocation */
    SYS_brk,
    SYS_clone,
    SYS_clone3,
    SYS_exit,
    SYS_exit_group,
    SYS_futex,
    SYS_getpid,
    SYS_getrandom,
    SYS_gettid,
    SYS_mprotect,
    SYS_mremap,
    SYS_prctl,
    SYS_rseq,
    SYS_sched_getaffinity,
    SYS_sched_yield,
    SYS_set_robust_list,
    SYS_sysinfo,
    SYS_tgkill,
/* signals: vh-main.c */
#ifdef SYS_alarm
    SYS_alarm,
#endif
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_setitimer,
};

const unsigned vh_n_syscalls = MB_ARRAY_SIZE(vh_syscalls);

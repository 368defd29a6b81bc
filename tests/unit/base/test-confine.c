/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mb-confine.h: each stage is applied in a child, which then tries what the
 * stage forbids.  Where a kernel has no Landlock the report has to say so.
 */
#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mb-confine.h"
#include "tap.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* What the child needs to tell its result. */
static const int minimal[] = {SYS_write, SYS_exit_group, SYS_exit,  SYS_rt_sigreturn,
                              SYS_futex, SYS_munmap,     SYS_getpid};

static struct mb_confine_report *report; /* shared with the child */

/* The program's own in the place of the C library's: the kernel as an earlier one, whose Landlock has ABI 1. */
static bool first_landlock;

long
syscall(long nr, ...)
{
    static long (*real)(long, ...);
    long a[6];
    va_list ap;
    unsigned i;

    va_start(ap, nr);
    for (i = 0; i < MB_ARRAY_SIZE(a); i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    if (first_landlock && nr == SYS_landlock_create_ruleset && a[2] == LANDLOCK_CREATE_RULESET_VERSION)
        return 1;
    return real(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Run fn in a child after confinement; its wait status. */
static int
confined(const struct mb_confine_policy *policy, int (*fn)(void *), void *data)
{
    int status = -1;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        mb_confine(policy, report);
        _exit(fn(data));
    }
    waitpid(pid, &status, 0);
    return status;
}

static int
make_socket(void *data)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 ? 0 : errno;
}

static int
do_nothing(void *data)
{
    return 0;
}

static void
test_seccomp(void)
{
    struct mb_confine_policy policy = {
        .stages = 1u << MB_CONFINE_NO_NEW_PRIVS | 1u << MB_CONFINE_SECCOMP,
        .syscalls = minimal,
        .n_syscalls = MB_ARRAY_SIZE(minimal),
    };
    int status = confined(&policy, do_nothing, NULL);

    if (report->stage[MB_CONFINE_SECCOMP].state != MB_CONFINE_APPLIED) {
        tap_skip("seccomp", strerror(report->stage[MB_CONFINE_SECCOMP].error));
        return;
    }
    eq_int(report->stage[MB_CONFINE_NO_NEW_PRIVS].state, MB_CONFINE_APPLIED, "no_new_privs is applied");
    eq_int(report->syscalls, MB_ARRAY_SIZE(minimal), "the report counts the system calls");
    eq_int(status, 0, "what is on the list can be called");
    status = confined(&policy, make_socket, NULL);
    ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "what is not kills the process");
    policy.seccomp_errno = true;
    status = confined(&policy, make_socket, NULL);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == EPERM, "or fails, if that was asked for");
}

static int
reach_out(void *data)
{
    pid_t other = *(const pid_t *)data;
    int bad = 0;

    if (syscall(SYS_tgkill, getpid(), getpid(), 0) < 0)
        bad |= 1;
    if (syscall(SYS_tgkill, other, other, 0) == 0 || errno != EPERM)
        bad |= 2;
    if (syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL) >= 0 || errno != EPERM)
        bad |= 4;
    if (syscall(SYS_clone3, NULL, 0) >= 0 || errno != ENOSYS)
        bad |= 8;
    return bad;
}

static void *
thread(void *data)
{
    *(bool *)data = true;
    return NULL;
}

static int
make_thread(void *data)
{
    bool ran = false;
    pthread_t t;

    if (pthread_create(&t, NULL, thread, &ran) != 0)
        return 1;
    pthread_join(t, NULL);
    return ran ? 0 : 2;
}

/* Signals to itself and threads of its own are what a program is given, nobody else and no namespaces. */
static void
test_seccomp_arguments(void)
{
    static const int more[] = {SYS_tgkill,       SYS_clone,          SYS_clone3, SYS_gettid, SYS_mmap,
                               SYS_mprotect,     SYS_rt_sigprocmask, SYS_rseq,   SYS_brk,    SYS_madvise,
                               SYS_set_robust_list, SYS_rt_sigaction, SYS_getrandom};
    struct mb_confine_policy policy = {
        .stages = 1u << MB_CONFINE_NO_NEW_PRIVS | 1u << MB_CONFINE_SECCOMP,
        .seccomp_errno = true,
        .syscalls = minimal,
        .n_syscalls = MB_ARRAY_SIZE(minimal),
        .more_syscalls = more,
        .n_more_syscalls = MB_ARRAY_SIZE(more),
    };
    pid_t parent = getpid();
    int status = confined(&policy, reach_out, &parent);

    if (report->stage[MB_CONFINE_SECCOMP].state != MB_CONFINE_APPLIED) {
        tap_skip("system calls' arguments", strerror(report->stage[MB_CONFINE_SECCOMP].error));
        return;
    }
    eq_int(status, 0, "it can signal itself alone, and make no namespaces");
    policy.seccomp_errno = false;
    eq_int(confined(&policy, make_thread, NULL), 0, "it can make threads");
}

static int
caps_left(void *data)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2];
    uint32_t want = *(const uint32_t *)data;

    if (syscall(SYS_capget, &header, caps) < 0)
        return 1;
    if (caps[0].effective != want || caps[0].permitted != want || caps[0].inheritable || caps[1].effective)
        return 2;
    return prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) == 0 ? 0 : 3;
}

static void
test_capabilities(void)
{
    const int keep[] = {CAP_CHOWN, CAP_FOWNER};
    struct mb_confine_policy policy = {
        .stages = 1u << MB_CONFINE_BOUNDING | 1u << MB_CONFINE_CAPABILITIES,
        .capabilities = keep,
        .n_capabilities = 2,
    };
    uint32_t want = 1u << CAP_CHOWN | 1u << CAP_FOWNER;

    if (geteuid() != 0) {
        want = 0;
        confined(&policy, do_nothing, NULL);
        eq_int(report->stage[MB_CONFINE_CAPABILITIES].state, MB_CONFINE_APPLIED,
               "capabilities (none) are dropped");
        eq_int(report->capabilities, 0, "none is kept");
        eq_int(report->stage[MB_CONFINE_BOUNDING].state, MB_CONFINE_REFUSED,
               "the bounding set is not ours to change");
        eq_int(report->stage[MB_CONFINE_BOUNDING].error, EPERM, "and the report says why");
        return;
    }
    eq_int(confined(&policy, caps_left, &want), 0, "two capabilities are kept, in every set no other");
    eq_int(report->capabilities, want, "the report tells which");
    eq_int(report->stage[MB_CONFINE_BOUNDING].state, MB_CONFINE_APPLIED, "the bounding set is reduced");
    policy.n_capabilities = 0;
    want = 0;
    eq_int(confined(&policy, caps_left, &want), 0, "or none is kept");
}

static int
fd_states(void *data)
{
    const int *fd = data;

    return (fcntl(fd[0], F_GETFD) & FD_CLOEXEC ? 0 : 1) | (fcntl(fd[1], F_GETFD) < 0 ? 0 : 2) |
           (fcntl(2, F_GETFD) == 0 ? 0 : 4);
}

static void
test_fds(void)
{
    int fd[2] = {dup(0), dup(0)};
    struct mb_confine_policy policy = {.stages = 1u << MB_CONFINE_FDS, .fds = fd, .n_fds = 1};

    eq_int(confined(&policy, fd_states, fd), 0, "listed descriptors stay, closed on exec; others do not");
    ok(report->fds_closed >= 1, "the report counts %u closed", report->fds_closed);
    close(fd[0]);
    close(fd[1]);
}

struct place {
    char inside[64], read_only[64], outside[64];
};

static int
try_paths(void *data)
{
    const struct place *p = data;
    char path[128];
    int bad = 0;

    snprintf(path, sizeof(path), "%s/new", p->inside);
    if (open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0)
        bad |= 1;
    snprintf(path, sizeof(path), "%s/new", p->read_only);
    if (open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 || errno != EACCES)
        bad |= 2;
    if (open(p->read_only, O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0)
        bad |= 4;
    if (open(p->outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 || errno != EACCES)
        bad |= 8;
    if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0)
        bad |= 16;
    return bad;
}

static void
test_landlock(void)
{
    char root[] = "/tmp/msb-test-XXXXXX", path[128];
    struct mb_confine_path paths[2];
    struct mb_confine_policy policy = {
        .stages = 1u << MB_CONFINE_NO_NEW_PRIVS | 1u << MB_CONFINE_LANDLOCK, .paths = paths, .n_paths = 2};
    struct place p;
    int status;

    if (!mkdtemp(root))
        return;
    snprintf(p.inside, sizeof(p.inside), "%s/inside", root);
    snprintf(p.read_only, sizeof(p.read_only), "%s/read-only", root);
    snprintf(p.outside, sizeof(p.outside), "%s/outside", root);
    mkdir(p.inside, 0700);
    mkdir(p.read_only, 0700);
    mkdir(p.outside, 0700);
    paths[0] = (struct mb_confine_path){open(p.inside, O_PATH | O_CLOEXEC), MB_CONFINE_READ_WRITE};
    paths[1] = (struct mb_confine_path){open(p.read_only, O_PATH | O_CLOEXEC), MB_CONFINE_READ};
    status = confined(&policy, try_paths, &p);
    if (report->landlock_abi == 0) {
        eq_int(report->stage[MB_CONFINE_LANDLOCK].state, MB_CONFINE_REFUSED,
               "no Landlock here: the report says so");
        ok(report->stage[MB_CONFINE_LANDLOCK].error != 0, "and why (%s)",
           strerror(report->stage[MB_CONFINE_LANDLOCK].error));
        tap_skip("paths are confined", "the kernel has no Landlock");
    } else {
        eq_int(status, 0, "writing inside, reading where it may, nothing elsewhere");
        eq_int(report->landlock_paths, 2, "the report counts the paths");
    }
    close(paths[0].fd);
    close(paths[1].fd);
    snprintf(path, sizeof(path), "%s/new", p.inside);
    unlink(path);
    snprintf(path, sizeof(path), "%s/new", p.read_only);
    unlink(path);
    rmdir(p.inside);
    rmdir(p.read_only);
    rmdir(p.outside);
    rmdir(root);
}

static char move_from[64], move_to[64];

static int
move_across(void *data)
{
    return rename(move_from, move_to) < 0 ? errno : 0;
}

/* What may change a tree may move its files from one directory to another, whatever Landlock the kernel has. */
static void
test_first_landlock(void)
{
    char root[] = "/tmp/msb-test-XXXXXX";
    struct mb_confine_path tree;
    struct mb_confine_policy policy = {
        .stages = 1u << MB_CONFINE_NO_NEW_PRIVS | 1u << MB_CONFINE_LANDLOCK, .paths = &tree, .n_paths = 1};

    if (!mkdtemp(root))
        return;
    snprintf(move_from, sizeof(move_from), "%s/from", root);
    snprintf(move_to, sizeof(move_to), "%s/to", root);
    mkdir(move_from, 0700);
    mkdir(move_to, 0700);
    strcat(move_from, "/file");
    strcat(move_to, "/file");
    close(open(move_from, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    tree = (struct mb_confine_path){open(root, O_PATH | O_CLOEXEC), MB_CONFINE_READ_WRITE};
    first_landlock = true;
    eq_int(confined(&policy, move_across, NULL), 0, "files move between directories with the first Landlock");
    eq_int(report->stage[MB_CONFINE_LANDLOCK].state, MB_CONFINE_REFUSED, "which is not used, the report says");
    first_landlock = false;
    close(tree.fd);
    unlink(move_to);
    unlink(move_from);
    *strrchr(move_from, '/') = 0;
    *strrchr(move_to, '/') = 0;
    rmdir(move_from);
    rmdir(move_to);
    rmdir(root);
}

static void
test_report(void)
{
    struct mb_confine_report r = {0};
    char json[MB_CONFINE_JSON_MAX], small[40];

    r.stage[MB_CONFINE_FDS].state = MB_CONFINE_APPLIED;
    r.stage[MB_CONFINE_LANDLOCK].state = MB_CONFINE_REFUSED;
    r.stage[MB_CONFINE_LANDLOCK].error = ENOSYS;
    r.fds_closed = 2;
    eq_int(mb_confine_to_json(&r, json, sizeof(json)), 0, "the report as JSON");
    eq_str(
        json,
        "{\"fds\": {\"state\": \"applied\"}, \"no_new_privs\": {\"state\": \"off\"}, \"bounding\": "
        "{\"state\": "
        "\"off\"}, \"capabilities\": {\"state\": \"off\"}, \"landlock\": {\"state\": \"refused\", \"error\": "
        "\"ENOSYS\"}, \"seccomp\": {\"state\": \"off\"}, \"kept_capabilities\": \"0x0\", \"closed_fds\": 2, "
        "\"landlock_abi\": 0, \"landlock_paths\": 0, \"syscalls\": 0, \"seccomp_action\": \"kill\"}",
        "is this");
    eq_int(mb_confine_to_json(&r, small, sizeof(small)), -ENOSPC, "or too long for the buffer");
}

int
main(void)
{
    report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED)
        return 1;
    test_fds();
    test_capabilities();
    test_landlock();
    test_first_landlock();
    if (SANITIZED) {
        tap_skip("seccomp", "the sanitizer makes system calls of its own");
    } else {
        test_seccomp();
        test_seccomp_arguments();
    }
    test_report();
    return tap_done();
}

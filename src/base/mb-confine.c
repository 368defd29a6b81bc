/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Confinement in stages, see mb-confine.h.  Each stage is one function that
 * returns 0, a positive errno when it was applied in part, or a negative one
 * when it was not; mb_confine() turns that into the report.
 */
#include <config.h>

#include "mb-confine.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"

static const char *const stage_names[MB_CONFINE_N_STAGES] = {
    [MB_CONFINE_FDS] = "fds",
    [MB_CONFINE_NO_NEW_PRIVS] = "no_new_privs",
    [MB_CONFINE_BOUNDING] = "bounding",
    [MB_CONFINE_CAPABILITIES] = "capabilities",
    [MB_CONFINE_LANDLOCK] = "landlock",
    [MB_CONFINE_SECCOMP] = "seccomp",
};

const char *
mb_confine_stage_name(enum mb_confine_stage stage)
{
    return (unsigned)stage < MB_CONFINE_N_STAGES ? stage_names[stage] : "unknown";
}

/* ---- fds --------------------------------------------------------------------- */

static bool
fd_is_kept(const struct mb_confine_policy *policy, int fd)
{
    unsigned i;

    for (i = 0; i < policy->n_fds; i++) {
        if (policy->fds[i] == fd)
            return true;
    }
    for (i = 0; i < policy->n_paths; i++) {
        if (policy->paths[i].fd == fd)
            return true;
    }
    return fd <= STDERR_FILENO;
}

static int
stage_fds(const struct mb_confine_policy *policy, struct mb_confine_report *report)
{
    mb_autodir DIR *dir = opendir("/proc/self/fd");
    struct dirent *e;

    if (!dir)
        return -errno;
    while ((e = readdir(dir))) {
        char *end;
        long fd = strtol(e->d_name, &end, 10);

        if (*end || end == e->d_name || fd == dirfd(dir))
            continue;
        if (!fd_is_kept(policy, (int)fd)) {
            close((int)fd);
            report->fds_closed++;
        } else if (fd > STDERR_FILENO) {
            int r = mb_set_cloexec((int)fd, true);

            if (r < 0)
                return -r;
        }
    }
    return 0;
}

/* ---- no_new_privs, capabilities ------------------------------------------------ */

static int
stage_no_new_privs(const struct mb_confine_policy *policy, struct mb_confine_report *report)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* The kept capabilities, as far as they are held, selected in libcap-ng's state. */
static void
select_capabilities(const struct mb_confine_policy *policy, struct mb_confine_report *report)
{
    uint64_t keep = 0;
    unsigned i;

    for (i = 0; i < policy->n_capabilities; i++) {
        unsigned cap = (unsigned)policy->capabilities[i];

        if (cap < 64 && capng_have_capability(CAPNG_PERMITTED, cap))
            keep |= UINT64_C(1) << cap;
    }
    capng_clear(CAPNG_SELECT_ALL);
    for (i = 0; i < 64; i++) {
        if (keep & (UINT64_C(1) << i))
            capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, i);
    }
    report->capabilities = keep;
}

static int
stage_bounding(const struct mb_confine_policy *policy, struct mb_confine_report *report)
{
    if (capng_get_caps_process() < 0)
        return -EIO;
    /* Without CAP_SETPCAP the bounding set stays; after no_new_privs it gives
     * nothing to a process that holds no capabilities. */
    if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
        return -EPERM;
    select_capabilities(policy, report);
    return capng_apply(CAPNG_SELECT_BOUNDS) < 0 ? -EPERM : 0;
}

static int
stage_capabilities(const struct mb_confine_policy *policy, struct mb_confine_report *report)
{
    if (capng_get_caps_process() < 0)
        return -EIO;
    select_capabilities(policy, report);
    if (capng_apply(CAPNG_SELECT_CAPS) < 0)
        return -EPERM;
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ? errno : 0;
}

/* ---- landlock ------------------------------------------------------------------- */

/* Newer than the headers of Debian 12's kernel. */
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)
#define NET_TCP (UINT64_C(3)) /* bind and connect */
#define SCOPES (UINT64_C(3)) /* abstract Unix sockets, signals */

struct ruleset_attr {
    uint64_t fs;
    uint64_t net;    /* since ABI 4 */
    uint64_t scoped; /* since ABI 6 */
};

#define FILE_RIGHTS \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | \
     FS_TRUNCATE | FS_IOCTL_DEV)

static uint64_t
landlock_known_rights(int abi)
{
    uint64_t rights = (UINT64_C(1) << 13) - 1;

    if (abi >= 2)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        rights |= FS_TRUNCATE;
    if (abi >= 5)
        rights |= FS_IOCTL_DEV;
    return rights;
}

static uint64_t
landlock_rights(unsigned access)
{
    uint64_t rights = 0;

    if (access & MB_CONFINE_READ)
        rights |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    if (access & MB_CONFINE_WRITE)
        rights |= LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
    if (access & MB_CONFINE_CHANGE)
        rights |= LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                  LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SYM |
                  LANDLOCK_ACCESS_FS_REFER;
    if (access & MB_CONFINE_MAKE_SPECIAL)
        rights |= LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                  LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO;
    if (access & MB_CONFINE_EXECUTE)
        rights |= LANDLOCK_ACCESS_FS_EXECUTE;
    return rights;
}

static int
landlock_add_path(int ruleset, const struct mb_confine_path *path, uint64_t known)
{
    struct landlock_path_beneath_attr rule = {
        .allowed_access = landlock_rights(path->access) & known,
        .parent_fd = path->fd,
    };
    struct stat st;

    if (fstat(path->fd, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode))
        rule.allowed_access &= FILE_RIGHTS;
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        return -errno;
    return 0;
}

/* Moving and linking files from one directory to another. */
static bool
wants_refer(const struct mb_confine_policy *policy)
{
    unsigned i;

    for (i = 0; i < policy->n_paths; i++) {
        if (policy->paths[i].access & MB_CONFINE_CHANGE)
            return true;
    }
    return false;
}

static int
stage_landlock(const struct mb_confine_policy *policy, struct mb_confine_report *report)
{
    struct ruleset_attr attr = {0};
    mb_autofd int ruleset = -1;
    unsigned i;
    long abi;

    abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0)
        return -errno;
    /* Before ABI 2 (Linux 5.13 to 5.18) that cannot be allowed: it fails with EXDEV. */
    if (abi < 2 && wants_refer(policy))
        return -EOPNOTSUPP;
    attr.fs = landlock_known_rights((int)abi);
    attr.net = abi >= 4 ? NET_TCP : 0;
    attr.scoped = abi >= 6 ? SCOPES : 0;
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr,
                           abi >= 6   ? sizeof(attr)
                           : abi >= 4 ? offsetof(struct ruleset_attr, scoped)
                                      : offsetof(struct ruleset_attr, net),
                           0);
    if (ruleset < 0)
        return -errno;
    for (i = 0; i < policy->n_paths; i++) {
        int r = landlock_add_path(ruleset, &policy->paths[i], attr.fs);

        /* A path left out would be a file that the program cannot serve. */
        if (r < 0)
            return r;
    }
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return -errno;
    report->landlock_abi = (int)abi;
    report->landlock_paths = policy->n_paths;
    /* Before ABI 3 truncation was not covered. */
    return abi < 3 ? EOPNOTSUPP : 0;
}

/* ---- seccomp --------------------------------------------------------------------- */

/* Of the namespaces that clone() makes. */
#define CLONE_NEW_ANY \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* Calls that are wanted for less than all they can do: signals to ourselves, as abort() sends them, and threads.
 * What clone3() is asked for is out of a filter's sight; libc takes clone() where it is missing. */
static int
seccomp_add(scmp_filter_ctx ctx, int nr)
{
    switch (nr) {
    case SYS_tgkill:
        return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    case SYS_clone:
        return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEW_ANY, 0));
    case SYS_clone3:
        return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
    default:
        return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
    }
}

static int
seccomp_allow(scmp_filter_ctx ctx, const int *syscalls, unsigned n, struct mb_confine_report *report)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        int r;

        if (syscalls[i] < 0)
            continue;
        r = seccomp_add(ctx, syscalls[i]);
        if (r < 0 && r != -EEXIST)
            return r;
        report->syscalls++;
    }
    return 0;
}

static int
stage_seccomp(const struct mb_confine_policy *policy, struct mb_confine_report *report)
{
    scmp_filter_ctx ctx;
    int r;

    ctx = seccomp_init(policy->seccomp_errno ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS);
    if (!ctx)
        return -ENOMEM;
    report->seccomp_errno = policy->seccomp_errno;
    /* An unprivileged process may load a filter only with no_new_privs set. */
    r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 1);
    /* A binary tree of comparisons instead of a list: this runs at every call. */
    if (r == 0)
        r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        r = seccomp_allow(ctx, policy->syscalls, policy->n_syscalls, report);
    if (r == 0)
        r = seccomp_allow(ctx, policy->more_syscalls, policy->n_more_syscalls, report);
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    if (r < 0)
        report->syscalls = 0;
    return r;
}

/* ---- all of it ------------------------------------------------------------------- */

int
mb_confine(const struct mb_confine_policy *policy, struct mb_confine_report *report)
{
    static int (*const stages[MB_CONFINE_N_STAGES])(const struct mb_confine_policy *,
                                                    struct mb_confine_report *) = {
        [MB_CONFINE_FDS] = stage_fds,
        [MB_CONFINE_NO_NEW_PRIVS] = stage_no_new_privs,
        [MB_CONFINE_BOUNDING] = stage_bounding,
        [MB_CONFINE_CAPABILITIES] = stage_capabilities,
        [MB_CONFINE_LANDLOCK] = stage_landlock,
        [MB_CONFINE_SECCOMP] = stage_seccomp,
    };
    int incomplete = 0;
    unsigned i;

    memset(report, 0, sizeof(*report));
    for (i = 0; i < MB_CONFINE_N_STAGES; i++) {
        int r;

        if (!(policy->stages & (1u << i)))
            continue;
        r = stages[i](policy, report);
        report->stage[i].state = r < 0 ? MB_CONFINE_REFUSED : r > 0 ? MB_CONFINE_PARTIAL : MB_CONFINE_APPLIED;
        report->stage[i].error = r < 0 ? -r : r;
        incomplete |= r != 0;
    }
    return incomplete;
}

static void append(char *buf, size_t size, size_t *len, const char *fmt, ...) MB_PRINTF(4, 5);

static void
append(char *buf, size_t size, size_t *len, const char *fmt, ...)
{
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = vsnprintf(*len < size ? buf + *len : NULL, *len < size ? size - *len : 0, fmt, ap);
    va_end(ap);
    *len += r > 0 ? (size_t)r : 0;
}

int
mb_confine_to_json(const struct mb_confine_report *report, char *buf, size_t size)
{
    static const char *const states[] = {"off", "applied", "partial", "refused"};
    size_t len = 0;
    unsigned i;

    append(buf, size, &len, "{");
    for (i = 0; i < MB_CONFINE_N_STAGES; i++) {
        append(buf, size, &len, "\"%s\": {\"state\": \"%s\"", stage_names[i], states[report->stage[i].state]);
        if (report->stage[i].error)
            append(buf, size, &len, ", \"error\": \"%s\"", strerrorname_np(report->stage[i].error));
        append(buf, size, &len, "}, ");
    }
    append(buf, size, &len,
           "\"kept_capabilities\": \"0x%llx\", \"closed_fds\": %u, \"landlock_abi\": %d, \"landlock_paths\": "
           "%u, "
           "\"syscalls\": %u, \"seccomp_action\": \"%s\"}",
           (unsigned long long)report->capabilities, report->fds_closed, report->landlock_abi,
           report->landlock_paths, report->syscalls, report->seccomp_errno ? "errno" : "kill");
    return len < size ? 0 : -ENOSPC;
}

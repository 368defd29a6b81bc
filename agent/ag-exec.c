/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The child's side of a command, between fork and execve.  Everything that may
 * touch the guest's files or wait happens here, so that it cannot hold up the
 * agent.  What fails is told to the parent over a close-on-exec pipe, which the
 * parent sees closed without a word when the command has started.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ag-sys.h"
#include "ag.h"
#include "mb-cleanup.h"

/* Largest /etc/passwd or /etc/group that is read. */
#define DB_MAX (8u * 1024 * 1024)
#define FILES_SOFT 1024
#define FILES_HARD 524288

static int failure_fd;

static void MB_NORETURN
give_up(uint8_t kind, int error, const char *object)
{
    struct ag_exec_failure f = { .kind = kind, .error = (uint32_t)error };

    snprintf(f.object, sizeof(f.object), "%s", object ? object : "");
    if (failure_fd < 0)
        dprintf(2, "msb-agent: \"%s\" does not start: %s\n", f.object, error ? strerror(error) : "unknown");
    else
        ag_write_all(failure_fd, &f, offsetof(struct ag_exec_failure, object) + strlen(f.object) + 1);
    _exit(127);
}

static void
reset_signals(void)
{
    struct sigaction sa = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        sigaction(i, &sa, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
take_stdio(const struct ag_stdio *io)
{
    for (int i = 0; i < 3; i++) {
        if (dup2(io->tty >= 0 ? io->tty : io->fd[i], i) < 0)
            give_up(MP_EXEC_NO_RESOURCES, errno, "standard descriptors");
    }
    if (io->tty >= 0 && ioctl(0, TIOCSCTTY, 0) < 0)
        give_up(MP_EXEC_PTY, errno, "controlling terminal");
}

static void
read_db(const char *path, char **text)
{
    int r = ag_read_file(AT_FDCWD, path, DB_MAX, text);

    if (r == -ENOMEM)
        give_up(MP_EXEC_NO_RESOURCES, -r, path);
    if (r < 0)
        *text = strdup("");
    if (!*text)
        give_up(MP_EXEC_NO_RESOURCES, ENOMEM, path);
}

static void
find_user(const char *spec, struct ag_user *u)
{
    mb_autofree char *passwd = NULL;
    mb_autofree char *group = NULL;
    const char *bad = spec;
    int r;

    read_db("/etc/passwd", &passwd);
    read_db("/etc/group", &group);
    r = ag_user_lookup(passwd, group, spec, u, &bad);
    if (r == -ENOENT)
        give_up(MP_EXEC_BAD_USER, 0, bad);
    if (r < 0)
        give_up(MP_EXEC_NO_RESOURCES, -r, spec);
}

static void
env_check(int r, const char *entry)
{
    if (r == -EINVAL)
        give_up(MP_EXEC_BAD_ARGS, EINVAL, entry);
    if (r < 0)
        give_up(MP_EXEC_NO_RESOURCES, -r, "environment");
}

/* PATH and what the user's entry says, then the sandbox's environment, then the command's. */
static void
make_env(struct ag_env *env, const struct ag_user *u, char *const *base, const struct mp_exec *m)
{
    const char *home = u->home ? u->home : u->uid == 0 ? "/root" : "/";

    env_check(ag_env_set(env, "PATH", AG_DEFAULT_PATH), "PATH");
    env_check(ag_env_set(env, "HOME", home), "HOME");
    if (u->name) {
        env_check(ag_env_set(env, "USER", u->name), "USER");
        env_check(ag_env_set(env, "LOGNAME", u->name), "LOGNAME");
    }
    env_check(ag_env_set(env, "SHELL", u->shell ? u->shell : "/bin/sh"), "SHELL");
    if (m->tty)
        env_check(ag_env_set(env, "TERM", "xterm"), "TERM");
    for (char *const *p = base; p && *p; p++)
        env_check(ag_env_put(env, *p), *p);
    for (char *const *p = m->env; p && *p; p++)
        env_check(ag_env_put(env, *p), *p);
}

/* MP_BOOT_RESTRICTED: CAP_SYS_ADMIN leaves every set and cannot come back. */
static int
drop_sys_admin(void)
{
    struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct d[2];
    unsigned i = CAP_TO_INDEX(CAP_SYS_ADMIN);
    uint32_t mask = ~CAP_TO_MASK(CAP_SYS_ADMIN);

    if (syscall(SYS_capget, &h, d) < 0)
        return -errno;
    d[i].effective &= mask;
    d[i].permitted &= mask;
    d[i].inheritable &= mask;
    if (syscall(SYS_capset, &h, d) < 0)
        return -errno;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static void
become(const struct ag_user *u, bool restricted)
{
    int r;

    if (restricted && prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) < 0)
        give_up(MP_EXEC_OTHER, errno, "capability bounding set");
    /* An unprivileged test run has no groups to set. */
    if (geteuid() == 0 && setgroups(u->n_groups, u->groups) < 0)
        give_up(MP_EXEC_BAD_USER, errno, "supplementary groups");
    if (setresgid(u->gid, u->gid, u->gid) < 0)
        give_up(MP_EXEC_BAD_USER, errno, "group");
    if (setresuid(u->uid, u->uid, u->uid) < 0)
        give_up(MP_EXEC_BAD_USER, errno, "user");
    r = restricted ? drop_sys_admin() : 0;
    if (r < 0)
        give_up(MP_EXEC_OTHER, -r, "capabilities");
}

/* What an execve failure means to the user. */
static uint8_t
exec_error_kind(const char *path, int error)
{
    switch (error) {
    case ENOENT:
        return access(path, F_OK) == 0 ? MP_EXEC_NOT_EXECUTABLE : MP_EXEC_NOT_FOUND;
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
        return MP_EXEC_NOT_FOUND;
    case EACCES:
    case EPERM:
    case ENOEXEC:
    case EISDIR:
    case EINVAL:
    case ELIBBAD:
    case ETXTBSY:
        return MP_EXEC_NOT_EXECUTABLE;
    case E2BIG:
        return MP_EXEC_BAD_ARGS;
    case ENOMEM:
    case EAGAIN:
    case EMFILE:
    case ENFILE:
        return MP_EXEC_NO_RESOURCES;
    default:
        return MP_EXEC_OTHER;
    }
}

/* Try argv[0] in every directory of path; a candidate that is there and cannot run is remembered. */
static void MB_NORETURN
exec_in_path(char *const *argv, char *const *env, const char *path)
{
    char try[4096], found[4096] = "";
    int error = 0;

    for (;;) {
        size_t n = strcspn(path, ":");
        int dir = (int)MB_MIN(n, sizeof(try));
        int k = snprintf(try, sizeof(try), "%.*s%s%s", dir, path, n ? "/" : "", argv[0]);

        if (k > 0 && (size_t)k < sizeof(try)) {
            struct stat st;
            int e;

            execve(try, argv, env);
            e = errno;
            /* Something is there: not executable, or its interpreter is missing. */
            if (!error && e != ENOTDIR && stat(try, &st) == 0 && !S_ISDIR(st.st_mode)) {
                error = e;
                snprintf(found, sizeof(found), "%s", try);
            }
        }
        if (path[n] == '\0')
            break;
        path += n + 1;
    }
    if (error)
        give_up(exec_error_kind(found, error), error, found);
    give_up(MP_EXEC_NOT_FOUND, ENOENT, argv[0]);
}

void
ag_exec_child(const struct ag_defaults *defaults, const struct mp_exec *m, const struct ag_stdio *io,
              int errfd)
{
    struct rlimit files = { FILES_SOFT, FILES_HARD };
    const char *user = m->user && m->user[0] ? m->user : defaults->user;
    const char *cwd = m->cwd && m->cwd[0] ? m->cwd : defaults->workdir;
    struct ag_user u;
    struct ag_env env = { 0 };
    const char *path;

    failure_fd = errfd;
    setsid();
    reset_signals();
    take_stdio(io);
    ag_sys_cloexec_from(3);
    if (defaults->proc_fd >= 0) {
        ag_write_file(defaults->proc_fd, "self/oom_score_adj", "0");
        setrlimit(RLIMIT_NOFILE, &files);
    }
    umask(022);
    if (!m->argv || !m->argv[0] || !m->argv[0][0])
        give_up(MP_EXEC_BAD_ARGS, EINVAL, "");
    find_user(user ? user : "", &u);
    make_env(&env, &u, defaults->env, m);
    if (chdir(cwd && cwd[0] ? cwd : "/") < 0)
        give_up(MP_EXEC_BAD_CWD, errno, cwd);
    if (io->tty >= 0 && u.uid != 0 && fchown(0, u.uid, (gid_t)-1) < 0 && geteuid() == 0)
        give_up(MP_EXEC_PTY, errno, "terminal's owner");
    become(&u, defaults->restricted);
    if (strchr(m->argv[0], '/')) {
        execve(m->argv[0], m->argv, env.v);
        give_up(exec_error_kind(m->argv[0], errno), errno, m->argv[0]);
    }
    path = ag_env_get(&env, "PATH");
    exec_in_path(m->argv, env.v, path && path[0] ? path : AG_DEFAULT_PATH);
}

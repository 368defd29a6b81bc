/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fork and exec.  All memory is prepared before the fork; between fork and
 * exec only async-signal-safe calls are made, and what goes wrong there comes
 * back through a close-on-exec pipe as (step, errno).  A detached process is
 * the child of a child that ends at once, and tells its pid on the same pipe.  Children are held by
 * pidfd: no SIGCHLD handler, no pid that may have become somebody else's.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-process.h"

#define RUN_MAX_OUTPUT (1024 * 1024)
#define SPAWN_MAX_FDS 32

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

typedef enum { STEP_SETUP, STEP_CHDIR, STEP_EXEC, STEP_DETACHED } Step;

typedef struct {
    int step;
    int value;              /* errno; STEP_DETACHED, which is no failure: the pid */
} ChildReport;

/* What the child needs, all of it made before the fork. */
typedef struct {
    const MsbSpawn *spawn;
    char **envp;
    pid_t parent;
    int null_fd;
    int report_fd;
    int high;               /* above every target */
} Child;

/* ---- in the child: async-signal-safe calls only --------------------------------- */

static void G_GNUC_NORETURN
child_fail(const Child *c, Step step)
{
    ChildReport report = { .step = (int)step, .value = errno };

    (void)!write(c->report_fd, &report, sizeof report);
    _exit(127);
}

/* Go on in a child of the child; the first one ends. */
static void
child_detach(const Child *c)
{
    ChildReport report = { .step = STEP_DETACHED };
    pid_t pid = fork();

    if (pid < 0)
        child_fail(c, STEP_SETUP);
    if (pid == 0)
        return;
    report.value = pid;
    _exit(write(c->report_fd, &report, sizeof report) == (ssize_t)sizeof report ? 0 : 127);
}

static void
child_mark_all_cloexec(void)
{
    long fd, max;

    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    max = sysconf(_SC_OPEN_MAX);
    for (fd = 3; fd < max; fd++)
        (void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
}

static void
child_signals(Child *c)
{
    struct sigaction sa = { .sa_handler = SIG_DFL };
    sigset_t none;
    int sig;

    for (sig = 1; sig < NSIG; sig++)
        (void)sigaction(sig, &sa, NULL);
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        child_fail(c, STEP_SETUP);
    if (c->spawn->death_signal) {
        if (prctl(PR_SET_PDEATHSIG, c->spawn->death_signal) < 0)
            child_fail(c, STEP_SETUP);
        if (getppid() != c->parent)
            _exit(127);     /* it died before we asked */
    }
}

/* Move all sources out of the way of all targets, then into place. */
static void
child_descriptors(Child *c)
{
    const MsbSpawn *s = c->spawn;
    int from[3 + SPAWN_MAX_FDS], to[3 + SPAWN_MAX_FDS];
    guint n = 0, i;

    from[n] = s->stdin_fd, to[n++] = 0;
    from[n] = s->stdout_fd, to[n++] = 1;
    from[n] = s->stderr_fd, to[n++] = 2;
    for (i = 0; i < s->n_fds; i++)
        from[n] = s->fds[i].source, to[n++] = s->fds[i].target;

    c->report_fd = fcntl(c->report_fd, F_DUPFD_CLOEXEC, c->high);
    for (i = 0; i < n; i++) {
        from[i] = fcntl(from[i] < 0 ? c->null_fd : from[i], F_DUPFD_CLOEXEC, c->high);
        if (from[i] < 0)
            child_fail(c, STEP_SETUP);
    }
    child_mark_all_cloexec();
    for (i = 0; i < n; i++) {
        if (dup2(from[i], to[i]) < 0)
            child_fail(c, STEP_SETUP);
    }
}

static void G_GNUC_NORETURN
child_main(Child *c)
{
    child_signals(c);
    if (c->spawn->new_session && setsid() < 0)
        child_fail(c, STEP_SETUP);
    if (c->spawn->detach)
        child_detach(c);
    child_descriptors(c);
    if (c->spawn->cwd && chdir(c->spawn->cwd) < 0)
        child_fail(c, STEP_CHDIR);
    execve(c->spawn->argv[0], (char **)c->spawn->argv, c->envp);
    child_fail(c, STEP_EXEC);
}

/* ---- in the parent ----------------------------------------------------------------- */

static gboolean
set_failure(const MsbSpawn *spawn, const ChildReport *report, GError **error)
{
    switch ((Step)report->step) {
    case STEP_CHDIR:
        return msb_error_set_errno(error, report->value, "cannot start '%s' in directory '%s'", spawn->argv[0],
                                   spawn->cwd);
    case STEP_EXEC:
        return msb_error_set_errno(error, report->value, "cannot execute '%s'", spawn->argv[0]);
    default:
        return msb_error_set_errno(error, report->value, "cannot set up a process for '%s'", spawn->argv[0]);
    }
}

static void
reap_now(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* TRUE once the program runs: the child's end of the pipe closes with the exec. *pid becomes the detached one. */
static gboolean
await_exec(const MsbSpawn *spawn, pid_t *pid, int fd, GError **error)
{
    gboolean detached = FALSE;
    ChildReport report;
    ssize_t n;

    for (;;) {
        n = read(fd, &report, sizeof report);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            return detached == spawn->detach ||
                   msb_error_set(error, MSB_ERROR_IO, "cannot start '%s'", spawn->argv[0]);
        if (n != (ssize_t)sizeof report)
            return msb_error_set(error, MSB_ERROR_IO, "cannot start '%s'", spawn->argv[0]);
        if (report.step != STEP_DETACHED)
            return set_failure(spawn, &report, error);
        detached = TRUE;
        *pid = report.value;
    }
}

static gboolean
open_pidfd(const MsbSpawn *spawn, pid_t pid, int *pidfd, GError **error)
{
    *pidfd = pidfd_open(pid, 0);
    return *pidfd >= 0 || msb_error_set_errno(error, errno, "cannot watch the process of '%s'", spawn->argv[0]);
}

static int
highest_target(const MsbSpawn *spawn)
{
    int high = 2;
    guint i;

    for (i = 0; i < spawn->n_fds; i++)
        high = MAX(high, spawn->fds[i].target);
    return high + 1;
}

gboolean
msb_process_spawn(const MsbSpawn *spawn, pid_t *pid, int *pidfd, GError **error)
{
    mb_autofd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    mb_autofd int report_read = -1, report_write = -1;
    int report[2];
    Child c = { .spawn = spawn, .parent = getpid(), .high = highest_target(spawn) };
    sigset_t all, old;
    gboolean started;
    pid_t child;

    g_return_val_if_fail(spawn->argv && spawn->argv[0] && spawn->n_fds <= SPAWN_MAX_FDS, FALSE);
    if (null_fd < 0 || pipe2(report, O_CLOEXEC) < 0)
        return msb_error_set_errno(error, errno, "cannot set up a process for '%s'", spawn->argv[0]);
    report_read = report[0];
    report_write = report[1];
    c.null_fd = null_fd;
    c.report_fd = report_write;
    c.envp = spawn->envp ? (char **)spawn->envp : environ;

    /* No handler of ours may run in the child. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    child = fork();
    if (child == 0)
        child_main(&c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (child < 0)
        return msb_error_set_errno(error, errno, "cannot start a process for '%s'", spawn->argv[0]);

    mb_close(mb_steal_fd(&report_write));
    *pid = child;
    started = await_exec(spawn, pid, report_read, error);
    if (spawn->detach || !started)
        reap_now(child);
    if (!started)
        return FALSE;
    if (pidfd && !open_pidfd(spawn, *pid, pidfd, error)) {
        kill(*pid, SIGKILL);
        if (!spawn->detach)
            reap_now(*pid);
        return FALSE;
    }
    return TRUE;
}

gboolean
msb_process_reap(pid_t pid, int pidfd, gint timeout_ms, int *status, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)MAX(timeout_ms, 0) * 1000;
    struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
    int r;

    do {
        gint64 left = timeout_ms < 0 ? -1 : MAX((deadline - g_get_monotonic_time() + 999) / 1000, 0);

        r = poll(&pfd, 1, (int)MIN(left, INT_MAX));
    } while (r < 0 && errno == EINTR);
    if (r == 0)
        return msb_error_set(error, MSB_ERROR_TIMEOUT, "process %d still runs after %d ms", (int)pid, timeout_ms);
    while (waitpid(pid, status, 0) < 0) {
        if (errno != EINTR)
            return msb_error_set_errno(error, errno, "cannot wait for process %d", (int)pid);
    }
    return TRUE;
}

char *
msb_process_describe_status(int status)
{
    if (WIFSIGNALED(status))
        return g_strdup_printf("signal %d (%s)", WTERMSIG(status), g_strsignal(WTERMSIG(status)));
    return g_strdup_printf("exit status %d", WEXITSTATUS(status));
}

/* ---- run to the end ------------------------------------------------------------------ */

/* Read what is there. FALSE at the end of the stream. */
static gboolean
drain(int fd, GString *text)
{
    char buf[4096];
    ssize_t n = read(fd, buf, sizeof buf);

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n > 0 && text->len < RUN_MAX_OUTPUT)
        g_string_append_len(text, buf, n);
    return n > 0;
}

/* FALSE if the deadline passed before both streams ended. */
static gboolean
collect(int fds[2], GString *texts[2], gint64 deadline)
{
    struct pollfd pfd[2] = { { .fd = fds[0], .events = POLLIN }, { .fd = fds[1], .events = POLLIN } };
    int i;

    while (pfd[0].fd >= 0 || pfd[1].fd >= 0) {
        gint64 left = (deadline - g_get_monotonic_time() + 999) / 1000;

        if (left <= 0)
            return FALSE;
        if (poll(pfd, 2, (int)MIN(left, INT_MAX)) < 0 && errno != EINTR)
            return FALSE;
        for (i = 0; i < 2; i++) {
            if (pfd[i].fd >= 0 && pfd[i].revents && !drain(pfd[i].fd, texts[i]))
                pfd[i].fd = -1;
        }
    }
    return TRUE;
}

gboolean
msb_process_run(const char *const *argv, gint timeout_ms, char **out, GError **error)
{
    return msb_process_run_with_input(argv, -1, timeout_ms, out, error);
}

gboolean
msb_process_run_with_input(const char *const *argv, int input_fd, gint timeout_ms, char **out, GError **error)
{
    MsbSpawn spawn = MSB_SPAWN_INIT;
    mb_autofd int out_r = -1, err_r = -1, pidfd = -1;
    g_autoptr(GString) out_text = g_string_new(NULL), err_text = g_string_new(NULL);
    GString *texts[2] = { out_text, err_text };
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    int p[2], q[2], fds[2], status = 0;
    gboolean started, in_time;
    pid_t pid;

    if (pipe2(p, O_CLOEXEC) < 0)
        return msb_error_set_errno(error, errno, "cannot run '%s'", argv[0]);
    if (pipe2(q, O_CLOEXEC) < 0) {
        int errnum = errno;

        close(p[0]), close(p[1]);
        return msb_error_set_errno(error, errnum, "cannot run '%s'", argv[0]);
    }
    fds[0] = out_r = p[0];
    fds[1] = err_r = q[0];
    spawn.argv = argv;
    spawn.stdin_fd = input_fd;
    spawn.stdout_fd = p[1];
    spawn.stderr_fd = q[1];
    started = msb_process_spawn(&spawn, &pid, &pidfd, error);
    close(p[1]);
    close(q[1]);
    if (!started)
        return FALSE;

    in_time = collect(fds, texts, deadline) &&
              msb_process_reap(pid, pidfd, (gint)MAX((deadline - g_get_monotonic_time()) / 1000, 0), &status, NULL);
    if (!in_time) {
        kill(pid, SIGKILL);
        reap_now(pid);
        return msb_error_set(error, MSB_ERROR_TIMEOUT, "'%s' did not end within %d ms", argv[0], timeout_ms);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        g_autofree char *how = msb_process_describe_status(status);

        g_strchomp(err_text->str);
        return msb_error_set(error, MSB_ERROR_FAILED, "'%s' failed with %s%s%s", argv[0], how,
                             err_text->str[0] ? ": " : "", err_text->str);
    }
    if (out)
        *out = g_string_free(g_steal_pointer(&out_text), FALSE);
    return TRUE;
}

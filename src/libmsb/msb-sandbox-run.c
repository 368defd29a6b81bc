/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starting and stopping.  The supervisor is a detached process of its own; the
 * one who starts it waits on a pipe for its first and only words, "ok" or
 * "error <code> <message>".  The name lock is held meanwhile, so that two
 * commands do not start one sandbox; stopping needs no lock, for a sandbox that
 * hangs while booting must be stoppable.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-client-private.h"
#include "msb-domain.h"
#include "msb-error.h"
#include "msb-plan.h"
#include "msb-process.h"
#include "msb-sandbox-private.h"

#define BOOT_TIMEOUT_TCG_MS 180000u
#define BOOT_TIMEOUT_KVM_MS 60000u
/* The supervisor keeps the deadline itself and then cleans up: it gets so much longer to say so. */
#define SUPERVISOR_SLACK_MS 30000
/* A stop that is past its grace ends the machine by force; that takes at most so long, also when libvirt hangs. */
#define STOP_SLACK_MS 45000
#define LOCK_SLACK_MS 10000
#define READY_FD 3
#define READY_MAX_BYTES 65536

guint
msb_sandbox_boot_timeout_ms(const char *accel)
{
    const char *env = g_getenv("MSB_BOOT_TIMEOUT");
    guint64 ms;

    if (env && *env && msb_parse_duration(env, &ms, NULL) && ms > 0)
        return (guint)MIN(ms, G_MAXINT / 2);
    return g_str_equal(accel, "kvm") ? BOOT_TIMEOUT_KVM_MS : BOOT_TIMEOUT_TCG_MS;
}

/* ---- start --------------------------------------------------------------------------------------------- */

static int
open_log(MsbSandbox *sandbox, GError **error)
{
    g_autofree char *path = msb_sandbox_dup_log_path(sandbox, "supervisor");
    g_autofree char *dir = g_path_get_dirname(path);
    int fd;

    if (!msb_paths_make_dir(dir, 0700, error))
        return -1;
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (fd < 0)
        msb_error_set_errno(error, errno, "cannot open '%s'", path);
    return fd;
}

static gboolean
spawn_supervisor(MsbSandbox *sandbox, int ready_fd, int *pidfd, GError **error)
{
    g_autofree char *program = msb_paths_find_program("msb-supervisor", error);
    mb_autofd int log = program ? open_log(sandbox, error) : -1;
    const char *argv[] = {
        program, "--home", msb_home_get_path(sandbox->home), "--name", sandbox->name,
        "--ready-fd", G_STRINGIFY(READY_FD), NULL,
    };
    const MsbFdMap fds[] = { { ready_fd, READY_FD } };
    MsbSpawn spawn = MSB_SPAWN_INIT;
    pid_t pid;

    if (log < 0)
        return FALSE;
    spawn.argv = argv;
    spawn.cwd = "/";
    spawn.stdout_fd = log;
    spawn.stderr_fd = log;
    spawn.fds = fds;
    spawn.n_fds = G_N_ELEMENTS(fds);
    spawn.new_session = TRUE;
    spawn.detach = TRUE;
    return msb_process_spawn(&spawn, &pid, pidfd, error);
}

/* All the supervisor says, until it closes the pipe. FALSE when the deadline passes first. */
static gboolean
read_until_closed(int fd, GString *text, guint timeout_ms)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    char buf[4096];

    for (;;) {
        gint64 left = (deadline - g_get_monotonic_time() + 999) / 1000;
        ssize_t n;

        if (left <= 0)
            return FALSE;
        if (poll(&pfd, 1, (int)MIN(left, INT_MAX)) <= 0)
            continue;
        n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return TRUE;
        if (text->len + (gsize)n <= READY_MAX_BYTES)
            g_string_append_len(text, buf, n);
        /* "ok" is complete as soon as it is there: the supervisor lives on. */
        if (g_str_equal(text->str, "ok\n"))
            return TRUE;
    }
}

/* The last line of the supervisor's log, for want of something better (transfer full). */
static char *
last_words(MsbSandbox *sandbox)
{
    g_autofree char *path = msb_sandbox_dup_log_path(sandbox, "supervisor"), *text = NULL;
    const char *line;

    if (!g_file_get_contents(path, &text, NULL, NULL) || !*g_strchomp(text))
        return g_strdup("it left no message");
    line = strrchr(text, '\n');
    return g_utf8_make_valid(line ? line + 1 : text, -1);
}

static gboolean
judge_words(MsbSandbox *sandbox, const char *text, GError **error)
{
    g_autofree char *last = NULL;
    char *end;
    guint64 code;

    if (g_str_equal(text, "ok\n"))
        return TRUE;
    if (g_str_has_prefix(text, "error ")) {
        g_autofree char *message = NULL;

        code = g_ascii_strtoull(text + strlen("error "), &end, 10);
        message = g_utf8_make_valid(*end == ' ' ? end + 1 : end, -1);
        return msb_error_set(error, code <= MSB_ERROR_IO ? (MsbError)code : MSB_ERROR_FAILED, "%s",
                             g_strchomp(message));
    }
    last = last_words(sandbox);
    return msb_error_set(error, MSB_ERROR_BOOT, "the supervisor of sandbox '%s' ended unexpectedly: %s",
                         sandbox->name, last);
}

static gboolean
await_ready(MsbSandbox *sandbox, int fd, int pidfd, guint timeout_ms, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (read_until_closed(fd, text, timeout_ms + SUPERVISOR_SLACK_MS))
        return judge_words(sandbox, text->str, error);
    (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    return msb_error_set(error, MSB_ERROR_TIMEOUT,
                         "sandbox '%s' was not ready after %u seconds and its supervisor did not answer; both were "
                         "ended", sandbox->name, (timeout_ms + SUPERVISOR_SLACK_MS) / 1000);
}

/* After a failed start nothing may be left: the supervisor is on its way out, or dead. */
static void
clean_up_after(MsbSandbox *sandbox, int pidfd)
{
    struct pollfd pfd = { .fd = pidfd, .events = POLLIN };

    if (poll(&pfd, 1, SUPERVISOR_SLACK_MS) == 0) {
        (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
        (void)poll(&pfd, 1, LOCK_SLACK_MS);
    }
    (void)msb_sandbox_reap(sandbox->home, sandbox->name, TRUE, NULL);
}

static gboolean
start_locked(MsbSandbox *sandbox, guint timeout_ms, GError **error)
{
    g_autofree char *run = msb_home_run_dir(sandbox->home, sandbox->name);
    mb_autofd int ready_read = -1, pidfd = -1;
    gboolean spawned;
    int ready[2];

    if (!msb_sandbox_check_sources(sandbox->home, sandbox->config, error) || !msb_paths_make_dir(run, 0700, error))
        return FALSE;
    if (pipe2(ready, O_CLOEXEC) < 0)
        return msb_error_set_errno(error, errno, "cannot start sandbox '%s'", sandbox->name);
    ready_read = ready[0];
    spawned = spawn_supervisor(sandbox, ready[1], &pidfd, error);
    close(ready[1]);
    if (!spawned) {
        (void)rmdir(run);
        return FALSE;
    }
    if (await_ready(sandbox, ready_read, pidfd, timeout_ms, error))
        return TRUE;
    clean_up_after(sandbox, pidfd);
    return FALSE;
}

gboolean
msb_sandbox_start(MsbSandbox *sandbox, GError **error)
{
    g_autofree char *accel = msb_plan_choose_accel(msb_config_get_accel(sandbox->config), NULL, error);
    guint timeout_ms = accel ? msb_sandbox_boot_timeout_ms(accel) : 0;
    g_autoptr(MsbLock) lock = NULL;

    if (!accel)
        return FALSE;
    lock = msb_sandbox_lock_name(sandbox->home, sandbox->name, (gint)(timeout_ms + SUPERVISOR_SLACK_MS), error);
    if (!lock || !msb_sandbox_reap(sandbox->home, sandbox->name, TRUE, error))
        return FALSE;
    if (msb_sandbox_is_supervised(sandbox->home, sandbox->name))
        return msb_error_set(error, MSB_ERROR_RUNNING, "sandbox '%s' is running already", sandbox->name);
    if (!msb_sandbox_exists(sandbox->home, sandbox->name))
        return msb_error_set(error, MSB_ERROR_NOT_FOUND, "sandbox '%s' was removed meanwhile", sandbox->name);
    return start_locked(sandbox, timeout_ms, error);
}

/* ---- stop ----------------------------------------------------------------------------------------------- */

static gboolean
ask_supervisor(MsbSandbox *sandbox, guint timeout_ms, GError **error)
{
    g_autofree char *path = msb_run_control_socket(sandbox->home, sandbox->name);
    g_autoptr(MsbClient) client = msb_client_open(path, sandbox->name, FALSE, error);
    gint64 total = (gint64)timeout_ms + STOP_SLACK_MS;

    return client && msb_client_stop(client, timeout_ms, timeout_ms == 0, (int)MIN(total, INT_MAX), error);
}

/* The supervisor does not answer: end the machine and it, without asking. */
static gboolean
end_by_force(MsbSandbox *sandbox, GError **error)
{
    g_autofree char *uuid = msb_plan_uuid(sandbox->home, sandbox->name);
    g_auto(MsbRunStatus) status = MSB_RUN_STATUS_INIT;
    g_autoptr(MsbConnection) connection = NULL;
    g_autoptr(MsbDomain) domain = NULL;
    mb_autofd int pidfd = -1;

    if (msb_run_status_load(sandbox->home, sandbox->name, &status, NULL) && status.supervisor_pid) {
        pidfd = pidfd_open((pid_t)status.supervisor_pid, 0);
        /* As long as the lock is held its holder lives, and has not given its pid away. */
        if (pidfd >= 0 && msb_sandbox_is_supervised(sandbox->home, sandbox->name))
            (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    }
    connection = msb_connection_open_bounded(error);
    if (!connection)
        return FALSE;
    domain = msb_domain_lookup(connection, uuid, NULL);
    return !domain || msb_domain_destroy(domain, error);
}

/* Wait until the supervisor's lock is free, then see to it that nothing is left. */
static gboolean
await_end(MsbSandbox *sandbox, guint timeout_ms, GError **error)
{
    g_autofree char *path = msb_run_lock_path(sandbox->home, sandbox->name);
    g_autoptr(GError) local = NULL;
    MsbLock *lock = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, (gint)timeout_ms, &local);

    /* NOT_FOUND: the run directory is gone with it. */
    if (!lock && !g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND))
        return msb_error_set(error, MSB_ERROR_TIMEOUT, "sandbox '%s' does not end: %s", sandbox->name,
                             local->message);
    msb_lock_release(lock);
    if (!msb_sandbox_reap(sandbox->home, sandbox->name, FALSE, error))
        return FALSE;
    /* An ephemeral one is gone now. */
    msb_sandbox_forget_lock(sandbox->home, sandbox->name);
    return TRUE;
}

gboolean
msb_sandbox_stop(MsbSandbox *sandbox, guint timeout_ms, GError **error)
{
    g_autoptr(GError) refused = NULL;

    if (!msb_sandbox_is_supervised(sandbox->home, sandbox->name)) {
        if (!msb_sandbox_reap(sandbox->home, sandbox->name, FALSE, error))
            return FALSE;
        return msb_error_set(error, MSB_ERROR_NOT_RUNNING, "sandbox '%s' is not running", sandbox->name);
    }
    if (ask_supervisor(sandbox, timeout_ms, &refused) || !msb_sandbox_is_supervised(sandbox->home, sandbox->name))
        return await_end(sandbox, LOCK_SLACK_MS, error);
    if (!end_by_force(sandbox, error))
        return FALSE;
    return await_end(sandbox, LOCK_SLACK_MS, error);
}

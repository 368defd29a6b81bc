/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay fixture: see fixture.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "fixture.h"
#include "msb-paths.h"
#include "sv-agent.h"
#include "sv-log.h"

/* ---- the server process ---------------------------------------------------------------- */

typedef struct {
    GMainLoop *loop;
    SvRelay *relay;
} Server;

static void
server_hello(gpointer data G_GNUC_UNUSED)
{
}

static void
server_ready(const struct mp_ready *ready G_GNUC_UNUSED, gpointer data)
{
    const char *timings[] = { "agent=5", NULL };

    sv_relay_set_state(((Server *)data)->relay, MP_CTL_RUNNING, NULL, timings);
}

static void
server_gone(const GError *error, gpointer data)
{
    sv_relay_set_state(((Server *)data)->relay, MP_CTL_FAILED, error->message, NULL);
}

static void
server_workload_ended(gpointer data)
{
    g_main_loop_quit(((Server *)data)->loop);
}

static void
server_stop(guint32 grace_ms G_GNUC_UNUSED, gboolean force G_GNUC_UNUSED, gpointer data)
{
    g_main_loop_quit(((Server *)data)->loop);
}

static gboolean
server_disk_changed(const char *id, gpointer data G_GNUC_UNUSED)
{
    return g_str_equal(id, "m0");
}

static SvRelay *served;

static gboolean
server_disk_resized(gpointer reason)
{
    sv_relay_disk_resized(served, "m0", reason);
    return G_SOURCE_REMOVE;
}

/* Afterwards, as a back-end answers; sizes that end with 1 are no good. */
static int
server_disk_grow(const char *id, const char *size, gpointer data G_GNUC_UNUSED)
{
    if (!g_str_equal(id, "m0"))
        return g_str_equal(id, "busy") ? -EBUSY : -ENODEV;
    g_idle_add(server_disk_resized, (gpointer)(g_str_has_suffix(size, "1") ? "no good" : NULL));
    return 0;
}

static void
serve(const Fixture *f, int agent_fd, guint hangup_grace_ms)
{
    static const SvRelayFuncs relay_funcs = { server_stop, server_workload_ended, NULL, server_disk_changed,
                                                server_disk_grow };
    static const SvAgentFuncs agent_funcs = { server_hello, server_ready, server_gone };
    g_autofree char *log_path = g_build_filename(f->dir, "supervisor.log", NULL);
    /* An agent that is not root can run commands as itself only. */
    g_autofree char *me = g_strdup_printf("%u:%u", (unsigned)getuid(), (unsigned)getgid());
    struct mp_boot boot = { .root_kind = MP_ROOT_VIRTIOFS, .user = geteuid() == 0 ? NULL : me };
    Server server = { g_main_loop_new(NULL, FALSE), NULL };
    SvExecLog *log;
    SvAgent *agent;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!sv_log_open(log_path, NULL) || !(log = sv_exec_log_open(f->log, NULL)))
        _exit(1);
    served = server.relay = sv_relay_new(log, &relay_funcs, &server);
    sv_relay_set_hangup_grace(server.relay, hangup_grace_ms);
    if (!sv_relay_listen(server.relay, f->socket, NULL))
        _exit(1);
    agent = sv_agent_new(agent_fd, &boot, server.relay, &agent_funcs, &server);
    if (write(STDOUT_FILENO, "", 0) < 0)
        _exit(1);
    g_main_loop_run(server.loop);
    sv_agent_free(agent);
    sv_relay_close_clients(server.relay);
    sv_relay_free(server.relay);
    sv_exec_log_free(log);
    sv_log_close();
    g_main_loop_unref(server.loop);
    _exit(0);
}

static char *agent_path;

gboolean
fixture_use_agent(const char *path)
{
    g_free(agent_path);
    agent_path = g_strdup(path);
    return path && access(path, X_OK) == 0;
}

void
fixture_run_agent(int fd)
{
    g_autofree char *arg = g_strdup_printf("--serve-fd=%d", fd);

    if (fcntl(fd, F_SETFD, 0) == 0)
        execl(agent_path, agent_path, arg, (char *)NULL);
    _exit(127);
}

Fixture *
fixture_start(void (*run_agent)(int fd), guint hangup_grace_ms)
{
    Fixture *f = g_new0(Fixture, 1);
    int pair[2];
    gint64 end = g_get_monotonic_time() + DEADLINE_S * G_USEC_PER_SEC;

    f->dir = g_dir_make_tmp("msb-relay-XXXXXX", NULL);
    f->socket = g_build_filename(f->dir, "control.sock", NULL);
    f->log = g_build_filename(f->dir, "exec.log", NULL);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    f->agent = fork();
    if (f->agent == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        run_agent(pair[1]);
    }
    f->server = fork();
    if (f->server == 0) {
        close(pair[1]);
        serve(f, pair[0], hangup_grace_ms);
    }
    close(pair[0]);
    close(pair[1]);
    while (!g_file_test(f->socket, G_FILE_TEST_EXISTS)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    return f;
}

static void
reap(pid_t pid)
{
    int status;

    if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
        g_error("process %d died of signal %d", (int)pid, WTERMSIG(status));
}

void
fixture_stop(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbClient) client = msb_client_open(f->socket, "test", FALSE, &error);

    g_assert_no_error(error);
    g_assert_true(msb_client_stop(client, 0, TRUE, DEADLINE_S * 1000, &error));
    fixture_stopped(f);
}

void
fixture_stopped(Fixture *f)
{
    reap(f->server);
    reap(f->agent);
    g_assert_false(g_file_test(f->socket, G_FILE_TEST_EXISTS));
    msb_paths_remove_tree(f->dir, NULL);
    g_free(f->dir);
    g_free(f->socket);
    g_free(f->log);
    g_free(f);
}

MsbClient *
fixture_connect(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    MsbClient *client = msb_client_open(f->socket, "test", TRUE, &error);

    g_assert_no_error(error);
    return client;
}

guint64
fixture_peak_kib(const Fixture *f)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)f->server);
    g_autofree char *text = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    line = strstr(text, "VmHWM:");
    g_assert_nonnull(line);
    return g_ascii_strtoull(line + 6, NULL, 10);
}

char *
fixture_read_log(const Fixture *f)
{
    char *text = NULL;

    g_assert_true(g_file_get_contents(f->log, &text, NULL, NULL));
    return text;
}

static gboolean
tick(gpointer data G_GNUC_UNUSED)
{
    return G_SOURCE_REMOVE;
}

void
fixture_turn(void)
{
    guint id = g_timeout_add(50, tick, NULL);
    GSource *source = g_main_context_find_source_by_id(NULL, id);

    g_source_ref(source);
    g_main_context_iteration(NULL, TRUE);
    g_source_destroy(source);
    g_source_unref(source);
}

/* ---- commands ------------------------------------------------------------------------------ */

static void
run_started(MsbExec *exec G_GNUC_UNUSED, guint pid, gpointer data)
{
    Run *run = data;

    run->started = TRUE;
    run->pid = pid;
}

static gboolean
run_output(MsbExec *exec G_GNUC_UNUSED, int stream, const guint8 *bytes, gsize n, gpointer data)
{
    Run *run = data;

    run->count[stream - 1] += n;
    if (run->keep)
        g_byte_array_append(run->out[stream - 1], bytes, (guint)n);
    return !run->hold;
}

static void
run_stdin_ready(MsbExec *exec G_GNUC_UNUSED, gpointer data)
{
    ((Run *)data)->ready = TRUE;
}

static void
run_ended(MsbExec *exec G_GNUC_UNUSED, int status, int signum, const GError *error, gpointer data)
{
    Run *run = data;

    g_assert_false(run->ended);
    run->ended = TRUE;
    run->status = status;
    run->signum = signum;
    run->error = error ? g_strdup(error->message) : NULL;
}

static const MsbExecCallbacks run_callbacks = { run_started, run_output, run_stdin_ready, run_ended };

static Run *
run_new(void)
{
    Run *run = g_new0(Run, 1);

    run->out[0] = g_byte_array_new();
    run->out[1] = g_byte_array_new();
    run->keep = TRUE;
    return run;
}

Run *
run_start(MsbClient *client, gboolean tty, const char *const *argv)
{
    Run *run = run_new();
    MsbExecOptions options = { .argv = argv, .tty = tty, .rows = 24, .cols = 80 };
    g_autoptr(GError) error = NULL;

    run->exec = msb_client_exec(client, &options, &run_callbacks, run, &error);
    g_assert_no_error(error);
    return run;
}

Run *
run_attach(MsbClient *client, guint id)
{
    Run *run = run_new();
    g_autoptr(GError) error = NULL;

    run->exec = msb_client_attach(client, id, &run_callbacks, run, &error);
    g_assert_no_error(error);
    return run;
}

void
run_free(Run *run)
{
    g_byte_array_unref(run->out[0]);
    g_byte_array_unref(run->out[1]);
    msb_exec_unref(run->exec);
    g_free(run->error);
    g_free(run);
}

const char *
run_text(Run *run, int stream)
{
    GByteArray *a = run->out[stream - 1];

    g_byte_array_append(a, (const guint8 *)"", 1);
    g_byte_array_set_size(a, a->len - 1);
    return (const char *)a->data;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One command in a guest, at this terminal or in this pipeline.
 *
 * Everything happens in one main loop: standard input is read when the command
 * has room for it, its output is written when ours has, and while ours has none
 * the command is sent no credit and stops writing. Standard descriptors are
 * shared with whoever started us, so they are never made non-blocking; they are
 * polled, and written in pieces that a ready pipe takes without blocking.
 *
 * With a terminal every byte goes through (Ctrl-C is the guest's business), but
 * for the detach keys. Without one the first SIGINT or SIGTERM is passed on to the
 * command, the second kills it, the third gives up waiting.
 */
#include <config.h>

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd-signals.h"
#include "cmd.h"
#include "ui-message.h"
#include "ui-tty.h"

#define INPUT_CHUNK 32768
#define OUTPUT_CHUNK 4096        /* PIPE_BUF: what poll() promises room for */
#define OUTPUT_HIGH (256 * 1024) /* unwritten bytes above which the command is held */
#define DEFAULT_DETACH_KEYS "ctrl-]"

static gboolean arg_tty;
static gboolean arg_no_tty;
static gint64 arg_timeout = -1;
char *cmd_session_detach_keys;
gboolean cmd_session_no_stdin;

const CmdOption cmd_session_options[] = {
    {"tty", 't', CMD_OPTION_FLAG, &arg_tty, NULL, NULL,
     N_("give the command a terminal (default: if stdin and stdout are one)"), CMD_VALUE_ANY, NULL},
    {"no-tty", 0, CMD_OPTION_FLAG, &arg_no_tty, NULL, NULL, N_("give it none"), CMD_VALUE_ANY, NULL},
    CMD_NO_STDIN_OPTION(N_("its standard input is empty")),
    {"timeout", 0, CMD_OPTION_DURATION, &arg_timeout, NULL, N_("DURATION"),
     N_("kill the command after this time"), CMD_VALUE_ANY, NULL},
    CMD_DETACH_KEYS_OPTION,
    {0},
};

CmdSession
cmd_session_from_options(void)
{
    return (CmdSession){.tty = arg_tty,
                        .no_tty = arg_no_tty,
                        .no_stdin = cmd_session_no_stdin,
                        .timeout_ms = arg_timeout,
                        .detach_keys = cmd_session_detach_keys};
}

typedef struct Session Session;

/* What is still to be written to one of our descriptors. */
typedef struct {
    Session *session;
    int fd;
    GByteArray *pending;
    guint source;
    gboolean closed; /* nobody reads it any more */
} Output;

struct Session {
    const CmdSession *options;
    const char *sandbox;
    MsbExec *exec;
    GMainLoop *loop;
    Output outputs[2];
    gboolean held;     /* output() has said stop */
    GByteArray *input; /* read, not yet taken by the command */
    guint input_source;
    gboolean input_ended;
    gboolean input_stopped; /* no more is wanted */
    UiKeys keys;
    gboolean tty;
    gboolean terminal; /* ours, in raw mode */
    guint deadline; /* source id */
    guint interrupts;
    gboolean ended;
    gboolean lost; /* the connection to the sandbox */
    gboolean timed_out;
    GError *error; /* why it ended, to be told once the terminal is itself again */
    CmdSessionResult result;
};

static void watch_input(Session *s);

/* ---- output ---------------------------------------------------------------------- */

static void
finish_when_written(Session *s)
{
    if (s->ended && s->outputs[0].pending->len == 0 && s->outputs[1].pending->len == 0)
        g_main_loop_quit(s->loop);
}

/* Our reader is gone: what a local command would learn by SIGPIPE. */
static void
output_closed(Output *output)
{
    Session *s = output->session;

    output->closed = TRUE;
    g_byte_array_set_size(output->pending, 0);
    if (s->exec && !s->ended)
        msb_exec_signal(s->exec, SIGPIPE);
}

static gboolean
on_output_ready(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    Output *output = data;
    Session *s = output->session;
    ssize_t n = write(fd, output->pending->data, MIN(output->pending->len, OUTPUT_CHUNK));

    if (n > 0)
        g_byte_array_remove_range(output->pending, 0, (guint)n);
    else if (n < 0 && errno != EINTR && errno != EAGAIN)
        output_closed(output);
    if (s->held && s->outputs[0].pending->len + s->outputs[1].pending->len < OUTPUT_HIGH / 2) {
        s->held = FALSE;
        msb_exec_resume(s->exec);
    }
    if (output->pending->len > 0)
        return G_SOURCE_CONTINUE;
    output->source = 0;
    finish_when_written(s);
    return G_SOURCE_REMOVE;
}

static gboolean
on_output(MsbExec *exec G_GNUC_UNUSED, int stream, const guint8 *bytes, gsize n, gpointer data)
{
    Session *s = data;
    Output *output = &s->outputs[stream == 2 ? 1 : 0];

    if (output->closed || s->options->detach)
        return TRUE; /* with --detach all of it is kept for whoever attaches */
    g_byte_array_append(output->pending, bytes, (guint)n);
    if (!output->source)
        output->source = g_unix_fd_add(output->fd, G_IO_OUT | G_IO_ERR | G_IO_HUP, on_output_ready, output);
    s->held = s->outputs[0].pending->len + s->outputs[1].pending->len >= OUTPUT_HIGH;
    return !s->held;
}

/* ---- input -------------------------------------------------------------------------- */

static void
stop_input(Session *s)
{
    g_clear_handle_id(&s->input_source, g_source_remove);
    s->input_stopped = TRUE;
}

/* Hand over what has been read; TRUE when the command took all of it. */
static gboolean
push_input(Session *s)
{
    gsize taken;

    if (s->input->len > 0) {
        taken = msb_exec_write_stdin(s->exec, s->input->data, s->input->len);
        g_byte_array_remove_range(s->input, 0, (guint)taken);
    }
    if (s->input->len > 0)
        return FALSE;
    if (s->input_ended && !s->input_stopped) {
        msb_exec_close_stdin(s->exec);
        stop_input(s);
    }
    return TRUE;
}

static void
take_input(Session *s, const guint8 *bytes, gsize n)
{
    guint8 passed[INPUT_CHUNK + UI_KEYS_MAX];
    gsize passed_n = 0;
    gboolean detach;

    if (!s->tty) {
        g_byte_array_append(s->input, bytes, (guint)n);
        return;
    }
    detach = ui_keys_feed(&s->keys, bytes, n, passed, &passed_n);
    g_byte_array_append(s->input, passed, (guint)passed_n);
    if (detach) {
        push_input(s);
        stop_input(s);
        msb_exec_detach(s->exec);
    }
}

/* A raw terminal does not end: it is gone. Only who leads its session gets a signal then; this is seen by all. The
 * command learns it as it would have there. */
static void
terminal_closed(Session *s)
{
    stop_input(s);
    msb_exec_signal(s->exec, SIGHUP);
}

static gboolean
on_input(gint fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    Session *s = data;
    guint8 bytes[INPUT_CHUNK];
    ssize_t n = read(fd, bytes, sizeof(bytes));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return G_SOURCE_CONTINUE;
    if (n > 0)
        take_input(s, bytes, (gsize)n);
    else if (s->terminal)
        terminal_closed(s);
    else
        s->input_ended = TRUE;
    if (s->input_stopped)
        return G_SOURCE_REMOVE; /* by take_input(), which has removed the source */
    if (push_input(s) && !s->input_stopped)
        return G_SOURCE_CONTINUE;
    if (s->input_stopped)
        return G_SOURCE_REMOVE;
    s->input_source = 0; /* until on_stdin_ready() */
    return G_SOURCE_REMOVE;
}

static void
watch_input(Session *s)
{
    if (!s->input_source && !s->input_stopped && !s->input_ended && !s->ended)
        s->input_source = g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR | G_IO_NVAL, on_input, s);
}

static void
on_stdin_ready(MsbExec *exec G_GNUC_UNUSED, gpointer data)
{
    Session *s = data;

    if (push_input(s))
        watch_input(s);
}

/* ---- signals --------------------------------------------------------------------------- */

static void
on_interrupt(Session *s, int signum)
{
    switch (++s->interrupts) {
    case 1:
        msb_exec_signal(s->exec, signum);
        return;
    case 2:
        msb_exec_signal(s->exec, SIGKILL);
        return;
    default:
        s->result.status = 128 + signum;
        g_main_loop_quit(s->loop);
    }
}

static gboolean
on_signal(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    Session *s = data;
    int signum;

    while ((signum = cmd_signals_next())) {
        guint rows, columns;

        if (signum != SIGWINCH)
            on_interrupt(s, signum);
        else if (s->tty && ui_tty_size(STDIN_FILENO, &rows, &columns))
            msb_exec_resize(s->exec, rows, columns);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean
on_deadline(gpointer data)
{
    Session *s = data;

    s->deadline = 0;
    s->timed_out = TRUE;
    msb_exec_signal(s->exec, SIGKILL);
    return G_SOURCE_REMOVE;
}

/* ---- life --------------------------------------------------------------------------------- */

static void
on_started(MsbExec *exec, guint pid G_GNUC_UNUSED, gpointer data)
{
    Session *s = data;

    s->result.id = msb_exec_get_id(exec);
    if (s->options->detach)
        msb_exec_detach(exec);
    else
        watch_input(s);
}

static void
on_ended(MsbExec *exec, int status, int signum G_GNUC_UNUSED, const GError *error, gpointer data)
{
    Session *s = data;

    s->ended = TRUE;
    s->result.id = msb_exec_get_id(exec);
    s->result.detached = status == -2;
    s->result.status = status >= 0 ? status : status == -2 ? 0 : CMD_EXIT_FAILURE;
    s->lost = status == -1;
    s->error = error ? g_error_copy(error) : NULL;
    stop_input(s);
    finish_when_written(s);
}

static const MsbExecCallbacks callbacks = {
    .started = on_started,
    .output = on_output,
    .stdin_ready = on_stdin_ready,
    .ended = on_ended,
};

gboolean
cmd_session_wants_tty(const CmdSession *session)
{
    if (session->tty || session->no_tty || session->detach)
        return session->tty;
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* The environment with the terminal's type, unless the caller has set another. */
static char **
session_env(const CmdSession *options, gboolean tty)
{
    g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);
    const char *term = g_getenv("TERM");
    gboolean given = FALSE;

    for (guint i = 0; options->env && options->env[i]; i++) {
        g_ptr_array_add(env, g_strdup(options->env[i]));
        given = given || g_str_has_prefix(options->env[i], "TERM=");
    }
    if (tty && !given)
        g_ptr_array_insert(env, 0, g_strconcat("TERM=", term && term[0] ? term : "xterm", NULL));
    g_ptr_array_add(env, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&env), FALSE);
}

static gboolean
session_open(Session *s, MsbClient *client, GError **error)
{
    g_auto(GStrv) env = session_env(s->options, s->tty);
    MsbExecOptions exec = {
        .argv = s->options->argv,
        .env = (const char *const *)env,
        .cwd = s->options->cwd,
        .user = s->options->user,
        .tty = s->tty,
        .no_stdin = s->options->no_stdin || (s->options->detach && !s->tty),
    };

    ui_tty_size(STDIN_FILENO, &exec.rows, &exec.cols);
    if (s->options->argv)
        s->exec = msb_client_exec(client, &exec, &callbacks, s, error);
    else
        s->exec = msb_client_attach(client, s->options->attach_id, &callbacks, s, error);
    if (s->exec && !s->options->argv && s->tty)
        msb_exec_resize(s->exec, exec.rows, exec.cols);
    if (s->exec && s->options->workload)
        msb_exec_set_workload(s->exec);
    return s->exec != NULL;
}

static void
session_init(Session *s, const char *sandbox, const CmdSession *options)
{
    s->options = options;
    s->sandbox = sandbox;
    s->tty = options->argv ? cmd_session_wants_tty(options) : options->attach_tty;
    s->result.status = CMD_EXIT_FAILURE;
    s->loop = g_main_loop_new(NULL, FALSE);
    s->input = g_byte_array_new();
    s->input_stopped = options->no_stdin || options->detach;
    for (guint i = 0; i < 2; i++) {
        s->outputs[i].session = s;
        s->outputs[i].fd = i == 0 ? STDOUT_FILENO : STDERR_FILENO;
        s->outputs[i].pending = g_byte_array_new();
    }
}

static void
session_clear(Session *s)
{
    g_clear_handle_id(&s->input_source, g_source_remove);
    g_clear_handle_id(&s->deadline, g_source_remove);
    for (guint i = 0; i < 2; i++) {
        g_clear_handle_id(&s->outputs[i].source, g_source_remove);
        g_clear_pointer(&s->outputs[i].pending, g_byte_array_unref);
    }
    g_clear_pointer(&s->exec, msb_exec_unref);
    g_clear_error(&s->error);
    g_clear_pointer(&s->input, g_byte_array_unref);
    g_clear_pointer(&s->loop, g_main_loop_unref);
}

/* What there is to tell after the end. */
static void
say_why_it_ended(const Session *s)
{
    if (s->error)
        ui_error("%s", s->error->message);
    if (s->lost)
        ui_hint(
            _("'msb ps -a' tells whether it still runs, 'msb logs --source=console %s' what its kernel said"),
            s->sandbox);
    if (s->timed_out)
        ui_error(_("the command was killed: it took longer than %s allows"), "--timeout");
    if (!s->result.detached || s->options->detach)
        return;
    ui_note(_("detached; command %u goes on in '%s'"), s->result.id, s->sandbox);
    ui_hint(_("'msb attach %s %u' attaches to it again"), s->sandbox, s->result.id);
}

CmdSessionResult
cmd_session_run(MsbClient *client, const char *sandbox, const CmdSession *options)
{
    Session s = {0};
    g_autoptr(GError) error = NULL;
    guint signals = 0;

    session_init(&s, sandbox, options);
    if (!ui_keys_parse(options->detach_keys ? options->detach_keys : DEFAULT_DETACH_KEYS, &s.keys, &error) ||
        !session_open(&s, client, &error)) {
        cmd_fail(error);
        session_clear(&s);
        return s.result;
    }
    s.terminal = s.tty && !options->detach && isatty(STDIN_FILENO) && ui_tty_raw();
    if (s.tty && !options->detach && isatty(STDIN_FILENO) && !s.terminal)
        ui_warning(_("the terminal cannot be put into raw mode: %s"), g_strerror(errno));
    if (cmd_signals_fd() >= 0)
        signals = g_unix_fd_add(cmd_signals_fd(), G_IO_IN, on_signal, &s);
    if (options->timeout_ms > 0)
        s.deadline = g_timeout_add((guint)options->timeout_ms, on_deadline, &s);
    if (!s.ended || s.outputs[0].pending->len + s.outputs[1].pending->len > 0)
        g_main_loop_run(s.loop);
    ui_tty_restore();
    if (signals)
        g_source_remove(signals);
    say_why_it_ended(&s);
    session_clear(&s);
    return s.result;
}

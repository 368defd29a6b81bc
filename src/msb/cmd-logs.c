/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * logs: what the commands of a sandbox wrote, its console, its supervisor.
 *
 * The commands' log comes record by record from libmsb, byte for byte; stderr goes
 * to stderr. The other two are plain files. What a terminal would obey, but for
 * colours, does not reach one: the guest decides what is in it. --grep selects whole lines, so text is
 * collected per stream until its line is complete.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-parse.h"

#include "cmd-signals.h"
#include "cmd.h"
#include "ui-json.h"
#include "ui-message.h"
#include "ui-safe.h"

#define CHUNK 65536
#define MAX_LINE (1024 * 1024)

static gboolean arg_follow;
static char *arg_tail;
static char *arg_since;
static char *arg_until;
static char *arg_source;
static gboolean arg_timestamps;
static gboolean arg_json;
static char *arg_grep;

typedef struct {
    GRegex *grep;
    GString *line[2];    /* what has come of the current line, by our own stream */
    gint64 line_time[2]; /* when it began */
    gboolean broken;     /* stdout is closed */
    gboolean is_terminal[2];
    UiSafe safe[2];      /* for a terminal */
    GString *shown;
} Printer;

static void
printer_clear(Printer *p)
{
    g_clear_pointer(&p->grep, g_regex_unref);
    if (p->shown)
        g_string_free(p->shown, TRUE);
    for (guint i = 0; i < 2; i++)
        if (p->line[i])
            g_string_free(p->line[i], TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Printer, printer_clear)

static gboolean
printer_init(Printer *p, GError **error)
{
    p->line[0] = g_string_new(NULL);
    p->line[1] = g_string_new(NULL);
    p->shown = g_string_new(NULL);
    p->is_terminal[0] = isatty(STDOUT_FILENO);
    p->is_terminal[1] = isatty(STDERR_FILENO);
    if (!arg_grep)
        return TRUE;
    p->grep = g_regex_new(arg_grep, G_REGEX_RAW | G_REGEX_OPTIMIZE, 0, error);
    return p->grep != NULL;
}

static void
print_bytes(Printer *p, guint stream, const void *bytes, gsize n)
{
    FILE *file = stream == 1 ? stderr : stdout;

    if (p->is_terminal[stream]) {
        g_string_truncate(p->shown, 0);
        ui_safe_feed(&p->safe[stream], bytes, n, p->shown);
        bytes = p->shown->str;
        n = p->shown->len;
    }
    if (n > 0 && fwrite(bytes, 1, n, file) != n)
        p->broken = TRUE;
}

static void
print_line(Printer *p, guint stream)
{
    GString *line = p->line[stream];
    g_autoptr(GDateTime) date = g_date_time_new_from_unix_utc(p->line_time[stream] / G_USEC_PER_SEC);

    if (!p->grep || g_regex_match_full(p->grep, line->str, (gssize)line->len, 0, 0, NULL, NULL)) {
        if (arg_timestamps && date) {
            g_autofree char *text = g_date_time_format(date, "%Y-%m-%dT%H:%M:%S");

            fprintf(stream == 1 ? stderr : stdout, "%s.%06dZ ", text,
                    (int)(p->line_time[stream] % G_USEC_PER_SEC));
        }
        print_bytes(p, stream, line->str, line->len);
    }
    g_string_truncate(line, 0);
}

/* Print text as it is, or line by line if something is to be decided or added per line. */
static void
print_text(Printer *p, guint stream, gint64 time, const guint8 *bytes, gsize n)
{
    if (!p->grep && !arg_timestamps) {
        print_bytes(p, stream, bytes, n);
        return;
    }
    while (n > 0) {
        const guint8 *end = memchr(bytes, '\n', n);
        gsize length = end ? (gsize)(end - bytes) + 1 : n;

        if (p->line[stream]->len == 0)
            p->line_time[stream] = time;
        g_string_append_len(p->line[stream], (const char *)bytes, (gssize)length);
        if (end || p->line[stream]->len > MAX_LINE)
            print_line(p, stream);
        bytes += length;
        n -= length;
    }
}

static void
printer_finish(Printer *p)
{
    for (guint i = 0; i < 2; i++)
        if (p->line[i]->len > 0)
            print_line(p, i);
    for (guint i = 0; i < 2; i++)
        if (p->safe[i].coloured)
            fputs("\033[0m", i == 1 ? stderr : stdout);
    fflush(stdout);
}

/* ---- the commands' log ------------------------------------------------------------------ */

static gboolean
on_record(const MsbLogRecord *record, gpointer data)
{
    Printer *p = data;

    if (arg_json) {
        if (!p->grep ||
            g_regex_match_full(p->grep, (const char *)record->bytes, (gssize)record->n, 0, 0, NULL, NULL))
            ui_json_print_text(record->json);
    } else {
        print_text(p, record->stream == MSB_LOG_STDERR ? 1 : 0, record->time, record->bytes, record->n);
    }
    if (arg_follow)
        fflush(stdout);
    return !p->broken && !ferror(stdout);
}

static void
cancel(gpointer cancellable)
{
    g_cancellable_cancel(cancellable);
}

static gboolean
show_exec_log(MsbSandbox *sandbox, Printer *p, gint64 tail, GError **error)
{
    MsbLogOptions options = {.tail = tail, .follow = arg_follow, .streams = 0};
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) local = NULL;
    CmdWatch *watch;
    gboolean ok;

    if (!arg_json)
        options.streams = MSB_LOG_STDOUT | MSB_LOG_STDERR | MSB_LOG_OUTPUT;
    if ((arg_since && !msb_logs_parse_time(arg_since, &options.since, error)) ||
        (arg_until && !msb_logs_parse_time(arg_until, &options.until, error)))
        return FALSE;
    watch = cmd_watch_begin(cancel, cancellable);
    ok = msb_logs_read(sandbox, &options, on_record, p, cancellable, &local);
    cmd_watch_end(watch);
    if (ok || g_error_matches(local, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

/* ---- plain files ---------------------------------------------------------------------------- */

/* Where the last n lines of the file begin. */
static off_t
find_tail(int fd, gint64 n)
{
    off_t at = lseek(fd, 0, SEEK_END);
    g_autofree char *buffer = g_malloc(CHUNK);
    gboolean last = TRUE;

    while (n >= 0 && at > 0) {
        gsize length = MIN((gsize)at, CHUNK);
        ssize_t got = pread(fd, buffer, length, at - (off_t)length);

        if (got != (ssize_t)length)
            return 0;
        for (gsize i = length; i > 0; i--) {
            /* The line end of the last line begins nothing. */
            if (buffer[i - 1] == '\n' && !last && --n < 0)
                return at - (off_t)length + (off_t)i;
            if (last && n == 0)
                return at;
            last = FALSE;
        }
        at -= (off_t)length;
    }
    return 0;
}

static gboolean
copy_rest(int fd, Printer *p, const char *path, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(CHUNK);
    ssize_t n;

    while (!p->broken && (n = read(fd, buffer, CHUNK)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return msb_error_set_errno(error, errno, _("cannot read '%s'"), path);
        print_text(p, 0, 0, buffer, (gsize)n);
    }
    fflush(stdout);
    return TRUE;
}

typedef struct {
    GMainLoop *loop;
    int fd;
    Printer *printer;
    const char *path;
    GError *error;
} Follow;

static void
on_changed(GFileMonitor *monitor G_GNUC_UNUSED, GFile *file G_GNUC_UNUSED, GFile *other G_GNUC_UNUSED,
           GFileMonitorEvent event, gpointer data)
{
    Follow *follow = data;

    if (!copy_rest(follow->fd, follow->printer, follow->path, &follow->error) || follow->printer->broken ||
        event == G_FILE_MONITOR_EVENT_DELETED)
        g_main_loop_quit(follow->loop);
}

/* Until a signal ends us, the file goes, or nobody reads. */
static gboolean
follow_file(int fd, Printer *p, const char *path, GError **error)
{
    g_autoptr(GFile) file = g_file_new_for_path(path);
    g_autoptr(GFileMonitor) monitor = g_file_monitor_file(file, G_FILE_MONITOR_NONE, NULL, error);
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    Follow follow = {.loop = loop, .fd = fd, .printer = p, .path = path};
    CmdWatch *watch;

    if (!monitor)
        return FALSE;
    g_file_monitor_set_rate_limit(monitor, 50);
    g_signal_connect(monitor, "changed", G_CALLBACK(on_changed), &follow);
    watch = cmd_watch_begin((CmdWatchFunc)g_main_loop_quit, loop);
    /* What came between the copy and the monitor. */
    if (copy_rest(fd, p, path, &follow.error))
        g_main_loop_run(loop);
    cmd_watch_end(watch);
    if (follow.error)
        g_propagate_error(error, follow.error);
    return follow.error == NULL;
}

static gboolean
show_file(MsbSandbox *sandbox, Printer *p, gint64 tail, GError **error)
{
    g_autofree char *path = msb_sandbox_dup_log_path(sandbox, arg_source);
    mb_autofd int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0 && errno == ENOENT)
        return TRUE; /* it has never run */
    if (fd < 0)
        return msb_error_set_errno(error, errno, _("cannot read '%s'"), path);
    if (tail >= 0)
        lseek(fd, find_tail(fd, tail), SEEK_SET);
    return copy_rest(fd, p, path, error) && (!arg_follow || follow_file(fd, p, path, error));
}

/* ---- the command ------------------------------------------------------------------------------- */

static gboolean
check_options(gint64 *tail, GError **error)
{
    guint64 lines;

    *tail = -1;
    if (arg_tail && strcmp(arg_tail, "all") != 0) {
        if (mb_parse_u64(arg_tail, &lines) < 0 || lines > G_MAXINT32)
            return msb_error_set(error, MSB_ERROR_INVALID,
                                 _("--tail wants a number of lines or 'all', not '%s'"), arg_tail);
        *tail = (gint64)lines;
    }
    if (g_strcmp0(arg_source, "exec") == 0)
        g_clear_pointer(&arg_source, g_free);
    if (arg_source && (arg_since || arg_until || arg_timestamps || arg_json))
        return msb_error_set(
            error, MSB_ERROR_INVALID,
            _("--since, --until, --timestamps and --json only go with the log of the commands"));
    return TRUE;
}

static int
run_logs(const CmdArgs *args)
{
    g_auto(Printer) printer = {0};
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(MsbSandbox) sandbox = NULL;
    g_autoptr(GError) error = NULL;
    gint64 tail;
    gboolean ok;

    if (!check_options(&tail, &error) || !printer_init(&printer, &error)) {
        cmd_fail(error);
        return CMD_EXIT_USAGE;
    }
    if (arg_follow)
        cmd_signals_init();
    home = cmd_open_home();
    if (!home)
        return CMD_EXIT_FAILURE;
    sandbox = msb_sandbox_lookup(home, args->operands[0], &error);
    if (!sandbox)
        return cmd_fail(error);
    ok = arg_source ? show_file(sandbox, &printer, tail, &error)
                    : show_exec_log(sandbox, &printer, tail, &error);
    printer_finish(&printer);
    return ok ? 0 : cmd_fail(error);
}

static const CmdOption options[] = {
    {"follow", 'f', CMD_OPTION_FLAG, &arg_follow, NULL, NULL, N_("go on with what is written from now on"),
     CMD_VALUE_ANY, NULL},
    {"tail", 0, CMD_OPTION_STRING, &arg_tail, NULL, N_("N"), N_("only the last N lines, or all"),
     CMD_VALUE_ANY, NULL},
    {"since", 0, CMD_OPTION_STRING, &arg_since, NULL, N_("TIME"),
     N_("only from this time on: RFC 3339, or back from now such as 5m, 2h, 1d"), CMD_VALUE_ANY, NULL},
    {"until", 0, CMD_OPTION_STRING, &arg_until, NULL, N_("TIME"), N_("only up to this time"), CMD_VALUE_ANY,
     NULL},
    {"source", 0, CMD_OPTION_STRING, &arg_source, NULL, N_("SOURCE"),
     N_("exec: output of the commands (default); console: the guest's kernel; supervisor: msb's own"),
     CMD_VALUE_WORDS, "exec console supervisor"},
    {"timestamps", 0, CMD_OPTION_FLAG, &arg_timestamps, NULL, NULL, N_("put the time in front of every line"),
     CMD_VALUE_ANY, NULL},
    {"json", 0, CMD_OPTION_FLAG, &arg_json, NULL, NULL, N_("print the log's own JSON lines"), CMD_VALUE_ANY,
     NULL},
    {"grep", 0, CMD_OPTION_STRING, &arg_grep, NULL, N_("REGEX"), N_("only lines that match"), CMD_VALUE_ANY,
     NULL},
    {0},
};

const CmdCommand cmd_logs = {
    .name = "logs",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] NAME"),
    .summary = N_("Show what a sandbox wrote"),
    .details = N_("Works for stopped sandboxes as well. What commands wrote to stderr goes to stderr."),
    .options = {options},
    .operands = (const CmdValue[]){CMD_VALUE_SANDBOX, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .run = run_logs,
};

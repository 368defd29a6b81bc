/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The back-ends: see sv-backends.h.
 *
 * Each has three descriptors on the main loop: its pidfd, the pipe on which it
 * says that it is ready, and its standard error.  A back-end that ends before it
 * is ready is an error with what it last wrote as the reason.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <glib-unix.h>

#include "mb-cleanup.h"
#include "mb-log.h"
#include "msb-error.h"
#include "msb-process.h"
#include "sv-backends.h"
#include "sv-log.h"
#include "sv-resize.h"

#define READY_FD 3
#define JOURNAL_FD 4
#define RESIZE_FD 5
#define LINE_MAX_BYTES 4096u
/* Reads per turn: together twice what a pipe holds, so that the last words of one that ended are read to the end. */
#define LOG_READS 32u

typedef struct {
    SvBackends *all;
    const MsbDevice *device;
    pid_t pid;                  /* 0 = not running */
    int pidfd;
    int ready_fd;
    int log_fd;
    guint pid_source, ready_source, log_source;
    int journal_fd;             /* kept for the next one when it dies; -1 = none */
    SvResize *resize;           /* NULL: a disk that is not written */
    gboolean ready;
    gboolean reload;            /* SIGHUP is due when it is ready */
    GString *line;              /* of its standard error, not complete yet */
    char *last_line;            /* the last complete one: the reason if it ends */
    struct mb_ratelimit limit;
    guint restarts;
    gint64 restarts_since;
} Backend;

struct SvBackends {
    GPtrArray *list;            /* of Backend */
    const SvBackendsFuncs *funcs;
    gpointer data;
    gboolean all_ready;         /* ready() was called */
    gboolean failed;            /* failed() was called, or it is stopping: no restart any more */
    gboolean stopping;
    guint kill_timer;
};

/* What a user knows the device by. */
static const char *
called(const Backend *b)
{
    return b->device->target ? b->device->target : b->device->id;
}

/* ---- one line at a time from standard error ------------------------------------------------ */

static void
take_line(Backend *b)
{
    if (b->line->len == 0)
        return;
    g_free(b->last_line);
    b->last_line = g_strdup(b->line->str);
    if (mb_ratelimit_ok(&b->limit))
        sv_log_line(b->device->id, b->line->str);
    g_string_truncate(b->line, 0);
}

static void
take_log_bytes(Backend *b, const char *p, gsize n)
{
    for (gsize i = 0; i < n; i++) {
        if (p[i] == '\n' || b->line->len >= LINE_MAX_BYTES)
            take_line(b);
        if (p[i] != '\n' && p[i] != '\0')
            g_string_append_c(b->line, p[i]);
    }
}

static void
close_log(Backend *b)
{
    if (b->log_source)
        g_source_remove(b->log_source);
    b->log_source = 0;
    mb_close(mb_steal_fd(&b->log_fd));
}

/* A bounded part, so that one that never stops writing does not keep us here.  FALSE at its end. */
static gboolean
read_log(Backend *b)
{
    char buf[4096];
    ssize_t n = 1;

    for (guint i = 0; i < LOG_READS && n > 0; i++) {
        n = read(b->log_fd, buf, sizeof(buf));
        if (n > 0)
            take_log_bytes(b, buf, (gsize)n);
    }
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static gboolean
log_readable(gint fd, GIOCondition condition, gpointer data)
{
    Backend *b = data;

    if (read_log(b))
        return G_SOURCE_CONTINUE;
    take_line(b);
    b->log_source = 0;
    close_log(b);
    return G_SOURCE_REMOVE;
}

/* ---- readiness -------------------------------------------------------------------------------- */

static void
close_ready(Backend *b)
{
    if (b->ready_source)
        g_source_remove(b->ready_source);
    b->ready_source = 0;
    mb_close(mb_steal_fd(&b->ready_fd));
}

static void
check_all_ready(SvBackends *all)
{
    if (all->all_ready || all->failed)
        return;
    for (guint i = 0; i < all->list->len; i++)
        if (!((Backend *)g_ptr_array_index(all->list, i))->ready)
            return;
    all->all_ready = TRUE;
    all->funcs->ready(all->data);
}

/* Closed without a byte: it is about to end, the pidfd will tell. */
static void
read_ready(Backend *b)
{
    char byte;

    if (b->ready_fd < 0 || read(b->ready_fd, &byte, 1) != 1)
        return;
    b->ready = TRUE;
    if (b->reload && b->pid)
        kill(b->pid, SIGHUP);
    b->reload = FALSE;
}

static gboolean
ready_readable(gint fd, GIOCondition condition, gpointer data)
{
    Backend *b = data;

    read_ready(b);
    b->ready_source = 0;
    close_ready(b);
    if (b->ready)
        check_all_ready(b->all);
    return G_SOURCE_REMOVE;
}

/* ---- starting ------------------------------------------------------------------------------------ */

static gboolean child_ended(gint fd, GIOCondition condition, gpointer data);

static char **
build_argv(const MsbDevice *device)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();

    g_strv_builder_addv(builder, (const char **)device->argv);
    g_strv_builder_add(builder, "--exit-with-parent");
    g_strv_builder_add(builder, "--ready-fd=" MB_STRINGIFY(READY_FD));
    if (device->kind == MSB_DEVICE_BLK)
        g_strv_builder_add(builder, "--reconnect");
    if (device->journal)
        g_strv_builder_add(builder, "--journal-fd=" MB_STRINGIFY(JOURNAL_FD));
    if (device->can_grow)
        g_strv_builder_add(builder, "--resize-fd=" MB_STRINGIFY(RESIZE_FD));
    return g_strv_builder_end(builder);
}

static gboolean
make_pipe(int *ours, int *theirs, GError **error)
{
    int fds[2];

    if (!g_unix_open_pipe(fds, FD_CLOEXEC, error))
        return FALSE;
    *ours = fds[0];
    *theirs = fds[1];
    return g_unix_set_fd_nonblocking(*ours, TRUE, error);
}

/* Once for all processes of the back-end. */
static gboolean
make_journal(Backend *b, GError **error)
{
    if (!b->device->journal || b->journal_fd >= 0)
        return TRUE;
    b->journal_fd = memfd_create("msb-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (b->journal_fd >= 0)
        return TRUE;
    g_set_error(error, MSB_ERROR, MSB_ERROR_FAILED, "cannot make a memory file: %s", g_strerror(errno));
    return FALSE;
}

static gboolean
start(Backend *b, GError **error)
{
    g_auto(GStrv) argv = build_argv(b->device);
    MsbSpawn spawn = MSB_SPAWN_INIT;
    mb_autofd int ready_end = -1;
    mb_autofd int log_end = -1;
    mb_autofd int resize_end = -1;
    MsbFdMap map[3];
    guint n = 0;

    b->ready = FALSE;
    if (!make_pipe(&b->ready_fd, &ready_end, error) || !make_pipe(&b->log_fd, &log_end, error) ||
        !make_journal(b, error) || (b->resize && (resize_end = sv_resize_open(b->resize, error)) < 0))
        return FALSE;
    map[n++] = (MsbFdMap){ ready_end, READY_FD };
    if (b->device->journal)
        map[n++] = (MsbFdMap){ b->journal_fd, JOURNAL_FD };
    if (b->resize)
        map[n++] = (MsbFdMap){ resize_end, RESIZE_FD };
    spawn.argv = (const char *const *)argv;
    spawn.stdout_fd = log_end;
    spawn.stderr_fd = log_end;
    spawn.fds = map;
    spawn.n_fds = n;
    spawn.death_signal = SIGKILL;
    if (!msb_process_spawn(&spawn, &b->pid, &b->pidfd, error)) {
        b->pid = 0;
        return FALSE;
    }
    b->pid_source = g_unix_fd_add(b->pidfd, G_IO_IN, child_ended, b);
    b->ready_source = g_unix_fd_add(b->ready_fd, G_IO_IN, ready_readable, b);
    b->log_source = g_unix_fd_add(b->log_fd, G_IO_IN, log_readable, b);
    return TRUE;
}

gboolean
sv_backends_start(SvBackends *all, GError **error)
{
    for (guint i = 0; i < all->list->len; i++) {
        Backend *b = g_ptr_array_index(all->list, i);

        if (!start(b, error)) {
            g_prefix_error(error, "cannot start the back-end of '%s': ", called(b));
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- their ends ------------------------------------------------------------------------------------ */

static gboolean
may_restart(Backend *b)
{
    gint64 now = g_get_monotonic_time();

    if (b->device->kind != MSB_DEVICE_BLK || !b->all->all_ready || b->all->failed)
        return FALSE;
    if (now - b->restarts_since > SV_RESTARTS_SECONDS * G_USEC_PER_SEC) {
        b->restarts_since = now;
        b->restarts = 0;
    }
    return b->restarts++ < SV_RESTARTS_MAX;
}

static const char *
kind_name(const Backend *b)
{
    return b->device->kind == MSB_DEVICE_BLK ? "disk" : "file";
}

static void
report_end(Backend *b, int status)
{
    g_autofree char *how = msb_process_describe_status(status);
    g_autoptr(GError) error = NULL;
    SvBackends *all = b->all;

    if (b->ready && status == 0)
        g_set_error(&error, MSB_ERROR, MSB_ERROR_FAILED, "the %s back-end of '%s' left", kind_name(b), called(b));
    else
        g_set_error(&error, MSB_ERROR, MSB_ERROR_FAILED, "the %s back-end of '%s' %s: %s%s%s", kind_name(b),
                    called(b), b->ready ? "died" : "did not come up", how, b->last_line ? ": " : "",
                    b->last_line ? b->last_line : "");
    all->failed = TRUE;
    all->funcs->failed(error, b->ready && status == 0, all->data);
}

static void
check_all_stopped(SvBackends *all)
{
    for (guint i = 0; i < all->list->len; i++)
        if (((Backend *)g_ptr_array_index(all->list, i))->pid)
            return;
    if (all->kill_timer)
        g_source_remove(all->kill_timer);
    all->kill_timer = 0;
    all->funcs->stopped(all->data);
}

static void
forget_child(Backend *b)
{
    if (b->pid_source)
        g_source_remove(b->pid_source);
    b->pid_source = 0;
    mb_close(mb_steal_fd(&b->pidfd));
    b->pid = 0;
    /* What it said last may still be unread. */
    read_ready(b);
    close_ready(b);
    if (b->resize)
        sv_resize_lost(b->resize);
    if (b->log_fd >= 0 && !read_log(b))
        take_line(b);
    close_log(b);
}

static gboolean
child_ended(gint fd, GIOCondition condition, gpointer data)
{
    Backend *b = data;
    SvBackends *all = b->all;
    g_autoptr(GError) error = NULL;
    int status;

    if (!msb_process_reap(b->pid, b->pidfd, 0, &status, NULL))
        return G_SOURCE_CONTINUE;
    b->pid_source = 0;
    forget_child(b);
    if (all->stopping) {
        check_all_stopped(all);
    } else if (may_restart(b)) {
        g_autofree char *how = msb_process_describe_status(status);

        sv_warn("the back-end of '%s' ended (%s), starting it again (%u of %u)", called(b), how, b->restarts,
                SV_RESTARTS_MAX);
        if (!start(b, &error)) {
            sv_warn("%s", error->message);
            report_end(b, status);
        }
    } else if (!all->failed) {
        report_end(b, status);
    }
    return G_SOURCE_REMOVE;
}

static void
signal_all(SvBackends *all, int sig)
{
    for (guint i = 0; i < all->list->len; i++) {
        const Backend *b = g_ptr_array_index(all->list, i);

        if (b->pid)
            kill(b->pid, sig);
    }
}

static gboolean
kill_all(gpointer data)
{
    SvBackends *all = data;

    all->kill_timer = 0;
    sv_warn("a back-end ignored SIGTERM for %u ms, killing it", SV_BACKEND_END_MS);
    signal_all(all, SIGKILL);
    return G_SOURCE_REMOVE;
}

static gboolean
stopped_at_once(gpointer data)
{
    check_all_stopped(data);
    return G_SOURCE_REMOVE;
}

void
sv_backends_stop(SvBackends *all)
{
    if (all->stopping)
        return;
    all->stopping = TRUE;
    all->failed = TRUE;
    signal_all(all, SIGTERM);
    all->kill_timer = g_timeout_add(SV_BACKEND_END_MS, kill_all, all);
    for (guint i = 0; i < all->list->len; i++)
        if (((Backend *)g_ptr_array_index(all->list, i))->pid)
            return;
    g_idle_add(stopped_at_once, all);
}

/* Before it is ready the signal would end it. */
gboolean
sv_backends_reload(SvBackends *all, const char *id)
{
    for (guint i = 0; i < all->list->len; i++) {
        Backend *b = g_ptr_array_index(all->list, i);

        if (b->device->kind != MSB_DEVICE_BLK || strcmp(b->device->id, id) != 0)
            continue;
        b->reload = !b->ready || !b->pid;
        if (!b->reload)
            kill(b->pid, SIGHUP);
        return TRUE;
    }
    return FALSE;
}

int
sv_backends_grow(SvBackends *all, const char *id, const char *size)
{
    for (guint i = 0; i < all->list->len; i++) {
        Backend *b = g_ptr_array_index(all->list, i);

        if (!b->resize || strcmp(b->device->id, id) != 0)
            continue;
        if (!b->ready || !b->pid || !sv_resize_ask(b->resize, size))
            return -EBUSY;
        kill(b->pid, SIGHUP);
        return 0;
    }
    return -ENODEV;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static void
backend_free(gpointer data)
{
    Backend *b = data;
    int status;

    if (b->pid) {
        kill(b->pid, SIGKILL);
        (void)msb_process_reap(b->pid, b->pidfd, -1, &status, NULL);
    }
    forget_child(b);
    sv_resize_free(b->resize);
    mb_close(b->journal_fd);
    g_string_free(b->line, TRUE);
    g_free(b->last_line);
    g_free(b);
}

SvBackends *
sv_backends_new(const MsbPlan *plan, const SvBackendsFuncs *funcs, gpointer data)
{
    SvBackends *all = g_new0(SvBackends, 1);

    all->funcs = funcs;
    all->data = data;
    all->list = g_ptr_array_new_with_free_func(backend_free);
    for (guint i = 0; i < plan->devices->len; i++) {
        Backend *b = g_new0(Backend, 1);

        b->all = all;
        b->device = g_ptr_array_index(plan->devices, i);
        b->pidfd = b->ready_fd = b->log_fd = b->journal_fd = -1;
        if (b->device->can_grow)
            b->resize = sv_resize_new(b->device->id, funcs->resized, data);
        b->line = g_string_new(NULL);
        b->limit = (struct mb_ratelimit)MB_RATELIMIT_INIT(200, 10000);
        g_ptr_array_add(all->list, b);
    }
    return all;
}

void
sv_backends_free(SvBackends *all)
{
    if (!all)
        return;
    if (all->kill_timer)
        g_source_remove(all->kill_timer);
    g_ptr_array_unref(all->list);
    g_free(all);
}

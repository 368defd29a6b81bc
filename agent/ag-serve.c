/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent at work: frames on session 0, signals and children, stopping.
 *
 * Stopping: SIGTERM to everything, wait for the last child or the grace, SIGKILL
 * to everything, wait again (bounded), done.  As PID 1 "everything" is every
 * process; in a test run only the commands are.
 */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

#define MS UINT64_C(1000000)
/* From SIGKILL to giving up, and from the last process to the last output. */
#define KILL_MS 2000
#define LAST_OUTPUT_MS 500
/* For the host to take the last frames. */
#define GOODBYE_MS 2000
#define SIGNAL_GRACE_MS 10000

void
ag_log(struct ag_agent *a, int level, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    struct mp_enc *e;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (!a->conn.up) {
        fprintf(stderr, "msb-agent: %s\n", text);
        return;
    }
    e = ag_conn_out(&a->conn);
    mp_enc_begin(e, MP_LOG, 0, 0);
    mp_put_u8(e, (uint8_t)level);
    mp_put_str(e, text);
    if (mp_enc_end(e) < 0)
        fprintf(stderr, "msb-agent: %s\n", text);
}

/* ---- stopping --------------------------------------------------------------------- */

static void
kill_all(struct ag_agent *a, int signo)
{
    if (a->mode == AG_MODE_INIT)
        kill(-1, signo);
    else
        ag_sessions_signal(&a->sessions, signo, false);
}

static void
reap(struct ag_agent *a)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (!ag_sessions_reaped(&a->sessions, pid, status) && !ag_grow_reaped(&a->grow, pid))
            ag_console_reaped(&a->console, pid);
    }
    if (!a->stopping || a->last_output || pid == 0 || errno != ECHILD)
        return;
    a->last_output = true;
    ag_timer_arm(&a->loop, &a->shutdown, LAST_OUTPUT_MS * MS);
}

static void
shutdown_timer(struct ag_timer *t)
{
    struct ag_agent *a = MB_CONTAINER_OF(t, struct ag_agent, shutdown);

    if (a->killed || a->last_output) {
        a->finished = true;
        return;
    }
    a->killed = true;
    kill_all(a, SIGKILL);
    ag_timer_arm(&a->loop, t, KILL_MS * MS);
    reap(a);
}

void
ag_serve_stop(struct ag_agent *a, uint32_t grace_ms, bool reboot)
{
    if (!a->stopping) {
        a->stopping = true;
        a->reboot = reboot;
        a->sessions.closing = true;
        kill_all(a, SIGTERM);
        kill_all(a, SIGCONT);
        /* Interactive shells ignore SIGTERM. */
        ag_sessions_signal(&a->sessions, SIGHUP, true);
        if (a->console.shell > 0)
            kill(-a->console.shell, SIGHUP);
    }
    if (!a->killed && !a->last_output)
        ag_timer_arm(&a->loop, &a->shutdown, grace_ms * MS);
    reap(a);
}

/* ---- frames ----------------------------------------------------------------------- */

static void
send_hello(struct ag_agent *a)
{
    struct mp_enc *e = ag_conn_out(&a->conn);

    mp_enc_begin(e, MP_HELLO, 0, 0);
    mp_put_u32(e, MP_VERSION);
    if (mp_enc_end(e) == 0 && a->booted)
        mp_ready_encode(e, &a->ready);
}

static void
report_failure(struct ag_agent *a, const struct ag_error *e)
{
    struct mp_boot_failed f = {
        .stage = e->stage,
        .error = (uint32_t)e->error,
        .object = (char *)e->object,
        .message = (char *)e->message,
    };

    fprintf(stderr, "msb-agent: boot failed (%s, \"%s\"): %s%s%s\n", mp_stage_name(e->stage), e->object,
            e->message, e->error ? ": " : "", e->error ? strerror(e->error) : "");
    mp_boot_failed_encode(ag_conn_out(&a->conn), &f);
    a->finished = true;
}

/* Keep what the boot frame says about commands. */
static void
keep_defaults(struct ag_defaults *d, struct mp_boot *m)
{
    d->env = mb_steal_ptr(&m->env);
    d->user = mb_steal_ptr(&m->user);
    d->workdir = mb_steal_ptr(&m->workdir);
    d->shell = mb_steal_ptr(&m->shell);
    d->restricted = (m->flags & MP_BOOT_RESTRICTED) != 0;
}

static void
frame_boot(struct ag_agent *a, const uint8_t *payload, size_t n)
{
    struct ag_error error = { .stage = MP_STAGE_PROTOCOL };
    struct mp_boot m = { 0 };
    int r;

    if (a->booted) {
        ag_log(a, LOG_WARNING, "a second boot frame is ignored");
        return;
    }
    a->ready.boot_ns = ag_now_ns();
    r = mp_boot_decode(&m, payload, n);
    if (r < 0)
        ag_fail(&error, -r, "boot frame", "The boot frame cannot be decoded");
    else if (a->mode == AG_MODE_INIT)
        r = ag_boot_system(a, &m, &error);
    if (r < 0) {
        report_failure(a, &error);
    } else {
        keep_defaults(&a->defaults, &m);
        a->booted = true;
        a->ready.ready_ns = ag_now_ns();
        mp_ready_encode(ag_conn_out(&a->conn), &a->ready);
        if (a->mode == AG_MODE_INIT)
            ag_boot_later(a);
    }
    mp_boot_clear(&m);
}

static int
frame_shutdown(struct ag_agent *a, const uint8_t *payload, size_t n)
{
    struct mp_dec d;
    uint32_t grace;
    uint8_t how;
    int r;

    mp_dec_init(&d, payload, n);
    grace = mp_get_u32(&d);
    how = mp_get_u8(&d);
    r = mp_dec_end(&d);
    if (r == 0)
        ag_serve_stop(a, grace, how == MP_SHUTDOWN_REBOOT);
    return r;
}

static int
on_frame(struct ag_conn *c, const struct mp_header *h, const uint8_t *payload)
{
    struct ag_agent *a = MB_CONTAINER_OF(c, struct ag_agent, conn);

    switch (h->type) {
    case MP_BOOT:
        frame_boot(a, payload, h->length);
        return 0;
    case MP_SHUTDOWN:
        return frame_shutdown(a, payload, h->length);
    case MP_PING:
        return mp_raw_encode(ag_conn_out(c), MP_PONG, h->session, payload, h->length);
    default:
        if (a->booted)
            ag_sessions_frame(&a->sessions, h, payload);
        else
            ag_sessions_refuse(&a->sessions, h);
        return 0;
    }
}

static void
on_down(struct ag_conn *c, int error)
{
    struct ag_agent *a = MB_CONTAINER_OF(c, struct ag_agent, conn);

    if (error < 0)
        fprintf(stderr, "msb-agent: the connection to the host broke: %s\n", strerror(-error));
    ag_sessions_drop(&a->sessions);
    /* Without frame boundaries nothing can be served any more. */
    if (a->mode == AG_MODE_SERVE || error < 0)
        ag_serve_stop(a, 0, false);
}

static void
on_came(struct ag_conn *c)
{
    send_hello(MB_CONTAINER_OF(c, struct ag_agent, conn));
}

static void
on_drained(struct ag_conn *c)
{
    ag_sessions_resume(&MB_CONTAINER_OF(c, struct ag_agent, conn)->sessions);
}

/* ---- signals ---------------------------------------------------------------------- */

/* What the poweroff, halt and reboot programs of busybox, sysvinit and systemd send to PID 1. */
static void
stop_signal(struct ag_agent *a, int signo)
{
    bool reboot = signo == SIGTERM || signo == SIGINT || signo == SIGRTMIN + 5;

    ag_serve_stop(a, SIGNAL_GRACE_MS, reboot);
}

static void
signal_event(struct ag_watch *w, uint32_t events)
{
    struct ag_agent *a = MB_CONTAINER_OF(w, struct ag_agent, signals);
    struct signalfd_siginfo si;

    while (read(w->fd, &si, sizeof(si)) == sizeof(si)) {
        if (si.ssi_signo == SIGCHLD)
            reap(a);
        else
            stop_signal(a, (int)si.ssi_signo);
    }
}

static int
watch_signals(struct ag_agent *a)
{
    static const int stops[] = { SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGPWR };
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < MB_ARRAY_SIZE(stops); i++)
        sigaddset(&set, stops[i]);
    for (int i = 3; i <= 5; i++)
        sigaddset(&set, SIGRTMIN + i);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -errno;
    a->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    a->signals.cb = signal_event;
    return a->signals.fd < 0 ? -errno : ag_watch_set(&a->loop, &a->signals, EPOLLIN);
}

/* ---- the loop --------------------------------------------------------------------- */

static void
clear(struct ag_agent *a)
{
    ag_sessions_drop(&a->sessions);
    ag_sessions_sweep(&a->sessions);
    ag_watch_close(&a->loop, &a->signals);
    ag_grow_clear(&a->grow, &a->loop);
    ag_conn_clear(&a->conn);
    ag_loop_clear(&a->loop);
    mp_strv_free(a->defaults.env);
    free(a->defaults.user);
    free(a->defaults.workdir);
    free(a->defaults.shell);
}

int
ag_serve(struct ag_agent *a, int fd)
{
    int r;

    a->conn.frame = on_frame;
    a->conn.down = on_down;
    a->conn.came = on_came;
    a->conn.drained = on_drained;
    a->shutdown.cb = shutdown_timer;
    a->sessions.loop = &a->loop;
    a->sessions.conn = &a->conn;
    a->sessions.defaults = &a->defaults;
    a->ready.agent_version = (char *)PACKAGE_VERSION;
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    r = ag_loop_init(&a->loop);
    if (r == 0)
        r = watch_signals(a);
    if (r == 0)
        r = ag_conn_init(&a->conn, &a->loop, fd);
    while (r == 0 && !a->finished) {
        r = ag_loop_once(&a->loop);
        ag_sessions_sweep(&a->sessions);
        ag_conn_flush(&a->conn);
        if (a->last_output && a->sessions.count == 0)
            a->finished = true;
    }
    ag_conn_finish(&a->conn, GOODBYE_MS);
    clear(a);
    return r;
}

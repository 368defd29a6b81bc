/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands: started, watched, ended.
 *
 * A session is over when its command has exited and its output was read to the
 * end.  Something that the command left running may hold the output open: then
 * the session ends AG_DRAIN_MS after the command, with what is in the pipe by
 * then.  Sessions that are over stay in memory until the end of the round,
 * because events for them may already be fetched.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ag-session.h"
#include "mb-cleanup.h"

static struct ag_session *
find(struct ag_sessions *all, uint32_t id)
{
    struct ag_session *s = all->bucket[id % AG_BUCKETS];

    while (s && s->id != id)
        s = s->next;
    return s;
}

/* Take it out of the table; its memory goes at the end of the round. */
static void
session_end(struct ag_session *s)
{
    struct ag_sessions *all = s->all;
    struct ag_session **p = &all->bucket[s->id % AG_BUCKETS];

    while (*p && *p != s)
        p = &(*p)->next;
    if (!*p)
        return;
    *p = s->next;
    all->count--;
    ag_watch_close(all->loop, &s->error);
    ag_watch_close(all->loop, &s->in);
    ag_watch_close(all->loop, &s->out[0].watch);
    ag_watch_close(all->loop, &s->out[1].watch);
    ag_timer_disarm(all->loop, &s->drain);
    s->next = all->dead;
    all->dead = s;
}

void
ag_sessions_sweep(struct ag_sessions *all)
{
    while (all->dead) {
        struct ag_session *s = all->dead;

        all->dead = s->next;
        free(s->in_buf);
        free(s);
    }
}

void
ag_session_kill(struct ag_session *s, int signo)
{
    if (s->exited || s->pid <= 0)
        return;
    /* Until the child has made its own session there is only itself. */
    if (kill(-s->pid, signo) < 0 && errno == ESRCH)
        kill(s->pid, signo);
}

void
ag_session_check(struct ag_session *s)
{
    bool signalled = WIFSIGNALED(s->status);

    if (!s->exited || !s->started || s->out[0].watch.fd >= 0 || s->out[1].watch.fd >= 0)
        return;
    mp_exited_encode(ag_conn_out(s->all->conn), s->id, signalled,
                     (uint32_t)(signalled ? WTERMSIG(s->status) : WEXITSTATUS(s->status)));
    session_end(s);
}

static void
drain_over(struct ag_timer *t)
{
    struct ag_session *s = MB_CONTAINER_OF(t, struct ag_session, drain);

    ag_stream_last_words(&s->out[0]);
    ag_stream_last_words(&s->out[1]);
}

static void
fail_exec(struct ag_sessions *all, uint32_t id, uint8_t kind, int error, const char *object)
{
    struct mp_exec_failed f = { .kind = kind, .error = (uint32_t)error, .object = (char *)object };

    mp_exec_failed_encode(ag_conn_out(all->conn), id, &f);
}

/* The error pipe: closed without a word, or the reason. */
static void
error_event(struct ag_watch *w, uint32_t events)
{
    struct ag_session *s = MB_CONTAINER_OF(w, struct ag_session, error);
    struct ag_exec_failure f = { 0 };
    ssize_t r = read(w->fd, &f, sizeof(f) - 1);
    struct mp_enc *e;

    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (r > (ssize_t)offsetof(struct ag_exec_failure, object)) {
        fail_exec(s->all, s->id, f.kind, (int)f.error, f.object);
        s->exited = true;
        session_end(s);
        return;
    }
    ag_watch_close(s->all->loop, w);
    s->started = true;
    e = ag_conn_out(s->all->conn);
    mp_enc_begin(e, MP_STARTED, s->id, 0);
    mp_put_u32(e, (uint32_t)s->pid);
    if (mp_enc_end(e) < 0)
        ag_session_kill(s, SIGKILL);
    ag_stream_update(&s->out[0]);
    ag_stream_update(&s->out[1]);
    ag_session_check(s);
}

/* ---- starting --------------------------------------------------------------------- */

/* One pipe; ours is the end that the agent keeps, non-blocking. */
static int
make_pipe(bool to_child, int *ours, int *theirs)
{
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        return -errno;
    *ours = p[to_child ? 1 : 0];
    *theirs = p[to_child ? 0 : 1];
    return fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int
open_stdio(struct ag_session *s, const struct mp_exec *m, struct ag_stdio *io)
{
    int r;

    if (m->tty) {
        r = ag_pty_open(m->rows, m->cols, &s->out[0].watch.fd, &io->tty);
        if (r < 0)
            return r;
        s->in.fd = fcntl(s->out[0].watch.fd, F_DUPFD_CLOEXEC, 3);
        return s->in.fd < 0 || fcntl(s->in.fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0 ? -errno : 0;
    }
    if (m->no_stdin) {
        io->fd[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        r = io->fd[0] < 0 ? -errno : 0;
    } else {
        r = make_pipe(true, &s->in.fd, &io->fd[0]);
    }
    if (r == 0)
        r = make_pipe(false, &s->out[0].watch.fd, &io->fd[1]);
    if (r == 0)
        r = make_pipe(false, &s->out[1].watch.fd, &io->fd[2]);
    return r;
}

static void
close_stdio(struct ag_stdio *io)
{
    mb_close(io->tty);
    for (int i = 0; i < 3; i++)
        mb_close(io->fd[i]);
}

/* Fork the child. On failure *kind says what could not be had. */
static int
session_fork(struct ag_session *s, const struct mp_exec *m, uint8_t *kind)
{
    struct ag_stdio io = { .tty = -1, .fd = { -1, -1, -1 } };
    mb_autofd int child_error = -1;
    int r = make_pipe(false, &s->error.fd, &child_error);

    *kind = MP_EXEC_NO_RESOURCES;
    if (r == 0) {
        r = open_stdio(s, m, &io);
        if (r < 0 && m->tty)
            *kind = MP_EXEC_PTY;
    }
    if (r == 0) {
        s->pid = fork();
        if (s->pid == 0)
            ag_exec_child(s->all->defaults, m, &io, child_error);
        if (s->pid < 0)
            r = -errno;
    }
    close_stdio(&io);
    if (r == 0)
        r = ag_watch_set(s->all->loop, &s->error, EPOLLIN);
    return r;
}

static void
session_start(struct ag_sessions *all, uint32_t id, const struct mp_exec *m)
{
    struct ag_session *s;
    uint8_t kind;
    int r;

    if (all->closing) {
        fail_exec(all, id, MP_EXEC_SHUTTING_DOWN, ESHUTDOWN, "");
        return;
    }
    s = all->count < MP_SESSIONS_MAX ? calloc(1, sizeof(*s)) : NULL;
    if (!s) {
        fail_exec(all, id, MP_EXEC_NO_RESOURCES, all->count < MP_SESSIONS_MAX ? ENOMEM : EAGAIN, "session");
        return;
    }
    s->all = all;
    s->id = id;
    s->tty = m->tty;
    s->error.fd = -1;
    s->error.cb = error_event;
    s->drain.cb = drain_over;
    ag_stream_init(s);
    s->next = all->bucket[id % AG_BUCKETS];
    all->bucket[id % AG_BUCKETS] = s;
    all->count++;
    r = session_fork(s, m, &kind);
    if (r < 0) {
        fail_exec(all, id, kind, -r, m->argv && m->argv[0] ? m->argv[0] : "");
        ag_session_kill(s, SIGKILL);
        session_end(s);
    }
}

/* ---- frames ----------------------------------------------------------------------- */

static void
frame_exec(struct ag_sessions *all, uint32_t id, const uint8_t *payload, size_t n)
{
    struct mp_exec m = { 0 };
    int r = mp_exec_decode(&m, payload, n);

    if (r < 0) {
        fail_exec(all, id, r == -ENOMEM ? MP_EXEC_NO_RESOURCES : MP_EXEC_BAD_ARGS, -r, "");
        return;
    }
    session_start(all, id, &m);
    mp_exec_clear(&m);
}

/* Frames for a session that exists. */
static int
frame_session(struct ag_session *s, const struct mp_header *h, const uint8_t *payload)
{
    struct mp_dec d;
    uint32_t value;
    uint16_t rows, cols;
    uint8_t stream;
    int r;

    mp_dec_init(&d, payload, h->length);
    switch (h->type) {
    case MP_STDIN:
        return ag_stream_stdin(s, payload, h->length);
    case MP_STDIN_EOF:
        ag_stream_stdin_eof(s);
        return 0;
    case MP_RESIZE:
        rows = mp_get_u16(&d);
        cols = mp_get_u16(&d);
        r = mp_dec_end(&d);
        if (r == 0 && s->tty && s->out[0].watch.fd >= 0)
            ag_pty_resize(s->out[0].watch.fd, rows, cols);
        return r;
    case MP_SIGNAL:
        value = mp_get_u32(&d);
        r = mp_dec_end(&d);
        if (r == 0 && value > 0 && value < (uint32_t)NSIG)
            ag_session_kill(s, (int)value);
        return r;
    case MP_CREDIT:
        r = mp_credit_decode(payload, h->length, &stream, &value);
        if (r == 0)
            ag_stream_credit(s, stream, value);
        return r;
    default:
        return 0;
    }
}

void
ag_sessions_frame(struct ag_sessions *all, const struct mp_header *h, const uint8_t *payload)
{
    struct ag_session *s = find(all, h->session);

    if (h->type == MP_EXEC && !s && h->session != 0)
        frame_exec(all, h->session, payload, h->length);
    else if (s && (h->type == MP_EXEC || frame_session(s, h, payload) < 0))
        ag_session_kill(s, SIGKILL);
}

void
ag_sessions_refuse(struct ag_sessions *all, const struct mp_header *h)
{
    if (h->type == MP_EXEC)
        fail_exec(all, h->session, MP_EXEC_OTHER, EAGAIN, "");
}

/* ---- all of them ------------------------------------------------------------------ */

bool
ag_sessions_reaped(struct ag_sessions *all, pid_t pid, int status)
{
    for (unsigned i = 0; i < AG_BUCKETS; i++) {
        for (struct ag_session *s = all->bucket[i]; s; s = s->next) {
            if (s->pid != pid || s->exited)
                continue;
            s->exited = true;
            s->status = status;
            ag_timer_arm(all->loop, &s->drain, AG_DRAIN_MS * UINT64_C(1000000));
            ag_session_check(s);
            return true;
        }
    }
    return false;
}

void
ag_sessions_signal(struct ag_sessions *all, int signo, bool terminals)
{
    for (unsigned i = 0; i < AG_BUCKETS; i++) {
        for (struct ag_session *s = all->bucket[i]; s; s = s->next) {
            if (s->tty || !terminals)
                ag_session_kill(s, signo);
        }
    }
}

void
ag_sessions_drop(struct ag_sessions *all)
{
    for (unsigned i = 0; i < AG_BUCKETS; i++) {
        while (all->bucket[i]) {
            ag_session_kill(all->bucket[i], SIGKILL);
            session_end(all->bucket[i]);
        }
    }
}

void
ag_sessions_resume(struct ag_sessions *all)
{
    for (unsigned i = 0; i < AG_BUCKETS; i++) {
        for (struct ag_session *s = all->bucket[i]; s; s = s->next) {
            ag_stream_update(&s->out[0]);
            ag_stream_update(&s->out[1]);
        }
    }
}

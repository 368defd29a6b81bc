/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of a command.  Output is read only while the host has given credit
 * for it and the connection has room, so a command that writes faster than its
 * reader reads is stopped by its own full pipe.  Input is kept in a buffer of at
 * most MP_WINDOW bytes and credited as the command takes it.
 */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "ag-session.h"

/* ---- output --------------------------------------------------------------------- */

void
ag_stream_update(struct ag_stream *st)
{
    struct ag_session *s = st->session;
    bool on = s->started && st->credit > 0 && !ag_conn_congested(s->all->conn);

    ag_watch_set(s->all->loop, &st->watch, on ? EPOLLIN : 0);
}

static void
stream_close(struct ag_stream *st)
{
    ag_watch_close(st->session->all->loop, &st->watch);
    ag_session_check(st->session);
}

static void
stream_event(struct ag_watch *w, uint32_t events)
{
    struct ag_stream *st = MB_CONTAINER_OF(w, struct ag_stream, watch);
    uint8_t buf[MP_DATA_MAX];
    size_t max = MB_MIN(st->credit, sizeof(buf));
    ssize_t r;

    if (st->last_words)
        max = MB_MIN(max, st->left);
    r = read(w->fd, buf, max);
    if (r < 0 && (errno == EAGAIN || errno == EINTR) && !st->last_words)
        return;
    if (r <= 0) {
        /* End of file; a PTY says EIO when its last slave is closed. */
        stream_close(st);
        return;
    }
    if (mp_raw_encode(ag_conn_out(st->session->all->conn), st->type, st->session->id, buf, (size_t)r) < 0) {
        ag_session_kill(st->session, SIGKILL);
        stream_close(st);
        return;
    }
    st->credit -= (uint32_t)r;
    if (st->last_words) {
        st->left -= (uint32_t)r;
        if (st->left == 0) {
            stream_close(st);
            return;
        }
    }
    ag_stream_update(st);
}

void
ag_stream_last_words(struct ag_stream *st)
{
    int n = 0;

    if (st->watch.fd < 0)
        return;
    if (ioctl(st->watch.fd, FIONREAD, &n) < 0 || n <= 0) {
        stream_close(st);
        return;
    }
    st->last_words = true;
    st->left = (uint32_t)n;
    ag_stream_update(st);
}

void
ag_stream_credit(struct ag_session *s, uint8_t number, uint32_t bytes)
{
    struct ag_stream *st;

    if (number != 1 && number != 2)
        return;
    st = &s->out[number - 1];
    st->credit = bytes > MP_WINDOW - st->credit ? MP_WINDOW : st->credit + bytes;
    ag_stream_update(st);
}

/* ---- input ---------------------------------------------------------------------- */

static void
input_credit(struct ag_session *s, size_t n)
{
    s->in_owed += (uint32_t)n;
    if (s->in_owed > 0 && (s->in_owed >= MP_WINDOW / 4 || s->in_done == s->in_len)) {
        mp_credit_encode(ag_conn_out(s->all->conn), s->id, 0, s->in_owed);
        s->in_owed = 0;
    }
}

static void
input_close(struct ag_session *s)
{
    size_t waiting = s->in_len - s->in_done;

    ag_watch_close(s->all->loop, &s->in);
    s->in_done = s->in_len = 0;
    input_credit(s, waiting);
}

/* End of input on a terminal is its end-of-file character, as if typed: twice when a line is unfinished. */
static void
input_type_eof(struct ag_session *s)
{
    struct termios t;

    if (tcgetattr(s->in.fd, &t) == 0 && (t.c_lflag & ICANON) && t.c_cc[VEOF]) {
        uint8_t eof[2] = { t.c_cc[VEOF], t.c_cc[VEOF] };
        size_t n = s->in_last == '\n' || s->in_last == 0 ? 1 : 2;

        if (write(s->in.fd, eof, n) < 0)
            return;
    }
}

static void
input_pump(struct ag_session *s)
{
    while (s->in.fd >= 0 && s->in_done < s->in_len) {
        ssize_t r = write(s->in.fd, s->in_buf + s->in_done, s->in_len - s->in_done);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 && errno == EAGAIN)
            break;
        if (r <= 0) {
            input_close(s);
            return;
        }
        s->in_done += (size_t)r;
        s->in_last = s->in_buf[s->in_done - 1];
        input_credit(s, (size_t)r);
    }
    if (s->in.fd < 0)
        return;
    if (s->in_done == s->in_len)
        s->in_done = s->in_len = 0;
    ag_watch_set(s->all->loop, &s->in, s->in_len > 0 ? EPOLLOUT : 0);
    if (s->in_eof && s->in_len == 0) {
        if (s->tty)
            input_type_eof(s);
        input_close(s);
    }
}

static void
input_event(struct ag_watch *w, uint32_t events)
{
    input_pump(MB_CONTAINER_OF(w, struct ag_session, in));
}

int
ag_stream_stdin(struct ag_session *s, const uint8_t *p, size_t n)
{
    if (s->in.fd < 0 || s->in_eof) {
        input_credit(s, n);
        return 0;
    }
    if (n > MP_WINDOW - (s->in_len - s->in_done))
        return -EPROTO;
    if (s->in_done > 0) {
        memmove(s->in_buf, s->in_buf + s->in_done, s->in_len - s->in_done);
        s->in_len -= s->in_done;
        s->in_done = 0;
    }
    if (s->in_len + n > s->in_cap) {
        uint8_t *buf = realloc(s->in_buf, s->in_len + n);

        if (!buf)
            return -ENOMEM;
        s->in_buf = buf;
        s->in_cap = s->in_len + n;
    }
    if (n > 0)
        memcpy(s->in_buf + s->in_len, p, n);
    s->in_len += n;
    input_pump(s);
    return 0;
}

void
ag_stream_stdin_eof(struct ag_session *s)
{
    s->in_eof = true;
    input_pump(s);
}

void
ag_stream_init(struct ag_session *s)
{
    s->in.fd = -1;
    s->in.cb = input_event;
    for (int i = 0; i < 2; i++) {
        s->out[i].watch.fd = -1;
        s->out[i].watch.cb = stream_event;
        s->out[i].session = s;
        s->out[i].type = i == 0 ? MP_STDOUT : MP_STDERR;
        s->out[i].credit = MP_WINDOW;
    }
}

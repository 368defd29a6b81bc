/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection to the host: frames in, frames out, over a virtio-serial port
 * (or any stream socket in a test run).
 *
 * The port is watched edge-triggered, because without a host it is hung up all
 * the time: a level-triggered watch would spin.  Reading goes on until the port
 * is empty or too much waits to be written, writing until it is full.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

size_t
ag_conn_pending(const struct ag_conn *c)
{
    return c->out.len - c->out_done;
}

struct mp_enc *
ag_conn_out(struct ag_conn *c)
{
    if (c->out_done > 0 && c->out_done >= c->out.len / 2) {
        memmove(c->out.buf, c->out.buf + c->out_done, ag_conn_pending(c));
        c->out.len -= c->out_done;
        c->out.frame = c->out.len;
        c->out_done = 0;
    }
    return &c->out;
}

static void
conn_lost(struct ag_conn *c, int error)
{
    c->up = false;
    mp_reader_clear(&c->in);
    mp_enc_clear(&c->out);
    c->out_done = 0;
    c->congested = c->stalled = false;
    c->down(c, error);
}

bool
ag_conn_congested(struct ag_conn *c)
{
    if (ag_conn_pending(c) > AG_OUT_SOFT)
        c->congested = true;
    return c->congested;
}

/* Write what there is until the host has no room. */
static void
conn_write(struct ag_conn *c)
{
    while (c->up && ag_conn_pending(c) > 0) {
        ssize_t r = write(c->watch.fd, c->out.buf + c->out_done, ag_conn_pending(c));

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 && errno == EAGAIN)
            break;
        if (r <= 0) {
            conn_lost(c, r < 0 && errno != EPIPE ? -errno : 0);
            return;
        }
        c->out_done += (size_t)r;
    }
    if (ag_conn_pending(c) == 0) {
        c->out.len = c->out.frame = 0;
        c->out_done = 0;
    }
    if (c->congested && ag_conn_pending(c) <= AG_OUT_SOFT / 2) {
        c->congested = false;
        c->drained(c);
    }
}

/* Hand over the frames that are complete. */
static int
conn_frames(struct ag_conn *c)
{
    struct mp_header h;
    const uint8_t *payload;
    int r;

    while (c->up && ag_conn_pending(c) < AG_OUT_HARD && (r = mp_reader_next(&c->in, &h, &payload)) != 0) {
        if (r < 0)
            return r;
        r = c->frame(c, &h, payload);
        if (r < 0)
            return r;
    }
    return 0;
}

static void
conn_read(struct ag_conn *c)
{
    for (;;) {
        size_t space;
        uint8_t *to;
        ssize_t r;
        int e = conn_frames(c);

        if (e < 0) {
            conn_lost(c, e);
            return;
        }
        if (!c->up)
            return;
        if (ag_conn_pending(c) >= AG_OUT_HARD) {
            c->stalled = true;
            return;
        }
        to = mp_reader_space(&c->in, &space);
        if (!to) {
            conn_lost(c, -ENOMEM);
            return;
        }
        r = read(c->watch.fd, to, space);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 && errno == EAGAIN)
            return;
        if (r <= 0) {
            conn_lost(c, r < 0 && errno != ECONNRESET && errno != EPIPE ? -errno : 0);
            return;
        }
        mp_reader_added(&c->in, (size_t)r);
    }
}

void
ag_conn_flush(struct ag_conn *c)
{
    for (;;) {
        conn_write(c);
        if (!c->up || !c->stalled || ag_conn_pending(c) > AG_OUT_SOFT)
            break;
        c->stalled = false;
        conn_read(c);
    }
}

static void
conn_event(struct ag_watch *w, uint32_t events)
{
    struct ag_conn *c = MB_CONTAINER_OF(w, struct ag_conn, watch);

    if (!c->up) {
        if (events & (EPOLLHUP | EPOLLERR))
            return;
        c->up = true;
        c->came(c);
    }
    conn_write(c);
    if (c->up)
        conn_read(c);
    ag_conn_flush(c);
}

int
ag_conn_init(struct ag_conn *c, struct ag_loop *l, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    c->loop = l;
    c->watch.fd = fd;
    c->watch.cb = conn_event;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return ag_watch_set(l, &c->watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

void
ag_conn_clear(struct ag_conn *c)
{
    ag_watch_close(c->loop, &c->watch);
    mp_reader_clear(&c->in);
    mp_enc_clear(&c->out);
}

void
ag_conn_finish(struct ag_conn *c, int timeout_ms)
{
    uint64_t now, end = ag_now_ns() + (uint64_t)timeout_ms * 1000000u;

    while (c->up && ag_conn_pending(c) > 0 && (now = ag_now_ns()) < end) {
        struct pollfd p = { .fd = c->watch.fd, .events = POLLOUT };

        if (poll(&p, 1, (int)((end - now) / 1000000) + 1) <= 0 || (p.revents & (POLLHUP | POLLERR)))
            return;
        conn_write(c);
    }
}

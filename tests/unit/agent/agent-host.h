/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's side of the agent protocol for tests: blocking, with a deadline on
 * every wait, one command at a time or frame by frame.
 */
#ifndef AGENT_HOST_H
#define AGENT_HOST_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mp-msg.h"

struct host {
    int fd;
    int timeout_ms;
    struct mp_reader in;
};

static inline int
host_send(struct host *h, struct mp_enc *e)
{
    size_t done = 0;
    int error = 0;

    while (!error && done < e->len) {
        struct pollfd p = { .fd = h->fd, .events = POLLOUT };
        ssize_t r = poll(&p, 1, h->timeout_ms) > 0 ? write(h->fd, e->buf + done, e->len - done) : 0;

        if (r > 0)
            done += (size_t)r;
        else if (r == 0)
            error = -ETIMEDOUT;
        else if (errno != EINTR && errno != EAGAIN)
            error = -errno;
    }
    mp_enc_clear(e);
    return error;
}

/* The next frame: 1, or 0 at the end of the stream, or -errno (-ETIMEDOUT). */
static inline int
host_next(struct host *h, struct mp_header *head, const uint8_t **payload)
{
    for (;;) {
        struct pollfd p = { .fd = h->fd, .events = POLLIN };
        int r = mp_reader_next(&h->in, head, payload);
        size_t space;
        uint8_t *to;
        ssize_t n;

        if (r != 0)
            return r;
        to = mp_reader_space(&h->in, &space);
        if (!to)
            return -ENOMEM;
        r = poll(&p, 1, h->timeout_ms);
        if (r == 0)
            return -ETIMEDOUT;
        n = read(h->fd, to, space);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0 && errno != ECONNRESET)
            return -errno;
        if (n <= 0)
            return 0;
        mp_reader_added(&h->in, (size_t)n);
    }
}

/* How a command ended. */
struct host_result {
    char *out, *err;        /* NUL-terminated besides */
    size_t out_len, err_len;
    uint32_t pid;
    bool failed;            /* EXEC_FAILED: */
    uint8_t kind;
    uint32_t error;
    char object[256];
    bool signalled;         /* EXITED: */
    uint32_t code;
};

static inline void
host_result_clear(struct host_result *r)
{
    free(r->out);
    free(r->err);
    memset(r, 0, sizeof(*r));
}

static inline int
host_append(char **to, size_t *len, const uint8_t *p, size_t n)
{
    char *buf = realloc(*to, *len + n + 1);

    if (!buf)
        return -ENOMEM;
    memcpy(buf + *len, p, n);
    *len += n;
    buf[*len] = '\0';
    *to = buf;
    return 0;
}

static inline int
host_simple(struct host *h, uint16_t type, uint32_t session, const void *p, size_t n)
{
    struct mp_enc e = { 0 };

    mp_raw_encode(&e, type, session, p, n);
    return host_send(h, &e);
}

static inline int
host_exec(struct host *h, uint32_t session, const struct mp_exec *m)
{
    struct mp_enc e = { 0 };
    int r = mp_exec_encode(&e, session, m);

    return r < 0 ? r : host_send(h, &e);
}

static inline int
host_credit(struct host *h, uint32_t session, uint8_t stream, uint32_t bytes)
{
    struct mp_enc e = { 0 };

    mp_credit_encode(&e, session, stream, bytes);
    return host_send(h, &e);
}

static inline int
host_signal(struct host *h, uint32_t session, uint32_t signo)
{
    struct mp_enc e = { 0 };

    mp_enc_begin(&e, MP_SIGNAL, session, 0);
    mp_put_u32(&e, signo);
    return mp_enc_end(&e) < 0 ? -EMSGSIZE : host_send(h, &e);
}

/* Take one frame of the session in: 1 = it is over, 0 = it goes on. Credit is given back at once, if anybody
 * is there to take it. */
static inline int
host_take(struct host *h, uint32_t session, const struct mp_header *head, const uint8_t *p, struct host_result *r)
{
    struct mp_exec_failed f = { 0 };
    int x;

    if (head->session != session)
        return 0;
    switch (head->type) {
    case MP_STARTED:
        r->pid = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        return 0;
    case MP_STDOUT:
    case MP_STDERR:
        x = head->type == MP_STDOUT ? host_append(&r->out, &r->out_len, p, head->length)
                                    : host_append(&r->err, &r->err_len, p, head->length);
        (void)host_credit(h, session, head->type == MP_STDOUT ? 1 : 2, head->length);
        return x;
    case MP_EXEC_FAILED:
        x = mp_exec_failed_decode(&f, p, head->length);
        r->failed = true;
        r->kind = f.kind;
        r->error = f.error;
        strncpy(r->object, f.object ? f.object : "", sizeof(r->object) - 1);
        mp_exec_failed_clear(&f);
        return x < 0 ? x : 1;
    case MP_EXITED:
        x = mp_exited_decode(p, head->length, &r->signalled, &r->code);
        return x < 0 ? x : 1;
    default:
        return 0;
    }
}

/* Read until the session is over: 0 or -errno; -EPIPE when the stream ended first. */
static inline int
host_finish(struct host *h, uint32_t session, struct host_result *r)
{
    for (;;) {
        struct mp_header head;
        const uint8_t *payload;
        int x = host_next(h, &head, &payload);

        if (x == 0)
            return -EPIPE;
        if (x > 0)
            x = host_take(h, session, &head, payload, r);
        if (x < 0)
            return x;
        if (x == 1)
            return 0;
    }
}

static inline int
host_shutdown(struct host *h, uint32_t grace_ms, uint8_t how)
{
    struct mp_enc e = { 0 };

    mp_enc_begin(&e, MP_SHUTDOWN, 0, 0);
    mp_put_u32(&e, grace_ms);
    mp_put_u8(&e, how);
    return mp_enc_end(&e) < 0 ? -EMSGSIZE : host_send(h, &e);
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The toy device, see toy.h. */
#include <config.h>

#include "toy.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mb-iov.h"
#include "mb-overflow.h"

#define HELD_MAX 1024

/* Per queue: requests under way, in order of arrival. */
struct toy_queue {
    struct vh_req held[HELD_MAX];
    struct iovec iov[HELD_MAX][64];
    unsigned n_held;
    struct vh_req req;
    struct iovec req_iov[VH_REQ_MAX_IOV];
};

static void
complete(struct toy *t, struct vh_queue *q, struct vh_req *req, unsigned number)
{
    char buf[4096];
    size_t len = mb_iov_to_buf(vh_req_out(req), req->n_out, 0, buf, sizeof(buf));

    if (t->stamp && len > 0)
        buf[0] = (char)number;
    len = mb_iov_from_buf(vh_req_in(req), req->n_in, 0, buf, len);
    vh_queue_push(q, req, (uint32_t)len);
}

static void
release_held(struct toy *t, struct vh_queue *q)
{
    struct toy_queue *tq = vh_queue_data(q);
    unsigned i;

    /* Last in, first out: completions out of order. */
    for (i = tq->n_held; i > 0; i--)
        complete(t, q, &tq->held[i - 1], i - 1);
    tq->n_held = 0;
}

static void
hold(struct toy_queue *tq)
{
    struct vh_req *h = &tq->held[tq->n_held];

    *h = tq->req;
    h->iov = tq->iov[tq->n_held];
    memcpy(h->iov, tq->req.iov, (size_t)(h->n_out + h->n_in) * sizeof(*h->iov));
    tq->n_held++;
}

static void
toy_process(void *opaque, struct vh_queue *q)
{
    struct toy *t = opaque;
    struct toy_queue *tq = vh_queue_data(q);

    for (;;) {
        char first = 0;

        tq->req.iov = tq->req_iov;
        tq->req.iov_cap = VH_REQ_MAX_IOV;
        if (vh_queue_pop(q, &tq->req) <= 0)
            return;
        mb_iov_to_buf(vh_req_out(&tq->req), tq->req.n_out, 0, &first, 1);
        if (first == 'H' && tq->req.n_out + tq->req.n_in <= 64 && tq->n_held < HELD_MAX) {
            hold(tq);
            t->served++;
            continue;
        }
        if (first == 'B')
            vh_queue_break(q, "the request asked for it");
        complete(t, q, &tq->req, t->served++);
        if (first == 'R')
            release_held(t, q);
    }
}

static int
toy_queue_started(void *opaque, struct vh_queue *q, struct vh_loop *loop)
{
    struct toy *t = opaque;
    struct toy_queue *tq = calloc(1, sizeof(*tq));

    (void)loop;
    if (!tq)
        return -ENOMEM;
    vh_queue_set_data(q, tq);
    __atomic_fetch_add(&t->started, 1, __ATOMIC_RELAXED);
    return 0;
}

static void
toy_queue_stopped(void *opaque, struct vh_queue *q, struct vh_loop *loop)
{
    struct toy *t = opaque;

    (void)loop;
    release_held(t, q);
    free(vh_queue_data(q));
    vh_queue_set_data(q, NULL);
    __atomic_fetch_add(&t->stopped, 1, __ATOMIC_RELAXED);
}

static int
toy_get_config(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
    struct toy *t = opaque;

    if (!mb_range_within(offset, len, TOY_CONFIG_SIZE))
        return -EINVAL;
    memcpy(buf, t->config + offset, len);
    return 0;
}

static int
toy_set_config(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
    struct toy *t = opaque;

    if (!mb_range_within(offset, len, TOY_CONFIG_SIZE))
        return -EINVAL;
    memcpy(t->config + offset, buf, len);
    return 0;
}

static void
toy_reset(void *opaque)
{
    struct toy *t = opaque;

    t->resets++;
}

static const struct vh_dev_ops toy_ops = {
    .name = "toy",
    .features = 1,
    .max_queues = TOY_MAX_QUEUES,
    .get_config = toy_get_config,
    .set_config = toy_set_config,
    .queue_started = toy_queue_started,
    .queue_stopped = toy_queue_stopped,
    .process = toy_process,
    .reset = toy_reset,
};

static void *
serve(void *data)
{
    struct toy *t = data;

    t->result = vh_dev_serve(t->dev, t->loop, t->sock);
    return NULL;
}

int
toy_init(struct toy *t)
{
    t->dev = vh_dev_new(&toy_ops, t);
    return t->dev ? 0 : -1;
}

bool
toy_wait_served(const struct toy *t, unsigned n)
{
    struct timespec pause = {.tv_nsec = 100000};
    unsigned tries;

    for (tries = 0; tries < 100000; tries++) {
        if (t->served >= n)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

int
toy_start(struct toy *t)
{
    int pair[2];

    t->loop = vh_loop_new();
    if (toy_init(t) < 0 || !t->loop || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    t->sock = pair[1];
    if (pthread_create(&t->thread, NULL, serve, t) != 0)
        return -1;
    return pair[0];
}

int
toy_join(struct toy *t, bool quit)
{
    if (quit)
        vh_loop_quit(t->loop);
    pthread_join(t->thread, NULL);
    vh_loop_free(t->loop);
    vh_dev_free(t->dev);
    t->loop = NULL;
    t->dev = NULL;
    return t->result;
}

pid_t
toy_fork(int *sock, bool stamp)
{
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        struct toy t = {.sock = pair[1], .stamp = stamp};

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        t.loop = vh_loop_new();
        if (toy_init(&t) < 0 || !t.loop)
            _exit(1);
        serve(&t);
        vh_loop_free(t.loop);
        vh_dev_free(t.dev);
        _exit(t.result < 0);
    }
    close(pair[1]);
    *sock = pair[0];
    return pid;
}

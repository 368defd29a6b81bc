/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker of a queue: a thread with a loop that waits for kicks.  It exists
 * from vh_worker_start() to vh_worker_stop(), both on the protocol thread; the
 * queue's ring state belongs to it in between.
 */
#include <config.h>

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-log.h"
#include "vh-dev-priv.h"
#include "vh-queue-priv.h"

#define WORKER_STACK (512 * 1024)

/* What the starting thread and the new one share until the latter is up. */
struct start {
    struct vh_queue *q;
    sem_t up;
    int result;
};

static void
unwatch_kick(struct vh_queue *q)
{
    if (q->kick_watched)
        vh_loop_del(q->loop, q->kick_fd);
    q->kick_watched = false;
}

/* Process until the ring is empty, or the device wants to go on later.  One that takes
 * nothing although there is something waits for an event of its own, and asks then. */
static void
process(struct vh_queue *q)
{
    const struct vh_dev_ops *ops = q->dev->ops;
    uint16_t avail;
    unsigned resubmit;
    bool more;

    q->again = false;
    do {
        avail = q->last_avail;
        resubmit = q->next_resubmit;
        ops->process(q->dev->opaque, q);
        vh_queue_notify(q);
        more = vh_queue_enable_kick(q);
    } while (more && !q->again && (avail != q->last_avail || resubmit != q->next_resubmit));
    if (q->broken)
        unwatch_kick(q);
}

static void
process_again(void *data)
{
    struct vh_queue *q = data;

    if (!q->broken)
        process(q);
}

void
vh_queue_again(struct vh_queue *q)
{
    q->again = true;
    vh_loop_defer(q->loop, process_again, q);
}

/* Watched edge-triggered: each kick is an event, so the eventfd need not be
 * read, and a descriptor that is none cannot keep the loop busy. */
static void
on_kick(void *data, uint32_t events)
{
    struct vh_queue *q = data;

    if (events & (EPOLLHUP | EPOLLERR))
        vh_queue_break(q, "the kick descriptor is no eventfd");
    if (q->broken)
        unwatch_kick(q);
    else
        process(q);
}

static void *
worker(void *data)
{
    struct start *start = data;
    struct vh_queue *q = start->q;
    const struct vh_dev_ops *ops = q->dev->ops;
    char name[16];
    int r = 0;

    snprintf(name, sizeof(name), "vring-%u", q->index);
    prctl(PR_SET_NAME, name, 0, 0, 0);
    if (ops->queue_started)
        r = ops->queue_started(q->dev->opaque, q, q->loop);
    start->result = r;
    sem_post(&start->up);
    if (r < 0)
        return NULL;
    process(q);
    r = vh_loop_run(q->loop);
    if (r < 0)
        mb_error("%s: queue %u: event loop: %s", ops->name, q->index, strerror(-r));
    unwatch_kick(q);
    if (ops->queue_stopped)
        ops->queue_stopped(q->dev->opaque, q, q->loop);
    vh_queue_notify(q);
    return NULL;
}

/* Signals are the main thread's. */
static int
create_thread(struct vh_queue *q, struct start *start)
{
    sigset_t all, old;
    pthread_attr_t attr;
    int r;

    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSEGV);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = pthread_create(&q->thread, &attr, worker, start);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}

int
vh_worker_start(struct vh_queue *q)
{
    struct start start = {.q = q};
    int r;

    q->loop = vh_loop_new();
    if (!q->loop)
        return -errno;
    r = vh_loop_add(q->loop, q->kick_fd, EPOLLIN | EPOLLET, on_kick, q);
    q->kick_watched = r == 0;
    sem_init(&start.up, 0, 0);
    if (r == 0)
        r = create_thread(q, &start);
    if (r == 0) {
        while (sem_wait(&start.up) < 0)
            ;
        r = start.result;
        if (r < 0)
            pthread_join(q->thread, NULL);
    }
    sem_destroy(&start.up);
    if (r < 0) {
        vh_loop_free(q->loop);
        q->loop = NULL;
        return r;
    }
    q->running = true;
    return 0;
}

void
vh_worker_stop(struct vh_queue *q)
{
    if (!q->running)
        return;
    vh_loop_quit(q->loop);
    pthread_join(q->thread, NULL);
    vh_loop_free(q->loop);
    q->loop = NULL;
    q->running = false;
}

struct new_fd {
    int *where;
    int fd;
};

static void
set_fd(void *data)
{
    struct new_fd *n = data;
    int old = *n->where;

    *n->where = n->fd;
    mb_close(old);
}

void
vh_worker_set_fd(struct vh_queue *q, int *where, int fd)
{
    struct new_fd n = {where, fd};

    if (q->running)
        vh_loop_call(q->loop, set_fd, &n);
    else
        set_fd(&n);
}

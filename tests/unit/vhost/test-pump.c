/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work of a queue's thread: a device that has room for few requests, and
 * one whose driver never stops asking.
 */
#include <config.h>

#include <errno.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"
#include "vh-dev.h"
#include "vh-pump.h"
#include "vuclient.h"

#define ROOM 3u                 /* requests that the device holds at a time */
#define N 100u

enum how {
    BY_EVENT,                   /* what is held is answered when the eventfd says so */
    WHILE_IDLE,                 /* when the thread looks for more */
    SLOWLY,                     /* one at a time, each takes longer than a turn */
};

struct device {
    enum how how;
    struct vh_dev *dev;
    struct vh_loop *loop;
    int sock, event_fd;
    pthread_t thread;

    struct vh_pump pump;
    struct vh_req held[ROOM];
    struct iovec iov[ROOM][8];
    unsigned n_held;
    atomic_uint served, served_at_event;
};

static void
answer_all(struct device *d)
{
    while (d->n_held) {
        vh_queue_push(d->pump.queue, &d->held[--d->n_held], 0);
        d->served++;
        vh_pump_pushed(&d->pump);
    }
}

static void
on_event(void *data, uint32_t events)
{
    struct device *d = data;
    eventfd_t value;

    (void)events;
    eventfd_read(d->event_fd, &value);
    if (!d->served_at_event)
        d->served_at_event = d->served;
    answer_all(d);
    vh_pump_flush(&d->pump);
}

/* What a turn and a bit is. */
static void
dawdle(void)
{
    struct timespec pause = {.tv_nsec = VH_PUMP_TURN_NS + 1000000};

    nanosleep(&pause, NULL);
}

static bool
burst(void *opaque)
{
    struct device *d = opaque;

    while (d->n_held < ROOM) {
        struct vh_req *req = &d->held[d->n_held];

        req->iov = d->iov[d->n_held];
        req->iov_cap = 8;
        if (vh_queue_pop(d->pump.queue, req) <= 0)
            return true;
        d->n_held++;
        if (d->how != WHILE_IDLE)
            eventfd_write(d->event_fd, 1);
        if (d->how == SLOWLY) {
            dawdle();
            answer_all(d);
            return true;
        }
    }
    return false;
}

static void
idle(void *opaque)
{
    struct device *d = opaque;

    if (d->how == WHILE_IDLE)
        answer_all(d);
}

static const struct vh_pump_ops pump_ops = {.burst = burst, .idle = idle, .notify_every = 2};

static int
queue_started(void *opaque, struct vh_queue *q, struct vh_loop *loop)
{
    struct device *d = opaque;

    vh_pump_init(&d->pump, &pump_ops, d, q, 50000);
    return vh_loop_add(loop, d->event_fd, EPOLLIN, on_event, d);
}

static void
queue_stopped(void *opaque, struct vh_queue *q, struct vh_loop *loop)
{
    struct device *d = opaque;

    (void)q;
    answer_all(d);
    vh_loop_del(loop, d->event_fd);
}

static void
process(void *opaque, struct vh_queue *q)
{
    struct device *d = opaque;

    (void)q;
    vh_pump_run(&d->pump);
}

static const struct vh_dev_ops ops = {
    .name = "test",
    .max_queues = 1,
    .queue_started = queue_started,
    .queue_stopped = queue_stopped,
    .process = process,
};

static void *
serve(void *data)
{
    struct device *d = data;

    vh_dev_serve(d->dev, d->loop, d->sock);
    return NULL;
}

static struct vu *
start(struct device *d, enum how how, uint64_t features_off)
{
    struct vu_options o = {.features_off = features_off};
    int pair[2];

    memset(d, 0, sizeof(*d));
    d->how = how;
    d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->dev = vh_dev_new(&ops, d);
    d->loop = vh_loop_new();
    if (d->event_fd < 0 || !d->dev || !d->loop || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return NULL;
    d->sock = pair[1];
    if (pthread_create(&d->thread, NULL, serve, d) != 0)
        return NULL;
    o.fd = pair[0];
    return vu_open(&o);
}

static void
stop(struct device *d, struct vu *vu)
{
    vu_close(vu);
    pthread_join(d->thread, NULL);
    vh_loop_free(d->loop);
    vh_dev_free(d->dev);
    close(d->event_fd);
}

/* n requests at once; how many were answered. */
static unsigned
ask(struct vu *vu, unsigned n)
{
    struct iovec out = {vu_alloc(vu, 8, 1), 8};
    unsigned got, i;

    for (i = 0; i < n; i++) {
        if (vu_submit(vu, 0, &out, 1, NULL, 0, VU_KICK, vu) < 0)
            return 0;
    }
    for (got = 0; got < n && vu_wait(vu, 0, 2000, NULL, NULL) == 1;)
        got++;
    return got;
}

static void
test_room(uint64_t features_off, const char *what)
{
    struct device d;
    struct vu *vu = start(&d, BY_EVENT, features_off);

    ok(vu && ask(vu, N) == N, "%s: what was left in the ring for want of room is taken when there is room", what);
    stop(&d, vu);
}

static void
test_idle(void)
{
    struct device d;
    struct vu *vu = start(&d, WHILE_IDLE, 0);
    bool all = vu;
    unsigned i;

    /* Requests one after the other make it look; what it holds then is answered without any event,
     * and what it does not find while it looks, by the one here. */
    for (i = 0; all && i < N; i++) {
        struct iovec out = {vu_alloc(vu, 8, 1), 8};

        all = vu_submit(vu, 0, &out, 1, NULL, 0, VU_KICK, vu) == 0;
        if (all && vu_wait(vu, 0, 1, NULL, NULL) != 1) {
            eventfd_write(d.event_fd, 1);
            all = vu_wait(vu, 0, 2000, NULL, NULL) == 1;
        }
    }
    ok(all, "what is finished while the thread looks for more is pushed");
    stop(&d, vu);
}

static void
test_turn(void)
{
    struct device d;
    struct vu *vu = start(&d, SLOWLY, 0);

    ok(vu && ask(vu, 10) == 10, "requests that take a turn each");
    ok(d.served_at_event > 0 && d.served_at_event < 10, "do not keep the loop from other events (%u)",
       (unsigned)d.served_at_event);
    stop(&d, vu);
}

int
main(void)
{
    test_room(0, "event index");
    test_room(UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX, "flags");
    test_idle();
    test_turn();
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The event loop: sources that go while events are pending, calls from other threads, quitting, polling. */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "tap.h"
#include "vh-loop.h"

static struct vh_loop *loop;
static int fds[4];
static unsigned hits[4];

static void
count(void *data, uint32_t events)
{
    uint64_t v;

    hits[(int *)data - fds]++;
    if (read(*(int *)data, &v, sizeof(v)) < 0)
        hits[3] += 1000;
}

/* Removes the others, whose events may be in the same batch, and frees their descriptors. */
static void
remove_others(void *data, uint32_t events)
{
    int i;

    count(data, events);
    for (i = 0; i < 3; i++) {
        if (&fds[i] != data)
            vh_loop_del(loop, fds[i]);
    }
}

static void
test_sources(void)
{
    uint64_t one = 1;
    int i;

    loop = vh_loop_new();
    for (i = 0; i < 4; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (i = 0; i < 3; i++)
        eq_int(vh_loop_add(loop, fds[i], EPOLLIN, remove_others, &fds[i]), 0, "a source is added");
    eq_int(vh_loop_add(loop, fds[0], EPOLLIN, count, &fds[0]), -EEXIST, "but not twice");
    eq_int(vh_loop_add(loop, 9999, EPOLLIN, count, NULL), -EBADF, "nor what is no descriptor");
    for (i = 0; i < 3; i++)
        if (write(fds[i], &one, 8) != 8)
            return;
    vh_loop_step(loop, 1000);
    eq_int(hits[0] + hits[1] + hits[2], 1, "of three that remove each other one is called");
    eq_int(vh_loop_step(loop, 0), 0, "and the others never");
    eq_int(hits[0] + hits[1] + hits[2], 1, "at all");
    vh_loop_del(loop, 9999);
    eq_int(vh_loop_mod(loop, 9999, EPOLLOUT), -ENOENT, "what is not there cannot be changed");
    eq_int(vh_loop_add(loop, fds[3], 0, count, &fds[3]), 0, "a source that waits for nothing");
    if (write(fds[3], &one, 8) != 8)
        return;
    vh_loop_step(loop, 0);
    eq_int(hits[3], 0, "is not called");
    eq_int(vh_loop_mod(loop, fds[3], EPOLLIN), 0, "until that is changed");
    vh_loop_step(loop, 1000);
    eq_int(hits[3], 1, "then it is");
    vh_loop_free(loop);
    for (i = 0; i < 4; i++)
        close(fds[i]);
}

static void *
run_loop(void *data)
{
    vh_loop_run(data);
    return NULL;
}

struct called {
    struct vh_loop *loop;
    unsigned n; /* on the loop's thread alone */
    pthread_t thread;
    bool nested;
};

static void
nested_call(void *data)
{
    ((struct called *)data)->nested = true;
}

static void
call_me(void *data)
{
    struct called *c = data;

    c->n++;
    c->thread = pthread_self();
    vh_loop_call(c->loop, nested_call, c);
}

static void *
call_often(void *data)
{
    struct called *c = data;
    int i;

    for (i = 0; i < 1000; i++)
        vh_loop_call(c->loop, call_me, c);
    return NULL;
}

static void
test_calls(void)
{
    struct called c = {.loop = vh_loop_new()};
    pthread_t runner, callers[4];
    int i;

    pthread_create(&runner, NULL, run_loop, c.loop);
    for (i = 0; i < 4; i++)
        pthread_create(&callers[i], NULL, call_often, &c);
    for (i = 0; i < 4; i++)
        pthread_join(callers[i], NULL);
    vh_loop_quit(c.loop);
    pthread_join(runner, NULL);
    eq_int(c.n, 4000, "four threads, a thousand calls each");
    ok(pthread_equal(c.thread, runner), "all on the loop's thread");
    ok(c.nested, "where a call is a plain one");
    eq_int(vh_loop_step(c.loop, 0), 1, "quitting is for good");
    vh_loop_free(c.loop);
}

static void
on_alarm(int sig)
{
    vh_loop_quit(loop);
}

static void
test_quit_in_handler(void)
{
    struct itimerval soon = {.it_value = {.tv_usec = 20000}};

    loop = vh_loop_new();
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &soon, NULL);
    eq_int(vh_loop_run(loop), 0, "quit from a signal handler");
    vh_loop_free(loop);
}

struct deferred {
    int fd;
    unsigned ticks, ran, ticks_before;
};

static void
later(void *data)
{
    struct deferred *d = data;

    d->ran++;
    d->ticks_before = d->ticks;
}

static void
tick(void *data, uint32_t events)
{
    struct deferred *d = data;
    uint64_t v;

    if (read(d->fd, &v, sizeof(v)) == sizeof(v))
        d->ticks++;
    vh_loop_defer(loop, later, d);
}

static void
test_defer(void)
{
    struct deferred d = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    uint64_t one = 1;

    loop = vh_loop_new();
    if (vh_loop_add(loop, d.fd, EPOLLIN, tick, &d) < 0 || write(d.fd, &one, 8) != 8)
        return;
    vh_loop_step(loop, 1000);
    eq_int(d.ran, 0, "what a handler defers does not run in the same step");
    if (write(d.fd, &one, 8) != 8)
        return;
    vh_loop_step(loop, -1);
    eq_int(d.ran, 1, "but in the next");
    eq_int(d.ticks_before, 2, "after the handlers of that");
    vh_loop_step(loop, 0);
    eq_int(d.ran, 1, "and once");
    vh_loop_defer(loop, later, &d);
    vh_loop_step(loop, -1);
    eq_int(d.ran, 2, "the loop does not wait for it");
    vh_loop_free(loop);
    close(d.fd);
}

int
main(void)
{
    test_sources();
    test_calls();
    test_quit_in_handler();
    test_defer();
    return tap_done();
}

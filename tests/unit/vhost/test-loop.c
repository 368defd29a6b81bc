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

struct polled {
    atomic_uint ready, found, asked;
};

static bool
poll_it(void *data)
{
    struct polled *p = data;

    p->asked++;
    if (!p->ready)
        return false;
    p->ready = 0;
    p->found++;
    return true;
}

static void
tick(void *data, uint32_t events)
{
    uint64_t v;

    if (read(*(int *)data, &v, sizeof(v)) != sizeof(v))
        return;
}

static void
test_polling(void)
{
    struct polled p = {0};
    uint64_t one = 1;
    unsigned asked;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), i;

    loop = vh_loop_new();
    if (vh_loop_add(loop, fd, EPOLLIN, tick, &fd) < 0)
        return;
    vh_loop_set_poll(loop, poll_it, &p, 1000);
    /* Events that come at once make it poll. */
    for (i = 0; i < 5; i++) {
        if (write(fd, &one, 8) != 8)
            return;
        vh_loop_step(loop, 1000);
    }
    p.ready = 1;
    vh_loop_step(loop, 0);
    eq_int(p.found, 1, "what comes while it polls is found");
    /* Nothing for longer than it may poll: it stops. */
    vh_loop_step(loop, 50);
    asked = p.asked;
    vh_loop_step(loop, 50);
    eq_int(p.asked, asked, "after a long wait it does not poll");
    vh_loop_set_poll(loop, poll_it, &p, 0);
    vh_loop_step(loop, 0);
    eq_int(p.asked, asked, "nor when it was turned off");
    vh_loop_free(loop);
    close(fd);
}

int
main(void)
{
    test_sources();
    test_calls();
    test_quit_in_handler();
    test_polling();
    return tap_done();
}

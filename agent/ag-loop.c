/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The epoll loop.  Watches and timers belong to their callers; the loop only
 * points at them.  A watch closed within a round has its callback taken away,
 * so that an event already fetched for it is dropped.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

#define ROUND 16

int
ag_loop_init(struct ag_loop *l)
{
    memset(l, 0, sizeof(*l));
    l->epfd = epoll_create1(EPOLL_CLOEXEC);
    return l->epfd < 0 ? -errno : 0;
}

void
ag_loop_clear(struct ag_loop *l)
{
    mb_close(l->epfd);
    l->epfd = -1;
    l->timers = NULL;
}

int
ag_watch_set(struct ag_loop *l, struct ag_watch *w, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.ptr = w };
    int op;

    if (w->fd < 0 || w->events == events)
        return 0;
    op = w->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    if (epoll_ctl(l->epfd, op, w->fd, &ev) < 0)
        return -errno;
    w->events = events;
    return 0;
}

void
ag_watch_close(struct ag_loop *l, struct ag_watch *w)
{
    ag_watch_set(l, w, 0);
    mb_close(w->fd);
    w->fd = -1;
    w->events = 0;
}

void
ag_timer_disarm(struct ag_loop *l, struct ag_timer *t)
{
    for (struct ag_timer **p = &l->timers; *p; p = &(*p)->next) {
        if (*p == t) {
            *p = t->next;
            break;
        }
    }
    t->at = 0;
    t->next = NULL;
}

void
ag_timer_arm(struct ag_loop *l, struct ag_timer *t, uint64_t ns_from_now)
{
    struct ag_timer **p = &l->timers;

    ag_timer_disarm(l, t);
    t->at = ag_now_ns() + ns_from_now;
    while (*p && (*p)->at <= t->at)
        p = &(*p)->next;
    t->next = *p;
    *p = t;
}

/* Milliseconds until the first timer, rounded up; -1 without one. */
static int
loop_timeout(const struct ag_loop *l)
{
    uint64_t now = ag_now_ns();

    if (!l->timers)
        return -1;
    if (l->timers->at <= now)
        return 0;
    return (int)MB_MIN((l->timers->at - now + 999999) / 1000000, 3600000);
}

static void
run_timers(struct ag_loop *l)
{
    uint64_t now = ag_now_ns();

    while (l->timers && l->timers->at <= now) {
        struct ag_timer *t = l->timers;

        ag_timer_disarm(l, t);
        t->cb(t);
    }
}

int
ag_loop_once(struct ag_loop *l)
{
    struct epoll_event ev[ROUND];
    int n = epoll_wait(l->epfd, ev, ROUND, loop_timeout(l));

    if (n < 0 && errno != EINTR)
        return -errno;
    for (int i = 0; i < n; i++) {
        struct ag_watch *w = ev[i].data.ptr;

        if (w->events != 0)
            w->cb(w, ev[i].events);
    }
    run_timers(l);
    return 0;
}

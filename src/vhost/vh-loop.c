/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The epoll loop, see vh-loop.h.
 *
 * A source that is deleted while its event may be pending in the batch at hand
 * is marked dead and freed after the batch.  One eventfd wakes the loop for
 * quit and for calls from other threads.
 */
#include <config.h>

#include "vh-loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mb-cleanup.h"

#define BATCH 16

struct source {
    struct source *next;
    int fd;
    bool dead;
    vh_loop_fn fn;
    void *data;
};

struct call {
    struct call *next;
    void (*fn)(void *data);
    void *data;
    bool done;
};

struct vh_loop {
    int epoll_fd;
    int wake_fd;
    struct source *sources;
    bool have_dead;
    atomic_bool quit;

    pthread_mutex_t lock; /* calls, and thread */
    pthread_cond_t cond;  /* a call is done */
    struct call *calls;
    pthread_t thread;
    bool has_thread;

    void (*deferred)(void *data); /* to run after the next look at the descriptors, or NULL */
    void *deferred_data;
};

struct vh_loop *
vh_loop_new(void)
{
    struct vh_loop *loop = calloc(1, sizeof(*loop));
    struct epoll_event ev = {.events = EPOLLIN};

    if (!loop)
        return NULL;
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->cond, NULL);
    loop->wake_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd >= 0)
        loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* The wake-up's data is NULL, every source's is itself. */
    if (loop->wake_fd < 0 || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &ev) < 0) {
        int saved = errno;

        vh_loop_free(loop);
        errno = saved;
        return NULL;
    }
    return loop;
}

static void
free_dead(struct vh_loop *loop)
{
    struct source **at = &loop->sources;

    while (*at) {
        struct source *s = *at;

        if (s->dead) {
            *at = s->next;
            free(s);
        } else {
            at = &s->next;
        }
    }
    loop->have_dead = false;
}

void
vh_loop_free(struct vh_loop *loop)
{
    struct source *s;

    if (!loop)
        return;
    for (s = loop->sources; s; s = s->next)
        s->dead = true;
    free_dead(loop);
    mb_close(loop->epoll_fd);
    mb_close(loop->wake_fd);
    pthread_cond_destroy(&loop->cond);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

static struct source *
find_source(struct vh_loop *loop, int fd)
{
    struct source *s;

    for (s = loop->sources; s; s = s->next) {
        if (s->fd == fd && !s->dead)
            return s;
    }
    return NULL;
}

int
vh_loop_add(struct vh_loop *loop, int fd, uint32_t events, vh_loop_fn fn, void *data)
{
    struct epoll_event ev = {.events = events};
    struct source *s;

    if (find_source(loop, fd))
        return -EEXIST;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->fd = fd;
    s->fn = fn;
    s->data = data;
    ev.data.ptr = s;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        int saved = errno;

        free(s);
        return -saved;
    }
    s->next = loop->sources;
    loop->sources = s;
    return 0;
}

int
vh_loop_mod(struct vh_loop *loop, int fd, uint32_t events)
{
    struct source *s = find_source(loop, fd);
    struct epoll_event ev = {.events = events, .data.ptr = s};

    if (!s)
        return -ENOENT;
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &ev) < 0 ? -errno : 0;
}

void
vh_loop_del(struct vh_loop *loop, int fd)
{
    struct source *s = find_source(loop, fd);

    if (!s)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    s->dead = true;
    loop->have_dead = true;
}

static void
wake(struct vh_loop *loop)
{
    int saved = errno;
    uint64_t one = 1;
    ssize_t ignored = write(loop->wake_fd, &one, sizeof(one));

    (void)ignored;
    errno = saved;
}

void
vh_loop_quit(struct vh_loop *loop)
{
    atomic_store(&loop->quit, true);
    wake(loop);
}

static void
run_calls(struct vh_loop *loop)
{
    struct call *list;

    pthread_mutex_lock(&loop->lock);
    list = loop->calls;
    loop->calls = NULL;
    while (list) {
        struct call *c = list;

        list = c->next;
        pthread_mutex_unlock(&loop->lock);
        c->fn(c->data);
        pthread_mutex_lock(&loop->lock);
        c->done = true;
        pthread_cond_broadcast(&loop->cond);
    }
    pthread_mutex_unlock(&loop->lock);
}

void
vh_loop_call(struct vh_loop *loop, void (*fn)(void *data), void *data)
{
    struct call call = {.fn = fn, .data = data}, **at;

    pthread_mutex_lock(&loop->lock);
    if (loop->has_thread && pthread_equal(loop->thread, pthread_self())) {
        pthread_mutex_unlock(&loop->lock);
        fn(data);
        return;
    }
    for (at = &loop->calls; *at; at = &(*at)->next)
        ;
    *at = &call;
    wake(loop);
    while (!call.done)
        pthread_cond_wait(&loop->cond, &loop->lock);
    pthread_mutex_unlock(&loop->lock);
}

void
vh_loop_defer(struct vh_loop *loop, void (*fn)(void *data), void *data)
{
    loop->deferred = fn;
    loop->deferred_data = data;
}

/* ---- running ------------------------------------------------------------------------ */

static void
run_deferred(struct vh_loop *loop)
{
    void (*fn)(void *data) = loop->deferred;

    loop->deferred = NULL;
    if (fn)
        fn(loop->deferred_data);
}

static void
dispatch(struct vh_loop *loop, const struct epoll_event *events, int n)
{
    int i;

    for (i = 0; i < n; i++) {
        struct source *s = events[i].data.ptr;

        if (!s) {
            uint64_t count;
            ssize_t ignored = read(loop->wake_fd, &count, sizeof(count));

            (void)ignored;
            run_calls(loop);
        } else if (!s->dead) {
            s->fn(s->data, events[i].events);
        }
    }
    if (loop->have_dead)
        free_dead(loop);
}

int
vh_loop_step(struct vh_loop *loop, int timeout_ms)
{
    struct epoll_event events[BATCH];
    bool deferred = loop->deferred;
    int n;

    if (MB_UNLIKELY(!loop->has_thread || !pthread_equal(loop->thread, pthread_self()))) {
        pthread_mutex_lock(&loop->lock);
        loop->thread = pthread_self();
        loop->has_thread = true;
        pthread_mutex_unlock(&loop->lock);
    }
    if (atomic_load(&loop->quit))
        return 1;
    n = epoll_wait(loop->epoll_fd, events, BATCH, deferred ? 0 : timeout_ms);
    if (n < 0)
        return errno == EINTR ? (int)atomic_load(&loop->quit) : -errno;
    dispatch(loop, events, n);
    if (deferred && !atomic_load(&loop->quit))
        run_deferred(loop);
    return atomic_load(&loop->quit);
}

int
vh_loop_run(struct vh_loop *loop)
{
    int r;

    do {
        r = vh_loop_step(loop, -1);
    } while (r == 0);
    run_calls(loop);
    return r < 0 ? r : 0;
}

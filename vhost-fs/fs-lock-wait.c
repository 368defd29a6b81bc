/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that wait for locks, and INTERRUPT.
 *
 * A waiting thread sits in fcntl() or flock() and is woken by a signal.  As a
 * signal may come just before the thread enters the call, it is sent until the
 * thread says that it is through.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>

#include "fs-core.h"
#include "fs-lock-priv.h"
#include "fs-ops.h"

#define WAKE_SIGNAL SIGUSR1
#define WAKE_AGAIN_NS 2000000
#define WAITER_STACK (64u * 1024)

static void
wake_handler(int sig)
{
    (void)sig;
}

int
fs_locks_init(struct fs_locks *locks, unsigned max_owners)
{
    struct sigaction sa = {.sa_handler = wake_handler};

    locks->max_owners = MB_MIN(max_owners, FS_LOCK_MAX_OWNERS);
    pthread_mutex_init(&locks->lock, NULL);
    pthread_cond_init(&locks->changed, NULL);
    sigemptyset(&sa.sa_mask);
    return sigaction(WAKE_SIGNAL, &sa, NULL) < 0 ? -errno : 0;
}

void
fs_locks_destroy(struct fs_locks *locks)
{
    pthread_cond_destroy(&locks->changed);
    pthread_mutex_destroy(&locks->lock);
}

struct fs_lock_waiter *
fs_lock_waiter_new(struct fs_req *req)
{
    struct fs_lock_waiter *w = calloc(1, sizeof(*w));

    if (w) {
        w->fs = req->fs;
        w->req = req;
        w->unique = req->hdr.unique;
    }
    return w;
}

static bool
is_cancelled(struct fs_lock_waiter *w)
{
    bool cancelled;

    pthread_mutex_lock(&w->fs->locks.lock);
    cancelled = w->cancelled;
    pthread_mutex_unlock(&w->fs->locks.lock);
    return cancelled;
}

static int
wait_for_lock(struct fs_lock_waiter *w)
{
    int r;

    do {
        if (is_cancelled(w))
            return -EINTR;
        r = w->owner ? fcntl(w->owner->fd, F_OFD_SETLKW, &w->fl) : flock(w->handle->fd, w->flock_op);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static void
waiter_unlink(struct fs_lock_waiter *w)
{
    struct fs_locks *locks = &w->fs->locks;
    struct fs_lock_waiter **link;

    for (link = &locks->waiters; *link != w;)
        link = &(*link)->next;
    *link = w->next;
}

static void *
waiter_main(void *data)
{
    struct fs_lock_waiter *w = data;
    struct fs *fs = w->fs;
    sigset_t wake;
    int r;

    sigemptyset(&wake);
    sigaddset(&wake, WAKE_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
    r = wait_for_lock(w);
    pthread_mutex_lock(&fs->locks.lock);
    waiter_unlink(w);
    pthread_mutex_unlock(&fs->locks.lock);
    if (w->owner)
        fs_lock_owner_put(w->owner);
    if (w->handle)
        fs_handle_put(w->handle);
    fs_req_finish(w->req, r);
    free(w);
    /* Last of all: whoever waits for no waiters may free what they used. */
    pthread_mutex_lock(&fs->locks.lock);
    fs->locks.n_waiters--;
    pthread_cond_broadcast(&fs->locks.changed);
    pthread_mutex_unlock(&fs->locks.lock);
    return NULL;
}

int
fs_lock_waiter_start(struct fs *fs, struct fs_lock_waiter *w)
{
    struct fs_locks *locks = &fs->locks;
    pthread_attr_t attr;
    int r = ENOLCK;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, WAITER_STACK);
    pthread_mutex_lock(&locks->lock);
    if (locks->n_waiters < FS_LOCK_MAX_WAITERS) {
        w->next = locks->waiters;
        locks->waiters = w;
        locks->n_waiters++;
        r = pthread_create(&w->thread, &attr, waiter_main, w);
        if (r) {
            locks->waiters = w->next;
            locks->n_waiters--;
        }
    }
    pthread_mutex_unlock(&locks->lock);
    pthread_attr_destroy(&attr);
    if (r == 0)
        return FS_OP_PENDING;
    if (w->owner)
        fs_lock_owner_put(w->owner);
    if (w->handle)
        fs_handle_put(w->handle);
    free(w);
    return r == EAGAIN ? -ENOLCK : -r;
}

/* Signal those that are marked (or the marked one) until they are through; lock held. */
static void
wake_until(struct fs_locks *locks, const struct fs_lock_waiter *which)
{
    for (;;) {
        struct fs_lock_waiter *w;
        struct timespec until;
        bool found = false;

        for (w = locks->waiters; w; w = w->next) {
            if (w->cancelled && (!which || w == which)) {
                pthread_kill(w->thread, WAKE_SIGNAL);
                found = true;
            }
        }
        if (!found && (which || locks->n_waiters == 0))
            return;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAKE_AGAIN_NS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&locks->changed, &locks->lock, &until);
    }
}

void
fs_lock_cancel_all(struct fs *fs)
{
    struct fs_locks *locks = &fs->locks;
    struct fs_lock_waiter *w;

    pthread_mutex_lock(&locks->lock);
    for (w = locks->waiters; w; w = w->next)
        w->cancelled = true;
    if (locks->n_waiters)
        wake_until(locks, NULL);
    pthread_mutex_unlock(&locks->lock);
}

int
fs_op_interrupt(struct fs_req *req)
{
    const struct fuse_interrupt_in *in = FS_ARG(req, struct fuse_interrupt_in);
    struct fs_locks *locks = &req->fs->locks;
    struct fs_lock_waiter *w;

    pthread_mutex_lock(&locks->lock);
    for (w = locks->waiters; w && w->unique != in->unique; w = w->next)
        ;
    if (w) {
        w->cancelled = true;
        wake_until(locks, w);
    }
    pthread_mutex_unlock(&locks->lock);
    return 0;
}

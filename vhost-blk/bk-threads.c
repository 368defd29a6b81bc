/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pool of threads: one list of work for all of them, one list of finished
 * transfers and one eventfd per client.  A thread is started when work is
 * queued and nobody is idle, up to the limit, and ends after ten seconds
 * without work, so that an idle disk costs no threads.
 *
 * Waking a thread costs as much as copying 100 KiB.  After a transfer that was
 * shared with a queue's thread, of which there are more to come, a thread looks
 * for the next one for a moment before it sleeps, and offers its processor to
 * everybody else meanwhile.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "mb-cleanup.h"

#include "bk-pool.h"

#define IDLE_SECONDS 10
#define STACK_SIZE (256 * 1024)
#define LOOK_NS 30000u  /* for a shared transfer: three times what one takes */

struct bk_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;        /* something was queued, or closing */
    pthread_cond_t ended;       /* a thread ended */
    struct bk_xfer *first;
    struct bk_xfer **last;
    unsigned max_threads, n_threads, n_idle, n_queued;
    unsigned n_looking;         /* atomic: will look at first once more before they sleep */
    unsigned n_shared;          /* those, and those at work on what was shared, which will look afterwards */
    bool closing;
};

/* ---- one transfer ------------------------------------------------------------- */

static int
block_ioctl(struct bk_xfer *x, unsigned long request)
{
    uint64_t range[2] = {x->offset, x->len};

    return ioctl(x->file->fd, request, range) < 0 ? -errno : 0;
}

static int
do_fallocate(struct bk_xfer *x, int mode)
{
    return fallocate(x->file->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)x->offset, (off_t)x->len) < 0 ? -errno : 0;
}

static int
do_write(struct bk_xfer *x)
{
    ssize_t n = pwritev2(x->file->fd, x->iov, (int)x->n_iov, (off_t)x->offset, x->dsync ? RWF_DSYNC : 0);

    return n < 0 ? -errno : (int)n;
}

static int
do_unmap(struct bk_xfer *x)
{
    int rc = do_fallocate(x, FALLOC_FL_PUNCH_HOLE);

    if (rc < 0 && x->file->is_block)
        rc = block_ioctl(x, BLKZEROOUT);
    return rc;
}

int
bk_blocking_run(struct bk_xfer *x)
{
    ssize_t n;

    switch (x->op) {
    case BK_XFER_READ:
        n = preadv2(x->file->fd, x->iov, (int)x->n_iov, (off_t)x->offset, x->shared ? RWF_NOWAIT : 0);
        return n < 0 ? -errno : (int)n;
    case BK_XFER_WRITE:
        return do_write(x);
    case BK_XFER_SYNC:
        return fdatasync(x->file->fd) < 0 ? -errno : 0;
    case BK_XFER_DISCARD:
        return x->file->is_block ? block_ioctl(x, BLKDISCARD) : do_fallocate(x, FALLOC_FL_PUNCH_HOLE);
    case BK_XFER_ZERO:
        if (x->by_writing)
            return do_write(x);
        return x->file->is_block ? block_ioctl(x, BLKZEROOUT) : do_fallocate(x, FALLOC_FL_ZERO_RANGE);
    case BK_XFER_UNMAP:
        return do_unmap(x);
    case BK_XFER_CALL:
    case BK_XFER_WORK:
        return x->call(x);
    case BK_XFER_WAIT:
        break;
    }
    return -EINVAL;
}

/* ---- threads ------------------------------------------------------------------- */

void
bk_pool_finish(struct bk_xfer *x)
{
    struct bk_pool_client *c = x->pool_client;
    bool first;

    pthread_mutex_lock(&c->lock);
    first = !c->finished;
    x->next = c->finished;
    __atomic_store_n(&c->finished, x, __ATOMIC_RELAXED);
    /* Under the lock: the client may go away as soon as it saw its last transfer. */
    if (first && !c->awake)
        eventfd_write(c->event_fd, 1);
    pthread_mutex_unlock(&c->lock);
}

/* Wait for work; NULL when the thread is to end. Called and returns with the lock held. */
static struct bk_xfer *
next_work(struct bk_pool *pool)
{
    struct timespec until;
    struct bk_xfer *x;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    pool->n_idle++;
    while (!pool->first && !pool->closing) {
        if (pthread_cond_timedwait(&pool->work, &pool->lock, &until) == ETIMEDOUT)
            break;
    }
    pool->n_idle--;
    x = pool->first;
    if (x) {
        pool->n_queued--;
        __atomic_store_n(&pool->first, x->next, __ATOMIC_RELAXED);
        if (!pool->first)
            pool->last = &pool->first;
    }
    return x;
}

/* Without the lock: whoever queues something meanwhile need not wake anybody. */
static void
look_for_work(struct bk_pool *pool)
{
    uint64_t until = bk_now_ns() + LOOK_NS;

    __atomic_fetch_add(&pool->n_looking, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&pool->first, __ATOMIC_RELAXED) && bk_now_ns() < until)
        sched_yield();
    __atomic_fetch_sub(&pool->n_looking, 1, __ATOMIC_SEQ_CST);
}

static void *
thread_main(void *data)
{
    struct bk_pool *pool = data;
    struct bk_xfer *x;

    pthread_mutex_lock(&pool->lock);
    while ((x = next_work(pool))) {
        bool more = x->shared;

        pool->n_shared += more;
        pthread_mutex_unlock(&pool->lock);
        x->result = bk_blocking_run(x);
        bk_pool_finish(x);
        if (more)
            look_for_work(pool);
        pthread_mutex_lock(&pool->lock);
        pool->n_shared -= more;
    }
    pool->n_threads--;
    pthread_cond_broadcast(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* One more thread; with the lock held. */
static int
start_thread(struct bk_pool *pool)
{
    pthread_attr_t attr;
    pthread_t id;
    int rc;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    rc = pthread_create(&id, &attr, thread_main, pool);
    pthread_attr_destroy(&attr);
    if (rc == 0)
        pool->n_threads++;
    return -rc;
}

struct bk_pool *
bk_pool_new(unsigned max_threads)
{
    struct bk_pool *pool = calloc(1, sizeof(*pool));
    pthread_condattr_t attr;

    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attr);
    pthread_cond_init(&pool->ended, &attr);
    pthread_condattr_destroy(&attr);
    pool->last = &pool->first;
    pool->max_threads = max_threads;
    return pool;
}

void
bk_pool_free(struct bk_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->n_threads > 0)
        pthread_cond_wait(&pool->ended, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->ended);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* ---- clients -------------------------------------------------------------------- */

int
bk_pool_client_init(struct bk_pool_client *c, struct bk_pool *pool)
{
    c->pool = pool;
    c->finished = NULL;
    c->awake = false;
    c->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->event_fd < 0)
        return -errno;
    pthread_mutex_init(&c->lock, NULL);
    return 0;
}

void
bk_pool_client_clear(struct bk_pool_client *c)
{
    mb_close(c->event_fd);
    c->event_fd = -1;
    pthread_mutex_destroy(&c->lock);
}

void
bk_pool_queue(struct bk_pool_client *c, struct bk_xfer *x)
{
    struct bk_pool *pool = c->pool;
    unsigned soon;
    int rc = 0;

    x->next = NULL;
    x->pool_client = c;
    pthread_mutex_lock(&pool->lock);
    /* What is shared can wait for what was shared before; as that may block, nothing else waits for it. */
    soon = x->shared ? pool->n_shared : __atomic_load_n(&pool->n_looking, __ATOMIC_SEQ_CST);
    if (pool->n_queued >= pool->n_idle + soon && pool->n_threads < pool->max_threads)
        rc = start_thread(pool);
    if (rc < 0 && pool->n_threads == 0) {
        pthread_mutex_unlock(&pool->lock);
        x->result = rc;
        bk_pool_finish(x);
        return;
    }
    pool->n_queued++;
    __atomic_store_n(pool->last, x, __ATOMIC_RELAXED);
    pool->last = &x->next;
    if (pool->n_queued > soon)
        pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

void
bk_pool_client_wakes(struct bk_pool_client *c)
{
    pthread_mutex_lock(&c->lock);
    c->awake = true;
    pthread_mutex_unlock(&c->lock);
}

bool
bk_pool_client_sleeps(struct bk_pool_client *c)
{
    bool any;

    pthread_mutex_lock(&c->lock);
    c->awake = false;
    any = c->finished;
    pthread_mutex_unlock(&c->lock);
    return any;
}

struct bk_xfer *
bk_pool_take(struct bk_pool_client *c)
{
    struct bk_xfer *list, *oldest = NULL;

    if (!__atomic_load_n(&c->finished, __ATOMIC_RELAXED))
        return NULL;
    pthread_mutex_lock(&c->lock);
    list = c->finished;
    __atomic_store_n(&c->finished, NULL, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&c->lock);
    while (list) {
        struct bk_xfer *x = list;

        list = x->next;
        x->next = oldest;
        oldest = x;
    }
    return oldest;
}

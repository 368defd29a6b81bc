/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The thread pool, see fs-pool.h: one list of waiting requests, first in, first
 * out.
 */
#include <config.h>

#include "fs-pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define STACK (256u * 1024)

struct fs_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct fs_req *first, **last;
    unsigned n_threads, n_idle, n_waiting, max_threads;
    bool quit;
    pthread_t threads[FS_POOL_MAX_THREADS];
};

static void
run_now(struct fs_req *req, struct fs_worker *worker)
{
    req->may_wait = true;
    if (fs_req_run(req, worker) == FS_REQ_DONE)
        req->done(req);
}

static void *
pool_thread(void *data)
{
    struct fs_pool *pool = data;
    struct fs_worker *worker = fs_worker_new();
    struct fs_req *req;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->first && !pool->quit) {
            pool->n_idle++;
            pthread_cond_wait(&pool->work, &pool->lock);
            pool->n_idle--;
        }
        req = pool->first;
        if (!req)
            break;
        pool->first = req->next;
        if (!pool->first)
            pool->last = &pool->first;
        pool->n_waiting--;
        pthread_mutex_unlock(&pool->lock);
        if (worker)
            run_now(req, worker);
        else
            fs_req_finish(req, -ENOMEM);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    fs_worker_free(worker);
    return NULL;
}

struct fs_pool *
fs_pool_new(unsigned n)
{
    struct fs_pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pool->last = &pool->first;
    pool->max_threads = n < FS_POOL_MAX_THREADS ? n : FS_POOL_MAX_THREADS;
    return pool;
}

void
fs_pool_free(struct fs_pool *pool)
{
    unsigned i;

    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->quit = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (i = 0; i < pool->n_threads; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* One thread more, if there is not one idle for every waiting request; lock held. */
static void
maybe_start(struct fs_pool *pool)
{
    pthread_attr_t attr;

    if (pool->n_waiting <= pool->n_idle || pool->n_threads >= pool->max_threads)
        return;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    if (pthread_create(&pool->threads[pool->n_threads], &attr, pool_thread, pool) == 0)
        pool->n_threads++;
    pthread_attr_destroy(&attr);
}

void
fs_pool_run(struct fs_pool *pool, struct fs_req *req)
{
    bool taken;

    pthread_mutex_lock(&pool->lock);
    pool->n_waiting++;
    maybe_start(pool);
    taken = pool->n_threads > 0;
    if (taken) {
        req->next = NULL;
        *pool->last = req;
        pool->last = &req->next;
        pthread_cond_signal(&pool->work);
    } else {
        pool->n_waiting--;
    }
    pthread_mutex_unlock(&pool->lock);
    if (!taken)
        run_now(req, req->worker);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that do blocking transfers.  One pool serves all queues; a queue's
 * engine is a client of it and gets its completions through an eventfd.
 */
#ifndef BK_POOL_H
#define BK_POOL_H

#include <pthread.h>

#include "bk-engine.h"

struct bk_pool;

/* At most max_threads, started when there is work for them, ended when idle for a while. */
struct bk_pool *bk_pool_new(unsigned max_threads) MB_MUST_CHECK;

/* Every client has to be gone. */
void bk_pool_free(struct bk_pool *pool);

struct bk_pool_client {
    struct bk_pool *pool;
    int event_fd;               /* readable when something finished */
    pthread_mutex_t lock;
    struct bk_xfer *finished;   /* newest first; under lock */
    bool awake;                 /* takes them without being told; under lock */
};

int bk_pool_client_init(struct bk_pool_client *c, struct bk_pool *pool) MB_MUST_CHECK;
void bk_pool_client_clear(struct bk_pool_client *c);

/* Run x on a thread: x->result becomes what bk_blocking_run() returned. */
void bk_pool_queue(struct bk_pool_client *c, struct bk_xfer *x);

/* Give x, which has its result, back to its client. Any thread. */
void bk_pool_finish(struct bk_xfer *x);

/* The client calls bk_pool_take() again and again by itself from now on, */
void bk_pool_client_wakes(struct bk_pool_client *c);
/* no more; true when something has finished, of which the eventfd may not tell. */
bool bk_pool_client_sleeps(struct bk_pool_client *c) MB_MUST_CHECK;

/* Take all finished transfers, oldest first (linked by next); NULL if there are none. */
struct bk_xfer *bk_pool_take(struct bk_pool_client *c);

/* One system call's worth of x on this thread: bytes (READ, WRITE), 0, or -errno. -EAGAIN is also
 * what a shared READ gives that finds the data not in memory. */
int bk_blocking_run(struct bk_xfer *x);

#endif

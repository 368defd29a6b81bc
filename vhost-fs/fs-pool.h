/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads for requests that may block: a read that misses the page cache, a
 * sync.  They are started when there is work for them, and stay.
 */
#ifndef FS_POOL_H
#define FS_POOL_H

#include "fs-req.h"

struct fs_pool;

#define FS_POOL_MAX_THREADS 64u

/* At most n threads; NULL with errno. */
struct fs_pool *fs_pool_new(unsigned n) MB_MUST_CHECK;

/* Waits for what was handed over. NULL is allowed. */
void fs_pool_free(struct fs_pool *pool);

/* Run req on a thread of the pool, then call req->done there. Without any thread (none could
 * be started) it is run at once. */
void fs_pool_run(struct fs_pool *pool, struct fs_req *req);

#endif

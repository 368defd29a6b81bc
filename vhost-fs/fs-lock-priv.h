/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of locks share: fs-lock.c has the operations, fs-lock-owner.c the
 * owners of POSIX locks, fs-lock-wait.c the threads that wait.
 */
#ifndef FS_LOCK_PRIV_H
#define FS_LOCK_PRIV_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "fs-lock.h"

struct fs_handle;
struct fs_req;

struct fs_lock_owner {
    struct fs_lock_owner *next;
    struct fs *fs;
    atomic_uint refs;
    uint64_t owner;
    uint64_t fh;                /* the handle used last, under the node's lock */
    int fd;
};

struct fs_lock_waiter {
    struct fs_lock_waiter *next;
    struct fs *fs;
    struct fs_req *req;
    uint64_t unique;
    pthread_t thread;
    bool cancelled;             /* under locks->lock */
    struct fs_lock_owner *owner; /* POSIX: referenced */
    struct flock fl;
    struct fs_handle *handle;   /* flock: referenced */
    int flock_op;
};

/* Find or make the owner id for the file of handle, with a reference. 0 or -errno. */
int fs_lock_owner_get(struct fs *fs, struct fs_handle *handle, uint64_t id, struct fs_lock_owner **ret) MB_MUST_CHECK;
void fs_lock_owner_put(struct fs_lock_owner *owner);

/* For a request that waits; NULL without memory. */
struct fs_lock_waiter *fs_lock_waiter_new(struct fs_req *req);

/* Hand w (owned from here on) to a thread. FS_OP_PENDING or -errno. */
int fs_lock_waiter_start(struct fs *fs, struct fs_lock_waiter *w) MB_MUST_CHECK;

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File locks, taken on the host, so that all who share a directory exclude each
 * other.  flock() locks belong to the handle's own descriptor.  POSIX locks
 * belong to a lock owner of the guest (a process, more or less): every owner
 * gets a descriptor of the file of its own, with open-file-description locks.
 *
 * A lock that has to be waited for is waited for by a thread of its own; the
 * number of such threads is bounded, more waiters get ENOLCK.
 */
#ifndef FS_LOCK_H
#define FS_LOCK_H

#include <pthread.h>
#include <stdint.h>

#include "mb-macros.h"

struct fs;
struct fs_node;
struct fs_lock_owner;
struct fs_lock_waiter;

#define FS_LOCK_MAX_WAITERS 64u
#define FS_LOCK_MAX_OWNERS 4096u

struct fs_locks {
    pthread_mutex_t lock;
    pthread_cond_t changed;     /* a waiter ended */
    struct fs_lock_waiter *waiters;
    unsigned n_waiters;
    unsigned n_owners, max_owners;
};

/* At most max_owners (and FS_LOCK_MAX_OWNERS) lock owners, each with a descriptor. 0 or -errno. */
int fs_locks_init(struct fs_locks *locks, unsigned max_owners) MB_MUST_CHECK;
void fs_locks_destroy(struct fs_locks *locks);

/* The POSIX locks that owner has on node go. */
void fs_lock_drop_owner(struct fs *fs, struct fs_node *node, uint64_t owner);

/* The handle fh of node is closed for the last time.  Processes have dropped their locks by then (FLUSH);
 * what was locked through it and is still there are open-file-description locks of the guest. */
void fs_lock_drop_handle(struct fs *fs, struct fs_node *node, uint64_t fh);

/* Free a list whose node nobody can reach. */
void fs_lock_owners_free(struct fs_lock_owner *owners);

/* End all waiting with EINTR; returns when it has ended. */
void fs_lock_cancel_all(struct fs *fs);

#endif

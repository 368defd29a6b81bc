/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handles: files and directories that the guest has open.  A handle holds a
 * real descriptor and a reference to its node; it is closed when the guest
 * released it and no request uses it any more.
 */
#ifndef FS_HANDLE_H
#define FS_HANDLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs-slab.h"
#include "mb-macros.h"

struct fs;
struct fs_node;

#define FS_DIR_BUFFER 32768u
#define FS_MAX_DIR_BUFFERS 256u /* that are kept from one request to the next */

/* Directory entries read ahead of the guest; lock guards it all. */
struct fs_dir_stream {
    pthread_mutex_t lock;
    char *buf;                  /* FS_DIR_BUFFER bytes, allocated by the first read */
    uint32_t pos, len;          /* unread part of buf */
    uint64_t next;              /* the offset that buf + pos continues */
};

struct fs_handle {
    struct fs_slot slot;
    struct fs *fs;
    struct fs_node *node;       /* referenced */
    struct fs_handle *next;     /* in node->handles, under the node's lock */
    atomic_bool released;
    bool is_dir;
    bool writable;
    bool append;
    bool sync;                  /* every write reaches the disk: it waits */
    int fd;                     /* -1: the root of a single-file share */
    _Atomic uint64_t quota_pin; /* fs-quota.c: what is known of the file for its account */
    struct fs_dir_stream dir;
};

struct fs_handles {
    struct fs_slab slab;
    atomic_uint n_dir_buffers;
};

int fs_handles_init(struct fs_handles *handles, uint32_t max) MB_MUST_CHECK;
void fs_handles_destroy(struct fs *fs);

/* Make a handle of fd (owned from here on, also on failure); *fh is its number for the
 * guest. The node's reference is the handle's own. 0, or -ENFILE, -ENOMEM. */
int fs_handle_new(struct fs *fs, struct fs_node *node, int fd, int flags, bool is_dir, uint64_t *fh) MB_MUST_CHECK;

/* Memory for what is read ahead. 0 or -ENOMEM. Or give it back: the next read begins where the guest says. */
int fs_dir_stream_get(struct fs *fs, struct fs_dir_stream *stream) MB_MUST_CHECK;
void fs_dir_stream_drop(struct fs *fs, struct fs_dir_stream *stream);

/* The handle fh of node, with a reference; NULL if there is none, if it belongs to another
 * node, or if it is not of the kind asked for. */
struct fs_handle *fs_handle_get(struct fs *fs, uint64_t fh, const struct fs_node *node, bool is_dir);
void fs_handle_put(struct fs_handle *handle);

/* The guest's own reference goes; false if it had gone already. */
bool fs_handle_release(struct fs_handle *handle);

/* Release all; no request may be running. */
void fs_handles_release_all(struct fs *fs);

static inline void
fs_handle_clear(struct fs_handle **handle)
{
    if (*handle)
        fs_handle_put(*handle);
    *handle = NULL;
}
#define fs_auto_handle MB_CLEANUP(fs_handle_clear)

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One host file or block device that an image is made of: its descriptor, what
 * it can do, and whether it has writes that no flush has covered.  Opened and
 * locked before the process confines itself; closed at the end.
 */
#ifndef BK_FILE_H
#define BK_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bk-err.h"

struct bk_file {
    int fd;
    int lock_fd;           /* holds the lock, and is never given to io_uring: a ring lets go of its files
                            * some time after its process died, when the next one wants the lock already */
    int slot;              /* index among the image's files, as registered with io_uring; -1 before */
    bool writable;
    bool is_block;         /* block device: discard and zero by ioctl */
    uint64_t size;         /* bytes when opened */
    uint64_t zeros_from;   /* reads that meet the end of file at or behind this give zeros, before it EIO */
    uint32_t align;        /* bytes: a block device frees and zeroes nothing smaller; 1 for files */
    uint32_t io_size;      /* preferred and physical block size, bytes */
    char *path;

    /* Changed by every queue's thread. */
    atomic_uint_fast64_t dirty_gen;  /* bumped by each completed change */
    atomic_uint_fast64_t synced_gen; /* dirty_gen that the last successful flush covered */
    atomic_int sync_error;           /* -errno of a failed flush; stays, the lost pages do not come back */
    atomic_bool no_nowait;           /* RWF_NOWAIT is not supported here */
    atomic_bool no_punch;            /* neither hole punching nor discard */
    atomic_bool no_zero_range;
};

/* Open path (regular file or block device) and lock it: shared for reading,
 * exclusive for writing.  0 with *file owned by the caller, or -errno with err. */
int bk_file_open(const char *path, bool writable, struct bk_file **file, struct bk_err *err) MB_MUST_CHECK;
void bk_file_close(struct bk_file *file);

/* Read exactly len bytes at off, at start-up. 0, -errno, -ENODATA at end of file. */
int bk_file_pread(const struct bk_file *file, void *buf, size_t len, uint64_t off) MB_MUST_CHECK;

/* Bring all completed changes to stable storage; blocks. 0 or -errno, which stays. */
int bk_file_sync(struct bk_file *file) MB_MUST_CHECK;

/* Note that what dirty_gen counted up to gen is stable. */
void bk_file_synced(struct bk_file *file, uint_fast64_t gen);

/* Note a completed change, so that the next flush is not skipped. */
static inline void
bk_file_dirtied(struct bk_file *file)
{
    atomic_fetch_add_explicit(&file->dirty_gen, 1, memory_order_release);
}

#endif

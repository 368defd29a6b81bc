/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Large writes that adjoin, collected to be one system call: the file system
 * locks the file, looks its pages up and takes its time stamps once.
 */
#ifndef BK_MERGE_H
#define BK_MERGE_H

#include "bk-engine.h"

#define BK_MERGE_MIN (64u * 1024)  /* bytes of a write that is worth it, */
#define BK_MERGE_MAX (512u * 1024) /* and of all of them: they complete together, while others wait */
#define BK_MERGE_IOV 256u          /* segments of all of them */

struct bk_merge {
    struct bk_xfer *first, **last; /* linked by next */
    uint64_t end, len;
    unsigned n_iov;
    struct iovec iov[BK_MERGE_IOV];
};

static inline bool
bk_merge_is_empty(const struct bk_merge *m)
{
    return !m->first;
}

/* x could be among them at all. */
bool bk_merge_wants(const struct bk_xfer *x);

/* x, which could, continues what is there, and there is room. m is not empty. */
bool bk_merge_fits(const struct bk_merge *m, const struct bk_xfer *x);

/* Add x, which fits or is the first. */
void bk_merge_add(struct bk_merge *m, struct bk_xfer *x);

/* Write what is there, which is the list that is returned; m is empty then. Each has its result: bytes,
 * -errno, or -EAGAIN when nothing was tried for it. Blocks. */
struct bk_xfer *bk_merge_write(struct bk_merge *m);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The io_uring of one queue.  Made before confinement, restricted to the
 * operations and the registered files that a disk needs, so that the ring
 * cannot be used to get around the system call filter.
 */
#ifndef BK_URING_H
#define BK_URING_H

#include "bk-engine.h"

struct bk_uring;

/* -ENOSYS when built without io_uring, or what the kernel says (EPERM, ENOSYS, ENOMEM). */
int bk_uring_new(struct bk_file *const *files, unsigned n_files, struct bk_uring **ring) MB_MUST_CHECK;
void bk_uring_free(struct bk_uring *ring);

/* Readable when completions wait. */
int bk_uring_fd(const struct bk_uring *ring);

/* The ring has an operation for x. */
bool bk_uring_can(const struct bk_uring *ring, const struct bk_xfer *x);

/* Queue x; it is given to the kernel by the next bk_uring_submit() at the latest. */
void bk_uring_queue(struct bk_uring *ring, struct bk_xfer *x);
void bk_uring_submit(struct bk_uring *ring);

/* Take one finished transfer, result filled; NULL if there is none. */
struct bk_xfer *bk_uring_take(struct bk_uring *ring);
#endif

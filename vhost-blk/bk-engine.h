/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Transfers between memory and host files, one engine per queue.
 *
 * An engine belongs to the thread of its queue; everything here is called on
 * that thread and every callback comes on it.  A transfer is tried at once
 * where that cannot block for long (data in the page cache, buffered writes);
 * otherwise it goes to the queue's io_uring, or to a pool of threads where
 * io_uring is forbidden or has no such operation.  Nothing is allocated for a
 * transfer: its structure is part of the request's.
 */
#ifndef BK_ENGINE_H
#define BK_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>

#include "bk-file.h"
#include "mb-macros.h"
#include "vh-loop.h"

struct bk_engine;
struct bk_pool;
struct bk_pool_client;

enum bk_xfer_op {
    BK_XFER_READ,
    BK_XFER_WRITE,
    BK_XFER_SYNC,    /* all completed changes of file reach stable storage */
    BK_XFER_DISCARD, /* the range is no longer needed; its contents are undefined (zeros on files) */
    BK_XFER_ZERO,    /* the range reads as zeros and stays allocated if possible */
    BK_XFER_UNMAP,   /* the range reads as zeros and is freed if possible */
    BK_XFER_CALL,    /* call() on a thread of the pool */
    BK_XFER_WORK,    /* call() on some thread, not to wait for a disk: where it says -EAGAIN, this becomes a CALL */
    BK_XFER_WAIT,    /* nothing, until bk_engine_wake() */
};

enum bk_status { BK_DONE, BK_PENDING };

struct bk_xfer {
    /* Set by the caller. iov is consumed: its entries change while the transfer runs. */
    enum bk_xfer_op op;
    bool dsync;             /* a write is on stable storage when it completes */
    struct bk_file *file;
    uint64_t offset;
    uint64_t len;           /* bytes; of all segments together for READ and WRITE */
    struct iovec *iov;
    unsigned n_iov;         /* at most IOV_MAX */
    void (*done)(struct bk_xfer *x); /* once, with err set; not called when the start said BK_DONE */
    int (*call)(struct bk_xfer *x);  /* CALL and WORK: 0 or -errno */

    /* The result: 0 or -errno. */
    int err;

    /* The engine's. */
    struct bk_pool_client *pool_client;
    struct bk_xfer *next;
    bool shared;            /* a READ or WORK that a thread of the pool does beside the queue's */
    struct iovec zeros;     /* what a ZERO or UNMAP without the file system's help writes from */
    bool by_writing;
    int result;
};

/* Monotonic clock, for budgets and polling. */
static inline uint64_t
bk_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- the process ------------------------------------------------------------ */

enum bk_engine_kind { BK_ENGINE_AUTO, BK_ENGINE_URING, BK_ENGINE_THREADS };

/* "auto", "io_uring", "threads": 0 or -EINVAL. */
int bk_engine_parse_kind(const char *name, enum bk_engine_kind *kind) MB_MUST_CHECK;

/*
 * An engine for one queue, made before confinement: with io_uring the ring
 * exists from here on, knows only the n_files registered files, and is
 * restricted to the operations we use.  AUTO falls back to threads when
 * io_uring is not available, URING fails then.  0 or -errno.
 */
int bk_engine_new(enum bk_engine_kind kind, struct bk_file *const *files, unsigned n_files,
                  struct bk_pool *pool, struct bk_engine **engine, struct bk_err *err) MB_MUST_CHECK;
void bk_engine_free(struct bk_engine *e);

/* "io_uring" or "threads". */
const char *bk_engine_name(const struct bk_engine *e);

bool bk_engine_has_ring(const struct bk_engine *e);

/* The engine's two descriptors, to be kept open; the ring's is -1 without one. */
void bk_engine_get_fds(const struct bk_engine *e, int fds[2]);

/* Carry x out on the calling thread, to its end; done() is not called. Returns x->err. */
int bk_xfer_run(struct bk_xfer *x);

/* ---- the queue's thread ------------------------------------------------------ */

/* Deliver completions on loop.  burst_end(opaque) is called after every group of them. 0 or -errno. */
int bk_engine_attach(struct bk_engine *e, struct vh_loop *loop, void (*burst_end)(void *opaque),
                     void *opaque) MB_MUST_CHECK;

/* Wait until nothing is pending (completions are delivered), leave the loop. */
void bk_engine_detach(struct bk_engine *e);

/* The thread takes requests from now on, and calls bk_engine_poll() or bk_engine_submit() after each of
 * them for which something is pending; until it sleeps. */
void bk_engine_wakes(struct bk_engine *e);
void bk_engine_sleeps(struct bk_engine *e);

/* More requests wait behind the one that is started next, or do not. */
void bk_engine_expect(struct bk_engine *e, bool more);

/* Start a transfer. BK_DONE: finished, x->err tells how; BK_PENDING: x->done() will be called. */
enum bk_status bk_engine_start(struct bk_engine *e, struct bk_xfer *x) MB_MUST_CHECK;

/* End of a burst of starts: hand over what was collected, deliver what is finished already. */
void bk_engine_submit(struct bk_engine *e);

/* Deliver what is finished, without a system call when nothing is (for polling
 * loops); true if something was, after which bk_engine_submit() is due. */
bool bk_engine_poll(struct bk_engine *e);

/* End a WAIT, from any thread: done() comes on the engine's. Or turn it into a CALL. */
void bk_engine_wake(struct bk_xfer *x, int err);
void bk_engine_wake_calling(struct bk_xfer *x, int (*call)(struct bk_xfer *x));

/* A number that tells the engines of a process apart. */
unsigned bk_engine_id(const struct bk_engine *e);

/* Transfers started and not finished. */
unsigned bk_engine_pending(const struct bk_engine *e);

#endif

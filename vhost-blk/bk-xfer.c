/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the result of a system call means for a transfer: see bk-xfer.h.
 */
#include <config.h>

#include <errno.h>

#include "mb-iov.h"
#include "mb-overflow.h"

#include "bk-pool.h"
#include "bk-xfer.h"

#define ZEROS_SIZE (64 * 1024)

static const uint8_t zeros[ZEROS_SIZE] __attribute__((aligned(4096)));

enum bk_status
bk_xfer_finished(struct bk_xfer *x, int err)
{
    if (err == 0 && x->op != BK_XFER_READ && x->op != BK_XFER_SYNC && x->op < BK_XFER_CALL)
        bk_file_dirtied(x->file);
    x->err = err;
    return BK_DONE;
}

/* n more bytes were transferred; BK_PENDING means that some remain. */
static enum bk_status
advance(struct bk_xfer *x, uint64_t n)
{
    x->offset += n;
    x->len -= n;
    if (x->len == 0)
        return bk_xfer_finished(x, 0);
    if (x->by_writing)
        x->zeros.iov_len = (size_t)MB_MIN(x->len, (uint64_t)ZEROS_SIZE);
    else
        mb_iov_cut_front(&x->iov, &x->n_iov, (size_t)n);
    return BK_PENDING;
}

static enum bk_status
rw_result(struct bk_xfer *x, int res)
{
    if (res == -EAGAIN || res == -EINTR)
        return BK_PENDING;
    if (res < 0)
        return bk_xfer_finished(x, res);
    if (res > 0)
        return advance(x, MB_MIN((uint64_t)res, x->len));
    if (x->op != BK_XFER_READ || x->offset < x->file->zeros_from)
        return bk_xfer_finished(x, -EIO);
    mb_iov_memset(x->iov, x->n_iov, 0, 0, (size_t)x->len);
    return advance(x, x->len);
}

static bool
is_unsupported(int res)
{
    return res == -EOPNOTSUPP || res == -ENOSYS || res == -ENOTTY || res == -ENODEV;
}

/* A device with blocks larger than our sectors has no way for a part of one but writing. */
static bool
is_aligned(const struct bk_xfer *x)
{
    return x->file->align <= 1 || mb_is_aligned(x->offset | x->len, x->file->align);
}

void
bk_xfer_settle(struct bk_xfer *x)
{
    bool by_writing;

    if (x->op != BK_XFER_UNMAP && x->op != BK_XFER_ZERO)
        return;
    by_writing = !is_aligned(x);
    if (by_writing || atomic_load_explicit(&x->file->no_punch, memory_order_relaxed))
        x->op = BK_XFER_ZERO;
    if (x->op == BK_XFER_UNMAP ||
        (!by_writing && !atomic_load_explicit(&x->file->no_zero_range, memory_order_relaxed)))
        return;
    x->by_writing = true;
    x->zeros.iov_base = (void *)(uintptr_t)zeros;
    x->zeros.iov_len = (size_t)MB_MIN(x->len, (uint64_t)ZEROS_SIZE);
    x->iov = &x->zeros;
    x->n_iov = 1;
}

static enum bk_status
unsupported(struct bk_xfer *x)
{
    atomic_store(x->op == BK_XFER_ZERO ? &x->file->no_zero_range : &x->file->no_punch, true);
    if (x->op == BK_XFER_DISCARD) /* only a hint */
        return bk_xfer_finished(x, 0);
    bk_xfer_settle(x);
    return BK_PENDING;
}

static enum bk_status
range_result(struct bk_xfer *x, int res)
{
    if (x->by_writing)
        return rw_result(x, res);
    if (res == -EINTR || res == -EAGAIN)
        return BK_PENDING;
    if (is_unsupported(res))
        return unsupported(x);
    if (x->op == BK_XFER_DISCARD && !is_aligned(x))
        res = 0; /* only a hint */
    return bk_xfer_finished(x, res < 0 ? res : 0);
}

enum bk_status
bk_xfer_result(struct bk_xfer *x, int res)
{
    switch (x->op) {
    case BK_XFER_READ:
    case BK_XFER_WRITE:
        return rw_result(x, res);
    case BK_XFER_DISCARD:
    case BK_XFER_ZERO:
    case BK_XFER_UNMAP:
        return range_result(x, res);
    case BK_XFER_SYNC:
        if (res == -EINTR || res == -EAGAIN)
            return BK_PENDING;
        return bk_xfer_finished(x, res);
    case BK_XFER_WORK:
        if (res != -EAGAIN)
            return bk_xfer_finished(x, res);
        x->op = BK_XFER_CALL;
        return BK_PENDING;
    case BK_XFER_CALL:
    case BK_XFER_WAIT:
        return bk_xfer_finished(x, res);
    }
    return bk_xfer_finished(x, -EINVAL);
}

int
bk_xfer_run(struct bk_xfer *x)
{
    x->by_writing = x->shared = false;
    bk_xfer_settle(x);
    while (bk_xfer_result(x, bk_blocking_run(x)) == BK_PENDING)
        ;
    return x->err;
}

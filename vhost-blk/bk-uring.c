/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * io_uring: one ring per queue, used by that queue's thread alone.
 *
 * The ring is created disabled, given its table of files and its restrictions,
 * and then enabled: from there on the kernel takes nothing but read, write,
 * fsync and fallocate on a registered file, and no further registration.
 *
 * Guest memory is not registered as fixed buffers: that would pin all of it,
 * and copies from the page cache gain nothing from it.
 */
#include <config.h>

#include "bk-uring.h"

#include <errno.h>

#ifdef HAVE_LIBURING

#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdlib.h>

#define SQ_ENTRIES 128
#define CQ_ENTRIES 2048 /* above the largest queue: completions never overflow */

struct bk_uring {
    struct io_uring ring;
    unsigned queued;    /* not yet given to the kernel */
    unsigned in_flight; /* given and not yet taken back */
};

static int
restrict_ring(struct io_uring *ring)
{
    static const uint8_t ops[] = {IORING_OP_READ,  IORING_OP_READV, IORING_OP_WRITE,
                                  IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE};
    struct io_uring_restriction res[MB_ARRAY_SIZE(ops) + 1] = {0};

    for (unsigned i = 0; i < MB_ARRAY_SIZE(ops); i++) {
        res[i].opcode = IORING_RESTRICTION_SQE_OP;
        res[i].sqe_op = ops[i];
    }
    res[MB_ARRAY_SIZE(ops)].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
    res[MB_ARRAY_SIZE(ops)].sqe_flags = IOSQE_FIXED_FILE;
    /* liburing 2.3 has functions for this and the next step, but its library does not export them. */
    return io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, res, MB_ARRAY_SIZE(res));
}

static int
register_files(struct io_uring *ring, struct bk_file *const *files, unsigned n)
{
    int *fds = calloc(n, sizeof(*fds));
    int rc;

    if (!fds)
        return -ENOMEM;
    for (unsigned i = 0; i < n; i++) {
        fds[i] = files[i]->fd;
        files[i]->slot = (int)i;
    }
    rc = io_uring_register_files(ring, fds, n);
    free(fds);
    return rc;
}

static int
init_ring(struct io_uring *ring)
{
    struct io_uring_params p = {.cq_entries = CQ_ENTRIES};
    int rc;

    p.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN |
              IORING_SETUP_TASKRUN_FLAG;
    rc = io_uring_queue_init_params(SQ_ENTRIES, ring, &p);
    if (rc != -EINVAL)
        return rc;
    /* Before Linux 5.19. */
    p = (struct io_uring_params){.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE, .cq_entries = CQ_ENTRIES};
    return io_uring_queue_init_params(SQ_ENTRIES, ring, &p);
}

int
bk_uring_new(struct bk_file *const *files, unsigned n_files, struct bk_uring **ring)
{
    struct bk_uring *r = calloc(1, sizeof(*r));
    int rc;

    if (!r)
        return -ENOMEM;
    rc = init_ring(&r->ring);
    if (rc < 0) {
        free(r);
        return rc;
    }
    rc = register_files(&r->ring, files, n_files);
    if (rc >= 0)
        rc = restrict_ring(&r->ring);
    if (rc >= 0)
        rc = io_uring_register((unsigned)r->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (rc < 0) {
        bk_uring_free(r);
        return rc;
    }
    *ring = r;
    return 0;
}

void
bk_uring_free(struct bk_uring *ring)
{
    if (!ring)
        return;
    io_uring_queue_exit(&ring->ring);
    free(ring);
}

int
bk_uring_fd(const struct bk_uring *ring)
{
    return ring->ring.ring_fd;
}

bool
bk_uring_can(const struct bk_uring *ring, const struct bk_xfer *x)
{
    switch (x->op) {
    case BK_XFER_READ:
    case BK_XFER_WRITE:
    case BK_XFER_SYNC:
        return true;
    case BK_XFER_DISCARD:
    case BK_XFER_ZERO:
    case BK_XFER_UNMAP:
        return !x->file->is_block || x->by_writing;
    case BK_XFER_CALL:
    case BK_XFER_WORK:
    case BK_XFER_WAIT:
        return false;
    }
    return false;
}

static void
prepare_rw(struct io_uring_sqe *sqe, const struct bk_xfer *x, bool write)
{
    int slot = x->file->slot;

    if (x->n_iov == 1 && x->iov->iov_len <= INT32_MAX) {
        if (write)
            io_uring_prep_write(sqe, slot, x->iov->iov_base, (unsigned)x->iov->iov_len, x->offset);
        else
            io_uring_prep_read(sqe, slot, x->iov->iov_base, (unsigned)x->iov->iov_len, x->offset);
    } else if (write) {
        io_uring_prep_writev(sqe, slot, x->iov, x->n_iov, x->offset);
    } else {
        io_uring_prep_readv(sqe, slot, x->iov, x->n_iov, x->offset);
    }
    if (write && x->dsync)
        sqe->rw_flags = RWF_DSYNC;
}

static void
prepare(struct io_uring_sqe *sqe, struct bk_xfer *x)
{
    int slot = x->file->slot;

    switch (x->op) {
    case BK_XFER_READ:
        prepare_rw(sqe, x, false);
        break;
    case BK_XFER_WRITE:
        prepare_rw(sqe, x, true);
        break;
    case BK_XFER_SYNC:
        io_uring_prep_fsync(sqe, slot, IORING_FSYNC_DATASYNC);
        break;
    case BK_XFER_ZERO:
        if (x->by_writing)
            prepare_rw(sqe, x, true);
        else
            io_uring_prep_fallocate(sqe, slot, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)x->offset,
                                    (off_t)x->len);
        break;
    case BK_XFER_DISCARD:
    case BK_XFER_UNMAP:
        io_uring_prep_fallocate(sqe, slot, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)x->offset,
                                (off_t)x->len);
        break;
    case BK_XFER_CALL:
    case BK_XFER_WORK:
    case BK_XFER_WAIT:
        break;
    }
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data(sqe, x);
}

void
bk_uring_queue(struct bk_uring *ring, struct bk_xfer *x)
{
    struct io_uring_sqe *sqe;

    while (!(sqe = io_uring_get_sqe(&ring->ring)))
        bk_uring_submit(ring);
    prepare(sqe, x);
    ring->queued++;
}

void
bk_uring_submit(struct bk_uring *ring)
{
    while (ring->queued > 0) {
        int rc = io_uring_submit(&ring->ring);

        if (rc > 0) {
            ring->queued -= MB_MIN(ring->queued, (unsigned)rc);
            ring->in_flight += (unsigned)rc;
        } else if (ring->in_flight > 0 && ring->queued < SQ_ENTRIES) {
            /* Out of memory for requests: those that finish make room. */
            return;
        }
    }
}

struct bk_xfer *
bk_uring_take(struct bk_uring *ring)
{
    struct io_uring_cqe *cqe;
    struct bk_xfer *x;

    if (ring->in_flight == 0 || io_uring_peek_cqe(&ring->ring, &cqe) != 0)
        return NULL;
    x = io_uring_cqe_get_data(cqe);
    x->result = cqe->res;
    io_uring_cqe_seen(&ring->ring, cqe);
    ring->in_flight--;
    return x;
}

#else /* !HAVE_LIBURING */

int
bk_uring_new(struct bk_file *const *files, unsigned n_files, struct bk_uring **ring)
{
    return -ENOSYS;
}

void
bk_uring_free(struct bk_uring *ring)
{
}

int
bk_uring_fd(const struct bk_uring *ring)
{
    return -1;
}

bool
bk_uring_can(const struct bk_uring *ring, const struct bk_xfer *x)
{
    return false;
}

void
bk_uring_queue(struct bk_uring *ring, struct bk_xfer *x)
{
}

void
bk_uring_submit(struct bk_uring *ring)
{
}

struct bk_xfer *
bk_uring_take(struct bk_uring *ring)
{
    return NULL;
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Flushes, and other operations that wait for a commit: one thread carries it out for all who came before it began. */
#include <config.h>

#include "bk-qcow2-rw.h"

static int commit_call(struct bk_xfer *x);

/* The next commit is carried out for one of those who came meanwhile. */
static void
pass_on(struct qcow2_rw *rw)
{
    if (rw->commit_queue)
        bk_engine_wake_calling(&rw->commit_queue->xfer, commit_call);
    else
        rw->committing = false;
    pthread_cond_broadcast(&rw->ended);
}

static int
commit_call(struct bk_xfer *x)
{
    struct bk_io *io = MB_CONTAINER_OF(x, struct bk_io, xfer);
    struct qcow2 *q = qcow2_of(io->image);
    struct qcow2_rw *rw = q->rw;
    struct bk_io *list;
    int rc;

    pthread_mutex_lock(&q->lock);
    list = rw->commit_queue;
    rw->commit_queue = NULL;
    rc = qcow2_commit(q);
    pass_on(rw);
    pthread_mutex_unlock(&q->lock);
    while (list) {
        struct bk_io *next = list->qcow2.next;

        if (list != io)
            bk_engine_wake(&list->xfer, rc);
        list = next;
    }
    return rc;
}

static void
on_committed(struct bk_xfer *x)
{
    struct bk_io *io = MB_CONTAINER_OF(x, struct bk_io, xfer);

    io->step(io);
}

enum bk_status
qcow2_await_commit(struct qcow2 *q, struct bk_io *io)
{
    struct qcow2_rw *rw = q->rw;

    io->qcow2.next = rw->commit_queue;
    rw->commit_queue = io;
    io->xfer.op = rw->committing ? BK_XFER_WAIT : BK_XFER_CALL;
    io->xfer.call = commit_call;
    io->xfer.done = on_committed;
    rw->committing = true;
    return bk_engine_start(io->engine, &io->xfer);
}

int
qcow2_commit_now(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t batch = rw->batch;
    int rc = rw->error;

    while (rc == 0 && rw->stable < batch) {
        if (rw->committing) {
            pthread_cond_wait(&rw->ended, &q->lock);
            rc = rw->error;
        } else {
            rw->committing = true;
            rc = qcow2_commit(q);
            pass_on(rw);
        }
    }
    return rc;
}

void
qcow2_end(struct qcow2 *q, struct bk_io *io)
{
    bool commit = io->qcow2.commit;

    qcow2_leave(q, io);
    if (io->dsync && io->xfer.err == 0 && !commit) {
        pthread_mutex_lock(&q->lock);
        commit = qcow2_needs_commit(q);
        pthread_mutex_unlock(&q->lock);
    }
    if (commit && io->xfer.err == 0)
        qcow2_flush(&q->image, io);
    else
        io->done(io, io->xfer.err);
}

static void
flush_over(struct bk_io *io)
{
    io->done(io, io->xfer.err);
}

void
qcow2_flush(struct bk_image *image, struct bk_io *io)
{
    struct qcow2 *q = qcow2_of(image);
    enum bk_status status;

    pthread_mutex_lock(&q->lock);
    if (!qcow2_needs_commit(q)) {
        pthread_mutex_unlock(&q->lock);
        bk_io_whole(io, BK_XFER_SYNC, q->file, 0);
        return;
    }
    io->step = flush_over;
    status = qcow2_await_commit(q, io);
    pthread_mutex_unlock(&q->lock);
    if (status == BK_DONE)
        flush_over(io);
}

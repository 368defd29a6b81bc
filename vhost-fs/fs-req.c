/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Decoding a request, running its handler, encoding the reply; see fs-req.h.
 */
#include <config.h>

#include "fs-req.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs-core.h"
#include "fs-dispatch.h"
#include "fs-lock.h"
#include "fs-ops.h"
#include "fs-path.h"
#include "mb-iov.h"
#include "mb-log.h"

struct fs_worker *
fs_worker_new(void)
{
    return malloc(sizeof(struct fs_worker));
}

void
fs_worker_free(struct fs_worker *worker)
{
    free(worker);
}

/* ---- reply ---------------------------------------------------------------------------- */

/* Header and payload into the in segments; payload lies in the worker's scratch memory. */
static void
put_reply(struct fs_req *req, int error, const void *payload, size_t len, size_t in_place)
{
    struct fuse_out_header out = {
        .len = (uint32_t)(sizeof(out) + len + in_place),
        .error = error,
        .unique = req->hdr.unique,
    };

    if (req->in_len < out.len) {
        req->written = 0;
        return;
    }
    if (req->n_in && req->in[0].iov_len >= sizeof(out) + len) {
        memcpy(req->in[0].iov_base, &out, sizeof(out));
        if (len)
            memcpy((char *)req->in[0].iov_base + sizeof(out), payload, len);
    } else {
        mb_iov_from_buf(req->in, req->n_in, 0, &out, sizeof(out));
        mb_iov_from_buf(req->in, req->n_in, sizeof(out), payload, len);
    }
    req->written = out.len;
}

void
fs_req_finish(struct fs_req *req, int error)
{
    put_reply(req, error, NULL, 0, 0);
    req->done(req);
}

void
fs_req_cancel_all(struct fs *fs)
{
    fs_lock_cancel_all(fs);
}

/* ---- request ---------------------------------------------------------------------------- */

static int
copy_header(struct fs_req *req)
{
    if (req->n_out && req->out[0].iov_len >= sizeof(req->hdr))
        memcpy(&req->hdr, req->out[0].iov_base, sizeof(req->hdr));
    else if (mb_iov_to_buf(req->out, req->n_out, 0, &req->hdr, sizeof(req->hdr)) < sizeof(req->hdr))
        return -EINVAL;
    return 0;
}

/* The arguments that the handler may look at, in scratch memory. */
static int
copy_arguments(struct fs_req *req, const struct fs_op *op)
{
    size_t len, copy;

    if (req->hdr.len < sizeof(req->hdr) || req->hdr.len > req->out_len)
        return -EINVAL;
    len = req->hdr.len - sizeof(req->hdr);
    if (len < op->fixed || len > op->max)
        return -EINVAL;
    copy = op->flags & FS_OP_DATA ? op->fixed : len;
    if (copy > sizeof(req->worker->body))
        return -EINVAL;
    req->arg = req->worker->body;
    req->arg_len = copy;
    return mb_iov_to_buf(req->out, req->n_out, sizeof(req->hdr), req->worker->body, copy) == copy ? 0 : -EINVAL;
}

static int
run_op(struct fs_req *req, const struct fs_op *op)
{
    int r;

    if (!op)
        return -ENOSYS;
    if (!(op->flags & FS_OP_NO_REPLY) && req->in_len < sizeof(struct fuse_out_header) + op->reply)
        return -EINVAL;
    if (!(op->flags & FS_OP_FIRST) && !atomic_load_explicit(&req->fs->init_flags, memory_order_relaxed))
        return -EIO;
    r = copy_arguments(req, op);
    if (r < 0)
        return r;
    if (op->flags & FS_OP_CHANGES && req->fs->config.read_only)
        return -EROFS;
    if (op->flags & FS_OP_BLOCKS && !req->may_wait)
        return FS_OP_WAIT;
    return op->run(req);
}

enum fs_req_state
fs_req_run(struct fs_req *req, struct fs_worker *worker)
{
    const struct fs_op *op;
    int r;

    req->worker = worker;
    req->written = 0;
    req->reply_len = 0;
    req->data_len = 0;
    req->arg_len = 0;
    req->out_len = mb_iov_size(req->out, req->n_out);
    req->in_len = mb_iov_size(req->in, req->n_in);
    if (copy_header(req) < 0) {
        mb_warn_limited("a request of %zu bytes is shorter than its header", req->out_len);
        return FS_REQ_DONE;
    }
    op = fs_op_find(req->hdr.opcode);
    r = run_op(req, op);
    if (r == FS_OP_WAIT)
        return FS_REQ_WAITS;
    if (r == FS_OP_PENDING)
        return FS_REQ_PENDING;
    mb_debug("%s %llu: node %#llx, %zu + %zu bytes: %d", op ? op->name : "?", (unsigned long long)req->hdr.unique,
             (unsigned long long)req->hdr.nodeid, req->arg_len, req->reply_len + req->data_len, r);
    if (op && op->flags & FS_OP_NO_REPLY)
        return FS_REQ_DONE;
    if (r < 0)
        put_reply(req, r, NULL, 0, 0);
    else
        put_reply(req, 0, worker->reply, req->reply_len, req->data_len);
    return FS_REQ_DONE;
}

/* ---- for handlers ------------------------------------------------------------------------- */

const char *
fs_req_string(const struct fs_req *req, size_t offset, size_t *next)
{
    const uint8_t *end;

    if (offset >= req->arg_len)
        return NULL;
    end = memchr(req->arg + offset, 0, req->arg_len - offset);
    if (!end)
        return NULL;
    if (next)
        *next = (size_t)(end - req->arg) + 1;
    return (const char *)req->arg + offset;
}

int
fs_req_name(const struct fs_req *req, size_t offset, const char **name, size_t *next)
{
    size_t end;

    *name = fs_req_string(req, offset, &end);
    if (!*name)
        return -EINVAL;
    if (next)
        *next = end;
    return fs_name_check(*name, end - offset - 1);
}

void *
fs_req_reply(struct fs_req *req, size_t len)
{
    req->reply_len = len;
    return memset(req->worker->reply, 0, len);
}

size_t
fs_req_room(const struct fs_req *req)
{
    return req->in_len > sizeof(struct fuse_out_header) ? req->in_len - sizeof(struct fuse_out_header) : 0;
}

int
fs_req_data_out(struct fs_req *req, size_t skip, size_t len)
{
    return mb_iov_slice(req->worker->iov, MB_ARRAY_SIZE(req->worker->iov), req->out, req->n_out,
                        sizeof(req->hdr) + skip, len);
}

int
fs_req_data_in(struct fs_req *req, size_t len)
{
    return mb_iov_slice(req->worker->iov, MB_ARRAY_SIZE(req->worker->iov), req->in, req->n_in,
                        sizeof(struct fuse_out_header), len);
}

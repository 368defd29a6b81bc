/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GETLK, SETLK, SETLKW; see fs-lock.h.
 */
#include <config.h>

#include "fs-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "fs-core.h"
#include "fs-lock-priv.h"
#include "fs-ops.h"
#include "mb-cleanup.h"

static int
get_lock_file(struct fs_req *req, const struct fuse_lk_in *in, struct fs_handle **handle)
{
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};

    if (!node.node)
        return -ESTALE;
    *handle = fs_handle_get(req->fs, in->fh, node.node, false);
    if (!*handle && in->lk_flags & FUSE_LK_FLOCK)
        *handle = fs_handle_get(req->fs, in->fh, node.node, true);
    return *handle && (*handle)->fd >= 0 ? 0 : -EBADF;
}

/* The guest's range: end is inclusive, and the largest offset means "to the end". */
static int
make_flock(const struct fuse_file_lock *lk, struct flock *fl)
{
    if (lk->start > INT64_MAX || lk->end > INT64_MAX || lk->start > lk->end ||
        (lk->type != F_RDLCK && lk->type != F_WRLCK && lk->type != F_UNLCK))
        return -EINVAL;
    *fl = (struct flock){
        .l_type = (short)lk->type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)lk->start,
        .l_len = lk->end == INT64_MAX ? 0 : (off_t)(lk->end - lk->start + 1),
    };
    return 0;
}

int
fs_op_getlk(struct fs_req *req)
{
    const struct fuse_lk_in *in = FS_ARG(req, struct fuse_lk_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    struct fs_lock_owner *owner;
    struct fuse_lk_out *out;
    struct flock fl;
    int r;

    r = get_lock_file(req, in, &handle);
    if (r == 0)
        r = make_flock(&in->lk, &fl);
    if (r == 0)
        r = fl.l_type == F_UNLCK ? -EINVAL : fs_lock_owner_get(req->fs, handle, in->owner, &owner);
    if (r < 0)
        return r;
    r = fcntl(owner->fd, F_OFD_GETLK, &fl) < 0 ? -errno : 0;
    fs_lock_owner_put(owner);
    if (r < 0)
        return r;
    out = fs_req_reply(req, sizeof(*out));
    out->lk.type = (uint32_t)fl.l_type;
    if (fl.l_type != F_UNLCK) {
        out->lk.start = (uint64_t)fl.l_start;
        out->lk.end = fl.l_len ? (uint64_t)(fl.l_start + fl.l_len - 1) : INT64_MAX;
    }
    return 0;
}

static int
set_flock(struct fs_req *req, struct fs_handle **handle, uint32_t type, bool wait)
{
    int op = type == F_UNLCK ? LOCK_UN : type == F_RDLCK ? LOCK_SH : LOCK_EX;
    struct fs_lock_waiter *w;

    if (flock((*handle)->fd, op | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK || !wait || !req->done)
        return -errno;
    w = fs_lock_waiter_new(req);
    if (!w)
        return -ENOMEM;
    w->handle = mb_steal_ptr(handle);
    w->flock_op = op;
    return fs_lock_waiter_start(req->fs, w);
}

static int
set_posix(struct fs_req *req, struct fs_handle *handle, const struct fuse_lk_in *in, bool wait)
{
    struct fs_lock_owner *owner;
    struct fs_lock_waiter *w;
    struct flock fl;
    int r;

    r = make_flock(&in->lk, &fl);
    if (r == 0)
        r = fs_lock_owner_get(req->fs, handle, in->owner, &owner);
    if (r < 0)
        return r;
    if (fcntl(owner->fd, F_OFD_SETLK, &fl) == 0) {
        fs_lock_owner_put(owner);
        return 0;
    }
    r = -errno;
    if ((r != -EAGAIN && r != -EACCES) || !wait || !req->done) {
        fs_lock_owner_put(owner);
        return r == -EACCES ? -EAGAIN : r;
    }
    w = fs_lock_waiter_new(req);
    if (!w) {
        fs_lock_owner_put(owner);
        return -ENOMEM;
    }
    w->owner = owner;
    w->fl = fl;
    return fs_lock_waiter_start(req->fs, w);
}

static int
set_lock(struct fs_req *req, bool wait)
{
    const struct fuse_lk_in *in = FS_ARG(req, struct fuse_lk_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    int r = get_lock_file(req, in, &handle);

    if (r < 0)
        return r;
    if (in->lk_flags & FUSE_LK_FLOCK)
        return set_flock(req, &handle, in->lk.type, wait);
    return set_posix(req, handle, in, wait);
}

int
fs_op_setlk(struct fs_req *req)
{
    return set_lock(req, false);
}

int
fs_op_setlkw(struct fs_req *req)
{
    return set_lock(req, true);
}

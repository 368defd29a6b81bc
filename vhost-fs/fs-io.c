/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * READ, WRITE and the other operations on open files.
 *
 * A read is tried without waiting first: what the page cache holds is there
 * at once, and only a read that needs the disk goes to a thread that may wait;
 * or a large one, which takes long because of its size, when others wait behind
 * it.  Writes to one file take turns in the host's kernel: those stay.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-ops.h"
#include "fs-path.h"
#include "mb-cleanup.h"
#include "mb-iov.h"
#include "mb-overflow.h"

/* The open file that the request names. */
static int
get_file(struct fs_req *req, uint64_t nodeid, uint64_t fh, struct fs_handle **handle)
{
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, nodeid)};

    if (!node.node)
        return -ESTALE;
    *handle = fs_handle_get(req->fs, fh, node.node, false);
    return *handle ? 0 : -EBADF;
}

/* preadv2() that restarts; a filesystem that cannot tell whether it would wait, waits. */
static ssize_t
read_some(int fd, const struct iovec *iov, int n, uint64_t offset, int flags)
{
    ssize_t got;

    do {
        got = preadv2(fd, iov, n, (off_t)offset, flags);
        if (got < 0 && errno == EOPNOTSUPP && flags)
            flags = 0;
        else if (got >= 0 || errno != EINTR)
            break;
    } while (true);
    return got < 0 ? -errno : got;
}

int
fs_op_read(struct fs_req *req)
{
    const struct fuse_read_in *in = FS_ARG(req, struct fuse_read_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    int flags = req->may_wait ? 0 : RWF_NOWAIT;
    struct iovec *iov = req->worker->iov;
    size_t want = MB_MIN(MB_MIN(in->size, FS_MAX_WRITE), fs_req_room(req));
    unsigned n;
    int r;

    r = get_file(req, req->hdr.nodeid, in->fh, &handle);
    if (r < 0)
        return r;
    if (!mb_range_within(in->offset, want, INT64_MAX))
        return -EINVAL;
    if (want >= FS_LARGE_READ && req->others_wait && !req->may_wait)
        return FS_OP_WAIT;
    r = fs_req_data_in(req, want);
    if (r < 0)
        return r;
    n = (unsigned)r;
    while (n && req->data_len < want) {
        ssize_t got = read_some(handle->fd, iov, (int)n, in->offset + req->data_len, flags);

        if (got == -EAGAIN && flags) {
            req->data_len = 0;
            return FS_OP_WAIT;
        }
        if (got < 0)
            return (int)got;
        if (got == 0)
            break;
        req->data_len += (size_t)got;
        mb_iov_cut_front(&iov, &n, (size_t)got);
    }
    return 0;
}

/* The protocol has no flag with these operations: a user other than root changes the file. */
static int
kill_suid(struct fs_req *req, struct fs_handle *handle)
{
    struct fs_fd fd = {.fd = handle->fd, .real = true, .handle = handle};

    return req->hdr.uid == 0 ? 0 : fs_ident_kill_suid(req->fs, handle->node, &fd, req->hdr.gid);
}

/* len bytes of the request to the file: how many were written, or -errno.  Pages of a mapping that
 * are written back come through any descriptor that the guest has of the file, and belong where
 * they say, also if that is one for appending. */
static ssize_t
write_some(struct fs_req *req, const struct fs_handle *handle, uint64_t offset, size_t len)
{
    const struct fuse_write_in *in = FS_ARG(req, struct fuse_write_in);
    int n = fs_req_data_out(req, sizeof(*in), len), fd = handle->fd;
    mb_autofd int plain = -1;
    ssize_t put;

    if (n < 0)
        return n;
    if (handle->append && in->write_flags & FUSE_WRITE_CACHE) {
        plain = fs_path_reopen(req->fs, handle->fd, O_WRONLY);
        if (plain < 0)
            return plain;
        fd = plain;
    }
    do {
        put = pwritev2(fd, req->worker->iov, n, (off_t)offset, 0);
    } while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

/* As much as the quota has room for. */
static ssize_t
write_within_quota(struct fs_req *req, struct fs_handle *handle, uint64_t offset, size_t len)
{
    struct fs_quota *quota = req->fs->quota;
    int64_t reserved = fs_quota_write_begin(quota, handle, offset, &len);
    ssize_t put;

    if (reserved < 0)
        return reserved;
    put = write_some(req, handle, offset, len);
    fs_quota_write_end(quota, handle, reserved);
    return put;
}

int
fs_op_write(struct fs_req *req)
{
    const struct fuse_write_in *in = FS_ARG(req, struct fuse_write_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    ssize_t put;
    int r;

    r = get_file(req, req->hdr.nodeid, in->fh, &handle);
    if (r < 0)
        return r;
    if (!handle->writable)
        return -EBADF;
    if (in->size > FS_MAX_WRITE || !mb_range_within(in->offset, in->size, INT64_MAX))
        return -EINVAL;
    if (handle->sync && !req->may_wait)
        return FS_OP_WAIT;
    if (in->write_flags & FUSE_WRITE_KILL_SUIDGID) {
        struct fs_fd fd = {.fd = handle->fd, .real = true, .handle = handle};

        r = fs_ident_kill_suid(req->fs, handle->node, &fd, req->hdr.gid);
        if (r < 0)
            return r;
    }
    put = MB_UNLIKELY(req->fs->quota) ? write_within_quota(req, handle, in->offset, in->size)
                                      : write_some(req, handle, in->offset, in->size);
    if (put < 0)
        return (int)put;
    ((struct fuse_write_out *)fs_req_reply(req, sizeof(struct fuse_write_out)))->size = (uint32_t)put;
    return 0;
}

int
fs_op_fsync(struct fs_req *req)
{
    const struct fuse_fsync_in *in = FS_ARG(req, struct fuse_fsync_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    int r = get_file(req, req->hdr.nodeid, in->fh, &handle);

    if (r < 0)
        return r;
    r = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(handle->fd) : fsync(handle->fd);
    return r < 0 ? -errno : 0;
}

int
fs_op_fallocate(struct fs_req *req)
{
    const struct fuse_fallocate_in *in = FS_ARG(req, struct fuse_fallocate_in);
    const uint32_t modes = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE |
                           FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
    const uint32_t freeing = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
    fs_auto_handle struct fs_handle *handle = NULL;
    fs_auto_quota struct fs_quota_op quota = {.q = NULL};
    int r = get_file(req, req->hdr.nodeid, in->fh, &handle);

    if (r < 0)
        return r;
    if (!handle->writable)
        return -EBADF;
    if (in->mode & ~modes)
        return -EOPNOTSUPP;
    if (in->length == 0 || !mb_range_within(in->offset, in->length, INT64_MAX))
        return -EINVAL;
    r = kill_suid(req, handle);
    if (r < 0)
        return r;
    r = fs_quota_begin(&quota, req->fs->quota, in->mode & freeing ? 0 : in->length, 0);
    if (r < 0)
        return r;
    fs_quota_touch(&quota, handle->fd);
    do {
        r = fallocate(handle->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

int
fs_op_lseek(struct fs_req *req)
{
    const struct fuse_lseek_in *in = FS_ARG(req, struct fuse_lseek_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    int r = get_file(req, req->hdr.nodeid, in->fh, &handle);
    off_t at;

    if (r < 0)
        return r;
    if ((in->whence != SEEK_DATA && in->whence != SEEK_HOLE) || in->offset > INT64_MAX)
        return -EINVAL;
    at = lseek(handle->fd, (off_t)in->offset, (int)in->whence);
    if (at < 0)
        return -errno;
    ((struct fuse_lseek_out *)fs_req_reply(req, sizeof(struct fuse_lseek_out)))->offset = (uint64_t)at;
    return 0;
}

/* Reserve for what there is to copy; less than was asked for when there is no room for all of it. */
static int
begin_copy(struct fs_quota *quota, const struct fs_handle *from, uint64_t offset, size_t *len,
           struct fs_quota_op *op)
{
    const size_t least = 65536;
    struct stat st;
    int r;

    if (!quota)
        return 0;
    if (fstat(from->fd, &st) < 0)
        return -errno;
    *len = (size_t)MB_MIN((uint64_t)*len, (uint64_t)st.st_size > offset ? (uint64_t)st.st_size - offset : 0);
    /* A block at either end is for what is not aligned. */
    for (r = fs_quota_begin(op, quota, *len + 8192, 0); r == -ENOSPC && *len > least; *len /= 2)
        r = fs_quota_begin(op, quota, *len / 2 + 8192, 0);
    return r;
}

int
fs_op_copy_file_range(struct fs_req *req)
{
    const struct fuse_copy_file_range_in *in = FS_ARG(req, struct fuse_copy_file_range_in);
    fs_auto_handle struct fs_handle *from = NULL;
    fs_auto_handle struct fs_handle *to = NULL;
    fs_auto_quota struct fs_quota_op quota = {.q = NULL};
    off_t off_in = (off_t)in->off_in, off_out = (off_t)in->off_out;
    size_t len = MB_MIN(in->len, UINT64_C(0x7ffff000));
    ssize_t done;
    int r;

    if (!mb_range_within(in->off_in, len, INT64_MAX) || !mb_range_within(in->off_out, len, INT64_MAX))
        return -EINVAL;
    r = get_file(req, req->hdr.nodeid, in->fh_in, &from);
    if (r == 0)
        r = get_file(req, in->nodeid_out, in->fh_out, &to);
    if (r < 0)
        return r;
    if (in->flags)
        return -EINVAL;
    if (!to->writable)
        return -EBADF;
    r = kill_suid(req, to);
    if (r < 0)
        return r;
    r = begin_copy(req->fs->quota, from, in->off_in, &len, &quota);
    if (r < 0)
        return r;
    fs_quota_touch(&quota, to->fd);
    do {
        done = copy_file_range(from->fd, &off_in, to->fd, &off_out, len, 0);
    } while (done < 0 && errno == EINTR);
    if (done < 0)
        return -errno;
    ((struct fuse_write_out *)fs_req_reply(req, sizeof(struct fuse_write_out)))->size = (uint32_t)done;
    return 0;
}

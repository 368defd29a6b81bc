/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GETATTR, SETATTR, ACCESS.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-ops.h"
#include "fs-path.h"
#include "mb-cleanup.h"

#define PERM_BITS 07777u

void
fs_attr_fill(const struct statx *stx, const struct fs_ident *id, struct fuse_attr *attr)
{
    *attr = (struct fuse_attr){
        .ino = stx->stx_ino,
        .size = stx->stx_size,
        .blocks = stx->stx_blocks,
        .atime = (uint64_t)stx->stx_atime.tv_sec,
        .mtime = (uint64_t)stx->stx_mtime.tv_sec,
        .ctime = (uint64_t)stx->stx_ctime.tv_sec,
        .atimensec = stx->stx_atime.tv_nsec,
        .mtimensec = stx->stx_mtime.tv_nsec,
        .ctimensec = stx->stx_ctime.tv_nsec,
        .mode = id->mode,
        .nlink = stx->stx_nlink,
        .uid = id->uid,
        .gid = id->gid,
        .rdev = id->rdev,
        .blksize = stx->stx_blksize,
    };
}

/* The root of a single-file share has nothing of the directory that the file lies in
 * but its times. */
static void
single_root(struct statx *stx, struct fs_ident *id)
{
    stx->stx_nlink = 2;
    stx->stx_size = 0;
    stx->stx_blocks = 0;
    *id = (struct fs_ident){.mode = S_IFDIR | 0555};
}

/* A descriptor for the request: the handle's if it names one, else the node's. */
static int
attr_fd(struct fs *fs, struct fs_node *node, bool have_fh, uint64_t fh, struct fs_fd *fd)
{
    if (have_fh) {
        struct fs_handle *handle = fs_handle_get(fs, fh, node, node->type == S_IFDIR);

        if (handle && handle->fd >= 0) {
            *fd = (struct fs_fd){.fd = handle->fd, .real = true, .handle = handle};
            return 0;
        }
        if (handle)
            fs_handle_put(handle);
    }
    return fs_node_fd(fs, node, fd);
}

static int
reply_attr(struct fs_req *req, struct fs_node *node, const struct fs_fd *fd)
{
    struct fs *fs = req->fs;
    struct fuse_attr_out *out;
    struct fs_ident id;
    struct statx stx;
    int r;

    r = fs_path_stat_fd(fd->fd, &stx);
    if (r < 0)
        return r;
    if (fs->single && node == fs->root) {
        single_root(&stx, &id);
    } else {
        r = fs_ident_load(fs, node, fd, &stx, &id);
        if (r < 0)
            return r;
    }
    out = fs_req_reply(req, sizeof(*out));
    out->attr_valid = fs_attr_seconds(fs);
    fs_attr_fill(&stx, &id, &out->attr);
    return 0;
}

int
fs_op_getattr(struct fs_req *req)
{
    const struct fuse_getattr_in *in = FS_ARG(req, struct fuse_getattr_in);
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    int r;

    if (!node.node)
        return -ESTALE;
    r = attr_fd(req->fs, node.node, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &fd);
    return r < 0 ? r : reply_attr(req, node.node, &fd);
}

/* ---- setattr -------------------------------------------------------------------------------- */

/* The identity with what the request asks for; true if that is a change. */
static bool
apply_identity(const struct fuse_setattr_in *in, struct fs_ident *id)
{
    if (in->valid & FATTR_MODE)
        id->mode = (id->mode & S_IFMT) | (in->mode & PERM_BITS);
    if (in->valid & FATTR_UID)
        id->uid = in->uid;
    if (in->valid & FATTR_GID)
        id->gid = in->gid;
    /* chown() of a file takes set-user-ID away, and set-group-ID where it means execution;
     * a mode sent along is the caller's word on it. */
    if (in->valid & (FATTR_UID | FATTR_GID | FATTR_KILL_SUIDGID) && !(in->valid & FATTR_MODE) &&
        !S_ISDIR(id->mode)) {
        id->mode &= ~(uint32_t)S_ISUID;
        if (id->mode & S_IXGRP)
            id->mode &= ~(uint32_t)S_ISGID;
    }
    return in->valid & (FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_KILL_SUIDGID);
}

/* A real link shows whom all of them belong to: that can be asked for, as cp(1) and tar(1) do, and nothing else. */
static int
set_link_owner(const struct fs *fs, const struct statx *stx, const struct fuse_setattr_in *in)
{
    struct fs_ident id;

    if (in->valid & FATTR_MODE)
        return -EOPNOTSUPP;
    fs_ident_default(fs, stx, &id);
    return (in->valid & FATTR_UID && in->uid != id.uid) || (in->valid & FATTR_GID && in->gid != id.gid) ? -EPERM : 0;
}

static int
set_identity(struct fs *fs, struct fs_node *node, const struct fs_fd *fd, const struct fuse_setattr_in *in)
{
    struct fs_ident id, old;
    struct statx stx;
    int r;

    r = fs_path_stat_fd(fd->fd, &stx);
    if (r < 0)
        return r;
    /* Only files and directories carry attributes; of the rest only links may be asked to
     * change, and Linux has no mode for them. */
    if (!fs_ident_possible(fs, &stx))
        return set_link_owner(fs, &stx, in);
    r = fs_ident_load(fs, node, fd, &stx, &id);
    if (r < 0)
        return r;
    if (in->valid & FATTR_MODE && S_ISLNK(id.mode))
        return -EOPNOTSUPP;
    old = id;
    if (!apply_identity(in, &id) ||
        (memcmp(&old, &id, sizeof(id)) == 0 && !(in->valid & (FATTR_MODE | FATTR_UID | FATTR_GID))))
        return 0;
    if (in->valid & FATTR_MODE) {
        r = fs_ident_mirror(fs, fd, id.mode);
        if (r < 0)
            return r;
    }
    return fs_ident_store(fs, node, fd, &id);
}

/* chmod() takes set-group-ID away from a directory whose group is not the process's, without a word. */
static int
set_host_mode(const struct fs *fs, const struct fs_fd *fd, uint32_t mode)
{
    struct statx before, after;
    int r = fs_path_stat_fd(fd->fd, &before);

    if (r == 0)
        r = fs_path_chmod(fd, mode);
    if (r < 0 || fs->euid == 0 || !(mode & S_ISGID))
        return r;
    r = fs_path_stat_fd(fd->fd, &after);
    if (r == 0 && !(after.stx_mode & S_ISGID)) {
        (void)!fs_path_chmod(fd, before.stx_mode & PERM_BITS);
        return -EPERM;
    }
    return r;
}

/* stat-virt off: the host's own owner and mode.  What an ordinary user may not do fails as
 * it does for that user; set-ID bits on files are refused, as they would give the guest's
 * programs the rights of the user on the host. */
static int
set_host_owner_mode(struct fs *fs, const struct fs_fd *fd, const struct fuse_setattr_in *in, uint16_t type)
{
    if (in->valid & (FATTR_UID | FATTR_GID)) {
        uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
        gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

        if (fchownat(fd->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
            return -errno;
    }
    if (in->valid & FATTR_MODE) {
        if (fs->euid != 0 && type == S_IFREG && in->mode & (S_ISUID | S_ISGID))
            return -EPERM;
        return set_host_mode(fs, fd, in->mode & PERM_BITS);
    }
    return 0;
}

static int
set_size(struct fs_req *req, struct fs_node *node, const struct fs_fd *fd)
{
    const struct fuse_setattr_in *in = FS_ARG(req, struct fuse_setattr_in);
    struct fs_fd_path path;
    int r = 0;

    if (node->type == S_IFDIR)
        return -EISDIR;
    if (!fs_node_is_file(req->fs, node) || in->size > INT64_MAX)
        return -EINVAL;
    if (in->valid & FATTR_KILL_SUIDGID) {
        r = fs_ident_kill_suid(req->fs, node, fd, req->hdr.gid);
        if (r < 0)
            return r;
    }
    if (fd->real && fd->handle->writable) {
        do {
            r = ftruncate(fd->fd, (off_t)in->size);
        } while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : 0;
    }
    /* The path of the descriptor: follows to the very file, which is a regular one. */
    path = fs_path_of_fd(fd->fd);
    do {
        r = truncate(path.s, (off_t)in->size);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static struct timespec
time_of(uint32_t valid, uint32_t set, uint32_t now, uint64_t sec, uint32_t nsec)
{
    if (valid & now)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (valid & set)
        return (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = nsec};
    return (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int
set_times(const struct fs_fd *fd, const struct fuse_setattr_in *in)
{
    struct timespec ts[2] = {
        time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
        time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
    };
    struct fs_fd_path path;

    if ((in->valid & FATTR_ATIME && in->atimensec >= 1000000000) ||
        (in->valid & FATTR_MTIME && in->mtimensec >= 1000000000))
        return -EINVAL;
    if (fd->real)
        return futimens(fd->fd, ts) < 0 ? -errno : 0;
    path = fs_path_of_fd(fd->fd);
    return utimensat(AT_FDCWD, path.s, ts, 0) < 0 ? -errno : 0;
}

int
fs_op_setattr(struct fs_req *req)
{
    const struct fuse_setattr_in *in = FS_ARG(req, struct fuse_setattr_in);
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    fs_auto_quota struct fs_quota_op quota = {.q = NULL};
    struct fs *fs = req->fs;
    int r;

    if (!node.node)
        return -ESTALE;
    if (fs->single && node.node == fs->root)
        return -EPERM;
    r = attr_fd(fs, node.node, in->valid & FATTR_FH, in->fh, &fd);
    if (r == 0)
        r = fs_quota_begin(&quota, fs->quota, 0, 0);
    if (r < 0)
        return r;
    fs_quota_touch(&quota, fd.fd);
    /* Who is not of the file's group loses its set-group-ID by chown(), whatever it means. */
    if (in->valid & (FATTR_UID | FATTR_GID) && !(in->valid & FATTR_MODE) && req->hdr.uid != 0 &&
        (fs->config.stat_virt != FS_STAT_OFF || fs->euid == 0)) {
        r = fs_ident_kill_suid(fs, node.node, &fd, req->hdr.gid);
        if (r < 0)
            return r;
    }
    if (in->valid & (FATTR_MODE | FATTR_UID | FATTR_GID)) {
        r = fs->config.stat_virt == FS_STAT_OFF ? set_host_owner_mode(fs, &fd, in, node.node->type)
                                                : set_identity(fs, node.node, &fd, in);
    } else if (in->valid & FATTR_KILL_SUIDGID && !(in->valid & FATTR_SIZE)) {
        r = fs_ident_kill_suid(fs, node.node, &fd, req->hdr.gid);
    }
    if (r == 0 && in->valid & FATTR_SIZE)
        r = set_size(req, node.node, &fd);
    if (r == 0 && in->valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW))
        r = set_times(&fd, in);
    return r < 0 ? r : reply_attr(req, node.node, &fd);
}

/* ---- access --------------------------------------------------------------------------------- */

int
fs_op_access(struct fs_req *req)
{
    const struct fuse_access_in *in = FS_ARG(req, struct fuse_access_in);
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    struct fs_ident id;
    struct statx stx;
    uint32_t bits;
    int r;

    if (!node.node)
        return -ESTALE;
    if (in->mask & ~(uint32_t)(R_OK | W_OK | X_OK))
        return -EINVAL;
    if (in->mask & W_OK && req->fs->config.read_only)
        return -EROFS;
    r = fs_node_fd(req->fs, node.node, &fd);
    if (r == 0)
        r = fs_path_stat_fd(fd.fd, &stx);
    if (r == 0)
        r = fs_ident_load(req->fs, node.node, &fd, &stx, &id);
    if (r < 0)
        return r;
    if (req->fs->single && node.node == req->fs->root)
        single_root(&stx, &id);
    if (req->hdr.uid == 0)
        return in->mask & X_OK && !S_ISDIR(id.mode) && !(id.mode & 0111) ? -EACCES : 0;
    bits = req->hdr.uid == id.uid ? id.mode >> 6 : req->hdr.gid == id.gid ? id.mode >> 3 : id.mode;
    return (in->mask & ~bits & 7) ? -EACCES : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * OPEN, CREATE, TMPFILE, FLUSH, RELEASE.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-lock.h"
#include "fs-new.h"
#include "fs-ops.h"
#include "fs-path.h"
#include "mb-cleanup.h"

/* What of a guest's open flags reaches the host.  O_DIRECT is the guest's own affair: its
 * buffers need not be aligned as the host would want them. */
#define GUEST_FLAGS (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME)

static void
reply_open(struct fs *fs, struct fuse_open_out *out, uint64_t fh)
{
    out->fh = fh;
    if (fs->config.cache == FS_CACHE_NONE)
        out->open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
    else if (fs->config.cache == FS_CACHE_ALWAYS)
        out->open_flags = FOPEN_KEEP_CACHE;
}

/*
 * What the host's file is opened with.  A guest that keeps what was written knows where a file ends
 * better than the host, and reads the rest of a page that it writes a part of.
 */
static int
host_flags(const struct fs *fs, uint32_t guest_flags)
{
    int flags = (int)(guest_flags & GUEST_FLAGS);

    if (!(atomic_load_explicit(&fs->init_flags, memory_order_relaxed) & FUSE_WRITEBACK_CACHE))
        return flags;
    if ((flags & O_ACCMODE) == O_WRONLY)
        flags = (flags & ~O_ACCMODE) | O_RDWR;
    return flags & ~O_APPEND;
}

static int
check_flags(const struct fs *fs, uint32_t flags)
{
    if ((flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    if (fs->config.read_only && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
        return -EROFS;
    return 0;
}

/* Only what both the host and the guest hold for a regular file is opened. */
static int
check_type(struct fs *fs, struct fs_node *node)
{
    if (node->type == S_IFDIR)
        return -EISDIR;
    if (node->type == S_IFLNK || fs_node_guest_type(fs, node) == S_IFLNK)
        return -ELOOP;
    return fs_node_is_file(fs, node) ? 0 : -ENXIO;
}

static int
open_node(struct fs_req *req, struct fs_node *node, uint32_t guest_flags, bool kill_suid, uint64_t *fh)
{
    struct fs *fs = req->fs;
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    struct fs_quota_op quota = {.q = NULL};
    int flags = host_flags(fs, guest_flags);
    int new_fd, r;

    r = check_flags(fs, guest_flags);
    if (r == 0)
        r = check_type(fs, node);
    if (r == 0)
        r = fs_node_fd(fs, node, &fd);
    if (r == 0 && kill_suid && flags & O_TRUNC)
        r = fs_ident_kill_suid(fs, node, &fd, req->hdr.gid);
    if (r < 0)
        return r;
    if (node->key.dev != fs->root->key.dev && fs_path_is_proc(fd.fd))
        return -EACCES;
    if (fs->config.read_only)
        flags |= O_NOATIME;
    if (flags & O_TRUNC && fs->quota) {
        r = fs_quota_begin(&quota, fs->quota, 0, 0);
        if (r < 0)
            return r;
        fs_quota_touch(&quota, fd.fd);
    }
    new_fd = fs_path_reopen(fs, fd.fd, flags);
    if (new_fd == -EPERM && flags & O_NOATIME)
        new_fd = fs_path_reopen(fs, fd.fd, flags & ~O_NOATIME);
    fs_quota_end(&quota);
    return new_fd < 0 ? new_fd : fs_handle_new(fs, node, new_fd, flags, false, fh);
}

int
fs_op_open(struct fs_req *req)
{
    const struct fuse_open_in *in = FS_ARG(req, struct fuse_open_in);
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};
    uint64_t fh;
    int r;

    if (!node.node)
        return -ESTALE;
    r = open_node(req, node.node, in->flags, in->open_flags & FUSE_OPEN_KILL_SUIDGID, &fh);
    if (r == 0)
        reply_open(req->fs, fs_req_reply(req, sizeof(struct fuse_open_out)), fh);
    return r;
}

/* ---- create -------------------------------------------------------------------------------- */

struct create_reply {
    struct fuse_entry_out entry;
    struct fuse_open_out open;
};

/* Entry and handle of a file that was just made; new_fd is taken over. name may be NULL. */
static int
reply_new_file(struct fs_req *req, const struct fs_dir_ref *dir, const char *name, int new_fd, int flags,
               const struct fs_ident *id)
{
    struct fs *fs = req->fs;
    fs_auto_node struct fs_node_ref node = {fs, NULL};
    struct create_reply *out;
    struct fs_ident shown = *id;
    struct statx stx;
    uint64_t fh;
    int r;

    r = fs_path_stat_fd(new_fd, &stx);
    if (r == 0) {
        node.node = fs_node_make(fs, &stx, name ? dir->node : NULL, name);
        r = node.node ? 0 : -errno;
    }
    if (r < 0) {
        close(new_fd);
        return r;
    }
    r = fs_handle_new(fs, node.node, new_fd, flags, false, &fh);
    if (r < 0)
        return r;
    if (fs->config.stat_virt == FS_STAT_OFF)
        fs_ident_default(fs, &stx, &shown);
    out = fs_req_reply(req, sizeof(*out));
    fs_entry_fill(dir, node.node, &stx, &shown, &out->entry);
    reply_open(fs, &out->open, fh);
    return 0;
}

/* A file of that name is there already: it keeps its identity. */
static int
open_existing(struct fs_req *req, const struct fs_dir_ref *dir, const char *name, const struct fuse_create_in *in)
{
    struct fs *fs = req->fs;
    fs_auto_node struct fs_node_ref node = {fs, NULL};
    struct create_reply *out = fs_req_reply(req, sizeof(*out));
    uint64_t fh;
    int r;

    r = fs_lookup_name(dir, name, &out->entry, &node.node);
    if (r < 0)
        return r;
    r = open_node(req, node.node, in->flags, in->open_flags & FUSE_OPEN_KILL_SUIDGID, &fh);
    if (r < 0) {
        fs_node_forget(fs, node.node, 1);
        return r;
    }
    reply_open(fs, &out->open, fh);
    if (in->flags & O_TRUNC) {
        out->entry.attr.size = 0;
        out->entry.attr.blocks = 0;
    }
    return 0;
}

static int
create_file(struct fs_req *req, struct fs_dir_ref *dir, const char *name, const struct fuse_create_in *in)
{
    struct fs *fs = req->fs;
    int flags = host_flags(fs, in->flags) & ~O_TRUNC;
    struct fs_fd fd = FS_FD_NONE;
    struct fs_ident id;
    int r;

    r = fs_new_identity(req, dir, S_IFREG | (in->mode & 07777), in->umask, 0, &id);
    if (r == 0)
        r = fs_dir_change(dir, name, 1);
    if (r < 0)
        return r;
    fd.fd = fs_path_create(fs, dir->fd.fd, name, flags, fs_new_host_mode(fs, &id));
    if (fd.fd < 0) {
        fs_quota_end(&dir->quota);
        return fd.fd;
    }
    fd.real = true;
    r = fs_new_apply(fs, &fd, &id);
    if (r == 0)
        fs_quota_new(&dir->quota, fd.fd, false);
    else
        fs_new_undo(dir, name, &fd, 0);
    fs_quota_end(&dir->quota);
    if (r < 0) {
        close(fd.fd);
        return r;
    }
    return reply_new_file(req, dir, name, fd.fd, flags, &id);
}

int
fs_op_create(struct fs_req *req)
{
    const struct fuse_create_in *in = FS_ARG(req, struct fuse_create_in);
    fs_auto_dir struct fs_dir_ref dir = {.fd = FS_FD_NONE};
    const char *name;
    unsigned tries;
    int r;

    r = fs_req_name(req, sizeof(*in), &name, NULL);
    if (r == 0)
        r = check_flags(req->fs, in->flags);
    if (r == 0)
        r = fs_dir_get(req->fs, req->hdr.nodeid, name, false, &dir);
    if (r < 0)
        return r == -ENOENT ? -EPERM : r; /* only a single-file share knows its names beforehand */
    if (req->fs->single)
        return in->flags & O_EXCL ? -EEXIST : open_existing(req, &dir, name, in);
    /* Somebody else may create and remove the name between our two looks at it. */
    for (tries = 0; tries < 8; tries++) {
        r = create_file(req, &dir, name, in);
        if (r != -EEXIST || in->flags & O_EXCL)
            return r;
        r = open_existing(req, &dir, name, in);
        if (r != -ENOENT)
            return r;
    }
    return r;
}

int
fs_op_tmpfile(struct fs_req *req)
{
    const struct fuse_create_in *in = FS_ARG(req, struct fuse_create_in);
    fs_auto_dir struct fs_dir_ref dir = {.fd = FS_FD_NONE};
    struct fs *fs = req->fs;
    int flags = host_flags(fs, in->flags) & ~O_TRUNC;
    struct fs_ident id;
    struct fs_fd fd = FS_FD_NONE;
    int r;

    r = check_flags(fs, in->flags);
    if (r == 0)
        r = fs_dir_get(fs, req->hdr.nodeid, NULL, true, &dir);
    if (r == 0)
        r = fs_new_identity(req, &dir, S_IFREG | (in->mode & 07777), in->umask, 0, &id);
    if (r == 0)
        r = fs_dir_change(&dir, NULL, 1);
    if (r < 0)
        return r;
    fd.fd = openat(dir.fd.fd, ".", O_TMPFILE | O_CLOEXEC | flags | (int)(in->flags & O_EXCL),
                   fs_new_host_mode(fs, &id));
    if (fd.fd < 0)
        return -errno;
    fd.real = true;
    r = fs_new_apply(fs, &fd, &id);
    if (r < 0) {
        close(fd.fd);
        return r;
    }
    fs_quota_new(&dir.quota, fd.fd, true);
    return reply_new_file(req, &dir, NULL, fd.fd, flags, &id);
}

/* ---- close ------------------------------------------------------------------------------------ */

int
fs_op_flush(struct fs_req *req)
{
    const struct fuse_flush_in *in = FS_ARG(req, struct fuse_flush_in);
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};
    fs_auto_handle struct fs_handle *handle = NULL;

    if (!node.node)
        return -ESTALE;
    handle = fs_handle_get(req->fs, in->fh, node.node, false);
    if (!handle)
        return -EBADF;
    /* POSIX locks of a process go when it closes any descriptor of the file. */
    fs_lock_drop_owner(req->fs, node.node, in->lock_owner);
    return 0;
}

int
fs_op_release(struct fs_req *req)
{
    const struct fuse_release_in *in = FS_ARG(req, struct fuse_release_in);
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};
    fs_auto_handle struct fs_handle *handle = NULL;

    if (!node.node)
        return -ESTALE;
    handle = fs_handle_get(req->fs, in->fh, node.node, false);
    if (!handle || !fs_handle_release(handle))
        return -EBADF;
    fs_lock_drop_handle(req->fs, node.node, in->fh);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names: MKNOD, MKDIR, SYMLINK, READLINK, LINK, UNLINK, RMDIR, RENAME.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-new.h"
#include "fs-ops.h"
#include "fs-path.h"
#include "mb-cleanup.h"
#include "mb-io.h"

/* The name at offset of the arguments, and the directory of nodeid to change it in. */
static int
name_and_dir(struct fs_req *req, size_t offset, uint64_t nodeid, const char **name, size_t *next,
             struct fs_dir_ref *dir)
{
    int r = fs_req_name(req, offset, name, next);

    return r < 0 ? r : fs_dir_get(req->fs, nodeid, *name, true, dir);
}

/* ---- new objects ------------------------------------------------------------------------------- */

static int
mknod_regular(struct fs_req *req, struct fs_dir_ref *dir, const char *name, const struct fs_ident *id)
{
    mb_autofd int fd = fs_path_create(req->fs, dir->fd.fd, name, O_WRONLY, fs_new_host_mode(req->fs, id));
    int path_fd;

    if (fd < 0)
        return fd;
    path_fd = fs_path_reopen(req->fs, fd, O_PATH);
    if (path_fd < 0) {
        fs_new_undo(dir, name, &(struct fs_fd){.fd = fd, .real = true}, 0);
        return path_fd;
    }
    return fs_new_complete(req, dir, name, path_fd, id);
}

/* stat-virt off: only root's process makes what the host then has. */
static int
mknod_host(struct fs_req *req, struct fs_dir_ref *dir, const char *name, const struct fs_ident *id)
{
    dev_t dev = makedev((id->rdev >> 8) & 0xfff, (id->rdev & 0xff) | (id->rdev >> 12 & 0xfff00));

    if (req->fs->euid != 0)
        return -EOPNOTSUPP;
    if (mknodat(dir->fd.fd, name, (id->mode & S_IFMT) | (id->acl ? id->mode & 0777u : 0600u), dev) < 0)
        return -errno;
    return fs_new_complete_named(req, dir, name, id);
}

int
fs_op_mknod(struct fs_req *req)
{
    const struct fuse_mknod_in *in = FS_ARG(req, struct fuse_mknod_in);
    fs_auto_dir struct fs_dir_ref dir = {.fd = FS_FD_NONE};
    uint32_t mode = in->mode & S_IFMT ? in->mode : in->mode | S_IFREG;
    struct fs_ident id;
    const char *name;
    int r;

    if (!S_ISREG(mode) && !S_ISCHR(mode) && !S_ISBLK(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
        return -EINVAL;
    r = name_and_dir(req, sizeof(*in), req->hdr.nodeid, &name, NULL, &dir);
    if (r == 0)
        r = fs_new_identity(req, &dir, mode, in->umask, in->rdev, &id);
    if (r == 0)
        r = fs_dir_change(&dir, name, 1);
    if (r < 0)
        return r;
    if (S_ISREG(mode))
        return mknod_regular(req, &dir, name, &id);
    if (req->fs->config.stat_virt == FS_STAT_OFF)
        return mknod_host(req, &dir, name, &id);
    r = fs_new_whole_file(&dir, name, "", 0, &id);
    return r < 0 ? r : fs_lookup_name(&dir, name, fs_req_reply(req, sizeof(struct fuse_entry_out)), NULL);
}

int
fs_op_mkdir(struct fs_req *req)
{
    const struct fuse_mkdir_in *in = FS_ARG(req, struct fuse_mkdir_in);
    fs_auto_dir struct fs_dir_ref dir = {.fd = FS_FD_NONE};
    struct fs_ident id;
    const char *name;
    int r;

    r = name_and_dir(req, sizeof(*in), req->hdr.nodeid, &name, NULL, &dir);
    /* As mkdir(2): of the high bits only the sticky one is the caller's to give. */
    if (r == 0)
        r = fs_new_identity(req, &dir, S_IFDIR | (in->mode & 01777), in->umask, 0, &id);
    if (r == 0)
        r = fs_dir_change(&dir, name, 1);
    if (r < 0)
        return r;
    if (mkdirat(dir.fd.fd, name, fs_new_host_mode(req->fs, &id)) < 0)
        return -errno;
    return fs_new_complete_named(req, &dir, name, &id);
}

/* A link that has no identity of its own to write. */
static int
reply_new_link(struct fs_req *req, struct fs_dir_ref *dir, const char *name)
{
    if (req->fs->quota) {
        mb_autofd int fd = fs_path_open(req->fs, dir->fd.fd, name);

        if (fd >= 0)
            fs_quota_new(&dir->quota, fd, false);
    }
    return fs_lookup_name(dir, name, fs_req_reply(req, sizeof(struct fuse_entry_out)), NULL);
}

int
fs_op_symlink(struct fs_req *req)
{
    fs_auto_dir struct fs_dir_ref dir = {.fd = FS_FD_NONE};
    const char *name, *target;
    struct fs_ident id;
    size_t at;
    int r;

    r = name_and_dir(req, 0, req->hdr.nodeid, &name, &at, &dir);
    if (r < 0)
        return r;
    target = fs_req_string(req, at, NULL);
    if (!target)
        return -EINVAL;
    if (!*target)
        return -ENOENT;
    if (strlen(target) >= PATH_MAX)
        return -ENAMETOOLONG;
    r = fs_new_identity(req, &dir, S_IFLNK | 0777, 0, 0, &id);
    if (r == 0)
        r = fs_dir_change(&dir, name, 1);
    if (r < 0)
        return r;
    if (req->fs->config.stat_virt == FS_STAT_STRICT) {
        r = fs_new_whole_file(&dir, name, target, strlen(target), &id);
        return r < 0 ? r : fs_lookup_name(&dir, name, fs_req_reply(req, sizeof(struct fuse_entry_out)), NULL);
    }
    if (symlinkat(target, dir.fd.fd, name) < 0)
        return -errno;
    if (req->fs->config.stat_virt == FS_STAT_OFF)
        return fs_new_complete_named(req, &dir, name, &id);
    return reply_new_link(req, &dir, name);
}

/* A link that is a regular file on the host. */
static int
read_virtual_link(struct fs_req *req, struct fs_node *node, const struct fs_fd *fd)
{
    mb_autofd int real = -1;
    struct fs_ident id;
    struct statx stx;
    ssize_t len;
    int r;

    r = fs_path_stat_fd(fd->fd, &stx);
    if (r == 0)
        r = fs_ident_load(req->fs, node, fd, &stx, &id);
    if (r < 0)
        return r;
    if (!S_ISLNK(id.mode) || !S_ISREG(stx.stx_mode))
        return -EINVAL;
    real = fs_path_reopen(req->fs, fd->fd, O_RDONLY | (req->fs->config.read_only ? O_NOATIME : 0));
    if (real == -EPERM)
        real = fs_path_reopen(req->fs, fd->fd, O_RDONLY);
    if (real < 0)
        return real;
    len = mb_pread_full(real, req->worker->reply, MB_MIN(fs_req_room(req), (size_t)PATH_MAX - 1), 0);
    if (len <= 0)
        return len < 0 ? (int)len : -EIO;
    req->reply_len = (size_t)len;
    return 0;
}

int
fs_op_readlink(struct fs_req *req)
{
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    ssize_t len;
    int r;

    if (!node.node)
        return -ESTALE;
    r = fs_node_fd(req->fs, node.node, &fd);
    if (r < 0)
        return r;
    if (node.node->type != S_IFLNK)
        return read_virtual_link(req, node.node, &fd);
    len = readlinkat(fd.fd, "", (char *)req->worker->reply, MB_MIN(fs_req_room(req), (size_t)PATH_MAX));
    if (len < 0)
        return -errno;
    req->reply_len = (size_t)len;
    return 0;
}

int
fs_op_link(struct fs_req *req)
{
    const struct fuse_link_in *in = FS_ARG(req, struct fuse_link_in);
    fs_auto_dir struct fs_dir_ref dir = {.fd = FS_FD_NONE};
    fs_auto_node struct fs_node_ref node = {req->fs, NULL};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    struct fs_fd_path path;
    const char *name;
    int r;

    r = name_and_dir(req, sizeof(*in), req->hdr.nodeid, &name, NULL, &dir);
    if (r < 0)
        return r;
    node.node = fs_node_get(req->fs, in->oldnodeid);
    if (!node.node)
        return -ESTALE;
    r = fs_node_fd(req->fs, node.node, &fd);
    if (r < 0)
        return r;
    r = fs_dir_change(&dir, name, 0);
    if (r < 0)
        return r;
    fs_quota_touch(&dir.quota, fd.fd);
    path = fs_path_of_fd(fd.fd);
    r = linkat(req->fs->proc_fd, path.s, dir.fd.fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
    if (r == 0)
        fs_quota_linked(&dir.quota, fd.fd);
    fs_quota_end(&dir.quota);
    if (r < 0)
        return r;
    return fs_lookup_name(&dir, name, fs_req_reply(req, sizeof(struct fuse_entry_out)), NULL);
}

/* ---- names that go -------------------------------------------------------------------------------- */

/* The node of what name means, with a reference, and what it is; NULL if the guest does not know it. */
static struct fs_node *
find_known(const struct fs_dir_ref *dir, const char *name, struct statx *stx)
{
    return fs_path_stat(dir->fd.fd, name, stx) < 0 ? NULL : fs_node_find(dir->fs, stx);
}

/* If the guest knows what name means, make sure that it can still use it when the name is gone. */
static void
keep_victim(const struct fs_dir_ref *dir, const char *name)
{
    struct statx stx;
    fs_auto_node struct fs_node_ref node = {dir->fs, find_known(dir, name, &stx)};

    if (node.node)
        fs_node_keep(dir->fs, node.node, S_ISDIR(stx.stx_mode) || stx.stx_nlink == 1);
}

/* A node that is known is found at name in dir from now on. */
static void
note_place(const struct fs_dir_ref *dir, const char *name)
{
    struct statx stx;
    fs_auto_node struct fs_node_ref node = {dir->fs, find_known(dir, name, &stx)};

    if (node.node)
        fs_node_moved(dir->fs, node.node, dir->node, name);
}

/* With a quota, what name means is touched: its descriptor, or -1. It has to live until the end of op. */
static int
touch_victim(struct fs_quota_op *op, const struct fs_dir_ref *dir, const char *name)
{
    int fd = op->q ? fs_path_open(dir->fs, dir->fd.fd, name) : -1;

    if (fd >= 0)
        fs_quota_touch(op, fd);
    return fd;
}

static int
remove_name(struct fs_req *req, int flags)
{
    mb_autofd int charged = -1;
    fs_auto_dir struct fs_dir_ref dir = {.fd = FS_FD_NONE};
    const char *name;
    int r;

    r = name_and_dir(req, 0, req->hdr.nodeid, &name, NULL, &dir);
    if (r < 0)
        return r;
    keep_victim(&dir, name);
    r = fs_dir_change(&dir, name, 0);
    if (r < 0)
        return r;
    charged = touch_victim(&dir.quota, &dir, name);
    r = unlinkat(dir.fd.fd, name, flags) < 0 ? -errno : 0;
    if (r == 0)
        fs_quota_gone(&dir.quota, charged);
    fs_quota_end(&dir.quota);
    /* It was kept for nothing, and is found by its name as before. */
    if (r < 0)
        note_place(&dir, name);
    return r;
}

int
fs_op_unlink(struct fs_req *req)
{
    return remove_name(req, 0);
}

int
fs_op_rmdir(struct fs_req *req)
{
    return remove_name(req, AT_REMOVEDIR);
}

/* touch_victim() for a rename: *goes is that too, unless it is the very file that is renamed, which stays. */
static int
touch_replaced(struct fs_dir_ref *from, const char *old_name, const struct fs_dir_ref *to, const char *new_name,
               int *goes)
{
    int fd = touch_victim(&from->quota, to, new_name);

    *goes = fd >= 0 && fs_path_is(from->fd.fd, old_name, fd) ? -1 : fd;
    return fd;
}

static int
rename_names(struct fs_req *req, size_t names, uint64_t new_nodeid, uint32_t flags)
{
    mb_autofd int charged = -1;
    mb_autofd int whiteout = -1;
    fs_auto_dir struct fs_dir_ref from = {.fd = FS_FD_NONE};
    fs_auto_dir struct fs_dir_ref to = {.fd = FS_FD_NONE};
    const char *old_name, *new_name;
    int r, goes = -1;
    size_t next;

    if (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
        return -EINVAL;
    /* A whiteout is a device of the host, which only the host's own types can show. */
    if (flags & RENAME_WHITEOUT && req->fs->config.stat_virt != FS_STAT_OFF)
        return -EINVAL;
    r = name_and_dir(req, names, req->hdr.nodeid, &old_name, &next, &from);
    if (r == 0)
        r = name_and_dir(req, next, new_nodeid, &new_name, NULL, &to);
    if (r < 0)
        return r;
    if (!(flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)))
        keep_victim(&to, new_name);
    r = fs_dir_change(&from, NULL, 0);
    if (r < 0)
        return r;
    fs_quota_names(&from.quota, from.node->key.ino, old_name, to.node->key.ino, new_name);
    fs_quota_touch(&from.quota, to.fd.fd);
    if (!(flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)))
        charged = touch_replaced(&from, old_name, &to, new_name, &goes);
    r = renameat2(from.fd.fd, old_name, to.fd.fd, new_name, flags) < 0 ? -errno : 0;
    if (r == 0)
        fs_quota_gone(&from.quota, goes);
    if (r == 0 && flags & RENAME_WHITEOUT && req->fs->quota) {
        whiteout = fs_path_open(req->fs, from.fd.fd, old_name);
        if (whiteout >= 0)
            fs_quota_new(&from.quota, whiteout, false);
    }
    fs_quota_end(&from.quota);
    note_place(&to, new_name);
    if (r < 0)
        return r;
    if (flags & RENAME_EXCHANGE)
        note_place(&from, old_name);
    return 0;
}

int
fs_op_rename(struct fs_req *req)
{
    const struct fuse_rename_in *in = FS_ARG(req, struct fuse_rename_in);

    return rename_names(req, sizeof(*in), in->newdir, 0);
}

int
fs_op_rename2(struct fs_req *req)
{
    const struct fuse_rename2_in *in = FS_ARG(req, struct fuse_rename2_in);

    return rename_names(req, sizeof(*in), in->newdir, in->flags);
}

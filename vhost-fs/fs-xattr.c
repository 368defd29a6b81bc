/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes: the primitives of fs-xattr.h and the four operations.
 * The identity attribute does not exist for the guest.  ACLs are refused, POSIX
 * ones and those that network file systems show as attributes: they would change
 * what the host lets whom do, which is not the guest's to decide.  With stat-virt
 * off it is, as with modes: there POSIX ones are the host's own.
 */
#include <config.h>

#include "fs-xattr.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs-core.h"
#include "fs-ops.h"
#include "fs-path.h"

/* POSIX ACLs, and those of NFS, CIFS and others. */
#define ACL_PREFIX "system."

/* ---- primitives --------------------------------------------------------------------------------- */

ssize_t
fs_xattr_get(const struct fs_fd *fd, const char *name, void *value, size_t size)
{
    struct fs_fd_path path;
    ssize_t len;

    if (fd->real) {
        len = fgetxattr(fd->fd, name, value, size);
    } else {
        path = fs_path_of_fd(fd->fd);
        len = getxattr(path.s, name, value, size);
    }
    return len < 0 ? -errno : len;
}

int
fs_xattr_set(const struct fs_fd *fd, const char *name, const void *value, size_t size, int flags)
{
    struct fs_fd_path path;

    if (fd->real)
        return fsetxattr(fd->fd, name, value, size, flags) < 0 ? -errno : 0;
    path = fs_path_of_fd(fd->fd);
    return setxattr(path.s, name, value, size, flags) < 0 ? -errno : 0;
}

int
fs_xattr_remove(const struct fs_fd *fd, const char *name)
{
    struct fs_fd_path path;

    if (fd->real)
        return fremovexattr(fd->fd, name) < 0 ? -errno : 0;
    path = fs_path_of_fd(fd->fd);
    return removexattr(path.s, name) < 0 ? -errno : 0;
}

ssize_t
fs_xattr_list(const struct fs_fd *fd, char *list, size_t size)
{
    struct fs_fd_path path;
    ssize_t len;

    if (fd->real) {
        len = flistxattr(fd->fd, list, size);
    } else {
        path = fs_path_of_fd(fd->fd);
        len = listxattr(path.s, list, size);
    }
    return len < 0 ? -errno : len;
}

/* ---- operations ----------------------------------------------------------------------------------- */

bool
fs_xattr_acls(const struct fs *fs)
{
    return atomic_load_explicit(&fs->init_flags, memory_order_relaxed) & FUSE_POSIX_ACL;
}

static bool
is_hidden(const struct fs *fs, const char *name)
{
    if (strncmp(name, ACL_PREFIX, strlen(ACL_PREFIX)) != 0)
        return fs_ident_is_private(name);
    return !fs_xattr_acls(fs) || (strcmp(name, FS_ACL_ACCESS) != 0 && strcmp(name, FS_ACL_DEFAULT) != 0);
}

/* The names that only root may read are also root's alone to see. */
static bool
is_listed(const struct fs_req *req, const char *name)
{
    return !is_hidden(req->fs, name) && (req->hdr.uid == 0 || strncmp(name, "trusted.", 8) != 0);
}

/* The attribute named at offset of the arguments, and the file. */
static int
get_target(struct fs_req *req, size_t offset, const char **name, size_t *next, struct fs_node_ref *node,
           struct fs_fd *fd)
{
    size_t end;

    /* Linux does not ask again. */
    if (req->fs->config.no_xattr)
        return -ENOSYS;
    *name = fs_req_string(req, offset, &end);
    if (!*name || end - offset == 1)
        return -EINVAL;
    if (end - offset - 1 > XATTR_NAME_MAX)
        return -ERANGE;
    if (next)
        *next = end;
    if (fs_ident_is_private(*name))
        return -EACCES;
    if (is_hidden(req->fs, *name))
        return -EOPNOTSUPP;
    node->node = fs_node_get(req->fs, req->hdr.nodeid);
    if (!node->node)
        return -ESTALE;
    return fs_node_fd(req->fs, node->node, fd);
}

static bool
is_single_root(const struct fs_req *req, const struct fs_node *node)
{
    return req->fs->single && node == req->fs->root;
}

/* A value or a list of len bytes lies in the reply buffer; the guest has room for size of
 * them, which may be less than a structure takes, or asks (with size 0) how many there are. */
static int
reply_sized(struct fs_req *req, size_t len, uint32_t size)
{
    if (size == 0) {
        struct fuse_getxattr_out *out = fs_req_reply(req, sizeof(*out));

        out->size = (uint32_t)len;
        return fs_req_room(req) < sizeof(*out) ? -EINVAL : 0;
    }
    if (len > size || len > fs_req_room(req))
        return -ERANGE;
    req->reply_len = len;
    return 0;
}

int
fs_op_getxattr(struct fs_req *req)
{
    const struct fuse_getxattr_in *in = FS_ARG(req, struct fuse_getxattr_in);
    fs_auto_node struct fs_node_ref node = {req->fs, NULL};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    const char *name;
    ssize_t len;
    int r;

    r = get_target(req, sizeof(*in), &name, NULL, &node, &fd);
    if (r < 0)
        return r;
    if (is_single_root(req, node.node))
        return -ENODATA;
    len = fs_xattr_get(&fd, name, req->worker->reply, FS_MAX_XATTR);
    return len < 0 ? (int)len : reply_sized(req, (size_t)len, in->size);
}

/* The guest's kernel found that who sets the ACL may not keep the bit. */
static int
kill_sgid(const struct fs_fd *fd)
{
    struct statx stx;
    int r = fs_path_stat_fd(fd->fd, &stx);

    return r < 0 || !(stx.stx_mode & S_ISGID) ? r : fs_path_chmod(fd, stx.stx_mode & 07777u & ~(mode_t)S_ISGID);
}

int
fs_op_setxattr(struct fs_req *req)
{
    bool ext = atomic_load_explicit(&req->fs->init_flags, memory_order_relaxed) & FUSE_SETXATTR_EXT;
    size_t fixed = ext ? sizeof(struct fuse_setxattr_in) : FUSE_COMPAT_SETXATTR_IN_SIZE;
    const struct fuse_setxattr_in *in = FS_ARG(req, struct fuse_setxattr_in);
    fs_auto_node struct fs_node_ref node = {req->fs, NULL};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    fs_auto_quota struct fs_quota_op quota = {.q = NULL};
    const char *name;
    size_t value;
    int r;

    if (in->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    r = get_target(req, fixed, &name, &value, &node, &fd);
    if (r < 0)
        return r;
    if (in->size > FS_MAX_XATTR || in->size > req->arg_len - value)
        return in->size > FS_MAX_XATTR ? -E2BIG : -EINVAL;
    if (is_single_root(req, node.node))
        return -EPERM;
    r = fs_quota_begin(&quota, req->fs->quota, in->size, 0);
    if (r < 0)
        return r;
    fs_quota_touch(&quota, fd.fd);
    r = fs_xattr_set(&fd, name, req->arg + value, in->size, (int)in->flags);
    if (r == 0 && ext && in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID && strcmp(name, FS_ACL_ACCESS) == 0)
        r = kill_sgid(&fd);
    return r;
}

int
fs_op_listxattr(struct fs_req *req)
{
    const struct fuse_getxattr_in *in = FS_ARG(req, struct fuse_getxattr_in);
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    char *list = (char *)req->worker->reply;
    size_t at, kept = 0, n;
    ssize_t len;
    int r;

    if (req->fs->config.no_xattr)
        return -ENOSYS;
    if (!node.node)
        return -ESTALE;
    if (is_single_root(req, node.node))
        return reply_sized(req, 0, in->size);
    r = fs_node_fd(req->fs, node.node, &fd);
    if (r < 0)
        return r;
    len = fs_xattr_list(&fd, list, FS_MAX_XATTR);
    if (len < 0)
        return (int)len;
    for (at = 0; at < (size_t)len; at += n) {
        n = strnlen(list + at, (size_t)len - at) + 1;
        if (is_listed(req, list + at)) {
            memmove(list + kept, list + at, n);
            kept += n;
        }
    }
    return reply_sized(req, kept, in->size);
}

int
fs_op_removexattr(struct fs_req *req)
{
    fs_auto_node struct fs_node_ref node = {req->fs, NULL};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    fs_auto_quota struct fs_quota_op quota = {.q = NULL};
    const char *name;
    int r;

    r = get_target(req, 0, &name, NULL, &node, &fd);
    if (r == 0)
        r = is_single_root(req, node.node) ? -EPERM : fs_quota_begin(&quota, req->fs->quota, 0, 0);
    if (r < 0)
        return r;
    fs_quota_touch(&quota, fd.fd);
    return fs_xattr_remove(&fd, name);
}

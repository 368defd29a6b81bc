/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Creating objects, see fs-new.h.
 */
#include <config.h>

#include "fs-new.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-path.h"
#include "fs-xattr.h"
#include "mb-cleanup.h"
#include "mb-io.h"

/* Then the umask does not count, and the host's filesystem makes the permissions out of that and the mode. */
static bool
has_default_acl(const struct fs *fs, const struct fs_fd *dir)
{
    return fs_xattr_acls(fs) && fs_xattr_get(dir, FS_ACL_DEFAULT, NULL, 0) > 0;
}

int
fs_new_identity(const struct fs_req *req, const struct fs_dir_ref *dir, uint32_t mode, uint32_t umask,
                uint32_t rdev, struct fs_ident *id)
{
    struct fs *fs = req->fs;
    bool acl;
    int r;

    if (fs->config.stat_virt == FS_STAT_OFF && fs->euid != 0 && S_ISREG(mode) && mode & (S_ISUID | S_ISGID))
        return -EPERM;
    acl = !S_ISLNK(mode) && has_default_acl(fs, &dir->fd);
    r = fs_ident_of_new(fs, dir->node, &dir->fd, req->hdr.uid, req->hdr.gid, mode, acl ? 0 : umask, id);
    id->acl = acl;
    if (r == 0 && (S_ISCHR(mode) || S_ISBLK(mode)))
        id->rdev = rdev;
    return r;
}

mode_t
fs_new_host_mode(const struct fs *fs, const struct fs_ident *id)
{
    mode_t least = S_ISDIR(id->mode) ? 0700 : 0600;
    mode_t mode = id->mode & 01777u;

    if (fs->config.stat_virt != FS_STAT_OFF)
        return least;
    /* As root the owner is set first and then the mode as it is. */
    return id->acl ? mode : mode | least;
}

/* stat-virt off: an ordinary user's files are complete as they were created. */
static int
apply_host(struct fs *fs, const struct fs_fd *fd, const struct fs_ident *id)
{
    mode_t mode = id->mode & 07777u;
    struct statx stx;
    int r;

    if (fs->euid != 0)
        return 0;
    if (id->acl) {
        r = fs_path_stat_fd(fd->fd, &stx);
        if (r < 0)
            return r;
        mode = (mode & 07000u) | (stx.stx_mode & 0777u);
    }
    if (id->uid != 0 || id->gid != 0) {
        if (fchownat(fd->fd, "", id->uid, id->gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
            return -errno;
    }
    return S_ISLNK(id->mode) ? 0 : fs_path_chmod(fd, mode);
}

int
fs_new_apply(struct fs *fs, const struct fs_fd *fd, const struct fs_ident *id)
{
    int r;

    if (fs->config.stat_virt == FS_STAT_OFF)
        return apply_host(fs, fd, id);
    r = fs_ident_mirror(fs, fd, id->mode);
    return r < 0 ? r : fs_ident_store(fs, NULL, fd, id);
}

/* The entry of the complete object behind path_fd (owned from here on), made as name in dir. */
static int
new_entry(const struct fs_dir_ref *dir, const char *name, int path_fd, const struct fs_ident *id,
          struct fuse_entry_out *entry)
{
    struct fs *fs = dir->fs;
    fs_auto_node struct fs_node_ref node = {fs, NULL};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    struct fs_ident shown = *id;
    struct statx stx;
    int r = fs_path_stat_fd(path_fd, &stx);

    if (r == 0) {
        node.node = fs_node_make(fs, &stx, dir->node, name);
        r = node.node ? 0 : -errno;
    }
    if (r < 0) {
        close(path_fd);
        return r;
    }
    fs_node_adopt_fd(fs, node.node, path_fd, &fd);
    if (!fs_ident_possible(fs, &stx))
        fs_ident_default(fs, &stx, &shown);
    fs_entry_fill(dir, node.node, &stx, &shown, entry);
    return 0;
}

void
fs_new_undo(const struct fs_dir_ref *dir, const char *name, const struct fs_fd *fd, int unlink_flags)
{
    if (fs_path_is(dir->fd.fd, name, fd->fd))
        (void)!unlinkat(dir->fd.fd, name, unlink_flags);
}

int
fs_new_complete(struct fs_req *req, struct fs_dir_ref *dir, const char *name, int path_fd, const struct fs_ident *id)
{
    struct fs_fd fd = {.fd = path_fd};
    int r;

    r = fs_new_apply(req->fs, &fd, id);
    if (r < 0) {
        fs_new_undo(dir, name, &fd, S_ISDIR(id->mode) ? AT_REMOVEDIR : 0);
        close(fd.fd);
        return r;
    }
    fs_quota_new(&dir->quota, fd.fd, false);
    return new_entry(dir, name, fd.fd, id, fs_req_reply(req, sizeof(struct fuse_entry_out)));
}

int
fs_new_complete_named(struct fs_req *req, struct fs_dir_ref *dir, const char *name, const struct fs_ident *id)
{
    struct fs_fd fd = {.fd = fs_path_open(req->fs, dir->fd.fd, name)};
    struct statx stx;
    int r;

    if (fd.fd < 0)
        return fd.fd;
    r = fs_path_stat_fd(fd.fd, &stx);
    if (r == 0 && ((stx.stx_mode ^ id->mode) & S_IFMT ||
                   (fs_ident_possible(req->fs, &stx) && fs_xattr_get(&fd, FS_IDENT_XATTR, NULL, 0) >= 0)))
        r = -ESTALE;
    if (r < 0) {
        close(fd.fd);
        return r;
    }
    return fs_new_complete(req, dir, name, fd.fd, id);
}

/* For filesystems without O_TMPFILE: the name appears first, empty and with the fallback owner. */
static int
whole_file_by_name(struct fs_dir_ref *dir, const char *name, const void *content, size_t len,
                   const struct fs_ident *id)
{
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    int r;

    fd.fd = fs_path_create(dir->fs, dir->fd.fd, name, O_WRONLY, 0600);
    if (fd.fd < 0)
        return fd.fd;
    fd.real = true;
    r = mb_pwrite_full(fd.fd, content, len, 0);
    if (r == 0)
        r = fs_new_apply(dir->fs, &fd, id);
    if (r < 0)
        fs_new_undo(dir, name, &fd, 0);
    else
        fs_quota_new(&dir->quota, fd.fd, false);
    return r;
}

int
fs_new_whole_file(struct fs_dir_ref *dir, const char *name, const void *content, size_t len,
                  const struct fs_ident *id)
{
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    int r;

    fd.fd = openat(dir->fd.fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd.fd < 0) {
        if (errno == EOPNOTSUPP || errno == EISDIR)
            return whole_file_by_name(dir, name, content, len, id);
        return -errno;
    }
    fd.real = true;
    r = mb_pwrite_full(fd.fd, content, len, 0);
    if (r == 0)
        r = fs_new_apply(dir->fs, &fd, id);
    if (r == 0) {
        struct fs_fd_path path = fs_path_of_fd(fd.fd);

        if (linkat(dir->fs->proc_fd, path.s, dir->fd.fd, name, AT_SYMLINK_FOLLOW) < 0)
            r = -errno;
    }
    if (r == 0)
        fs_quota_new(&dir->quota, fd.fd, false);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stat virtualization, see fs-identity.h.
 */
#include <config.h>

#include "fs-identity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>

#include "fs-core.h"
#include "fs-path.h"
#include "fs-xattr.h"
#include "mb-endian.h"
#include "mb-log.h"

/* A ctime is a good witness when it is older than the kernel's clock tick. */
#define RACY_NS INT64_C(20000000)

#define PERM_BITS 07777u

/* ---- the attribute -------------------------------------------------------------------- */

static bool
is_file_type(uint32_t mode)
{
    return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) || S_ISBLK(mode) || S_ISFIFO(mode) ||
           S_ISSOCK(mode);
}

int
fs_ident_parse(const uint8_t *value, size_t len, struct fs_ident *id)
{
    struct fs_ident got;

    if (len != FS_IDENT_SIZE || value[0] != FS_IDENT_VERSION)
        return -EIO;
    got = (struct fs_ident){
        .uid = mb_get_le32(value + 4),
        .gid = mb_get_le32(value + 8),
        .mode = mb_get_le32(value + 12),
        .rdev = mb_get_le32(value + 16),
    };
    if (!is_file_type(got.mode) || got.mode & ~(S_IFMT | PERM_BITS))
        return -EIO;
    *id = got;
    return 0;
}

void
fs_ident_format(const struct fs_ident *id, uint8_t value[FS_IDENT_SIZE])
{
    memset(value, 0, FS_IDENT_SIZE);
    value[0] = FS_IDENT_VERSION;
    mb_put_le32(value + 4, id->uid);
    mb_put_le32(value + 8, id->gid);
    mb_put_le32(value + 12, id->mode);
    mb_put_le32(value + 16, id->rdev);
}

bool
fs_ident_is_private(const char *xattr)
{
    return strcmp(xattr, FS_IDENT_XATTR) == 0 || strcmp(xattr, FS_IDENT_PROBE) == 0;
}

void
fs_ident_default(const struct fs *fs, const struct statx *stx, struct fs_ident *id)
{
    *id = (struct fs_ident){
        .uid = stx->stx_uid,
        .gid = stx->stx_gid,
        .mode = stx->stx_mode,
        .rdev = stx->stx_rdev_major << 8 | (stx->stx_rdev_minor & 0xff) | (stx->stx_rdev_minor & ~0xffu) << 12,
    };
    if (fs->config.stat_virt == FS_STAT_OFF)
        return;
    if (fs->config.have_owner) {
        id->uid = fs->config.owner_uid;
        id->gid = fs->config.owner_gid;
    } else if (stx->stx_uid == fs->euid) {
        id->uid = fs->config.map_uid;
        id->gid = fs->config.map_gid;
    } else {
        id->uid = FS_NOBODY;
        id->gid = FS_NOBODY;
    }
}

bool
fs_ident_possible(const struct fs *fs, const struct statx *stx)
{
    return fs->config.stat_virt != FS_STAT_OFF && (S_ISREG(stx->stx_mode) || S_ISDIR(stx->stx_mode));
}

/* ---- the cache ------------------------------------------------------------------------- */

static uint32_t
monotonic_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (uint32_t)ts.tv_sec;
}

/* Old enough now that a later change must show another ctime. */
static bool
ctime_settled(const struct statx *stx)
{
    struct timespec now;
    int64_t age;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (__builtin_sub_overflow(now.tv_sec, stx->stx_ctime.tv_sec, &age) || age < 0 || age > INT32_MAX)
        return age > 0;
    return age * INT64_C(1000000000) + now.tv_nsec - stx->stx_ctime.tv_nsec > RACY_NS;
}

static void
cache_put(struct fs *fs, struct fs_node *node, const struct statx *stx, const struct fs_ident *id, bool settled)
{
    pthread_mutex_lock(fs_node_lock(fs, node));
    node->ident = (struct fs_ident_cache){
        .id = *id,
        .ctime_sec = stx->stx_ctime.tv_sec,
        .ctime_nsec = stx->stx_ctime.tv_nsec,
        .valid = settled && fs->ident_cache && node->key.mnt == fs->root_mnt,
        .seen_s = monotonic_s(),
    };
    pthread_mutex_unlock(fs_node_lock(fs, node));
}

static void
cache_drop(struct fs *fs, struct fs_node *node)
{
    pthread_mutex_lock(fs_node_lock(fs, node));
    node->ident.valid = false;
    node->ident.seen_s = 0;
    pthread_mutex_unlock(fs_node_lock(fs, node));
}

bool
fs_ident_peek(struct fs *fs, struct fs_node *node, const struct statx *stx, struct fs_ident *id)
{
    bool hit;

    if (!fs_ident_possible(fs, stx)) {
        fs_ident_default(fs, stx, id);
        return true;
    }
    pthread_mutex_lock(fs_node_lock(fs, node));
    hit = node->ident.valid && node->ident.ctime_sec == stx->stx_ctime.tv_sec &&
          node->ident.ctime_nsec == stx->stx_ctime.tv_nsec;
    *id = node->ident.id;
    pthread_mutex_unlock(fs_node_lock(fs, node));
    return hit;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* 1 found, 0 none there, or -errno. */
static int
read_ident(struct fs *fs, struct fs_node *node, const struct fs_fd *fd, struct fs_ident *id)
{
    uint8_t value[FS_IDENT_SIZE + 1];
    char name[NAME_MAX + 1];
    ssize_t len = fs_xattr_get(fd, FS_IDENT_XATTR, value, sizeof(value));

    if (len == -ENODATA || (len == -EOPNOTSUPP && fs->config.stat_virt == FS_STAT_RELAXED))
        return 0;
    if (len >= 0 && fs_ident_parse(value, (size_t)len, id) == 0)
        return 1;
    fs_node_name(fs, node, name, sizeof(name));
    if (len >= 0 || len == -ERANGE)
        mb_warn_limited("'%s': the value of " FS_IDENT_XATTR " is not %d bytes of version %d", name,
                        FS_IDENT_SIZE, FS_IDENT_VERSION);
    else
        mb_warn_limited("'%s': read " FS_IDENT_XATTR ": %s", name, strerror((int)-len));
    return -EIO;
}

int
fs_ident_load(struct fs *fs, struct fs_node *node, const struct fs_fd *fd, const struct statx *stx,
              struct fs_ident *id)
{
    bool settled;
    int r;

    if (fs_ident_peek(fs, node, stx, id))
        return 0;
    settled = ctime_settled(stx);
    r = read_ident(fs, node, fd, id);
    /* A share whose root is damaged can still be looked at and repaired. */
    if (r == 0 || (r < 0 && node == fs->root)) {
        fs_ident_default(fs, stx, id);
    } else if (r < 0) {
        return r;
    } else if (S_ISDIR(id->mode) != S_ISDIR(stx->stx_mode)) {
        char name[NAME_MAX + 1];

        fs_node_name(fs, node, name, sizeof(name));
        mb_warn_limited("'%s': " FS_IDENT_XATTR " and the host disagree whether it is a directory", name);
        return -EIO;
    }
    cache_put(fs, node, stx, id, settled);
    return 0;
}

int
fs_ident_recent(struct fs *fs, struct fs_node *node, const struct fs_fd *fd, struct fs_ident *id)
{
    struct statx stx;
    bool fresh;
    int r;

    pthread_mutex_lock(fs_node_lock(fs, node));
    fresh = node->ident.seen_s && monotonic_s() - node->ident.seen_s < 1;
    *id = node->ident.id;
    pthread_mutex_unlock(fs_node_lock(fs, node));
    if (fresh)
        return 0;
    r = fs_path_stat_fd(fd->fd, &stx);
    return r < 0 ? r : fs_ident_load(fs, node, fd, &stx, id);
}

/* ---- writing ----------------------------------------------------------------------------- */

int
fs_ident_store(struct fs *fs, struct fs_node *node, const struct fs_fd *fd, const struct fs_ident *id)
{
    uint8_t value[FS_IDENT_SIZE];
    int r;

    fs_ident_format(id, value);
    r = fs->config.fail_identity ? -ENOSPC : fs_xattr_set(fd, FS_IDENT_XATTR, value, sizeof(value), 0);
    if (node)
        cache_drop(fs, node);
    return r;
}

int
fs_ident_mirror(struct fs *fs, const struct fs_fd *fd, uint32_t mode)
{
    uint32_t perms = mode & 0777u;

    if (fs->config.host_perms != FS_PERMS_MIRROR)
        return 0;
    if (S_ISREG(mode))
        perms |= 0600;
    else if (S_ISDIR(mode))
        perms |= 0700;
    else
        return 0;
    return fs_path_chmod(fd, perms);
}

int
fs_ident_of_new(struct fs *fs, struct fs_node *dir, const struct fs_fd *dfd, uint32_t uid, uint32_t gid,
                uint32_t mode, uint32_t umask, struct fs_ident *id)
{
    struct fs_ident parent;
    int r = fs_ident_recent(fs, dir, dfd, &parent);

    if (r < 0)
        return r;
    *id = (struct fs_ident){
        .uid = uid,
        .gid = gid,
        .mode = (mode & S_IFMT) | (mode & PERM_BITS & ~(umask & 0777u)),
    };
    if (parent.mode & S_ISGID) {
        id->gid = parent.gid;
        if (S_ISDIR(mode))
            id->mode |= S_ISGID;
    }
    if (S_ISLNK(mode))
        id->mode = S_IFLNK | 0777;
    return 0;
}

int
fs_ident_kill_suid(struct fs *fs, struct fs_node *node, const struct fs_fd *fd, uint32_t gid)
{
    struct fs_ident id;
    struct statx stx;
    uint32_t keep;
    int r;

    if (node->type != S_IFREG)
        return 0;
    if (fs->config.stat_virt == FS_STAT_OFF) {
        r = fs_path_stat_fd(fd->fd, &stx);
        id.mode = stx.stx_mode;
        id.gid = stx.stx_gid;
    } else {
        r = read_ident(fs, node, fd, &id);
        if (r == 0) {
            r = fs_path_stat_fd(fd->fd, &stx);
            fs_ident_default(fs, &stx, &id);
        }
    }
    if (r < 0)
        return r;
    keep = id.mode & ~(uint32_t)S_ISUID;
    if (id.mode & S_IXGRP || id.gid != gid)
        keep &= ~(uint32_t)S_ISGID;
    if (keep == id.mode)
        return 0;
    id.mode = keep;
    return fs->config.stat_virt == FS_STAT_OFF ? fs_path_chmod(fd, keep & PERM_BITS)
                                               : fs_ident_store(fs, node, fd, &id);
}

int
fs_ident_probe(struct fs *fs, const struct fs_fd *fd)
{
    uint8_t value[FS_IDENT_SIZE + 1];
    ssize_t len;
    int r = -EROFS;

    if (!fs->config.read_only)
        r = fs_xattr_set(fd, FS_IDENT_PROBE, "", 1, 0);
    /* What may not be written to, because it is somebody else's, can still be read and has identities. */
    if (r == -EROFS || r == -EACCES || r == -EPERM) {
        len = fs_xattr_get(fd, FS_IDENT_XATTR, value, sizeof(value));
        return len >= 0 || len == -ENODATA || len == -ERANGE ? 0 : (int)len;
    }
    if (r == 0)
        r = fs_xattr_remove(fd, FS_IDENT_PROBE);
    /* Another server began at the same time, and removed what it took for its own. */
    return r == -ENODATA ? 0 : r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * INIT and DESTROY, and what concerns the filesystem as a whole.
 */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-ops.h"
#include "mb-log.h"

/* Clients older than this (Linux 5.4, the first with virtio-fs) are not served. */
#define OLDEST_MINOR 31u

/*
 * What is used of what the client offers:
 *   ASYNC_READ, ASYNC_DIO, PARALLEL_DIROPS    requests of one file or directory side by side
 *   BIG_WRITES, MAX_PAGES                     requests of up to 1 MiB
 *   ATOMIC_O_TRUNC                            one request for open(O_TRUNC)
 *   DONT_MASK                                 the umask comes along, for set-ID and identity
 *   AUTO_INVAL_DATA                           cached data is dropped when mtime or size changed
 *   DO_READDIRPLUS, READDIRPLUS_AUTO          attributes together with names, where they are used
 *   POSIX_LOCKS, FLOCK_LOCKS                  locks on the host, for all who share the directory
 *   HANDLE_KILLPRIV_V2                        set-ID bits are cleared here, no look-up per write
 *   SUBMOUNTS                                 other host filesystems below are mounts to the guest
 *   SETXATTR_EXT, INIT_EXT                    larger forms of two structures
 *   POSIX_ACL                                 (stat-virt=off) the guest checks rights by the ACLs that the host has
 *   CACHE_SYMLINKS                            (cache=always)
 *   WRITEBACK_CACHE                           (--writeback)
 */
/* Without these a guest's ACLs would not be right: what setting one has to clear, and the umask that a default ACL
 * takes the place of. */
#define WANTED_WITH_ACLS ((uint64_t)FUSE_SETXATTR_EXT | FUSE_DONT_MASK)

#define WANTED \
    ((uint64_t)FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_BIG_WRITES | FUSE_MAX_PAGES | \
     FUSE_ATOMIC_O_TRUNC | FUSE_DONT_MASK | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | \
     FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SUBMOUNTS | FUSE_SETXATTR_EXT | \
     FUSE_INIT_EXT)

static uint64_t
choose_flags(const struct fs *fs, const struct fuse_init_in *in)
{
    uint64_t offered = in->flags, wanted = WANTED;

    if (offered & FUSE_INIT_EXT)
        offered |= (uint64_t)in->flags2 << 32;
    if (fs->config.cache == FS_CACHE_NONE)
        wanted &= ~(uint64_t)(FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO);
    if (fs->config.cache == FS_CACHE_ALWAYS) {
        wanted &= ~(uint64_t)FUSE_AUTO_INVAL_DATA;
        wanted |= FUSE_CACHE_SYMLINKS;
    }
    if (fs->config.stat_virt == FS_STAT_OFF && !fs->config.no_xattr && (offered & WANTED_WITH_ACLS) == WANTED_WITH_ACLS)
        wanted |= FUSE_POSIX_ACL;
    if (fs->config.writeback)
        wanted |= FUSE_WRITEBACK_CACHE;
    return offered & wanted;
}

int
fs_op_init(struct fs_req *req)
{
    struct fs *fs = req->fs;
    struct fuse_init_in in = {0};
    struct fuse_init_out *out;
    uint64_t flags;

    memcpy(&in, req->arg, MB_MIN(req->arg_len, sizeof(in)));
    if (in.major < FUSE_KERNEL_VERSION || (in.major == FUSE_KERNEL_VERSION && in.minor < OLDEST_MINOR)) {
        mb_warn_limited("the guest speaks FUSE %u.%u; 7.%u is the oldest version served", in.major, in.minor,
                        OLDEST_MINOR);
        return -EPROTO;
    }
    out = fs_req_reply(req, MB_MIN(sizeof(*out), fs_req_room(req)));
    out->major = FUSE_KERNEL_VERSION;
    out->minor = FUSE_KERNEL_MINOR_VERSION;
    /* A client of a later major version sends INIT again with ours. */
    if (in.major > FUSE_KERNEL_VERSION)
        return 0;
    flags = choose_flags(fs, &in);
    out->max_readahead = in.max_readahead;
    out->flags = (uint32_t)flags;
    out->flags2 = (uint32_t)(flags >> 32);
    out->max_background = 64;
    out->congestion_threshold = 48;
    out->max_write = FS_MAX_WRITE;
    out->time_gran = 1;
    out->max_pages = FS_MAX_WRITE / 4096;
    /* A second INIT comes from a guest that started again without its device being reset. */
    if (atomic_load(&fs->init_flags))
        fs_forget_guest(fs);
    atomic_store(&fs->init_flags, flags | FS_INITIALIZED);
    return 0;
}

int
fs_op_destroy(struct fs_req *req)
{
    fs_forget_guest(req->fs);
    return 0;
}

/* The limits instead of the host's filesystem; but no more is free than there is. */
static void
statfs_of_quota(struct fs_quota *quota, struct fuse_kstatfs *st)
{
    struct fs_quota_stat q;

    fs_quota_stat(quota, &q);
    if (q.have_bytes && st->frsize) {
        st->blocks = q.bytes / st->frsize;
        st->bavail = MB_MIN(st->bavail, q.bytes_free / st->frsize);
        st->bfree = st->bavail;
    }
    if (q.have_inodes) {
        /* A file system that makes inodes as they are needed says 0 of 0. */
        st->ffree = st->files ? MB_MIN(st->ffree, q.inodes_free) : q.inodes_free;
        st->files = q.inodes;
    }
}

int
fs_op_statfs(struct fs_req *req)
{
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    struct fuse_statfs_out *out;
    struct statfs st;
    int r;

    if (!node.node)
        return -ESTALE;
    r = fs_node_fd(req->fs, node.node, &fd);
    if (r < 0)
        return r;
    if (fstatfs(fd.fd, &st) < 0)
        return -errno;
    out = fs_req_reply(req, sizeof(*out));
    out->st = (struct fuse_kstatfs){
        .blocks = st.f_blocks,
        .bfree = st.f_bfree,
        .bavail = st.f_bavail,
        .files = st.f_files,
        .ffree = st.f_ffree,
        .bsize = (uint32_t)st.f_bsize,
        .namelen = (uint32_t)MB_MIN((uint64_t)st.f_namelen, (uint64_t)NAME_MAX),
        .frsize = (uint32_t)st.f_frsize,
    };
    if (req->fs->quota)
        statfs_of_quota(req->fs->quota, &out->st);
    return 0;
}

int
fs_op_syncfs(struct fs_req *req)
{
    if (req->fs->config.read_only)
        return 0;
    return syncfs(req->fs->sync_fd) < 0 ? -errno : 0;
}

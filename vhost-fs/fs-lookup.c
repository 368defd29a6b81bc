/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * LOOKUP and FORGET.
 *
 * A name whose node is known costs one statx(): the node is found by identity,
 * and its owner and mode are cached as long as ctime stands still.  Otherwise
 * the file is opened (O_PATH) and everything is read through that one
 * descriptor, so that a name which changes hands meanwhile cannot mix two files.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-ops.h"
#include "fs-path.h"
#include "mb-cleanup.h"

uint64_t
fs_attr_seconds(const struct fs *fs)
{
    switch (fs->config.cache) {
    case FS_CACHE_NONE:
        return 0;
    case FS_CACHE_AUTO:
        return 1;
    case FS_CACHE_ALWAYS:
        return 86400;
    }
    return 0;
}

/* ---- directories -------------------------------------------------------------------------- */

int
fs_dir_get(struct fs *fs, uint64_t nodeid, const char *name, bool change, struct fs_dir_ref *dir)
{
    int r;

    *dir = (struct fs_dir_ref){.fs = fs, .fd = FS_FD_NONE};
    dir->node = fs_node_get(fs, nodeid);
    if (!dir->node)
        return -ESTALE;
    if (dir->node->type != S_IFDIR)
        r = -ENOTDIR;
    else if (fs->single && change)
        r = -EPERM;
    else if (fs->single && name && strcmp(name, fs->single) != 0)
        r = -ENOENT;
    else
        r = fs_node_fd(fs, dir->node, &dir->fd);
    if (r < 0)
        fs_dir_put(dir);
    return r;
}

int
fs_dir_change(struct fs_dir_ref *dir, const char *name, unsigned inodes)
{
    /* One block for the directory, one for what is made. */
    int r = fs_quota_begin(&dir->quota, dir->fs->quota, inodes ? 8192 : 0, inodes);

    if (r < 0)
        return r;
    if (name)
        fs_quota_names(&dir->quota, dir->node->key.ino, name, 0, NULL);
    fs_quota_touch(&dir->quota, dir->fd.fd);
    return 0;
}

void
fs_dir_put(struct fs_dir_ref *dir)
{
    fs_quota_end(&dir->quota);
    fs_fd_put(&dir->fd);
    if (dir->node)
        fs_node_put(dir->fs, dir->node);
    dir->node = NULL;
}

/* ---- look-up ------------------------------------------------------------------------------- */

void
fs_entry_fill(const struct fs_dir_ref *dir, struct fs_node *node, const struct statx *stx,
              const struct fs_ident *id, struct fuse_entry_out *entry)
{
    struct fs *fs = dir->fs;

    memset(entry, 0, sizeof(*entry));
    fs_attr_fill(stx, id, &entry->attr);
    if (node->key.mnt != dir->node->key.mnt && S_ISDIR(stx->stx_mode) &&
        atomic_load_explicit(&fs->init_flags, memory_order_relaxed) & FUSE_SUBMOUNTS)
        entry->attr.flags |= FUSE_ATTR_SUBMOUNT;
    entry->nodeid = fs_node_id(node);
    entry->attr_valid = fs_attr_seconds(fs);
    entry->entry_valid = entry->attr_valid;
    fs_node_looked_up(node);
}

/* Open name and read all there is to know through the descriptor. */
static int
look_closely(const struct fs_dir_ref *dir, const char *name, struct statx *stx, struct fs_ident *id,
             struct fs_node **node)
{
    struct fs *fs = dir->fs;
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    mb_autofd int path_fd = fs_path_open(fs, dir->fd.fd, name);
    int r;

    if (path_fd < 0)
        return path_fd;
    r = fs_path_stat_fd(path_fd, stx);
    if (r < 0)
        return r;
    *node = fs_node_make(fs, stx, dir->node, name);
    if (!*node)
        return -errno;
    fs_node_adopt_fd(fs, *node, mb_steal_fd(&path_fd), &fd);
    r = fs_ident_load(fs, *node, &fd, stx, id);
    if (r < 0) {
        /* First the descriptor, whose users the node counts. */
        fs_fd_put(&fd);
        fs_node_put(fs, *node);
        *node = NULL;
    }
    return r;
}

static int
lookup_single(const struct fs_dir_ref *dir, struct fuse_entry_out *entry, struct fs_node **node)
{
    struct fs *fs = dir->fs;
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    struct fs_ident id;
    struct statx stx;
    int r = fs_node_fd(fs, fs->single_node, &fd);

    if (r == 0)
        r = fs_path_stat_fd(fd.fd, &stx);
    if (r == 0)
        r = fs_ident_load(fs, fs->single_node, &fd, &stx, &id);
    if (r < 0)
        return r;
    fs_entry_fill(dir, fs->single_node, &stx, &id, entry);
    if (node)
        *node = fs_node_ref(fs->single_node);
    return 0;
}

int
fs_lookup_name(const struct fs_dir_ref *dir, const char *name, struct fuse_entry_out *entry,
               struct fs_node **ret_node)
{
    struct fs *fs = dir->fs;
    struct fs_node *node;
    struct fs_ident id;
    struct statx stx;
    int r;

    if (fs->single)
        return lookup_single(dir, entry, ret_node);
    r = fs_path_stat(dir->fd.fd, name, &stx);
    if (r < 0)
        return r;
    node = fs_node_find(fs, &stx);
    if (!node && !fs_ident_possible(fs, &stx)) {
        node = fs_node_make(fs, &stx, dir->node, name);
        if (!node)
            return -errno;
        fs_ident_default(fs, &stx, &id);
    } else if (node && fs_ident_peek(fs, node, &stx, &id)) {
        fs_node_moved(fs, node, dir->node, name);
    } else {
        if (node)
            fs_node_put(fs, node);
        node = NULL;
        r = look_closely(dir, name, &stx, &id, &node);
        if (r < 0)
            return r;
    }
    fs_entry_fill(dir, node, &stx, &id, entry);
    if (ret_node)
        *ret_node = node;
    else
        fs_node_put(fs, node);
    return 0;
}

/* There is no such name, which the guest may remember for as long as what there is. */
static int
reply_missing(struct fs_req *req)
{
    struct fuse_entry_out *entry;

    if (req->fs->config.cache == FS_CACHE_NONE)
        return -ENOENT;
    entry = fs_req_reply(req, sizeof(*entry));
    entry->entry_valid = fs_attr_seconds(req->fs);
    return 0;
}

int
fs_op_lookup(struct fs_req *req)
{
    fs_auto_dir struct fs_dir_ref dir = {.fd = FS_FD_NONE};
    const char *name;
    int r;

    r = fs_req_name(req, 0, &name, NULL);
    if (r == 0)
        r = fs_dir_get(req->fs, req->hdr.nodeid, name, false, &dir);
    if (r == 0)
        r = fs_lookup_name(&dir, name, fs_req_reply(req, sizeof(struct fuse_entry_out)), NULL);
    return r == -ENOENT ? reply_missing(req) : r;
}

/* ---- forget ---------------------------------------------------------------------------------- */

static void
forget_one(struct fs *fs, uint64_t nodeid, uint64_t nlookup)
{
    struct fs_node *node = fs_node_get(fs, nodeid);

    if (!node)
        return;
    if (node != fs->root)
        fs_node_forget(fs, node, nlookup);
    fs_node_put(fs, node);
}

int
fs_op_forget(struct fs_req *req)
{
    forget_one(req->fs, req->hdr.nodeid, FS_ARG(req, struct fuse_forget_in)->nlookup);
    return 0;
}

int
fs_op_batch_forget(struct fs_req *req)
{
    const struct fuse_batch_forget_in *in = FS_ARG(req, struct fuse_batch_forget_in);
    const struct fuse_forget_one *one = (const void *)(in + 1);
    size_t room = (req->arg_len - sizeof(*in)) / sizeof(*one), i;

    for (i = 0; i < in->count && i < room; i++)
        forget_one(req->fs, one[i].nodeid, one[i].nlookup);
    return 0;
}

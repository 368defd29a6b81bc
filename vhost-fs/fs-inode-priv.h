/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What fs-inode.c, fs-inode-ref.c and fs-inode-fd.c share.
 */
#ifndef FS_INODE_PRIV_H
#define FS_INODE_PRIV_H

#include "fs-inode.h"

static inline int
fs_fd_state_fd(uint64_t state)
{
    return (int)(state >> 32) - 1;
}

static inline uint32_t
fs_fd_state_users(uint64_t state)
{
    return (uint32_t)state;
}

static inline uint32_t
fs_statx_mnt(const struct statx *stx)
{
    return stx->stx_mask & STATX_MNT_ID ? (uint32_t)stx->stx_mnt_id : 0;
}

/* Close the descriptor of a node that nobody can reach. */
void fs_node_drop_fd(struct fs *fs, struct fs_node *node);

/* Take a node without references out of the shard of that number. False if it is not in it any more, or somebody
 * has found it meanwhile. */
bool fs_node_take_out(struct fs *fs, struct fs_node *node, unsigned shard_no);

/* Free what a node that nobody can reach has of its own. */
void fs_node_release_owned(struct fs_node *node);

/* The node has a name again. */
void fs_node_unorphan(struct fs *fs, struct fs_node *node);

#endif

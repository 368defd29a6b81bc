/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who holds a node, and where it was seen last; see fs-inode.h.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs-core.h"
#include "fs-inode-priv.h"
#include "fs-lock.h"

struct fs_node *
fs_node_get(struct fs *fs, uint64_t nodeid)
{
    struct fs_node *node;
    bool stale;

    if (nodeid == 1)
        return fs_node_ref(fs->root);
    node = fs_slab_get(&fs->nodes.slab, nodeid, &stale);
    if (stale) {
        fs_node_put(fs, node);
        return NULL;
    }
    return node;
}

struct fs_node *
fs_node_ref(struct fs_node *node)
{
    atomic_fetch_add_explicit(&node->slot.refs, 1, memory_order_relaxed);
    return node;
}

/* Free a node whose last reference went, unless somebody found it again meanwhile.
 * Returns its parent, whose reference it held. */
static struct fs_node *
node_free(struct fs *fs, struct fs_node *node, unsigned shard_no)
{
    struct fs_node *parent;

    if (!fs_node_take_out(fs, node, shard_no))
        return NULL;
    if (MB_UNLIKELY(node->charge))
        fs_quota_node_gone(fs->quota, node, fs_fd_state_fd(atomic_load(&node->fd_state)));
    fs_node_drop_fd(fs, node);
    parent = node->parent;
    node->parent = NULL;
    fs_node_release_owned(node);
    fs_slab_free(&fs->nodes.slab, node);
    return parent;
}

void
fs_node_put(struct fs *fs, struct fs_node *node)
{
    while (node) {
        unsigned shard = atomic_load(&node->shard);

        if (atomic_fetch_sub_explicit(&node->slot.refs, 1, memory_order_acq_rel) != 1)
            return;
        node = node_free(fs, node, shard);
    }
}

void
fs_node_looked_up(struct fs_node *node)
{
    if (atomic_fetch_add_explicit(&node->nlookup, 1, memory_order_relaxed) == 0)
        fs_node_ref(node);
}

void
fs_node_forget(struct fs *fs, struct fs_node *node, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&node->nlookup, memory_order_relaxed), now;

    if (n == 0)
        return;
    do {
        if (old == 0)
            return;
        now = old > n ? old - n : 0;
    } while (!atomic_compare_exchange_weak(&node->nlookup, &old, now));
    if (now == 0)
        fs_node_put(fs, node);
}

/* Its place, and the locks that the guest has on it. */
static void
node_clear(struct fs *fs, struct fs_node *node)
{
    struct fs_lock_owner *owners;
    struct fs_node *parent;

    pthread_mutex_lock(fs_node_lock(fs, node));
    parent = node->parent;
    owners = node->lock_owners;
    node->parent = NULL;
    node->lock_owners = NULL;
    pthread_mutex_unlock(fs_node_lock(fs, node));
    fs_node_put(fs, parent);
    fs_lock_owners_free(owners);
}

void
fs_node_forget_all(struct fs *fs)
{
    struct fs_node *node;
    uint32_t i;

    for (i = 1; (node = fs_slab_at(&fs->nodes.slab, i)); i++) {
        if (!fs_slot_ref(&node->slot))
            continue;
        /* Parents first: stale places may point in circles. */
        node_clear(fs, node);
        if (node != fs->root)
            fs_node_forget(fs, node, UINT64_MAX);
        fs_node_put(fs, node);
    }
}

/* ---- places ------------------------------------------------------------------------ */

void
fs_node_moved(struct fs *fs, struct fs_node *node, struct fs_node *parent, const char *name)
{
    struct fs_node *old_parent = NULL;
    char *old_name = NULL;

    if (node == fs->root || node == parent)
        return;
    pthread_mutex_lock(fs_node_lock(fs, node));
    if (node->parent != parent || !node->name || strcmp(node->name, name) != 0) {
        char *copy = strdup(name);

        if (copy) {
            old_name = node->name;
            old_parent = node->parent;
            node->name = copy;
            node->parent = fs_node_ref(parent);
        }
    }
    pthread_mutex_unlock(fs_node_lock(fs, node));
    fs_node_unorphan(fs, node);
    free(old_name);
    fs_node_put(fs, old_parent);
}

void
fs_node_name(struct fs *fs, struct fs_node *node, char *buf, size_t size)
{
    if (node == fs->single_node) {
        snprintf(buf, size, "%s", fs->single);
        return;
    }
    pthread_mutex_lock(fs_node_lock(fs, node));
    snprintf(buf, size, "%s", node == fs->root ? "." : node->name ? node->name : "(no name)");
    pthread_mutex_unlock(fs_node_lock(fs, node));
}

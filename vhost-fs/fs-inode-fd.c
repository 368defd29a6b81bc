/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptors of nodes: at most max_fds are open at a time.  fd_state is the
 * descriptor and its users in one word, so that taking and giving back needs no
 * lock; a descriptor is closed by whoever swaps the word from "no users" to 0.
 *
 * Which one to close is decided by the clock algorithm: a hand goes around the
 * nodes with descriptors and takes the first that is not in use and was not
 * used since the hand passed last.
 */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-inode-priv.h"
#include "fs-path.h"
#include "mb-cleanup.h"

#define MAX_CLOCK_STEPS 256u

static bool
fd_take(struct fs_node *node, struct fs_fd *fd)
{
    uint64_t state = atomic_load_explicit(&node->fd_state, memory_order_relaxed);

    do {
        if (state == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&node->fd_state, &state, state + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    if (!atomic_load_explicit(&node->recent, memory_order_relaxed))
        atomic_store_explicit(&node->recent, true, memory_order_relaxed);
    *fd = (struct fs_fd){.fd = fs_fd_state_fd(state), .node = node};
    return true;
}

void
fs_fd_put(struct fs_fd *fd)
{
    if (fd->node)
        atomic_fetch_sub_explicit(&fd->node->fd_state, 1, memory_order_release);
    else if (fd->handle)
        fs_handle_put(fd->handle);
    else if (fd->fd >= 0)
        mb_close(fd->fd);
    *fd = (struct fs_fd)FS_FD_NONE;
}

/* ---- the clock ---------------------------------------------------------------------- */

/* Take entry i off the array; fd_lock held. */
static void
clock_remove(struct fs_nodes *nodes, uint32_t i)
{
    struct fs_node *moved;

    ((struct fs_node *)fs_slab_at(&nodes->slab, nodes->fd_nodes[i]))->fd_slot = 0;
    nodes->n_fds--;
    if (i == nodes->n_fds)
        return;
    nodes->fd_nodes[i] = nodes->fd_nodes[nodes->n_fds];
    moved = fs_slab_at(&nodes->slab, nodes->fd_nodes[i]);
    moved->fd_slot = i + 1;
}

/* Make room for one; returns the descriptor to close, or -1. fd_lock held. */
static int
clock_evict(struct fs_nodes *nodes)
{
    uint32_t steps;

    for (steps = 0; steps < MAX_CLOCK_STEPS && nodes->n_fds; steps++) {
        uint32_t i = nodes->hand++ % nodes->n_fds;
        struct fs_node *node = fs_slab_at(&nodes->slab, nodes->fd_nodes[i]);
        uint64_t state = atomic_load(&node->fd_state);

        if (fs_fd_state_users(state) || atomic_load(&node->orphan) || atomic_exchange(&node->recent, false))
            continue;
        if (state && atomic_compare_exchange_strong(&node->fd_state, &state, 0)) {
            clock_remove(nodes, i);
            return fs_fd_state_fd(state);
        }
    }
    return -1;
}

void
fs_node_adopt_fd(struct fs *fs, struct fs_node *node, int path_fd, struct fs_fd *fd)
{
    struct fs_nodes *nodes = &fs->nodes;
    int victim = -1;

    if (fd_take(node, fd)) {
        mb_close(path_fd);
        return;
    }
    pthread_mutex_lock(&nodes->fd_lock);
    if (node->fd_slot == 0 && nodes->n_fds >= nodes->max_fds)
        victim = clock_evict(nodes);
    if (node->fd_slot == 0 && nodes->n_fds < nodes->max_fds) {
        nodes->fd_nodes[nodes->n_fds++] = node->slot.idx;
        node->fd_slot = nodes->n_fds;
        atomic_store(&node->recent, true);
        atomic_store(&node->fd_state, (uint64_t)(unsigned)(path_fd + 1) << 32 | 1);
        *fd = (struct fs_fd){.fd = path_fd, .node = node};
    } else if (fd_take(node, fd)) {
        /* Another thread was faster. */
        mb_close(path_fd);
    } else {
        /* Every descriptor is in use: this one lives as long as the request. */
        *fd = (struct fs_fd){.fd = path_fd};
    }
    pthread_mutex_unlock(&nodes->fd_lock);
    mb_close(victim);
}

void
fs_node_drop_fd(struct fs *fs, struct fs_node *node)
{
    uint64_t state;

    pthread_mutex_lock(&fs->nodes.fd_lock);
    state = atomic_exchange(&node->fd_state, 0);
    if (node->fd_slot)
        clock_remove(&fs->nodes, node->fd_slot - 1);
    pthread_mutex_unlock(&fs->nodes.fd_lock);
    if (state)
        mb_close(fs_fd_state_fd(state));
    if (atomic_exchange(&node->orphan, false))
        atomic_fetch_sub(&fs->nodes.n_orphans, 1);
}

/* ---- nodes without a name ------------------------------------------------------------ */

/* Half of the descriptors may belong to files that have no name any more; a guest that
 * keeps more than that loses the oldest way to name them (by node number), not open files. */
void
fs_node_keep(struct fs *fs, struct fs_node *node, bool last_link)
{
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;

    if (!last_link) {
        /* Another name remains; have a descriptor at hand, as this place is void. */
        (void)!fs_node_fd(fs, node, &fd);
        return;
    }
    if (atomic_load(&fs->nodes.n_orphans) >= fs->nodes.max_fds / 2 || fs_node_fd(fs, node, &fd) < 0 || !fd.node)
        return;
    if (!atomic_exchange(&node->orphan, true))
        atomic_fetch_add(&fs->nodes.n_orphans, 1);
}

void
fs_node_unorphan(struct fs *fs, struct fs_node *node)
{
    if (atomic_load_explicit(&node->orphan, memory_order_relaxed) && atomic_exchange(&node->orphan, false))
        atomic_fetch_sub(&fs->nodes.n_orphans, 1);
}

/* ---- finding a descriptor ------------------------------------------------------------- */

bool
fs_node_fd_ready(struct fs *fs, struct fs_node *node, struct fs_fd *fd)
{
    struct fs_handle *handle;

    if (fd_take(node, fd))
        return true;
    /* What is open may have been replaced. */
    if (node == fs->single_node)
        return false;
    pthread_mutex_lock(fs_node_lock(fs, node));
    for (handle = node->handles; handle; handle = handle->next) {
        if (handle->fd >= 0 && fs_slot_ref(&handle->slot))
            break;
    }
    pthread_mutex_unlock(fs_node_lock(fs, node));
    if (handle)
        *fd = (struct fs_fd){.fd = handle->fd, .real = true, .handle = handle};
    return handle != NULL;
}

/* Where the node was seen: its parent with a reference, and its name. */
static struct fs_node *
node_place(struct fs *fs, struct fs_node *node, char name[NAME_MAX + 1])
{
    struct fs_node *parent = NULL;

    pthread_mutex_lock(fs_node_lock(fs, node));
    if (node->parent && node->name && !atomic_load(&node->orphan)) {
        parent = fs_node_ref(node->parent);
        snprintf(name, NAME_MAX + 1, "%s", node->name);
    }
    pthread_mutex_unlock(fs_node_lock(fs, node));
    return parent;
}

/* Give node a descriptor by its place below an ancestor that has one. */
static int
open_below(struct fs *fs, const struct fs_fd *dir, const char *name, struct fs_node *node, struct fs_fd *fd)
{
    mb_autofd int path_fd = -1;
    struct statx stx;
    int r;

    path_fd = fs_path_open(fs, dir->fd, name);
    if (path_fd < 0)
        return path_fd == -ENOENT ? -ESTALE : path_fd;
    r = fs_path_stat_fd(path_fd, &stx);
    if (r < 0)
        return r;
    if (!fs_node_matches(node, &stx))
        return -ESTALE;
    fs_node_adopt_fd(fs, node, mb_steal_fd(&path_fd), fd);
    return 0;
}

/* An ancestor and its descriptor, which no eviction takes until the walk is past it. */
struct held {
    struct fs_node_ref node;
    struct fs_fd fd;
};

static void
held_clear(struct held *held)
{
    fs_fd_put(&held->fd);
    fs_node_ref_clear(&held->node);
}

/* One step: the nearest ancestor with a descriptor opens its child on the way to node.
 * Returns 1 when node itself was opened into *fd, 0 after an ancestor was (*held then is
 * that one), or -errno. */
static int
walk_step(struct fs *fs, struct fs_node *node, struct held *held, struct fs_fd *fd)
{
    fs_auto_node struct fs_node_ref at = {fs, fs_node_ref(node)};
    unsigned depth;

    for (depth = 0; depth < FS_NODE_MAX_WALK; depth++) {
        char name[NAME_MAX + 1];
        fs_auto_node struct fs_node_ref parent = {fs, node_place(fs, at.node, name)};
        fs_auto_fd struct fs_fd dir = FS_FD_NONE;

        if (!parent.node)
            return -ESTALE;
        if (fs_node_fd_ready(fs, parent.node, &dir)) {
            if (at.node == node) {
                int r = open_below(fs, &dir, name, node, fd);

                return r < 0 ? r : 1;
            } else {
                struct fs_fd next = FS_FD_NONE;
                int r = open_below(fs, &dir, name, at.node, &next);

                if (r < 0)
                    return r;
                held_clear(held);
                *held = (struct held){{fs, mb_steal_ptr(&at.node)}, next};
                return 0;
            }
        }
        fs_node_ref_clear(&at);
        at.node = parent.node;
        parent.node = NULL;
    }
    return -ESTALE;
}

/* The file that has the name of a single-file share now. */
static int
open_single(struct fs *fs, struct fs_fd *fd)
{
    fs_auto_fd struct fs_fd dir = FS_FD_NONE;
    struct statx stx;
    int r;

    if (!fs_node_fd_ready(fs, fs->root, &dir))
        return -ESTALE;
    fd->fd = fs_path_open(fs, dir.fd, fs->single);
    if (fd->fd < 0)
        return fd->fd;
    r = fs_path_stat_fd(fd->fd, &stx);
    if (r == 0 && !S_ISREG(stx.stx_mode))
        r = S_ISLNK(stx.stx_mode) ? -ELOOP : S_ISDIR(stx.stx_mode) ? -EISDIR : -ENXIO;
    if (r < 0)
        fs_fd_put(fd);
    return r;
}

int
fs_node_fd(struct fs *fs, struct fs_node *node, struct fs_fd *fd)
{
    MB_CLEANUP(held_clear) struct held held = {{fs, NULL}, FS_FD_NONE};
    unsigned steps;

    if (node == fs->single_node)
        return open_single(fs, fd);
    if (fs_node_fd_ready(fs, node, fd))
        return 0;
    for (steps = 0; steps < FS_NODE_MAX_WALK; steps++) {
        int r = walk_step(fs, node, &held, fd);

        if (r != 0)
            return r < 0 ? r : 0;
    }
    return -ESTALE;
}

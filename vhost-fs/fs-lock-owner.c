/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The owners of POSIX locks, each with a descriptor of the file.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs-core.h"
#include "fs-lock-priv.h"
#include "fs-path.h"
#include "mb-cleanup.h"

void
fs_lock_owner_put(struct fs_lock_owner *owner)
{
    struct fs *fs = owner->fs;

    if (atomic_fetch_sub(&owner->refs, 1) != 1)
        return;
    mb_close(owner->fd);
    free(owner);
    pthread_mutex_lock(&fs->locks.lock);
    fs->locks.n_owners--;
    pthread_mutex_unlock(&fs->locks.lock);
}

static bool
owner_reserve(struct fs *fs)
{
    bool room;

    pthread_mutex_lock(&fs->locks.lock);
    room = fs->locks.n_owners < fs->locks.max_owners;
    if (room)
        fs->locks.n_owners++;
    pthread_mutex_unlock(&fs->locks.lock);
    return room;
}

/* With a reference, and from now on of the handle fh; the node's lock is held. */
static struct fs_lock_owner *
owner_find(struct fs_node *node, uint64_t owner, uint64_t fh)
{
    struct fs_lock_owner *o;

    for (o = node->lock_owners; o; o = o->next) {
        if (o->owner == owner) {
            atomic_fetch_add(&o->refs, 1);
            o->fh = fh;
            return o;
        }
    }
    return NULL;
}

static int
open_for_locks(struct fs *fs, struct fs_node *node, bool writable)
{
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    int r = fs_node_fd(fs, node, &fd);

    if (r < 0)
        return r;
    return fs_path_reopen(fs, fd.fd, writable ? O_RDWR : O_RDONLY);
}

int
fs_lock_owner_get(struct fs *fs, struct fs_handle *handle, uint64_t id, struct fs_lock_owner **ret)
{
    uint64_t fh = fs_slab_id(&handle->slot);
    struct fs_node *node = handle->node;
    struct fs_lock_owner *o, *mine;

    pthread_mutex_lock(fs_node_lock(fs, node));
    *ret = owner_find(node, id, fh);
    pthread_mutex_unlock(fs_node_lock(fs, node));
    if (*ret)
        return 0;
    if (!owner_reserve(fs))
        return -ENOLCK;
    mine = calloc(1, sizeof(*mine));
    if (!mine) {
        pthread_mutex_lock(&fs->locks.lock);
        fs->locks.n_owners--;
        pthread_mutex_unlock(&fs->locks.lock);
        return -ENOMEM;
    }
    mine->fs = fs;
    mine->owner = id;
    mine->fh = fh;
    atomic_store(&mine->refs, 2); /* the node's and the caller's */
    /* Of the widest access that can be had: it serves all later locks of this owner. */
    mine->fd = fs->config.read_only ? -EROFS : open_for_locks(fs, node, true);
    if (mine->fd < 0)
        mine->fd = open_for_locks(fs, node, false);
    if (mine->fd < 0) {
        int r = mine->fd;

        atomic_store(&mine->refs, 1);
        fs_lock_owner_put(mine);
        return r;
    }
    pthread_mutex_lock(fs_node_lock(fs, node));
    o = owner_find(node, id, fh);
    if (!o) {
        mine->next = node->lock_owners;
        node->lock_owners = mine;
    }
    pthread_mutex_unlock(fs_node_lock(fs, node));
    if (o) {
        atomic_store(&mine->refs, 1);
        fs_lock_owner_put(mine);
    }
    *ret = o ? o : mine;
    return 0;
}

void
fs_lock_drop_owner(struct fs *fs, struct fs_node *node, uint64_t owner)
{
    struct fs_lock_owner **link, *o = NULL;

    pthread_mutex_lock(fs_node_lock(fs, node));
    for (link = &node->lock_owners; *link; link = &(*link)->next) {
        if ((*link)->owner == owner) {
            o = *link;
            *link = o->next;
            break;
        }
    }
    pthread_mutex_unlock(fs_node_lock(fs, node));
    if (o)
        fs_lock_owner_put(o);
}

void
fs_lock_drop_handle(struct fs *fs, struct fs_node *node, uint64_t fh)
{
    struct fs_lock_owner **link, *dropped = NULL;

    pthread_mutex_lock(fs_node_lock(fs, node));
    for (link = &node->lock_owners; *link;) {
        struct fs_lock_owner *o = *link;

        if (o->fh != fh) {
            link = &o->next;
            continue;
        }
        *link = o->next;
        o->next = dropped;
        dropped = o;
    }
    pthread_mutex_unlock(fs_node_lock(fs, node));
    fs_lock_owners_free(dropped);
}

void
fs_lock_owners_free(struct fs_lock_owner *owners)
{
    while (owners) {
        struct fs_lock_owner *next = owners->next;

        fs_lock_owner_put(owners);
        owners = next;
    }
}

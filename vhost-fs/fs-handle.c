/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open files and directories, see fs-handle.h.
 */
#include <config.h>

#include "fs-handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs-core.h"
#include "mb-cleanup.h"

int
fs_handles_init(struct fs_handles *handles, uint32_t max)
{
    return fs_slab_init(&handles->slab, sizeof(struct fs_handle), max);
}

void
fs_handles_destroy(struct fs *fs)
{
    fs_slab_destroy(&fs->handles.slab);
}

int
fs_handle_new(struct fs *fs, struct fs_node *node, int fd, int flags, bool is_dir, uint64_t *fh)
{
    struct fs_handle *handle = fs_slab_alloc(&fs->handles.slab);

    if (!handle) {
        mb_close(fd);
        return -errno;
    }
    handle->fs = fs;
    handle->node = fs_node_ref(node);
    handle->fd = fd;
    handle->is_dir = is_dir;
    handle->writable = (flags & O_ACCMODE) != O_RDONLY;
    handle->append = (flags & O_APPEND) != 0;
    handle->sync = (flags & (O_SYNC | O_DSYNC)) != 0;
    pthread_mutex_init(&handle->dir.lock, NULL);
    *fh = fs_slab_id(&handle->slot);
    pthread_mutex_lock(fs_node_lock(fs, node));
    fs_slab_publish(&handle->slot);
    handle->next = node->handles;
    node->handles = handle;
    pthread_mutex_unlock(fs_node_lock(fs, node));
    return 0;
}

int
fs_dir_stream_get(struct fs *fs, struct fs_dir_stream *stream)
{
    stream->buf = malloc(FS_DIR_BUFFER);
    if (!stream->buf)
        return -ENOMEM;
    atomic_fetch_add(&fs->handles.n_dir_buffers, 1);
    return 0;
}

void
fs_dir_stream_drop(struct fs *fs, struct fs_dir_stream *stream)
{
    if (!stream->buf)
        return;
    free(stream->buf);
    stream->buf = NULL;
    stream->pos = 0;
    stream->len = 0;
    stream->next = UINT64_MAX; /* where the descriptor is, nobody knows */
    atomic_fetch_sub(&fs->handles.n_dir_buffers, 1);
}

struct fs_handle *
fs_handle_get(struct fs *fs, uint64_t fh, const struct fs_node *node, bool is_dir)
{
    bool stale;
    struct fs_handle *handle = fs_slab_get(&fs->handles.slab, fh, &stale);

    if (!handle)
        return NULL;
    if (stale || handle->is_dir != is_dir || handle->node != node || atomic_load(&handle->released)) {
        fs_handle_put(handle);
        return NULL;
    }
    return handle;
}

void
fs_handle_put(struct fs_handle *handle)
{
    struct fs *fs = handle->fs;
    struct fs_node *node = handle->node;
    struct fs_handle **link;

    if (atomic_fetch_sub_explicit(&handle->slot.refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_lock(fs_node_lock(fs, node));
    for (link = &node->handles; *link != handle;)
        link = &(*link)->next;
    *link = handle->next;
    pthread_mutex_unlock(fs_node_lock(fs, node));
    if (fs->quota)
        fs_quota_close_file(fs->quota, handle);
    else
        mb_close(handle->fd);
    fs_dir_stream_drop(fs, &handle->dir);
    pthread_mutex_destroy(&handle->dir.lock);
    fs_slab_free(&fs->handles.slab, handle);
    fs_node_put(fs, node);
}

bool
fs_handle_release(struct fs_handle *handle)
{
    if (atomic_exchange(&handle->released, true))
        return false;
    fs_handle_put(handle);
    return true;
}

void
fs_handles_release_all(struct fs *fs)
{
    uint32_t i;

    for (i = 1; fs_slab_at(&fs->handles.slab, i); i++) {
        struct fs_handle *handle = fs_slab_at(&fs->handles.slab, i);

        if (fs_slot_ref(&handle->slot)) {
            fs_handle_release(handle);
            fs_handle_put(handle);
        }
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Generation-checked object tables, see fs-slab.h.
 */
#include <config.h>

#include "fs-slab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
fs_slab_init(struct fs_slab *slab, size_t item_size, uint32_t max)
{
    uint32_t n_chunks = max / FS_SLAB_CHUNK + 1;
    int r;

    memset(slab, 0, sizeof(*slab));
    slab->item_size = item_size;
    slab->max = max;
    slab->chunks = calloc(n_chunks, sizeof(*slab->chunks));
    if (!slab->chunks)
        return -ENOMEM;
    r = pthread_mutex_init(&slab->lock, NULL);
    if (r) {
        free(slab->chunks);
        slab->chunks = NULL;
    }
    return -r;
}

void
fs_slab_destroy(struct fs_slab *slab)
{
    uint32_t i;

    if (!slab->chunks)
        return;
    for (i = 0; i <= slab->max / FS_SLAB_CHUNK; i++)
        free(slab->chunks[i]);
    free(slab->chunks);
    slab->chunks = NULL;
    pthread_mutex_destroy(&slab->lock);
}

/* Slot idx of a chunk that exists. */
static struct fs_slot *
slab_slot(struct fs_slab *slab, uint32_t idx)
{
    char *chunk = atomic_load_explicit(&slab->chunks[(idx - 1) / FS_SLAB_CHUNK], memory_order_acquire);

    return (struct fs_slot *)(void *)(chunk + (size_t)((idx - 1) % FS_SLAB_CHUNK) * slab->item_size);
}

/* A slot that was never used; lock held. */
static struct fs_slot *
slab_extend(struct fs_slab *slab)
{
    uint32_t used = atomic_load_explicit(&slab->used, memory_order_relaxed);
    uint32_t c = used / FS_SLAB_CHUNK;
    struct fs_slot *slot;

    if (used >= slab->max) {
        errno = ENFILE;
        return NULL;
    }
    if (!atomic_load_explicit(&slab->chunks[c], memory_order_relaxed)) {
        char *chunk = calloc(FS_SLAB_CHUNK, slab->item_size);

        if (!chunk) {
            errno = ENOMEM;
            return NULL;
        }
        atomic_store_explicit(&slab->chunks[c], chunk, memory_order_release);
    }
    slot = slab_slot(slab, used + 1);
    slot->idx = used + 1;
    atomic_store_explicit(&slot->gen, 1, memory_order_relaxed);
    atomic_store_explicit(&slab->used, used + 1, memory_order_release);
    return slot;
}

void *
fs_slab_alloc(struct fs_slab *slab)
{
    struct fs_slot *slot;

    pthread_mutex_lock(&slab->lock);
    if (slab->free_head) {
        slot = slab_slot(slab, slab->free_head);
        slab->free_head = slot->next_free;
    } else {
        slot = slab_extend(slab);
    }
    pthread_mutex_unlock(&slab->lock);
    if (slot) {
        memset(slot + 1, 0, slab->item_size - sizeof(*slot));
        atomic_fetch_add_explicit(&slab->live, 1, memory_order_relaxed);
    }
    return slot;
}

void
fs_slab_publish(struct fs_slot *slot)
{
    atomic_store_explicit(&slot->refs, 1, memory_order_release);
}

void
fs_slab_free(struct fs_slab *slab, void *item)
{
    struct fs_slot *slot = item;

    atomic_fetch_add_explicit(&slot->gen, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&slab->live, 1, memory_order_relaxed);
    pthread_mutex_lock(&slab->lock);
    slot->next_free = slab->free_head;
    slab->free_head = slot->idx;
    pthread_mutex_unlock(&slab->lock);
}

void *
fs_slab_at(struct fs_slab *slab, uint32_t idx)
{
    if (idx == 0 || idx > atomic_load_explicit(&slab->used, memory_order_acquire))
        return NULL;
    return slab_slot(slab, idx);
}

bool
fs_slot_ref(struct fs_slot *slot)
{
    unsigned refs = atomic_load_explicit(&slot->refs, memory_order_relaxed);

    do {
        if (refs == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&slot->refs, &refs, refs + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    return true;
}

void *
fs_slab_get(struct fs_slab *slab, uint64_t id, bool *stale)
{
    struct fs_slot *slot = fs_slab_at(slab, (uint32_t)id);

    *stale = false;
    if (!slot || !fs_slot_ref(slot))
        return NULL;
    *stale = atomic_load_explicit(&slot->gen, memory_order_relaxed) != (uint32_t)(id >> 32);
    return slot;
}

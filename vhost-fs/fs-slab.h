/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tables of objects that a guest names by number.  An identifier is an index
 * and a generation, never a pointer: it is checked at every use, and the
 * identifier of a freed object stays invalid after its slot was used again.
 *
 * The memory of a slot is never given back before the table is destroyed, so
 * fs_slab_get() needs no lock: it takes a reference if there is one to share
 * and then compares the generation.  Slots come in chunks, so that a table
 * costs what it holds.
 */
#ifndef FS_SLAB_H
#define FS_SLAB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mb-macros.h"

#define FS_SLAB_CHUNK 512       /* slots in a chunk */

/* First member of every object kept in a table. */
struct fs_slot {
    atomic_uint refs;           /* 0: free, or about to be freed by its owner */
    atomic_uint gen;
    uint32_t idx;               /* 1 .. max; constant */
    uint32_t next_free;
};

struct fs_slab {
    size_t item_size;
    uint32_t max;               /* objects at most: the memory bound */
    _Atomic(char *) *chunks;
    atomic_uint used;           /* slots ever used: 1 .. used exist */
    atomic_uint live;           /* objects now */
    uint32_t free_head;         /* under lock, as next_free of the slots */
    pthread_mutex_t lock;
};

/* 0 or -errno. item_size includes the fs_slot that the object begins with. */
int fs_slab_init(struct fs_slab *slab, size_t item_size, uint32_t max) MB_MUST_CHECK;
void fs_slab_destroy(struct fs_slab *slab);

/* A slot with no references, zeroed but for its fs_slot; NULL when max objects live (errno ENFILE)
 * or memory ran out (ENOMEM).  fs_slab_publish() makes it reachable with one reference. */
void *fs_slab_alloc(struct fs_slab *slab) MB_MUST_CHECK;
void fs_slab_publish(struct fs_slot *slot);

/* Give back an object whose references are 0 and which only the caller can reach. */
void fs_slab_free(struct fs_slab *slab, void *item);

static inline uint64_t
fs_slab_id(struct fs_slot *slot)
{
    return (uint64_t)atomic_load_explicit(&slot->gen, memory_order_relaxed) << 32 | slot->idx;
}

/* Object number idx, whatever its state, or NULL. */
void *fs_slab_at(struct fs_slab *slab, uint32_t idx);

/* Take a reference unless there is none left. */
bool fs_slot_ref(struct fs_slot *slot);

/* The object of an identifier with a reference taken, or NULL.  *stale is set when a
 * reference of an object that is not the one asked for was taken: the caller has to
 * put that one and regard the identifier as unknown. */
void *fs_slab_get(struct fs_slab *slab, uint64_t id, bool *stale);

#endif

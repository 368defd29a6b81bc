/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a guest offset to a place in a file.
 *
 *   guest offset = | L1 index | L2 index | in the cluster |
 *
 * Neighbouring clusters that are neighbours in the file too are one extent, so
 * that a large transfer is one.
 *
 * With extended L2 entries each cluster has 32 subclusters, with a bit for
 * "allocated here" and one for "reads as zeros" each.
 *
 * What is allocated nowhere in an image is looked up in its backing file, what
 * lies behind the end of that is zeros.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"
#include "bk-vmdk.h"

#define SUBCLUSTERS 32u

static int
place_extended(uint64_t bitmap, unsigned sub, struct qcow2_place *p)
{
    bool allocated = bitmap >> sub & 1;
    bool zero = bitmap >> (32 + sub) & 1;

    if (allocated && (zero || p->host == 0))
        return -EIO;
    p->where = zero ? QCOW2_ZEROS : allocated ? QCOW2_HERE : QCOW2_BELOW;
    return 0;
}

int
qcow2_entry_place(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, uint64_t within,
                  struct qcow2_place *p)
{
    p->entry = entry;
    p->host = entry & QCOW2_OFFSET_MASK;
    p->copied = entry & QCOW2_COPIED;
    if (entry & QCOW2_COMPRESSED_FLAG) {
        p->where = QCOW2_PACKED;
        return 0;
    }
    if (!mb_is_aligned(p->host, q->cluster_size))
        return -EIO;
    if (q->rw && p->host && qcow2_is_meta(q, p->host >> q->cluster_bits))
        return -EIO; /* a guest must not get at the tables */
    if (q->extended_l2)
        return place_extended(bitmap, (unsigned)(within >> (q->cluster_bits - 5)), p);
    if (q->version >= 3 && entry & QCOW2_ZERO_FLAG)
        p->where = QCOW2_ZEROS;
    else
        p->where = p->host ? QCOW2_HERE : QCOW2_BELOW;
    return 0;
}

static int
slot_place(const struct qcow2 *q, const struct qcow2_l2 *slot, uint64_t index, uint64_t within,
           struct qcow2_place *p)
{
    if (q->extended_l2)
        return qcow2_entry_place(q, qcow2_l2_word(slot, 2 * index), qcow2_l2_word(slot, 2 * index + 1),
                                 within, p);
    return qcow2_entry_place(q, qcow2_l2_word(slot, index), 0, within, p);
}

/* How far in bytes an entry's word reaches: a cluster or a subcluster. */
static uint64_t
granule(const struct qcow2 *q)
{
    return q->extended_l2 ? q->cluster_size / SUBCLUSTERS : q->cluster_size;
}

/* Does the place next, which begins len bytes behind p, continue it? */
static bool
continues(const struct qcow2_place *p, uint64_t p_within, uint64_t len, const struct qcow2_place *next,
          uint64_t next_within)
{
    if (next->where != p->where || p->where == QCOW2_PACKED)
        return false;
    return p->where != QCOW2_HERE ||
           (next->copied == p->copied && next->host + next_within == p->host + p_within + len);
}

/* In one table: the place of offset, and how far it goes on. */
static int
map_in_slot(const struct qcow2 *q, const struct qcow2_l2 *slot, uint64_t offset, uint64_t len,
            struct qcow2_place *p, uint64_t *n)
{
    uint64_t index = offset >> q->cluster_bits & ((UINT64_C(1) << q->l2_bits) - 1);
    uint64_t within = offset & (q->cluster_size - 1);
    uint64_t at;
    int rc = slot_place(q, slot, index, within, p);

    if (rc < 0)
        return rc;
    if (p->where == QCOW2_PACKED) {
        *n = MB_MIN(len, q->cluster_size - within);
        return 0;
    }
    at = granule(q) - (within & (granule(q) - 1));
    while (at < len) {
        uint64_t pos = within + at;
        struct qcow2_place next;

        rc = slot_place(q, slot, index + (pos >> q->cluster_bits), pos & (q->cluster_size - 1), &next);
        if (rc < 0 || !continues(p, within, at, &next, pos & (q->cluster_size - 1)))
            break; /* what is wrong there is told when it is asked for */
        at += granule(q);
    }
    *n = MB_MIN(at, len);
    return 0;
}

/* Without the lock: 1 when the table is not in memory or went away meanwhile. */
static int
map_cached(struct qcow2 *q, uint64_t l1_index, uint64_t offset, uint64_t len, struct qcow2_place *p,
           uint64_t *n)
{
    unsigned i = atomic_load_explicit(&q->slot_of[l1_index], memory_order_acquire);
    struct qcow2_l2 *slot;
    unsigned seq;
    int rc;

    if (i == 0)
        return 1;
    slot = &q->l2[i - 1];
    seq = atomic_load_explicit(&slot->seq, memory_order_acquire);
    if (seq & 1 || atomic_load_explicit(&slot->l1_index, memory_order_relaxed) != l1_index)
        return 1;
    rc = map_in_slot(q, slot, offset, len, p, n);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&slot->seq, memory_order_relaxed) != seq)
        return 1;
    if (!atomic_load_explicit(&slot->used, memory_order_relaxed))
        atomic_store_explicit(&slot->used, true, memory_order_relaxed);
    return rc;
}

int
qcow2_map_here(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_place *p, uint64_t *n)
{
    unsigned shift = q->cluster_bits + q->l2_bits;
    uint64_t l1_index = offset >> shift;
    struct qcow2_l2 *slot;
    int rc;

    len = MB_MIN(len, ((l1_index + 1) << shift) - offset);
    if (l1_index < q->l1_size) {
        rc = map_cached(q, l1_index, offset, len, p, n);
        if (rc <= 0)
            return rc;
    }
    pthread_mutex_lock(&q->lock);
    rc = qcow2_l2_load(q, l1_index, &slot);
    if (rc == 0 && slot)
        rc = map_in_slot(q, slot, offset, len, p, n);
    pthread_mutex_unlock(&q->lock);
    if (rc == 0 && !slot) {
        *p = (struct qcow2_place){.where = QCOW2_BELOW};
        *n = len;
    }
    return rc;
}

static int
map_vmdk(struct bk_image *b, uint64_t offset, uint64_t len, struct qcow2_extent *x)
{
    struct bk_vmdk_range r;
    int rc = bk_vmdk_map(b, offset, len, &r);

    if (rc < 0)
        return rc;
    *x = (struct qcow2_extent){.len = r.len, .file = r.file, .offset = r.offset};
    x->kind = r.packed ? QCOW2_COMPRESSED : r.file ? QCOW2_DATA : QCOW2_ZERO;
    if (r.packed) {
        x->below = b;
        x->offset = offset;
    }
    return 0;
}

/* In the image below: another of this format, a VMDK or a raw one. */
static int
map_below(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_extent *x)
{
    struct bk_image *b = q->backing;

    x->kind = QCOW2_ZERO;
    x->len = len;
    if (!b || offset >= b->size)
        return 0;
    len = MB_MIN(len, b->size - offset);
    if (qcow2_is(b))
        return qcow2_map(qcow2_of(b), offset, len, x);
    if (bk_vmdk_is(b))
        return map_vmdk(b, offset, len, x);
    x->kind = QCOW2_DATA;
    x->len = len;
    x->file = b->files[0];
    x->offset = offset;
    return 0;
}

int
qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_extent *x)
{
    struct qcow2_place p;
    uint64_t within = offset & (q->cluster_size - 1);
    uint64_t n;
    int rc = qcow2_map_here(q, offset, len, &p, &n);

    if (rc < 0)
        return rc;
    if (p.where == QCOW2_BELOW)
        return map_below(q, offset, n, x);
    *x = (struct qcow2_extent){.len = n};
    if (p.where == QCOW2_HERE) {
        x->kind = QCOW2_DATA;
        x->file = q->file;
        x->offset = p.host + within;
    } else if (p.where == QCOW2_PACKED) {
        x->kind = QCOW2_COMPRESSED;
        x->owner = q;
        x->entry = p.entry;
        x->within = within;
    }
    return 0;
}

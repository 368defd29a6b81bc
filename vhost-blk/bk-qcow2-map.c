/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a guest offset to a place in a file.
 *
 *   guest offset = | L1 index | L2 index | in the cluster |
 *
 * L1 is in memory.  L2 tables are read when they are needed and kept, the one
 * that was not used for longest makes room.  Neighbouring clusters that are
 * neighbours in the file too are one extent, so that a large read is one
 * transfer.
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

#include "bk-qcow2-priv.h"

#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define FLAG_COMPRESSED (UINT64_C(1) << 62)
#define FLAG_ZERO UINT64_C(1)
#define SUBCLUSTERS 32u

enum where { HERE, ZEROS, BELOW, PACKED };

/* What an entry says about one place in its cluster. */
struct place {
    enum where where;
    uint64_t host;      /* HERE: of the cluster's first byte */
    uint64_t entry;
};

/* The table at offset, read if need be. Under the lock. */
static int
load_l2(struct qcow2 *q, uint64_t offset, const uint8_t **table)
{
    struct qcow2_l2_slot *slot = &q->l2[0];
    int rc;

    for (unsigned i = 0; i < q->n_l2; i++) {
        if (q->l2[i].offset == offset) {
            q->l2[i].used = ++q->clock;
            *table = q->l2[i].table;
            return 0;
        }
        if (q->l2[i].used < slot->used)
            slot = &q->l2[i];
    }
    if (!slot->table) {
        slot->table = malloc(q->cluster_size);
        if (!slot->table)
            return -ENOMEM;
    }
    slot->offset = 0;
    rc = bk_file_pread(q->file, slot->table, q->cluster_size, offset);
    if (rc < 0)
        return -EIO;
    slot->offset = offset;
    slot->used = ++q->clock;
    *table = slot->table;
    return 0;
}

static int
place_extended(uint64_t bitmap, unsigned sub, struct place *p)
{
    bool allocated = bitmap >> sub & 1;
    bool zero = bitmap >> (32 + sub) & 1;

    if (allocated && (zero || p->host == 0))
        return -EIO;
    p->where = zero ? ZEROS : allocated ? HERE : BELOW;
    return 0;
}

/* One entry, for the byte at within of its cluster. */
static int
read_entry(const struct qcow2 *q, const uint8_t *table, uint64_t index, uint64_t within, struct place *p)
{
    const uint8_t *e = table + index * (q->extended_l2 ? 16 : 8);

    p->entry = mb_get_be64(e);
    p->host = p->entry & OFFSET_MASK;
    if (p->entry & FLAG_COMPRESSED) {
        p->where = PACKED;
        return 0;
    }
    if (!mb_is_aligned(p->host, q->cluster_size))
        return -EIO;
    if (q->extended_l2)
        return place_extended(mb_get_be64(e + 8), (unsigned)(within >> (q->cluster_bits - 5)), p);
    if (q->version >= 3 && p->entry & FLAG_ZERO)
        p->where = ZEROS;
    else
        p->where = p->host ? HERE : BELOW;
    return 0;
}

/* How far in bytes an entry's word reaches: a cluster or a subcluster. */
static uint64_t
granule(const struct qcow2 *q)
{
    return q->extended_l2 ? q->cluster_size / SUBCLUSTERS : q->cluster_size;
}

/* Does the place next, which begins len bytes behind p, continue it? */
static bool
continues(const struct place *p, uint64_t p_within, uint64_t len, const struct place *next, uint64_t next_within)
{
    if (next->where != p->where || p->where == PACKED)
        return false;
    return p->where != HERE || next->host + next_within == p->host + p_within + len;
}

/* The place of offset and how far it goes on, in this image alone. Under the lock. */
static int
map_here(struct qcow2 *q, uint64_t offset, uint64_t len, struct place *p, uint64_t *n)
{
    uint64_t l1_index = offset >> (q->cluster_bits + q->l2_bits);
    uint64_t index = offset >> q->cluster_bits & ((UINT64_C(1) << q->l2_bits) - 1);
    uint64_t within = offset & (q->cluster_size - 1);
    uint64_t table_end = ((UINT64_C(1) << q->l2_bits) - index) * q->cluster_size - within;
    uint64_t l2_offset, at;
    const uint8_t *table;
    int rc;

    len = MB_MIN(len, table_end);
    l2_offset = l1_index < q->l1_size ? q->l1[l1_index] & OFFSET_MASK : 0;
    if (l2_offset == 0) {
        *p = (struct place){.where = BELOW};
        *n = len;
        return 0;
    }
    if (!mb_is_aligned(l2_offset, q->cluster_size))
        return -EIO;
    rc = load_l2(q, l2_offset, &table);
    if (rc == 0)
        rc = read_entry(q, table, index, within, p);
    if (rc < 0)
        return rc;
    if (p->where == PACKED) {
        *n = MB_MIN(len, q->cluster_size - within);
        return 0;
    }
    at = granule(q) - (within & (granule(q) - 1));
    while (at < len) {
        uint64_t pos = within + at;
        struct place next;

        rc = read_entry(q, table, index + (pos >> q->cluster_bits), pos & (q->cluster_size - 1), &next);
        if (rc < 0 || !continues(p, within, at, &next, pos & (q->cluster_size - 1)))
            break; /* what is wrong there is told when it is asked for */
        at += granule(q);
    }
    *n = MB_MIN(at, len);
    return 0;
}

/* In the image below: another of this format, or a raw one. */
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
    x->kind = QCOW2_DATA;
    x->len = len;
    x->file = b->files[0];
    x->offset = offset;
    return 0;
}

int
qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_extent *x)
{
    struct place p;
    uint64_t within = offset & (q->cluster_size - 1);
    uint64_t n;
    int rc;

    pthread_mutex_lock(&q->lock);
    rc = map_here(q, offset, len, &p, &n);
    pthread_mutex_unlock(&q->lock);
    if (rc < 0)
        return rc;
    if (p.where == BELOW)
        return map_below(q, offset, n, x);
    *x = (struct qcow2_extent){.len = n};
    if (p.where == HERE) {
        x->kind = QCOW2_DATA;
        x->file = q->file;
        x->offset = p.host + within;
    } else if (p.where == PACKED) {
        x->kind = QCOW2_COMPRESSED;
        x->owner = q;
        x->entry = p.entry;
        x->within = within;
    }
    return 0;
}

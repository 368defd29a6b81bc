/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reference counts: one in its block, of 1 to 64 bits; clusters that are free,
 * taken and given back.
 */
#include <config.h>

#include <errno.h>

#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

/* ---- one count ------------------------------------------------------------------------ */

static uint64_t
get_count(const struct qcow2_rw *rw, const uint8_t *data, uint64_t i)
{
    unsigned log2 = rw->refcount_bits_log2;

    switch (log2) {
    case 3:
        return data[i];
    case 4:
        return mb_get_be16(data + 2 * i);
    case 5:
        return mb_get_be32(data + 4 * i);
    case 6:
        return mb_get_be64(data + 8 * i);
    default: /* less than a byte: the first one in the lowest bits */
        return data[i >> (3 - log2)] >> ((i & ((1u << (3 - log2)) - 1)) << log2) & ((1u << (1u << log2)) - 1);
    }
}

void
qcow2_put_count(const struct qcow2_rw *rw, uint8_t *data, uint64_t i, uint64_t count)
{
    unsigned log2 = rw->refcount_bits_log2;

    switch (log2) {
    case 3:
        data[i] = (uint8_t)count;
        break;
    case 4:
        mb_put_be16(data + 2 * i, (uint16_t)count);
        break;
    case 5:
        mb_put_be32(data + 4 * i, (uint32_t)count);
        break;
    case 6:
        mb_put_be64(data + 8 * i, count);
        break;
    default: {
        unsigned shift = (unsigned)(i & ((1u << (3 - log2)) - 1)) << log2;
        unsigned mask = ((1u << (1u << log2)) - 1) << shift;
        uint8_t *byte = data + (i >> (3 - log2));

        *byte = (uint8_t)((*byte & ~mask) | ((unsigned)count << shift & mask));
    }
    }
}

void
qcow2_mark_block(struct qcow2_rw *rw, struct qcow2_refblock *b, uint64_t from, uint64_t to)
{
    uint64_t r = (uint64_t)(b - rw->blocks);

    b->dirty_from = b->dirty_to ? MB_MIN(b->dirty_from, (uint32_t)from) : (uint32_t)from;
    b->dirty_to = MB_MAX(b->dirty_to, (uint32_t)to);
    rw->block_from = rw->block_to ? MB_MIN(rw->block_from, r) : r;
    rw->block_to = MB_MAX(rw->block_to, r + 1);
}

void
qcow2_set_count(struct qcow2_rw *rw, struct qcow2_refblock *b, uint64_t i, uint64_t count)
{
    uint64_t at = (i << rw->refcount_bits_log2) / 8 & ~UINT64_C(511);

    qcow2_put_count(rw, b->data, i, count);
    qcow2_mark_block(rw, b, at, at + 512);
}

/* The count of n clusters from i on changed. */
void
qcow2_record_counts(struct qcow2 *q, const struct qcow2_refblock *b, uint64_t i, uint64_t n)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t from = (i << rw->refcount_bits_log2) / 8 & ~UINT64_C(7);
    uint64_t to = ((i + n - 1) << rw->refcount_bits_log2) / 8 + 1;

    for (uint64_t at = from; at < to; at += 8)
        qcow2_journal_add(q, STAGE_COUNTS, rw->reftable[b - rw->blocks] + at, mb_get_be64(b->data + at));
}

int
qcow2_read_widths(const struct qcow2 *q, const struct qcow2_header *h, struct qcow2_rw *rw, struct bk_err *err)
{
    rw->refcount_bits_log2 = q->version == 3 ? mb_get_be32(h->raw + 96) : 4;
    if (rw->refcount_bits_log2 > 6)
        return qcow2_bad(q, err, "refcount order");
    rw->block_bits = q->cluster_bits + 3 - rw->refcount_bits_log2;
    return 0;
}

/* ---- free clusters --------------------------------------------------------------------------- */

/* The first run of free clusters in the block, of at most max; false if there is none. */
static bool
find_in_block(struct qcow2_rw *rw, struct qcow2_refblock *b, uint64_t max, uint64_t *at, uint64_t *count)
{
    uint64_t n = UINT64_C(1) << rw->block_bits;
    uint64_t i = b->free_from;

    while (i < n && get_count(rw, b->data, i) != 0)
        i++;
    b->free_from = (uint32_t)i;
    *at = i;
    while (i < n && i - *at < max && get_count(rw, b->data, i) == 0)
        i++;
    *count = i - *at;
    return *count > 0;
}

/* The same of exactly so many. */
static bool
find_row_in_block(const struct qcow2_rw *rw, const struct qcow2_refblock *b, uint64_t n, uint64_t *at)
{
    uint64_t end = UINT64_C(1) << rw->block_bits, row = 0;

    *at = 0;
    for (uint64_t i = b->free_from; i < end && row < n; i++) {
        row = get_count(rw, b->data, i) == 0 ? row + 1 : 0;
        *at = i + 1 - row;
    }
    return row == n;
}

/* Count the clusters from at on in block r. */
static int
claim_at(struct qcow2 *q, uint64_t r, struct qcow2_refblock *b, uint64_t at, uint64_t count)
{
    uint64_t first = (r << q->rw->block_bits) + at;
    int rc;

    for (uint64_t i = 0; i < count; i++) {
        /* Counts that say "free" of a table are wrong. */
        if (qcow2_is_meta(q, first + i))
            return first + i >= q->rw->max_clusters ? -ENOSPC : -EIO;
    }
    rc = qcow2_zero_clusters(q, first, count);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < count; i++)
        qcow2_set_count(q->rw, b, at + i, 1);
    qcow2_record_counts(q, b, at, count);
    return 0;
}

int
qcow2_claim_row(struct qcow2 *q, uint64_t n, uint64_t *first)
{
    struct qcow2_rw *rw = q->rw;
    int rc = 0;

    /* One of a block's clusters may be the block itself. */
    if (n >= UINT64_C(1) << rw->block_bits)
        return qcow2_claim_behind(q, n, first);
    for (uint64_t r = rw->next_block; rc == 0; r++) {
        struct qcow2_refblock *b;
        uint64_t at;

        rc = qcow2_get_block(q, r, &b);
        if (rc < 0 || !find_row_in_block(rw, b, n, &at))
            continue;
        rc = claim_at(q, r, b, at, n);
        for (uint64_t i = 0; rc == 0 && i < n; i++)
            qcow2_set_meta(q, (r << rw->block_bits) + at + i, true);
        *first = (r << rw->block_bits) + at;
        return rc;
    }
    return rc;
}

int
qcow2_claim(struct qcow2 *q, uint64_t max, struct qcow2_run *run)
{
    struct qcow2_rw *rw = q->rw;

    for (;; rw->next_block++) {
        struct qcow2_refblock *b;
        uint64_t at, count;
        int rc = qcow2_get_block(q, rw->next_block, &b);

        if (rc < 0)
            return rc;
        if (!find_in_block(rw, b, max, &at, &count))
            continue;
        run->first = (rw->next_block << rw->block_bits) + at;
        run->count = count;
        rc = claim_at(q, rw->next_block, b, at, count);
        if (rc < 0)
            return rc;
        b->free_from = (uint32_t)(at + count);
        return 0;
    }
}

int
qcow2_unref(struct qcow2 *q, const struct qcow2_run *run,
            void (*freed)(struct qcow2 *q, uint64_t first, uint64_t count))
{
    struct qcow2_rw *rw = q->rw;
    uint64_t n_free = 0;

    for (uint64_t c = run->first; c < run->first + run->count; c++) {
        uint64_t r = c >> rw->block_bits, i = c & ((UINT64_C(1) << rw->block_bits) - 1);
        struct qcow2_refblock *b;
        uint64_t count;
        int rc = r < rw->reftable_entries && rw->reftable[r] ? qcow2_load_block(q, r, &b) : -EIO;

        count = rc == 0 ? get_count(rw, b->data, i) : 0;
        if (count == 1) {
            n_free++;
        } else if (n_free) {
            freed(q, c - n_free, n_free);
            n_free = 0;
        }
        if (count == 0)
            continue; /* was not counted; nothing is lost */
        qcow2_set_count(rw, b, i, count - 1);
        if (count > 1)
            continue;
        qcow2_set_meta(q, c, false);
        b->free_from = MB_MIN(b->free_from, (uint32_t)i);
        rw->next_block = MB_MIN(rw->next_block, r);
    }
    if (n_free)
        freed(q, run->first + run->count - n_free, n_free);
    return 0;
}

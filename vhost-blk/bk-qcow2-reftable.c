/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of counts has the offset of a block for each 2^block_bits clusters of
 * the file; a block has their counts.
 *
 * A part of the file that has no block yet has no cluster in use either, so its
 * block is put into its first cluster.  When the table itself is full, a larger
 * one is put behind everything that the old one covers, together with the
 * blocks for that place; the header is switched by the next commit.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

/* ---- blocks ---------------------------------------------------------------------------- */

/* Forget blocks that the file has as they are. */
static void
trim_blocks(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;

    if ((uint64_t)rw->n_loaded << q->cluster_bits < QCOW2_REFBLOCK_MEMORY)
        return;
    for (uint64_t r = 0; r < rw->reftable_entries; r++) {
        struct qcow2_refblock *b = &rw->blocks[r];

        if (!b->data || b->dirty_to || b->committing)
            continue;
        free(b->data);
        b->data = NULL;
        rw->n_loaded--;
    }
}

static int
new_block_data(struct qcow2 *q, struct qcow2_refblock *b)
{
    b->data = calloc(1, q->cluster_size);
    if (!b->data)
        return -ENOMEM;
    q->rw->n_loaded++;
    return 0;
}

/* Block r, which exists. */
int
qcow2_load_block(struct qcow2 *q, uint64_t r, struct qcow2_refblock **block)
{
    struct qcow2_refblock *b = &q->rw->blocks[r];
    int rc;

    *block = b;
    if (b->data)
        return 0;
    trim_blocks(q);
    rc = new_block_data(q, b);
    if (rc < 0)
        return rc;
    if (bk_file_pread(q->file, b->data, q->cluster_size, q->rw->reftable[r]) < 0) {
        free(b->data);
        b->data = NULL;
        q->rw->n_loaded--;
        return -EIO;
    }
    return 0;
}

/* The clusters become part of the file and read as zeros. */
int
qcow2_zero_clusters(struct qcow2 *q, uint64_t first, uint64_t count)
{
    struct bk_file *f = q->file;
    uint64_t from = first << q->cluster_bits, len = count << q->cluster_bits;
    struct bk_xfer x = {.op = BK_XFER_UNMAP, .file = f, .offset = from, .len = len};
    int rc = 0;

    if (first + count > q->rw->max_clusters)
        return -ENOSPC;
    if (from + len > f->size) {
        if (f->is_block)
            return -ENOSPC;
        x.len = from < f->size ? f->size - from : 0;
        if (ftruncate(f->fd, (off_t)(from + len)) < 0)
            return -errno;
        f->size = from + len;
    }
    if (x.len)
        rc = bk_xfer_run(&x);
    bk_file_dirtied(f);
    return rc;
}

/* Let the file lead to n blocks from r on, too, all at once: the count of one may be in another. They have their counts
 * before they are led to. */
static void
enter_blocks(struct qcow2 *q, uint64_t r, uint64_t n)
{
    struct qcow2_rw *rw = q->rw;

    if (rw->reftable_to == 0)
        rw->reftable_from = r;
    rw->reftable_from = MB_MIN(rw->reftable_from, r);
    rw->reftable_to = MB_MAX(rw->reftable_to, r + n);
    rw->dirty = true;
    qcow2_journal_add_words(q, STAGE_REFTABLE, rw->reftable_offset + r * 8, &rw->reftable[r], (unsigned)n);
}

/* Block r, which does not exist, in the cluster; nothing is counted yet. enter_blocks() comes after that. */
static int
make_block(struct qcow2 *q, uint64_t r, uint64_t cluster)
{
    struct qcow2_rw *rw = q->rw;
    struct qcow2_refblock *b = &rw->blocks[r];
    int rc;

    if (qcow2_is_meta(q, cluster))
        return -EIO;
    rc = new_block_data(q, b);
    if (rc < 0)
        return rc;
    b->free_from = 0;
    qcow2_mark_block(rw, b, 0, q->cluster_size);
    qcow2_set_meta(q, cluster, true);
    rw->reftable[r] = cluster << q->cluster_bits;
    return 0;
}

/* ---- a larger table ---------------------------------------------------------------------- */

/* Sizes of a table that has room for itself: clusters of table and blocks behind `first`. */
static int
plan_table(const struct qcow2 *q, uint64_t *table, uint64_t *blocks)
{
    const struct qcow2_rw *rw = q->rw;
    uint64_t per_block = UINT64_C(1) << rw->block_bits;

    *table = *blocks = 1;
    for (;;) {
        uint64_t entries = rw->reftable_entries + *blocks;
        uint64_t t = ((entries + entries / 2) * 8 + q->cluster_size - 1) >> q->cluster_bits;
        uint64_t b = (t + *blocks + per_block - 1) / per_block;

        if (t << q->cluster_bits > QCOW2_MAX_REFTABLE)
            return -ENOSPC;
        if (t == *table && b <= *blocks)
            return 0;
        *table = t;
        *blocks = MB_MAX(b, *blocks);
    }
}

static int
grow_arrays(struct qcow2 *q, uint64_t entries)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t *t = realloc(rw->reftable, entries * 8);
    struct qcow2_refblock *b;

    if (!t)
        return -ENOMEM;
    rw->reftable = t;
    b = realloc(rw->blocks, entries * sizeof(*b));
    if (!b)
        return -ENOMEM;
    rw->blocks = b;
    for (uint64_t i = rw->reftable_entries; i < entries; i++) {
        t[i] = 0;
        b[i] = (struct qcow2_refblock){0};
    }
    return 0;
}

/* The new table can be in the file before the header leads to it: the journal is about what changes later. */
static int
write_table(struct qcow2 *q, uint64_t first, uint64_t clusters, uint64_t blocks)
{
    const struct qcow2_rw *rw = q->rw;
    uint64_t bytes = clusters << q->cluster_bits;
    mb_autofree uint64_t *table = calloc(1, bytes);

    if (!table)
        return -ENOMEM;
    for (uint64_t r = 0; r < rw->reftable_entries; r++)
        mb_put_be64(&table[r], rw->reftable[r]);
    for (uint64_t i = 0; i < blocks; i++)
        mb_put_be64(&table[rw->reftable_entries + i], (first + clusters + i) << q->cluster_bits);
    return qcow2_write_at(q, first << q->cluster_bits, table, bytes);
}

/* Room for the new table on the host: once anything has changed, it has to be written. */
static int
reserve_table(struct qcow2 *q, uint64_t first, uint64_t clusters)
{
    struct bk_xfer x = {.op = BK_XFER_ZERO, .file = q->file, .offset = first << q->cluster_bits,
                        .len = clusters << q->cluster_bits};

    return bk_xfer_run(&x);
}

/* Count the first n clusters from block r's on, tables, and behind them the blocks for all of that. */
static int
count_part(struct qcow2 *q, uint64_t r, uint64_t n, uint64_t blocks)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t first = r << rw->block_bits;
    int rc = 0;

    for (uint64_t i = 0; i < blocks && rc == 0; i++)
        rc = make_block(q, r + i, first + n + i);
    for (uint64_t i = 0; i < n + blocks && rc == 0; i++) {
        struct qcow2_refblock *b = &rw->blocks[r + (i >> rw->block_bits)];
        uint64_t k = i & ((UINT64_C(1) << rw->block_bits) - 1);

        qcow2_set_count(rw, b, k, 1);
        qcow2_record_counts(q, b, k, 1);
        qcow2_set_meta(q, first + i, true);
    }
    if (rc == 0)
        enter_blocks(q, r, blocks);
    return rc;
}

static int
grow_table(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t r = rw->reftable_entries;
    uint64_t first = r << rw->block_bits;
    uint64_t old = rw->reftable_offset >> q->cluster_bits;
    uint64_t old_clusters = r * 8 >> q->cluster_bits;
    uint64_t table, blocks, header[QCOW2_REFTABLE_WORDS];
    int rc = plan_table(q, &table, &blocks);

    if (rc == 0 && rw->reftable_moved)
        rc = -EBUSY; /* the header is still to be switched to the last one */
    if (rc == 0)
        rc = qcow2_zero_clusters(q, first, table + blocks);
    if (rc == 0)
        rc = q->journal ? write_table(q, first, table, blocks) : reserve_table(q, first, table);
    if (rc == 0)
        rc = grow_arrays(q, (table << q->cluster_bits) / 8);
    if (rc < 0)
        return rc;
    rw->reftable_entries = (table << q->cluster_bits) / 8;
    rw->reftable_offset = first << q->cluster_bits;
    rw->reftable_moved = true;
    rc = count_part(q, r, table, blocks);
    if (rc < 0)
        return rw->error = rc;
    qcow2_reftable_words(q, header);
    qcow2_journal_add_words(q, STAGE_REFTABLE, QCOW2_HEADER_REFTABLE, header, QCOW2_REFTABLE_WORDS);
    qcow2_drop(q, old, old_clusters);
    return 0;
}

/* Behind the last block that there is. */
static uint64_t
blocks_end(const struct qcow2_rw *rw)
{
    uint64_t r = rw->reftable_entries;

    while (r > 0 && rw->reftable[r - 1] == 0)
        r--;
    return r;
}

int
qcow2_claim_behind(struct qcow2 *q, uint64_t n, uint64_t *first)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t blocks = 1, r;
    int rc = 0;

    while (blocks << rw->block_bits < n + blocks)
        blocks++;
    while (rc == 0 && blocks_end(rw) + blocks > rw->reftable_entries)
        rc = grow_table(q);
    if (rc < 0)
        return rc;
    r = blocks_end(rw);
    *first = r << rw->block_bits;
    rc = qcow2_zero_clusters(q, *first, n + blocks);
    if (rc < 0)
        return rc;
    rc = count_part(q, r, n, blocks);
    if (rc < 0)
        rw->error = rc;
    return rc;
}

/* ---- a block ------------------------------------------------------------------------------------- */

/* Block r, made if need be. */
int
qcow2_get_block(struct qcow2 *q, uint64_t r, struct qcow2_refblock **block)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t first = r << rw->block_bits;
    int rc = 0;

    if (r >= rw->reftable_entries)
        rc = grow_table(q);
    if (rc < 0)
        return rc;
    if (rw->reftable[r])
        return qcow2_load_block(q, r, block);
    /* Nothing is counted there: no table may be there. */
    rc = first < rw->max_clusters && qcow2_is_meta(q, first) ? -EIO : qcow2_zero_clusters(q, first, 1);
    if (rc == 0)
        rc = make_block(q, r, first);
    if (rc < 0)
        return rc;
    *block = &rw->blocks[r];
    qcow2_set_count(rw, *block, 0, 1);
    qcow2_record_counts(q, *block, 0, 1);
    enter_blocks(q, r, 1);
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------- */

static int
check_table(struct qcow2 *q, struct bk_err *err)
{
    struct qcow2_rw *rw = q->rw;

    for (uint64_t r = 0; r < rw->reftable_entries; r++) {
        uint64_t offset = mb_get_be64(&rw->reftable[r]);

        if (!mb_is_aligned(offset, q->cluster_size) ||
            (offset && !mb_range_within(offset, q->cluster_size, q->file->size)))
            return qcow2_bad(q, err, "entry of the refcount table");
        rw->reftable[r] = offset;
    }
    return 0;
}

int
qcow2_refcounts_open(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t clusters = mb_get_be32(h->raw + 56);
    uint64_t bytes = clusters << q->cluster_bits;
    int rc = qcow2_read_widths(q, h, rw, err);

    if (rc < 0)
        return rc;
    rw->n_snapshots = mb_get_be32(h->raw + 60);
    rw->reftable_offset = mb_get_be64(h->raw + QCOW2_HEADER_REFTABLE);
    if (clusters == 0 || bytes > QCOW2_MAX_REFTABLE)
        return qcow2_bad(q, err, "refcount table size");
    if (rw->reftable_offset == 0 || !mb_is_aligned(rw->reftable_offset, q->cluster_size) ||
        !mb_range_within(rw->reftable_offset, bytes, q->file->size))
        return qcow2_bad(q, err, "refcount table offset");
    rw->reftable_entries = bytes / 8;
    rw->reftable = malloc(bytes);
    rw->blocks = calloc(rw->reftable_entries, sizeof(*rw->blocks));
    if (!rw->reftable || !rw->blocks)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", q->file->path);
    if (bk_file_pread(q->file, rw->reftable, bytes, rw->reftable_offset) < 0)
        return qcow2_bad(q, err, "refcount table");
    return check_table(q, err);
}

void
qcow2_refcounts_free(struct qcow2_rw *rw)
{
    for (uint64_t r = 0; rw->blocks && r < rw->reftable_entries; r++)
        free(rw->blocks[r].data);
    free(rw->blocks);
    free(rw->reftable);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An image with lazy refcounts that was not closed: its counts may be wrong, its
 * L1 and L2 tables are not.  So the counts are made anew from these, as QEMU does
 * it: what is there is followed from the header, through every table of the image
 * and of its snapshots, and a new table of counts with its blocks is put behind
 * all that is in use.  Then the header is switched to it and the dirty bit goes.
 * Until that last write the image is as dirty as it was, whenever the power fails.
 *
 * An entry that makes no sense is another kind of damage; qemu-img may find out
 * what can be saved.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-io.h"
#include "mb-log.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

#define INCOMPATIBLE 72u                /* of the header, 8 bytes */
#define BEHIND_THE_END 65536u           /* clusters: entries may lead so far behind the end of the file */
#define MAX_CLUSTERS (UINT64_C(1) << 28) /* 4 bytes each */

struct repair {
    struct qcow2 *q;
    struct bk_err *err;
    uint32_t *count;            /* per cluster */
    uint64_t n;                 /* clusters that there can be */
    uint64_t end;               /* behind the last one in use */
    uint64_t max;               /* what a count can say */
    uint64_t *l1;               /* all of it, host order */
    uint64_t *l2;               /* a cluster */
};

/* ---- counting ------------------------------------------------------------------------------ */

/* One reference more to the clusters of [offset, offset + len). */
static int
add_range(struct repair *r, uint64_t offset, uint64_t len, const char *what)
{
    unsigned bits = r->q->cluster_bits;

    if (len == 0)
        return 0;
    if (!mb_range_within(offset, len, r->n << bits))
        return qcow2_bad(r->q, r->err, what);
    for (uint64_t c = offset >> bits; c <= (offset + len - 1) >> bits; c++) {
        if (r->count[c] == r->max)
            return qcow2_bad(r->q, r->err, "more references to a cluster than can be counted");
        r->count[c]++;
        r->end = MB_MAX(r->end, c + 1);
    }
    return 0;
}

static int
add_entry(struct repair *r, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK, len;

    if (entry & QCOW2_COMPRESSED_FLAG) {
        qcow2_packed_range(r->q, entry, &offset, &len);
        return add_range(r, offset, len, "place of a compressed cluster");
    }
    if (offset == 0)
        return 0;
    if (!mb_is_aligned(offset, r->q->cluster_size))
        return qcow2_bad(r->q, r->err, "entry of an L2 table");
    return add_range(r, offset, r->q->cluster_size, "entry of an L2 table");
}

static int
read_l2(struct repair *r, uint64_t offset)
{
    if (!mb_is_aligned(offset, r->q->cluster_size) ||
        bk_file_pread(r->q->file, r->l2, r->q->cluster_size, offset) < 0)
        return qcow2_bad(r->q, r->err, "entry of an L1 table");
    return 0;
}

/* What an L1 table in host order leads to. */
static int
add_l1(struct repair *r, const uint64_t *l1, uint64_t entries)
{
    int rc = 0;

    for (uint64_t i = 0; i < entries && rc == 0; i++) {
        uint64_t offset = l1[i] & QCOW2_OFFSET_MASK;

        if (offset == 0)
            continue;
        rc = read_l2(r, offset);
        if (rc == 0)
            rc = add_range(r, offset, r->q->cluster_size, "entry of an L1 table");
        for (uint64_t k = 0; k < r->q->cluster_size / 8 && rc == 0; k++)
            rc = add_entry(r, mb_get_be64(&r->l2[k]));
    }
    return rc;
}

static int
add_snapshot(struct qcow2 *q, const struct qcow2_snapshot *s, void *opaque, struct bk_err *err)
{
    struct repair *r = opaque;
    mb_autofree uint64_t *l1 = NULL;
    int rc = add_range(r, s->l1_offset, s->l1_entries * 8, "L1 table of a snapshot");

    if (rc == 0 && qcow2_read_l1(q, s->l1_offset, s->l1_entries, &l1) < 0)
        rc = qcow2_bad(q, err, "L1 table of a snapshot");
    return rc < 0 ? rc : add_l1(r, l1, s->l1_entries);
}

static int
count_all(struct repair *r, const struct qcow2_header *h)
{
    struct qcow2 *q = r->q;
    uint64_t table, len;
    int rc = add_range(r, 0, q->cluster_size, "header");

    if (rc == 0)
        rc = add_range(r, h->l1_offset, (uint64_t)h->l1_entries * 8, "L1 table offset");
    if (rc == 0)
        rc = add_l1(r, r->l1, h->l1_entries);
    if (rc == 0)
        rc = qcow2_for_snapshots(q, h, add_snapshot, r, &table, &len, r->err);
    return rc < 0 ? rc : add_range(r, table, len, "snapshot table");
}

/* ---- "copied" flags -------------------------------------------------------------------------- */

/* With the flag that the count asks for: set when the cluster has no other reference. */
static uint64_t
flagged(const struct repair *r, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;

    if (offset == 0)
        return entry & ~QCOW2_COPIED;
    return r->count[offset >> r->q->cluster_bits] == 1 ? entry | QCOW2_COPIED : entry & ~QCOW2_COPIED;
}

static int
mend_l2(struct repair *r, uint64_t offset)
{
    bool changed = false;
    int rc = read_l2(r, offset);

    for (uint64_t k = 0; k < r->q->cluster_size / 8 && rc == 0; k++) {
        uint64_t old = mb_get_be64(&r->l2[k]);
        uint64_t entry = old & QCOW2_COMPRESSED_FLAG ? old & ~QCOW2_COPIED : flagged(r, old);

        changed |= entry != old;
        mb_put_be64(&r->l2[k], entry);
    }
    if (rc == 0 && changed)
        rc = mb_pwrite_full(r->q->file->fd, r->l2, r->q->cluster_size, (off_t)offset);
    return rc;
}

/* Those of snapshots do not matter. */
static int
mend_flags(struct repair *r, const struct qcow2_header *h)
{
    struct qcow2 *q = r->q;
    int rc = 0;

    for (uint64_t i = 0; i < h->l1_entries && rc == 0; i++) {
        uint64_t entry = flagged(r, r->l1[i]);
        uint8_t word[8];

        if (entry & QCOW2_OFFSET_MASK)
            rc = mend_l2(r, entry & QCOW2_OFFSET_MASK);
        if (rc == 0 && entry != r->l1[i]) {
            mb_put_be64(word, entry);
            rc = mb_pwrite_full(q->file->fd, word, sizeof(word), (off_t)(q->l1_offset + i * 8));
        }
        if (rc == 0 && i < q->l1_size)
            q->l1[i] = entry;
    }
    return rc;
}

/* ---- the new counts ----------------------------------------------------------------------------- */

/* The old table and blocks stay where they are until the header leads elsewhere. */
static int
spare_old(struct repair *r, const struct qcow2_header *h)
{
    struct qcow2 *q = r->q;
    uint64_t bytes = (uint64_t)mb_get_be32(h->raw + QCOW2_HEADER_REFTABLE + 8) << q->cluster_bits;
    uint64_t offset = mb_get_be64(h->raw + QCOW2_HEADER_REFTABLE);
    mb_autofree uint64_t *old = NULL;

    if (bytes == 0 || bytes > QCOW2_MAX_REFTABLE || !mb_range_within(offset, bytes, q->file->size))
        return 0; /* not a table at all */
    old = malloc(bytes);
    if (!old)
        return -ENOMEM;
    if (bk_file_pread(q->file, old, bytes, offset) < 0)
        return -EIO;
    r->end = MB_MAX(r->end, ((offset + bytes - 1) >> q->cluster_bits) + 1);
    for (uint64_t i = 0; i < bytes / 8; i++) {
        uint64_t c = mb_get_be64(&old[i]) >> q->cluster_bits;

        if (c < r->n)
            r->end = MB_MAX(r->end, c + 1);
    }
    return 0;
}

/* Clusters of table and blocks that count everything up to their own end. */
static void
plan_counts(const struct repair *r, unsigned block_bits, uint64_t *table, uint64_t *blocks)
{
    uint64_t per_block = UINT64_C(1) << block_bits;

    *table = *blocks = 1;
    for (;;) {
        uint64_t b = (r->end + *table + *blocks + per_block - 1) / per_block;
        uint64_t t = (b * 8 + r->q->cluster_size - 1) >> r->q->cluster_bits;

        if (b <= *blocks && t <= *table)
            return;
        *blocks = MB_MAX(b, *blocks);
        *table = MB_MAX(t, *table);
    }
}

static int
write_blocks(const struct repair *r, const struct qcow2_rw *rw, uint64_t first, uint64_t blocks)
{
    struct qcow2 *q = r->q;
    mb_autofree uint8_t *block = malloc(q->cluster_size);
    int rc = block ? 0 : -ENOMEM;

    for (uint64_t b = 0; b < blocks && rc == 0; b++) {
        memset(block, 0, q->cluster_size);
        for (uint64_t i = 0; i < UINT64_C(1) << rw->block_bits; i++) {
            uint64_t c = (b << rw->block_bits) + i;

            if (c < r->n && r->count[c])
                qcow2_put_count(rw, block, i, r->count[c]);
        }
        rc = mb_pwrite_full(q->file->fd, block, q->cluster_size, (off_t)((first + b) << q->cluster_bits));
    }
    return rc;
}

static int
write_table(const struct repair *r, uint64_t first, uint64_t table, uint64_t blocks)
{
    struct qcow2 *q = r->q;
    mb_autofree uint64_t *words = calloc(table, q->cluster_size);

    if (!words)
        return -ENOMEM;
    for (uint64_t b = 0; b < blocks; b++)
        mb_put_be64(&words[b], (first + table + b) << q->cluster_bits);
    return mb_pwrite_full(q->file->fd, words, table << q->cluster_bits, (off_t)(first << q->cluster_bits));
}

/* From here on it is right. */
static int
switch_header(struct repair *r, uint64_t first, uint64_t table, uint64_t incompatible)
{
    int fd = r->q->file->fd;
    uint8_t where[12], features[8];
    int rc;

    mb_put_be64(where, first << r->q->cluster_bits);
    mb_put_be32(where + 8, (uint32_t)table);
    mb_put_be64(features, incompatible & ~QCOW2_INCOMPAT_DIRTY);
    if (fdatasync(fd) < 0)
        return -errno;
    rc = mb_pwrite_full(fd, where, sizeof(where), QCOW2_HEADER_REFTABLE);
    if (rc == 0 && fdatasync(fd) < 0)
        rc = -errno;
    if (rc == 0)
        rc = mb_pwrite_full(fd, features, sizeof(features), INCOMPATIBLE);
    if (rc == 0 && fdatasync(fd) < 0)
        rc = -errno;
    return rc;
}

static int
write_counts(struct repair *r, const struct qcow2_rw *rw, const struct qcow2_header *h)
{
    struct qcow2 *q = r->q;
    uint64_t first, table, blocks, size;
    int rc = spare_old(r, h);

    if (rc < 0)
        return rc;
    first = r->end;
    plan_counts(r, rw->block_bits, &table, &blocks);
    if (table << q->cluster_bits > QCOW2_MAX_REFTABLE || first + table + blocks > r->n)
        return -EFBIG;
    rc = add_range(r, first << q->cluster_bits, (table + blocks) << q->cluster_bits, "counts");
    size = r->end << q->cluster_bits;
    if (rc == 0 && size > q->file->size) {
        if (q->file->is_block)
            return -ENOSPC;
        if (ftruncate(q->file->fd, (off_t)size) < 0)
            return -errno;
        q->file->size = size;
    }
    if (rc == 0)
        rc = write_blocks(r, rw, first + table, blocks);
    if (rc == 0)
        rc = write_table(r, first, table, blocks);
    return rc < 0 ? rc : switch_header(r, first, table, h->incompatible);
}

/* ---- all of it --------------------------------------------------------------------------------------- */

static int
repair(struct repair *r, const struct qcow2_rw *rw, const struct qcow2_header *h)
{
    int rc;

    r->err->text[0] = '\0';
    rc = qcow2_read_l1(r->q, h->l1_offset, h->l1_entries, &r->l1);
    if (rc == 0)
        rc = count_all(r, h);
    if (rc == 0)
        rc = mend_flags(r, h);
    if (rc == 0)
        rc = write_counts(r, rw, h);
    if (rc < 0 && !r->err->text[0])
        return bk_fail(r->err, rc, "\"%s\" was not closed and cannot be repaired: %s", r->q->file->path, strerror(-rc));
    return rc;
}

int
qcow2_repair(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err)
{
    struct qcow2_rw rw = {.meta = NULL};
    struct bk_err own;
    struct repair r = {.q = q, .err = err ? err : &own};
    size_t bytes;
    int rc = qcow2_read_widths(q, h, &rw, err);

    r.n = ((q->file->size + q->cluster_size - 1) >> q->cluster_bits) + BEHIND_THE_END;
    r.max = rw.refcount_bits_log2 < 5 ? (UINT64_C(1) << (1u << rw.refcount_bits_log2)) - 1 : UINT32_MAX;
    if (rc == 0 && r.n > MAX_CLUSTERS)
        rc = bk_fail(err, -EFBIG,
                     "\"%s\" was not closed and is too large to be repaired here: use qemu-img check -r all",
                     q->file->path);
    if (rc < 0)
        return rc;
    bytes = r.n * sizeof(*r.count);
    r.count = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    r.l2 = malloc(q->cluster_size);
    if (r.count == MAP_FAILED || !r.l2)
        rc = bk_fail(err, -ENOMEM, "\"%s\": out of memory", q->file->path);
    else
        rc = repair(&r, &rw, h);
    if (r.count != MAP_FAILED)
        munmap(r.count, bytes);
    free(r.l1);
    free(r.l2);
    if (rc == 0)
        mb_info("\"%s\" was not closed: its reference counts were made anew", q->file->path);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making an image writable: which of its clusters are tables is found out and
 * remembered, for no entry of L2 may lead a guest there, whatever the image or
 * the guest did.  Tables that overlap one another are refused.  So is what a
 * repair has to come before, and what we cannot keep up to date.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-io.h"
#include "mb-log.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

#define MAX_CLUSTERS (UINT64_C(1) << 36)
#define MAX_FILE_BITS 46u /* up to which a disk can grow, in a file that large, without being opened anew */
#define AUTOCLEAR 88u

void
qcow2_set_meta(struct qcow2 *q, uint64_t cluster, bool is_meta)
{
    uint8_t *byte;

    if (cluster >= q->rw->max_clusters)
        return;
    byte = &q->rw->meta[cluster / 8];
    if (is_meta)
        __atomic_fetch_or(byte, (uint8_t)(1u << cluster % 8), __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(byte, (uint8_t) ~(1u << cluster % 8), __ATOMIC_RELAXED);
}

/* The clusters of [offset, offset + len) hold what is named; shared: another table may be there. */
static int
add_range(struct qcow2 *q, uint64_t offset, uint64_t len, bool shared, const char *name, struct bk_err *err)
{
    if (len == 0)
        return 0;
    if (!mb_is_aligned(offset, q->cluster_size) || !mb_range_within(offset, len, q->file->size))
        return qcow2_bad(q, err, name);
    for (uint64_t c = offset >> q->cluster_bits; c <= (offset + len - 1) >> q->cluster_bits; c++) {
        if (!shared && qcow2_is_meta(q, c))
            return bk_fail(err, -EINVAL, "\"%s\": not a usable qcow2 image: %s overlaps another table",
                           q->file->path, name);
        qcow2_set_meta(q, c, true);
    }
    return 0;
}

/* ---- snapshots ---------------------------------------------------------------------------- */

static int
add_snapshot(struct qcow2 *q, const struct qcow2_snapshot *s, void *opaque MB_UNUSED, struct bk_err *err)
{
    mb_autofree uint64_t *l1 = NULL;
    int rc = add_range(q, s->l1_offset, s->l1_entries * 8, false, "L1 table of a snapshot", err);

    if (rc < 0 || s->l1_entries == 0)
        return rc;
    if (qcow2_read_l1(q, s->l1_offset, s->l1_entries, &l1) < 0)
        return qcow2_bad(q, err, "L1 table of a snapshot");
    for (uint64_t i = 0; i < s->l1_entries && rc == 0; i++) {
        uint64_t l2 = l1[i] & QCOW2_OFFSET_MASK;

        if (l2)
            rc = add_range(q, l2, q->cluster_size, true, "L2 table offset in a snapshot", err);
    }
    return rc;
}

static int
add_snapshots(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err)
{
    uint64_t table, len;
    int rc = qcow2_for_snapshots(q, h, add_snapshot, NULL, &table, &len, err);

    return rc < 0 ? rc : add_range(q, table, len, false, "snapshot table", err);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static int
add_tables(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err)
{
    struct qcow2_rw *rw = q->rw;
    int rc = add_range(q, 0, q->cluster_size, false, "header", err);

    if (rc == 0)
        rc = add_range(q, h->l1_offset, (uint64_t)h->l1_entries * 8, false, "L1 table offset", err);
    if (rc == 0)
        rc = add_range(q, rw->reftable_offset, rw->reftable_entries * 8, false, "refcount table offset", err);
    for (uint64_t r = 0; r < rw->reftable_entries && rc == 0; r++) {
        if (rw->reftable[r])
            rc = add_range(q, rw->reftable[r], q->cluster_size, false, "entry of the refcount table", err);
    }
    for (uint64_t i = 0; i < q->l1_size && rc == 0; i++) {
        if (q->l1[i] & QCOW2_OFFSET_MASK)
            rc = add_range(q, q->l1[i] & QCOW2_OFFSET_MASK, q->cluster_size, false, "entry of the L1 table",
                           err);
    }
    return rc < 0 ? rc : add_snapshots(q, h, err);
}

/* Clusters that the file of a disk of size bytes can come to have. */
static uint64_t
clusters_for(const struct qcow2 *q, uint64_t size)
{
    return (q->file->size >> q->cluster_bits) + (size >> q->cluster_bits) / 4 * 5 + 65536;
}

static uint8_t *
map_bits(uint64_t clusters)
{
    void *map = mmap(NULL, clusters / 8 + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                     0);

    return map == MAP_FAILED ? NULL : map;
}

/* Looked up without the lock, so it has its place for good: with room to grow, if there is, which takes no memory. */
static int
make_map(struct qcow2 *q, struct bk_err *err)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t clusters = MB_MIN(clusters_for(q, q->size), MAX_CLUSTERS);

    rw->map_clusters = MB_MAX(clusters, MB_MIN(UINT64_C(1) << (MAX_FILE_BITS - q->cluster_bits), MAX_CLUSTERS));
    rw->meta = map_bits(rw->map_clusters);
    if (!rw->meta) {
        rw->map_clusters = clusters;
        rw->meta = map_bits(clusters);
    }
    if (!rw->meta)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory for %llu clusters", q->file->path,
                       (unsigned long long)clusters);
    atomic_store(&rw->max_clusters, clusters);
    return 0;
}

bool
qcow2_make_room(struct qcow2 *q, uint64_t size)
{
    uint64_t clusters = clusters_for(q, size);

    if (clusters > q->rw->map_clusters)
        return false;
    atomic_store(&q->rw->max_clusters, MB_MAX(clusters, atomic_load(&q->rw->max_clusters)));
    return true;
}

/* Features that whoever does not know them has to take away, as they will not be true any more. */
static int
clear_autoclear(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err)
{
    static const uint8_t none[8];
    int rc;

    if (q->version < 3 || mb_get_be64(h->raw + AUTOCLEAR) == 0)
        return 0;
    rc = mb_pwrite_full(q->file->fd, none, sizeof(none), AUTOCLEAR);
    if (rc == 0 && fdatasync(q->file->fd) < 0)
        rc = -errno;
    return rc < 0 ? bk_fail(err, rc, "\"%s\": cannot write the header", q->file->path) : 0;
}

/* Everything that a clean image has to have; h is what the header says afterwards. */
static int
repair_if_dirty(struct qcow2 *q, struct qcow2_header *h, struct bk_err *err)
{
    int rc;

    if (!(h->incompatible & QCOW2_INCOMPAT_DIRTY))
        return 0;
    /* What they tell of is not counted. */
    rc = clear_autoclear(q, h, err);
    if (rc == 0)
        rc = qcow2_repair(q, h, err);
    return rc < 0 ? rc : qcow2_read_header(q, h, err);
}

static int
check_writable(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err)
{
    if (h->incompatible & QCOW2_INCOMPAT_CORRUPT)
        return bk_fail(err, -EUCLEAN,
                       "\"%s\" is marked as corrupt: repair it with qemu-img check -r all, or open it read-only",
                       q->file->path);
    if (q->extended_l2)
        return bk_fail(err, -ENOTSUP,
                       "\"%s\": qcow2 with extended L2 entries is only read: open it read-only",
                       q->file->path);
    return 0;
}

int
qcow2_rw_open(struct qcow2 *q, struct bk_err *err)
{
    struct qcow2_rw *rw = calloc(1, sizeof(*rw));
    struct qcow2_header *h = &q->header;
    int rc = check_writable(q, h, err);

    if (rc == 0)
        rc = repair_if_dirty(q, h, err);

    if (rc < 0 || !rw) {
        free(rw);
        return rc < 0 ? rc : bk_fail(err, -ENOMEM, "\"%s\": out of memory", q->file->path);
    }
    q->rw = rw;
    pthread_cond_init(&rw->ended, NULL);
    rw->batch = 1;
    rw->error = -EIO; /* until everything was found to be right */
    rc = make_map(q, err);
    if (rc == 0)
        rc = qcow2_refcounts_open(q, h, err);
    if (rc == 0)
        rc = add_tables(q, h, err);
    if (rc == 0)
        rc = clear_autoclear(q, h, err);
    if (rc == 0)
        rw->error = 0;
    return rc;
}

/* The end of the file that only the reserve had. */
static void
cut_file(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t size = q->file->size;

    for (unsigned i = rw->n_reserve; i-- > 0 && !q->file->is_block;) {
        struct qcow2_run *run = &rw->reserve[i];

        if ((run->first + run->count) << q->cluster_bits == size)
            size = run->first << q->cluster_bits;
    }
    if (size < q->file->size && ftruncate(q->file->fd, (off_t)size) == 0)
        q->file->size = size;
}

static void
close_cleanly(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;
    int rc = rw->error;

    pthread_mutex_lock(&q->lock);
    if (rc == 0 && qcow2_needs_commit(q))
        rc = qcow2_commit(q);
    if (rc == 0) {
        cut_file(q);
        qcow2_empty_reserve(q);
        rc = qcow2_write_counts(q);
    }
    pthread_mutex_unlock(&q->lock);
    if (rc == 0)
        rc = bk_file_sync(q->file);
    if (rc < 0)
        mb_error("\"%s\": closed with error %d; check it with qemu-img", q->file->path, -rc);
}

void
qcow2_rw_close(struct qcow2 *q)
{
    struct qcow2_rw *rw = q->rw;

    if (!rw)
        return;
    if (rw->meta && rw->reftable && rw->error == 0)
        close_cleanly(q);
    qcow2_commit_free(rw);
    qcow2_refcounts_free(rw);
    if (rw->meta)
        munmap(rw->meta, rw->map_clusters / 8 + 1);
    pthread_cond_destroy(&rw->ended);
    free(rw->dropped.v);
    free(rw->dropping.v);
    free(rw->waiting.v);
    free(rw->gracing.v);
    free(rw);
    q->rw = NULL;
}

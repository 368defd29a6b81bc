/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A larger disk.  The size in the header is all that says how large it is, if L1
 * has entries enough for that.  Otherwise L1 gets another place: the new table is
 * in the file before the next commit, whose last stage switches the header to
 * size and table at once; the old one is let go of like anything else, so
 * that a power cut at any moment finds one of the two disks.  Operations go on
 * meanwhile; a table that they change after the move is already the new one.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

/* ---- what cannot grow; under the lock --------------------------------------------------- */

/* What a snapshot does not say of its size is taken to be what the disk has. */
static int
check_snapshot(struct qcow2 *q, const struct qcow2_snapshot *s, void *opaque MB_UNUSED, struct bk_err *err)
{
    if (q->version >= 3 && s->has_size)
        return 0;
    return bk_fail(err, -ENOTSUP,
                   "\"%s\" has internal snapshots that do not say how large the disk was, so it cannot grow: delete "
                   "them with qemu-img snapshot -d", q->file->path);
}

static int
check_growth(struct qcow2 *q, uint64_t size, struct bk_err *err)
{
    uint64_t table, len;

    if (q->image.read_only || !q->rw)
        return bk_fail(err, -EROFS, "\"%s\" is only read", q->file->path);
    if (q->rw->error)
        return bk_fail(err, q->rw->error, "\"%s\" cannot be written any more: %s", q->file->path,
                       strerror(-q->rw->error));
    if (size < q->size)
        return bk_fail(err, -EINVAL, "\"%s\" cannot become smaller", q->file->path);
    if (size > INT64_MAX || qcow2_l1_needed(q, size) > QCOW2_MAX_L1 / 8)
        return bk_fail(err, -EFBIG, "\"%s\" cannot become so large with clusters of %llu bytes", q->file->path,
                       (unsigned long long)q->cluster_size);
    if (q->backing && q->backing->size > q->image.size)
        return bk_fail(err, -ENOTSUP,
                       "\"%s\" is smaller than its backing file, whose end would come to light: use qemu-img resize",
                       q->file->path);
    if (!qcow2_make_room(q, size))
        return bk_fail(err, -EFBIG, "\"%s\" cannot become so large while it is open", q->file->path);
    return qcow2_for_snapshots(q, &q->header, check_snapshot, NULL, &table, &len, err);
}

/* ---- another L1 table; under the lock ------------------------------------------------------ */

static uint64_t
l1_clusters(const struct qcow2 *q, uint64_t entries)
{
    return (entries * 8 + q->cluster_size - 1) >> q->cluster_bits;
}

/* The file has it as it is in memory, at offset; nothing leads there. */
static int
write_l1(struct qcow2 *q, uint64_t offset, uint64_t entries)
{
    mb_autofree uint64_t *words = calloc(entries, 8);

    if (!words)
        return -ENOMEM;
    for (uint64_t i = 0; i < q->l1_size; i++)
        mb_put_be64(&words[i], q->l1[i]);
    return qcow2_write_at(q, offset, words, entries * 8);
}

static int
move_l1(struct qcow2 *q, uint32_t entries)
{
    uint64_t old = q->l1_offset >> q->cluster_bits, n_old = l1_clusters(q, q->l1_entries);
    uint64_t *l1 = realloc(q->l1, (uint64_t)entries * 8);
    uint64_t first, n = l1_clusters(q, entries);
    int rc;

    if (!l1)
        return -ENOMEM;
    q->l1 = l1;
    memset(l1 + q->l1_size, 0, (entries - q->l1_size) * UINT64_C(8));
    rc = qcow2_claim_row(q, n, &first);
    if (rc < 0)
        return rc;
    rc = write_l1(q, first << q->cluster_bits, entries);
    if (rc < 0) {
        qcow2_drop(q, first, n);
        return rc;
    }
    q->l1_offset = first << q->cluster_bits;
    q->l1_entries = entries;
    atomic_store(&q->l1_size, entries);
    qcow2_drop(q, old, n_old);
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* In memory, for the next commit. 0, -EBUSY: one has to come first, or -errno. */
static int
change(struct qcow2 *q, uint64_t size)
{
    struct qcow2_rw *rw = q->rw;
    uint64_t needed = qcow2_l1_needed(q, size);
    uint64_t header[QCOW2_SIZE_WORDS];
    int rc;

    if (size == q->size)
        return 0;
    rc = needed > q->l1_size ? move_l1(q, (uint32_t)needed) : 0;
    if (rc < 0)
        return rc;
    atomic_store(&q->size, size);
    rw->grown = rw->dirty = true;
    rw->barrier = true; /* the header waits for the counts and the new table */
    qcow2_size_words(q, header);
    qcow2_journal_add_words(q, STAGE_L1, QCOW2_HEADER_SIZE, header, QCOW2_SIZE_WORDS);
    return 0;
}

int
qcow2_grow(struct bk_image *image, uint64_t size, struct bk_err *err)
{
    struct qcow2 *q = qcow2_of(image);
    int rc;

    pthread_mutex_lock(&q->lock);
    rc = check_growth(q, size, err);
    if (rc == 0) {
        while ((rc = change(q, size)) == -EBUSY && (rc = qcow2_commit_now(q)) == 0)
            ;
        /* Also if it had the size already: the commit of that may have failed. */
        if (rc == 0)
            rc = qcow2_commit_now(q);
        if (rc < 0)
            bk_fail(err, rc, "\"%s\" cannot become larger: %s", q->file->path, strerror(-rc));
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * L1 is in memory.  L2 tables are read when they are needed and kept; when all
 * slots are taken, the clock's hand finds one that was not used since it came
 * by last and that the file has as it is.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-qcow2-priv.h"

#define MAX_L1_ENTRIES (QCOW2_MAX_L1 / 8)

static int
read_l1(struct qcow2 *q, const struct qcow2_header *h, uint64_t needed, struct bk_err *err)
{
    /* Looked up without the lock, so it has its place for good; what is not used takes no memory. */
    q->slot_of = mmap(NULL, MAX_L1_ENTRIES * sizeof(*q->slot_of), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if ((void *)q->slot_of == MAP_FAILED)
        q->slot_of = NULL;
    q->l1 = malloc(MB_MAX(needed, UINT64_C(1)) * 8);
    if (!q->l1 || !q->slot_of)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", q->file->path);
    if (needed && bk_file_pread(q->file, q->l1, needed * 8, h->l1_offset) < 0)
        return qcow2_bad(q, err, "L1 table");
    for (uint64_t i = 0; i < needed; i++)
        q->l1[i] = mb_get_be64(&q->l1[i]);
    return 0;
}

uint64_t
qcow2_l1_needed(const struct qcow2 *q, uint64_t size)
{
    unsigned shift = q->cluster_bits + q->l2_bits;

    return (size >> shift) + ((size & ((UINT64_C(1) << shift) - 1)) != 0);
}

int
qcow2_tables_init(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err)
{
    uint64_t bytes = (uint64_t)h->l1_entries * 8;
    uint64_t needed;

    q->l2_bits = q->cluster_bits - (q->extended_l2 ? 4 : 3);
    if (!mb_round_up(q->size, BK_SECTOR, &q->image.size) || q->image.size > INT64_MAX)
        return qcow2_bad(q, err, "disk size");
    needed = qcow2_l1_needed(q, q->size);
    if (bytes > QCOW2_MAX_L1 || needed > h->l1_entries)
        return qcow2_bad(q, err, "L1 table size");
    if (!mb_is_aligned(h->l1_offset, q->cluster_size) || !mb_range_within(h->l1_offset, bytes, q->file->size))
        return qcow2_bad(q, err, "L1 table offset");
    q->l1_offset = h->l1_offset;
    q->l1_entries = h->l1_entries;
    q->l1_size = (uint32_t)needed;
    q->n_l2 = (unsigned)MB_MIN((uint64_t)QCOW2_L2_SLOTS,
                               MB_MAX((uint64_t)QCOW2_L2_MIN, QCOW2_L2_MEMORY / q->cluster_size));
    q->l2 = calloc(q->n_l2, sizeof(*q->l2));
    if (!q->l2)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", q->file->path);
    return read_l1(q, h, needed, err);
}

void
qcow2_tables_free(struct qcow2 *q)
{
    for (unsigned i = 0; q->l2 && i < q->n_l2; i++)
        free(q->l2[i].words);
    free(q->l2);
    if (q->slot_of)
        munmap(q->slot_of, MAX_L1_ENTRIES * sizeof(*q->slot_of));
    free(q->l1);
}

/* ---- slots ------------------------------------------------------------------------- */

/* A slot whose table can go. Writers leave some clean, see QCOW2_CLEAN_SLOTS. */
static struct qcow2_l2 *
find_slot(struct qcow2 *q)
{
    for (unsigned i = 0; i < 2 * q->n_l2; i++) {
        struct qcow2_l2 *s = &q->l2[q->hand];

        q->hand = (q->hand + 1) % q->n_l2;
        if (qcow2_l2_is_busy(s))
            continue;
        if (!atomic_exchange_explicit(&s->used, false, memory_order_relaxed))
            return s;
    }
    return NULL;
}

/* From here to give_slot() nobody looks into the slot. */
static int
take_slot(struct qcow2 *q, struct qcow2_l2 **slot)
{
    struct qcow2_l2 *s = find_slot(q);

    if (!s)
        return -EIO;
    if (!s->words) {
        s->words = malloc(q->cluster_size);
        if (!s->words)
            return -ENOMEM;
    }
    if (s->offset)
        atomic_store(&q->slot_of[atomic_load(&s->l1_index)], 0);
    s->offset = 0;
    atomic_fetch_add(&s->seq, 1);
    atomic_thread_fence(memory_order_release);
    *slot = s;
    return 0;
}

static void
give_slot(struct qcow2 *q, struct qcow2_l2 *s, uint64_t l1_index, uint64_t offset)
{
    s->offset = offset;
    atomic_store_explicit(&s->used, true, memory_order_relaxed);
    atomic_store_explicit(&s->l1_index, (unsigned)l1_index, memory_order_relaxed);
    atomic_fetch_add(&s->seq, 1);
    if (offset)
        atomic_store_explicit(&q->slot_of[l1_index], (unsigned short)(s - q->l2 + 1), memory_order_release);
}

static struct qcow2_l2 *
cached(struct qcow2 *q, uint64_t l1_index)
{
    unsigned i = atomic_load_explicit(&q->slot_of[l1_index], memory_order_relaxed);

    return i ? &q->l2[i - 1] : NULL;
}

int
qcow2_l2_load(struct qcow2 *q, uint64_t l1_index, struct qcow2_l2 **slot)
{
    uint64_t offset = l1_index < q->l1_size ? q->l1[l1_index] & QCOW2_OFFSET_MASK : 0;
    mb_autofree uint64_t *words = NULL;
    int rc;

    *slot = NULL;
    if (offset == 0)
        return 0;
    *slot = cached(q, l1_index);
    if (*slot)
        return 0;
    if (!mb_is_aligned(offset, q->cluster_size))
        return -EIO;
    words = malloc(q->cluster_size);
    if (!words)
        return -ENOMEM;
    if (bk_file_pread(q->file, words, q->cluster_size, offset) < 0)
        return -EIO;
    rc = take_slot(q, slot);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < q->cluster_size / 8; i++)
        atomic_store_explicit(&(*slot)->words[i], words[i], memory_order_relaxed);
    give_slot(q, *slot, l1_index, offset);
    return 0;
}

int
qcow2_l2_make(struct qcow2 *q, uint64_t l1_index, uint64_t offset, struct qcow2_l2 **slot)
{
    int rc = take_slot(q, slot);

    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < q->cluster_size / 8; i++)
        atomic_store_explicit(&(*slot)->words[i], 0, memory_order_relaxed);
    give_slot(q, *slot, l1_index, offset);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of snapshots: where it is, and the L1 table of each.  We make none and change none. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

#define MAX_SNAPSHOTS 65536u
#define MAX_TABLE (UINT64_C(64) << 20)
#define SNAPSHOT_HEADER 40u
#define SNAPSHOT_SIZE_END 16u           /* of the data behind it, which version 2 does not have: 8 bytes at 8 */

int
qcow2_read_l1(const struct qcow2 *q, uint64_t offset, uint64_t entries, uint64_t **l1)
{
    mb_autofree uint64_t *words = malloc(MB_MAX(entries, UINT64_C(1)) * 8);
    int rc = words ? bk_file_pread(q->file, words, entries * 8, offset) : -ENOMEM;

    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < entries; i++)
        words[i] = mb_get_be64(&words[i]);
    *l1 = mb_steal_ptr(&words);
    return 0;
}

int
qcow2_for_snapshots(struct qcow2 *q, const struct qcow2_header *h, qcow2_snapshot_func *func, void *opaque,
                    uint64_t *table, uint64_t *len, struct bk_err *err)
{
    uint32_t n = mb_get_be32(h->raw + 60);
    uint64_t start = mb_get_be64(h->raw + 64);
    uint64_t pos = start, end = start;
    int rc = 0;

    if (n > MAX_SNAPSHOTS)
        return qcow2_bad(q, err, "number of snapshots");
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        struct qcow2_snapshot one;
        uint8_t s[SNAPSHOT_HEADER];

        if (!mb_range_within(pos - start, sizeof(s), MAX_TABLE) || bk_file_pread(q->file, s, sizeof(s), pos) < 0)
            return qcow2_bad(q, err, "snapshot table");
        one.l1_offset = mb_get_be64(s);
        one.l1_entries = mb_get_be32(s + 8);
        if (one.l1_entries * 8 > QCOW2_MAX_L1)
            return qcow2_bad(q, err, "L1 table size of a snapshot");
        one.has_size = mb_get_be32(s + 36) >= SNAPSHOT_SIZE_END;
        rc = func(q, &one, opaque, err);
        end = pos + SNAPSHOT_HEADER + mb_get_be32(s + 36) + mb_get_be16(s + 12) + mb_get_be16(s + 14);
        pos = (end + 7) & ~UINT64_C(7);
    }
    *table = start;
    *len = end - start;
    return rc;
}

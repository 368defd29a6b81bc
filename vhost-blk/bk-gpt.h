/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A GUID partition table made in memory (UEFI 2.9, chapter 5): protective MBR,
 * primary header and entries in front of the partitions, entries and backup
 * header behind them.  512-byte logical blocks.
 */
#ifndef BK_GPT_H
#define BK_GPT_H

#include <stddef.h>
#include <stdint.h>

#include "bk-uuid.h"
#include "mb-macros.h"

#define BK_GPT_MAX_PARTS 255      /* what Linux numbers on one disk */
#define BK_GPT_NAME_UNITS 36      /* UTF-16 units of a partition name */
#define BK_GPT_ALIGN (1024 * 1024) /* partitions start at multiples of this */

struct bk_gpt_part {
    uint64_t start; /* bytes, multiple of BK_GPT_ALIGN; filled by bk_gpt_layout() */
    uint64_t size;  /* bytes, multiple of 512 */
    struct bk_uuid id;
    char name[BK_GPT_NAME_UNITS + 1]; /* printable ASCII */
};

struct bk_gpt {
    uint64_t disk_size; /* bytes */
    uint8_t *head;      /* the first head_len bytes of the disk */
    size_t head_len;
    uint8_t *tail;      /* the last tail_len bytes of the disk */
    size_t tail_len;
};

/*
 * Place n partitions one behind the other, fill their start, and write the
 * tables into gpt, whose buffers the caller releases with bk_gpt_clear().
 * 0, -EINVAL (no or too many partitions, empty or unaligned one), -EFBIG
 * (beyond 2^63 bytes), -ENOMEM.
 */
int bk_gpt_layout(struct bk_gpt *gpt, const struct bk_uuid *disk_id, struct bk_gpt_part *parts,
                  unsigned n) MB_MUST_CHECK;
void bk_gpt_clear(struct bk_gpt *gpt);

/* CRC-32 (IEEE 802.3, reflected) as the headers carry it. */
uint32_t bk_crc32(const void *data, size_t len);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk layout, in 512-byte blocks:
 *
 *   0                protective MBR: one partition of type 0xEE over the disk
 *   1                primary header
 *   2 .. 2+E-1       E blocks of entries, four to a block, 128 at least
 *   ...              partitions, each starting at a multiple of 1 MiB
 *   N-1-E .. N-2     entries again
 *   N-1              backup header
 *
 * Everything is a function of the arguments, so the same layers give the same
 * disk, byte for byte.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-gpt.h"

#define BLOCK 512u
#define ENTRY_SIZE 128u
#define MIN_ENTRIES 128u
#define HEADER_SIZE 92u
#define REVISION 0x00010000u

/* Attributes of every partition: read-only and not mounted by itself, as the
 * Discoverable Partitions Specification numbers them. */
#define ATTRIBUTES (UINT64_C(1) << 60 | UINT64_C(1) << 63)

/* "Linux filesystem data" */
static const struct bk_uuid type_linux = {
    {0x0f, 0xc6, 0x3d, 0xaf, 0x84, 0x83, 0x47, 0x72, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}};

uint32_t
bk_crc32(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void
put_entry(uint8_t *e, const struct bk_gpt_part *part)
{
    bk_uuid_to_guid(&type_linux, e);
    bk_uuid_to_guid(&part->id, e + 16);
    mb_put_le64(e + 32, part->start / BLOCK);
    mb_put_le64(e + 40, (part->start + part->size) / BLOCK - 1);
    mb_put_le64(e + 48, ATTRIBUTES);
    for (unsigned i = 0; i < BK_GPT_NAME_UNITS && part->name[i]; i++)
        mb_put_le16(e + 56 + 2 * i, (uint8_t)part->name[i]);
}

/* The protective MBR covers at most what 32 bits of blocks can say. */
static void
put_mbr(uint8_t *p, uint64_t blocks)
{
    uint8_t *e = p + 446;

    e[2] = 0x02;                          /* first block by CHS: 0/0/2 */
    e[4] = 0xee;
    e[5] = e[6] = e[7] = 0xff;            /* last block beyond CHS */
    mb_put_le32(e + 8, 1);
    mb_put_le32(e + 12, (uint32_t)MB_MIN(blocks - 1, UINT32_MAX));
    p[510] = 0x55;
    p[511] = 0xaa;
}

struct header {
    uint64_t self, other, entries; /* blocks */
    uint64_t first, last;          /* usable blocks */
    unsigned n_entries;
    uint32_t entries_crc;
};

static void
put_header(uint8_t *p, const struct header *h, const struct bk_uuid *disk_id)
{
    memcpy(p, "EFI PART", 8);
    mb_put_le32(p + 8, REVISION);
    mb_put_le32(p + 12, HEADER_SIZE);
    mb_put_le64(p + 24, h->self);
    mb_put_le64(p + 32, h->other);
    mb_put_le64(p + 40, h->first);
    mb_put_le64(p + 48, h->last);
    bk_uuid_to_guid(disk_id, p + 56);
    mb_put_le64(p + 72, h->entries);
    mb_put_le32(p + 80, h->n_entries);
    mb_put_le32(p + 84, ENTRY_SIZE);
    mb_put_le32(p + 88, h->entries_crc);
    mb_put_le32(p + 16, bk_crc32(p, HEADER_SIZE));
}

/* Give every partition its start; returns the end of the last or -errno. */
static int64_t
place(struct bk_gpt_part *parts, unsigned n, uint64_t first)
{
    uint64_t pos = first;

    for (unsigned i = 0; i < n; i++) {
        if (parts[i].size == 0 || parts[i].size % BLOCK)
            return -EINVAL;
        pos = (pos + BK_GPT_ALIGN - 1) / BK_GPT_ALIGN * BK_GPT_ALIGN;
        parts[i].start = pos;
        if (MB_ADD_OVERFLOW(pos, parts[i].size, &pos) || pos > INT64_MAX - 4 * BK_GPT_ALIGN)
            return -EFBIG;
    }
    return (int64_t)pos;
}

int
bk_gpt_layout(struct bk_gpt *gpt, const struct bk_uuid *disk_id, struct bk_gpt_part *parts, unsigned n)
{
    unsigned n_entries = MB_MAX(MIN_ENTRIES, (n + 3) / 4 * 4);
    size_t table = (size_t)n_entries * ENTRY_SIZE;
    struct header h = {.n_entries = n_entries};
    int64_t end;

    memset(gpt, 0, sizeof(*gpt));
    if (n == 0 || n > BK_GPT_MAX_PARTS)
        return -EINVAL;
    end = place(parts, n, 2 * BLOCK + table);
    if (end < 0)
        return (int)end;

    gpt->head_len = 2 * BLOCK + table;
    gpt->tail_len = table + BLOCK;
    gpt->head = calloc(1, gpt->head_len);
    gpt->tail = calloc(1, gpt->tail_len);
    if (!gpt->head || !gpt->tail) {
        bk_gpt_clear(gpt);
        return -ENOMEM;
    }
    /* The disk ends on a multiple of the alignment, tables included. */
    gpt->disk_size = (uint64_t)end + gpt->tail_len;
    gpt->disk_size = (gpt->disk_size + BK_GPT_ALIGN - 1) / BK_GPT_ALIGN * BK_GPT_ALIGN;

    put_mbr(gpt->head, gpt->disk_size / BLOCK);
    for (unsigned i = 0; i < n; i++)
        put_entry(gpt->head + 2 * BLOCK + i * ENTRY_SIZE, &parts[i]);
    memcpy(gpt->tail, gpt->head + 2 * BLOCK, table);

    h.entries_crc = bk_crc32(gpt->tail, table);
    h.first = gpt->head_len / BLOCK;
    h.last = (gpt->disk_size - gpt->tail_len) / BLOCK - 1;
    h.self = 1;
    h.other = gpt->disk_size / BLOCK - 1;
    h.entries = 2;
    put_header(gpt->head + BLOCK, &h, disk_id);
    h.self = gpt->disk_size / BLOCK - 1;
    h.other = 1;
    h.entries = h.last + 1;
    put_header(gpt->tail + table, &h, disk_id);
    return 0;
}

void
bk_gpt_clear(struct bk_gpt *gpt)
{
    free(gpt->head);
    free(gpt->tail);
    memset(gpt, 0, sizeof(*gpt));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vhost-blk/bk-gpt.c: fields, checksums, limits. Other tools' verdict: tests/blk-concat.sh. */
#include <config.h>

#include <errno.h>
#include <stdbool.h>

#include "bk-gpt.h"
#include "mb-endian.h"
#include "tap.h"

static const struct bk_uuid disk_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static bool
header_ok(const uint8_t *h, const uint8_t *entries)
{
    uint8_t copy[92];
    uint32_t crc = mb_get_le32(h + 16);

    memcpy(copy, h, sizeof(copy));
    mb_put_le32(copy + 16, 0);
    return memcmp(h, "EFI PART", 8) == 0 && bk_crc32(copy, sizeof(copy)) == crc &&
           bk_crc32(entries, (size_t)mb_get_le32(h + 80) * mb_get_le32(h + 84)) == mb_get_le32(h + 88);
}

static void
test_three(void)
{
    struct bk_gpt_part parts[3] = {{.size = 4096, .name = "one"}, {.size = 3 << 20, .name = "two"},
                                   {.size = 512, .name = "123456789012345678901234567890123456"}};
    struct bk_gpt gpt;
    const uint8_t *h, *b, *e;

    eq_int(bk_gpt_layout(&gpt, &disk_id, parts, 3), 0, "three partitions");
    eq_int(parts[0].start, 1 << 20, "the first starts at 1 MiB");
    eq_int(parts[1].start, 2 << 20, "the second at 2 MiB");
    eq_int(parts[2].start, 5 << 20, "the third behind it");
    eq_int(gpt.disk_size, 6 << 20, "the disk is whole mebibytes");
    eq_int(gpt.head_len, 34 * 512, "128 entries in front");
    eq_int(gpt.tail_len, 33 * 512, "and behind");

    h = gpt.head + 512;
    e = gpt.head + 1024;
    b = gpt.tail + 32 * 512;
    ok(gpt.head[510] == 0x55 && gpt.head[511] == 0xaa && gpt.head[450] == 0xee, "protective MBR");
    eq_int(mb_get_le32(gpt.head + 458), gpt.disk_size / 512 - 1, "which covers the disk");
    ok(header_ok(h, e), "primary checksums");
    ok(header_ok(b, gpt.tail), "backup checksums");
    eq_int(mb_get_le64(h + 24), 1, "primary at block 1");
    eq_int(mb_get_le64(h + 32), gpt.disk_size / 512 - 1, "which knows the backup");
    eq_int(mb_get_le64(b + 24), gpt.disk_size / 512 - 1, "backup in the last block");
    eq_int(mb_get_le64(b + 72), gpt.disk_size / 512 - 33, "and its entries before it");
    eq_int(mb_get_le64(h + 40), 34, "first usable block");
    eq_int(mb_get_le64(h + 48), gpt.disk_size / 512 - 34, "last usable block");
    eq_int(mb_get_le64(e + 128 + 40), (5 << 20) / 512 - 1, "last block of the second partition");
    ok(e[128 + 56] == 't' && e[128 + 57] == 0 && e[128 + 58] == 'w', "its name in UTF-16");
    ok(e[256 + 56 + 70] == '6' && e[384] == 0, "a name of 36 units fits");
    ok(memcmp(h + 56, "\x04\x03\x02\x01\x06\x05\x08\x07\x09", 9) == 0, "disk GUID");
    bk_gpt_clear(&gpt);
}

static void
test_many(void)
{
    static struct bk_gpt_part parts[BK_GPT_MAX_PARTS];
    struct bk_gpt gpt;

    for (unsigned i = 0; i < BK_GPT_MAX_PARTS; i++)
        parts[i].size = 4096;
    eq_int(bk_gpt_layout(&gpt, &disk_id, parts, BK_GPT_MAX_PARTS), 0, "as many partitions as there can be");
    eq_int(mb_get_le32(gpt.head + 512 + 80), 256, "more entries than the usual 128");
    ok(header_ok(gpt.head + 512, gpt.head + 1024), "checksums");
    eq_int(parts[BK_GPT_MAX_PARTS - 1].start, (uint64_t)BK_GPT_MAX_PARTS << 20, "the last one's place");
    bk_gpt_clear(&gpt);
}

static void
test_large(void)
{
    struct bk_gpt_part parts[1] = {{.size = UINT64_C(3) << 40}};
    struct bk_gpt gpt;

    eq_int(bk_gpt_layout(&gpt, &disk_id, parts, 1), 0, "3 TiB");
    eq_int(mb_get_le32(gpt.head + 458), UINT32_MAX, "the protective MBR says as much as it can");
    bk_gpt_clear(&gpt);
}

static void
test_refused(void)
{
    struct bk_gpt_part parts[2] = {{.size = 4096}, {.size = 0}};
    struct bk_gpt gpt;

    eq_int(bk_gpt_layout(&gpt, &disk_id, parts, 0), -EINVAL, "no partition");
    eq_int(bk_gpt_layout(&gpt, &disk_id, parts, 2), -EINVAL, "an empty partition");
    eq_int(bk_gpt_layout(&gpt, &disk_id, parts, BK_GPT_MAX_PARTS + 1), -EINVAL, "too many");
    parts[1].size = 100;
    eq_int(bk_gpt_layout(&gpt, &disk_id, parts, 2), -EINVAL, "part of a block");
    parts[1].size = UINT64_MAX - 511;
    eq_int(bk_gpt_layout(&gpt, &disk_id, parts, 2), -EFBIG, "larger than there is");
    parts[1].size = (uint64_t)INT64_MAX - 511;
    eq_int(bk_gpt_layout(&gpt, &disk_id, parts, 2), -EFBIG, "together larger than there is");
}

int
main(void)
{
    eq_int(bk_crc32("123456789", 9), 0xcbf43926, "CRC-32 check value");
    test_three();
    test_many();
    test_large();
    test_refused();
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A sparse extent: header, grain directory, grain tables, grains.
 *
 *   0 "KDMV"  4 version  8 flags  12 capacity  20 grain size  28 descriptor: offset  36 size
 *   44 entries of a table  48 copy of the directory  56 directory  64 overhead  73 "\n \r\n"  77 compression
 *
 * All offsets and sizes are in sectors.  A streamOptimized one is written
 * front to back, so its directory comes last: then the header's is all ones, and
 * a copy of the header two sectors before the end says where it is.
 *
 * The tables are read at once into one array with an entry per grain, which is
 * 1/16384 of the disk: finding a grain is one look into memory.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-vmdk-priv.h"

#define MAGIC "KDMV"
#define HEADER 79u
#define FLAG_NEWLINES 0x1u
#define FLAG_COPY 0x2u
#define FLAG_ZERO_GRAINS 0x4u
#define FLAG_COMPRESSED 0x10000u
#define FLAG_MARKERS 0x20000u
#define KNOWN_FLAGS (FLAG_NEWLINES | FLAG_COPY | FLAG_ZERO_GRAINS | FLAG_COMPRESSED | FLAG_MARKERS)
#define DEFLATE 1u
#define GD_AT_END UINT64_MAX
#define FOOTER_FROM_END 1024u
#define MIN_GRAIN 8u
#define MAX_GRAIN 65536u

struct header {
    uint32_t version, flags;
    uint64_t capacity, grain, desc_at, desc_len, rgd, gd, overhead;
};

static int
bad(const struct vmdk_extent *x, struct bk_err *err, const char *field)
{
    return bk_fail(err, -EINVAL, "\"%s\": not a usable VMDK extent: %s", x->file->path, field);
}

static int
unsupported(const struct vmdk_extent *x, struct bk_err *err, const char *feature)
{
    return bk_fail(err, -ENOTSUP, "\"%s\": VMDK with %s is not supported", x->file->path, feature);
}

static int
check_flags(struct vmdk_extent *x, const uint8_t *p, const struct header *h, struct bk_err *err)
{
    if (h->version < 1 || h->version > 3)
        return unsupported(x, err, "a version other than 1 to 3");
    if (h->flags & ~KNOWN_FLAGS)
        return unsupported(x, err, "unknown flags");
    if (h->flags & FLAG_NEWLINES && memcmp(p + 73, "\n \r\n", 4) != 0)
        return bad(x, err, "newline characters: the file was changed by a transfer as text");
    if (h->flags & FLAG_COMPRESSED && mb_get_le16(p + 77) != DEFLATE)
        return unsupported(x, err, "an unknown compression");
    x->zero_grains = h->flags & FLAG_ZERO_GRAINS;
    x->compressed = h->flags & FLAG_COMPRESSED;
    x->markers = h->flags & FLAG_MARKERS;
    return 0;
}

static int
parse(struct vmdk_extent *x, const uint8_t *p, struct header *h, struct bk_err *err)
{
    if (memcmp(p, MAGIC, 4) != 0)
        return bad(x, err, "magic");
    *h = (struct header){
        .version = mb_get_le32(p + 4), .flags = mb_get_le32(p + 8), .capacity = mb_get_le64(p + 12),
        .grain = mb_get_le64(p + 20), .desc_at = mb_get_le64(p + 28), .desc_len = mb_get_le64(p + 36),
        .rgd = mb_get_le64(p + 48), .gd = mb_get_le64(p + 56), .overhead = mb_get_le64(p + 64),
    };
    if (mb_get_le32(p + 44) != VMDK_GTES)
        return bad(x, err, "entries of a grain table");
    if (h->capacity == 0 || h->capacity > VMDK_MAX_SECTORS)
        return bad(x, err, "capacity");
    if (h->grain < MIN_GRAIN || h->grain > MAX_GRAIN || !mb_is_power_of_2(h->grain))
        return bad(x, err, "grain size");
    return check_flags(x, p, h, err);
}

static int
read_header(struct vmdk_extent *x, struct header *h, struct bk_err *err)
{
    uint8_t p[BK_SECTOR];
    int rc;

    if (x->file->size < sizeof(p) || bk_file_pread(x->file, p, sizeof(p), 0) < 0)
        return bad(x, err, "shorter than a header");
    rc = parse(x, p, h, err);
    if (rc < 0 || h->gd != GD_AT_END)
        return rc;
    if (x->file->size < 2 * FOOTER_FROM_END ||
        bk_file_pread(x->file, p, sizeof(p), x->file->size / BK_SECTOR * BK_SECTOR - FOOTER_FROM_END) < 0)
        return bad(x, err, "footer");
    rc = parse(x, p, h, err);
    return rc == 0 && h->gd == GD_AT_END ? bad(x, err, "grain directory offset of the footer") : rc;
}

/* A grain directory: n sectors of tables, checked. */
static int
read_directory(const struct vmdk_extent *x, uint64_t at, uint64_t n, uint32_t **tables, struct bk_err *err)
{
    uint64_t offset;

    if (MB_MUL_OVERFLOW(at, BK_SECTOR, &offset) || at == 0 || !mb_range_within(offset, n * 4, x->file->size))
        return bad(x, err, "grain directory offset");
    *tables = malloc(n * 4);
    if (!*tables)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", x->file->path);
    if (bk_file_pread(x->file, *tables, n * 4, offset) < 0)
        return bad(x, err, "grain directory");
    for (uint64_t i = 0; i < n; i++) {
        uint32_t sector = mb_get_le32(&(*tables)[i]);

        if (sector && !mb_range_within((uint64_t)sector * BK_SECTOR, VMDK_GTES * 4, x->file->size))
            return bad(x, err, "grain table offset");
        if (!sector && x->file->writable)
            return bk_fail(err, -ENOTSUP, "\"%s\": VMDK without all of its grain tables can only be read",
                           x->file->path);
        (*tables)[i] = sector;
    }
    return 0;
}

/* An entry as it is used: a grain outside of the file, or where the tables are, is none. */
static uint32_t
judge(const struct vmdk_extent *x, const struct header *h, uint32_t sector)
{
    if (sector == VMDK_GTE_NONE || (sector == VMDK_GTE_ZERO && x->zero_grains))
        return sector;
    if ((uint64_t)sector * BK_SECTOR >= x->file->size || (x->file->writable && sector < h->overhead))
        return VMDK_GTE_BAD;
    return sector;
}

/* Where header, directories and tables end. */
static uint64_t
metadata_end(const struct vmdk_extent *x, const struct header *h, uint64_t n_tables)
{
    uint64_t end = MB_MAX(h->gd * BK_SECTOR, x->rgt ? h->rgd * BK_SECTOR : 0) + n_tables * 4;

    for (uint64_t t = 0; t < n_tables; t++) {
        uint32_t last = MB_MAX(x->gt[t], x->rgt ? x->rgt[t] : 0);

        end = MB_MAX(end, (uint64_t)last * BK_SECTOR + VMDK_GTES * 4);
    }
    return h->overhead < x->file->size / BK_SECTOR ? MB_MAX(end, h->overhead * BK_SECTOR) : end;
}

static int
read_tables(struct vmdk_extent *x, const struct header *h, uint64_t n_tables, struct bk_err *err)
{
    uint32_t table[VMDK_GTES];
    uint64_t grain_bytes = UINT64_C(1) << x->grain_bits;

    x->gte = calloc(n_tables * VMDK_GTES, sizeof(*x->gte));
    if (!x->gte)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", x->file->path);
    x->alloc_end = metadata_end(x, h, n_tables);
    for (uint64_t t = 0; t < n_tables; t++) {
        if (x->gt[t] == 0)
            continue;
        if (bk_file_pread(x->file, table, sizeof(table), (uint64_t)x->gt[t] * BK_SECTOR) < 0)
            return bad(x, err, "grain table");
        for (unsigned i = 0; i < VMDK_GTES; i++) {
            uint32_t sector = judge(x, h, mb_get_le32(&table[i]));

            x->gte[t * VMDK_GTES + i] = sector;
            if (sector > VMDK_GTE_ZERO && sector != VMDK_GTE_BAD)
                x->alloc_end = MB_MAX(x->alloc_end, (uint64_t)sector * BK_SECTOR + grain_bytes);
        }
    }
    /* What is behind the last grain is somebody's, unless it is a hole: room that was not used before a crash. */
    if (x->alloc_end < x->file->size &&
        (lseek(x->file->fd, (off_t)x->alloc_end, SEEK_DATA) >= 0 || errno != ENXIO))
        x->alloc_end = x->file->size;
    return mb_round_up(x->alloc_end, grain_bytes, &x->alloc_end) ? 0 : bad(x, err, "size of the file");
}

int
vmdk_open_sparse(struct vmdk_extent *x, uint64_t *sectors, uint64_t *descriptor_at, uint64_t *descriptor_len,
                 struct bk_err *err)
{
    struct header h;
    uint64_t n_tables;
    int rc = read_header(x, &h, err);

    if (rc < 0)
        return rc;
    if (x->compressed && x->file->writable)
        return bk_fail(err, -ENOTSUP, "\"%s\": compressed (streamOptimized) VMDK can only be read", x->file->path);
    if (*sectors > h.capacity)
        return bad(x, err, "capacity: smaller than the descriptor says");
    *sectors = *sectors ? *sectors : h.capacity;
    x->grain_bits = (unsigned)__builtin_ctzll(h.grain * BK_SECTOR);
    x->unpacked.size = (size_t)1 << x->grain_bits;
    x->n_grains = (*sectors - 1) / h.grain + 1;
    if (x->n_grains > VMDK_MAX_GRAINS)
        return bad(x, err, "grain size: too small for the capacity");
    n_tables = (x->n_grains - 1) / VMDK_GTES + 1;
    rc = read_directory(x, h.gd, n_tables, &x->gt, err);
    if (rc == 0 && h.flags & FLAG_COPY && x->file->writable)
        rc = read_directory(x, h.rgd, n_tables, &x->rgt, err);
    if (rc == 0)
        rc = read_tables(x, &h, n_tables, err);
    *descriptor_at = h.desc_at < VMDK_MAX_SECTORS ? h.desc_at * BK_SECTOR : 0;
    *descriptor_len = h.desc_len < VMDK_MAX_SECTORS ? h.desc_len * BK_SECTOR : 0;
    return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Compressed grains (streamOptimized): a marker with the sector on the disk (8
 * bytes) and the length (4), then a zlib stream.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-io.h"

#include "bk-inflate.h"
#include "bk-vmdk-priv.h"

#define MARKER 12u

/* What is stored of the grain at offset: where it begins and how long it is at most. */
static int
find_packed(const struct vmdk_extent *x, uint64_t *offset, size_t *len)
{
    uint8_t marker[MARKER];

    /* A grain that does not compress grows a little. */
    *len = (size_t)2 << x->grain_bits;
    if (!x->markers)
        return 0;
    if (mb_pread_full(x->file->fd, marker, MARKER, (off_t)*offset) != MARKER || mb_get_le32(marker + 8) > *len)
        return -EIO;
    *len = mb_get_le32(marker + 8);
    *offset += MARKER;
    return 0;
}

static int
unpack(const struct bk_unpacked_source *source, uint8_t *out, size_t size)
{
    const struct vmdk_extent *x = source->image;
    mb_autofree uint8_t *packed = NULL;
    uint64_t offset = source->key;
    size_t len, got;
    ssize_t n;
    int rc = find_packed(x, &offset, &len);

    if (rc < 0)
        return rc;
    packed = malloc(len + 1);
    if (!packed)
        return -ENOMEM;
    n = mb_pread_full(x->file->fd, packed, len, (off_t)offset);
    if (n < 0 || (x->markers && (size_t)n < len))
        return -EIO;
    rc = bk_inflate(BK_DEFLATE_ZLIB, packed, (size_t)n, out, size, &got);
    /* The last grain of a disk may be short. */
    if (rc == 0)
        memset(out + got, 0, size - got);
    return rc;
}

int
vmdk_inflate(const struct vmdk_place *p, bool only_ready, const struct iovec *iov, unsigned n_iov, uint64_t len)
{
    struct bk_unpacked_source source = {.key = p->offset, .unpack = unpack, .image = p->extent};

    return bk_unpacked_read(&p->extent->unpacked, &source, only_ready, p->within, iov, n_iov, len);
}

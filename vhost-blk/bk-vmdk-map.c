/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a place on the disk to one in a file: the extent, in a sparse one the
 * grain, and where that is not allocated the parent.  Neighbouring grains that
 * are neighbours in the file too are one place, so that a large read is one
 * transfer.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "mb-io.h"

#include "bk-vmdk-priv.h"

static struct vmdk_extent *
find_extent(struct vmdk *v, uint64_t offset)
{
    unsigned low = 0, high = v->n_extents - 1;

    while (low < high) {
        unsigned mid = (low + high + 1) / 2;

        if (v->extents[mid].start <= offset)
            low = mid;
        else
            high = mid - 1;
    }
    return &v->extents[low];
}

static enum vmdk_kind
kind_of(const struct vmdk_extent *x, uint32_t gte)
{
    if (gte == VMDK_GTE_NONE)
        return VMDK_AT_NONE;
    if (gte == VMDK_GTE_ZERO && x->zero_grains)
        return VMDK_AT_ZERO;
    return x->compressed ? VMDK_AT_PACKED : VMDK_AT_FILE;
}

/* [at, at + len) of a sparse extent, inside of it. */
static int
map_sparse(struct vmdk *v, struct vmdk_extent *x, uint64_t at, uint64_t len, struct vmdk_place *p)
{
    uint64_t grain = at >> x->grain_bits, size = UINT64_C(1) << x->grain_bits;
    uint64_t within = at & (size - 1), n = size - within;
    uint64_t sectors = size / BK_SECTOR, next;
    uint32_t gte = vmdk_gte(x, grain);

    if (gte == VMDK_GTE_BAD)
        return -EIO;
    p->kind = kind_of(x, gte);
    p->file = x->file;
    p->extent = x;
    p->within = within;
    p->offset = (uint64_t)gte * BK_SECTOR;
    if (p->kind == VMDK_AT_PACKED) {
        p->len = MB_MIN(len, n);
        return 0;
    }
    if (p->kind == VMDK_AT_FILE)
        p->offset += within;
    for (next = gte; n < len; n += size) {
        if (p->kind == VMDK_AT_FILE)
            next += sectors;
        if (vmdk_gte(x, ++grain) != next)
            break;
    }
    p->len = MB_MIN(len, n);
    return 0;
}

int
vmdk_map_here(struct vmdk *v, uint64_t offset, uint64_t len, struct vmdk_place *p)
{
    struct vmdk_extent *x = find_extent(v, offset);
    uint64_t at = offset - x->start;

    len = MB_MIN(len, x[1].start - offset);
    *p = (struct vmdk_place){.len = len, .extent = x};
    switch (x->type) {
    case VMDK_SPARSE:
        return map_sparse(v, x, at, len, p);
    case VMDK_FLAT:
        p->kind = VMDK_AT_FILE;
        p->file = x->file;
        p->offset = x->offset + at;
        return 0;
    case VMDK_ZERO:
        break;
    }
    p->kind = VMDK_AT_ZERO;
    return 0;
}

int
vmdk_map(struct vmdk *v, uint64_t offset, uint64_t len, struct vmdk_place *p)
{
    int rc = vmdk_map_here(v, offset, len, p);

    while (rc == 0 && p->kind == VMDK_AT_NONE) {
        len = p->len;
        v = v->parent;
        if (!v || offset >= v->image.size) {
            p->kind = VMDK_AT_ZERO;
            break;
        }
        rc = vmdk_map_here(v, offset, MB_MIN(len, v->image.size - offset), p);
    }
    return rc;
}

int
vmdk_pread(struct vmdk *v, void *buf, uint64_t len, uint64_t offset)
{
    uint8_t *out = buf;

    while (len > 0) {
        struct vmdk_place p;
        struct iovec iov = {.iov_base = out};
        ssize_t n;
        int rc = vmdk_map(v, offset, len, &p);

        if (rc < 0)
            return rc;
        iov.iov_len = (size_t)p.len;
        if (p.kind == VMDK_AT_PACKED) {
            rc = vmdk_inflate(&p, false, &iov, 1, p.len);
        } else {
            n = p.kind == VMDK_AT_FILE ? mb_pread_full(p.file->fd, out, (size_t)p.len, (off_t)p.offset) : 0;
            rc = n < 0 ? (int)n : 0;
            /* What is behind the end of the file is zeros. */
            if (rc == 0)
                memset(out + n, 0, (size_t)(p.len - (uint64_t)n));
        }
        if (rc < 0)
            return rc;
        out += p.len;
        offset += p.len;
        len -= p.len;
    }
    return 0;
}

/* ---- for others -------------------------------------------------------------------------- */

bool
bk_vmdk_is(const struct bk_image *image)
{
    return image->ops == &vmdk_ops;
}

int
bk_vmdk_map(struct bk_image *image, uint64_t offset, uint64_t len, struct bk_vmdk_range *r)
{
    struct vmdk_place p;
    int rc = vmdk_map(vmdk_of(image), offset, len, &p);

    if (rc < 0)
        return rc;
    *r = (struct bk_vmdk_range){.len = p.len, .packed = p.kind == VMDK_AT_PACKED};
    if (p.kind == VMDK_AT_FILE) {
        r->file = p.file;
        r->offset = p.offset;
    }
    return 0;
}

int
bk_vmdk_unpack(struct bk_image *image, bool only_ready, const struct iovec *iov, unsigned n_iov,
               uint64_t offset, uint64_t len)
{
    struct vmdk_place p;
    int rc = vmdk_map(vmdk_of(image), offset, len, &p);

    if (rc == 0 && (p.kind != VMDK_AT_PACKED || p.len < len))
        rc = -EIO;
    return rc < 0 ? rc : vmdk_inflate(&p, only_ready, iov, n_iov, len);
}

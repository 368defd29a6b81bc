/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMDK image from the inside.  bk-vmdk-desc.c reads descriptors, -sparse.c
 * the header and tables of a sparse extent, -open.c puts an image together;
 * -map.c finds where a sector is, -io.c carries out requests, -alloc.c makes
 * room for new grains, -inflate.c unpacks compressed ones.
 */
#ifndef BK_VMDK_PRIV_H
#define BK_VMDK_PRIV_H

#include <pthread.h>

#include "bk-unpacked.h"
#include "bk-vmdk.h"

#define VMDK_MAX_CHAIN 16               /* parents above one another */
#define VMDK_MAX_EXTENTS 256
#define VMDK_MAX_DESCRIPTOR (64u << 10) /* bytes */
#define VMDK_MAX_SECTORS (UINT64_C(1) << 40)
#define VMDK_MAX_GRAINS (UINT64_C(1) << 26) /* of a sparse extent: 256 MiB of tables */
#define VMDK_NAME_MAX 255
#define VMDK_GTES 512u                  /* entries of a grain table */
#define VMDK_NO_PARENT 0xffffffffu

/* ---- descriptors (bk-vmdk-desc.c) ------------------------------------------------------ */

enum vmdk_access { VMDK_RW, VMDK_RDONLY, VMDK_NOACCESS };
enum vmdk_type { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };

struct vmdk_extent_line {
    enum vmdk_access access;
    enum vmdk_type type;
    uint64_t sectors;
    uint64_t offset;                    /* FLAT: sectors into the file */
    char name[VMDK_NAME_MAX + 1];
};

struct vmdk_descriptor {
    uint32_t cid, parent_cid;
    size_t cid_at;                      /* where the digits of the CID are */
    int cid_digits;                     /* 1 to 8; QEMU writes no leading zeros */
    char type[32];                      /* createType */
    char parent[1024];                  /* parentFileNameHint */
    struct vmdk_extent_line *lines;     /* calloc'ed, free() it */
    unsigned n_lines;
};

/* Read text, n bytes, into d. The lines belong to the caller, also after an error, which names path. */
int vmdk_parse_descriptor(const char *path, const char *text, size_t n, struct vmdk_descriptor *d,
                          struct bk_err *err) MB_MUST_CHECK;

/* ---- the image ------------------------------------------------------------------------- */

/* Entries of the tables of a sparse extent, beside the sector of a grain. */
#define VMDK_GTE_NONE 0u
#define VMDK_GTE_ZERO 1u                /* where the header says so */
#define VMDK_GTE_BAD 0xffffffffu        /* points outside */

struct vmdk_extent {
    uint64_t start;                     /* bytes into the disk; the next one's start is the end */
    enum vmdk_type type;
    struct bk_file *file;
    uint64_t offset;                    /* FLAT: bytes into the file */

    /* SPARSE: */
    unsigned grain_bits;                /* log2 of the bytes of a grain */
    uint64_t n_grains;
    uint32_t *gte;                      /* of all grains, in host order; atomic */
    uint32_t *gt, *rgt;                 /* sectors of the tables and their copies; rgt may be NULL */
    bool zero_grains, compressed, markers;
    uint64_t alloc_end;                 /* bytes: where the next grain goes. Under the lock */
    uint64_t room_end;                  /* bytes: the file was made so long, on the disk too. Under the lock */
    struct bk_unpacked unpacked;        /* compressed grains, by their offset in the file */
};

struct vmdk {
    struct bk_image image;
    struct vmdk *parent;                /* NULL: what is not allocated is zeros */
    struct vmdk_extent *extents;        /* one more than n_extents: the end of the disk */
    unsigned n_extents;
    struct bk_file *own[VMDK_MAX_EXTENTS + 1]; /* files, the descriptor's first; the parent's are not ours */
    unsigned n_own;
    struct bk_file *cid_file;           /* where the CID is changed, at */
    uint64_t cid_offset;
    int cid_digits;
    uint32_t cid, new_cid;
    atomic_bool changed;                /* since it was opened */
    pthread_mutex_t lock;
};

/* Where a range is. */
enum vmdk_kind { VMDK_AT_ZERO, VMDK_AT_FILE, VMDK_AT_PACKED, VMDK_AT_NONE };

struct vmdk_place {
    enum vmdk_kind kind;
    uint64_t len;                       /* bytes of the range it holds for */
    struct bk_file *file;               /* FILE: there, at; PACKED: of the grain's data */
    uint64_t offset;
    struct vmdk_extent *extent;         /* PACKED, NONE: its extent, and */
    uint64_t within;                    /* where in the unpacked grain */
};

static inline struct vmdk *
vmdk_of(struct bk_image *image)
{
    return MB_CONTAINER_OF(image, struct vmdk, image);
}

static inline uint32_t
vmdk_gte(const struct vmdk_extent *x, uint64_t grain)
{
    return __atomic_load_n(&x->gte[grain], __ATOMIC_ACQUIRE);
}

/* Read the header and tables of the sparse extent in x->file. sectors: what a descriptor says of its size,
 * 0: nothing. *descriptor: bytes from *descriptor_at on that hold an embedded one. (bk-vmdk-sparse.c) */
int vmdk_open_sparse(struct vmdk_extent *x, uint64_t *sectors, uint64_t *descriptor_at, uint64_t *descriptor_len,
                     struct bk_err *err) MB_MUST_CHECK;

/* [offset, offset + len) in this image alone: NONE where nothing is allocated. It holds for the range's
 * beginning, of at least one byte. 0 or -EIO. Any thread. (bk-vmdk-map.c) */
int vmdk_map_here(struct vmdk *v, uint64_t offset, uint64_t len, struct vmdk_place *p) MB_MUST_CHECK;
/* The same through the parents, and never NONE. */
int vmdk_map(struct vmdk *v, uint64_t offset, uint64_t len, struct vmdk_place *p) MB_MUST_CHECK;
/* Fill buf through the parents. Blocks. 0 or -errno. */
int vmdk_pread(struct vmdk *v, void *buf, uint64_t len, uint64_t offset) MB_MUST_CHECK;

/* Unpack the place's grain and copy len bytes of it. Blocks unless only_ready: then -EAGAIN when it is not
 * unpacked already. 0, -EIO, -ENOMEM. (bk-vmdk-inflate.c) */
int vmdk_inflate(const struct vmdk_place *p, bool only_ready, const struct iovec *iov, unsigned n_iov,
                 uint64_t len) MB_MUST_CHECK;

/* Write len bytes (zeros with iov NULL) at offset, all of them in one extent, to grains that have to be allocated or
 * were by others meanwhile. Blocks. 0 or -errno. (bk-vmdk-alloc.c) */
int vmdk_write_new(struct vmdk *v, const struct iovec *iov, unsigned n_iov, uint64_t offset, uint64_t len,
                   bool dsync) MB_MUST_CHECK;

/* The image is closed: give the room back that was not used. (bk-vmdk-alloc.c) */
void vmdk_cut_room(struct vmdk_extent *x);

extern const struct bk_image_ops vmdk_ops;
void vmdk_free(struct vmdk *v);

#endif

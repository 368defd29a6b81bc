/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A qcow2 image from the inside.  bk-qcow2-open.c checks the header and opens
 * the chain, bk-qcow2-map.c finds where a guest cluster is, bk-qcow2-read.c
 * carries out reads, bk-qcow2-inflate.c unpacks compressed clusters.
 */
#ifndef BK_QCOW2_PRIV_H
#define BK_QCOW2_PRIV_H

#include <pthread.h>

#include "bk-qcow2.h"

#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_MAX_L1 (32u << 20)        /* bytes; what QEMU accepts */
#define QCOW2_MAX_CHAIN 16              /* backing files below one another */
#define QCOW2_L2_SLOTS 64
#define QCOW2_L2_MEMORY (4u << 20)      /* bytes of tables kept, two at least */

/* Incompatible features (byte 72 of the header). */
#define QCOW2_INCOMPAT_DIRTY UINT64_C(1)
#define QCOW2_INCOMPAT_CORRUPT UINT64_C(2)
#define QCOW2_INCOMPAT_DATA_FILE UINT64_C(4)
#define QCOW2_INCOMPAT_COMPRESSION UINT64_C(8)
#define QCOW2_INCOMPAT_EXTENDED_L2 UINT64_C(16)

enum qcow2_compression { QCOW2_DEFLATE = 0, QCOW2_ZSTD = 1 };

struct qcow2_l2_slot {
    uint64_t offset;        /* of the table in the file; 0: empty */
    uint64_t used;          /* clock of the last use */
    uint8_t *table;         /* one cluster, big-endian as in the file */
};

struct qcow2 {
    struct bk_image image;
    struct bk_file *file;
    struct bk_image *backing;   /* NULL: what is not allocated is zeros */

    unsigned version;
    unsigned cluster_bits;
    uint64_t cluster_size;
    uint64_t size;              /* bytes, as the header says */
    bool extended_l2;           /* 16-byte entries with 32 subclusters each */
    unsigned l2_bits;           /* log2 of the entries of an L2 table */
    enum qcow2_compression compression;
    uint64_t *l1;               /* host order */
    uint32_t l1_size;

    pthread_mutex_t lock;       /* of everything below */
    struct qcow2_l2_slot l2[QCOW2_L2_SLOTS];
    unsigned n_l2;              /* slots in use, at most */
    uint64_t clock;
    uint8_t *unpacked;          /* the last compressed cluster, unpacked, and */
    uint64_t unpacked_entry;    /* its L2 entry; 0: none */
    uint8_t *packed;            /* room for it as it is in the file */
};

/* Where a range of the guest is. */
enum qcow2_kind { QCOW2_ZERO, QCOW2_DATA, QCOW2_COMPRESSED };

struct qcow2_extent {
    enum qcow2_kind kind;
    uint64_t len;               /* bytes of the range it holds for */
    struct bk_file *file;       /* DATA: there, at */
    uint64_t offset;
    struct qcow2 *owner;        /* COMPRESSED: the image that has it, */
    uint64_t entry;             /* its L2 entry, and */
    uint64_t within;            /* where in the unpacked cluster */
};

static inline struct qcow2 *
qcow2_of(struct bk_image *image)
{
    return MB_CONTAINER_OF(image, struct qcow2, image);
}

/* True for the images of this format. (bk-qcow2-read.c) */
bool qcow2_is(const struct bk_image *image);

/* Look [offset, offset + len) up through the whole chain; the extent holds for its beginning,
 * of at least one byte. 0, -EIO when a table makes no sense or cannot be read. Any thread. */
int qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_extent *x) MB_MUST_CHECK;

/* Unpack the extent's cluster and copy len bytes of it. Blocks. 0 or -EIO. */
int qcow2_inflate(const struct qcow2_extent *x, const struct iovec *iov, unsigned n_iov, uint64_t len) MB_MUST_CHECK;

extern const struct bk_image_ops qcow2_ops;
void qcow2_free(struct qcow2 *q);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A qcow2 image from the inside.  What every image has:
 *
 *   bk-qcow2-open.c     checks the header, opens the chain
 *   bk-qcow2-table.c    L1 and the cache of L2 tables
 *   bk-qcow2-map.c      finds where a guest cluster is
 *   bk-qcow2-read.c     carries out reads
 *   bk-qcow2-inflate.c  unpacks compressed clusters
 *
 * A writable one has a struct qcow2_rw (bk-qcow2-rw.h) besides.
 *
 * Tables in memory are looked up without a lock: their words are atomic, and a
 * slot of the cache that is given another table tells so by its sequence
 * number.  Changes are made under the image's lock.
 */
#ifndef BK_QCOW2_PRIV_H
#define BK_QCOW2_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "bk-qcow2.h"
#include "bk-unpacked.h"

#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_MAX_L1 (32u << 20)        /* bytes; what QEMU accepts */
#define QCOW2_MAX_CHAIN 16              /* backing files below one another */
#define QCOW2_L2_SLOTS 1024             /* tables kept at most, */
#define QCOW2_L2_MEMORY (16u << 20)     /* in so many bytes, */
#define QCOW2_L2_MIN 6                  /* but at least so many */

/* Incompatible features (byte 72 of the header). */
#define QCOW2_INCOMPAT_DIRTY UINT64_C(1)
#define QCOW2_INCOMPAT_CORRUPT UINT64_C(2)
#define QCOW2_INCOMPAT_DATA_FILE UINT64_C(4)
#define QCOW2_INCOMPAT_COMPRESSION UINT64_C(8)
#define QCOW2_INCOMPAT_EXTENDED_L2 UINT64_C(16)

/* Entries of L1 and L2. */
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_COPIED (UINT64_C(1) << 63)        /* refcount is exactly one */
#define QCOW2_COMPRESSED_FLAG (UINT64_C(1) << 62)
#define QCOW2_ZERO_FLAG UINT64_C(1)

enum qcow2_compression { QCOW2_DEFLATE = 0, QCOW2_ZSTD = 1 };

/* The header as far as it is used; checked in bk-qcow2-open.c. */
struct qcow2_header {
    uint8_t raw[512];           /* as much as the file has of it */
    uint64_t backing_offset;
    uint32_t backing_len;
    uint64_t l1_offset;
    uint32_t l1_entries;        /* as the file has them; more than are needed perhaps */
    uint32_t length;            /* of the header, behind which extensions follow */
    uint64_t incompatible;
    char backing_format[16];    /* empty: not told */
};

/* A cached L2 table. */
struct qcow2_l2 {
    atomic_uint seq;            /* odd while the slot gets another table */
    atomic_uint l1_index;
    atomic_bool used;           /* since the hand of the clock came by */
    atomic_uint_least64_t *words; /* one cluster, big-endian as in the file; NULL: never used */
    /* Under the lock: */
    uint64_t offset;            /* of the table in the file; 0: empty */
    uint32_t dirty_from, dirty_to; /* bytes that the file does not have yet */
    bool committing;            /* a commit writes it */
    unsigned pins;              /* operations that will change it */
};

struct qcow2_rw;
struct qcow2_journal;

struct qcow2 {
    struct bk_image image;
    struct qcow2_header header; /* as the file had it when it was opened, or repaired */
    bool eager;                 /* what is told to be done is in the file, see qcow2_keep() */
    struct bk_file *file;
    struct bk_image *backing;   /* NULL: what is not allocated is zeros */
    struct qcow2_rw *rw;        /* NULL: only read */
    struct qcow2_journal *journal; /* of changed tables, outlives the process; NULL: none */

    unsigned version;
    unsigned cluster_bits;
    uint64_t cluster_size;
    atomic_uint_least64_t size; /* bytes, as the header says; only grows */
    bool extended_l2;           /* 16-byte entries with 32 subclusters each */
    unsigned l2_bits;           /* log2 of the entries of an L2 table */
    enum qcow2_compression compression;
    atomic_uint l1_size;        /* entries that the disk's size takes; only grows */

    pthread_mutex_t lock;       /* of everything below but atomics, and of rw */
    uint64_t l1_offset;
    uint32_t l1_entries;        /* in the file; may be more */
    uint64_t *l1;               /* host order */
    atomic_ushort *slot_of;     /* per L1 entry that there can be: 1 + index of the table's slot, 0: not in memory */
    struct qcow2_l2 *l2;
    unsigned n_l2, hand;

    struct bk_unpacked unpacked; /* compressed clusters, by their entry */
};

/* Where one place of the guest is, in this image alone. */
enum qcow2_where { QCOW2_HERE, QCOW2_ZEROS, QCOW2_BELOW, QCOW2_PACKED };

struct qcow2_place {
    enum qcow2_where where;
    bool copied;                /* HERE, and nobody else's: can be written in place */
    uint64_t host;              /* HERE: of the cluster's first byte */
    uint64_t entry;             /* in host order */
};

/* Where a range of the guest is. */
enum qcow2_kind { QCOW2_ZERO, QCOW2_DATA, QCOW2_COMPRESSED };

struct qcow2_extent {
    enum qcow2_kind kind;
    uint64_t len;               /* bytes of the range it holds for */
    struct bk_file *file;       /* DATA: there, at */
    uint64_t offset;
    struct qcow2 *owner;        /* COMPRESSED: the image that has it (NULL: the VMDK image below, at offset), */
    struct bk_image *below;
    uint64_t entry;             /* its L2 entry, and */
    uint64_t within;            /* where in the unpacked cluster */
};

static inline struct qcow2 *
qcow2_of(struct bk_image *image)
{
    return MB_CONTAINER_OF(image, struct qcow2, image);
}

/* ---- bk-qcow2-open.c -------------------------------------------------------------- */

/* Read and check the header. 0 or -errno with err. */
int qcow2_read_header(struct qcow2 *q, struct qcow2_header *h, struct bk_err *err) MB_MUST_CHECK;
/* An error that names the field or the feature. */
int qcow2_bad(const struct qcow2 *q, struct bk_err *err, const char *field);
int qcow2_unsupported(const struct qcow2 *q, struct bk_err *err, const char *feature);
void qcow2_free(struct qcow2 *q);

/* ---- bk-qcow2-table.c -------------------------------------------------------------- */

int qcow2_tables_init(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err) MB_MUST_CHECK;
/* L1 entries that a disk of size bytes takes. */
uint64_t qcow2_l1_needed(const struct qcow2 *q, uint64_t size);
void qcow2_tables_free(struct qcow2 *q);

/* The L2 table of an L1 entry, read if need be; NULL when there is none. 0, -EIO, -ENOMEM. Under the lock. */
int qcow2_l2_load(struct qcow2 *q, uint64_t l1_index, struct qcow2_l2 **slot) MB_MUST_CHECK;

/* A slot for a table that does not exist yet, its words zeros. Under the lock. */
int qcow2_l2_make(struct qcow2 *q, uint64_t l1_index, uint64_t offset, struct qcow2_l2 **slot) MB_MUST_CHECK;

/* The slot has to keep its table. */
static inline bool
qcow2_l2_is_busy(const struct qcow2_l2 *s)
{
    return s->dirty_to > 0 || s->committing || s->pins > 0;
}

static inline uint64_t
qcow2_l2_word(const struct qcow2_l2 *slot, uint64_t i)
{
    return be64toh(atomic_load_explicit(&slot->words[i], memory_order_relaxed));
}

/* ---- bk-qcow2-map.c ----------------------------------------------------------------- */

/* What an L2 entry says, for the byte at within of its cluster. 0 or -EIO. */
int qcow2_entry_place(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, uint64_t within,
                      struct qcow2_place *p) MB_MUST_CHECK;

/* The place of offset in this image alone, and how far from it (at most len) the same goes on.
 * 0 or -EIO. Any thread, without the lock. */
int qcow2_map_here(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_place *p, uint64_t *n) MB_MUST_CHECK;

/* Look [offset, offset + len) up through the whole chain; the extent holds for its beginning,
 * of at least one byte. 0, -EIO when a table makes no sense or cannot be read. Any thread. */
int qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t len, struct qcow2_extent *x) MB_MUST_CHECK;

/* ---- bk-qcow2-inflate.c ------------------------------------------------------------- */

/* Unpack the extent's cluster and copy len bytes of it. Blocks unless only_ready: then -EAGAIN
 * when it is not unpacked already. 0, -EIO, -ENOMEM. */
int qcow2_inflate(const struct qcow2_extent *x, bool only_ready, const struct iovec *iov, unsigned n_iov,
                  uint64_t len) MB_MUST_CHECK;

/* The bytes of the file that a compressed cluster takes. */
void qcow2_packed_range(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *len);

/* ---- bk-qcow2-read.c ---------------------------------------------------------------- */

void qcow2_read(struct bk_image *image, struct bk_io *io);

/* True for the images of this format. */
bool qcow2_is(const struct bk_image *image);

extern const struct bk_image_ops qcow2_ops;

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a writable qcow2 image has besides.
 *
 *   bk-qcow2-meta.c      which clusters are tables
 *   bk-qcow2-snapshot.c  what snapshots there are
 *   bk-qcow2-repair.c    counts of an image that was not closed
 *   bk-qcow2-reftable.c  the table of counts and its blocks
 *   bk-qcow2-refcount.c  counts, and finding clusters that are free
 *   bk-qcow2-alloc.c     the reserve; letting go of clusters
 *   bk-qcow2-write.c     writes, in place and allocating
 *   bk-qcow2-zero.c      discard and write-zeroes
 *   bk-qcow2-grow.c      a larger disk, and L1 table
 *   bk-qcow2-cow.c       copying what a new cluster keeps of the old one
 *   bk-qcow2-commit.c    bringing changed tables into the file
 *   bk-qcow2-flush.c     flushes, and waiting for a commit
 *   bk-qcow2-journal.c   keeping them until then, should the process die
 *
 * Order.  Tables change in memory and reach the file by commits, which flushes
 * ask for.  Whatever moment the power fails at, the file must have no entry
 * that points to a cluster whose count is not there, and none that has replaced
 * data with a cluster that is not there.  A commit therefore writes, each stage with a
 * barrier (fdatasync) behind it if the next one needs it:
 *
 *   1 counts   2 entries for new blocks of counts   3 L2, and L1 entries of
 *   tables that were empty   4 L1 entries of copied tables; the header of a
 *   disk that has grown
 *
 * The reserve makes most barriers unnecessary: clusters are counted in batches
 * ahead of their use and read as zeros.  An entry that points into a batch
 * whose counts have reached the disk, where the guest saw zeros before, needs no
 * barrier: whatever the disk has of the cluster, nothing or all, is right.  After a crash what was left
 * of the reserve is lost until the image is checked, nothing else.
 *
 * Letting go.  A cluster that no entry needs any more may still be in the file's
 * tables, and transfers that began earlier may still run on it.  Its count is
 * lowered after a commit without it, and after all operations that were under
 * way then have ended (a grace period); only then can it be used again.
 */
#ifndef BK_QCOW2_RW_H
#define BK_QCOW2_RW_H

#include "bk-qcow2-priv.h"

#define QCOW2_MAX_REFTABLE (8u << 20)   /* bytes; what QEMU accepts */
#define QCOW2_REFBLOCK_MEMORY (8u << 20) /* bytes of blocks of counts kept, about */
#define QCOW2_CLEAN_SLOTS 2u            /* L2 slots that are never changed, so that reads find one */
#define QCOW2_MAX_RUNS 8u               /* of the reserve */
#define QCOW2_MAX_DROPS 4096u           /* runs let go of after which a commit is started */
#define QCOW2_SHARDS 16u                /* counters of running operations */

/* Words of the header that change: where they are, how many. */
#define QCOW2_HEADER_SIZE 24u
#define QCOW2_SIZE_WORDS 3u
#define QCOW2_HEADER_REFTABLE 48u
#define QCOW2_REFTABLE_WORDS 2u

/* Of a commit. */
enum qcow2_stage { STAGE_COUNTS, STAGE_REFTABLE, STAGE_L2, STAGE_L1, N_STAGES };

struct qcow2_run {
    uint64_t first, count;      /* clusters */
    uint64_t batch;             /* the commit that makes its counts stable */
};

struct qcow2_runs {
    struct qcow2_run *v;
    size_t n, cap;
};

/* What a commit writes; chunks of the file, by stage. */
struct qcow2_chunk;
struct qcow2_commit {
    struct qcow2_chunk *stage[N_STAGES];
    bool barrier;               /* behind the first stage, whatever follows */
    int err;
};

struct qcow2_refblock {
    uint8_t *data;              /* one cluster, NULL: not in memory */
    uint32_t free_from;         /* no free cluster before this one */
    uint32_t dirty_from, dirty_to; /* bytes that the file does not have yet */
    bool committing;
};

/* Running operations; per engine, so that queues do not share a cache line. */
struct qcow2_shard {
    atomic_uint running[2];     /* by parity of the epoch they began in */
} __attribute__((aligned(64)));

enum qcow2_grace { QCOW2_GRACE_NONE, QCOW2_GRACE_FIRST, QCOW2_GRACE_SECOND };

struct qcow2_rw {
    /* Under the lock of the image: */
    uint64_t *reftable;         /* host order; offsets of blocks of counts */
    uint64_t reftable_entries;
    uint64_t reftable_offset;
    uint64_t reftable_from, reftable_to; /* entries that the file does not have yet */
    bool reftable_moved;        /* all of it is to be written, and the header */
    uint32_t n_snapshots;       /* as the header has it */
    unsigned refcount_bits_log2;
    unsigned block_bits;        /* log2 of the counts in a block */
    struct qcow2_refblock *blocks;
    uint64_t block_from, block_to; /* the blocks the file has otherwise are among these */
    uint64_t commit_from, commit_to; /* those that the commit writes */
    unsigned n_loaded;
    uint64_t next_block;        /* no free cluster in the blocks before */

    uint8_t *meta;              /* a bit per cluster: holds a table, so never data */
    uint64_t map_clusters;      /* that it has a bit for */
    atomic_uint_least64_t max_clusters; /* of the file; no more */

    struct qcow2_run reserve[QCOW2_MAX_RUNS]; /* counted, zeros, not in use */
    unsigned n_reserve;
    uint64_t taken;             /* clusters, since the last commit began */

    uint32_t l1_from, l1_to;    /* L1 entries that the file does not have yet */
    bool l1_copied;             /* a table among them was copied */
    bool grown;                 /* the header has another size yet, perhaps another L1 table */
    unsigned n_dirty;           /* L2 slots that cannot be given another table */
    unsigned n_changed;         /* L2 slots that the file does not have as they are */
    bool dirty;                 /* there is something for a commit */
    bool barrier;               /* an entry needs counts or data on the disk before */

    struct bk_io *running;      /* allocating operations */

    bool committing;
    uint64_t batch;             /* number of the next commit */
    uint64_t stable;            /* of the last one that succeeded */
    struct bk_io *commit_queue; /* wait for the next one */
    pthread_cond_t ended;       /* a commit did */
    struct qcow2_commit commit; /* the running one's, also without the lock; that of one that failed stays */
    bool commit_failed;         /* it is to be carried out before the next one */
    int error;                  /* nobody knows what is on the disk; nothing is allocated any more */

    struct qcow2_runs dropped;  /* let go of since the last commit began */
    struct qcow2_runs dropping; /* what the running one is about */
    struct qcow2_runs waiting;  /* committed, for a grace period to begin */
    struct qcow2_runs gracing;  /* for it to end */
    enum qcow2_grace grace;

    /* Without it: */
    atomic_uint epoch;
    struct qcow2_shard shard[QCOW2_SHARDS];
};

/* ---- bk-qcow2-meta.c ---------------------------------------------------------------- */

/* Everything that writing needs, a repair too, for the begin() of struct bk_image_ops. 0 or -errno with err. */
int qcow2_rw_open(struct qcow2 *q, struct bk_err *err) MB_MUST_CHECK;

/* Commit what is left, give the reserve back, free. NULL is allowed as q->rw. */
void qcow2_rw_close(struct qcow2 *q);

/* A cluster that a guest must not get at, or that the file cannot have. */
static inline bool
qcow2_is_meta(const struct qcow2 *q, uint64_t cluster)
{
    return cluster >= atomic_load_explicit(&q->rw->max_clusters, memory_order_relaxed) ||
           __atomic_load_n(&q->rw->meta[cluster / 8], __ATOMIC_RELAXED) >> (cluster % 8) & 1;
}

void qcow2_set_meta(struct qcow2 *q, uint64_t cluster, bool is_meta);

/* The file may become as large as a disk of size bytes takes. False: not before it is opened anew. Under the lock. */
bool qcow2_make_room(struct qcow2 *q, uint64_t size);

/* Size of the disk, encryption (none) and entries of L1, place of L1. */
static inline void
qcow2_size_words(const struct qcow2 *q, uint64_t words[QCOW2_SIZE_WORDS])
{
    words[0] = q->size;
    words[1] = q->l1_entries;
    words[2] = q->l1_offset;
}

/* Place of the table of counts; its clusters and the number of snapshots. */
static inline void
qcow2_reftable_words(const struct qcow2 *q, uint64_t words[QCOW2_REFTABLE_WORDS])
{
    const struct qcow2_rw *rw = q->rw;

    words[0] = rw->reftable_offset;
    words[1] = (rw->reftable_entries * 8 >> q->cluster_bits) << 32 | rw->n_snapshots;
}

/* ---- bk-qcow2-snapshot.c ------------------------------------------------------------- */

struct qcow2_snapshot {
    uint64_t l1_offset;
    uint64_t l1_entries;        /* of at most QCOW2_MAX_L1 bytes */
    bool has_size;              /* it says how large the disk was */
};
typedef int qcow2_snapshot_func(struct qcow2 *q, const struct qcow2_snapshot *s, void *opaque, struct bk_err *err);

/* Call func for each, until it fails; *table and *len become the place of the table itself. 0 or -errno with err. */
int qcow2_for_snapshots(struct qcow2 *q, const struct qcow2_header *h, qcow2_snapshot_func *func, void *opaque,
                        uint64_t *table, uint64_t *len, struct bk_err *err) MB_MUST_CHECK;

/* An L1 table in host order, the caller's to free. 0 or -errno. */
int qcow2_read_l1(const struct qcow2 *q, uint64_t offset, uint64_t entries, uint64_t **l1) MB_MUST_CHECK;

/* ---- bk-qcow2-repair.c ----------------------------------------------------------------- */

/* Make the counts of a dirty image anew and clear its dirty bit; the tables of q are right afterwards, the header is to
 * be read again. 0 or -errno with err. */
int qcow2_repair(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err) MB_MUST_CHECK;

/* ---- bk-qcow2-reftable.c; all under the lock ------------------------------------------ */

int qcow2_refcounts_open(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err) MB_MUST_CHECK;
void qcow2_refcounts_free(struct qcow2_rw *rw);

/* Block r, which exists; which is made if need be. 0, -EIO, -ENOMEM, -ENOSPC, -EBUSY: a commit has to come first. */
int qcow2_load_block(struct qcow2 *q, uint64_t r, struct qcow2_refblock **block) MB_MUST_CHECK;
int qcow2_get_block(struct qcow2 *q, uint64_t r, struct qcow2_refblock **block) MB_MUST_CHECK;

/* Count n clusters in a row, tables to be, where nothing is counted yet, however many; the rest as qcow2_claim(). */
int qcow2_claim_behind(struct qcow2 *q, uint64_t n, uint64_t *first) MB_MUST_CHECK;

/* The clusters become part of the file and read as zeros. */
int qcow2_zero_clusters(struct qcow2 *q, uint64_t first, uint64_t count) MB_MUST_CHECK;

/* ---- bk-qcow2-refcount.c; all under the lock ------------------------------------------ */

/* How wide counts are and how many a block has, in rw. 0 or -errno with err. */
int qcow2_read_widths(const struct qcow2 *q, const struct qcow2_header *h, struct qcow2_rw *rw,
                      struct bk_err *err) MB_MUST_CHECK;
/* Set count i of a block. */
void qcow2_put_count(const struct qcow2_rw *rw, uint8_t *data, uint64_t i, uint64_t count);

/* The same in a block that is in memory, and note that the file has another one. */
void qcow2_set_count(struct qcow2_rw *rw, struct qcow2_refblock *b, uint64_t i, uint64_t count);
/* The file has bytes [from, to) of the block otherwise. */
void qcow2_mark_block(struct qcow2_rw *rw, struct qcow2_refblock *b, uint64_t from, uint64_t to);
/* For the journal: the counts of n clusters from i on changed. */
void qcow2_record_counts(struct qcow2 *q, const struct qcow2_refblock *b, uint64_t i, uint64_t n);

/* Find 1 to max clusters in a row that are free, count them, make them zeros and part of the
 * file. 0 with the run; or as qcow2_get_block(). */
int qcow2_claim(struct qcow2 *q, uint64_t max, struct qcow2_run *run) MB_MUST_CHECK;

/* The same with n clusters, tables to be. */
int qcow2_claim_row(struct qcow2 *q, uint64_t n, uint64_t *first) MB_MUST_CHECK;

/* One reference less to each cluster of the run; calls freed for those that are free now. */
int qcow2_unref(struct qcow2 *q, const struct qcow2_run *run,
                void (*freed)(struct qcow2 *q, uint64_t first, uint64_t count)) MB_MUST_CHECK;

/* ---- bk-qcow2-alloc.c; all under the lock ---------------------------------------------- */

/* 1 to max clusters in a row out of the reserve. 0 or as qcow2_claim(). */
int qcow2_take(struct qcow2 *q, uint64_t max, uint64_t *first, uint64_t *count) MB_MUST_CHECK;

/* Count clusters ahead, as many as the time since the last commit took. */
int qcow2_fill_reserve(struct qcow2 *q) MB_MUST_CHECK;
void qcow2_empty_reserve(struct qcow2 *q);

/* An entry that was replaced needs its clusters no more. Out of memory they are lost, not freed. */
void qcow2_drop_entry(struct qcow2 *q, uint64_t entry);
void qcow2_drop(struct qcow2 *q, uint64_t first, uint64_t count);

/* Move all of from behind what to has. */
void qcow2_move_runs(struct qcow2_runs *to, struct qcow2_runs *from);

/* After a commit: begin or go on with the grace period, free what is due. */
void qcow2_free_dropped(struct qcow2 *q);

/* Every operation but a flush is between these two; not under the lock. */
void qcow2_enter(struct qcow2 *q, struct bk_io *io);
void qcow2_leave(struct qcow2 *q, struct bk_io *io);

/* ---- bk-qcow2-write.c ------------------------------------------------------------------ */

void qcow2_write(struct bk_image *image, struct bk_io *io);

/*
 * Make place for the beginning of io, whose cluster cannot be written in
 * place, and write it: the request's data, or, when zeros, none.  BK_DONE:
 * go on with what is left, or with io->xfer.err; BK_PENDING: io->step() does.
 */
enum bk_status qcow2_allocate(struct qcow2 *q, struct bk_io *io, bool zeros) MB_MUST_CHECK;

/* An allocation that is about a guest cluster of [first, first + count), the first of them. Under the lock. */
struct bk_io *qcow2_find_running(struct qcow2 *q, uint64_t first, uint64_t count);

/* Go on with io->step() when other has ended. Under the lock. */
enum bk_status qcow2_wait_for(struct bk_io *io, struct bk_io *other) MB_MUST_CHECK;

/* The table for guest cluster index of a changeable L2 table, made or copied if need be: 0,
 * -EBUSY when a commit has to come first, or -errno. Under the lock. */
int qcow2_l2_for_change(struct qcow2 *q, uint64_t l1_index, struct qcow2_l2 **slot) MB_MUST_CHECK;

/* The slot keeps its table until it is unpinned. Under the lock. */
void qcow2_l2_pin(struct qcow2 *q, struct qcow2_l2 *slot, int by);

/* Replace entry i of the table, and let go of what the old one pointed to. Under the lock. */
void qcow2_l2_replace(struct qcow2 *q, struct qcow2_l2 *slot, uint64_t i, uint64_t entry);

/* ---- bk-qcow2-zero.c ------------------------------------------------------------------- */

void qcow2_discard(struct bk_image *image, struct bk_io *io);
void qcow2_zero(struct bk_image *image, struct bk_io *io);

/* ---- bk-qcow2-grow.c ------------------------------------------------------------------- */

int qcow2_grow(struct bk_image *image, uint64_t size, struct bk_err *err) MB_MUST_CHECK;

/* ---- bk-qcow2-cow.c -------------------------------------------------------------------- */

/*
 * Give the clusters being allocated for io what they keep of what is there now.  Little data of io is
 * written with it: its segments are consumed and io->qcow2.zeros is set then.  BK_DONE, with
 * io->xfer.err; or BK_PENDING: done() will be called.
 */
enum bk_status qcow2_copy_kept(struct qcow2 *q, struct bk_io *io, void (*done)(struct bk_xfer *x)) MB_MUST_CHECK;

/* ---- bk-qcow2-flush.c ------------------------------------------------------------------- */

void qcow2_flush(struct bk_image *image, struct bk_io *io);

/* Go on with io->step() after a commit. Under the lock. */
enum bk_status qcow2_await_commit(struct qcow2 *q, struct bk_io *io) MB_MUST_CHECK;

/* Have committed what there is now. Under the lock, which is let go of meanwhile. 0 or -errno. Blocks. */
int qcow2_commit_now(struct qcow2 *q) MB_MUST_CHECK;

/* io has ended: commit first if that is needed, then tell. Not under the lock. */
void qcow2_end(struct qcow2 *q, struct bk_io *io);

/* ---- bk-qcow2-commit.c ------------------------------------------------------------------ */

/*
 * Entries of the slot were changed for io.  Where the process may be replaced
 * while the guest goes on, they have to outlive it before the guest is told.
 * They do in the journal.  Without one (eager) they are written at once if
 * nothing has to be on the disk before them.  Otherwise, or when the journal is
 * full, io->qcow2.commit asks for a commit at the end of io.  Under the lock.
 */
void qcow2_keep(struct qcow2 *q, struct qcow2_l2 *slot, struct bk_io *io);

/* There is something that a flush needs a commit for. Under the lock. */
bool qcow2_needs_commit(const struct qcow2 *q);

/* A commit on this thread. Under the lock, which is let go of meanwhile. */
int qcow2_commit(struct qcow2 *q) MB_MUST_CHECK;
/* Forget one that failed. */
void qcow2_commit_free(struct qcow2_rw *rw);

/* Write the counts as they are now, in no order with anything. Under the lock. */
int qcow2_write_counts(struct qcow2 *q) MB_MUST_CHECK;

/* Write to the file as it is; blocks. 0 or -errno. */
int qcow2_write_at(struct qcow2 *q, uint64_t offset, void *data, size_t len) MB_MUST_CHECK;

/* ---- bk-qcow2-journal.c ----------------------------------------------------------------- */

/* Use the memory file fd (a memfd, empty or of a former process; stays the caller's) as the journal of
 * the image and bring what it has into the file. 1 when that was something (tables that were read
 * before are not right), 0, or -errno with err. */
int qcow2_journal_open(struct qcow2 *q, int fd, struct bk_err *err) MB_MUST_CHECK;
void qcow2_journal_free(struct qcow2_journal *j);

/* The word at offset of the file has another value in memory. Without a journal nothing. Under the lock,
 * like all that follow. */
void qcow2_journal_add(struct qcow2 *q, enum qcow2_stage stage, uint64_t offset, uint64_t word);
/* The same of n words that follow one another and make sense only together: all of them are recorded, or none. */
void qcow2_journal_add_words(struct qcow2 *q, enum qcow2_stage stage, uint64_t offset, const uint64_t *words,
                             unsigned n);

/* What was recorded last is not safe without a commit, or one is due. */
bool qcow2_journal_wants_commit(struct qcow2_journal *j);

/* A commit is about to begin: what it has and the journal has not is no longer in the way. 0 or -errno. */
int qcow2_journal_make_way(struct qcow2 *q) MB_MUST_CHECK;

/* A commit begins: what is recorded from here on is not about it. It has succeeded. NULL is allowed. */
void qcow2_journal_turn(struct qcow2_journal *j);
void qcow2_journal_retire(struct qcow2_journal *j);

#endif

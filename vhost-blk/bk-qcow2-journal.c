/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The journal: memory outside of the process that has every changed word of
 * the image's tables which the file may not have yet.  The death of the process
 * loses neither this memory nor what it wrote to the file; so whoever opens the
 * image next writes the words to the file, and has all that the guest was told
 * is done.  That is why no operation has to wait for a commit.  A power cut
 * takes the journal along, and the file is as the last commit left it.
 *
 * The memory, in the host's byte order:
 *
 *   0     magic  8 format (4 bytes)  12 records per half (4)  16 device and
 *   24    inode of the image  32 two halves: number, records in use
 *   64    for each half: 1 if it does not have all records it should have
 *   4096  the records of the first half, then those of the second
 *
 * An empty file gets DEFAULT_RECORDS per half; one that has a size as many as fit.
 * A record is two words: the offset in the file (a multiple of 8) plus the stage
 * of a commit (enum qcow2_stage) that the table belongs to, and the value.  It
 * counts once the number of records in use says so.  A commit starts with the
 * other half, and when it has succeeded the first one is emptied: it is about
 * what the file has.
 *
 * Order.  A record is made when the table changes in memory, so what an entry
 * needs (counts, tables) was recorded before it, and its data was written
 * before.  Any beginning of the records is a state that the image can be in;
 * that also holds when a half is full: no further record gets into it, and
 * operations wait for a commit again.  That commit has more than the half, which
 * must not be replayed over it: so the half is brought into the file before, and
 * emptied, and what is recorded meanwhile in the other half counts for nothing
 * until the commit has succeeded, as it comes after records that are missing.
 *
 * Nothing here is trusted: a journal that does not belong to the image, or
 * leads out of the file or to other fields of the header than those that change, is refused.  The tables are checked
 * afterwards, like those of any image.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-io.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

#define MAGIC UINT64_C(0x6a32776f63716273)
#define FORMAT 1u
#define DEFAULT_RECORDS 65536u          /* per half */
#define MIN_RECORDS 16u
#define MAX_RECORDS (1u << 24)
#define STAGE_MASK UINT64_C(7)
#define MAX_WORDS 128u                  /* written together */
#define RECORDS_AT 4096u

struct record {
    uint64_t where;
    uint64_t word;
};

struct half {
    _Atomic(uint64_t) number;           /* the higher one is the later */
    _Atomic(uint64_t) used;
};

struct memory {
    uint64_t magic;
    uint32_t format;
    uint32_t records;
    uint64_t device, inode;
    struct half half[2];
    _Atomic(uint64_t) lost[2];
    uint8_t padding[RECORDS_AT - 80];
    struct record record[];
};
_Static_assert(offsetof(struct memory, record) == RECORDS_AT, "the layout of the journal");

struct qcow2_journal {
    struct memory *memory;
    size_t size;
    uint64_t records;                   /* per half */
    unsigned half;                      /* that gets the records */
    bool full;                          /* it does not have them all */
    bool gap;                           /* nor has the one before, whose commit has not succeeded */
    bool asked;                         /* for a commit */
};

/* ---- opening ------------------------------------------------------------------------------- */

/* Something that does not shrink beneath us, and does not survive a power cut; as large as told. */
static int
prepare_fd(int fd, const struct qcow2 *q, uint64_t *size, struct bk_err *err)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW;
    int have = fcntl(fd, F_GET_SEALS);
    struct stat st;

    if (have < 0 || fstat(fd, &st) < 0)
        return bk_fail(err, -EINVAL, "the journal of \"%s\" is not a memory file", q->file->path);
    *size = st.st_size ? (uint64_t)st.st_size : RECORDS_AT + 2 * DEFAULT_RECORDS * sizeof(struct record);
    if (st.st_size == 0 && ftruncate(fd, (off_t)*size) < 0)
        return bk_fail(err, -errno, "the journal of \"%s\": %s", q->file->path, strerror(errno));
    if (*size < RECORDS_AT + 2 * MIN_RECORDS * sizeof(struct record) ||
        *size > RECORDS_AT + 2 * MAX_RECORDS * sizeof(struct record))
        return bk_fail(err, -EINVAL, "the journal of \"%s\" is too small or too large", q->file->path);
    if ((have & seals) != seals && fcntl(fd, F_ADD_SEALS, seals) < 0)
        return bk_fail(err, -errno, "the journal of \"%s\" cannot be sealed: %s", q->file->path, strerror(errno));
    return 0;
}

static int
check_header(struct qcow2_journal *j, const struct qcow2 *q, struct bk_err *err)
{
    struct memory *m = j->memory;
    struct stat st;

    if (fstat(q->file->fd, &st) < 0)
        return bk_fail(err, -errno, "\"%s\": %s", q->file->path, strerror(errno));
    if (m->magic == 0) {
        m->format = FORMAT;
        m->records = (uint32_t)j->records;
        m->device = st.st_dev;
        m->inode = st.st_ino;
        __atomic_store_n(&m->magic, MAGIC, __ATOMIC_RELEASE);
    }
    if (m->magic != MAGIC || m->format != FORMAT || m->records != j->records)
        return bk_fail(err, -EINVAL, "the journal of \"%s\" is of another version", q->file->path);
    if (m->device != st.st_dev || m->inode != st.st_ino)
        return bk_fail(err, -EINVAL, "the journal of \"%s\" belongs to another image", q->file->path);
    return 0;
}

static struct record *
half_records(const struct qcow2_journal *j, unsigned half)
{
    return j->memory->record + half * j->records;
}

/* ---- replaying ------------------------------------------------------------------------------ */

/* Copy what the halves have, the earlier one first. */
static int
take_records(const struct qcow2_journal *j, struct record **records, size_t *n)
{
    struct memory *m = j->memory;
    unsigned first = atomic_load(&m->half[1].number) < atomic_load(&m->half[0].number);
    uint64_t used[2] = {atomic_load(&m->half[first].used), atomic_load(&m->half[!first].used)};

    *records = NULL;
    *n = 0;
    if (used[0] > j->records || used[1] > j->records)
        return -EINVAL;
    if (atomic_load(&m->lost[first]))
        used[1] = 0;
    if (used[0] + used[1] == 0)
        return 0;
    *n = used[0] + used[1];
    *records = malloc(*n * sizeof(**records));
    if (!*records)
        return -ENOMEM;
    memcpy(*records, half_records(j, first), used[0] * sizeof(**records));
    memcpy(*records + used[0], half_records(j, !first), used[1] * sizeof(**records));
    return 0;
}

static bool
is_possible(const struct qcow2 *q, const struct record *r)
{
    uint64_t stage = r->where & STAGE_MASK, offset = r->where & ~STAGE_MASK;

    if (stage >= N_STAGES || !mb_range_within(offset, 8, q->file->size))
        return false;
    if (stage == STAGE_REFTABLE && offset >= QCOW2_HEADER_REFTABLE &&
        offset < QCOW2_HEADER_REFTABLE + QCOW2_REFTABLE_WORDS * 8)
        return true;
    if (stage == STAGE_L1 && offset >= QCOW2_HEADER_SIZE && offset < QCOW2_HEADER_SIZE + QCOW2_SIZE_WORDS * 8)
        return true;
    return offset >= q->cluster_size;
}

/* Write records that are about words in a row; returns how many. */
static size_t
write_some(const struct qcow2 *q, const struct record *r, size_t n, int *rc)
{
    uint64_t words[MAX_WORDS];
    size_t i = 0;

    do {
        words[i] = htobe64(r[i].word);
        i++;
    } while (i < MB_MIN(n, (size_t)MAX_WORDS) && r[i].where == r[i - 1].where + 8);
    *rc = mb_pwrite_full(q->file->fd, words, i * 8, (off_t)(r->where & ~STAGE_MASK));
    return i;
}

/* Each stage is on the disk before the next one, which may need it, is written. */
static int
write_records(struct qcow2 *q, const struct record *r, size_t n)
{
    int rc = bk_file_sync(q->file);

    for (uint64_t stage = 0; stage < N_STAGES && rc == 0; stage++) {
        for (size_t i = 0; i < n && rc == 0;) {
            if ((r[i].where & STAGE_MASK) == stage)
                i += write_some(q, r + i, n - i, &rc);
            else
                i++;
        }
        bk_file_dirtied(q->file);
        if (rc == 0)
            rc = bk_file_sync(q->file);
    }
    return rc;
}

/* The first half is the later one from here on. */
static void
empty(struct memory *m)
{
    atomic_store(&m->half[0].used, 0);
    atomic_store(&m->half[1].used, 0);
    atomic_store(&m->lost[0], 0);
    atomic_store(&m->lost[1], 0);
    atomic_store(&m->half[0].number, 1);
    atomic_store(&m->half[1].number, 0);
}

static int
replay(struct qcow2 *q, struct bk_err *err)
{
    mb_autofree struct record *records = NULL;
    size_t n;
    int rc = take_records(q->journal, &records, &n);

    for (size_t i = 0; i < n && rc == 0; i++) {
        if (!is_possible(q, &records[i]))
            rc = -EINVAL;
    }
    if (rc == -EINVAL)
        return bk_fail(err, rc, "the journal of \"%s\" is damaged", q->file->path);
    if (rc == 0 && n > 0)
        rc = write_records(q, records, n);
    if (rc < 0)
        return bk_fail(err, rc, "the journal of \"%s\" cannot be replayed: %s", q->file->path, strerror(-rc));
    empty(q->journal->memory);
    return n > 0;
}

int
qcow2_journal_open(struct qcow2 *q, int fd, struct bk_err *err)
{
    uint64_t size = 0;
    void *map;
    int rc = prepare_fd(fd, q, &size, err);

    if (rc < 0)
        return rc;
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    q->journal = map == MAP_FAILED ? NULL : calloc(1, sizeof(*q->journal));
    if (!q->journal) {
        if (map != MAP_FAILED)
            munmap(map, size);
        return bk_fail(err, -ENOMEM, "the journal of \"%s\": out of memory", q->file->path);
    }
    q->journal->memory = map;
    q->journal->size = size;
    q->journal->records = (size - RECORDS_AT) / (2 * sizeof(struct record));
    rc = check_header(q->journal, q, err);
    return rc < 0 ? rc : replay(q, err);
}

void
qcow2_journal_free(struct qcow2_journal *j)
{
    if (!j)
        return;
    munmap(j->memory, j->size);
    free(j);
}

/* ---- recording; under the lock ----------------------------------------------------------------- */

void
qcow2_journal_add_words(struct qcow2 *q, enum qcow2_stage stage, uint64_t offset, const uint64_t *words, unsigned n)
{
    struct qcow2_journal *j = q->journal;
    struct half *half;
    uint64_t used;

    if (!j || j->full)
        return;
    half = &j->memory->half[j->half];
    used = atomic_load_explicit(&half->used, memory_order_relaxed);
    if (used + n > j->records) {
        j->full = true;
        atomic_store(&j->memory->lost[j->half], 1);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        half_records(j, j->half)[used + i] = (struct record){(offset + i * 8) | stage, words[i]};
    atomic_store_explicit(&half->used, used + n, memory_order_release);
}

void
qcow2_journal_add(struct qcow2 *q, enum qcow2_stage stage, uint64_t offset, uint64_t word)
{
    qcow2_journal_add_words(q, stage, offset, &word, 1);
}

bool
qcow2_journal_wants_commit(struct qcow2_journal *j)
{
    bool ask = !j->asked && atomic_load(&j->memory->half[j->half].used) >= j->records / 4 * 3;

    j->asked |= ask;
    return j->full || j->gap || ask;
}

int
qcow2_journal_make_way(struct qcow2 *q)
{
    struct qcow2_journal *j = q->journal;
    struct half *half;
    int rc;

    if (!j || !j->full)
        return 0;
    half = &j->memory->half[j->half];
    rc = write_records(q, half_records(j, j->half), atomic_load(&half->used));
    if (rc == 0)
        atomic_store(&half->used, 0);
    return rc;
}

void
qcow2_journal_turn(struct qcow2_journal *j)
{
    uint64_t number;

    if (!j)
        return;
    number = atomic_load(&j->memory->half[j->half].number) + 1;
    j->gap = j->full;
    j->half = !j->half;
    j->full = j->asked = false;
    atomic_store(&j->memory->half[j->half].number, number);
}

void
qcow2_journal_retire(struct qcow2_journal *j)
{
    if (!j)
        return;
    atomic_store(&j->memory->half[!j->half].used, 0);
    atomic_store(&j->memory->lost[!j->half], 0);
    j->gap = false;
}

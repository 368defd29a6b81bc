/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of files that somebody has at hand, and settling what is charged
 * for one; see fs-quota-priv.h.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>

#include "fs-quota-priv.h"

int
fs_quota_statx(int fd, struct statx *stx)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, FS_QUOTA_STATX, stx) < 0 ? -errno : 0;
}

static uint64_t
tag_of(const struct statx *stx)
{
    uint64_t h = stx->stx_ino * UINT64_C(0x9e3779b97f4a7c15);

    /* The time of birth tells one file from a later one of the same number. */
    if (stx->stx_mask & STATX_BTIME)
        h ^= ((uint64_t)stx->stx_btime.tv_sec << 30 ^ stx->stx_btime.tv_nsec) * UINT64_C(0xbf58476d1ce4e5b9);
    h ^= h >> 29;
    return h ? h : 1;
}

void
fs_quota_lock(struct fs_quota *q, struct fs_quota_stripe *stripe)
{
    if (pthread_mutex_lock(&stripe->lock) == EOWNERDEAD) {
        atomic_store(&q->map->doubtful, 1);
        pthread_mutex_consistent(&stripe->lock);
    }
}

static pthread_mutex_t *
lock_bucket(struct fs_quota *q, uint32_t bucket)
{
    struct fs_quota_stripe *stripe = &q->map->stripes[bucket % FS_QUOTA_STRIPES];

    fs_quota_lock(q, stripe);
    return &stripe->lock;
}

static uint32_t
bucket_of(uint32_t entry)
{
    return (entry - 1) / FS_QUOTA_WAYS;
}

/* The entry with that tag, or one that nobody uses, or NULL; bucket locked. */
static struct fs_quota_entry *
find_entry(struct fs_quota *q, uint32_t bucket, uint64_t tag)
{
    struct fs_quota_entry *unused = NULL;
    uint32_t i;

    for (i = 0; i < FS_QUOTA_WAYS; i++) {
        struct fs_quota_entry *e = &q->map->table[bucket * FS_QUOTA_WAYS + i];

        if (e->tag == tag)
            return e;
        if (e->refs == 0 && (!unused || e->tag == 0))
            unused = e;
    }
    return unused;
}

/* The entry is of a file that was removed; what has its number and time of birth now was made in the same tick of
 * the kernel's clock. */
static bool
is_left_over(const struct fs_quota_entry *e, const struct statx *stx)
{
    return e->gone && e->refs == 0 && stx->stx_nlink > 0;
}

uint32_t
fs_quota_entry_get(struct fs_quota *q, int fd)
{
    struct fs_quota_entry *e;
    struct statx stx;
    pthread_mutex_t *lock;
    uint32_t bucket;
    uint64_t tag;

    if (fs_quota_statx(fd, &stx) < 0 || !fs_quota_is_at(&q->place, &stx))
        return 0;
    tag = tag_of(&stx);
    bucket = (uint32_t)(tag % FS_QUOTA_BUCKETS);
    lock = lock_bucket(q, bucket);
    e = find_entry(q, bucket, tag);
    if (e && (e->tag != tag || is_left_over(e, &stx))) {
        /* Nobody is changing it, so what it has is what is charged. */
        if (fs_quota_statx(fd, &stx) == 0)
            *e = (struct fs_quota_entry){.tag = tag, .bytes = fs_quota_allocated(&stx),
                                         .first = fs_quota_allocated(&stx), .gone = stx.stx_nlink == 0};
        else
            e = NULL;
    }
    if (e)
        e->refs++;
    pthread_mutex_unlock(lock);
    return e ? (uint32_t)(e - q->map->table) + 1 : 0;
}

void
fs_quota_entry_put(struct fs_quota *q, uint32_t entry)
{
    pthread_mutex_t *lock = lock_bucket(q, bucket_of(entry));

    q->map->table[entry - 1].refs--;
    pthread_mutex_unlock(lock);
}

int64_t
fs_quota_entry_born(struct fs_quota *q, uint32_t entry, int fd)
{
    int64_t first = q->map->table[entry - 1].first;

    atomic_fetch_add(&q->map->used, first);
    fs_quota_entry_settle(q, entry, fd, false);
    return first;
}

void
fs_quota_entry_settle(struct fs_quota *q, uint32_t entry, int fd, bool gone)
{
    struct fs_quota_entry *e = &q->map->table[entry - 1];
    pthread_mutex_t *lock = lock_bucket(q, bucket_of(entry));
    int64_t done = atomic_exchange(&e->unsettled, 0), delta = 0, limbo_bytes = 0, limbo_inodes = 0;
    struct statx stx;

    if (fs_quota_statx(fd, &stx) == 0) {
        delta = fs_quota_allocated(&stx) - e->bytes;
        e->bytes += delta;
        if (stx.stx_nlink == 0 || (gone && S_ISDIR(stx.stx_mode))) {
            limbo_bytes = e->gone ? delta : e->bytes;
            limbo_inodes = e->gone ? 0 : 1;
            e->gone = 1;
        }
    }
    atomic_fetch_add(&q->map->used, delta - done);
    pthread_mutex_unlock(lock);
    if (limbo_bytes || limbo_inodes)
        fs_quota_limbo_add(q, fd, &stx, limbo_bytes, limbo_inodes);
}

void
fs_quota_entry_credit(struct fs_quota *q, uint32_t entry, int fd)
{
    struct fs_quota_entry *e = &q->map->table[entry - 1];
    struct statx stx;
    pthread_mutex_t *lock;
    bool less;

    if (fs_quota_statx(fd, &stx) < 0)
        return;
    lock = lock_bucket(q, bucket_of(entry));
    less = fs_quota_allocated(&stx) < e->bytes;
    pthread_mutex_unlock(lock);
    if (less)
        fs_quota_entry_settle(q, entry, fd, false);
}

void
fs_quota_entry_revive(struct fs_quota *q, uint32_t entry, int fd)
{
    struct fs_quota_entry *e = &q->map->table[entry - 1];
    pthread_mutex_t *lock = lock_bucket(q, bucket_of(entry));
    bool was_gone = e->gone;
    struct statx stx;

    e->gone = 0;
    pthread_mutex_unlock(lock);
    if (was_gone && fs_quota_statx(fd, &stx) == 0)
        fs_quota_limbo_forget(q, fd, &stx);
}

int64_t
fs_quota_entry_add(struct fs_quota *q, uint32_t entry, int64_t n)
{
    return atomic_fetch_add(&q->map->table[entry - 1].unsettled, n) + n;
}

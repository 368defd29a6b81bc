/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Servers in an account, see fs-quota-priv.h: the slot that each has, and how
 * all wait while one of them counts.
 *
 * A slot is held by an open-file-description lock on a byte behind the file's
 * end: a slot that is active and not locked belongs to somebody who was killed.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fs-quota-priv.h"
#include "mb-log.h"

#define SLOT_LOCKS_AT (INT64_C(1) << 40)

#define WAIT_NS 100000000       /* before looking whether who is waited for still lives */
#define MAX_WAITS 50u
#define COUNT_AGAIN_NS INT64_C(10000000000) /* at the earliest, when nothing is known to be wrong */
#define COUNT_SHARE 20          /* and counting takes at most one part of so many of the time */

static int64_t
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void
futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    struct timespec timeout = {.tv_nsec = WAIT_NS};

    syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0);
}

static void
futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- slots ------------------------------------------------------------------------------------ */

static struct flock
slot_lock(uint32_t no, short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = SLOT_LOCKS_AT + no, .l_len = 1};
}

/* Whoever has slot no (not ourselves) lives. */
static bool
slot_alive(const struct fs_quota *q, uint32_t no)
{
    struct flock fl = slot_lock(no, F_WRLCK);

    return q->slot && no == q->slot_no ? true : fcntl(q->fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

unsigned
fs_quota_others(const struct fs_quota *q, bool *killed)
{
    unsigned alive = 0;
    uint32_t i;

    *killed = false;
    for (i = 0; i < FS_QUOTA_SLOTS; i++) {
        if (!atomic_load(&q->map->slots[i].active) || (q->slot && i == q->slot_no))
            continue;
        if (slot_alive(q, i))
            alive++;
        else
            *killed = true;
    }
    return alive;
}

int
fs_quota_slot_take(struct fs_quota *q)
{
    uint32_t i;

    for (i = 0; i < FS_QUOTA_SLOTS; i++) {
        struct flock fl = slot_lock(i, F_WRLCK);
        struct fs_quota_slot *slot = &q->map->slots[i];

        if (fcntl(q->fd, F_OFD_SETLK, &fl) < 0)
            continue;
        if (atomic_exchange(&slot->active, 1))
            atomic_store(&q->map->doubtful, 1);
        atomic_store(&slot->inflight, 0);
        atomic_store(&slot->limbo_bytes, 0);
        atomic_store(&slot->limbo_inodes, 0);
        q->slot = slot;
        q->slot_no = i;
        return 0;
    }
    return -EUSERS;
}

void
fs_quota_slot_give(struct fs_quota *q)
{
    struct flock fl = slot_lock(q->slot_no, F_UNLCK);

    fcntl(q->fd, F_OFD_SETLK, &fl);
}

/* ---- in and out ------------------------------------------------------------------------------------ */

/* Operations of one thread may be nested. */
static __thread unsigned depth;

static void wait_until_counted(struct fs_quota *q);

static void
slot_leave(struct fs_quota *q)
{
    if (atomic_fetch_sub(&q->slot->inflight, 1) == 1 && atomic_load(&q->map->pause))
        futex_wake(&q->slot->inflight);
}

void
fs_quota_enter(struct fs_quota *q)
{
    if (depth++)
        return;
    for (;;) {
        atomic_fetch_add(&q->slot->inflight, 1);
        if (MB_LIKELY(!atomic_load(&q->map->pause)))
            return;
        slot_leave(q);
        wait_until_counted(q);
    }
}

void
fs_quota_leave(struct fs_quota *q)
{
    if (--depth == 0)
        slot_leave(q);
}

/* ---- counting ----------------------------------------------------------------------------------------- */

int
fs_quota_count(struct fs_quota *q)
{
    struct fs_quota_map *map = q->map;
    int64_t bytes, inodes, begin = now_ns();
    uint32_t i;
    int r = fs_quota_walk(q->root_fd, &bytes, &inodes);

    if (r < 0) {
        mb_warn_limited("quota: counting failed: %s", strerror(-r));
        return r;
    }
    for (i = 0; i < FS_QUOTA_SLOTS; i++) {
        struct fs_quota_slot *slot = &map->slots[i];

        if (!atomic_load(&slot->active))
            continue;
        if (slot_alive(q, i)) {
            bytes += atomic_load(&slot->limbo_bytes);
            inodes += atomic_load(&slot->limbo_inodes);
        } else {
            atomic_store(&slot->active, 0);
        }
    }
    memset(map->table, 0, sizeof(map->table));
    atomic_fetch_add(&map->epoch, 1);
    atomic_store(&map->used, bytes);
    atomic_store(&map->inodes, inodes);
    atomic_store(&map->doubtful, 0);
    atomic_store(&map->counted_ns, now_ns());
    atomic_store(&map->count_took_ns, now_ns() - begin);
    mb_debug("quota: counted %lld bytes in %lld files", (long long)bytes, (long long)inodes);
    return 0;
}

/* All others are out, or in for too long. */
static bool
wait_for_all(struct fs_quota *q)
{
    unsigned waits = 0;
    uint32_t i, n;

    for (i = 0; i < FS_QUOTA_SLOTS; i++) {
        struct fs_quota_slot *slot = &q->map->slots[i];

        while (atomic_load(&slot->active) && (n = atomic_load(&slot->inflight))) {
            if (!slot_alive(q, i))
                break;
            if (++waits > MAX_WAITS)
                return false;
            futex_wait(&slot->inflight, n);
        }
    }
    return true;
}

/* The pause is ours: count, end it. */
static bool
count_in_pause(struct fs_quota *q)
{
    bool done = false;

    if (wait_for_all(q))
        done = fs_quota_count(q) == 0;
    else
        mb_warn_limited("quota: another server of this directory does not let us count");
    atomic_store(&q->map->pause, 0);
    futex_wake(&q->map->pause);
    return done;
}

static void
wait_until_counted(struct fs_quota *q)
{
    uint32_t who;

    while ((who = atomic_load(&q->map->pause))) {
        futex_wait(&q->map->pause, who);
        /* Killed while it counted: it is for us now. */
        if (atomic_load(&q->map->pause) == who && !slot_alive(q, who - 1) &&
            atomic_compare_exchange_strong(&q->map->pause, &who, q->slot_no + 1))
            count_in_pause(q);
    }
}

bool
fs_quota_pause_and_count(struct fs_quota *q)
{
    uint32_t none = 0;

    if (atomic_compare_exchange_strong(&q->map->pause, &none, q->slot_no + 1))
        return count_in_pause(q);
    wait_until_counted(q);
    return true;
}

bool
fs_quota_count_again(struct fs_quota *q)
{
    int64_t since = now_ns() - atomic_load(&q->map->counted_ns);
    bool killed;

    if (depth)
        return false;
    if (!atomic_load(&q->map->doubtful) && since >= 0 &&
        (since < COUNT_AGAIN_NS || since < COUNT_SHARE * atomic_load(&q->map->count_took_ns))) {
        fs_quota_others(q, &killed);
        if (!killed)
            return false;
    }
    return fs_quota_pause_and_count(q);
}

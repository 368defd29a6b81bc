/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The account's file, see fs-quota-priv.h: finding it, taking a slot in it, and
 * having everybody wait while one counts.
 *
 * Opening and closing happen under flock() of the file.  A slot is held by an
 * open-file-description lock on a byte behind the file's end: a slot that is
 * active and not locked belongs to somebody who was killed.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-quota-priv.h"
#include "mb-cleanup.h"
#include "mb-log.h"

#define MAGIC "msbquota"
#define ACCOUNT_VERSION 1u
#define SLOT_LOCKS_AT (INT64_C(1) << 40)

#define WAIT_NS 100000000       /* before looking whether who is waited for still lives */
#define MAX_WAITS 50u
#define COUNT_AGAIN_NS INT64_C(10000000000) /* at the earliest, when nothing is known to be wrong */
#define COUNT_SHARE 20          /* and counting takes at most one part of so many of the time */

int
fs_quota_statx(int fd, struct statx *stx)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, FS_QUOTA_STATX, stx) < 0 ? -errno : 0;
}

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

/* Servers that live beside us; *killed: there are slots of others. */
static unsigned
count_slots(const struct fs_quota *q, bool *killed)
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

static int
take_slot(struct fs_quota *q)
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

static int
init_stripes(struct fs_quota_map *map)
{
    pthread_mutexattr_t attr;
    unsigned i;
    int r = pthread_mutexattr_init(&attr);

    if (r == 0)
        r = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    if (r == 0)
        r = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    for (i = 0; r == 0 && i < FS_QUOTA_STRIPES; i++) {
        memset(&map->stripes[i], 0, sizeof(map->stripes[i]));
        r = pthread_mutex_init(&map->stripes[i].lock, &attr);
    }
    pthread_mutexattr_destroy(&attr);
    return -r;
}

/* Nobody is inside: put the truth into the account. */
static int
count_now(struct fs_quota *q)
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
        done = count_now(q) == 0;
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

static bool
pause_and_count(struct fs_quota *q)
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
        count_slots(q, &killed);
        if (!killed)
            return false;
    }
    return pause_and_count(q);
}

/* ---- opening --------------------------------------------------------------------------------------------- */

static int
open_file(struct fs_quota *q, const char *path, bool create)
{
    struct stat st;

    q->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
    if (q->fd < 0)
        return -errno;
    if (flock(q->fd, LOCK_EX) < 0 || fstat(q->fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    /* Wholly allocated, so that writing to the map cannot fail later. */
    if ((uint64_t)st.st_size < sizeof(struct fs_quota_map)) {
        int r = posix_fallocate(q->fd, 0, sizeof(struct fs_quota_map));

        if (r != 0)
            return -r;
    }
    q->map = mmap(NULL, sizeof(struct fs_quota_map), PROT_READ | PROT_WRITE, MAP_SHARED, q->fd, 0);
    if (q->map == MAP_FAILED) {
        q->map = NULL;
        return -errno;
    }
    return 0;
}

static bool
is_ours(const struct fs_quota_map *map, const struct statx *root)
{
    return memcmp(map->magic, MAGIC, sizeof(map->magic)) == 0 && map->version == ACCOUNT_VERSION &&
           map->size == sizeof(*map) && map->ino == root->stx_ino &&
           map->btime_sec == (uint64_t)root->stx_btime.tv_sec && map->btime_nsec == root->stx_btime.tv_nsec;
}

/* The file is locked: be the first, or join. */
static int
join(struct fs_quota *q, const struct statx *root, bool recount)
{
    struct fs_quota_map *map = q->map;
    bool killed, ours = is_ours(map, root);
    int r;

    if (count_slots(q, &killed) > 0) {
        if (!ours)
            return -EBUSY;
        r = take_slot(q);
        if (r == 0 && (killed || atomic_load(&map->doubtful)))
            pause_and_count(q);
        return r;
    }
    if (!ours || !atomic_load(&map->clean)) {
        memset(map, 0, sizeof(*map));
        recount = true;
    }
    memcpy(map->magic, MAGIC, sizeof(map->magic));
    map->version = ACCOUNT_VERSION;
    map->size = sizeof(*map);
    map->ino = root->stx_ino;
    map->btime_sec = (uint64_t)root->stx_btime.tv_sec;
    map->btime_nsec = root->stx_btime.tv_nsec;
    /* On the disk, too, before anything changes. */
    atomic_store(&map->clean, 0);
    if (msync(map, sizeof(*map), MS_SYNC) < 0)
        return -errno;
    atomic_store(&map->pause, 0);
    memset(map->slots, 0, sizeof(map->slots));
    memset(map->table, 0, sizeof(map->table));
    r = init_stripes(map);
    if (r == 0)
        r = take_slot(q);
    return r == 0 && (recount || atomic_load(&map->doubtful)) ? count_now(q) : r;
}

static uint32_t
block_size(int fd)
{
    struct statfs st;

    /* Where the size is unusual (a network filesystem's transfer size), a page is what is allocated. */
    return fstatfs(fd, &st) == 0 && st.f_bsize >= 512 && st.f_bsize <= 65536 ? (uint32_t)st.f_bsize : 4096;
}

static int
open_account(struct fs_quota *q, const struct fs_quota_config *config, char *err)
{
    char path[PATH_MAX];
    struct statx root;
    int r = fs_quota_statx(q->root_fd, &root);

    if (r < 0)
        return fs_fail(err, r, "quota");
    q->place = fs_quota_place_of(&root);
    r = snprintf(path, sizeof(path), "%s/%x-%llu.quota", config->dir, root.stx_dev_major << 20 | root.stx_dev_minor,
                 (unsigned long long)root.stx_ino);
    if (r < 0 || (size_t)r >= sizeof(path))
        return fs_fail(err, -ENAMETOOLONG, "quota account in '%s'", config->dir);
    r = open_file(q, path, config->bytes || config->inodes);
    if (r == -ENOENT && !config->bytes && !config->inodes)
        return 1;
    if (r == 0)
        r = join(q, &root, config->recount);
    if (q->fd >= 0)
        flock(q->fd, LOCK_UN);
    if (r == -EBUSY)
        return fs_fail(err, r, "quota account '%s' is used by another version of this program", path);
    if (r == 0)
        r = fs_quota_limbo_new(q);
    return r < 0 ? fs_fail(err, r, "quota account '%s'", path) : 0;
}

int
fs_quota_open(struct fs *fs, const struct fs_quota_config *config, int root_fd, struct fs_quota **quota, char *err)
{
    struct fs_quota *q;
    int r;

    *quota = NULL;
    if (!config->dir)
        return 0;
    q = calloc(1, sizeof(*q));
    if (!q)
        return fs_fail(err, -ENOMEM, "quota");
    *q = (struct fs_quota){
        .fs = fs,
        .fd = -1,
        .root_fd = root_fd,
        .bytes = config->bytes ? config->bytes : UINT64_MAX,
        .inodes = config->inodes ? config->inodes : UINT64_MAX,
        .block = block_size(root_fd),
    };
    r = open_account(q, config, err);
    if (r != 0) {
        fs_quota_close(q);
        return r < 0 ? r : 0;
    }
    *quota = q;
    return 0;
}

/* The last one leaves the account in order. */
static void
leave_account(struct fs_quota *q)
{
    struct fs_quota_map *map = q->map;
    struct flock fl = slot_lock(q->slot_no, F_UNLCK);
    bool killed;

    flock(q->fd, LOCK_EX);
    atomic_store(&q->slot->active, 0);
    if (count_slots(q, &killed) == 0 && !killed && !atomic_load(&map->doubtful) &&
        msync(map, sizeof(*map), MS_SYNC) == 0) {
        atomic_store(&map->clean, 1);
        msync(map, sizeof(*map), MS_SYNC);
    }
    fcntl(q->fd, F_OFD_SETLK, &fl);
    flock(q->fd, LOCK_UN);
}

void
fs_quota_close(struct fs_quota *q)
{
    if (!q)
        return;
    /* What is still there of removed files is somebody else's to hold, and nobody's to credit. */
    if (!fs_quota_limbo_free(q))
        atomic_store(&q->map->doubtful, 1);
    if (q->slot)
        leave_account(q);
    if (q->map)
        munmap(q->map, sizeof(*q->map));
    mb_close(q->fd);
    free(q);
}

unsigned
fs_quota_fds(const struct fs_quota *q, int *fds)
{
    if (!q)
        return 0;
    fds[0] = q->fd;
    fds[1] = q->root_fd;
    fs_quota_limbo_fds(q, fds + 2);
    return FS_QUOTA_FDS;
}

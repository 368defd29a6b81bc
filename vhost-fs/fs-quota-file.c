/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The account's file, see fs-quota-priv.h: finding it, joining those who use it
 * and leaving them.  Both happen under flock() of the file.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-quota-priv.h"
#include "mb-cleanup.h"

#define MAGIC "msbquota"
#define ACCOUNT_VERSION 1u

static int
init_stripes(struct fs_quota_stripe stripes[FS_QUOTA_STRIPES])
{
    pthread_mutexattr_t attr;
    unsigned i;
    int r = pthread_mutexattr_init(&attr);

    if (r == 0)
        r = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    if (r == 0)
        r = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    for (i = 0; r == 0 && i < FS_QUOTA_STRIPES; i++) {
        memset(&stripes[i], 0, sizeof(stripes[i]));
        r = pthread_mutex_init(&stripes[i].lock, &attr);
    }
    pthread_mutexattr_destroy(&attr);
    return -r;
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

    if (fs_quota_others(q, &killed) > 0) {
        if (!ours)
            return -EBUSY;
        r = fs_quota_slot_take(q);
        if (r == 0 && (killed || atomic_load(&map->doubtful)))
            fs_quota_pause_and_count(q);
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
    r = init_stripes(map->stripes);
    if (r == 0)
        r = init_stripes(map->names);
    if (r == 0)
        r = fs_quota_slot_take(q);
    return r == 0 && (recount || atomic_load(&map->doubtful)) ? fs_quota_count(q) : r;
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
    bool killed;

    flock(q->fd, LOCK_EX);
    atomic_store(&q->slot->active, 0);
    if (fs_quota_others(q, &killed) == 0 && !killed && !atomic_load(&map->doubtful) &&
        msync(map, sizeof(*map), MS_SYNC) == 0) {
        atomic_store(&map->clean, 1);
        msync(map, sizeof(*map), MS_SYNC);
    }
    fs_quota_slot_give(q);
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removed files that still take space, because a guest, another server or a
 * process of the host has them open.  inotify ends the watch of such a file when
 * the last of them let go (IN_IGNORED); a thread reads that and credits the
 * account.  A file that had several names says so for each of them that nobody
 * uses any more: while we have it ourselves, by whichever name, it is watched
 * again.  Where a watch cannot be had, the file is credited at once.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-path.h"
#include "fs-quota-priv.h"
#include "mb-cleanup.h"
#include "mb-log.h"

#define HASH 256u
#define GATHER_MS 10
#define PLENTY_BYTES (UINT64_C(64) << 20)
#define PLENTY_INODES 4096u

struct record {
    struct record *next;
    int wd;
    int64_t bytes, inodes;
    struct statx file;
};

struct fs_quota_limbo {
    int fd;                     /* inotify */
    int stop_fd;
    pthread_mutex_t lock;       /* guards the rest */
    pthread_t thread;
    bool started;
    unsigned n;
    struct record *hash[HASH];
};

int
fs_quota_limbo_new(struct fs_quota *q)
{
    struct fs_quota_limbo *l = calloc(1, sizeof(*l));

    if (!l)
        return -ENOMEM;
    pthread_mutex_init(&l->lock, NULL);
    l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (l->fd < 0)
        mb_warn("quota: no inotify instance (%m): files that are removed while in use are credited at once");
    q->limbo = l;
    return l->stop_fd < 0 ? -errno : 0;
}

void
fs_quota_limbo_fds(const struct fs_quota *q, int fds[2])
{
    fds[0] = q->limbo->fd;
    fds[1] = q->limbo->stop_fd;
}

static void
credit(struct fs_quota *q, int64_t bytes, int64_t inodes)
{
    atomic_fetch_sub(&q->map->used, bytes);
    atomic_fetch_sub(&q->map->inodes, inodes);
}

/* ---- events ------------------------------------------------------------------------------------- */

/* Take the record of a watch that has ended, or NULL. */
static struct record *
take_record(struct fs_quota_limbo *l, int wd)
{
    struct record **link, *record;

    pthread_mutex_lock(&l->lock);
    for (link = &l->hash[(unsigned)wd % HASH]; *link && (*link)->wd != wd;)
        link = &(*link)->next;
    record = *link;
    if (record) {
        *link = record->next;
        l->n--;
    }
    pthread_mutex_unlock(&l->lock);
    return record;
}

static struct record *get_record(struct fs_quota *q, int fd, const struct statx *file);

/* If the guest still has the file, and it still has no name: watch it on, through what we have of it. */
static bool
watch_on(struct fs_quota *q, const struct record *old)
{
    fs_auto_node struct fs_node_ref node = {q->fs, fs_node_find(q->fs, &old->file)};
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    struct record *record = NULL;
    struct statx stx;

    if (!node.node || !fs_node_fd_ready(q->fs, node.node, &fd))
        return false;
    /* Not with the lock held until the end: who is the last to let go of the file settles it. */
    pthread_mutex_lock(&q->limbo->lock);
    if (fs_quota_statx(fd.fd, &stx) == 0 && stx.stx_nlink == 0)
        record = get_record(q, fd.fd, &stx);
    if (record) {
        record->bytes += old->bytes;
        record->inodes += old->inodes;
    }
    pthread_mutex_unlock(&q->limbo->lock);
    return record != NULL;
}

static void
file_is_gone(struct fs_quota *q, int wd)
{
    struct record *record;

    /* First of all: somebody may be counting, and others want to add records then. */
    fs_quota_enter(q);
    record = take_record(q->limbo, wd);
    if (record && !watch_on(q, record)) {
        atomic_fetch_sub(&q->slot->limbo_bytes, record->bytes);
        atomic_fetch_sub(&q->slot->limbo_inodes, record->inodes);
        credit(q, record->bytes, record->inodes);
    }
    free(record);
    fs_quota_leave(q);
}

static void
read_events(struct fs_quota *q)
{
    _Alignas(struct inotify_event) char buf[4096];
    ssize_t len;

    while ((len = read(q->limbo->fd, buf, sizeof(buf))) > 0) {
        char *at = buf;

        while (at < buf + len) {
            const struct inotify_event *event = (const void *)at;

            /* IN_DELETE_SELF comes while the watch is still there: one set then would be the same, and be gone. */
            if (event->mask & IN_IGNORED)
                file_is_gone(q, event->wd);
            else if (event->mask & IN_Q_OVERFLOW)
                atomic_store(&q->map->doubtful, 1);
            at += sizeof(*event) + event->len;
        }
    }
}

/* Nobody misses what is credited a moment later. */
static bool
has_plenty(struct fs_quota *q)
{
    struct fs_quota_stat left;

    fs_quota_stat(q, &left);
    return (!left.have_bytes || left.bytes_free >= PLENTY_BYTES) &&
           (!left.have_inodes || left.inodes_free >= PLENTY_INODES);
}

/* Those that are gone; together, if that will do, as being woken for each takes as long as removing it. */
static void *
watch(void *data)
{
    struct fs_quota *q = data;
    struct pollfd fds[2] = {{.fd = q->limbo->stop_fd, .events = POLLIN}, {.fd = q->limbo->fd, .events = POLLIN}};

    while (!(fds[0].revents & POLLIN)) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        read_events(q);
        if (!(fds[0].revents & POLLIN) && has_plenty(q))
            poll(fds, 1, GATHER_MS);
    }
    return NULL;
}

/* ---- records -------------------------------------------------------------------------------------- */

/* The watch of the file, which is behind fd, and its record, or NULL. Lock held. */
static struct record *
get_record(struct fs_quota *q, int fd, const struct statx *file)
{
    struct fs_quota_limbo *l = q->limbo;
    struct fs_fd_path path = fs_path_of_fd(fd);
    struct record *record;
    int wd;

    /* A thread of its own, started late: after the process was confined. */
    if (l->fd >= 0 && !l->started)
        l->started = pthread_create(&l->thread, NULL, watch, q) == 0;
    if (l->fd < 0 || !l->started)
        return NULL;
    wd = inotify_add_watch(l->fd, path.s, IN_DELETE_SELF);
    if (wd < 0)
        return NULL;
    for (record = l->hash[(unsigned)wd % HASH]; record; record = record->next) {
        if (record->wd == wd)
            return record;
    }
    record = calloc(1, sizeof(*record));
    if (!record) {
        inotify_rm_watch(l->fd, wd);
        return NULL;
    }
    record->file = *file;
    record->wd = wd;
    record->next = l->hash[(unsigned)wd % HASH];
    l->hash[(unsigned)wd % HASH] = record;
    l->n++;
    return record;
}

void
fs_quota_limbo_add(struct fs_quota *q, int fd, const struct statx *file, int64_t bytes, int64_t inodes)
{
    struct fs_quota_limbo *l = q->limbo;
    struct record *record;

    pthread_mutex_lock(&l->lock);
    record = get_record(q, fd, file);
    if (record) {
        record->bytes += bytes;
        record->inodes += inodes;
        atomic_fetch_add(&q->slot->limbo_bytes, bytes);
        atomic_fetch_add(&q->slot->limbo_inodes, inodes);
    } else {
        credit(q, bytes, inodes);
    }
    pthread_mutex_unlock(&l->lock);
}

void
fs_quota_limbo_forget(struct fs_quota *q, int fd)
{
    struct fs_quota_limbo *l = q->limbo;
    struct record *record = NULL;
    struct statx stx;

    pthread_mutex_lock(&l->lock);
    if (l->n && fs_quota_statx(fd, &stx) == 0)
        record = get_record(q, fd, &stx);
    if (record) {
        atomic_fetch_sub(&q->slot->limbo_bytes, record->bytes);
        atomic_fetch_sub(&q->slot->limbo_inodes, record->inodes);
        record->bytes = 0;
        record->inodes = 0;
    }
    pthread_mutex_unlock(&l->lock);
}

bool
fs_quota_limbo_free(struct fs_quota *q)
{
    struct fs_quota_limbo *l = q->limbo;
    unsigned i, left = 0;

    if (!l)
        return true;
    if (l->started) {
        (void)!eventfd_write(l->stop_fd, 1);
        pthread_join(l->thread, NULL);
    }
    if (l->fd >= 0)
        read_events(q);
    for (i = 0; i < HASH; i++) {
        while (l->hash[i]) {
            struct record *record = l->hash[i];

            left += record->bytes != 0 || record->inodes != 0;
            l->hash[i] = record->next;
            free(record);
        }
    }
    mb_close(l->fd);
    mb_close(l->stop_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
    q->limbo = NULL;
    return left == 0;
}

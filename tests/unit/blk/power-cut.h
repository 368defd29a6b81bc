/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Power cuts at any moment.  The system calls that change one file are recorded while
 * something writes an image.  Then, for many moments, a disk is made that has
 * everything up to the last fdatasync before the moment, and of what came after it
 * some sectors and not others; whether that is an image to be content with is
 * the test's to say.  The writer can also be killed right before such a call.
 *
 * MSB_TEST_LONG=1 tries every moment, MSB_TEST_SEED chooses others.
 */
#ifndef POWER_CUT_H
#define POWER_CUT_H

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include "blk-test.h"

#define MAX_EVENTS 20000u
#define MAX_IMAGE (160u << 20)

static uint64_t seed;

__attribute__((unused)) static unsigned
pick(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(seed >> 33) % n;
}

/* ---- the recorder ---------------------------------------------------------------- */

enum { WRITE, PUNCH, RESIZE, SYNC };

struct event {
    int type;
    uint64_t offset, len;
    uint8_t *data;
};

static struct event events[MAX_EVENTS];
static unsigned n_events;
static int recorded_fd = -1;
static unsigned closely_from = UINT32_MAX, closely_to; /* events among which every moment is tried */
static unsigned kill_at = UINT32_MAX; /* the process dies instead of event */
static pthread_mutex_t recorder = PTHREAD_MUTEX_INITIALIZER;

static void
record(int type, uint64_t offset, uint64_t len, const struct iovec *iov, int n_iov)
{
    struct event *e = &events[n_events];

    if (n_events == MAX_EVENTS)
        abort();
    *e = (struct event){type, offset, len, NULL};
    if (iov) {
        uint64_t at = 0;

        e->data = malloc(len);
        for (int i = 0; i < n_iov && at < len; i++) {
            memcpy(e->data + at, iov[i].iov_base, MB_MIN(iov[i].iov_len, len - at));
            at += MB_MIN(iov[i].iov_len, len - at);
        }
    }
    n_events++;
}

/* For while others record. */
__attribute__((unused)) static unsigned
events_so_far(void)
{
    unsigned n;

    pthread_mutex_lock(&recorder);
    n = n_events;
    pthread_mutex_unlock(&recorder);
    return n;
}

/* A call that would be the next event. */
static void
may_die(int fd)
{
    if (fd == recorded_fd && n_events == kill_at)
        raise(SIGKILL);
}

static struct bk_file *amid; /* flushed before each small write */
__attribute__((unused)) static bool scarce; /* the host has no room for a third of the writes, many in a row */

/* With the lock. */
static bool
has_room(int fd)
{
    static unsigned n;

    return fd != recorded_fd || !scarce || n++ % 60 < 40;
}

/* These take the place of libc's for the whole program. */
ssize_t
pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    ssize_t rc;

    if (amid && iov[0].iov_len < 512 && bk_file_sync(amid) < 0)
        abort();
    pthread_mutex_lock(&recorder);
    may_die(fd);
    if (has_room(fd)) {
        rc = syscall(SYS_pwritev2, fd, iov, (long)n, (long)offset, 0L, (long)flags);
    } else {
        rc = -1;
        errno = ENOSPC;
    }
    if (fd == recorded_fd && rc > 0)
        record(WRITE, (uint64_t)offset, (uint64_t)rc, iov, n);
    pthread_mutex_unlock(&recorder);
    return rc;
}

ssize_t
pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    return pwritev2(fd, iov, n, offset, 0);
}

ssize_t
pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    struct iovec iov = {(void *)(uintptr_t)buf, len};

    return pwritev2(fd, &iov, 1, offset, 0);
}

int
fallocate(int fd, int mode, off_t offset, off_t len)
{
    int rc;

    pthread_mutex_lock(&recorder);
    may_die(fd);
    rc = (int)syscall(SYS_fallocate, fd, mode, offset, len);
    if (fd == recorded_fd && rc == 0)
        record(PUNCH, (uint64_t)offset, (uint64_t)len, NULL, 0);
    pthread_mutex_unlock(&recorder);
    return rc;
}

int
ftruncate(int fd, off_t size)
{
    int rc;

    pthread_mutex_lock(&recorder);
    may_die(fd);
    rc = (int)syscall(SYS_ftruncate, fd, size);
    if (fd == recorded_fd && rc == 0)
        record(RESIZE, (uint64_t)size, 0, NULL, 0);
    pthread_mutex_unlock(&recorder);
    return rc;
}

__attribute__((unused)) static bool sync_fails; /* once */

/* Nothing reaches the disk for the test's sake: the recording is the disk. */
int
fdatasync(int fd)
{
    if (sync_fails) {
        sync_fails = false;
        errno = EIO;
        return -1;
    }
    pthread_mutex_lock(&recorder);
    may_die(fd);
    if (fd == recorded_fd)
        record(SYNC, 0, 0, NULL, 0);
    pthread_mutex_unlock(&recorder);
    return 0;
}

/* ---- the disk after a cut ------------------------------------------------------------- */

struct disk {
    uint8_t *data;
    uint64_t size;
    uint64_t used;         /* what comes behind is zeros */
};

static void
resize(struct disk *d, uint64_t size)
{
    if (size > MAX_IMAGE)
        abort();
    if (size < d->used) {
        memset(d->data + size, 0, d->used - size);
        d->used = size;
    }
    d->size = size;
}

static void
copy_disk(struct disk *to, const struct disk *from)
{
    resize(to, from->used);
    memcpy(to->data, from->data, from->used);
    to->size = from->size;
    to->used = from->used;
}

/* Apply the event, or with torn only some sectors of it. */
static void
apply(struct disk *d, const struct event *e, bool torn)
{
    if (e->type == RESIZE)
        resize(d, e->offset);
    for (uint64_t at = 0; at < e->len && (e->type == WRITE || e->type == PUNCH);) {
        uint64_t n = MB_MIN(512 - (e->offset + at) % 512, e->len - at), end = e->offset + at + n;

        if (!torn || pick(2)) {
            if (end > d->size && e->type == WRITE)
                resize(d, end);
            if (e->type == WRITE) {
                memcpy(d->data + e->offset + at, e->data + at, n);
                d->used = MB_MAX(d->used, end);
            } else if (e->offset + at < d->size) {
                memset(d->data + e->offset + at, 0, MB_MIN(end, d->size) - (e->offset + at));
            }
        }
        at += n;
    }
}

typedef bool sound_func(const struct disk *d, unsigned c);

/* Cuts at event c; durable has everything before the last fdatasync, event s. How many are not sound. */
static unsigned
cut(const struct disk *durable, struct disk *d, unsigned s, unsigned c, sound_func *is_sound)
{
    unsigned bad = 0;

    for (unsigned way = 0; way < 3; way++) {
        copy_disk(d, durable);
        for (unsigned i = s; i < c; i++) {
            if (way == 0 || (way == 1 && pick(2)))
                apply(d, &events[i], false);
            else if (way == 2)
                apply(d, &events[i], true);
        }
        bad += !is_sound(d, c);
    }
    return bad;
}

/* At about so many moments; durable is what there was before the first event. How many cuts are not sound. */
__attribute__((unused)) static unsigned
cut_everywhere(struct disk *durable, unsigned moments, sound_func *is_sound)
{
    unsigned every = getenv("MSB_TEST_LONG") ? 1 : n_events / moments + 1, bad = 0, s = 0;
    struct disk d = {.data = calloc(1, MAX_IMAGE)};

    for (unsigned c = 0; c <= n_events && bad < 3; c++) {
        if (c % every == every - 1 || c == n_events || (c >= closely_from && c <= closely_to))
            bad += cut(durable, &d, s, c, is_sound);
        if (c == n_events || events[c].type != SYNC)
            continue;
        for (; s <= c; s++)
            apply(durable, &events[s], false);
    }
    free(d.data);
    return bad;
}

static void
forget_events(void)
{
    for (unsigned i = 0; i < n_events; i++)
        free(events[i].data);
    n_events = 0;
}

/* The disk as a file. */
__attribute__((unused)) static bool
store(const struct disk *d, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, d->data, d->used) == (ssize_t)d->used && ftruncate(fd, (off_t)d->size) == 0;

    mb_close(fd);
    return written;
}

__attribute__((unused)) static void
load(const char *path, uint8_t *buf, uint64_t max, uint64_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, max);

    if (n < 0)
        abort();
    *size = (uint64_t)n;
    close(fd);
}

#endif

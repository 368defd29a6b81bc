/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks on files.  Waiting with a deadline is done on events: a holder's close
 * (or death) makes the kernel say so through inotify.  The close is announced
 * a moment before the lock itself is dropped, so the wait also wakes up now
 * and then (RECHECK_MS) to try by itself.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-state.h"

#define RECHECK_MS 20

struct _MsbLock {
    int fd;
};

static int
try_lock(int fd, MsbLockMode mode, gboolean wait)
{
    struct flock fl = {
        .l_type = mode == MSB_LOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK,
        .l_whence = SEEK_SET,
    };
    int r;

    do {
        r = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &fl);
    } while (r < 0 && errno == EINTR);
    if (r == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

/* The path may have been removed and made anew while we waited: then the lock says nothing. */
static gboolean
still_the_file(const char *path, int fd)
{
    struct stat ours, theirs;

    return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
           ours.st_ino == theirs.st_ino;
}

static int
wait_for_lock(const char *path, int fd, MsbLockMode mode, gint64 deadline)
{
    mb_autofd int in = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    char events[4096];
    int r;

    if (in >= 0)
        (void)inotify_add_watch(in, path, IN_CLOSE | IN_DELETE_SELF | IN_ATTRIB);
    for (;;) {
        struct pollfd pfd = { .fd = in, .events = POLLIN };
        gint64 left = (deadline - g_get_monotonic_time() + 999) / 1000;

        r = try_lock(fd, mode, FALSE);
        if (r != -EAGAIN || !still_the_file(path, fd))
            return r == -EAGAIN ? -ESTALE : r;
        if (left <= 0)
            return -EAGAIN;
        if (poll(&pfd, 1, (int)MIN(left, RECHECK_MS)) > 0)
            (void)!read(in, events, sizeof events);
    }
}

static int
lock_once(const char *path, MsbLockMode mode, gint timeout_ms, gint64 deadline, int *out_fd)
{
    mb_autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    int r;

    if (fd < 0)
        return -errno;
    r = try_lock(fd, mode, timeout_ms < 0);
    if (r == -EAGAIN && timeout_ms > 0)
        r = wait_for_lock(path, fd, mode, deadline);
    if (r < 0)
        return r;
    if (!still_the_file(path, fd))
        return -ESTALE;
    *out_fd = mb_steal_fd(&fd);
    return 0;
}

MsbLock *
msb_lock_acquire(const char *path, MsbLockMode mode, gint timeout_ms, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)MAX(timeout_ms, 0) * 1000;
    MsbLock *lock;
    int fd = -1, r;

    do {
        r = lock_once(path, mode, timeout_ms, deadline, &fd);
    } while (r == -ESTALE);
    if (r == -EAGAIN) {
        if (timeout_ms > 0)
            msb_error_set(error, MSB_ERROR_TIMEOUT, "'%s' is still locked by another process after %d ms", path,
                          timeout_ms);
        else
            msb_error_set(error, MSB_ERROR_IN_USE, "'%s' is locked by another process", path);
        return NULL;
    }
    if (r < 0) {
        msb_error_set_errno(error, -r, "cannot lock '%s'", path);
        return NULL;
    }
    lock = g_new(MsbLock, 1);
    lock->fd = fd;
    return lock;
}

gboolean
msb_lock_is_held(const char *path)
{
    mb_autofd int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
    struct flock fl = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

int
msb_lock_get_fd(const MsbLock *lock)
{
    return lock->fd;
}

void
msb_lock_release(MsbLock *lock)
{
    if (!lock)
        return;
    close(lock->fd);
    g_free(lock);
}

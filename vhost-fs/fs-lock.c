/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GETLK, SETLK, SETLKW, INTERRUPT; see fs-lock.h.
 *
 * A waiting thread sits in fcntl() or flock() and is woken by a signal.  As a
 * signal may come just before the thread enters the call, it is sent until the
 * thread says that it is through.
 */
#include <config.h>

#include "fs-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-ops.h"
#include "fs-path.h"
#include "mb-cleanup.h"

#define WAKE_SIGNAL SIGUSR1
#define WAKE_AGAIN_NS 2000000
#define WAITER_STACK (64u * 1024)

struct fs_lock_owner {
    struct fs_lock_owner *next;
    struct fs *fs;
    atomic_uint refs;
    uint64_t owner;
    uint64_t fh;                /* the handle used last, under the node's lock */
    int fd;
};

struct fs_lock_waiter {
    struct fs_lock_waiter *next;
    struct fs *fs;
    struct fs_req *req;
    uint64_t unique;
    pthread_t thread;
    bool cancelled;             /* under locks->lock */
    struct fs_lock_owner *owner; /* POSIX: referenced */
    struct flock fl;
    struct fs_handle *handle;   /* flock: referenced */
    int flock_op;
};

static void
wake_handler(int sig)
{
    (void)sig;
}

int
fs_locks_init(struct fs_locks *locks, unsigned max_owners)
{
    struct sigaction sa = {.sa_handler = wake_handler};

    locks->max_owners = MB_MIN(max_owners, FS_LOCK_MAX_OWNERS);
    pthread_mutex_init(&locks->lock, NULL);
    pthread_cond_init(&locks->changed, NULL);
    sigemptyset(&sa.sa_mask);
    return sigaction(WAKE_SIGNAL, &sa, NULL) < 0 ? -errno : 0;
}

void
fs_locks_destroy(struct fs_locks *locks)
{
    pthread_cond_destroy(&locks->changed);
    pthread_mutex_destroy(&locks->lock);
}

/* ---- owners ------------------------------------------------------------------------------------- */

static void
owner_put(struct fs_lock_owner *owner)
{
    struct fs *fs = owner->fs;

    if (atomic_fetch_sub(&owner->refs, 1) != 1)
        return;
    mb_close(owner->fd);
    free(owner);
    pthread_mutex_lock(&fs->locks.lock);
    fs->locks.n_owners--;
    pthread_mutex_unlock(&fs->locks.lock);
}

static bool
owner_reserve(struct fs *fs)
{
    bool room;

    pthread_mutex_lock(&fs->locks.lock);
    room = fs->locks.n_owners < fs->locks.max_owners;
    if (room)
        fs->locks.n_owners++;
    pthread_mutex_unlock(&fs->locks.lock);
    return room;
}

/* With a reference, and from now on of the handle fh; the node's lock is held. */
static struct fs_lock_owner *
owner_find(struct fs_node *node, uint64_t owner, uint64_t fh)
{
    struct fs_lock_owner *o;

    for (o = node->lock_owners; o; o = o->next) {
        if (o->owner == owner) {
            atomic_fetch_add(&o->refs, 1);
            o->fh = fh;
            return o;
        }
    }
    return NULL;
}

static int
open_for_locks(struct fs *fs, struct fs_node *node, bool writable)
{
    fs_auto_fd struct fs_fd fd = FS_FD_NONE;
    int r = fs_node_fd(fs, node, &fd);

    if (r < 0)
        return r;
    return fs_path_reopen(fs, fd.fd, writable ? O_RDWR : O_RDONLY);
}

/* Find or make the owner. 0 or -errno. */
static int
owner_get(struct fs *fs, struct fs_handle *handle, uint64_t id, struct fs_lock_owner **ret)
{
    uint64_t fh = fs_slab_id(&handle->slot);
    struct fs_node *node = handle->node;
    struct fs_lock_owner *o, *mine;

    pthread_mutex_lock(fs_node_lock(fs, node));
    *ret = owner_find(node, id, fh);
    pthread_mutex_unlock(fs_node_lock(fs, node));
    if (*ret)
        return 0;
    if (!owner_reserve(fs))
        return -ENOLCK;
    mine = calloc(1, sizeof(*mine));
    if (!mine) {
        pthread_mutex_lock(&fs->locks.lock);
        fs->locks.n_owners--;
        pthread_mutex_unlock(&fs->locks.lock);
        return -ENOMEM;
    }
    mine->fs = fs;
    mine->owner = id;
    mine->fh = fh;
    atomic_store(&mine->refs, 2); /* the node's and the caller's */
    /* Of the widest access that can be had: it serves all later locks of this owner. */
    mine->fd = fs->config.read_only ? -EROFS : open_for_locks(fs, node, true);
    if (mine->fd < 0)
        mine->fd = open_for_locks(fs, node, false);
    if (mine->fd < 0) {
        int r = mine->fd;

        atomic_store(&mine->refs, 1);
        owner_put(mine);
        return r;
    }
    pthread_mutex_lock(fs_node_lock(fs, node));
    o = owner_find(node, id, fh);
    if (!o) {
        mine->next = node->lock_owners;
        node->lock_owners = mine;
    }
    pthread_mutex_unlock(fs_node_lock(fs, node));
    if (o) {
        atomic_store(&mine->refs, 1);
        owner_put(mine);
    }
    *ret = o ? o : mine;
    return 0;
}

void
fs_lock_drop_owner(struct fs *fs, struct fs_node *node, uint64_t owner)
{
    struct fs_lock_owner **link, *o = NULL;

    pthread_mutex_lock(fs_node_lock(fs, node));
    for (link = &node->lock_owners; *link; link = &(*link)->next) {
        if ((*link)->owner == owner) {
            o = *link;
            *link = o->next;
            break;
        }
    }
    pthread_mutex_unlock(fs_node_lock(fs, node));
    if (o)
        owner_put(o);
}

void
fs_lock_drop_handle(struct fs *fs, struct fs_node *node, uint64_t fh)
{
    struct fs_lock_owner **link, *dropped = NULL;

    pthread_mutex_lock(fs_node_lock(fs, node));
    for (link = &node->lock_owners; *link;) {
        struct fs_lock_owner *o = *link;

        if (o->fh != fh) {
            link = &o->next;
            continue;
        }
        *link = o->next;
        o->next = dropped;
        dropped = o;
    }
    pthread_mutex_unlock(fs_node_lock(fs, node));
    fs_lock_owners_free(dropped);
}

void
fs_lock_owners_free(struct fs_lock_owner *owners)
{
    while (owners) {
        struct fs_lock_owner *next = owners->next;

        owner_put(owners);
        owners = next;
    }
}

/* ---- waiting -------------------------------------------------------------------------------------- */

static bool
is_cancelled(struct fs_lock_waiter *w)
{
    bool cancelled;

    pthread_mutex_lock(&w->fs->locks.lock);
    cancelled = w->cancelled;
    pthread_mutex_unlock(&w->fs->locks.lock);
    return cancelled;
}

static int
wait_for_lock(struct fs_lock_waiter *w)
{
    int r;

    do {
        if (is_cancelled(w))
            return -EINTR;
        r = w->owner ? fcntl(w->owner->fd, F_OFD_SETLKW, &w->fl) : flock(w->handle->fd, w->flock_op);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static void
waiter_unlink(struct fs_lock_waiter *w)
{
    struct fs_locks *locks = &w->fs->locks;
    struct fs_lock_waiter **link;

    for (link = &locks->waiters; *link != w;)
        link = &(*link)->next;
    *link = w->next;
}

static void *
waiter_main(void *data)
{
    struct fs_lock_waiter *w = data;
    struct fs *fs = w->fs;
    sigset_t wake;
    int r;

    sigemptyset(&wake);
    sigaddset(&wake, WAKE_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
    r = wait_for_lock(w);
    pthread_mutex_lock(&fs->locks.lock);
    waiter_unlink(w);
    pthread_mutex_unlock(&fs->locks.lock);
    if (w->owner)
        owner_put(w->owner);
    if (w->handle)
        fs_handle_put(w->handle);
    fs_req_finish(w->req, r);
    free(w);
    /* Last of all: whoever waits for no waiters may free what they used. */
    pthread_mutex_lock(&fs->locks.lock);
    fs->locks.n_waiters--;
    pthread_cond_broadcast(&fs->locks.changed);
    pthread_mutex_unlock(&fs->locks.lock);
    return NULL;
}

/* Hand w (owned from here on) to a thread. FS_OP_PENDING or -errno. */
static int
waiter_start(struct fs *fs, struct fs_lock_waiter *w)
{
    struct fs_locks *locks = &fs->locks;
    pthread_attr_t attr;
    int r = ENOLCK;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, WAITER_STACK);
    pthread_mutex_lock(&locks->lock);
    if (locks->n_waiters < FS_LOCK_MAX_WAITERS) {
        w->next = locks->waiters;
        locks->waiters = w;
        locks->n_waiters++;
        r = pthread_create(&w->thread, &attr, waiter_main, w);
        if (r) {
            locks->waiters = w->next;
            locks->n_waiters--;
        }
    }
    pthread_mutex_unlock(&locks->lock);
    pthread_attr_destroy(&attr);
    if (r == 0)
        return FS_OP_PENDING;
    if (w->owner)
        owner_put(w->owner);
    if (w->handle)
        fs_handle_put(w->handle);
    free(w);
    return r == EAGAIN ? -ENOLCK : -r;
}

/* Signal those that are marked (or the marked one) until they are through; lock held. */
static void
wake_until(struct fs_locks *locks, const struct fs_lock_waiter *which)
{
    for (;;) {
        struct fs_lock_waiter *w;
        struct timespec until;
        bool found = false;

        for (w = locks->waiters; w; w = w->next) {
            if (w->cancelled && (!which || w == which)) {
                pthread_kill(w->thread, WAKE_SIGNAL);
                found = true;
            }
        }
        if (!found && (which || locks->n_waiters == 0))
            return;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAKE_AGAIN_NS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&locks->changed, &locks->lock, &until);
    }
}

void
fs_lock_cancel_all(struct fs *fs)
{
    struct fs_locks *locks = &fs->locks;
    struct fs_lock_waiter *w;

    pthread_mutex_lock(&locks->lock);
    for (w = locks->waiters; w; w = w->next)
        w->cancelled = true;
    if (locks->n_waiters)
        wake_until(locks, NULL);
    pthread_mutex_unlock(&locks->lock);
}

int
fs_op_interrupt(struct fs_req *req)
{
    const struct fuse_interrupt_in *in = FS_ARG(req, struct fuse_interrupt_in);
    struct fs_locks *locks = &req->fs->locks;
    struct fs_lock_waiter *w;

    pthread_mutex_lock(&locks->lock);
    for (w = locks->waiters; w && w->unique != in->unique; w = w->next)
        ;
    if (w) {
        w->cancelled = true;
        wake_until(locks, w);
    }
    pthread_mutex_unlock(&locks->lock);
    return 0;
}

/* ---- operations ------------------------------------------------------------------------------------- */

static int
get_lock_file(struct fs_req *req, const struct fuse_lk_in *in, struct fs_handle **handle)
{
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};

    if (!node.node)
        return -ESTALE;
    *handle = fs_handle_get(req->fs, in->fh, node.node, false);
    if (!*handle && in->lk_flags & FUSE_LK_FLOCK)
        *handle = fs_handle_get(req->fs, in->fh, node.node, true);
    return *handle && (*handle)->fd >= 0 ? 0 : -EBADF;
}

/* The guest's range: end is inclusive, and the largest offset means "to the end". */
static int
make_flock(const struct fuse_file_lock *lk, struct flock *fl)
{
    if (lk->start > INT64_MAX || lk->end > INT64_MAX || lk->start > lk->end ||
        (lk->type != F_RDLCK && lk->type != F_WRLCK && lk->type != F_UNLCK))
        return -EINVAL;
    *fl = (struct flock){
        .l_type = (short)lk->type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)lk->start,
        .l_len = lk->end == INT64_MAX ? 0 : (off_t)(lk->end - lk->start + 1),
    };
    return 0;
}

int
fs_op_getlk(struct fs_req *req)
{
    const struct fuse_lk_in *in = FS_ARG(req, struct fuse_lk_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    struct fs_lock_owner *owner;
    struct fuse_lk_out *out;
    struct flock fl;
    int r;

    r = get_lock_file(req, in, &handle);
    if (r == 0)
        r = make_flock(&in->lk, &fl);
    if (r == 0)
        r = fl.l_type == F_UNLCK ? -EINVAL : owner_get(req->fs, handle, in->owner, &owner);
    if (r < 0)
        return r;
    r = fcntl(owner->fd, F_OFD_GETLK, &fl) < 0 ? -errno : 0;
    owner_put(owner);
    if (r < 0)
        return r;
    out = fs_req_reply(req, sizeof(*out));
    out->lk.type = (uint32_t)fl.l_type;
    if (fl.l_type != F_UNLCK) {
        out->lk.start = (uint64_t)fl.l_start;
        out->lk.end = fl.l_len ? (uint64_t)(fl.l_start + fl.l_len - 1) : INT64_MAX;
    }
    return 0;
}

static struct fs_lock_waiter *
waiter_new(struct fs_req *req)
{
    struct fs_lock_waiter *w = calloc(1, sizeof(*w));

    if (w) {
        w->fs = req->fs;
        w->req = req;
        w->unique = req->hdr.unique;
    }
    return w;
}

static int
set_flock(struct fs_req *req, struct fs_handle **handle, uint32_t type, bool wait)
{
    int op = type == F_UNLCK ? LOCK_UN : type == F_RDLCK ? LOCK_SH : LOCK_EX;
    struct fs_lock_waiter *w;

    if (flock((*handle)->fd, op | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK || !wait || !req->done)
        return -errno;
    w = waiter_new(req);
    if (!w)
        return -ENOMEM;
    w->handle = mb_steal_ptr(handle);
    w->flock_op = op;
    return waiter_start(req->fs, w);
}

static int
set_posix(struct fs_req *req, struct fs_handle *handle, const struct fuse_lk_in *in, bool wait)
{
    struct fs_lock_owner *owner;
    struct fs_lock_waiter *w;
    struct flock fl;
    int r;

    r = make_flock(&in->lk, &fl);
    if (r == 0)
        r = owner_get(req->fs, handle, in->owner, &owner);
    if (r < 0)
        return r;
    if (fcntl(owner->fd, F_OFD_SETLK, &fl) == 0) {
        owner_put(owner);
        return 0;
    }
    r = -errno;
    if ((r != -EAGAIN && r != -EACCES) || !wait || !req->done) {
        owner_put(owner);
        return r == -EACCES ? -EAGAIN : r;
    }
    w = waiter_new(req);
    if (!w) {
        owner_put(owner);
        return -ENOMEM;
    }
    w->owner = owner;
    w->fl = fl;
    return waiter_start(req->fs, w);
}

static int
set_lock(struct fs_req *req, bool wait)
{
    const struct fuse_lk_in *in = FS_ARG(req, struct fuse_lk_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    int r = get_lock_file(req, in, &handle);

    if (r < 0)
        return r;
    if (in->lk_flags & FUSE_LK_FLOCK)
        return set_flock(req, &handle, in->lk.type, wait);
    return set_posix(req, handle, in, wait);
}

int
fs_op_setlk(struct fs_req *req)
{
    return set_lock(req, false);
}

int
fs_op_setlkw(struct fs_req *req)
{
    return set_lock(req, true);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks on the host: two sandboxes (cores) that share a directory exclude each
 * other; a lock that must be waited for does not hold up its queue, can be
 * interrupted, and is given up when the device stops.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fs-test.h"

#define TO_END INT64_MAX

/* A request that may become pending. */
struct waiting {
    struct fuse_in_header in;
    struct fuse_lk_in lk;
    struct fuse_out_header out;
    struct iovec out_iov, in_iov;
    struct fs_req req;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
};

static void
finished(struct fs_req *req)
{
    struct waiting *w = req->opaque;

    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static enum fs_req_state
start_wait(struct ft *t, struct waiting *w, uint64_t node, uint64_t fh, uint64_t owner, uint32_t flags)
{
    memset(w, 0, sizeof(*w));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
    w->in = (struct fuse_in_header){
        .len = sizeof(w->in) + sizeof(w->lk), .opcode = FUSE_SETLKW, .unique = 4711, .nodeid = node};
    w->lk = (struct fuse_lk_in){
        .fh = fh, .owner = owner, .lk = {.start = 0, .end = TO_END, .type = F_WRLCK}, .lk_flags = flags};
    w->out_iov = (struct iovec){&w->in, w->in.len};
    w->in_iov = (struct iovec){&w->out, sizeof(w->out)};
    w->req = (struct fs_req){.fs = t->fs, .out = &w->out_iov, .n_out = 1, .in = &w->in_iov, .n_in = 1,
                             .done = finished, .opaque = w};
    return fs_req_run(&w->req, t->worker);
}

/* The result of a pending request: its error, or 1 when it does not come within a minute. */
static int
wait_result(struct waiting *w)
{
    struct timespec until;
    int r = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&w->lock);
    while (!w->done && r == 0)
        r = pthread_cond_timedwait(&w->cond, &w->lock, &until);
    pthread_mutex_unlock(&w->lock);
    return r ? 1 : w->out.error;
}

struct file {
    struct ft *t;
    uint64_t node, fh;
};

static int
lock(const struct file *f, uint64_t owner, uint32_t type, uint64_t start, uint64_t end)
{
    return ft_setlk(f->t, f->node, f->fh, owner, type, start, end, 0);
}

static int
flock_it(const struct file *f, uint32_t type)
{
    return ft_setlk(f->t, f->node, f->fh, 1, type, 0, TO_END, FUSE_LK_FLOCK);
}

static void
test_posix(const struct file *a, const struct file *b)
{
    struct fuse_lk_in in = {.fh = b->fh, .owner = 1, .lk = {.start = 0, .end = TO_END, .type = F_WRLCK}};
    struct fuse_lk_out out;

    eq_int(lock(a, 1, F_WRLCK, 0, 9), 0, "one sandbox locks ten bytes");
    eq_int(lock(b, 1, F_WRLCK, 5, 5), -EAGAIN, "the other cannot have one of them");
    eq_int(lock(b, 1, F_WRLCK, 10, TO_END), 0, "but the rest");
    eq_int(lock(a, 2, F_RDLCK, 0, 0), -EAGAIN, "another process of the first sandbox neither");
    eq_int(lock(a, 1, F_RDLCK, 0, 9), 0, "its owner turns it into a read lock");
    eq_int(lock(b, 1, F_RDLCK, 0, 4), 0, "which others share");
    eq_int(lock(b, 1, F_UNLCK, 0, TO_END), 0, "unlock");
    eq_int(ft_call(b->t, FUSE_GETLK, b->node, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL), 0, "GETLK");
    ok(out.lk.type == F_RDLCK && out.lk.start == 0 && out.lk.end == 9, "tells who is in the way");
    eq_int(ft_flush(a->t, a->node, a->fh, 1), 0, "a close");
    eq_int(lock(b, 1, F_WRLCK, 0, TO_END), 0, "drops the locks of its process");
    eq_int(lock(b, 1, F_UNLCK, 0, TO_END), 0, "unlock");
    eq_int(lock(a, 1, F_WRLCK, 9, 5), -EINVAL, "a range that ends before it begins");
    eq_int(lock(a, 1, 77, 0, 5), -EINVAL, "a type that does not exist");
}

/* Locks of an open file of the guest: its close() names no owner. */
static void
test_open_file(const struct file *a, const struct file *b)
{
    struct file again = *a;

    eq_int(ft_open(a->t, a->node, O_RDWR, &again.fh), 0, "the file once more");
    eq_int(lock(&again, 77, F_WRLCK, 0, 9), 0, "locked by an owner that is this open file");
    eq_int(lock(a, 1, F_WRLCK, 20, 29), 0, "and further on by a process through the other");
    eq_int(lock(b, 1, F_WRLCK, 0, 9), -EAGAIN, "it is locked");
    eq_int(ft_release(a->t, again.node, again.fh), 0, "closed");
    eq_int(lock(b, 1, F_WRLCK, 0, 9), 0, "it is not");
    eq_int(lock(b, 1, F_WRLCK, 20, 29), -EAGAIN, "what was locked through the other is");
    lock(b, 1, F_UNLCK, 0, TO_END);
    lock(a, 1, F_UNLCK, 0, TO_END);
}

static void
test_flock(const struct file *a, const struct file *b, const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    eq_int(flock_it(a, F_WRLCK), 0, "flock");
    eq_int(flock_it(b, F_RDLCK), -EAGAIN, "excludes the other sandbox");
    ok(flock(fd, LOCK_EX | LOCK_NB) < 0, "and the host");
    eq_int(flock_it(a, F_UNLCK), 0, "unlock");
    ok(flock(fd, LOCK_EX | LOCK_NB) == 0, "the host has its turn");
    eq_int(flock_it(a, F_RDLCK), -EAGAIN, "and excludes the guest");
    close(fd);
}

static void
test_waiting(const struct file *a, const struct file *b, uint32_t flags)
{
    struct fuse_interrupt_in interrupt = {.unique = 4711};
    struct waiting w;

    ft_setlk(a->t, a->node, a->fh, 1, F_WRLCK, 0, TO_END, flags);
    eq_int(start_wait(b->t, &w, b->node, b->fh, 5, flags), FS_REQ_PENDING, "a lock that is taken is waited for");
    eq_int(ft_getattr(b->t, b->node, NULL), 0, "while other requests are served");
    ft_setlk(a->t, a->node, a->fh, 1, F_UNLCK, 0, TO_END, flags);
    eq_int(wait_result(&w), 0, "it is had when it is free");
    eq_int(ft_setlk(a->t, a->node, a->fh, 1, F_WRLCK, 0, TO_END, flags), -EAGAIN, "and is held");
    ft_setlk(b->t, b->node, b->fh, 5, F_UNLCK, 0, TO_END, flags);
    ft_setlk(a->t, a->node, a->fh, 1, F_WRLCK, 0, TO_END, flags);
    eq_int(start_wait(b->t, &w, b->node, b->fh, 5, flags), FS_REQ_PENDING, "waited for again");
    ft_call(b->t, FUSE_INTERRUPT, 0, &interrupt, sizeof(interrupt), NULL, 0, NULL, 0, NULL);
    eq_int(wait_result(&w), -EINTR, "an interrupt ends it");
    eq_int(start_wait(b->t, &w, b->node, b->fh, 5, flags), FS_REQ_PENDING, "and again");
    fs_req_cancel_all(b->t->fs);
    eq_int(wait_result(&w), -EINTR, "so does the end of the device");
    ft_setlk(a->t, a->node, a->fh, 1, F_UNLCK, 0, TO_END, flags);
}

static void
test_many(const struct file *a, const struct file *b)
{
    static struct waiting w[FS_LOCK_MAX_WAITERS + 1];
    unsigned i, pending = 0;

    lock(a, 1, F_WRLCK, 0, TO_END);
    for (i = 0; i <= FS_LOCK_MAX_WAITERS; i++)
        pending += start_wait(b->t, &w[i], b->node, b->fh, 100 + i, 0) == FS_REQ_PENDING;
    eq_int(pending, FS_LOCK_MAX_WAITERS, "waiters are bounded");
    eq_int(w[FS_LOCK_MAX_WAITERS].out.error, -ENOLCK, "one too many is told so");
    lock(a, 1, F_UNLCK, 0, TO_END);
    fs_req_cancel_all(b->t->fs);
    for (i = 0; i < FS_LOCK_MAX_WAITERS; i++)
        pending -= wait_result(&w[i]) != 1;
    eq_int(pending, 0, "all of them end");
}

/* A guest that begins again has not closed what it had; the node of a single file's share is there all the time. */
static void
test_restart(struct ft *t)
{
    struct fs_config config = {.shared_file = ft_path("share/g"), .cache = FS_CACHE_AUTO};
    struct fuse_entry_out e;
    struct file a, b = {.t = t};

    eq_int(ft_create(t, FUSE_ROOT_ID, "g", O_RDWR, 0644, &e, &b.fh), 0, "another file");
    b.node = e.nodeid;
    a.t = ft_core(&config);
    eq_int(ft_walk(a.t, "g", &a.node), 0, "is shared by itself");
    eq_int(ft_open(a.t, a.node, O_RDWR, &a.fh), 0, "open");
    eq_int(lock(&a, 1, F_WRLCK, 0, 9), 0, "and locked");
    eq_int(lock(&b, 1, F_WRLCK, 0, 9), -EAGAIN, "others cannot have it");
    eq_int(ft_init(a.t, 0), 0, "until that guest begins again");
    eq_int(lock(&b, 1, F_WRLCK, 0, 9), 0, "and has no locks any more");
    ft_free(a.t);
}

int
main(void)
{
    const char *why = ft_no_xattr();
    struct fs_config config = {.cache = FS_CACHE_AUTO};
    struct fuse_entry_out e;
    struct file a, b;

    if (why)
        tap_skip_all(why);
    config.shared_dir = ft_subdir("share");
    a.t = ft_core(&config);
    b.t = ft_core(&config);
    ft_create(a.t, FUSE_ROOT_ID, "f", O_RDWR, 0644, &e, &a.fh);
    a.node = e.nodeid;
    ft_walk(b.t, "f", &b.node);
    eq_int(ft_open(b.t, b.node, O_RDWR, &b.fh), 0, "both have the file open");
    test_posix(&a, &b);
    test_open_file(&a, &b);
    test_flock(&a, &b, ft_path("share/f"));
    test_waiting(&a, &b, 0);
    test_waiting(&a, &b, FUSE_LK_FLOCK);
    test_many(&a, &b);
    test_restart(b.t);
    ft_free(b.t);
    eq_int(flock_it(&a, F_WRLCK), 0, "what a sandbox held goes with it");
    ft_free(a.t);
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /dev/fuse serving, see fs-devfuse.h.  A thread reads a request, runs it, and
 * writes the reply.  A request that becomes pending keeps its memory; the
 * thread goes on with new memory, and whoever finishes the request writes the
 * reply.
 */
#include <config.h>

#include "fs-devfuse.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs-req.h"
#include "mb-cleanup.h"
#include "mb-log.h"

#define BUFFER (FS_MAX_WRITE + 65536u)
#define MAX_THREADS 16u

struct devfuse {
    struct fs *fs;
    int fd;
    pthread_t main_thread;
};

struct request {
    struct devfuse *df;
    struct fs_req req;
    struct iovec out, in;
    char *buf;                  /* BUFFER bytes of request, BUFFER bytes of reply */
};

static void
request_free(struct request *r)
{
    if (r)
        free(r->buf);
    free(r);
}

static struct request *
request_new(struct devfuse *df)
{
    struct request *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->df = df;
    r->buf = malloc(2 * BUFFER);
    if (!r->buf) {
        free(r);
        return NULL;
    }
    return r;
}

static void
send_reply(struct request *r)
{
    /* ENOENT: the request was interrupted and nobody waits for it any more. */
    if (r->req.written && write(r->df->fd, r->in.iov_base, r->req.written) < 0 && errno != ENOENT)
        mb_warn_limited("/dev/fuse: %m");
}

static void
pending_done(struct fs_req *req)
{
    struct request *r = req->opaque;

    send_reply(r);
    request_free(r);
}

static void *
serve_thread(void *data)
{
    struct devfuse *df = data;
    struct fs_worker *worker = fs_worker_new();
    struct request *r = NULL;

    while (worker) {
        ssize_t len;

        if (!r)
            r = request_new(df);
        if (!r)
            break;
        len = read(df->fd, r->buf, BUFFER);
        if (len < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
            continue;
        if (len < 0)
            break; /* ENODEV: unmounted */
        r->out = (struct iovec){r->buf, (size_t)len};
        r->in = (struct iovec){r->buf + BUFFER, BUFFER};
        r->req = (struct fs_req){
            .fs = df->fs,
            .out = &r->out,
            .n_out = 1,
            .in = &r->in,
            .n_in = 1,
            .may_wait = true,
            .done = pending_done,
            .opaque = r,
        };
        if (fs_req_run(&r->req, worker) == FS_REQ_DONE)
            send_reply(r);
        else
            r = NULL;
    }
    request_free(r);
    fs_worker_free(worker);
    /* Whichever thread ends first ends the serving. */
    pthread_kill(df->main_thread, SIGTERM);
    return NULL;
}

/* ---- who we are -------------------------------------------------------------------------------------- */

int
fs_devfuse_become_owner(const char *path)
{
    struct stat st;

    /* What cannot be shared is told of by who tries. */
    if (geteuid() != 0 || stat(path, &st) < 0 || st.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) < 0 || setegid(st.st_gid) < 0 || seteuid(st.st_uid) < 0) {
        mb_error("share '%s' as its owner: %m", path);
        return -errno;
    }
    return 0;
}

/* Of this thread alone, unlike seteuid(): the others serve. */
static void
set_effective(uid_t uid)
{
    (void)!syscall(SYS_setresuid, -1, uid, -1);
}

/* ---- mounting ---------------------------------------------------------------------------------------- */

static int
mount_share(struct devfuse *df, const char *mount_point)
{
    char options[128];

    df->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (df->fd < 0) {
        mb_error("open '/dev/fuse': %m");
        return -errno;
    }
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,"
             "max_read=%u", df->fd, FS_MAX_WRITE);
    if (mount("msb", mount_point, "fuse.msb", MS_NOSUID | MS_NODEV, options) < 0) {
        mb_error("mount on '%s': %m", mount_point);
        return -errno;
    }
    return 0;
}

int
fs_devfuse_serve(struct fs *fs, const char *mount_point, unsigned n_threads)
{
    struct devfuse df = {.fs = fs, .fd = -1, .main_thread = pthread_self()};
    const uid_t owner = geteuid();
    pthread_t threads[MAX_THREADS];
    unsigned i, started = 0;
    sigset_t set;
    int r, sig;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    set_effective(0);
    r = mount_share(&df, mount_point);
    set_effective(owner);
    n_threads = MB_MIN(MB_MAX(n_threads, 1u), MAX_THREADS);
    for (i = 0; r == 0 && i < n_threads; i++) {
        if (pthread_create(&threads[started], NULL, serve_thread, &df) == 0)
            started++;
    }
    if (started)
        sigwait(&set, &sig);
    set_effective(0);
    if (r == 0)
        umount2(mount_point, MNT_DETACH);
    /* Whoever still uses the mount is served until the last one left. */
    for (i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    mb_close(df.fd);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The front-end's life: connecting or starting a back-end, the end, and
 * what is made once; see vuclient.h.  The handshake, memory and queues are in
 * vu-setup.c, messages in vu-msg.c, rings in vu-ring.c.
 */
#include <config.h>

#include "vuclient.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "vh-msg.h"
#include "vu-priv.h"

#define MAX_ARGS 64

bool vu_quiet;

void
vu_diag(const char *fmt, ...)
{
    va_list ap;

    if (vu_quiet)
        return;
    printf("# vuclient: ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

/* ---- the back-end ------------------------------------------------------------------ */

pid_t
vu_spawn(const char *const *argv, int *sock)
{
    const char *args[MAX_ARGS + 2];
    int pair[2], n = 0, r, inherited;
    char option[32];
    pid_t pid;

    while (argv[n] && n < MAX_ARGS) {
        args[n] = argv[n];
        n++;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    /* dup() clears close-on-exec; a concurrent exec() in a test is no concern. */
    inherited = dup(pair[1]);
    mb_close(pair[1]);
    snprintf(option, sizeof(option), "--fd=%d", inherited);
    args[n++] = option;
    args[n] = NULL;
    r = inherited < 0 ? errno
                      : posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)args, environ);
    mb_close(inherited);
    if (r != 0) {
        mb_close(pair[0]);
        vu_diag("cannot start %s: %s", argv[0], strerror(r));
        return -r;
    }
    *sock = pair[0];
    return pid;
}

static uint64_t
now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The socket may be on its way: try again until the deadline. */
static int
connect_path(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    uint64_t end = now_ms() + VU_TIMEOUT_MS;
    struct timespec pause = {.tv_nsec = 2000000};
    int fd;

    if (strlen(path) >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    strcpy(addr.sun_path, path);
    for (;;) {
        int error;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -errno;
        if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
            return fd;
        error = errno;
        mb_close(fd);
        if ((error != ENOENT && error != ECONNREFUSED) || now_ms() >= end)
            return -error;
        nanosleep(&pause, NULL);
    }
}

static int
reach_backend(struct vu *vu, int fd)
{
    if (fd > 0) {
        vu->sock = fd;
    } else if (vu->o.socket_path) {
        vu->sock = connect_path(vu->o.socket_path);
        if (vu->sock < 0) {
            vu_diag("connect to %s: %s", vu->o.socket_path, strerror(-vu->sock));
            return vu->sock;
        }
    } else if (vu->o.argv) {
        pid_t pid = vu_spawn(vu->o.argv, &vu->sock);

        if (pid < 0)
            return pid;
        vu->pid = pid;
    } else {
        return -EINVAL;
    }
    return 0;
}

/* ---- life ----------------------------------------------------------------------- */

static int
make_memory(struct vu *vu)
{
    vu->mem_size = vu->o.memory;
    vu->mem_fd = memfd_create("vuclient", MFD_CLOEXEC);
    if (vu->mem_fd < 0 || ftruncate(vu->mem_fd, (off_t)vu->mem_size) < 0)
        return -errno;
    vu->mem = mmap(NULL, vu->mem_size, PROT_READ | PROT_WRITE, MAP_SHARED, vu->mem_fd, 0);
    if (vu->mem == MAP_FAILED) {
        vu->mem = NULL;
        return -errno;
    }
    return 0;
}

static int
make_queue(struct vu *vu, unsigned index)
{
    struct vu_queue *q = &vu->q[index];

    q->index = index;
    q->size = vu->o.queue_size;
    q->max_segments = vu->o.max_segments;
    q->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->kick_fd < 0 || q->call_fd < 0 || q->err_fd < 0)
        return -errno;
    return vu_ring_new(vu, index);
}

static int
set_up(struct vu *vu)
{
    unsigned i;
    int r;

    r = vu_handshake(vu);
    if (r < 0 || vu->o.no_start)
        return r;
    if (vu->o.channel)
        r = vu_request(vu, VH_SET_BACKEND_REQ_FD, NULL, 0, &vu->o.channel, 1);
    if (r == 0)
        r = vu_share_memory(vu);
    if (r == 0)
        r = vu_setup_inflight(vu);
    for (i = 0; i < vu->o.queues && r == 0; i++)
        r = vu_start_queue(vu, i);
    return r;
}

static void
free_all(struct vu *vu)
{
    unsigned i;

    for (i = 0; i < vu->o.queues; i++) {
        mb_close(vu->q[i].kick_fd);
        mb_close(vu->q[i].call_fd);
        mb_close(vu->q[i].err_fd);
        vu_ring_free(vu, i);
    }
    if (vu->mem)
        munmap(vu->mem, vu->mem_size);
    mb_close(vu->mem_fd);
    mb_close(vu->inflight_fd);
    free(vu);
}

static struct vu *
new_vu(const struct vu_options *o)
{
    struct vu *vu = calloc(1, sizeof(*vu));
    unsigned i;

    if (!vu)
        return NULL;
    vu->o = *o;
    if (!vu->o.memory)
        vu->o.memory = 64u << 20;
    if (!vu->o.regions)
        vu->o.regions = 1;
    if (!vu->o.queues)
        vu->o.queues = 1;
    if (!vu->o.queue_size)
        vu->o.queue_size = 128;
    if (!vu->o.max_segments)
        vu->o.max_segments = 64;
    vu->sock = vu->mem_fd = vu->inflight_fd = -1;
    for (i = 0; i < VU_MAX_QUEUES; i++)
        vu->q[i].kick_fd = vu->q[i].call_fd = vu->q[i].err_fd = -1;
    return vu;
}

struct vu *
vu_open(const struct vu_options *o)
{
    struct vu *vu;
    unsigned i;
    int r;

    if (o->queues > VU_MAX_QUEUES || o->regions > VU_MAX_REGIONS) {
        errno = EINVAL;
        return NULL;
    }
    vu = new_vu(o);
    if (!vu)
        return NULL;
    r = make_memory(vu);
    for (i = 0; i < vu->o.queues && r == 0; i++)
        r = make_queue(vu, i);
    if (r == 0)
        r = reach_backend(vu, o->fd);
    if (r == 0)
        r = set_up(vu);
    if (r < 0) {
        vu_diag("cannot open the device: %s", strerror(-r));
        vu_disconnect(vu);
        vu_kill(vu);
        free_all(vu);
        errno = -r;
        return NULL;
    }
    return vu;
}

void
vu_disconnect(struct vu *vu)
{
    mb_cleanup_fd(&vu->sock);
}

void
vu_kill(struct vu *vu)
{
    if (vu->pid > 0) {
        kill(vu->pid, SIGKILL);
        waitpid(vu->pid, NULL, 0);
        vu->pid = 0;
    }
    vu_disconnect(vu);
}

/* Its end within the deadline, or its end by force. */
static int
reap(pid_t pid)
{
    uint64_t end = now_ms() + VU_TIMEOUT_MS;
    struct timespec pause = {.tv_nsec = 1000000};
    int status = 0;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now_ms() >= end) {
            vu_diag("back-end %d does not end, killing it", (int)pid);
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            break;
        }
        nanosleep(&pause, NULL);
    }
    return status;
}

int
vu_close(struct vu *vu)
{
    int status = 0;
    unsigned i;

    if (!vu)
        return 0;
    for (i = 0; i < vu->o.queues && !vu->o.no_start && vu->sock >= 0; i++) {
        if (vu_stop_queue(vu, i) < 0)
            break;
    }
    vu_disconnect(vu);
    if (vu->pid > 0)
        status = reap(vu->pid);
    free_all(vu);
    return status;
}

int
vu_reconnect(struct vu *vu, int fd)
{
    unsigned i;
    int r;

    /* A back-end that died could not tell where it was: what is used is done. */
    for (i = 0; i < vu->o.queues; i++)
        vu->q[i].base = __atomic_load_n(&vu->q[i].ring.used->idx, __ATOMIC_ACQUIRE);
    r = reach_backend(vu, fd);
    if (r == 0)
        r = set_up(vu);
    if (r < 0)
        vu_diag("cannot reconnect: %s", strerror(-r));
    return r;
}

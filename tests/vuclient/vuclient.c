/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The front-end's life: connecting or starting a back-end, the handshake,
 * sharing memory, starting queues; see vuclient.h.  Messages are in vu-msg.c,
 * rings in vu-ring.c.
 */
#include <config.h>

#include "vuclient.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
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

bool
vu_has_feature(const struct vu *vu, unsigned bit)
{
    return vu->features >> bit & 1;
}

bool
vu_has_protocol(const struct vu *vu, unsigned bit)
{
    return vu->protocol >> bit & 1;
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
    r = inherited < 0 ? errno : posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)args, environ);
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

/* ---- handshake ------------------------------------------------------------------------ */

static int
negotiate_protocol(struct vu *vu)
{
    const uint64_t known = UINT64_C(1) << VH_PROTOCOL_F_MQ | UINT64_C(1) << VH_PROTOCOL_F_REPLY_ACK |
                           UINT64_C(1) << VH_PROTOCOL_F_CONFIG | UINT64_C(1) << VH_PROTOCOL_F_INFLIGHT_SHMFD |
                           UINT64_C(1) << VH_PROTOCOL_F_RESET_DEVICE |
                           UINT64_C(1) << VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS;
    int r;

    r = vu_get_u64(vu, VH_GET_PROTOCOL_FEATURES, &vu->protocol_offered);
    if (r < 0)
        return r;
    vu->protocol = vu->protocol_offered & known & ~vu->o.protocol_off;
    r = vu_send(vu, VH_SET_PROTOCOL_FEATURES, 0, &vu->protocol, sizeof(vu->protocol), NULL, 0);
    if (r == 0 && vu_has_protocol(vu, VH_PROTOCOL_F_MQ))
        r = vu_get_u64(vu, VH_GET_QUEUE_NUM, &vu->backend_queues);
    return r;
}

int
vu_handshake(struct vu *vu)
{
    uint64_t not_ours = UINT64_C(1) << VIRTIO_F_RING_PACKED | UINT64_C(1) << VIRTIO_F_ACCESS_PLATFORM |
                        UINT64_C(1) << 40 /* ring reset */ | UINT64_C(1) << 35 /* in order */;
    int r;

    r = vu_get_u64(vu, VH_GET_FEATURES, &vu->features_offered);
    if (r < 0)
        return r;
    vu->features = vu->features_offered & ~not_ours & ~(UINT64_C(1) << 26 /* log all */) & ~vu->o.features_off;
    vu->protocol = 0;
    if (vu_has_feature(vu, VH_F_PROTOCOL_FEATURES)) {
        r = negotiate_protocol(vu);
        if (r < 0)
            return r;
    }
    r = vu_send(vu, VH_SET_OWNER, 0, NULL, 0, NULL, 0);
    return r < 0 ? r : vu_request(vu, VH_SET_FEATURES, &vu->features, sizeof(vu->features), NULL, 0);
}

/* ---- memory ----------------------------------------------------------------------------- */

static void
describe_region(const struct vu *vu, unsigned i, struct vh_mem_region_msg *m)
{
    size_t size = vu->mem_size / vu->o.regions;

    m->mmap_offset = i * size;
    m->guest_addr = VU_GPA_BASE + m->mmap_offset;
    m->user_addr = (uintptr_t)vu->mem + m->mmap_offset;
    m->size = size;
}

static int
add_slots(struct vu *vu)
{
    unsigned i;
    int r = 0;

    for (i = 0; i < vu->o.regions && r == 0; i++) {
        struct vh_single_region s = {0};

        describe_region(vu, i, &s.region);
        r = vu_request(vu, VH_ADD_MEM_REG, &s, sizeof(s), &vu->mem_fd, 1);
    }
    return r;
}

int
vu_share_memory(struct vu *vu)
{
    struct vh_mem_table t = {.n_regions = vu->o.regions};
    int fds[VU_MAX_REGIONS];
    unsigned i;

    if (vu_has_protocol(vu, VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
        return add_slots(vu);
    for (i = 0; i < vu->o.regions; i++) {
        describe_region(vu, i, &t.region[i]);
        fds[i] = vu->mem_fd;
    }
    return vu_request(vu, VH_SET_MEM_TABLE, &t,
                      (uint32_t)(offsetof(struct vh_mem_table, region) + t.n_regions * sizeof(t.region[0])), fds,
                      t.n_regions);
}

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

void *
vu_alloc(struct vu *vu, size_t size, size_t align)
{
    size_t at = (vu->mem_used + align - 1) / align * align;

    if (align == 0 || at > vu->mem_size || size > vu->mem_size - at)
        return NULL;
    vu->mem_used = at + size;
    return memset(vu->mem + at, 0, size);
}

size_t
vu_mark(const struct vu *vu)
{
    return vu->mem_used;
}

void
vu_release(struct vu *vu, size_t mark)
{
    vu->mem_used = mark;
}

uint64_t
vu_gpa(const struct vu *vu, const void *p)
{
    return VU_GPA_BASE + (uint64_t)((const char *)p - vu->mem);
}

void *
vu_ptr(const struct vu *vu, uint64_t gpa)
{
    return vu->mem + (gpa - VU_GPA_BASE);
}

/* ---- queues ------------------------------------------------------------------------------- */

int
vu_setup_inflight(struct vu *vu)
{
    struct vh_inflight_msg m = {.n_queues = (uint16_t)vu->o.queues, .queue_size = (uint16_t)vu->o.queue_size};
    uint32_t size = sizeof(m);
    int r;

    if (!vu_has_protocol(vu, VH_PROTOCOL_F_INFLIGHT_SHMFD))
        return 0;
    if (vu->inflight_fd < 0) {
        r = vu_send(vu, VH_GET_INFLIGHT_FD, 0, &m, sizeof(m), NULL, 0);
        if (r == 0)
            r = vu_recv(vu, NULL, &m, sizeof(m), &size, &vu->inflight_fd);
        if (r < 0)
            return r;
        if (vu->inflight_fd < 0)
            return -EPROTO;
        vu->inflight_size = m.mmap_size;
        vu->inflight_offset = m.mmap_offset;
    }
    m.mmap_size = vu->inflight_size;
    m.mmap_offset = vu->inflight_offset;
    return vu_request(vu, VH_SET_INFLIGHT_FD, &m, sizeof(m), &vu->inflight_fd, 1);
}

static int
send_vring_fd(struct vu *vu, uint32_t request, unsigned index, int fd)
{
    uint64_t v = index;

    return vu_request(vu, request, &v, sizeof(v), &fd, 1);
}

int
vu_start_queue(struct vu *vu, unsigned index)
{
    struct vu_queue *q = &vu->q[index];
    struct vh_vring_state num = {index, q->size}, base = {index, q->base}, enable = {index, 1};
    struct vh_vring_addr addr = {
        .index = index,
        .desc = (uintptr_t)q->ring.desc,
        .used = (uintptr_t)q->ring.used,
        .avail = (uintptr_t)q->ring.avail,
    };
    int r;

    q->event_idx = vu_has_feature(vu, VIRTIO_RING_F_EVENT_IDX);
    r = vu_request(vu, VH_SET_VRING_NUM, &num, sizeof(num), NULL, 0);
    if (r == 0)
        r = vu_request(vu, VH_SET_VRING_BASE, &base, sizeof(base), NULL, 0);
    if (r == 0)
        r = vu_request(vu, VH_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
    if (r == 0)
        r = send_vring_fd(vu, VH_SET_VRING_CALL, index, q->call_fd);
    if (r == 0)
        r = send_vring_fd(vu, VH_SET_VRING_ERR, index, q->err_fd);
    if (r == 0)
        r = send_vring_fd(vu, VH_SET_VRING_KICK, index, q->kick_fd);
    if (r == 0 && vu_has_feature(vu, VH_F_PROTOCOL_FEATURES))
        r = vu_request(vu, VH_SET_VRING_ENABLE, &enable, sizeof(enable), NULL, 0);
    return r;
}

int
vu_stop_queue(struct vu *vu, unsigned index)
{
    struct vh_vring_state s = {index, 0};
    uint32_t size;
    int r;

    r = vu_send(vu, VH_GET_VRING_BASE, 0, &s, sizeof(s), NULL, 0);
    if (r == 0)
        r = vu_recv(vu, NULL, &s, sizeof(s), &size, NULL);
    if (r < 0)
        return r;
    if (size != sizeof(s) || s.index != index || s.num > UINT16_MAX)
        return -EPROTO;
    vu->q[index].base = (uint16_t)s.num;
    return (int)s.num;
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
    r = vu_share_memory(vu);
    if (r == 0)
        r = vu_setup_inflight(vu);
    for (i = 0; i < vu->o.queues && r == 0; i++)
        r = vu_start_queue(vu, i);
    return r;
}

/* ---- life ---------------------------------------------------------------------------------- */

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

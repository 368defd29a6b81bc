/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blk-load: load for a vhost-user-blk back-end, without a VM.
 *
 *   blk-load --socket=PATH --rw=WORKLOAD [--bs=BYTES] [--depth=N] [--queues=N]
 *            [--ms=N] [--size=BYTES] [--pid=N]
 *   blk-load --plain=FILE --rw=WORKLOAD [--bs=BYTES] [--depth=N] [--ms=N] [--size=BYTES]
 *
 * Workloads: randread, randwrite, read, write (sequential), writeflush (a
 * random write and a flush behind it count as one).  One thread per queue keeps
 * depth requests under way for --ms milliseconds and sleeps on the call
 * eventfd, as a guest does.  Prints
 *
 *   ops=N seconds=S iops=X mib=Y lat_us=L cpu_us=C
 *
 * where L is the mean latency and C the processor time that process --pid (the
 * back-end) spent per operation.
 *
 * With --plain there is no back-end: one system call after the other on FILE,
 * from or to as many buffers as there would be requests under way.  No back-end
 * that has one thread for a queue can be faster.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-macros.h"
#include "mb-parse.h"
#include "vu-blk.h"

#define MAX_DEPTH 256

struct load {
    const char *rw, *plain;
    uint64_t bs, depth, queues, ms, size, pid;
    bool random, write, flush;
    struct vu_blk blk;
};

struct worker {
    struct load *load;
    unsigned queue;
    pthread_t thread;
    struct vu_blk_io *ios[MAX_DEPTH];
    uint64_t ops, seed, next;
    int err;
};

static uint64_t
clock_ns(clockid_t id)
{
    struct timespec ts = {0};

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t
random_u64(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static uint64_t
next_offset(struct worker *w)
{
    const struct load *l = w->load;
    uint64_t blocks = l->size / l->bs;

    return (l->random ? random_u64(&w->seed) : w->next++) % blocks * l->bs;
}

/* The next request of a slot; a write may be followed by its flush. */
static int
submit_next(struct worker *w, struct vu_blk_io *io)
{
    const struct load *l = w->load;
    bool flush = l->flush && io->type == VIRTIO_BLK_T_OUT && io->user;

    io->user = w;
    io->type = flush ? VIRTIO_BLK_T_FLUSH : l->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
    io->length = flush ? 0 : (uint32_t)l->bs;
    io->offset = flush ? 0 : next_offset(w);
    return vu_blk_submit(&w->load->blk, w->queue, io, 0);
}

static bool
counts(const struct load *l, const struct vu_blk_io *io)
{
    return !l->flush || io->type == VIRTIO_BLK_T_FLUSH;
}

static int
reap_and_refill(struct worker *w, bool refill)
{
    struct vu_blk_io *io;
    int r = vu_blk_reap(&w->load->blk, w->queue, VU_TIMEOUT_MS, &io);

    while (r == 1) {
        if (vu_blk_result(io) < 0)
            return vu_blk_result(io);
        w->ops += counts(w->load, io);
        r = refill ? submit_next(w, io) : 0;
        if (r < 0)
            return r;
        r = vu_blk_reap(&w->load->blk, w->queue, 0, &io);
    }
    if (refill)
        vu_kick(w->load->blk.vu, w->queue, false);
    return r;
}

static void *
run_worker(void *data)
{
    struct worker *w = data;
    uint64_t end = clock_ns(CLOCK_MONOTONIC) + w->load->ms * 1000000;
    int r = 0;

    for (uint64_t i = 0; i < w->load->depth && r == 0; i++)
        r = submit_next(w, w->ios[i]);
    vu_kick(w->load->blk.vu, w->queue, false);
    while (r == 0 && clock_ns(CLOCK_MONOTONIC) < end)
        r = reap_and_refill(w, true);
    while (r == 0 && vu_in_flight(w->load->blk.vu, w->queue) > 0)
        r = reap_and_refill(w, false);
    w->err = r;
    return NULL;
}

static int
prepare(struct load *l, struct worker *w)
{
    for (unsigned q = 0; q < l->queues; q++) {
        w[q].load = l;
        w[q].queue = q;
        w[q].seed = 0x9e3779b97f4a7c15u + q;
        w[q].next = l->size / l->bs / l->queues * q;
        for (uint64_t i = 0; i < l->depth; i++) {
            w[q].ios[i] = vu_blk_io_new(&l->blk, (size_t)l->bs);
            if (!w[q].ios[i])
                return -ENOMEM;
            memset(w[q].ios[i]->data, (int)(q + i + 1), (size_t)l->bs);
        }
    }
    return 0;
}

static int
print_result(const struct load *l, uint64_t ops, double seconds, uint64_t cpu)
{
    if (ops == 0)
        return -EIO;
    printf("ops=%llu seconds=%.3f iops=%.0f mib=%.1f lat_us=%.1f cpu_us=%.2f\n", (unsigned long long)ops, seconds,
           (double)ops / seconds, (double)ops * (double)l->bs / seconds / 1048576,
           seconds * 1e6 * (double)(l->depth * l->queues) / (double)ops, (double)cpu / 1e3 / (double)ops);
    return 0;
}

static int
run(struct load *l)
{
    static struct worker w[VU_MAX_QUEUES];
    uint64_t start, cpu, ops = 0;
    clockid_t cpu_clock = CLOCK_PROCESS_CPUTIME_ID;
    double seconds;

    if (prepare(l, w) < 0)
        return -ENOMEM;
    if (l->pid && clock_getcpuclockid((pid_t)l->pid, &cpu_clock) != 0)
        return -ESRCH;
    cpu = clock_ns(cpu_clock);
    start = clock_ns(CLOCK_MONOTONIC);
    for (unsigned q = 0; q < l->queues; q++)
        pthread_create(&w[q].thread, NULL, run_worker, &w[q]);
    for (unsigned q = 0; q < l->queues; q++)
        pthread_join(w[q].thread, NULL);
    seconds = (double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e9;
    cpu = clock_ns(cpu_clock) - cpu;
    for (unsigned q = 0; q < l->queues; q++) {
        if (w[q].err < 0)
            return w[q].err;
        ops += w[q].ops;
    }
    return print_result(l, ops, seconds, cpu);
}

static int
run_plain(struct load *l)
{
    mb_autofd int fd = open(l->plain, (l->write ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    mb_autofree char *data = malloc((size_t)(l->bs * l->depth));
    struct worker w = {.load = l, .seed = 1};
    uint64_t start = clock_ns(CLOCK_MONOTONIC), end = start + l->ms * 1000000, ops = 0;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!data)
        return -ENOMEM;
    memset(data, 1, (size_t)(l->bs * l->depth));
    if (l->size == 0)
        l->size = (uint64_t)st.st_size;
    if (l->size < l->bs || l->flush)
        return -EINVAL;
    for (; clock_ns(CLOCK_MONOTONIC) < end; ops++) {
        char *at = data + ops % l->depth * l->bs;
        off_t offset = (off_t)next_offset(&w);
        ssize_t n = l->write ? pwrite(fd, at, (size_t)l->bs, offset) : pread(fd, at, (size_t)l->bs, offset);

        if (n != (ssize_t)l->bs)
            return n < 0 ? -errno : -EIO;
    }
    return print_result(l, ops, (double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e9, 0);
}

static int
set_workload(struct load *l, const char *name)
{
    l->rw = name;
    l->random = strncmp(name, "rand", 4) == 0 || strcmp(name, "writeflush") == 0;
    l->write = strstr(name, "write") != NULL;
    l->flush = strcmp(name, "writeflush") == 0;
    return strstr(name, "read") || l->write ? 0 : -EINVAL;
}

static int
parse(struct load *l, struct vu_options *o, int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'}, {"rw", required_argument, NULL, 'w'},
        {"bs", required_argument, NULL, 'b'},     {"depth", required_argument, NULL, 'd'},
        {"queues", required_argument, NULL, 'q'}, {"ms", required_argument, NULL, 'm'},
        {"size", required_argument, NULL, 'z'},   {"pid", required_argument, NULL, 'p'},
        {"plain", required_argument, NULL, 'f'},  {NULL, 0, NULL, 0},
    };
    int c, r = 0;

    while (r == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        uint64_t *number = c == 'b' ? &l->bs : c == 'd' ? &l->depth : c == 'q' ? &l->queues : c == 'm' ? &l->ms
                           : c == 'z' ? &l->size : c == 'p' ? &l->pid : NULL;

        if (number)
            r = mb_parse_size(optarg, number);
        else if (c == 's')
            o->socket_path = optarg;
        else if (c == 'f')
            l->plain = optarg;
        else
            r = c == 'w' ? set_workload(l, optarg) : -EINVAL;
    }
    if (r < 0 || optind < argc || !o->socket_path == !l->plain || !l->rw || l->bs == 0 || l->depth == 0 || l->depth > MAX_DEPTH ||
        l->queues == 0 || l->queues > VU_MAX_QUEUES)
        return -EINVAL;
    return 0;
}

static int
run_back_end(struct load *l, struct vu_options *o)
{
    int r;

    o->queues = (unsigned)l->queues;
    o->queue_size = 128;
    o->memory = (16u << 20) + (size_t)(l->bs + 4096) * l->depth * l->queues;
    r = vu_blk_open(&l->blk, o);
    if (r == 0) {
        if (l->size == 0 || l->size > vu_blk_size(&l->blk))
            l->size = vu_blk_size(&l->blk);
        r = l->size >= l->bs ? run(l) : -EINVAL;
        vu_blk_close(&l->blk);
    }
    return r;
}

int
main(int argc, char **argv)
{
    struct load l = {.bs = 4096, .depth = 1, .queues = 1, .ms = 1000};
    struct vu_options o = {0};
    int r;

    if (parse(&l, &o, argc, argv) < 0) {
        fprintf(stderr, "usage: blk-load --socket=PATH|--plain=FILE --rw=randread|randwrite|read|write|writeflush [--bs=N]"
                        " [--depth=N] [--queues=N] [--ms=N] [--size=N] [--pid=N]\n");
        return 2;
    }
    r = l.plain ? run_plain(&l) : run_back_end(&l, &o);
    if (r < 0)
        fprintf(stderr, "blk-load: %s\n", strerror(-r));
    return r < 0;
}

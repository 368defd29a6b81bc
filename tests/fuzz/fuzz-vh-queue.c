/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a driver writes into its rings against the queue.
 *
 * Input: ring size exponent (u8), feature bits (u8: 1 event index, 2 indirect,
 * 4 in-flight region; the upper four: how many requests stay open), the base
 * (u16), then the contents of guest memory from its first byte: descriptor table
 * at 0, available ring at 0x1000, used ring at 0x2000, in-flight region at 0x3000,
 * the rest at 0x4000.  Memory is two regions of which the second begins at 0x8000
 * and adjoins the first, at guest address 0; around each are pages that nobody may
 * touch.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "mb-iov.h"
#include "mb-log.h"
#include "vh-dev-priv.h"

#define HALF 0x8000
#define USER UINT64_C(0x100000)
#define IOV_CAP 64
#define HELD 5

static void
no_process(void *opaque, struct vh_queue *q)
{
}

static const struct vh_dev_ops ops = {.name = "fuzz", .max_queues = 1, .process = no_process};

/* A region with a guard page on either side. */
static struct vh_region
guarded_region(uint64_t gpa)
{
    char *map = mmap(NULL, HALF + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED || mprotect(map + 4096, HALF, PROT_READ | PROT_WRITE) < 0)
        abort();
    return (struct vh_region){.gpa = gpa,
                              .size = HALF,
                              .user = USER + gpa,
                              .host = map + 4096,
                              .map = map,
                              .map_size = HALF + 8192};
}

/* Every request the queue hands out is inside of memory, and as long as it says. */
static void
check(struct vh_queue *q, struct vh_req *req)
{
    static char buf[HALF * 2];

    if (mb_iov_size(vh_req_out(req), req->n_out) != req->out_len ||
        mb_iov_size(vh_req_in(req), req->n_in) != req->in_len || req->n_out + req->n_in > IOV_CAP ||
        req->head >= vh_queue_size(q))
        abort();
    mb_iov_to_buf(vh_req_out(req), req->n_out, 0, buf, sizeof(buf));
}

/* Complete one of those that are held, in another order than they came. */
static void
complete(struct vh_queue *q, struct vh_req *held, unsigned *n, unsigned which)
{
    struct vh_req *req = &held[which % *n], *last = &held[--*n], moved = *req;

    mb_iov_memset(vh_req_in(req), req->n_in, 0, 0, 16);
    vh_queue_push(q, req, (uint32_t)req->in_len);
    *req = *last;
    *last = moved;
}

/* Take what is there, holding a few; some are never completed, like those of a back-end that ends. */
static void
drain(struct vh_queue *q, unsigned keep)
{
    static struct iovec iov[HELD][IOV_CAP];
    struct vh_req held[HELD];
    unsigned n = 0, popped = 0;

    for (unsigned i = 0; i < HELD; i++)
        held[i] = (struct vh_req){.iov = iov[i], .iov_cap = IOV_CAP};
    /* The available ring may be written here too: it may never end. */
    while (popped < 2000 && vh_queue_pop(q, &held[n]) == 1) {
        check(q, &held[n++]);
        if (n == HELD)
            complete(q, held, &n, popped);
        if (++popped % 3 == 0)
            vh_queue_notify(q);
    }
    while (n > keep)
        complete(q, held, &n, popped++);
    vh_queue_disable_kick(q);
    (void)!vh_queue_enable_kick(q);
    vh_queue_notify(q);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vh_dev *dev;
    static char *inflight_map;
    struct fuzz_input in = {data, size};
    struct vh_queue *q;
    uint8_t exponent, bits;

    if (!dev) {
        dev = vh_dev_new(&ops, NULL);
        if (!dev)
            abort();
        dev->mem.n = 2;
        dev->mem.region[0] = guarded_region(0);
        dev->mem.region[1] = guarded_region(HALF);
        inflight_map = dev->mem.region[0].host + 0x3000;
        mb_log_set_fd(-1);
    }
    q = &dev->queues[0];
    exponent = fuzz_u8(&in);
    bits = fuzz_u8(&in);
    q->base = fuzz_u16(&in);
    fuzz_take(&in, dev->mem.region[0].host, HALF);
    fuzz_take(&in, dev->mem.region[1].host, HALF);
    q->num = 1u << exponent % 9;
    q->addr = (struct vh_vring_addr){.desc = USER, .avail = USER + 0x1000, .used = USER + 0x2000};
    memset(&dev->inflight, 0, sizeof(dev->inflight));
    if (bits & 4)
        dev->inflight = (struct vh_inflight){
            .map = inflight_map, .queues = inflight_map, .n_queues = 1, .queue_size = q->num};
    /* And again, as after a restart, with what the first time left in memory. */
    for (unsigned life = 0; life < 2; life++) {
        if (vh_queue_map(q, &dev->mem, &dev->inflight, bits & 1, bits & 2) < 0)
            break;
        drain(q, bits >> 4);
        vh_queue_unmap(q);
    }
    return 0;
}

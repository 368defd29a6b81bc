/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a driver writes into its rings against the whole of vhost-blk.
 *
 * Input: flags (u8: 1 read-only, 2 event index, 4 write-through), then the
 * contents of guest memory from its first byte: descriptor table at 0,
 * available ring at 0x1000, used ring at 0x2000, the rest at 0x3000.  Memory is
 * one region with pages around it that nobody may touch; the disk is a memory
 * file whose size must not change.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bk-dev.h"
#include "fuzz.h"
#include "mb-log.h"
#include "vh-dev-priv.h"

#define MEMORY 0x8000
#define DISK (64 * 1024)
#define USER UINT64_C(0x100000)

struct target {
    struct bk_dev *blk;
    struct vh_dev *vh;
};

static struct vh_region
guarded_region(void)
{
    char *map = mmap(NULL, MEMORY + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED || mprotect(map + 4096, MEMORY, PROT_READ | PROT_WRITE) < 0)
        abort();
    return (struct vh_region){
        .gpa = 0, .size = MEMORY, .user = USER, .host = map + 4096, .map = map, .map_size = MEMORY + 8192};
}

static void
make_target(struct target *t, int disk, bool read_only)
{
    struct bk_dev_settings set = {
        .serial = "fuzz", .num_queues = 1, .discard = true, .engine = BK_ENGINE_THREADS, .max_threads = 1};
    struct bk_image *image;
    struct bk_err err;
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
    if (bk_raw_open(path, read_only, &image, &err) < 0)
        abort();
    if (bk_dev_new(image, &set, &t->blk, &err) < 0)
        abort();
    t->vh = vh_dev_new(&t->blk->ops, t->blk);
    if (!t->vh)
        abort();
    t->vh->mem.n = 1;
    t->vh->mem.region[0] = guarded_region();
}

static void
run(struct target *t, bool event_idx)
{
    struct vh_queue *q = &t->vh->queues[0];
    struct vh_loop *loop = vh_loop_new();

    q->num = 64;
    q->addr = (struct vh_vring_addr){.desc = USER, .avail = USER + 0x1000, .used = USER + 0x2000};
    if (!loop)
        abort();
    if (vh_queue_map(q, &t->vh->mem, &t->vh->inflight, event_idx, true) == 0) {
        if (bk_queue_start(t->blk, q, loop) < 0)
            abort();
        bk_queue_process(vh_queue_data(q));
        bk_queue_stop(vh_queue_data(q));
        vh_queue_unmap(q);
    }
    vh_loop_free(loop);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct target targets[2];
    static int disks[2];
    struct fuzz_input in = {data, size};
    uint8_t flags = fuzz_u8(&in);
    struct target *t = &targets[flags & 1];
    struct stat st;

    if (!t->vh) {
        mb_log_set_fd(-1);
        disks[flags & 1] = memfd_create("disk", MFD_CLOEXEC);
        if (disks[flags & 1] < 0 || ftruncate(disks[flags & 1], DISK) < 0)
            abort();
        make_target(t, disks[flags & 1], flags & 1);
    }
    fuzz_take(&in, t->vh->mem.region[0].host, MEMORY);
    atomic_store(&t->blk->writeback, !(flags & 4));
    run(t, flags & 2);
    if (fstat(disks[flags & 1], &st) < 0 || st.st_size != DISK || (flags & 1 && st.st_blocks != 0))
        abort();
    return 0;
}

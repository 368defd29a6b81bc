/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rings that are used as they should not be.  Each case makes one kind of
 * nonsense available; the queue must be marked broken (err eventfd), nothing
 * may be served, and the process goes on: another queue, and the same one after
 * a new start, work.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "mb-log.h"
#include "rig.h"
#include "vh-msg.h"

#define QUEUE 0
#define OTHER 1
#define SIZE 64
#define LONG_TABLE 128

/* Descriptor i of the queue's table. */
static void
set_desc(struct vu *vu, unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
    vu->q[QUEUE].ring.desc[i] = (struct vring_desc){addr, len, (uint16_t)flags, (uint16_t)next};
}

static void
set_entry(struct vring_desc *table, unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
    table[i] = (struct vring_desc){addr, len, (uint16_t)flags, (uint16_t)next};
}

/* An indirect descriptor 0 for table. */
static void
set_indirect(struct vu *vu, const struct vring_desc *table, uint32_t len, unsigned flags)
{
    set_desc(vu, 0, vu_gpa(vu, table), len, VRING_DESC_F_INDIRECT | flags, 1);
}

static void
head_out_of_range(struct vu *vu, uint64_t good)
{
    vu_make_available(vu, QUEUE, SIZE);
}

static void
head_far_out_of_range(struct vu *vu, uint64_t good)
{
    vu_make_available(vu, QUEUE, 0xffff);
}

static void
next_out_of_range(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, good, 8, VRING_DESC_F_NEXT, SIZE);
    vu_make_available(vu, QUEUE, 0);
}

/* What would be found behind the table is a good descriptor. */
static void
next_far_out_of_range(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, good, 8, VRING_DESC_F_NEXT, 40000);
    set_desc(vu, 40000, good, 8, 0, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
loop_of_one(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, good, 8, VRING_DESC_F_NEXT, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
loop_of_two(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, good, 8, VRING_DESC_F_NEXT, 1);
    set_desc(vu, 1, good, 8, VRING_DESC_F_NEXT, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
readable_after_writable(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, good, 8, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
    set_desc(vu, 1, good, 8, 0, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
empty_buffer(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, good, 0, 0, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
below_memory(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, VU_GPA_BASE - 1, 8, 0, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
past_memory(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, VU_GPA_BASE + vu->mem_size - 7, 8, 0, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
far_past_memory(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, good, UINT32_MAX, 0, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
wraps_address_space(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, UINT64_MAX - 3, 8, 0, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
available_index_jumps(struct vu *vu, uint64_t good)
{
    vu->q[QUEUE].avail_idx = (uint16_t)(vu->q[QUEUE].avail_idx + SIZE);
    vu_make_available(vu, QUEUE, 0);
}

static void
available_index_goes_back(struct vu *vu, uint64_t good)
{
    vu->q[QUEUE].avail_idx = (uint16_t)(vu->q[QUEUE].avail_idx - 2);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_empty(struct vu *vu, uint64_t good)
{
    set_indirect(vu, vu_ptr(vu, good), 0, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_odd_length(struct vu *vu, uint64_t good)
{
    set_entry(vu_ptr(vu, good), 0, good, 8, 0, 0);
    set_indirect(vu, vu_ptr(vu, good), 24, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_huge(struct vu *vu, uint64_t good)
{
    set_indirect(vu, vu_ptr(vu, good), 1025 * 16, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_max_length(struct vu *vu, uint64_t good)
{
    set_indirect(vu, vu_ptr(vu, good), 0xfffffff0u, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_nested(struct vu *vu, uint64_t good)
{
    set_entry(vu_ptr(vu, good), 0, good, 16, VRING_DESC_F_INDIRECT, 0);
    set_indirect(vu, vu_ptr(vu, good), 16, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_with_next(struct vu *vu, uint64_t good)
{
    set_entry(vu_ptr(vu, good), 0, good, 8, 0, 0);
    set_indirect(vu, vu_ptr(vu, good), 16, VRING_DESC_F_NEXT);
    set_desc(vu, 1, good, 8, 0, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_next_out_of_range(struct vu *vu, uint64_t good)
{
    set_entry(vu_ptr(vu, good), 0, good, 8, VRING_DESC_F_NEXT, 2);
    set_entry(vu_ptr(vu, good), 1, good, 8, 0, 0);
    set_indirect(vu, vu_ptr(vu, good), 32, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_next_far_out_of_range(struct vu *vu, uint64_t good)
{
    struct vring_desc *table = vu_ptr(vu, good);

    /* The end of long_table_works()'s table, would the device look at it. */
    set_entry(table, 0, good, 8, VRING_DESC_F_NEXT, LONG_TABLE - 2);
    set_indirect(vu, table, 64, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_loop(struct vu *vu, uint64_t good)
{
    set_entry(vu_ptr(vu, good), 0, good, 8, VRING_DESC_F_NEXT, 1);
    set_entry(vu_ptr(vu, good), 1, good, 8, VRING_DESC_F_NEXT, 0);
    set_indirect(vu, vu_ptr(vu, good), 32, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_table_outside(struct vu *vu, uint64_t good)
{
    set_desc(vu, 0, VU_GPA_BASE + vu->mem_size - 8, 16, VRING_DESC_F_INDIRECT, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
indirect_buffer_outside(struct vu *vu, uint64_t good)
{
    set_entry(vu_ptr(vu, good), 0, 8, 8, 0, 0);
    set_indirect(vu, vu_ptr(vu, good), 16, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
too_many_segments(struct vu *vu, uint64_t good)
{
    struct vring_desc *table = vu_ptr(vu, good);
    unsigned i;

    /* Each buffer lies across two regions and thus makes two segments: 2048 in all. */
    for (i = 0; i < 1024; i++)
        set_entry(table, i, VU_GPA_BASE + vu->mem_size / 2 - 4, 8, i < 1023 ? VRING_DESC_F_NEXT : 0, i + 1);
    set_indirect(vu, table, 1024 * 16, 0);
    vu_make_available(vu, QUEUE, 0);
}

static void
device_breaks_it(struct vu *vu, uint64_t good)
{
    *(char *)vu_ptr(vu, good) = 'B';
    set_desc(vu, 0, good, 8, 0, 0);
    vu_make_available(vu, QUEUE, 0);
}

static const struct {
    const char *name;
    void (*make)(struct vu *vu, uint64_t good);
    uint64_t features_off;
} cases[] = {
    {"head out of range", head_out_of_range, 0},
    {"head far out of range", head_far_out_of_range, 0},
    {"next out of range", next_out_of_range, 0},
    {"next far out of range", next_far_out_of_range, 0},
    {"a descriptor that follows itself", loop_of_one, 0},
    {"two descriptors in a loop", loop_of_two, 0},
    {"readable after writable", readable_after_writable, 0},
    {"empty buffer", empty_buffer, 0},
    {"buffer below memory", below_memory, 0},
    {"buffer past memory", past_memory, 0},
    {"buffer far past memory", far_past_memory, 0},
    {"buffer that wraps the address space", wraps_address_space, 0},
    {"available index jumps", available_index_jumps, 0},
    {"available index goes back", available_index_goes_back, 0},
    {"indirect table of no length", indirect_empty, 0},
    {"indirect table of odd length", indirect_odd_length, 0},
    {"indirect table of 1025 entries", indirect_huge, 0},
    {"indirect table of the largest length", indirect_max_length, 0},
    {"indirect in indirect", indirect_nested, 0},
    {"indirect with a successor", indirect_with_next, 0},
    {"indirect next out of range", indirect_next_out_of_range, 0},
    {"indirect next far out of range", indirect_next_far_out_of_range, 0},
    {"indirect loop", indirect_loop, 0},
    {"indirect table outside memory", indirect_table_outside, 0},
    {"indirect buffer outside memory", indirect_buffer_outside, 0},
    {"indirect without the feature", indirect_buffer_outside, UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC},
    {"more segments than there is room for", too_many_segments, 0},
    {"the device finds fault", device_breaks_it, 0},
};

/* CPU time of the process; it must not spin on a queue that is broken. */
static double
cpu_seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A long table that is right, so that what the device keeps of it is no excuse for later ones. */
static bool
long_table_works(struct vu *vu)
{
    struct iovec out[LONG_TABLE - 1], in = {vu_alloc(vu, 1, 1), 1};
    char *byte = vu_alloc(vu, 1, 1);
    unsigned i;

    for (i = 0; i < LONG_TABLE - 1; i++)
        out[i] = (struct iovec){byte, 1};
    return vu_submit(vu, QUEUE, out, LONG_TABLE - 1, &in, 1, VU_FORCE_KICK | VU_INDIRECT, vu) == 0 &&
           vu_wait(vu, QUEUE, VU_TIMEOUT_MS, NULL, NULL) == 1;
}

static void
test_case(unsigned i)
{
    struct vu_options o = {.queues = 2, .queue_size = SIZE, .max_segments = LONG_TABLE, .regions = 2};
    bool was_device = cases[i].make == device_breaks_it;
    struct rig rig;
    unsigned served;

    o.features_off = cases[i].features_off;
    if (!open_rig(&rig, o) || !ok(echo_works(rig.vu, QUEUE), "the queue works"))
        return;
    if (!o.features_off)
        ok(long_table_works(rig.vu), "  with a long table too");
    served = rig.toy.served;
    cases[i].make(rig.vu, vu_gpa(rig.vu, vu_alloc(rig.vu, 32768, 64)));
    vu_kick(rig.vu, QUEUE, true);
    eq_int(vu_wait_err(rig.vu, QUEUE, VU_TIMEOUT_MS), 1, cases[i].name);
    eq_int(vu_poll(rig.vu, QUEUE, NULL, NULL), 0, "  completes nothing");
    vu_kick(rig.vu, QUEUE, true);
    ok(vu_stop_queue(rig.vu, QUEUE) >= 0, "  the queue can be stopped");
    eq_int(rig.toy.served - served, was_device, "  nothing reached the device that was not to judge");
    ok(echo_works(rig.vu, OTHER), "  the other queue works");
    vu_reset_ring(rig.vu, QUEUE);
    eq_int(vu_start_queue(rig.vu, QUEUE), 0, "  and started");
    ok(echo_works(rig.vu, QUEUE), "  and works again");
    eq_int(close_rig(&rig), 0, "  the connection lived on");
}

/* A kick descriptor that is always readable and no eventfd. */
static void
test_bad_kick(void)
{
    int ends[2], kick;
    struct rig rig;
    double before;

    if (!open_rig(&rig, (struct vu_options){.queue_size = SIZE}) || pipe2(ends, O_CLOEXEC) < 0)
        return;
    kick = rig.vu->q[0].kick_fd;
    close(ends[1]);
    rig.vu->q[0].kick_fd = ends[0];
    vu_stop_queue(rig.vu, 0);
    eq_int(vu_start_queue(rig.vu, 0), 0, "a closed pipe as kick descriptor");
    eq_int(vu_wait_err(rig.vu, 0, VU_TIMEOUT_MS), 1, "breaks the queue");
    before = cpu_seconds();
    vu_wait_err(rig.vu, 0, 200);
    ok(cpu_seconds() - before < 0.1, "and nobody spins (%.3f s in 0.2 s)", cpu_seconds() - before);
    rig.vu->q[0].kick_fd = kick;
    close(ends[0]);
    close_rig(&rig);
}

int
main(void)
{
    unsigned i;

    mb_log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        test_case(i);
    test_bad_kick();
    return tap_done();
}

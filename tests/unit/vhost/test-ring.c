/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rings that are used as they should: every layout, both notification modes, wrap. */
#include <config.h>

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"
#include "vh-msg.h"

#define BIT(n) (UINT64_C(1) << (n))

static void
finish_rig(struct rig *rig)
{
    eq_int(close_rig(rig), 0, "the front-end's leaving is no error");
    eq_int(rig->toy.started, rig->toy.stopped, "every queue that started stopped");
}

/* One request of segments out and in, filled with a pattern; true when it was echoed. */
static bool
echo(struct vu *vu, unsigned queue, unsigned n_out, unsigned n_in, size_t segment, unsigned flags)
{
    size_t mark = vu_mark(vu), want = (n_out < n_in ? n_out : n_in) * segment;
    struct iovec out[64], in[64];
    unsigned i;
    uint32_t len = 0;
    bool good = true;
    void *token = NULL;

    for (i = 0; i < n_out; i++) {
        out[i] = (struct iovec){vu_alloc(vu, segment, 1), segment};
        memset(out[i].iov_base, 'a' + (int)i % 26, segment);
    }
    for (i = 0; i < n_in; i++)
        in[i] = (struct iovec){vu_alloc(vu, segment, 1), segment};
    if (vu_submit(vu, queue, out, n_out, in, n_in, flags, &token) < 0 ||
        vu_wait(vu, queue, VU_TIMEOUT_MS, &token, &len) != 1)
        good = false;
    if (want > 4096)
        want = 4096;
    for (i = 0; good && i < n_in && i < n_out && (i + 1) * segment <= 4096; i++)
        good = memcmp(in[i].iov_base, out[i].iov_base, segment) == 0;
    vu_release(vu, mark);
    return good && len == want && token == &token;
}

static void
test_layouts(struct vu_options o, const char *what)
{
    struct rig rig;
    bool all = true;
    unsigned n;

    if (!open_rig(&rig, o))
        return;
    for (n = 1; n <= 32; n++)
        all = all && echo(rig.vu, 0, n, n, 100, VU_KICK);
    ok(all, "%s: chains of 2 to 64 descriptors", what);
    if (vu_has_feature(rig.vu, VIRTIO_RING_F_INDIRECT_DESC)) {
        for (n = 1; n <= 32; n++)
            all = all && echo(rig.vu, 0, n, n, 77, VU_KICK | VU_INDIRECT);
        ok(all, "%s: indirect tables of 2 to 64 descriptors", what);
    }
    ok(echo(rig.vu, 0, 1, 0, 16, VU_KICK), "%s: nothing writable", what);
    ok(echo(rig.vu, 0, 3, 1, 16, VU_KICK), "%s: more readable than writable", what);
    finish_rig(&rig);
}

/* A ring of 128 that passes index 65535 twice, with many requests under way. */
static void
test_wrap(struct vu_options o, const char *what)
{
    enum { TOTAL = 150000, DEPTH = 32 };
    struct rig rig;
    struct iovec out, in[DEPTH];
    unsigned sent = 0, done = 0, i;
    bool good = true;

    if (!open_rig(&rig, o))
        return;
    out = (struct iovec){vu_alloc(rig.vu, 8, 1), 8};
    memcpy(out.iov_base, "abcdefgh", 8);
    for (i = 0; i < DEPTH; i++)
        in[i] = (struct iovec){vu_alloc(rig.vu, 8, 1), 8};
    while (done < TOTAL && good) {
        uint32_t len;
        void *token;

        while (sent < TOTAL && sent - done < DEPTH) {
            if (vu_submit(rig.vu, 0, &out, 1, &in[sent % DEPTH], 1, 0, &in[sent % DEPTH]) < 0)
                good = false;
            sent++;
        }
        vu_kick(rig.vu, 0, false);
        good = good && vu_wait(rig.vu, 0, VU_TIMEOUT_MS, &token, &len) == 1 && len == 8;
        done++;
    }
    ok(good, "%s: %d requests at depth %d around the index's end (%u done)", what, TOTAL, DEPTH, done);
    eq_int(vu_stop_queue(rig.vu, 0), TOTAL % 65536, "the device tells the index it stopped at");
    eq_int(rig.toy.served, TOTAL, "each was served once");
    finish_rig(&rig);
}

/* Kicks and interrupts that nobody needs are not made. */
static void
test_suppression(struct vu_options o, const char *what)
{
    struct rig rig;
    struct iovec out, in;
    uint64_t interrupts, pending = 0;
    void *token;
    unsigned i;

    if (!open_rig(&rig, o))
        return;
    out = (struct iovec){vu_alloc(rig.vu, 1, 1), 1};
    in = (struct iovec){vu_alloc(rig.vu, 1, 1), 1};
    /* 50 held requests and one that releases them all: one batch. */
    *(char *)out.iov_base = 'H';
    for (i = 0; i < 50; i++)
        vu_submit(rig.vu, 0, &out, 1, &in, 1, i == 49 ? VU_KICK : 0, &rig);
    ok(toy_wait_served(&rig.toy, 50), "%s: 50 requests are held", what);
    out = (struct iovec){vu_alloc(rig.vu, 1, 1), 1};
    *(char *)out.iov_base = 'R';
    vu_submit(rig.vu, 0, &out, 1, &in, 1, VU_KICK, &rig);
    for (i = 0; i < 51; i++)
        vu_wait(rig.vu, 0, VU_TIMEOUT_MS, &token, NULL);
    interrupts = rig.vu->q[0].calls;
    if (read(rig.vu->q[0].call_fd, &pending, sizeof(pending)) == sizeof(pending))
        interrupts += pending;
    ok(interrupts >= 1 && interrupts <= 2, "%s: a batch of 51 raised %u interrupts", what,
       (unsigned)interrupts);
    ok(rig.vu->q[0].kicks <= 2, "%s: and took %u kicks", what, (unsigned)rig.vu->q[0].kicks);
    finish_rig(&rig);
}

/* The driver that says it wants no interrupt gets none. */
static void
test_no_interrupt(void)
{
    struct rig rig;
    struct iovec out, in;
    void *token;

    if (!open_rig(&rig, (struct vu_options){.features_off = BIT(VIRTIO_RING_F_EVENT_IDX)}))
        return;
    rig.vu->q[0].ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    out = (struct iovec){vu_alloc(rig.vu, 1, 1), 1};
    in = (struct iovec){vu_alloc(rig.vu, 1, 1), 1};
    vu_submit(rig.vu, 0, &out, 1, &in, 1, VU_KICK, &rig);
    ok(toy_wait_served(&rig.toy, 1), "no interrupt wanted: the request is taken");
    eq_int(vu_stop_queue(rig.vu, 0), 1, "the queue stops behind it");
    eq_int(vu_poll(rig.vu, 0, &token, NULL), 1, "it is complete");
    eq_int(vu_wait(rig.vu, 0, 50, &token, NULL), -ETIMEDOUT, "and nothing is signalled");
    eq_int(rig.vu->q[0].calls, 0, "not even in vain");
    finish_rig(&rig);
}

/* A buffer and an indirect table that lie across two regions that adjoin. */
static void
test_regions(uint64_t protocol_off)
{
    const size_t region = 16u << 20;
    struct rig rig;
    struct iovec out, in;
    uint32_t len = 0;
    void *token;

    if (!open_rig(&rig, (struct vu_options){.regions = 4, .protocol_off = protocol_off}))
        return;
    vu_alloc(rig.vu, region - vu_mark(rig.vu) - 1000, 1);
    out = (struct iovec){vu_alloc(rig.vu, 2000, 1), 2000};
    memset(out.iov_base, 'x', 2000);
    vu_alloc(rig.vu, 2 * region - vu_mark(rig.vu) - 500, 1);
    in = (struct iovec){vu_alloc(rig.vu, 2000, 1), 2000};
    vu_submit(rig.vu, 0, &out, 1, &in, 1, VU_KICK, &rig);
    eq_int(vu_wait(rig.vu, 0, VU_TIMEOUT_MS, &token, &len), 1, "a request across regions completes");
    ok(len == 2000 && memcmp(out.iov_base, in.iov_base, 2000) == 0, "and has all its bytes");

    vu_alloc(rig.vu, 3 * region - vu_mark(rig.vu) - 16, 1);
    rig.vu->q[0].tables = vu_alloc(rig.vu, 64 * 64 * 16, 1);
    rig.vu->q[0].max_segments = 2;
    rig.vu->q[0].tables -= 2 * rig.vu->q[0].free_head;
    vu_submit(rig.vu, 0, &out, 1, &in, 1, VU_KICK | VU_INDIRECT, &rig);
    eq_int(vu_wait(rig.vu, 0, VU_TIMEOUT_MS, &token, &len), 1, "an indirect table across regions is read");
    finish_rig(&rig);
}

static void
test_queues(void)
{
    struct rig rig;
    bool all = true;
    unsigned i;

    if (!open_rig(&rig, (struct vu_options){.queues = TOY_MAX_QUEUES, .queue_size = 1024}))
        return;
    eq_int(rig.vu->backend_queues, TOY_MAX_QUEUES, "the device tells how many queues it has");
    for (i = 0; i < 100; i++)
        all = all && echo(rig.vu, i % TOY_MAX_QUEUES, 1, 1, 64, VU_KICK);
    ok(all, "four queues in turn");
    finish_rig(&rig);
}

/* Stopping with requests held: the device completes them first. */
static void
test_stop_drains(void)
{
    struct rig rig;
    struct iovec out, in;
    unsigned i, got = 0;

    if (!open_rig(&rig, (struct vu_options){.queues = 1}))
        return;
    out = (struct iovec){vu_alloc(rig.vu, 1, 1), 1};
    in = (struct iovec){vu_alloc(rig.vu, 1, 1), 1};
    *(char *)out.iov_base = 'H';
    for (i = 0; i < 10; i++)
        vu_submit(rig.vu, 0, &out, 1, &in, 1, VU_KICK, &rig);
    ok(toy_wait_served(&rig.toy, 10), "the device takes ten requests");
    eq_int(vu_poll(rig.vu, 0, NULL, NULL), 0, "ten requests are held");
    eq_int(vu_stop_queue(rig.vu, 0), 10, "the queue stops at 10");
    while (vu_poll(rig.vu, 0, NULL, NULL) == 1)
        got++;
    eq_int(got, 10, "all ten completed before it did");
    eq_int(vu_start_queue(rig.vu, 0), 0, "the queue starts again");
    ok(echo(rig.vu, 0, 1, 1, 100, VU_KICK), "and goes on where it was");
    finish_rig(&rig);
}

/* Disabling a ring stops it, enabling it goes on; a new call descriptor is used at once. */
static void
test_enable(void)
{
    struct vh_vring_state state = {0, 0};
    struct rig rig;
    void *token;
    struct iovec out, in;

    if (!open_rig(&rig, (struct vu_options){.queues = 1}))
        return;
    out = (struct iovec){vu_alloc(rig.vu, 1, 1), 1};
    in = (struct iovec){vu_alloc(rig.vu, 1, 1), 1};
    ok(echo(rig.vu, 0, 1, 1, 10, VU_KICK), "an enabled ring works");
    eq_int(vu_request(rig.vu, VH_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0), 0, "it is disabled");
    vu_submit(rig.vu, 0, &out, 1, &in, 1, VU_FORCE_KICK, &token);
    eq_int(vu_wait(rig.vu, 0, 50, &token, NULL), -ETIMEDOUT, "a disabled ring does not");
    state.num = 1;
    eq_int(vu_request(rig.vu, VH_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0), 0, "it is enabled");
    eq_int(vu_wait(rig.vu, 0, VU_TIMEOUT_MS, &token, NULL), 1, "what waited is served");
    finish_rig(&rig);
}

int
main(void)
{
    const struct vu_options all = {.queues = 1};
    const struct vu_options no_event = {.features_off = BIT(VIRTIO_RING_F_EVENT_IDX)};
    const struct vu_options plain = {
        .features_off =
            BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VH_F_PROTOCOL_FEATURES),
    };

    test_layouts(all, "all features");
    test_layouts(no_event, "no event index");
    test_layouts(plain, "no features");
    test_wrap(all, "event index");
    test_wrap(no_event, "flags");
    test_wrap((struct vu_options){.queue_size = 1024, .protocol_off = BIT(VH_PROTOCOL_F_INFLIGHT_SHMFD)},
              "untracked");
    test_suppression(all, "event index");
    test_suppression(no_event, "flags");
    test_no_interrupt();
    test_regions(0);
    test_regions(BIT(VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS));
    test_queues();
    test_stop_drains();
    test_enable();
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests survive their back-end: it is killed with some completed out of
 * order and some not, and the next one, given the in-flight region, serves the
 * rest first, in the order they were submitted, each once.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mb-log.h"
#include "tap.h"
#include "toy.h"
#include "vh-dev.h"
#include "vh-inflight.h"
#include "vh-msg.h"
#include "vuclient.h"

#define SIZE 64
#define REGION_MAX (sizeof(struct vh_inflight_queue) + SIZE * sizeof(struct vh_inflight_desc))

struct request {
    struct iovec out, in;
    bool done;
};

static void
submit(struct vu *vu, struct request *r, char kind, char id, unsigned flags)
{
    r->out = (struct iovec){vu_alloc(vu, 2, 1), 2};
    r->in = (struct iovec){vu_alloc(vu, 2, 1), 2};
    ((char *)r->out.iov_base)[0] = kind;
    ((char *)r->out.iov_base)[1] = id;
    r->done = false;
    if (vu_submit(vu, 0, &r->out, 1, &r->in, 1, flags, r) < 0)
        ok(false, "there is room in the ring");
}

/* Take n completions; false at the deadline. */
static bool
take(struct vu *vu, unsigned n)
{
    while (n-- > 0) {
        void *token = NULL;

        if (vu_wait(vu, 0, VU_TIMEOUT_MS, &token, NULL) != 1)
            return false;
        ((struct request *)token)->done = true;
    }
    return true;
}

static void
kill_toy(struct vu *vu, pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    vu_disconnect(vu);
}

/* Wait until the device has noted n requests in the region. */
static bool
wait_noted(const struct vh_inflight_queue *part, unsigned n)
{
    struct timespec pause = {.tv_nsec = 100000};
    unsigned i, noted, tries;

    for (tries = 0; tries < 100000; tries++) {
        for (i = noted = 0; i < SIZE; i++)
            noted += __atomic_load_n(&part->desc[i].inflight, __ATOMIC_ACQUIRE);
        if (noted >= n)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

static void
test_kill(unsigned start)
{
    enum { HELD = 20 };
    struct vu_options o = {.queue_size = SIZE};
    struct request held[HELD], quick[4], after[4], warm;
    struct vh_inflight inflight = {0};
    struct vh_inflight_msg m;
    bool stamped = true;
    struct vu *vu;
    unsigned i;
    pid_t pid;

    pid = toy_fork(&o.fd, true);
    vu = vu_open(&o);
    if (!ok(vu != NULL && vu->inflight_fd >= 0, "the toy is up and tracks requests"))
        return;
    m = (struct vh_inflight_msg){vu->inflight_size, vu->inflight_offset, 1, SIZE};
    eq_int(vh_inflight_map(&inflight, &m, vu->inflight_fd), 0, "its region can be mapped");
    for (i = 0; i < start; i++) {
        submit(vu, &warm, 'x', 0, VU_KICK);
        take(vu, 1);
    }
    /* Completed in the order they came, their descriptors are used again in the other: heads then
     * tell nothing of the order of submission. */
    for (i = 0; i < 24; i++)
        submit(vu, &warm, 'x', 0, VU_KICK);
    ok(take(vu, 24), "descriptors are shuffled");
    /* Held and quick ones mixed: completions in another order than submissions. */
    for (i = 0; i < HELD; i++) {
        submit(vu, &held[i], 'H', (char)i, VU_KICK);
        if (i % 5 == 4)
            submit(vu, &quick[i / 5], 'x', (char)i, VU_KICK);
    }
    ok(take(vu, 4) && quick[0].done && quick[3].done, "the quick ones complete");
    ok(wait_noted(vh_inflight_get(&inflight, 0, SIZE), HELD), "the held ones are noted");
    kill_toy(vu, pid);
    eq_int(vu_in_flight(vu, 0), HELD, "killed with twenty under way");
    for (i = 0; i < 4; i++)
        submit(vu, &after[i], 'H', (char)i, 0);

    pid = toy_fork(&o.fd, true);
    eq_int(vu_reconnect(vu, o.fd), 0, "another one takes over");
    submit(vu, &warm, 'R', 0, VU_FORCE_KICK);
    ok(take(vu, HELD + 5), "everything completes");
    /* The toy stamps a held request with its place among the held. */
    for (i = 0; i < HELD; i++)
        stamped = stamped && held[i].done && *(char *)held[i].in.iov_base == (char)i;
    for (i = 0; i < 4; i++)
        stamped = stamped && after[i].done && *(char *)after[i].in.iov_base == (char)(HELD + i);
    ok(stamped, "in the order of submission, what was in flight first");
    eq_int(vu_in_flight(vu, 0), 0, "nothing is left");
    submit(vu, &warm, 'x', 0, VU_KICK);
    ok(take(vu, 1) && vu_poll(vu, 0, NULL, NULL) == 0, "and nothing came twice");
    eq_int(vu_stop_queue(vu, 0), (uint16_t)(start + 24 + HELD + 4 + 4 + 2), "the index is right");
    vh_inflight_clear(&inflight);
    vu_close(vu);
    waitpid(pid, NULL, 0);
}

/* Killed again and again at random moments under load, no request is lost or comes twice. */
static void
test_kill_often(void)
{
    enum { ROUNDS = 30, DEPTH = 48 };
    struct vu_options o = {.queue_size = 256};
    struct request r[DEPTH];
    unsigned round, i, completed = 0;
    bool good = true;
    struct vu *vu;
    size_t mark;
    pid_t pid;

    pid = toy_fork(&o.fd, false);
    vu = vu_open(&o);
    if (!ok(vu != NULL, "the toy is up"))
        return;
    mark = vu_mark(vu);
    for (round = 0; round < ROUNDS && good; round++) {
        unsigned before_kill = (unsigned)random() % (2 * DEPTH), seen = 0;

        for (i = 0; i < DEPTH; i++) {
            /* Every fourth is held, so that orders differ. */
            submit(vu, &r[i], i % 4 ? 'x' : 'H', (char)i, 0);
        }
        vu_kick(vu, 0, true);
        while (seen < before_kill && vu_poll(vu, 0, NULL, NULL) == 1)
            seen++;
        kill_toy(vu, pid);
        pid = toy_fork(&o.fd, false);
        good = vu_reconnect(vu, o.fd) == 0;
        submit(vu, &r[0], 'R', 0, VU_FORCE_KICK);
        while (good && vu_in_flight(vu, 0) > 0) {
            good = vu_wait(vu, 0, VU_TIMEOUT_MS, NULL, NULL) == 1;
            seen++;
        }
        completed += seen;
        good = good && vu_poll(vu, 0, NULL, NULL) == 0;
        vu_release(vu, mark);
    }
    ok(good, "killed %u times under load", round);
    eq_int(completed, ROUNDS * (DEPTH + 1), "every request completed once");
    vu_close(vu);
    waitpid(pid, NULL, 0);
}

/* ---- the region's contents are the front-end's ------------------------------------------------ */

static struct vh_inflight_queue *
new_part(void)
{
    return calloc(1, REGION_MAX);
}

static void
test_recovery(void)
{
    struct vh_inflight_queue *p = new_part();
    uint16_t heads[SIZE];
    uint64_t counter = 99;
    int r;

    eq_int(vh_inflight_recover(p, SIZE, 7, heads, &counter), -ENODATA, "a fresh region knows nothing");
    eq_int(p->version, 1, "and is made ready");
    eq_int(p->used_idx, 7, "at the ring's index");
    p->desc[5] = (struct vh_inflight_desc){.inflight = 1, .counter = 30};
    p->desc[9] = (struct vh_inflight_desc){.inflight = 1, .counter = 10};
    p->desc[1] = (struct vh_inflight_desc){.inflight = 1, .counter = 20};
    r = vh_inflight_recover(p, SIZE, 7, heads, &counter);
    ok(r == 3 && heads[0] == 9 && heads[1] == 1 && heads[2] == 5, "three in flight, by their counters");
    eq_int(counter, 31, "new counters are above");
    /* Two were published and not struck off: 9, then 1. */
    p->desc[9].next = 0;
    p->desc[1].next = 9;
    p->last_batch_head = 1;
    r = vh_inflight_recover(p, SIZE, 9, heads, &counter);
    ok(r == 1 && heads[0] == 5 && p->used_idx == 9, "a batch that was published is struck off");
    p->last_batch_head = SIZE;
    eq_int(vh_inflight_recover(p, SIZE, 10, heads, &counter), -ENODATA,
           "a list that leaves the region is not followed");
    eq_int(p->desc[5].inflight, 0, "the region starts anew");
    p->used_idx = 0;
    eq_int(vh_inflight_recover(p, SIZE, SIZE + 1, heads, &counter), -ENODATA,
           "nor is a batch larger than the ring");
    p->version = 2;
    eq_int(vh_inflight_recover(p, SIZE, SIZE + 1, heads, &counter), -ENODATA, "nor another version");
    free(p);
}

static void
test_messages(void)
{
    struct vh_inflight_msg good = {0, 0, 2, SIZE}, m;
    struct vh_inflight inflight = {0};
    int fd;

    fd = vh_inflight_create(&inflight, &good);
    ok(fd >= 0, "a region is made");
    ok(vh_inflight_get(&inflight, 1, SIZE) && !vh_inflight_get(&inflight, 2, SIZE) &&
           !vh_inflight_get(&inflight, 0, SIZE + 1),
       "for two queues of that size");
    m = good;
    m.mmap_size = UINT64_MAX;
    ok(vh_inflight_map(&inflight, &m, fd) < 0, "a size that wraps is refused");
    m = good;
    m.mmap_offset = 4096;
    ok(vh_inflight_map(&inflight, &m, fd) < 0, "an offset past the file is refused");
    ok(inflight.state && (char *)inflight.state == inflight.queues + good.mmap_size - VH_DEV_STATE_SIZE,
       "the device's part is behind them");
    m = good;
    m.mmap_size--;
    ok(vh_inflight_map(&inflight, &m, fd) == 0 && !inflight.state, "without room for it there is none");
    m.mmap_size = good.mmap_size - VH_DEV_STATE_SIZE - 1;
    ok(vh_inflight_map(&inflight, &m, fd) < 0, "one byte too few for the queues is refused");
    m = good;
    m.n_queues = 0;
    ok(vh_inflight_map(&inflight, &m, fd) < 0, "no queues are refused");
    m = good;
    m.queue_size = 0xffff;
    ok(vh_inflight_map(&inflight, &m, fd) < 0, "queues too large are refused");
    vh_inflight_clear(&inflight);
    close(fd);
}

int
main(void)
{
    mb_log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    srandom(1);
    test_recovery();
    test_messages();
    test_kill(0);
    test_kill(65500);
    test_kill_often();
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long a thread looks for work, by a made-up clock. */
#include <config.h>

#include "tap.h"
#include "vh-poll.h"

#define MAX_NS 50000u
#define LONG_NS 1000000u

static uint64_t now = 1000000000u;

/* The thread sleeps for ns and is woken by work. */
static void
sleep_for(struct vh_poll *poll, uint64_t ns)
{
    vh_poll_sleeps(poll, now);
    now += ns;
    vh_poll_wakes(poll, now);
}

static void
test_adapts(void)
{
    struct vh_poll poll;
    unsigned i;

    vh_poll_init(&poll, MAX_NS);
    eq_int(poll.look_ns, 0, "at first it does not look");
    sleep_for(&poll, 10000);
    eq_int(poll.look_ns, VH_POLL_MIN_NS, "work that came soon makes it look");
    for (i = 0; i < 10; i++)
        sleep_for(&poll, 10000);
    eq_int(poll.look_ns, MAX_NS, "for longer each time, up to the limit");
    sleep_for(&poll, LONG_NS);
    eq_int(poll.look_ns, MAX_NS / 2, "work that stayed away halves it");
    for (i = 0; i < 10; i++)
        sleep_for(&poll, LONG_NS);
    eq_int(poll.look_ns, 0, "down to not at all");
    vh_poll_wakes(&poll, now + 1);
    eq_int(poll.look_ns, 0, "a thread that did not sleep learns nothing");
    vh_poll_init(&poll, 0);
    sleep_for(&poll, 0);
    eq_int(poll.look_ns, 0, "a limit of 0 turns it off");
}

static void
test_rests(void)
{
    struct vh_poll poll;
    uint64_t rest;
    unsigned i;

    vh_poll_init(&poll, MAX_NS);
    for (i = 0; i < 10; i++)
        sleep_for(&poll, 10000);
    ok(vh_poll_step(&poll, now, now + VH_POLL_GAP_NS), "an interrupt does not end a search");
    ok(!vh_poll_step(&poll, now, now + VH_POLL_GAP_NS + 1), "a processor taken away does");
    now += VH_POLL_GAP_NS + 1;
    sleep_for(&poll, 10000);
    eq_int(poll.look_ns, 0, "then it does not look for a while");
    now = poll.rest_until;
    sleep_for(&poll, 10000);
    eq_int(poll.look_ns, VH_POLL_MIN_NS, "which ends");
    for (rest = poll.rest_ns, i = 0; i < 8; i++) {
        vh_poll_step(&poll, now, now + VH_POLL_GAP_NS + 1);
        if (poll.rest_ns != (rest * 2 > VH_POLL_REST_MAX_NS ? VH_POLL_REST_MAX_NS : rest * 2))
            break;
        rest = poll.rest_ns;
        now = poll.rest_until;
    }
    eq_int(i, 8, "and lasts twice as long when it happens again, up to a limit");
    now = poll.rest_until + poll.rest_ns;
    vh_poll_step(&poll, now, now + LONG_NS);
    eq_int(poll.rest_ns, VH_POLL_REST_MIN_NS, "unless that was long ago");
}

static void
test_vain(void)
{
    struct vh_poll poll;
    unsigned i;

    vh_poll_init(&poll, MAX_NS);
    for (i = 0; i < 10; i++)
        sleep_for(&poll, 10000);
    for (i = 0; i < VH_POLL_MAX_VAIN - 1; i++) {
        vh_poll_gave_up(&poll);
        sleep_for(&poll, 10000);
    }
    eq_int(poll.look_ns, MAX_NS, "a few searches in vain do no harm");
    vh_poll_found(&poll);
    vh_poll_gave_up(&poll);
    sleep_for(&poll, 10000);
    eq_int(poll.look_ns, MAX_NS, "what is found in between makes up for them");
    for (i = 0; i < VH_POLL_MAX_VAIN - 1; i++) {
        vh_poll_gave_up(&poll);
        sleep_for(&poll, 10000);
    }
    eq_int(poll.look_ns, 0, "work just after searches in vain: others need the processor to give it");
    ok(poll.rest_until > now, "so it rests");
}

int
main(void)
{
    test_adapts();
    test_rests();
    test_vain();
    return tap_done();
}

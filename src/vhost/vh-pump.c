/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work of a queue's thread, see vh-pump.h.
 */
#include <config.h>

#include "vh-pump.h"

#include <time.h>

#include "mb-macros.h"

#define LOOKS_PER_STEP 16u      /* looks at the ring between two at the clock */

static uint64_t
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline void
cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void
vh_pump_init(struct vh_pump *pump, const struct vh_pump_ops *ops, void *opaque, struct vh_queue *queue,
             uint32_t poll_max_ns)
{
    *pump = (struct vh_pump){.ops = ops, .opaque = opaque, .queue = queue};
    vh_poll_init(&pump->poll, poll_max_ns);
}

static bool
step(struct vh_pump *pump)
{
    unsigned i;

    for (i = 0; i < LOOKS_PER_STEP; i++) {
        if (vh_queue_ready(pump->queue))
            return true;
        cpu_relax();
    }
    if (pump->ops->idle) {
        pump->ops->idle(pump->opaque);
        vh_pump_tell(pump);
    }
    return false;
}

/* Look for new requests, from the time now on; true if there are some. */
static bool
look(struct vh_pump *pump, uint64_t now)
{
    uint64_t last, until = now + pump->poll.look_ns;

    if (pump->poll.look_ns == 0)
        return false;
    do {
        if (step(pump)) {
            vh_poll_found(&pump->poll);
            return true;
        }
        last = now;
        now = now_ns();
        if (!vh_poll_step(&pump->poll, last, now))
            return vh_queue_ready(pump->queue);
    } while (now < until);
    vh_poll_gave_up(&pump->poll);
    return false;
}

/* Take and look until nothing is found.  False when the turn is over before. */
static bool
take_turns(struct vh_pump *pump, uint64_t end)
{
    uint64_t now;

    do {
        pump->starved = !pump->ops->burst(pump->opaque);
        vh_pump_tell(pump);
        now = now_ns();
        if (now > end)
            return false;
    } while (!pump->starved && look(pump, now));
    return true;
}

void
vh_pump_run(struct vh_pump *pump)
{
    uint64_t now = now_ns(), end = now + VH_PUMP_TURN_NS;
    bool again;

    pump->running = true;
    vh_poll_wakes(&pump->poll, now);
    do {
        vh_queue_disable_kick(pump->queue);
        again = !take_turns(pump, end);
    } while (!again && vh_queue_enable_kick(pump->queue) && !pump->starved);
    pump->running = false;
    if (again)
        vh_queue_again(pump->queue);
    else
        vh_poll_sleeps(&pump->poll, now_ns());
}

void
vh_pump_flush(struct vh_pump *pump)
{
    vh_pump_tell(pump);
    if (pump->starved && !pump->running)
        vh_queue_again(pump->queue);
}

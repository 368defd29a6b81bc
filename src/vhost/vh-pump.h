/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work of a queue's thread, the same for every device: take what is there,
 * tell the driver, look for more for a moment (vh-poll.h), sleep.
 *
 * A device embeds a pump in its state of a queue, calls vh_pump_run() from
 * vh_dev_ops.process, and vh_pump_pushed() after each vh_queue_push().  What is
 * pushed outside of vh_pump_run() (on an event of the loop) is followed by
 * vh_pump_flush().
 *
 * All on the queue's worker thread.
 */
#ifndef VH_PUMP_H
#define VH_PUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "vh-poll.h"
#include "vh-queue.h"

/* After this long the worker's loop gets a turn, however much the driver has to ask. */
#define VH_PUMP_TURN_NS 5000000u

struct vh_pump_ops {
    /* vh_queue_pop() until nothing is left, and start all of it.  False when requests may be left
     * in the ring for want of room; the device calls vh_pump_flush() when there is room again. */
    bool (*burst)(void *opaque);

    /* The thread is looking for requests and finds none: push what was finished elsewhere
     * meanwhile, if anything was.  Called about once a microsecond. Optional. */
    void (*idle)(void *opaque);

    /* The driver is told of that many completions at least at once, as long as there is more to
     * take: fewer let it go on earlier, more save interrupts.  vh_pump_tell() does it earlier. */
    unsigned notify_every;
};

struct vh_pump {
    const struct vh_pump_ops *ops;
    void *opaque;
    struct vh_queue *queue;
    struct vh_poll poll;
    unsigned pushed;            /* since the driver was told */
    bool starved;               /* the last burst left requests in the ring */
    bool running;               /* vh_pump_run() is on the stack */
};

/* poll_max_ns: the longest search for new requests. */
void vh_pump_init(struct vh_pump *pump, const struct vh_pump_ops *ops, void *opaque, struct vh_queue *queue,
                  uint32_t poll_max_ns);

/* Until there is nothing to take and looking for more is not worth it. */
void vh_pump_run(struct vh_pump *pump);

/* Tell the driver of what was pushed. */
static inline void
vh_pump_tell(struct vh_pump *pump)
{
    pump->pushed = 0;
    vh_queue_notify(pump->queue);
}

/* A request was pushed. */
static inline void
vh_pump_pushed(struct vh_pump *pump)
{
    if (++pump->pushed >= pump->ops->notify_every)
        vh_pump_tell(pump);
}

/* Tell the driver of what was pushed, and take what was left in the ring for want of room. */
void vh_pump_flush(struct vh_pump *pump);

#endif

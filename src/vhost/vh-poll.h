/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long a thread looks for new work before it sleeps.
 *
 * Looking (polling) saves the driver a kick and the thread a wake-up when the
 * next request follows soon.  How long it lasts follows what happens: doubled,
 * up to the limit, when work came shortly after the thread went to sleep;
 * halved, down to not at all, when it stayed away for longer than the limit.
 * So a device that is asked rarely costs no processor time.
 *
 * Where somebody else wants the processor, looking takes from the driver what
 * it wants to give.  There are two signs of that: the thread lost its processor
 * while it looked; or work came just after a search in vain, again and again.
 * Then looking rests, for VH_POLL_REST_MIN_NS at first, each time twice as long
 * up to VH_POLL_REST_MAX_NS.
 *
 * This is the rule alone, in terms of times that the caller reads from a
 * monotonic clock, in nanoseconds; vh-pump.h applies it to a queue.  Not thread
 * safe: a state belongs to one thread.
 */
#ifndef VH_POLL_H
#define VH_POLL_H

#include <stdbool.h>
#include <stdint.h>

#define VH_POLL_MIN_NS 4000u            /* the shortest search */
#define VH_POLL_GAP_NS 200000u          /* a step of a microsecond took that long: no interrupt does */
#define VH_POLL_MAX_VAIN 4u             /* searches in vain in a row, with work just after each */
#define VH_POLL_REST_MIN_NS 20000000u
#define VH_POLL_REST_MAX_NS 640000000u

struct vh_poll {
    uint32_t max_ns;            /* the limit; 0: never look */
    uint32_t look_ns;           /* how long the next search may take; 0: do not look */
    unsigned vain;
    uint64_t slept_at;          /* 0: did not sleep since it woke */
    uint64_t rest_ns, rest_until;
};

/* A state that has seen nothing yet: it does not look. */
void vh_poll_init(struct vh_poll *poll, uint32_t max_ns);

/* The thread goes to sleep at the time now; it woke because of work at the time now. */
void vh_poll_sleeps(struct vh_poll *poll, uint64_t now);
void vh_poll_wakes(struct vh_poll *poll, uint64_t now);

/* A step of a search in which nothing was found lasted from last to now.  False when the search
 * has to end because the processor was taken away. */
bool vh_poll_step(struct vh_poll *poll, uint64_t last, uint64_t now);

/* A search is over: it found work, or its time is up. */
void vh_poll_found(struct vh_poll *poll);
void vh_poll_gave_up(struct vh_poll *poll);

#endif

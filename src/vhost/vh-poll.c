/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rule of polling, see vh-poll.h.
 */
#include <config.h>

#include "vh-poll.h"

#include "mb-macros.h"

void
vh_poll_init(struct vh_poll *poll, uint32_t max_ns)
{
    *poll = (struct vh_poll){.max_ns = max_ns};
}

static void
rest(struct vh_poll *poll, uint64_t now)
{
    bool again = now < poll->rest_until + poll->rest_ns;

    poll->rest_ns = again ? MB_MIN(2 * poll->rest_ns, (uint64_t)VH_POLL_REST_MAX_NS) : VH_POLL_REST_MIN_NS;
    poll->rest_until = now + poll->rest_ns;
    poll->look_ns = 0;
    poll->vain = 0;
}

void
vh_poll_sleeps(struct vh_poll *poll, uint64_t now)
{
    poll->slept_at = now;
}

void
vh_poll_wakes(struct vh_poll *poll, uint64_t now)
{
    uint64_t slept = now - poll->slept_at;

    if (poll->slept_at == 0 || now < poll->rest_until)
        return;
    poll->slept_at = 0;
    if (poll->vain >= VH_POLL_MAX_VAIN) {
        rest(poll, now);
    } else if (slept <= poll->max_ns) {
        poll->look_ns = MB_MIN(poll->max_ns, MB_MAX(VH_POLL_MIN_NS, poll->look_ns * 2));
    } else {
        poll->look_ns = poll->look_ns / 2 < VH_POLL_MIN_NS ? 0 : poll->look_ns / 2;
        poll->vain = 0;
    }
}

bool
vh_poll_step(struct vh_poll *poll, uint64_t last, uint64_t now)
{
    if (now - last <= VH_POLL_GAP_NS)
        return true;
    rest(poll, now);
    return false;
}

void
vh_poll_found(struct vh_poll *poll)
{
    poll->vain = 0;
}

void
vh_poll_gave_up(struct vh_poll *poll)
{
    /* Only one that could not have been longer says anything. */
    poll->vain += poll->look_ns == poll->max_ns;
}

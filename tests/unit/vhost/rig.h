/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A toy device and a front-end on it, in one process.
 */
#ifndef RIG_H
#define RIG_H

#include <string.h>

#include "tap.h"
#include "toy.h"
#include "vuclient.h"

struct rig {
    struct toy toy;
    struct vu *vu;
};

/* With the options o, but for the connection; a failure is a failed test. */
static inline bool
open_rig(struct rig *rig, struct vu_options o)
{
    memset(rig, 0, sizeof(*rig));
    o.fd = toy_start(&rig->toy);
    rig->vu = vu_open(&o);
    if (!rig->vu)
        ok(false, "the toy device is up");
    return rig->vu;
}

/* The front-end leaves; what the device says of its connection. */
static inline int
close_rig(struct rig *rig)
{
    vu_close(rig->vu);
    return toy_join(&rig->toy, false);
}

/* Eight bytes there and back. */
static inline bool
echo_works(struct vu *vu, unsigned queue)
{
    size_t mark = vu_mark(vu);
    struct iovec out = {vu_alloc(vu, 8, 1), 8}, in = {vu_alloc(vu, 8, 1), 8};
    uint32_t len = 0;
    int r;

    memcpy(out.iov_base, "12345678", 8);
    r = vu_submit(vu, queue, &out, 1, &in, 1, VU_FORCE_KICK, vu);
    if (r == 0)
        r = vu_wait(vu, queue, VU_TIMEOUT_MS, NULL, &len);
    if (r == 1 && (len != 8 || memcmp(in.iov_base, "12345678", 8) != 0))
        r = 0;
    vu_release(vu, mark);
    return r == 1;
}

#endif

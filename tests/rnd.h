/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A small generator of random numbers (xorshift64) for tests: the same seed gives the same numbers everywhere. */
#ifndef RND_H
#define RND_H

#include <stdint.h>

/* *state: not 0.  The upper bits are the better ones. */
static inline uint64_t
rnd_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Below n. */
static inline uint32_t
rnd_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)(rnd_next(state) >> 20) % n;
}

#endif

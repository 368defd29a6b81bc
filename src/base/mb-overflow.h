/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Arithmetic on numbers from outside.  The MB_*_OVERFLOW macros store the
 * result in *res and are true when it did not fit the type of *res, whatever
 * the types of a and b.  The functions answer questions about ranges without
 * computing anything that may wrap.
 */
#ifndef MB_OVERFLOW_H
#define MB_OVERFLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mb-macros.h"

#define MB_ADD_OVERFLOW(a, b, res) MB_UNLIKELY(__builtin_add_overflow((a), (b), (res)))
#define MB_SUB_OVERFLOW(a, b, res) MB_UNLIKELY(__builtin_sub_overflow((a), (b), (res)))
#define MB_MUL_OVERFLOW(a, b, res) MB_UNLIKELY(__builtin_mul_overflow((a), (b), (res)))

/* [offset, offset + len) lies within [0, size). An empty range may start at size. */
static inline bool
mb_range_within(uint64_t offset, uint64_t len, uint64_t size)
{
    return offset <= size && len <= size - offset;
}

/* [a, a + a_len) and [b, b + b_len) share a byte; neither may wrap. */
static inline bool
mb_ranges_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a_len && b_len && (a <= b ? b - a < a_len : a - b < b_len);
}

static inline bool
mb_is_power_of_2(uint64_t v)
{
    return v && !(v & (v - 1));
}

static inline bool
mb_is_aligned(uint64_t v, uint64_t power_of_2)
{
    return !(v & (power_of_2 - 1));
}

/* v rounded up to the next multiple of a power of 2; false when that wraps. */
static inline bool MB_MUST_CHECK
mb_round_up(uint64_t v, uint64_t power_of_2, uint64_t *res)
{
    if (MB_ADD_OVERFLOW(v, power_of_2 - 1, res))
        return false;
    *res &= ~(power_of_2 - 1);
    return true;
}

#endif

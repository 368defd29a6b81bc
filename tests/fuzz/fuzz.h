/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every fuzz target is: a function that takes any bytes and returns.
 *
 * A target is a file fuzz-NAME.c with LLVMFuzzerTestOneInput(), seeds in
 * corpus/NAME/, and an entry in Makemodule.am.  Configured with
 * --enable-fuzzing CC=clang it becomes a libFuzzer program; otherwise it is
 * linked with fuzz-replay.c and becomes a test of "make check" that runs the
 * seeds, and mutations of them that are the same in every run.
 *
 * A target returns 0, leaves nothing behind, and crashes (abort(), a
 * sanitizer) when something is wrong.  What a fuzzer finds becomes a seed with
 * a name that says what it is.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Longest input worth trying; fuzz-replay.c cuts at it. */
#define FUZZ_MAX_INPUT 65536

/* The input as a stream: the next n bytes, and zeros when it is used up. */
struct fuzz_input {
    const uint8_t *p;
    size_t left;
};

static inline void
fuzz_take(struct fuzz_input *in, void *to, size_t n)
{
    uint8_t *out = to;

    while (n > 0 && in->left > 0) {
        *out++ = *in->p++;
        in->left--;
        n--;
    }
    while (n-- > 0)
        *out++ = 0;
}

static inline uint8_t
fuzz_u8(struct fuzz_input *in)
{
    uint8_t v;

    fuzz_take(in, &v, sizeof(v));
    return v;
}

static inline uint16_t
fuzz_u16(struct fuzz_input *in)
{
    uint16_t v;

    fuzz_take(in, &v, sizeof(v));
    return v;
}

#endif

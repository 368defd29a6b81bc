/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Strict parsing of numbers from command lines and files: the whole string or
 * nothing.  No leading blanks, signs, or trailing bytes.  0 with the result in
 * *out, or -EINVAL (not of that form) or -ERANGE (too large), *out untouched.
 */
#ifndef MB_PARSE_H
#define MB_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "mb-macros.h"

/* A hexadecimal digit's value, of either case; 16 for what is none. */
int mb_digit_value(char c);

/* Decimal, or hexadecimal after 0x. */
int mb_parse_u64(const char *s, uint64_t *out) MB_MUST_CHECK;
int mb_parse_u32(const char *s, uint32_t *out) MB_MUST_CHECK;

/* on/off, yes/no, true/false, 1/0. */
int mb_parse_bool(const char *s, bool *out) MB_MUST_CHECK;

/* Bytes: decimal digits and an optional K, M, G, T, P or E (also Ki, KiB, KB;
 * any case), powers of 1024. */
int mb_parse_size(const char *s, uint64_t *out) MB_MUST_CHECK;

#endif

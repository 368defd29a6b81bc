/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attributes and small macros that every part of the tree uses.  Libc only.
 */
#ifndef MB_MACROS_H
#define MB_MACROS_H

#include <stddef.h>

#define MB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MB_MUST_CHECK __attribute__((warn_unused_result))
#define MB_NONNULL(...) __attribute__((nonnull(__VA_ARGS__)))
#define MB_UNUSED __attribute__((unused))
#define MB_NORETURN __attribute__((noreturn))
#define MB_PACKED __attribute__((packed))
#define MB_CLEANUP(fn) __attribute__((cleanup(fn)))

#define MB_LIKELY(x) __builtin_expect(!!(x), 1)
#define MB_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define MB_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MB_MIN(a, b) ((a) < (b) ? (a) : (b))
#define MB_MAX(a, b) ((a) > (b) ? (a) : (b))
#define MB_CONTAINER_OF(ptr, type, member) \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define MB_STRINGIFY_(x) #x
#define MB_STRINGIFY(x) MB_STRINGIFY_(x)

#endif

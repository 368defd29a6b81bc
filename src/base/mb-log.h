/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Log of a daemon or the agent: one line per message on stderr,
 *
 *     msb-vhost-blk: error: open '/x': No such file or directory
 *
 * written with one write(), so that threads and processes do not mix.  Control
 * characters in a message are replaced, so that nothing a guest names forges a
 * line.  errno survives every call.  Any thread.
 */
#ifndef MB_LOG_H
#define MB_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mb-macros.h"

enum mb_log_level { MB_LOG_ERROR = 0, MB_LOG_WARN, MB_LOG_INFO, MB_LOG_DEBUG };

/* Name in front of every line (borrowed for ever); default: the program's. */
void mb_log_set_name(const char *name);

/* Messages above level are dropped; default MB_LOG_INFO. */
void mb_log_set_level(enum mb_log_level level);
enum mb_log_level mb_log_get_level(void);

/* "error", "warn", "info", "debug": 0, or -EINVAL with *level untouched. */
int mb_log_parse_level(const char *name, enum mb_log_level *level) MB_MUST_CHECK;

/* Where lines go instead of descriptor 2 (borrowed). */
void mb_log_set_fd(int fd);

/* %m works as in syslog(). */
void mb_log(enum mb_log_level level, const char *fmt, ...) MB_PRINTF(2, 3);

#define mb_error(...) mb_log(MB_LOG_ERROR, __VA_ARGS__)
#define mb_warn(...) mb_log(MB_LOG_WARN, __VA_ARGS__)
#define mb_info(...) mb_log(MB_LOG_INFO, __VA_ARGS__)
/* Arguments of a debug message are not evaluated when it is not logged. */
#define mb_debug(...) \
    do { \
        if (MB_UNLIKELY(mb_log_get_level() >= MB_LOG_DEBUG)) \
            mb_log(MB_LOG_DEBUG, __VA_ARGS__); \
    } while (0)

/*
 * At most burst messages per window: for what a guest can cause as often as it
 * likes.  Static initialisation with MB_RATELIMIT_INIT; any thread.
 */
struct mb_ratelimit {
    unsigned burst;
    unsigned window_ms;
    _Atomic uint64_t window_start_ms;
    atomic_uint count;
};
#define MB_RATELIMIT_INIT(burst_, window_ms_) \
    { \
        .burst = (burst_), .window_ms = (window_ms_) \
    }

/* True if a message may be logged now. */
bool mb_ratelimit_ok(struct mb_ratelimit *limit);

/* A warning of which at most five in ten seconds are logged, per call site. */
#define mb_warn_limited(...) \
    do { \
        static struct mb_ratelimit mb_limit_ = MB_RATELIMIT_INIT(5, 10000); \
        if (mb_ratelimit_ok(&mb_limit_)) \
            mb_log(MB_LOG_WARN, __VA_ARGS__); \
    } while (0)

#endif

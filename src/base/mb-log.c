/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Log lines on stderr, see mb-log.h.  The level and the name are the only
 * global state; both are set once by main() before threads start.
 */
#include <config.h>

#include "mb-log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static const char *log_name;
static atomic_int log_level = MB_LOG_INFO;
static atomic_int log_fd = STDERR_FILENO;

void
mb_log_set_name(const char *name)
{
    log_name = name;
}

void
mb_log_set_level(enum mb_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

enum mb_log_level
mb_log_get_level(void)
{
    return (enum mb_log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

int
mb_log_parse_level(const char *name, enum mb_log_level *level)
{
    unsigned i;

    for (i = 0; i < MB_ARRAY_SIZE(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum mb_log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void
mb_log_set_fd(int fd)
{
    atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
}

static void
blank_control_characters(char *s, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            s[i] = '?';
    }
}

void
mb_log(enum mb_log_level level, const char *fmt, ...)
{
    int saved = errno;
    char line[LINE_MAX_BYTES];
    int head, body;
    size_t len;
    va_list ap;

    if (level > mb_log_get_level())
        return;
    head = snprintf(line, sizeof(line) / 4, "%s: %s: ", log_name ? log_name : program_invocation_short_name,
                    level_names[level]);
    len = MB_MIN((size_t)MB_MAX(head, 0), sizeof(line) / 4 - 1);
    va_start(ap, fmt);
    errno = saved;
    body = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
    va_end(ap);
    if (body > 0)
        len += MB_MIN((size_t)body, sizeof(line) - len - 2);
    blank_control_characters(line, len);
    line[len++] = '\n';
    while (write(atomic_load_explicit(&log_fd, memory_order_relaxed), line, len) < 0 && errno == EINTR)
        ;
    errno = saved;
}

bool
mb_ratelimit_ok(struct mb_ratelimit *limit)
{
    int saved = errno;
    struct timespec ts;
    uint64_t now, start;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    errno = saved;
    now = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
    start = atomic_load_explicit(&limit->window_start_ms, memory_order_relaxed);
    if (start == 0 || now - start >= limit->window_ms) {
        /* Of the threads that see the window end, one opens the next. */
        if (atomic_compare_exchange_strong(&limit->window_start_ms, &start, now))
            atomic_store(&limit->count, 0);
    }
    return atomic_fetch_add(&limit->count, 1) < limit->burst;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small things that every part of the agent needs: the boot error, the clock,
 * bounded reading of files that the guest's owner may have put anything at.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

int
ag_fail(struct ag_error *e, int error, const char *object, const char *fmt, ...)
{
    va_list ap;

    if (e->message[0] == '\0') {
        e->error = error;
        snprintf(e->object, sizeof(e->object), "%s", object);
        va_start(ap, fmt);
        vsnprintf(e->message, sizeof(e->message), fmt, ap);
        va_end(ap);
    }
    return error > 0 ? -error : -EIO;
}

uint64_t
ag_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Make room for more after len bytes; more than max are not wanted. */
static int
grow(char **buf, size_t len, size_t *cap, size_t max)
{
    size_t want = *cap ? *cap * 2 : 4096;
    char *p;

    if (len + 1 < *cap)
        return 0;
    if (len > max)
        return -EFBIG;
    p = realloc(*buf, want);
    if (!p)
        return -ENOMEM;
    *buf = p;
    *cap = want;
    return 0;
}

int
ag_read_file(int dirfd, const char *path, size_t max, char **text)
{
    mb_autofd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    mb_autofree char *buf = NULL;
    size_t len = 0, cap = 0;
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    do {
        int r = grow(&buf, len, &cap, max);

        if (r < 0)
            return r;
        n = read(fd, buf + len, cap - len - 1);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            len += (size_t)n;
    } while (n != 0);
    if (len > max)
        return -EFBIG;
    buf[len] = '\0';
    *text = mb_steal_ptr(&buf);
    return 0;
}

int
ag_read_line(int dirfd, const char *path, char *buf, size_t size)
{
    mb_autofd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t r;

    if (fd < 0)
        return -errno;
    r = read(fd, buf, size - 1);
    if (r < 0)
        return -errno;
    buf[r] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
    return 0;
}

int
ag_write_all(int fd, const void *p, size_t n)
{
    const char *s = p;

    while (n > 0) {
        ssize_t r = write(fd, s, n);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        s += r;
        n -= (size_t)r;
    }
    return 0;
}

int
ag_write_file(int dirfd, const char *path, const char *text)
{
    mb_autofd int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return -errno;
    return ag_write_all(fd, text, strlen(text));
}

bool
ag_parse_id(const char *s, uint32_t *id)
{
    uint64_t v = 0;

    if (*s == '\0')
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        v = v * 10 + (uint64_t)(*s - '0');
        if (v >= UINT32_MAX)
            return false;
    }
    *id = (uint32_t)v;
    return true;
}

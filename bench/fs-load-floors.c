/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Floors of bench/fs-load: the system calls that an operation needs at least,
 * in a plain loop, without any queue.  No back-end that does them one after
 * the other can be faster.
 */
#include <config.h>

#include "fs-load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-macros.h"

int floor_names_fd, floor_many_fd, floor_big_fd;
char *floor_buf[2];

double
floor_stat(void)
{
    struct statx stx;

    (void)!statx(floor_names_fd, name_of(rnd() % N_NAMES), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx);
    return 1;
}

double
floor_missing(void)
{
    struct statx stx;

    (void)!statx(floor_names_fd, "no-such-name", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx);
    return 1;
}

double
floor_open(void)
{
    close(openat(floor_names_fd, name_of(rnd() % N_NAMES), O_RDONLY | O_CLOEXEC));
    return 1;
}

double
floor_create(void)
{
    int fd = openat(floor_names_fd, "floor-file", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    struct statx stx;

    (void)!statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx);
    close(fd);
    unlinkat(floor_names_fd, "floor-file", 0);
    return 1;
}

static double
floor_transfer(bool write, size_t len, bool random)
{
    static uint64_t position;
    static unsigned turn;
    uint64_t at = random ? (uint64_t)(rnd() % (FILE_SIZE / 4096)) * 4096 : (position += len) % FILE_SIZE;
    char *buf = floor_buf[turn++ % 2];

    if ((write ? pwrite(floor_big_fd, buf, len, (off_t)at) : pread(floor_big_fd, buf, len, (off_t)at)) < 0)
        die("floor", -errno);
    return 1;
}

/* The directory read, and each name looked at. */
double
floor_readdir(void)
{
    static char buf[32768];
    double entries = 0;
    ssize_t len, at;

    lseek(floor_many_fd, 0, SEEK_SET);
    while ((len = getdents64(floor_many_fd, buf, sizeof(buf))) > 0) {
        for (at = 0; at < len;) {
            const struct dirent64 *d = (const void *)(buf + at);
            struct statx stx;

            (void)!statx(floor_many_fd, d->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx);
            at += d->d_reclen;
            entries++;
        }
    }
    return entries;
}

double
floor_read_4k(void)
{
    return floor_transfer(false, 4096, true);
}

double
floor_write_4k(void)
{
    return floor_transfer(true, 4096, true);
}

double
floor_read_1m(void)
{
    return floor_transfer(false, 1u << 20, false);
}

double
floor_write_1m(void)
{
    return floor_transfer(true, 1u << 20, false);
}

/* ---- telling somebody ------------------------------------------------------------------------------------ */

static int tell_fd = -1;

static void *
listen_to(void *unused MB_UNUSED)
{
    eventfd_t value;

    while (eventfd_read(tell_fd, &value) == 0)
        ;
    return NULL;
}

void
floor_tell(void)
{
    if (tell_fd < 0) {
        pthread_t thread;
        int r;

        tell_fd = eventfd(0, EFD_CLOEXEC);
        r = tell_fd < 0 ? errno : pthread_create(&thread, NULL, listen_to, NULL);
        if (r != 0)
            die("a thread to tell", -r);
        pthread_detach(thread);
    }
    eventfd_write(tell_fd, 1);
}

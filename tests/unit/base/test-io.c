/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mb-io.h: whole reads and writes, files with a bound, descriptors over sockets. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "tap.h"

#define PIECES 1000

static void *
dribble(void *data)
{
    int fd = *(int *)data, i;

    for (i = 0; i < PIECES; i++) {
        if (mb_write_full(fd, "0123456789", 10) < 0)
            break;
    }
    close(fd);
    return NULL;
}

static void
test_full(void)
{
    mb_autofree char *buf = malloc(PIECES * 10 + 1);
    pthread_t thread;
    int ends[2];

    if (!buf || pipe2(ends, O_CLOEXEC) < 0 || pthread_create(&thread, NULL, dribble, &ends[1]) != 0)
        return;
    eq_int(mb_read_full(ends[0], buf, 15), 15, "15 bytes that come in pieces");
    ok(memcmp(buf, "012345678901234", 15) == 0, "in order");
    eq_int(mb_read_full(ends[0], buf, PIECES * 10), PIECES * 10 - 15, "the rest, to the end");
    pthread_join(thread, NULL);
    eq_int(mb_read_full(ends[0], buf, 1), 0, "and nothing more");
    close(ends[0]);
    eq_int(mb_read_full(ends[0], buf, 1), -EBADF, "reading what is closed");
}

static void
test_positioned(void)
{
    mb_autofd int fd = memfd_create("test", MFD_CLOEXEC);
    char buf[8];

    eq_int(mb_pwrite_full(fd, "abcdef", 6, 10), 0, "writing at an offset");
    eq_int(mb_pread_full(fd, buf, 8, 8), 8, "reading at an offset");
    ok(memcmp(buf, "\0\0abcdef", 8) == 0, "what was written");
    eq_int(mb_pread_full(fd, buf, 8, 14), 2, "reading over the end");
    eq_int(mb_pread_full(fd, buf, 1, -1), -EINVAL, "a negative offset is none");
    eq_int(mb_pwrite_full(open("/dev/full", O_WRONLY | O_CLOEXEC), "x", 1, 0), -ENOSPC,
           "a full device says so");
}

static void
test_file(void)
{
    char dir[] = "/tmp/msb-test-XXXXXX";
    mb_autofree char *data = NULL;
    mb_autofd int dir_fd = -1;
    size_t len = 0;
    int fd, i;

    if (!mkdtemp(dir))
        return;
    dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    fd = openat(dir_fd, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (i = 0; i < 1000; i++) {
        if (mb_write_full(fd, "0123456789", 10) < 0)
            break;
    }
    close(fd);
    eq_int(mb_read_file_at(dir_fd, "f", 10000, &data, &len), 0, "a file as large as allowed");
    ok(len == 10000 && data[9999] == '9' && data[10000] == '\0', "wholly, and terminated");
    free(mb_steal_ptr(&data));
    eq_int(mb_read_file_at(dir_fd, "f", 9999, &data, &len), -EFBIG, "a file larger than allowed");
    eq_int(mb_read_file_at(dir_fd, "g", 1, &data, &len), -ENOENT, "a file that is not there");
    eq_int(mb_read_file_at(dir_fd, ".", 1, &data, &len), -EISDIR, "a directory");
    eq_int(mb_read_file_at(AT_FDCWD, "/proc/self/status", 1 << 20, &data, &len), 0,
           "a file that tells no size");
    ok(data && strncmp(data, "Name:", 5) == 0 && len > 100, "has its contents");
    free(mb_steal_ptr(&data));
    eq_int(mb_read_file_at(AT_FDCWD, "/dev/null", 0, &data, &len), 0, "an empty file, no byte allowed");
    unlinkat(dir_fd, "f", 0);
    rmdir(dir);
}

static unsigned
open_fds(void)
{
    unsigned n = 0;
    int fd;

    for (fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void
test_fds(void)
{
    int pair[2], fds[8], got[8], i;
    unsigned n = 99, before;
    uint64_t v = 0;
    char buf[8];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return;
    for (i = 0; i < 8; i++)
        fds[i] = eventfd((unsigned)i, EFD_CLOEXEC);
    eq_int(mb_send_fds(pair[0], "hello", 5, fds, 8), 0, "five bytes and eight descriptors");
    eq_int(mb_recv_fds(pair[1], buf, 8, got, 8, &n), 5, "five bytes come");
    eq_int(n, 8, "eight descriptors too");
    ok(read(got[5], &v, 8) == 8 && v == 5, "in order");
    ok(fcntl(got[0], F_GETFD) & FD_CLOEXEC, "closed on exec");
    mb_close_fds(got, n);
    eq_int(got[0], -1, "closed and forgotten");

    before = open_fds();
    eq_int(mb_send_fds(pair[0], "x", 1, fds, 8), 0, "eight descriptors");
    eq_int(mb_recv_fds(pair[1], buf, 8, got, 3, &n), -EMSGSIZE, "three expected: refused");
    eq_int(n, 0, "none given");
    eq_int(open_fds(), before, "none kept open");

    eq_int(mb_send_fds(pair[0], "y", 1, NULL, 0), 0, "no descriptor");
    eq_int(mb_recv_fds(pair[1], buf, 8, got, 0, &n), 1, "none wanted");
    eq_int(mb_send_fds(pair[0], "y", 1, fds, MB_IO_MAX_FDS + 1), -EINVAL, "too many to send");
    eq_int(mb_set_nonblock(pair[1], true), 0, "non-blocking");
    eq_int(mb_recv_fds(pair[1], buf, 8, got, 8, &n), -EAGAIN, "nothing there");
    close(pair[0]);
    eq_int(mb_recv_fds(pair[1], buf, 8, got, 8, &n), 0, "the peer left");
    eq_int(mb_send_fds(pair[1], "z", 1, NULL, 0), -EPIPE, "sending to it fails without a signal");
    close(pair[1]);
    mb_close_fds(fds, 8);
}

int
main(void)
{
    test_full();
    test_positioned();
    test_file();
    test_fds();
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whole reads and writes, small files, and messages with descriptors; see
 * mb-io.h for the contract.
 */
#include <config.h>

#include "mb-io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"

/* A negative offset reads on from the file position. */
static ssize_t
read_all(int fd, char *buf, size_t len, off_t offset)
{
    size_t done = 0;

    while (done < len) {
        ssize_t r = offset < 0 ? read(fd, buf + done, len - done)
                               : pread(fd, buf + done, len - done, offset + (off_t)done);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

static int
write_all(int fd, const char *buf, size_t len, off_t offset)
{
    size_t done = 0;

    while (done < len) {
        ssize_t r = offset < 0 ? write(fd, buf + done, len - done)
                               : pwrite(fd, buf + done, len - done, offset + (off_t)done);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            return -EIO;
        done += (size_t)r;
    }
    return 0;
}

ssize_t
mb_read_full(int fd, void *buf, size_t len)
{
    return read_all(fd, buf, len, -1);
}

ssize_t
mb_pread_full(int fd, void *buf, size_t len, off_t offset)
{
    return offset < 0 ? -EINVAL : read_all(fd, buf, len, offset);
}

int
mb_write_full(int fd, const void *buf, size_t len)
{
    return write_all(fd, buf, len, -1);
}

int
mb_pwrite_full(int fd, const void *buf, size_t len, off_t offset)
{
    return offset < 0 ? -EINVAL : write_all(fd, buf, len, offset);
}

int
mb_read_file_at(int dir_fd, const char *path, size_t max, char **buf, size_t *len)
{
    mb_autofree char *data = NULL;
    mb_autofd int fd = -1;
    size_t done = 0, cap = 4096;

    fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    /* The size that stat tells is no promise (proc, sysfs, a file that grows):
     * read to the end, one byte more than allowed at most. */
    for (;;) {
        char *bigger;
        ssize_t r;

        if (cap > max)
            cap = max + 1;
        bigger = realloc(data, cap + 1);
        if (!bigger)
            return -ENOMEM;
        data = bigger;
        r = mb_read_full(fd, data + done, cap - done);
        if (r < 0)
            return (int)r;
        done += (size_t)r;
        if (done > max)
            return -EFBIG;
        if (done < cap)
            break;
        cap *= 2;
    }
    data[done] = '\0';
    *buf = mb_steal_ptr(&data);
    if (len)
        *len = done;
    return 0;
}

union fd_control {
    struct cmsghdr align;
    char buf[CMSG_SPACE(MB_IO_MAX_FDS * sizeof(int))];
};

int
mb_send_fds(int sock, const void *buf, size_t len, const int *fds, unsigned n_fds)
{
    union fd_control control;
    struct iovec iov = {(void *)(uintptr_t)buf, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (len == 0 || n_fds > MB_IO_MAX_FDS)
        return -EINVAL;
    if (n_fds > 0) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof(control));
        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    while (iov.iov_len > 0) {
        ssize_t r = sendmsg(sock, &msg, MSG_NOSIGNAL);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        iov.iov_base = (char *)iov.iov_base + r;
        iov.iov_len -= (size_t)r;
        msg.msg_control = NULL;
        msg.msg_controllen = 0;
    }
    return 0;
}

void
mb_close_fds(int *fds, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        mb_close(fds[i]);
        fds[i] = -1;
    }
}

/* Move the descriptors of one control message to fds; false when they do not all fit. */
static bool
take_fds(const struct cmsghdr *c, int *fds, unsigned max_fds, unsigned *n_fds)
{
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;
    bool fit = true;

    for (i = 0; i < count; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
        if (*n_fds < max_fds) {
            fds[(*n_fds)++] = fd;
        } else {
            mb_close(fd);
            fit = false;
        }
    }
    return fit;
}

ssize_t
mb_recv_fds(int sock, void *buf, size_t len, int *fds, unsigned max_fds, unsigned *n_fds)
{
    union fd_control control;
    struct iovec iov = {buf, len};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.buf,
        .msg_controllen = sizeof(control.buf),
    };
    struct cmsghdr *c;
    bool fit = true;
    ssize_t r;

    *n_fds = 0;
    do {
        r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && !take_fds(c, fds, max_fds, n_fds))
            fit = false;
    }
    if (!fit || (msg.msg_flags & MSG_CTRUNC)) {
        mb_close_fds(fds, *n_fds);
        *n_fds = 0;
        return -EMSGSIZE;
    }
    return r;
}

static int
set_flag(int fd, int get, int set, int flag, bool on)
{
    int flags = fcntl(fd, get);

    if (flags < 0)
        return -errno;
    if (fcntl(fd, set, on ? flags | flag : flags & ~flag) < 0)
        return -errno;
    return 0;
}

int
mb_set_nonblock(int fd, bool on)
{
    return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int
mb_set_cloexec(int fd, bool on)
{
    return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

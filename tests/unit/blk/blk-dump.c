/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* blk-dump SOCKET FILE: copy the whole of a vhost-user-blk disk into a sparse file. */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "vu-blk.h"

#define CHUNK (64u * 1024)

static int
dump(struct vu_blk *b, int fd)
{
    static char buf[CHUNK], zeros[CHUNK];
    uint64_t size = vu_blk_size(b);

    if (ftruncate(fd, (off_t)size) < 0)
        return -errno;
    for (uint64_t at = 0; at < size; at += CHUNK) {
        size_t n = (size_t)MB_MIN(CHUNK, size - at);
        int r = vu_blk_read(b, at, buf, n);

        if (r < 0)
            return r;
        if (memcmp(buf, zeros, n) != 0 && pwrite(fd, buf, n, (off_t)at) != (ssize_t)n)
            return -errno;
    }
    return 0;
}

int
main(int argc, char **argv)
{
    struct vu_options o = {.socket_path = argc == 3 ? argv[1] : NULL};
    mb_autofd int fd = -1;
    struct vu_blk b;
    int r;

    if (argc != 3) {
        fprintf(stderr, "usage: blk-dump SOCKET FILE\n");
        return 2;
    }
    fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    r = fd < 0 ? -errno : vu_blk_open(&b, &o);
    if (r == 0) {
        r = dump(&b, fd);
        vu_blk_close(&b);
    }
    if (r < 0)
        fprintf(stderr, "blk-dump: %s\n", strerror(-r));
    return r < 0;
}

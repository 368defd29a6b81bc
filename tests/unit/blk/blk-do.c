/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blk-do SOCKET OPERATION...: carry these out on a vhost-user-blk disk, one after the other.
 *
 *   write:OFFSET:LENGTH:BYTE   zero:OFFSET:LENGTH   unmap:OFFSET:LENGTH (write-zeroes that may unmap)
 *   discard:OFFSET:LENGTH      flush                is:OFFSET:LENGTH:BYTE (read: nothing but this byte)
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mb-macros.h"
#include "vu-blk.h"

#define PIECE (1u << 20)

/* The next number of the operation; 0 when there is none. */
static uint64_t
number(const char **text)
{
    char *end;
    uint64_t n;

    if (**text != ':')
        return 0;
    n = strtoull(*text + 1, &end, 0);
    *text = end;
    return n;
}

static int
write_bytes(struct vu_blk *b, uint64_t offset, uint64_t len, int byte)
{
    static char buf[PIECE];
    int r = 0;

    memset(buf, byte, sizeof(buf));
    for (; r == 0 && len > 0; len -= MB_MIN(len, PIECE), offset += PIECE)
        r = vu_blk_write(b, offset, buf, MB_MIN(len, PIECE));
    return r;
}

static int
check_bytes(struct vu_blk *b, uint64_t offset, uint64_t len, uint8_t byte)
{
    static uint8_t buf[PIECE];

    for (; len > 0; len -= MB_MIN(len, PIECE), offset += PIECE) {
        size_t n = MB_MIN(len, PIECE);
        int r = vu_blk_read(b, offset, buf, n);

        if (r < 0)
            return r;
        for (size_t i = 0; i < n; i++) {
            if (buf[i] == byte)
                continue;
            fprintf(stderr, "blk-do: byte %llu is %u, not %u\n", (unsigned long long)(offset + i), buf[i], byte);
            return -EILSEQ;
        }
    }
    return 0;
}

static int
carry_out(struct vu_blk *b, const char *op)
{
    const char *p = op + strcspn(op, ":");
    size_t n = (size_t)(p - op);
    uint64_t offset = number(&p), len = number(&p), byte = number(&p);

    if (*p)
        return -EINVAL;
    if (strncmp(op, "write", n) == 0)
        return write_bytes(b, offset, len, (int)byte);
    if (strncmp(op, "is", n) == 0)
        return check_bytes(b, offset, len, (uint8_t)byte);
    if (strncmp(op, "zero", n) == 0)
        return vu_blk_write_zeroes(b, offset, len, false);
    if (strncmp(op, "unmap", n) == 0)
        return vu_blk_write_zeroes(b, offset, len, true);
    if (strncmp(op, "discard", n) == 0)
        return vu_blk_discard(b, offset, len);
    return strncmp(op, "flush", n) == 0 ? vu_blk_flush(b) : -EINVAL;
}

int
main(int argc, char **argv)
{
    struct vu_options o = {.socket_path = argc > 2 ? argv[1] : NULL, .queues = 1};
    struct vu_blk b;
    int r;

    if (argc < 3) {
        fprintf(stderr, "usage: blk-do SOCKET OPERATION...\n");
        return 2;
    }
    r = vu_blk_open(&b, &o);
    if (r < 0) {
        fprintf(stderr, "blk-do: %s: %s\n", argv[1], strerror(-r));
        return 1;
    }
    for (int i = 2; r == 0 && i < argc; i++) {
        r = carry_out(&b, argv[i]);
        if (r < 0)
            fprintf(stderr, "blk-do: %s: %s\n", argv[i], strerror(-r));
    }
    vu_blk_close(&b);
    return r < 0;
}

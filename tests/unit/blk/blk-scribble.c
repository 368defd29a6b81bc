/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blk-scribble SOCKET MODEL SEED ROUNDS: change a vhost-user-blk disk at
 * random, and the raw file MODEL of the same size in the same way.  Each round
 * writes eight pieces at once, often within one allocation unit, on two queues; then
 * one of: read and compare, write zeros, discard, flush.  The same seed does the
 * same.
 */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "vu-blk.h"

#define PIECES 8u
#define MAX_SLOT (64u << 10)
#define MAX_RANGE (512u << 10)
#define SECTOR 512u

struct scribble {
    struct vu_blk blk;
    struct vu_blk_io *io[PIECES];
    int model;
    uint64_t size;
    uint64_t rng;
};

/* xorshift64* */
static uint64_t
rnd(struct scribble *s, uint64_t below)
{
    s->rng ^= s->rng >> 12;
    s->rng ^= s->rng << 25;
    s->rng ^= s->rng >> 27;
    return (s->rng * UINT64_C(2685821657736338717) >> 11) % below;
}

static uint64_t
sectors(struct scribble *s, uint64_t bytes)
{
    return rnd(s, bytes / SECTOR) * SECTOR;
}

static int
model_write(struct scribble *s, const void *buf, size_t len, uint64_t offset)
{
    return pwrite(s->model, buf, len, (off_t)offset) == (ssize_t)len ? 0 : -errno;
}

static int
reap(struct scribble *s)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < PIECES; i++) {
        struct vu_blk_io *io = NULL;

        r = vu_blk_reap(&s->blk, i % 2, VU_TIMEOUT_MS, &io);
        if (r == 1)
            r = vu_blk_result(io);
    }
    return r;
}

/* Eight pieces beside one another, in slots that together are an eighth of a grain or several grains. */
static int
write_pieces(struct scribble *s)
{
    uint64_t slot = MAX_SLOT >> (rnd(s, 4) * 2), base = sectors(s, s->size - PIECES * slot);
    int r = 0;

    for (unsigned i = 0; r == 0 && i < PIECES; i++) {
        struct vu_blk_io *io = s->io[i];
        uint64_t begin = sectors(s, slot), len = sectors(s, slot - begin) + SECTOR;
        unsigned pattern = (unsigned)rnd(s, 256);

        io->type = VIRTIO_BLK_T_OUT;
        io->offset = base + i * slot + begin;
        io->length = (uint32_t)len;
        memset(io->data, (int)pattern, len);
        memcpy(io->data, &io->offset, sizeof(io->offset));
        r = model_write(s, io->data, len, io->offset);
        if (r == 0)
            r = vu_blk_submit(&s->blk, i % 2, io, VU_KICK);
    }
    return r < 0 ? r : reap(s);
}

static int
compare(struct scribble *s, uint64_t offset, size_t len)
{
    static char ours[MAX_RANGE], theirs[MAX_RANGE];
    int r = vu_blk_read(&s->blk, offset, ours, len);

    if (r < 0)
        return r;
    if (pread(s->model, theirs, len, (off_t)offset) != (ssize_t)len)
        return -EIO;
    for (size_t i = 0; i < len; i++) {
        if (ours[i] != theirs[i]) {
            fprintf(stderr, "blk-scribble: byte %llu is %#x, not %#x\n", (unsigned long long)(offset + i),
                    (unsigned char)ours[i], (unsigned char)theirs[i]);
            return -EIO;
        }
    }
    return 0;
}

static int
zero(struct scribble *s, uint64_t offset, size_t len)
{
    static const char zeros[MAX_RANGE];
    int r = vu_blk_write_zeroes(&s->blk, offset, len, rnd(s, 2));

    return r < 0 ? r : model_write(s, zeros, len, offset);
}

/* What is in a discarded range nobody knows; but it stays so. */
static int
discard(struct scribble *s, uint64_t offset, size_t len)
{
    static char buf[MAX_RANGE];
    int r = vu_blk_discard(&s->blk, offset, len);

    if (r == 0)
        r = vu_blk_read(&s->blk, offset, buf, len);
    return r < 0 ? r : model_write(s, buf, len, offset);
}

static int
one_round(struct scribble *s)
{
    uint64_t offset = sectors(s, s->size - MAX_RANGE);
    size_t len = sectors(s, MAX_RANGE) + SECTOR;
    int r = write_pieces(s);

    if (r < 0)
        return r;
    switch (rnd(s, 8)) {
    case 0:
        return zero(s, offset, len);
    case 1:
        return discard(s, offset, len);
    case 2:
        return vu_blk_flush(&s->blk);
    default:
        return compare(s, offset, len);
    }
}

static int
scribble(struct scribble *s, unsigned long rounds)
{
    int r = 0;

    s->size = vu_blk_size(&s->blk);
    if (s->size < PIECES * MAX_SLOT + SECTOR || lseek(s->model, 0, SEEK_END) != (off_t)s->size)
        return -EINVAL;
    for (unsigned i = 0; i < PIECES; i++) {
        s->io[i] = vu_blk_io_new(&s->blk, MAX_SLOT);
        if (!s->io[i])
            return -ENOMEM;
        s->io[i]->data = s->io[i]->data ? s->io[i]->data : vu_alloc(s->blk.vu, MAX_SLOT, 512);
    }
    while (r == 0 && rounds-- > 0)
        r = one_round(s);
    for (uint64_t at = 0; r == 0 && at < s->size; at += MAX_RANGE)
        r = compare(s, at, (size_t)MB_MIN(s->size - at, MAX_RANGE));
    return r == 0 ? vu_blk_flush(&s->blk) : r;
}

int
main(int argc, char **argv)
{
    struct vu_options o = {.socket_path = argc == 5 ? argv[1] : NULL, .queues = 2};
    static struct scribble s;
    int r;

    if (argc != 5) {
        fprintf(stderr, "usage: blk-scribble SOCKET MODEL SEED ROUNDS\n");
        return 2;
    }
    s.rng = strtoull(argv[3], NULL, 10) * 2654435761u + 1;
    s.model = open(argv[2], O_RDWR | O_CLOEXEC);
    r = s.model < 0 ? -errno : vu_blk_open(&s.blk, &o);
    if (r == 0) {
        r = scribble(&s, strtoul(argv[4], NULL, 10));
        vu_blk_close(&s.blk);
    }
    mb_close(s.model);
    if (r < 0)
        fprintf(stderr, "blk-scribble: %s\n", strerror(-r));
    return r < 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of vhost-blk share: files with known contents in a directory
 * of their own, and operations on an image carried out to their end.
 */
#ifndef BLK_TEST_H
#define BLK_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bk-image.h"
#include "mb-cleanup.h"
#include "bk-pool.h"
#include "tap.h"

static char bt_dir[64];

__attribute__((unused)) static int
bt_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

__attribute__((unused)) static void
bt_remove_dir(void)
{
    if (bt_dir[0])
        nftw(bt_dir, bt_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((unused)) static void
bt_make_dir(void)
{
    snprintf(bt_dir, sizeof(bt_dir), "blk-test.XXXXXX");
    if (!mkdtemp(bt_dir)) {
        perror("mkdtemp");
        exit(1);
    }
    atexit(bt_remove_dir);
}

/* The byte at position i of the file seeded with seed. */
__attribute__((unused)) static uint8_t
bt_byte(uint64_t seed, uint64_t i)
{
    uint64_t x = (i >> 3) * UINT64_C(0x9e3779b97f4a7c15) + seed * UINT64_C(0xc2b2ae3d27d4eb4f);

    return (uint8_t)(x >> (8 * (i & 7)) ^ x >> 29);
}

/* A file of size bytes in the directory; its path is valid until the next call but three. */
__attribute__((unused)) static const char *
bt_file(const char *name, size_t size, uint64_t seed)
{
    static char paths[4][128];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    FILE *f;

    snprintf(path, sizeof(paths[0]), "%s/%s", bt_dir, name);
    f = fopen(path, "we");
    for (size_t i = 0; f && i < size; i++)
        putc(bt_byte(seed, i), f);
    if (!f || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
    return path;
}

/* An engine on a loop of its own. */
struct bt {
    struct vh_loop *loop;
    struct bk_pool *pool;
    struct bk_engine *engine;
    int err;
    bool done;
};

__attribute__((unused)) static void
bt_nothing(void *opaque)
{
}

__attribute__((unused)) static int
bt_open(struct bt *t, enum bk_engine_kind kind, struct bk_image *image)
{
    struct bk_err err;

    t->loop = vh_loop_new();
    t->pool = bk_pool_new(4);
    return bk_engine_new(kind, image->files, image->n_files, t->pool, &t->engine, &err);
}

__attribute__((unused)) static void
bt_close(struct bt *t)
{
    bk_engine_free(t->engine);
    bk_pool_free(t->pool);
    vh_loop_free(t->loop);
}

struct bt_io {
    struct bk_io io;
    int err;
    unsigned calls;
};

__attribute__((unused)) static void
bt_done(struct bk_io *io, int err)
{
    struct bt_io *b = MB_CONTAINER_OF(io, struct bt_io, io);

    b->err = err;
    b->calls++;
}

/* Run one operation to its end: its result, or -ECANCELED when done() was not called exactly once. */
__attribute__((unused)) static int
bt_run(struct bt *t, struct bk_image *image, void (*start)(struct bk_image *, struct bk_io *), struct bt_io *b)
{
    b->io.engine = t->engine;
    b->io.done = bt_done;
    b->calls = 0;
    if (bk_engine_attach(t->engine, t->loop, bt_nothing, NULL) < 0)
        return -EBADF;
    start(image, &b->io);
    bk_engine_detach(t->engine);
    return b->calls == 1 ? b->err : -ECANCELED;
}

/* Read or write len bytes at offset in segments of seg bytes. */
__attribute__((unused)) static int
bt_rw(struct bt *t, struct bk_image *image, bool write, uint64_t offset, void *buf, size_t len, size_t seg)
{
    static struct iovec iov[IOV_MAX];
    struct bt_io b = {.io = {.offset = offset, .len = len, .iov = iov}};

    for (size_t at = 0; at < len; at += seg)
        iov[b.io.n_iov++] = (struct iovec){(char *)buf + at, MB_MIN(seg, len - at)};
    return bt_run(t, image, write ? bk_image_write : bk_image_read, &b);
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pieces of a compressed image (clusters, grains) that were unpacked last.
 * Sequential reads unpack each one once; several threads unpack different ones
 * at the same time.
 */
#ifndef BK_UNPACKED_H
#define BK_UNPACKED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mb-macros.h"

#define BK_UNPACKED_PIECES 8

struct bk_unpacked_piece {
    uint64_t key;               /* 0: none */
    uint64_t stamp;             /* of the last use */
    unsigned users;
    bool ready;
    uint8_t *data;
};

struct bk_unpacked {
    pthread_mutex_t lock;       /* of everything */
    pthread_cond_t changed;
    size_t size;                /* of a piece, bytes */
    struct bk_unpacked_piece piece[BK_UNPACKED_PIECES];
    uint64_t stamp;
};

/* Pieces of size bytes, which may be told later; memory is taken when they are used. */
void bk_unpacked_init(struct bk_unpacked *u, size_t size);
void bk_unpacked_clear(struct bk_unpacked *u);

struct bk_unpacked_source {
    uint64_t key;               /* of the piece, not 0 */
    /* Fill out, size bytes. 0 or -errno. Any thread. */
    int (*unpack)(const struct bk_unpacked_source *source, uint8_t *out, size_t size);
    const void *image;
};

/* Copy len bytes at within of a piece, which is unpacked if need be. Blocks unless only_ready: then
 * -EAGAIN when it is not there already. 0, -ENOMEM, what unpack() says. */
int bk_unpacked_read(struct bk_unpacked *u, const struct bk_unpacked_source *source, bool only_ready,
                     uint64_t within, const struct iovec *iov, unsigned n_iov, uint64_t len) MB_MUST_CHECK;

#endif

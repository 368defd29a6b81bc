/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "mb-iov.h"

#include "bk-unpacked.h"

void
bk_unpacked_init(struct bk_unpacked *u, size_t size)
{
    *u = (struct bk_unpacked){.size = size};
    pthread_mutex_init(&u->lock, NULL);
    pthread_cond_init(&u->changed, NULL);
}

void
bk_unpacked_clear(struct bk_unpacked *u)
{
    for (unsigned i = 0; i < BK_UNPACKED_PIECES; i++)
        free(u->piece[i].data);
    pthread_cond_destroy(&u->changed);
    pthread_mutex_destroy(&u->lock);
}

/* ---- under the lock ---------------------------------------------------------------------- */

static struct bk_unpacked_piece *
find(struct bk_unpacked *u, uint64_t key)
{
    for (unsigned i = 0; i < BK_UNPACKED_PIECES; i++) {
        if (u->piece[i].key == key)
            return &u->piece[i];
    }
    return NULL;
}

/* The one that was not used for longest, if it is not in use. */
static struct bk_unpacked_piece *
find_free(struct bk_unpacked *u)
{
    struct bk_unpacked_piece *best = NULL;

    for (unsigned i = 0; i < BK_UNPACKED_PIECES; i++) {
        struct bk_unpacked_piece *p = &u->piece[i];

        if (p->users == 0 && (!best || p->stamp < best->stamp))
            best = p;
    }
    return best;
}

/* Unpack into p; without the lock meanwhile. */
static int
fill(struct bk_unpacked *u, struct bk_unpacked_piece *p, const struct bk_unpacked_source *source)
{
    int rc;

    p->key = source->key;
    p->ready = false;
    p->users = 1;
    pthread_mutex_unlock(&u->lock);
    if (!p->data)
        p->data = malloc(u->size);
    rc = p->data ? source->unpack(source, p->data, u->size) : -ENOMEM;
    pthread_mutex_lock(&u->lock);
    p->ready = rc == 0;
    if (rc < 0)
        p->key = 0;
    p->users = 0;
    pthread_cond_broadcast(&u->changed);
    return rc;
}

/* The piece, in use by us. */
static int
get(struct bk_unpacked *u, const struct bk_unpacked_source *source, bool only_ready,
    struct bk_unpacked_piece **piece)
{
    for (;;) {
        struct bk_unpacked_piece *p = find(u, source->key);
        int rc = 0;

        if (p && p->ready) {
            p->users++;
            p->stamp = ++u->stamp;
            *piece = p;
            return 0;
        }
        if (only_ready)
            return -EAGAIN;
        if (p || !(p = find_free(u)))
            pthread_cond_wait(&u->changed, &u->lock);
        else
            rc = fill(u, p, source);
        if (rc < 0)
            return rc;
    }
}

int
bk_unpacked_read(struct bk_unpacked *u, const struct bk_unpacked_source *source, bool only_ready,
                 uint64_t within, const struct iovec *iov, unsigned n_iov, uint64_t len)
{
    struct bk_unpacked_piece *p;
    int rc;

    pthread_mutex_lock(&u->lock);
    rc = get(u, source, only_ready, &p);
    pthread_mutex_unlock(&u->lock);
    if (rc < 0)
        return rc;
    mb_iov_from_buf(iov, n_iov, 0, p->data + within, (size_t)len);
    pthread_mutex_lock(&u->lock);
    p->users--;
    if (p->users == 0)
        pthread_cond_broadcast(&u->changed);
    pthread_mutex_unlock(&u->lock);
    return 0;
}

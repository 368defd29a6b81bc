/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removed files that still take space, because a guest, another server or a
 * process of the host has them open.  While our guest has one, its node has the
 * charge.  When the node is freed, inotify tells when the last of the others let
 * go: it ends the watch (IN_IGNORED), and a thread that reads this credits the
 * account.  Where a watch cannot be had, the file is credited at once.
 *
 * No watch before that: one ends when somebody is the last to use the file by one
 * of the names it had, and one that is set anew then may find what is left of
 * the old one, and say nothing ever.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-path.h"
#include "fs-quota-priv.h"
#include "mb-cleanup.h"
#include "mb-log.h"

#define HASH 256u
#define GATHER_MS 10
#define PLENTY_BYTES (UINT64_C(64) << 20)
#define PLENTY_INODES 4096u

/* For one file; a node's, or in the table of those that are watched. */
struct fs_quota_charge {
    struct fs_quota_charge *next;
    int wd;
    int64_t bytes, inodes;
};

struct fs_quota_limbo {
    int fd;                     /* inotify */
    int stop_fd;
    pthread_mutex_t lock;       /* guards the rest */
    pthread_t thread;
    bool started;
    unsigned n;
    struct fs_quota_charge *hash[HASH];
};

int
fs_quota_limbo_new(struct fs_quota *q)
{
    struct fs_quota_limbo *l = calloc(1, sizeof(*l));

    if (!l)
        return -ENOMEM;
    pthread_mutex_init(&l->lock, NULL);
    l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (l->fd < 0)
        mb_warn("quota: no inotify instance (%m): files that are removed while in use are credited at once");
    q->limbo = l;
    return l->stop_fd < 0 ? -errno : 0;
}

void
fs_quota_limbo_fds(const struct fs_quota *q, int fds[2])
{
    fds[0] = q->limbo->fd;
    fds[1] = q->limbo->stop_fd;
}

static void
credit(struct fs_quota *q, int64_t bytes, int64_t inodes)
{
    atomic_fetch_sub(&q->map->used, bytes);
    atomic_fetch_sub(&q->map->inodes, inodes);
}

/* ---- the end of a file ---------------------------------------------------------------------------- */

/* It is in limbo no more. */
static void
clear(struct fs_quota *q, struct fs_quota_charge *charge)
{
    atomic_fetch_sub(&q->slot->limbo_bytes, charge->bytes);
    atomic_fetch_sub(&q->slot->limbo_inodes, charge->inodes);
    charge->bytes = charge->inodes = 0;
}

static void
give_back(struct fs_quota *q, struct fs_quota_charge *charge)
{
    credit(q, charge->bytes, charge->inodes);
    clear(q, charge);
    free(charge);
}

/* ---- events ------------------------------------------------------------------------------------- */

/* The charge at link is out of the table and given back. Lock held. */
static void
give_back_watched(struct fs_quota *q, struct fs_quota_charge **link)
{
    struct fs_quota_charge *charge = *link;

    *link = charge->next;
    q->limbo->n--;
    give_back(q, charge);
}

static void
watch_ended(struct fs_quota *q, int wd)
{
    struct fs_quota_limbo *l = q->limbo;
    struct fs_quota_charge **link;

    /* First of all: somebody may be counting, and others want to add charges then. */
    fs_quota_enter(q);
    pthread_mutex_lock(&l->lock);
    for (link = &l->hash[(unsigned)wd % HASH]; *link && (*link)->wd != wd;)
        link = &(*link)->next;
    if (*link)
        give_back_watched(q, link);
    pthread_mutex_unlock(&l->lock);
    fs_quota_leave(q);
}

/* Events were lost.  All watches end now and say so; those that have ended are the ones that were lost. */
static void
end_watches(struct fs_quota *q)
{
    struct fs_quota_limbo *l = q->limbo;
    unsigned i;

    fs_quota_enter(q);
    pthread_mutex_lock(&l->lock);
    for (i = 0; i < HASH; i++) {
        struct fs_quota_charge **link = &l->hash[i];

        while (*link) {
            if (inotify_rm_watch(l->fd, (*link)->wd) == 0)
                link = &(*link)->next;
            else
                give_back_watched(q, link);
        }
    }
    pthread_mutex_unlock(&l->lock);
    fs_quota_leave(q);
}

void
fs_quota_limbo_look(struct fs_quota *q)
{
    _Alignas(struct inotify_event) char buf[4096];
    ssize_t len;

    while ((len = read(q->limbo->fd, buf, sizeof(buf))) > 0) {
        char *at = buf;

        while (at < buf + len) {
            const struct inotify_event *event = (const void *)at;

            if (event->mask & IN_IGNORED)
                watch_ended(q, event->wd);
            else if (event->mask & IN_Q_OVERFLOW)
                end_watches(q);
            at += sizeof(*event) + event->len;
        }
    }
}

/* Nobody misses what is credited a moment later. */
static bool
has_plenty(struct fs_quota *q)
{
    struct fs_quota_stat left;

    fs_quota_stat(q, &left);
    return (!left.have_bytes || left.bytes_free >= PLENTY_BYTES) &&
           (!left.have_inodes || left.inodes_free >= PLENTY_INODES);
}

/* Those that have ended; together, if that will do, as being woken for each takes as long as removing it. */
static void *
watch(void *data)
{
    struct fs_quota *q = data;
    struct pollfd fds[2] = {{.fd = q->limbo->stop_fd, .events = POLLIN}, {.fd = q->limbo->fd, .events = POLLIN}};

    while (!(fds[0].revents & POLLIN)) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        fs_quota_limbo_look(q);
        if (!(fds[0].revents & POLLIN) && has_plenty(q))
            poll(fds, 1, GATHER_MS);
    }
    return NULL;
}

/* ---- charges -------------------------------------------------------------------------------------- */

/* That of the watch of the file behind fd, or NULL. Lock held. */
static struct fs_quota_charge *
watch_file(struct fs_quota *q, int fd)
{
    struct fs_quota_limbo *l = q->limbo;
    struct fs_fd_path path = fs_path_of_fd(fd);
    struct fs_quota_charge *charge;
    int wd;

    /* A thread of its own, started late: after the process was confined. */
    if (l->fd >= 0 && !l->started)
        l->started = pthread_create(&l->thread, NULL, watch, q) == 0;
    if (l->fd < 0 || !l->started)
        return NULL;
    /* Something that does not happen to it: IN_IGNORED comes in any case. */
    wd = inotify_add_watch(l->fd, path.s, IN_MOVE_SELF);
    if (wd < 0)
        return NULL;
    for (charge = l->hash[(unsigned)wd % HASH]; charge; charge = charge->next) {
        if (charge->wd == wd)
            return charge;
    }
    charge = calloc(1, sizeof(*charge));
    if (!charge) {
        inotify_rm_watch(l->fd, wd);
        return NULL;
    }
    *charge = (struct fs_quota_charge){.wd = wd, .next = l->hash[(unsigned)wd % HASH]};
    l->hash[(unsigned)wd % HASH] = charge;
    l->n++;
    return charge;
}

/* That of the file, made if need be, or NULL. Lock held. */
static struct fs_quota_charge *
charge_of(struct fs_quota *q, struct fs_node *node, int fd)
{
    if (!node)
        return watch_file(q, fd);
    if (!node->charge)
        node->charge = calloc(1, sizeof(*node->charge));
    return node->charge;
}

void
fs_quota_limbo_add(struct fs_quota *q, int fd, const struct statx *file, int64_t bytes, int64_t inodes)
{
    fs_auto_node struct fs_node_ref node = {q->fs, fs_node_find(q->fs, file)};
    struct fs_quota_charge *charge;

    pthread_mutex_lock(&q->limbo->lock);
    charge = charge_of(q, node.node, fd);
    if (charge) {
        charge->bytes += bytes;
        charge->inodes += inodes;
        atomic_fetch_add(&q->slot->limbo_bytes, bytes);
        atomic_fetch_add(&q->slot->limbo_inodes, inodes);
    } else {
        credit(q, bytes, inodes);
    }
    pthread_mutex_unlock(&q->limbo->lock);
}

/* What was charged before it had a node may be with the watch. */
void
fs_quota_limbo_forget(struct fs_quota *q, int fd, const struct statx *file)
{
    fs_auto_node struct fs_node_ref node = {q->fs, fs_node_find(q->fs, file)};
    struct fs_quota_charge *watched;

    pthread_mutex_lock(&q->limbo->lock);
    if (node.node && node.node->charge)
        clear(q, node.node->charge);
    watched = q->limbo->n ? watch_file(q, fd) : NULL;
    if (watched)
        clear(q, watched);
    pthread_mutex_unlock(&q->limbo->lock);
}

void
fs_quota_node_gone(struct fs_quota *q, struct fs_node *node, int fd)
{
    struct fs_quota_charge *charge = mb_steal_ptr(&node->charge), *watched;

    pthread_mutex_lock(&q->limbo->lock);
    watched = fd >= 0 && (charge->bytes || charge->inodes) ? watch_file(q, fd) : NULL;
    if (watched) {
        watched->bytes += charge->bytes;
        watched->inodes += charge->inodes;
    }
    pthread_mutex_unlock(&q->limbo->lock);
    if (watched) {
        free(charge);
        return;
    }
    fs_quota_enter(q);
    give_back(q, charge);
    fs_quota_leave(q);
}

bool
fs_quota_limbo_free(struct fs_quota *q)
{
    struct fs_quota_limbo *l = q->limbo;
    unsigned i, left = 0;

    if (!l)
        return true;
    if (l->started) {
        (void)!eventfd_write(l->stop_fd, 1);
        pthread_join(l->thread, NULL);
    }
    if (l->fd >= 0)
        fs_quota_limbo_look(q);
    for (i = 0; i < HASH; i++) {
        while (l->hash[i]) {
            struct fs_quota_charge *charge = l->hash[i];

            left += charge->bytes != 0 || charge->inodes != 0;
            l->hash[i] = charge->next;
            free(charge);
        }
    }
    mb_close(l->fd);
    mb_close(l->stop_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
    q->limbo = NULL;
    return left == 0;
}

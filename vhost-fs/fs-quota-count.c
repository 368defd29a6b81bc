/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Counting what a share has allocated.  Directories are visited depth first,
 * from a stack of names, so that the depth of the tree costs memory and no
 * descriptors.  One is open: the next is below it, or below one above it, which
 * ".." leads to.  Only if that is not the one it was (somebody on the host moves
 * directories) the next is found by walking down from the root, which for every
 * directory of a deep tree would take the square of its depth.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs-quota-priv.h"
#include "mb-cleanup.h"

#define NO_PARENT UINT32_MAX

/* A directory to visit, or visited, with others below it on the stack. */
struct pending {
    uint32_t parent;
    bool visited;
    uint64_t id;
    char *name;
};

struct count {
    int root_fd;
    struct fs_quota_place place;
    int64_t bytes, inodes;
    struct pending *stack;
    uint32_t n, cap;
    int fd;                     /* the directory that is open, or -1, */
    uint32_t at;                /* and its place on the stack, where it may be visited already */
    uint64_t *links;            /* hash set of inodes with several names */
    size_t n_links, cap_links;
};

static int
push(struct count *c, uint32_t parent, uint64_t id, const char *name)
{
    char *copy;

    if (c->n == c->cap) {
        uint32_t cap = c->cap ? c->cap * 2 : 256;
        struct pending *stack = cap > c->cap ? reallocarray(c->stack, cap, sizeof(*stack)) : NULL;

        if (!stack)
            return -ENOMEM;
        c->stack = stack;
        c->cap = cap;
    }
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    c->stack[c->n++] = (struct pending){.parent = parent, .id = id, .name = copy};
    return 0;
}

/* ---- inodes with several names ------------------------------------------------------------ */

static void
place(uint64_t *set, size_t cap, uint64_t id)
{
    size_t i = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (cap - 1);

    while (set[i])
        i = (i + 1) & (cap - 1);
    set[i] = id;
}

/* What tells the files of a share apart; their numbers alone do not where overlayfs joins filesystems. */
static uint64_t
identity(const struct statx *stx)
{
    uint64_t device = (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor;
    uint64_t id = stx->stx_ino ^ device * UINT64_C(0xbf58476d1ce4e5b9);

    return id ? id : 1;
}

/* 1 when id was not there before, 0 when it was, or -errno. */
static int
first_time(struct count *c, uint64_t id)
{
    size_t i;

    if (2 * (c->n_links + 1) > c->cap_links) {
        size_t cap = c->cap_links ? c->cap_links * 2 : 1024, k;
        uint64_t *set = calloc(cap, sizeof(*set));

        if (!set)
            return -ENOMEM;
        for (k = 0; k < c->cap_links; k++) {
            if (c->links[k])
                place(set, cap, c->links[k]);
        }
        free(c->links);
        c->links = set;
        c->cap_links = cap;
    }
    for (i = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (c->cap_links - 1); c->links[i];
         i = (i + 1) & (c->cap_links - 1)) {
        if (c->links[i] == id)
            return 0;
    }
    c->links[i] = id;
    c->n_links++;
    return 1;
}

/* ---- the walk ------------------------------------------------------------------------------- */

static int
open_pending(const struct count *c, uint32_t at)
{
    uint32_t chain = 0, i;
    mb_autofree uint32_t *path = NULL;
    mb_autofd int fd = -1;

    for (i = at; c->stack[i].parent != NO_PARENT; i = c->stack[i].parent)
        chain++;
    path = calloc(chain + 1, sizeof(*path));
    if (!path)
        return -ENOMEM;
    for (i = at; c->stack[i].parent != NO_PARENT; i = c->stack[i].parent)
        path[--chain] = i;
    fd = openat(c->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (i = 0; fd >= 0 && path[i]; i++) {
        int next = openat(fd, c->stack[path[i]].name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        mb_close(fd);
        fd = next;
    }
    return fd < 0 ? -errno : mb_steal_fd(&fd);
}

/* From the open directory to the one above it. */
static void
go_up(struct count *c)
{
    uint32_t parent = c->stack[c->at].parent;
    mb_autofd int from = mb_steal_fd(&c->fd);
    mb_autofd int up = parent == NO_PARENT ? -1 : openat(from, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct statx stx;

    if (up < 0 || fs_quota_statx(up, &stx) < 0 || identity(&stx) != c->stack[parent].id)
        return;
    c->fd = mb_steal_fd(&up);
    c->at = parent;
}

/* Open the directory; a descriptor of the caller's own, or -errno. */
static int
enter(struct count *c, uint32_t at)
{
    uint32_t parent = c->stack[at].parent;
    int fd;

    while (c->fd >= 0 && c->at != parent)
        go_up(c);
    if (c->fd >= 0) {
        fd = openat(c->fd, c->stack[at].name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        fd = fd < 0 ? -errno : fd;
    } else {
        fd = open_pending(c, at);
    }
    if (fd < 0)
        return fd;
    mb_close(c->fd);
    c->fd = fd;
    c->at = at;
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int
count_one(struct count *c, int dfd, const char *name, uint32_t parent)
{
    struct statx stx;
    int r = 1;

    if (statx(dfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, FS_QUOTA_STATX, &stx) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!fs_quota_is_at(&c->place, &stx))
        return 0;
    if (!S_ISDIR(stx.stx_mode) && stx.stx_nlink > 1)
        r = first_time(c, identity(&stx));
    if (r <= 0)
        return r;
    c->bytes += fs_quota_allocated(&stx);
    c->inodes++;
    return S_ISDIR(stx.stx_mode) ? push(c, parent, identity(&stx), name) : 0;
}

static int
count_directory(struct count *c, uint32_t at)
{
    mb_autodir DIR *dir = NULL;
    struct dirent *e;
    int fd = enter(c, at), r = 0;

    /* Removed on the host meanwhile, or nothing for us to see. */
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EACCES)
        return 0;
    if (fd < 0)
        return fd;
    dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -ENOMEM;
    }
    while (r == 0 && (errno = 0, e = readdir(dir))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = count_one(c, dirfd(dir), e->d_name, at);
    }
    return r < 0 ? r : -errno;
}

int
fs_quota_walk(int root_fd, int64_t *bytes, int64_t *inodes)
{
    struct count c = {.root_fd = root_fd, .fd = -1};
    struct statx stx;
    int r = fs_quota_statx(root_fd, &stx);

    if (r < 0)
        return r;
    c.place = fs_quota_place_of(&stx);
    c.bytes = fs_quota_allocated(&stx);
    c.inodes = 1;
    r = push(&c, NO_PARENT, identity(&stx), "");
    while (r == 0 && c.n) {
        uint32_t at = c.n - 1;

        if (c.stack[at].visited) {
            free(c.stack[at].name);
            c.n--;
        } else {
            c.stack[at].visited = true;
            r = count_directory(&c, at);
        }
    }
    mb_close(c.fd);
    while (c.n)
        free(c.stack[--c.n].name);
    free(c.stack);
    free(c.links);
    *bytes = c.bytes;
    *inodes = c.inodes;
    return r;
}

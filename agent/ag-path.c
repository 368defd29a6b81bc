/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths inside a root that is not (yet) ours, whose symbolic links somebody else
 * made.  The walk keeps the resolved part as text without links and the rest to
 * go; every step opens the resolved part plus one name from the root, with the
 * kernel refusing links and anything outside.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ag-sys.h"
#include "ag.h"
#include "mb-cleanup.h"

#define LINKS_MAX 40
#define PATH_SIZE 4096

struct walk {
    int root;
    char done[PATH_SIZE];   /* resolved: "" or "a/b" */
    char rest[PATH_SIZE];   /* still to go */
    unsigned links;
};

static int
open_done(const struct walk *w, const char *path)
{
    int fd = ag_sys_openat2(w->root, path[0] ? path : ".", O_PATH | O_CLOEXEC | O_NOFOLLOW,
                            RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);

    return fd < 0 ? -errno : fd;
}

/* Take the first name off rest into name; false when there is none left. */
static bool
next_name(struct walk *w, char name[256], int *error)
{
    char *p = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(p, "/");

    if (n == 0)
        return false;
    if (n > 255) {
        *error = -ENAMETOOLONG;
        return false;
    }
    memcpy(name, p, n);
    name[n] = '\0';
    memmove(w->rest, p + n, strlen(p + n) + 1);
    return true;
}

static bool
rest_is_empty(const struct walk *w)
{
    return w->rest[strspn(w->rest, "/")] == '\0';
}

/* Put the target of a link before the rest; an absolute one starts at the root again. */
static int
follow(struct walk *w, int link_fd)
{
    char joined[PATH_SIZE], target[PATH_SIZE];
    ssize_t n = readlinkat(link_fd, "", target, sizeof(target) - 1);

    if (n < 0)
        return -errno;
    target[n] = '\0';
    if (++w->links > LINKS_MAX)
        return -ELOOP;
    if (snprintf(joined, sizeof(joined), "%s/%s", target, w->rest) >= (int)sizeof(joined))
        return -ENAMETOOLONG;
    memcpy(w->rest, joined, strlen(joined) + 1);
    if (target[0] == '/')
        w->done[0] = '\0';
    return 0;
}

static int
make(const struct walk *w, const char *name, unsigned flags)
{
    mb_autofd int dir = open_done(w, w->done);
    mb_autofd int file = -1;

    if (dir < 0)
        return dir;
    if ((flags & AG_PATH_MAKE_FILE) && rest_is_empty(w)) {
        file = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
        return file < 0 ? -errno : 0;
    }
    return mkdirat(dir, name, 0755) < 0 ? -errno : 0;
}

static void
step_up(struct walk *w)
{
    char *slash = strrchr(w->done, '/');

    w->done[slash ? slash - w->done : 0] = '\0';
}

/* One name further. */
static int
step(struct walk *w, const char *name, unsigned flags)
{
    char path[PATH_SIZE];
    mb_autofd int fd = -1;
    struct stat st;
    int r;

    if (strcmp(name, ".") == 0)
        return 0;
    if (strcmp(name, "..") == 0) {
        step_up(w);
        return 0;
    }
    if (snprintf(path, sizeof(path), "%s%s%s", w->done, w->done[0] ? "/" : "", name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    fd = open_done(w, path);
    if (fd == -ENOENT && flags) {
        r = make(w, name, flags);
        if (r < 0)
            return r;
        fd = open_done(w, path);
    }
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode))
        return follow(w, fd);
    if (!S_ISDIR(st.st_mode) && !rest_is_empty(w))
        return -ENOTDIR;
    memcpy(w->done, path, strlen(path) + 1);
    return 0;
}

int
ag_path_open(int root_fd, const char *path, unsigned flags)
{
    struct walk w = { .root = root_fd };
    char name[256];
    int r = 0;

    if (strlen(path) >= sizeof(w.rest))
        return -ENAMETOOLONG;
    memcpy(w.rest, path, strlen(path) + 1);
    while (r == 0 && next_name(&w, name, &r))
        r = step(&w, name, flags);
    return r < 0 ? r : open_done(&w, w.done);
}

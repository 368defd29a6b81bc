/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two directories, compared to the last byte.
 */
#include <config.h>

#include "px.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted names without "." and ".."; their number, or -errno. */
static int
names_of(int dir, char ***ret)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;

    *ret = NULL;
    if (!d)
        return -errno;
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        *ret = realloc(*ret, (size_t)(n + 1) * sizeof(**ret));
        (*ret)[n++] = strdup(e->d_name);
    }
    closedir(d);
    qsort(*ret, (size_t)n, sizeof(**ret), by_name);
    return n;
}

static bool
same_content(int a, int b, const char *name)
{
    static uint8_t x[1 << 16], y[1 << 16];
    int fa = openat(a, name, O_RDONLY | O_CLOEXEC), fb = openat(b, name, O_RDONLY | O_CLOEXEC);
    bool same = fa >= 0 && fb >= 0;
    ssize_t n = 1, m;

    while (same && n > 0) {
        n = read(fa, x, sizeof(x));
        m = read(fb, y, sizeof(y));
        same = n == m && n >= 0 && memcmp(x, y, (size_t)n) == 0;
    }
    if (fa >= 0)
        close(fa);
    if (fb >= 0)
        close(fb);
    return same;
}

static bool
same_link(int a, int b, const char *name)
{
    char x[4096], y[4096];
    ssize_t n = readlinkat(a, name, x, sizeof(x)), m = readlinkat(b, name, y, sizeof(y));

    return n == m && n > 0 && memcmp(x, y, (size_t)n) == 0;
}

static unsigned
differ(const char *path, const char *name, const char *what, long a, long b)
{
    printf("# %s/%s: %s: %#lx here, %#lx there\n", path, name, what, (unsigned long)a, (unsigned long)b);
    return 1;
}

static unsigned
compare_one(int a, int b, const char *path, const char *name)
{
    struct stat x, y;
    unsigned n = 0;

    if (fstatat(a, name, &x, AT_SYMLINK_NOFOLLOW) < 0 || fstatat(b, name, &y, AT_SYMLINK_NOFOLLOW) < 0)
        return differ(path, name, "stat", errno, errno);
    if (x.st_mode != y.st_mode)
        n += differ(path, name, "mode", x.st_mode, y.st_mode);
    if (!S_ISLNK(x.st_mode) || px_limits.link_owner) {
        if (x.st_uid != y.st_uid || x.st_gid != y.st_gid)
            n +=
                differ(path, name, "owner", (long)x.st_uid << 16 | x.st_gid, (long)y.st_uid << 16 | y.st_gid);
    }
    if (x.st_rdev != y.st_rdev)
        n += differ(path, name, "device", (long)x.st_rdev, (long)y.st_rdev);
    if (!S_ISDIR(x.st_mode) && (x.st_nlink != y.st_nlink || x.st_size != y.st_size))
        n += differ(path, name, "links or size", x.st_size << 8 | (long)x.st_nlink,
                    y.st_size << 8 | (long)y.st_nlink);
    if (n == 0 && S_ISREG(x.st_mode) && !same_content(a, b, name))
        n += differ(path, name, "content", 0, 0);
    if (n == 0 && S_ISLNK(x.st_mode) && !same_link(a, b, name))
        n += differ(path, name, "target", 0, 0);
    if (n == 0 && S_ISDIR(x.st_mode)) {
        int da = openat(a, name, O_PATH | O_DIRECTORY | O_CLOEXEC),
            db = openat(b, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        char sub[4096];

        snprintf(sub, sizeof(sub), "%s/%s", path, name);
        n = da < 0 || db < 0 ? differ(path, name, "open", da, db) : px_compare_trees(da, db, sub);
        if (da >= 0)
            close(da);
        if (db >= 0)
            close(db);
    }
    return n;
}

unsigned
px_compare_trees(int a, int b, const char *path)
{
    char **x, **y;
    int n = names_of(a, &x), m = names_of(b, &y), i, j;
    unsigned wrong = 0;

    if (n < 0 || m < 0)
        wrong = differ(path, ".", "list", n, m);
    for (i = 0, j = 0; i < n || j < m;) {
        int c = i >= n ? 1 : j >= m ? -1 : strcmp(x[i], y[j]);

        if (c == 0)
            wrong += compare_one(a, b, path, x[i]);
        else
            wrong += differ(path, c < 0 ? x[i] : y[j], "only on one side", c<0, c> 0);
        i += c <= 0;
        j += c >= 0;
    }
    for (i = 0; i < n; i++)
        free(x[i]);
    for (j = 0; j < m; j++)
        free(y[j]);
    free(x);
    free(y);
    return wrong;
}

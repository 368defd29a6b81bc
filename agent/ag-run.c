/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /run is a fresh tmpfs at every boot, but images put directories there that
 * their programs count on (/run/postgresql with its owner): directories, links
 * and small files of the image's /run are copied over, within limits.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

#define DEPTH_MAX 8
#define ENTRIES_MAX 1000
#define FILE_MAX (64 * 1024)

/* Without its owner a file keeps the tight mode that it was made with. */
static void
copy_owner(int fd, const struct stat *st)
{
    if (fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0)
        return;
}

static void
copy_file(int from, int to, const char *name, const struct stat *st)
{
    mb_autofd int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    mb_autofd int out = -1;
    char buf[4096];
    ssize_t r;
    off_t left = FILE_MAX;

    if (in < 0 || st->st_size > FILE_MAX)
        return;
    out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    while (out >= 0 && left > 0 && (r = read(in, buf, sizeof(buf))) > 0) {
        if (ag_write_all(out, buf, (size_t)r) < 0)
            return;
        left -= r;
    }
    if (out >= 0)
        copy_owner(out, st);
}

static void
copy_link(int from, int to, const char *name, const struct stat *st)
{
    char target[4096];
    ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

    if (n < 0)
        return;
    target[n] = '\0';
    if (symlinkat(target, to, name) == 0 &&
        fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        unlinkat(to, name, 0);
}

static void
copy_tree(int from_fd, int to_fd, int depth, unsigned *left)
{
    int fd = openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mb_autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *de;

    if (!dir) {
        mb_close(fd);
        return;
    }
    while (*left > 0 && (de = readdir(dir))) {
        struct stat st;

        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        (*left)--;
        if (S_ISREG(st.st_mode)) {
            copy_file(fd, to_fd, de->d_name, &st);
        } else if (S_ISLNK(st.st_mode)) {
            copy_link(fd, to_fd, de->d_name, &st);
        } else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX && mkdirat(to_fd, de->d_name, 0700) == 0) {
            mb_autofd int from = openat(fd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            mb_autofd int to = openat(to_fd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

            if (from < 0 || to < 0)
                continue;
            copy_owner(to, &st);
            copy_tree(from, to, depth + 1, left);
        }
    }
}

void
ag_run_seed(int from_fd, int to_fd)
{
    unsigned left = ENTRIES_MAX;

    copy_tree(from_fd, to_fd, 0, &left);
}

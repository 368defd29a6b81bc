/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs-identity.h"
#include "fs-xattr.h"
#include "fuzz-fs-host.h"
#include "mb-cleanup.h"

/* Names in the share and one level below it, without links on the way. */
static int
open_parent(const char *share, char *path, char **name)
{
    char *slash = strchr(path, '/');
    int root = open(share, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

    *name = slash ? slash + 1 : path;
    /* The guest can close it to an ordinary user. */
    if (root < 0 && errno != EACCES)
        abort();
    if (root < 0 || !slash)
        return root;
    *slash = 0;
    fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    close(root);
    return fd;
}

static bool
is_name(const char *s)
{
    return *s && strcmp(s, ".") != 0 && strcmp(s, "..") != 0 && !strchr(s, '/');
}

void
fuzz_fs_host(const char *share, const char *secret, unsigned kind, const uint8_t *body, size_t len)
{
    char path[64] = "", other[64] = "", *name, *to;
    size_t n = strnlen((const char *)body, len), rest = len - MB_MIN(len, n + 1);
    const uint8_t *value = body + len - rest;
    mb_autofd int dfd = -1, fd = -1;

    memcpy(path, body, MB_MIN(n, sizeof(path) - 1));
    memcpy(other, value, MB_MIN(rest, sizeof(other) - 1));
    dfd = open_parent(share, path, &name);
    if (dfd < 0 || !is_name(name) || strcmp(path, "..") == 0)
        return;
    switch (kind % 16) {
    case 0: /* an identity of any form */
        fd = openat(dfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0)
            (void)!fsetxattr(fd, FS_IDENT_XATTR, value, MB_MIN(rest, 64u), 0);
        break;
    case 1:
        if (unlinkat(dfd, name, 0) < 0)
            (void)!unlinkat(dfd, name, AT_REMOVEDIR);
        break;
    case 2:
        fd = open_parent(share, other, &to);
        if (fd >= 0 && is_name(to) && strcmp(other, "..") != 0)
            (void)!renameat(dfd, name, fd, to);
        break;
    case 3:
        (void)!symlinkat(rest & 1 ? "../secret" : rest & 2 ? ".." : secret, dfd, name);
        break;
    case 4:
        (void)!mkdirat(dfd, name, 0700);
        break;
    case 5:
        (void)!mknodat(dfd, name, (rest & 1 ? S_IFIFO : rest & 2 ? S_IFSOCK : S_IFREG) | 0600, 0);
        break;
    case 6:
        fd = openat(dfd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        if (fd >= 0)
            (void)!pwrite(fd, value, rest, 0);
        break;
    case 8: /* an ACL: a default one, or the file's own */
        fd = openat(dfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && rest > 0)
            (void)!fsetxattr(fd, value[0] & 1 ? FS_ACL_DEFAULT : FS_ACL_ACCESS, value + 1, rest - 1, 0);
        break;
    default:
        (void)!linkat(dfd, name, dfd, "hard", 0);
    }
}

static int
has_no_acl(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    if (lgetxattr(path, FS_ACL_ACCESS, NULL, 0) > 0 || lgetxattr(path, FS_ACL_DEFAULT, NULL, 0) > 0)
        abort();
    return 0;
}

void
fuzz_fs_no_acls(const char *share)
{
    nftw(share, has_no_acl, 16, FTW_PHYS);
}

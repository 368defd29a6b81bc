/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations on names.
 */
#include <config.h>

#include "px.h"
#include "px-acl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

void
px_pick_path(char *path, size_t size)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "with space", "\xc3\xa4\n", "..x"};
    unsigned depth = px_rnd(3);
    size_t at = 0;

    path[0] = 0;
    for (;;) {
        if (px_rnd(60) == 0) {
            size_t len = px_rnd(4) ? 255 : 256;

            if (size - at < len + 2)
                return;
            memset(path + at, 'l', len);
            at += len;
            path[at] = 0;
        } else {
            at += (size_t)snprintf(path + at, size - at, "%s", names[px_rnd(MB_ARRAY_SIZE(names))]);
        }
        if (depth-- == 0)
            break;
        at += (size_t)snprintf(path + at, size - at, "/");
    }
    if (px_rnd(50) == 0)
        snprintf(path + at, size - at, "/");
}

/* The last component is no link: what is changed is what is compared. */
static bool
is_link(const struct px_plan *p)
{
    struct stat st;

    return lstat(p->path, &st) == 0 && S_ISLNK(st.st_mode);
}

static long
op_mkdir(struct px_side *s, const struct px_plan *p)
{
    long r = px_result(mkdir(p->path, p->mode));

    px_saw_stat(s, p->path, -1);
    return r;
}

static long
op_rmdir(struct px_side *s, const struct px_plan *p)
{
    (void)s;
    return px_result(rmdir(p->path));
}

static long
op_unlink(struct px_side *s, const struct px_plan *p)
{
    (void)s;
    return px_result(unlink(p->path));
}

static long
op_create(struct px_side *s, const struct px_plan *p)
{
    int flags = O_CREAT | O_RDWR | O_CLOEXEC | (p->pick & 1 ? O_EXCL : 0) | (p->pick & 2 ? O_TRUNC : 0) |
                (p->pick & 4 ? O_NOFOLLOW : 0);
    int fd = px_is_device(p) ? 0 : open(p->path, flags | O_NONBLOCK, p->mode);
    long r = px_result(fd);

    if (fd == 0)
        return 0;
    /* A FIFO's or a device's open file is the kernel's own. */
    if (fd >= 0) {
        px_saw_stat(s, p->path, fd);
        close(fd);
    }
    return r < 0 ? r : 0;
}

static long
op_symlink(struct px_side *s, const struct px_plan *p)
{
    long r;

    if (!px_limits.link_owner && (p->uid || p->gid))
        return 0;
    r = px_result(symlink(p->path2, p->path));
    px_saw_stat(s, p->path, -1);
    return r;
}

static long
op_readlink(struct px_side *s, const struct px_plan *p)
{
    char buf[1024];
    long r = px_result(readlink(p->path, buf, p->pick % 4 ? sizeof(buf) : 3));

    if (r > 0)
        px_saw(s, buf, (size_t)r);
    return r;
}

static long
op_link(struct px_side *s, const struct px_plan *p)
{
    long r = px_result(linkat(AT_FDCWD, p->path, AT_FDCWD, p->path2, p->pick % 3 ? 0 : AT_SYMLINK_FOLLOW));

    px_saw_stat(s, p->path2, -1);
    return r;
}

static long
op_rename(struct px_side *s, const struct px_plan *p)
{
    static const unsigned flags[] = {0, 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
    long r =
        px_result(renameat2(AT_FDCWD, p->path, AT_FDCWD, p->path2, flags[p->pick % MB_ARRAY_SIZE(flags)]));

    px_saw_stat(s, p->path, -1);
    px_saw_stat(s, p->path2, -1);
    return r;
}

static long
op_mknod(struct px_side *s, const struct px_plan *p)
{
    static const mode_t types[] = {S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFREG};
    mode_t type = types[p->pick % MB_ARRAY_SIZE(types)];
    dev_t dev = S_ISCHR(type) || S_ISBLK(type) ? makedev(p->pick2 % 4096, p->pick2 / 7 % (1u << 20)) : 0;
    long r = px_result(mknod(p->path, type | p->mode, dev));

    px_saw_stat(s, p->path, -1);
    return r;
}

static long
op_chmod(struct px_side *s, const struct px_plan *p)
{
    long r = px_result(chmod(p->path, p->mode));

    px_saw_stat(s, p->path, -1);
    return r;
}

static long
op_chown(struct px_side *s, const struct px_plan *p)
{
    static const int ids[] = {0, 1000, 1001, 1002, 77777, -1};
    uid_t uid = (uid_t)ids[p->pick % MB_ARRAY_SIZE(ids)];
    gid_t gid = (gid_t)ids[p->pick2 % MB_ARRAY_SIZE(ids)];
    long r;

    /* To nobody and nothing, which Linux asks a FUSE server only half. */
    if ((!px_limits.link_owner && is_link(p)) || (uid == (uid_t)-1 && gid == (gid_t)-1))
        return 0;
    r = px_result(lchown(p->path, uid, gid));
    px_saw_stat(s, p->path, -1);
    return r;
}

static long
op_truncate(struct px_side *s, const struct px_plan *p)
{
    long r = px_result(truncate(p->path, (off_t)p->off));

    px_saw_stat(s, p->path, -1);
    return r;
}

static long
op_utimens(struct px_side *s, const struct px_plan *p)
{
    struct timespec ts[2] = {{(time_t)(p->off * 4099), p->pick % 1000000000}, {(time_t)p->off2, p->len}};
    struct stat st;
    long r;

    if (p->pick2 % 5 == 0)
        ts[0].tv_nsec = UTIME_OMIT;
    if (p->pick2 % 7 == 0)
        ts[1].tv_nsec = UTIME_OMIT;
    r = px_result(utimensat(AT_FDCWD, p->path, ts, AT_SYMLINK_NOFOLLOW));
    if (r == 0 && lstat(p->path, &st) == 0) {
        if (ts[0].tv_nsec != UTIME_OMIT)
            px_saw(s, &st.st_atim, sizeof(st.st_atim));
        if (ts[1].tv_nsec != UTIME_OMIT)
            px_saw(s, &st.st_mtim, sizeof(st.st_mtim));
    }
    return r;
}

static long
op_access(struct px_side *s, const struct px_plan *p)
{
    (void)s;
    return px_result(faccessat(AT_FDCWD, p->path, (int)(p->pick % 8), AT_EACCESS));
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static long
op_list(struct px_side *s, const struct px_plan *p)
{
    DIR *d = opendir(p->pick % 8 ? p->path : ".");
    char *names[512];
    struct dirent *e;
    size_t n = 0, i;

    if (!d)
        return -errno;
    while (n < MB_ARRAY_SIZE(names) && (e = readdir(d)))
        names[n++] = strdup(e->d_name);
    closedir(d);
    qsort(names, n, sizeof(*names), by_name);
    for (i = 0; i < n; i++) {
        px_saw(s, names[i], strlen(names[i]) + 1);
        free(names[i]);
    }
    return (long)n;
}

static long
op_stat(struct px_side *s, const struct px_plan *p)
{
    struct stat st;
    long r = px_result(stat(p->path, &st));

    px_saw_stat(s, p->path, -1);
    return r;
}

static const char *
xattr_name(const struct px_plan *p)
{
    static const char *const names[] = {"user.one", "user.two", "trusted.three", "user.", "other.x"};

    return names[p->pick % MB_ARRAY_SIZE(names)];
}

static long
op_setxattr(struct px_side *s, const struct px_plan *p)
{
    static const int flags[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};
    char value[200];

    (void)s;
    memset(value, (int)p->pick2, sizeof(value));
    return px_result(lsetxattr(p->path, xattr_name(p), value, p->len % sizeof(value),
                               flags[p->pick2 % MB_ARRAY_SIZE(flags)]));
}

static long
op_getxattr(struct px_side *s, const struct px_plan *p)
{
    char value[256];
    long r =
        px_result(lgetxattr(p->path, xattr_name(p), value, p->pick2 % 4 ? sizeof(value) : p->pick2 % 80));

    if (r > 0 && p->pick2 % 4)
        px_saw(s, value, (size_t)r);
    return r;
}

static long
op_removexattr(struct px_side *s, const struct px_plan *p)
{
    (void)s;
    return px_result(lremovexattr(p->path, xattr_name(p)));
}

static long
op_acl(struct px_side *s, const struct px_plan *p)
{
    const char *kind = p->pick % 2 ? PX_ACL_DEFAULT : PX_ACL_ACCESS;
    struct px_acl acl = px_acl_make(p->mode >> 6, p->uid, p->pick2, p->mode >> 3, p->pick2 >> 3, p->mode);
    long r;

    if (!px_limits.acls)
        return 0;
    switch (p->pick2 >> 6 & 3) {
    case 0:
        r = px_result(lgetxattr(p->path, kind, &acl, sizeof(acl)));
        if (r > 0)
            px_saw(s, &acl, (size_t)r);
        return r;
    case 1:
        return px_result(lremovexattr(p->path, kind));
    default:
        return px_result(lsetxattr(p->path, kind, &acl, sizeof(acl), 0));
    }
}

/* Names in the order that they were set: that of the file system's own. */
static long
op_listxattr(struct px_side *s, const struct px_plan *p)
{
    char list[1024], *names[64];
    long r = px_result(llistxattr(p->path, list, sizeof(list)));
    size_t n = 0, i;
    char *at;

    for (at = list; r > 0 && at < list + r && n < MB_ARRAY_SIZE(names); at += strlen(at) + 1)
        names[n++] = at;
    qsort(names, n, sizeof(*names), by_name);
    for (i = 0; i < n; i++)
        px_saw(s, names[i], strlen(names[i]) + 1);
    return r;
}

const struct px_op px_name_ops[] = {
    {"mkdir", 8, op_mkdir},
    {"rmdir", 3, op_rmdir},
    {"unlink", 8, op_unlink},
    {"create", 14, op_create},
    {"symlink", 4, op_symlink},
    {"readlink", 3, op_readlink},
    {"link", 5, op_link},
    {"rename", 10, op_rename},
    {"mknod", 4, op_mknod},
    {"chmod", 6, op_chmod},
    {"chown", 6, op_chown},
    {"truncate", 4, op_truncate},
    {"utimens", 4, op_utimens},
    {"access", 4, op_access},
    {"list", 4, op_list},
    {"stat", 8, op_stat},
    {"setxattr", 4, op_setxattr},
    {"getxattr", 4, op_getxattr},
    {"removexattr", 2, op_removexattr},
    {"listxattr", 2, op_listxattr},
    {"acl", 4, op_acl},
    {NULL, 0, NULL},
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Differential cases: attributes, owners, extended attributes.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "differ.h"

static void
attr_step(struct df_side *s, const char *step, uint64_t node, const struct fuse_setattr_in *in)
{
    struct fuse_attr a;
    int r = ft_setattr(s->t, node, in, &a);

    df_attr(s, step, r, &a);
}

#define SET(...) (&(const struct fuse_setattr_in){__VA_ARGS__})

static void
attributes(struct df_side *s)
{
    uint64_t f = df_file(s, "f", "0123456789", 0644), fh;
    struct fuse_entry_out d;
    struct fuse_attr a;
    int r;

    ft_mkdir(s->t, s->dir, "d", 0755, &d);
    attr_step(s, "chmod", f, SET(.valid = FATTR_MODE, .mode = 0600));
    attr_step(s, "chmod with type", f, SET(.valid = FATTR_MODE, .mode = S_IFDIR | 0640));
    attr_step(s, "set-ID bits", f, SET(.valid = FATTR_MODE, .mode = 06755));
    attr_step(s, "chown", f, SET(.valid = FATTR_UID | FATTR_GID, .uid = 1000, .gid = 1001));
    attr_step(s, "chown of the group", f, SET(.valid = FATTR_GID, .gid = 7));
    attr_step(s, "both and a mode", f,
              SET(.valid = FATTR_UID | FATTR_GID | FATTR_MODE, .uid = 5, .gid = 6, .mode = 04711));
    attr_step(s, "truncate", f, SET(.valid = FATTR_SIZE, .size = 4));
    attr_step(s, "kill set-ID", f, SET(.valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 5));
    attr_step(s, "grow", f, SET(.valid = FATTR_SIZE, .size = 100000));
    attr_step(s, "size too large", f, SET(.valid = FATTR_SIZE, .size = UINT64_MAX));
    attr_step(s, "truncate a directory", d.nodeid, SET(.valid = FATTR_SIZE, .size = 0));
    attr_step(s, "sticky, set-group-ID", d.nodeid, SET(.valid = FATTR_MODE, .mode = 03777));
    attr_step(s, "chown of it", d.nodeid, SET(.valid = FATTR_UID | FATTR_GID, .uid = 9, .gid = 9));
    attr_step(s, "nothing", f, SET(.valid = 0));
    attr_step(s, "a node that never was", 0x456789, SET(.valid = FATTR_MODE, .mode = 0600));
    r = ft_setattr(s->t, f,
                   SET(.valid = FATTR_ATIME | FATTR_MTIME, .atime = 11, .atimensec = 12, .mtime = 13, .mtimensec = 14),
                   &a);
    df_saw(s, "times", "%d %llu.%u %llu.%u", r, (unsigned long long)a.atime, a.atimensec, (unsigned long long)a.mtime,
           a.mtimensec);
    r = ft_setattr(s->t, f, SET(.valid = FATTR_MTIME, .mtime = (uint64_t)-5), &a);
    df_saw(s, "before 1970", "%d %lld %llu", r, (long long)a.mtime, (unsigned long long)a.atime);
    df_result(s, "nanoseconds", ft_setattr(s->t, f, SET(.valid = FATTR_MTIME, .mtimensec = 2000000000), &a));
    r = ft_setattr(s->t, f, SET(.valid = FATTR_MTIME | FATTR_MTIME_NOW), &a);
    df_saw(s, "now", "%d %d %llu", r, a.mtime > 1000000000, (unsigned long long)a.atime);
    ft_open(s->t, f, O_RDWR, &fh);
    attr_step(s, "through a handle", f, SET(.valid = FATTR_SIZE | FATTR_FH, .fh = fh, .size = 3));
    attr_step(s, "a handle that is none", f, SET(.valid = FATTR_SIZE | FATTR_FH, .fh = 0x7654321, .size = 3));
    ft_release(s->t, f, fh);
}

/* As another user, whose rights the guest's kernel has checked. */
static void
owners(struct df_side *s)
{
    struct fuse_entry_out e, d, sg;
    uint64_t fh;

    s->t->uid = 1000;
    s->t->gid = 1001;
    df_entry(s, "create", ft_create(s->t, s->dir, "f", O_RDWR, 0644, &e, &fh), &e);
    ft_release(s->t, e.nodeid, fh);
    df_entry(s, "mkdir", ft_mkdir(s->t, s->dir, "d", 0755, &d), &d);
    df_entry(s, "mknod", ft_mknod(s->t, s->dir, "n", S_IFREG | 0600, 0, &e), &e);
    df_entry(s, "mkfifo", ft_mknod(s->t, s->dir, "p", S_IFIFO | 0600, 0, &e), &e);
    df_entry(s, "symlink", ft_symlink(s->t, s->dir, "l", "x", &e), &e);
    df_entry(s, "set-ID", ft_create(s->t, s->dir, "s", O_RDWR, 06755, &e, &fh), &e);
    df_result(s, "written to", ft_write(s->t, e.nodeid, fh, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID));
    ft_release(s->t, e.nodeid, fh);
    df_entry(s, "after that", ft_lookup(s->t, s->dir, "s", &e), &e);
    ft_chmod(s->t, e.nodeid, 04755);
    if (ft_open(s->t, e.nodeid, O_RDWR, &fh) == 0) {
        df_result(s, "fallocate", ft_fallocate(s->t, e.nodeid, fh, 0, 0, 4096));
        ft_release(s->t, e.nodeid, fh);
    }
    df_entry(s, "after fallocate", ft_lookup(s->t, s->dir, "s", &e), &e);
    s->t->uid = s->t->gid = 0;
    ft_chmod(s->t, d.nodeid, 02777);
    ft_chown(s->t, d.nodeid, 1000, 2000);
    s->t->uid = 1000;
    s->t->gid = 1001;
    df_entry(s, "file of a set-group-ID directory", ft_create(s->t, d.nodeid, "f", O_RDWR, 0644, &e, &fh), &e);
    ft_release(s->t, e.nodeid, fh);
    df_entry(s, "directory of it", ft_mkdir(s->t, d.nodeid, "d", 0755, &sg), &sg);
    df_entry(s, "link of it", ft_symlink(s->t, d.nodeid, "l", "x", &e), &e);
    df_entry(s, "set-group-ID file of it", ft_create(s->t, d.nodeid, "g", O_RDWR, 02755, &e, &fh), &e);
    ft_release(s->t, e.nodeid, fh);
    df_result(s, "rename of another's", ft_rename(s->t, s->dir, "n", s->dir, "nn", 0));
    df_result(s, "unlink", ft_unlink(s->t, s->dir, "nn"));
}

static void
access_step(struct df_side *s, const char *step, uint64_t node, uint32_t mask)
{
    struct fuse_access_in in = {.mask = mask};

    df_result(s, step, ft_call(s->t, FUSE_ACCESS, node, &in, sizeof(in), NULL, 0, NULL, 0, NULL));
}

static void
access_checks(struct df_side *s)
{
    uint64_t f = df_file(s, "f", "x", 0640), x = df_file(s, "x", "x", 0711);

    access_step(s, "exists", f, F_OK);
    access_step(s, "root reads", f, R_OK | W_OK);
    access_step(s, "root executes", f, X_OK);
    access_step(s, "root executes x", x, X_OK);
    access_step(s, "unknown bits", f, 64);
    access_step(s, "a node that never was", 0x5555, R_OK);
    s->t->uid = 1000;
    s->t->gid = 1001;
    access_step(s, "a stranger reads", f, R_OK);
    access_step(s, "a stranger executes x", x, X_OK);
    s->t->gid = 0;
    access_step(s, "the group reads", f, R_OK);
    access_step(s, "the group writes", f, W_OK);
}

static void
xattrs(struct df_side *s)
{
    static const char acl[] = {2, 0, 0, 0, 1, 0, 6, 0, -1, -1, -1, -1, 4, 0, 4, 0, -1, -1, -1, -1, 32, 0, 4, 0, -1, -1, -1, -1};
    uint64_t f = df_file(s, "f", "x", 0644);
    char value[300], list[512];
    struct fuse_entry_out p;
    int r;

    df_result(s, "nothing there", ft_getxattr(s->t, f, "user.a", value, sizeof(value)));
    df_result(s, "set", ft_setxattr(s->t, f, "user.a", "12345", 5, 0));
    df_result(s, "get", ft_getxattr(s->t, f, "user.a", value, sizeof(value)));
    df_result(s, "its size", ft_getxattr(s->t, f, "user.a", NULL, 0));
    df_result(s, "just room", ft_getxattr(s->t, f, "user.a", value, 5));
    df_result(s, "no room", ft_getxattr(s->t, f, "user.a", value, 2));
    df_result(s, "CREATE", ft_setxattr(s->t, f, "user.a", "1", 1, XATTR_CREATE));
    df_result(s, "REPLACE of nothing", ft_setxattr(s->t, f, "user.b", "1", 1, XATTR_REPLACE));
    df_result(s, "empty value", ft_setxattr(s->t, f, "user.e", "", 0, 0));
    df_result(s, "unknown flags", ft_setxattr(s->t, f, "user.a", "1", 1, 64));
    df_result(s, "no name space", ft_setxattr(s->t, f, "a", "1", 1, 0));
    df_result(s, "empty name", ft_setxattr(s->t, f, "", "1", 1, 0));
    memset(value, 'n', sizeof(value));
    memcpy(value, "user.", 5);
    value[299] = 0;
    df_result(s, "long name", ft_setxattr(s->t, f, value, "1", 1, 0));
    df_result(s, "trusted", ft_setxattr(s->t, f, "trusted.a", "1", 1, 0));
    df_result(s, "its value", ft_getxattr(s->t, f, "trusted.a", value, sizeof(value)));
    df_result(s, "security", ft_setxattr(s->t, f, "security.a", "1", 1, 0));
    df_result(s, "capability that is none", ft_setxattr(s->t, f, "security.capability", "1", 1, 0));
    df_result(s, "ACL", ft_setxattr(s->t, f, "system.posix_acl_access", acl, sizeof(acl), 0));
    df_result(s, "get ACL", ft_getxattr(s->t, f, "system.posix_acl_access", value, sizeof(value)));
    df_result(s, "our own", ft_setxattr(s->t, f, "user.msb.override_stat", "1", 1, 0));
    df_result(s, "read it", ft_getxattr(s->t, f, "user.msb.override_stat", value, sizeof(value)));
    df_result(s, "remove it", ft_removexattr(s->t, f, "user.msb.override_stat"));
    df_result(s, "list", ft_listxattr(s->t, f, list, sizeof(list)));
    df_result(s, "its size, too", ft_listxattr(s->t, f, NULL, 0));
    df_result(s, "just room for it", ft_listxattr(s->t, f, list, (uint32_t)ft_listxattr(s->t, f, NULL, 0)));
    df_result(s, "no room for it", ft_listxattr(s->t, f, list, 3));
    df_result(s, "remove", ft_removexattr(s->t, f, "user.a"));
    df_result(s, "again", ft_removexattr(s->t, f, "user.a"));
    r = ft_mknod(s->t, s->dir, "p", S_IFIFO | 0600, 0, &p);
    df_result(s, "of a FIFO", r < 0 ? r : ft_setxattr(s->t, p.nodeid, "user.a", "1", 1, 0));
    df_result(s, "of a directory", ft_setxattr(s->t, s->dir, "user.a", "1", 1, 0));
}

const struct df_case df_attrs[] = {
    {"attributes", attributes}, {"owners", owners}, {"access", access_checks}, {"xattrs", xattrs}, {NULL, NULL},
};

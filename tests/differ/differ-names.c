/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Differential cases: names, directories, links.
 */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "differ.h"

static void
names(struct df_side *s)
{
    static const char *const odd[] = {"", ".", "..", "a/b", "/", "a/", "missing"};
    char name[300], step[DF_STEP_MAX];
    struct fuse_entry_out e;
    unsigned i;

    for (i = 0; i < MB_ARRAY_SIZE(odd); i++) {
        snprintf(step, sizeof(step), "look up '%s'", odd[i]);
        df_result(s, step, ft_lookup(s->t, s->dir, odd[i], &e));
        snprintf(step, sizeof(step), "mkdir '%s'", odd[i]);
        df_result(s, step, ft_mkdir(s->t, s->dir, odd[i], 0755, &e));
        snprintf(step, sizeof(step), "unlink '%s'", odd[i]);
        df_result(s, step, ft_unlink(s->t, s->dir, odd[i]));
        snprintf(step, sizeof(step), "rmdir '%s'", odd[i]);
        df_result(s, step, ft_rmdir(s->t, s->dir, odd[i]));
    }
    memset(name, 'n', sizeof(name));
    name[255] = 0;
    df_entry(s, "mkdir of 255 bytes", ft_mkdir(s->t, s->dir, name, 0755, &e), &e);
    name[255] = 'n';
    name[256] = 0;
    df_result(s, "mkdir of 256 bytes", ft_mkdir(s->t, s->dir, name, 0755, &e));
    df_result(s, "look up 256 bytes", ft_lookup(s->t, s->dir, name, &e));
    df_result(s, "a node that was never given out", ft_lookup(s->t, 0x123456, "x", &e));
}

static void
make_nodes(struct df_side *s)
{
    static const struct {
        const char *name;
        uint32_t mode, rdev;
    } nodes[] = {
        {"regular", S_IFREG | 0644, 0},      {"no type", 0644, 0},
        {"fifo", S_IFIFO | 0640, 0},         {"socket", S_IFSOCK | 0600, 0},
        {"char", S_IFCHR | 0666, 0x103},     {"block", S_IFBLK | 0660, 0x801},
        {"set-ID", S_IFREG | 06755, 0},      {"directory", S_IFDIR | 0755, 0},
        {"link", S_IFLNK | 0777, 0},         {"no mode", S_IFREG, 0},
    };
    struct fuse_entry_out e;
    struct fuse_attr a;
    char step[DF_STEP_MAX];
    uint64_t fh;
    unsigned i;

    for (i = 0; i < MB_ARRAY_SIZE(nodes); i++) {
        int r = ft_mknod(s->t, s->dir, nodes[i].name, nodes[i].mode, nodes[i].rdev, &e);

        snprintf(step, sizeof(step), "mknod %s", nodes[i].name);
        df_entry(s, step, r, &e);
        snprintf(step, sizeof(step), "getattr %s", nodes[i].name);
        if (r == 0)
            r = ft_getattr(s->t, e.nodeid, &a);
        df_attr(s, step, r, &a);
        /* virtiofsd would wait for a partner of the FIFO. */
        if (S_ISFIFO(nodes[i].mode) || S_ISCHR(nodes[i].mode) || S_ISBLK(nodes[i].mode))
            continue;
        snprintf(step, sizeof(step), "open %s", nodes[i].name);
        if (r == 0)
            r = ft_open(s->t, e.nodeid, O_RDONLY, &fh);
        df_result(s, step, r);
        if (r == 0)
            ft_release(s->t, e.nodeid, fh);
    }
    df_result(s, "a name that exists", ft_mknod(s->t, s->dir, "regular", S_IFREG | 0644, 0, &e));
}

static void
directories(struct df_side *s)
{
    struct fuse_entry_out d, e;
    uint64_t file = df_file(s, "file", "x", 0644), fh;
    uint32_t mode;

    df_entry(s, "mkdir", ft_mkdir(s->t, s->dir, "d", 0755, &d), &d);
    df_result(s, "again", ft_mkdir(s->t, s->dir, "d", 0755, &e));
    df_entry(s, "sticky", ft_mkdir(s->t, s->dir, "sticky", 01777, &e), &e);
    df_entry(s, "set-group-ID asked for", ft_mkdir(s->t, s->dir, "sgid", 02755, &e), &e);
    mode = 0777;
    df_umask(s, &mode, 027);
    df_entry(s, "umask", ft_mkdir(s->t, s->dir, "masked", mode, &e), &e);
    s->t->umask = 0;
    df_result(s, "in a file", ft_mkdir(s->t, file, "x", 0755, &e));
    ft_mkdir(s->t, d.nodeid, "sub", 0755, &e);
    df_result(s, "rmdir of a full one", ft_rmdir(s->t, s->dir, "d"));
    df_result(s, "rmdir of a file", ft_rmdir(s->t, s->dir, "file"));
    df_result(s, "unlink of a directory", ft_unlink(s->t, s->dir, "d"));
    df_result(s, "opendir of a file", ft_opendir(s->t, file, &fh));
    df_result(s, "names in it", ft_list(s->t, d.nodeid, false, 4096, NULL, NULL));
    df_result(s, "with attributes", ft_list(s->t, d.nodeid, true, 4096, NULL, NULL));
    df_result(s, "rmdir of what is in it", ft_rmdir(s->t, d.nodeid, "sub"));
    df_result(s, "rmdir", ft_rmdir(s->t, s->dir, "d"));
    df_result(s, "look-up in what is gone", ft_lookup(s->t, d.nodeid, "x", &e));
    df_result(s, "mkdir in what is gone", ft_mkdir(s->t, d.nodeid, "x", 0755, &e));
    df_result(s, "names in what is gone", ft_list(s->t, d.nodeid, false, 4096, NULL, NULL));
}

static void
symlinks(struct df_side *s)
{
    char target[5000], buf[5000];
    struct fuse_entry_out l, e;
    struct fuse_setattr_in in = {.valid = FATTR_MTIME, .mtime = 1000000};
    struct fuse_attr a;
    uint64_t fh;
    int r;

    df_entry(s, "symlink", ft_symlink(s->t, s->dir, "l", "../target", &l), &l);
    r = ft_readlink(s->t, l.nodeid, buf, sizeof(buf));
    df_saw(s, "readlink", "%d '%s'", r, buf);
    df_result(s, "again", ft_symlink(s->t, s->dir, "l", "x", &e));
    df_result(s, "empty target", ft_symlink(s->t, s->dir, "empty", "", &e));
    memset(target, 't', sizeof(target));
    target[4095] = 0;
    r = ft_symlink(s->t, s->dir, "long", target, &e);
    df_entry(s, "target of 4095 bytes", r, &e);
    r = ft_readlink(s->t, e.nodeid, buf, sizeof(buf));
    df_saw(s, "which is read back", "%d %zu", r, strlen(buf));
    target[4095] = 't';
    target[4096] = 0;
    df_result(s, "target of 4096 bytes", ft_symlink(s->t, s->dir, "longer", target, &e));
    df_result(s, "open", ft_open(s->t, l.nodeid, O_RDONLY, &fh));
    df_result(s, "truncate", ft_truncate(s->t, l.nodeid, 0));
    df_result(s, "chmod", ft_chmod(s->t, l.nodeid, 0600));
    df_result(s, "chown", ft_chown(s->t, l.nodeid, 5, 6));
    r = ft_setattr(s->t, l.nodeid, &in, &a);
    df_saw(s, "utimes", "%d %llu", r, (unsigned long long)(r ? 0 : a.mtime));
    df_result(s, "setxattr", ft_setxattr(s->t, l.nodeid, "user.x", "1", 1, 0));
    df_entry(s, "link of it", ft_link(s->t, l.nodeid, s->dir, "hard", &e), &e);
    df_saw(s, "is it", "%d", e.nodeid == l.nodeid);
    df_result(s, "readlink of a directory", ft_readlink(s->t, s->dir, buf, sizeof(buf)));
    df_result(s, "readlink of a file", ft_readlink(s->t, df_file(s, "f", "x", 0644), buf, sizeof(buf)));
}

static void
hard_links(struct df_side *s)
{
    uint64_t file = df_file(s, "f", "text", 0640);
    struct fuse_entry_out e, d;
    struct fuse_attr a;
    int r;

    df_entry(s, "link", ft_link(s->t, file, s->dir, "g", &e), &e);
    df_saw(s, "the node", "%d", e.nodeid == file);
    df_result(s, "onto a name", ft_link(s->t, file, s->dir, "f", &e));
    ft_mkdir(s->t, s->dir, "d", 0755, &d);
    df_result(s, "of a directory", ft_link(s->t, d.nodeid, s->dir, "dd", &e));
    df_result(s, "into a file", ft_link(s->t, file, file, "x", &e));
    df_result(s, "chmod by one", ft_chmod(s->t, file, 0600));
    df_entry(s, "seen by the other", ft_lookup(s->t, s->dir, "g", &e), &e);
    df_result(s, "unlink one", ft_unlink(s->t, s->dir, "f"));
    r = ft_getattr(s->t, file, &a);
    df_attr(s, "the other stays", r, &a);
    df_result(s, "unlink the other", ft_unlink(s->t, s->dir, "g"));
    r = ft_getattr(s->t, file, &a);
    df_attr(s, "the node stays", r, &a);
    df_result(s, "link of what is gone", ft_link(s->t, file, s->dir, "again", &e));
}

static void
renames(struct df_side *s)
{
    uint64_t f = df_file(s, "f", "f", 0644), g = df_file(s, "g", "gg", 0600);
    struct fuse_entry_out e, d, full;
    struct fuse_attr a;
    int r;

    ft_mkdir(s->t, s->dir, "d", 0755, &d);
    ft_mkdir(s->t, s->dir, "full", 0755, &full);
    ft_mkdir(s->t, full.nodeid, "x", 0755, &e);
    df_result(s, "missing", ft_rename(s->t, s->dir, "missing", s->dir, "x", 0));
    df_result(s, "onto itself", ft_rename(s->t, s->dir, "f", s->dir, "f", 0));
    df_result(s, "NOREPLACE", ft_rename(s->t, s->dir, "f", s->dir, "g", RENAME_NOREPLACE));
    df_result(s, "EXCHANGE", ft_rename(s->t, s->dir, "f", s->dir, "g", RENAME_EXCHANGE));
    df_entry(s, "f is g", ft_lookup(s->t, s->dir, "f", &e), &e);
    df_saw(s, "the same node", "%d %d", e.nodeid == g, e.nodeid == f);
    df_result(s, "EXCHANGE with nothing", ft_rename(s->t, s->dir, "f", s->dir, "no", RENAME_EXCHANGE));
    df_result(s, "both", ft_rename(s->t, s->dir, "f", s->dir, "g", RENAME_EXCHANGE | RENAME_NOREPLACE));
    df_result(s, "unknown flag", ft_rename(s->t, s->dir, "f", s->dir, "g", 8));
    df_result(s, "WHITEOUT", ft_rename(s->t, s->dir, "f", s->dir, "moved", RENAME_WHITEOUT));
    df_entry(s, "what it leaves", ft_lookup(s->t, s->dir, "f", &e), &e);
    df_file(s, "h", "h", 0644);
    df_result(s, "a file onto a directory", ft_rename(s->t, s->dir, "h", s->dir, "d", 0));
    df_result(s, "a directory onto a file", ft_rename(s->t, s->dir, "d", s->dir, "h", 0));
    df_result(s, "onto a full directory", ft_rename(s->t, s->dir, "d", s->dir, "full", 0));
    df_result(s, "into itself", ft_rename(s->t, s->dir, "d", d.nodeid, "x", 0));
    df_result(s, "into another", ft_rename(s->t, s->dir, "h", full.nodeid, "h", 0));
    df_entry(s, "where it is", ft_lookup(s->t, full.nodeid, "h", &e), &e);
    df_result(s, "into a file", ft_rename(s->t, full.nodeid, "h", g, "h", 0));
    df_result(s, "'..'", ft_rename(s->t, s->dir, "..", s->dir, "up", 0));
    df_result(s, "to '..'", ft_rename(s->t, full.nodeid, "h", full.nodeid, "..", 0));
    df_file(s, "victim", "victim", 0644);
    ft_lookup(s->t, s->dir, "victim", &e);
    df_result(s, "replacing", ft_rename(s->t, full.nodeid, "h", s->dir, "victim", 0));
    r = ft_getattr(s->t, e.nodeid, &a);
    df_attr(s, "the victim", r, &a);
}

static void
listings(struct df_side *s)
{
    char name[32], buf[4096];
    uint64_t fh, offs[64];
    unsigned i, n = 0, again = 0;
    int len;

    for (i = 0; i < 30; i++) {
        snprintf(name, sizeof(name), "f%02u", i);
        df_file(s, name, "", 0644);
    }
    df_result(s, "names", ft_list(s->t, s->dir, false, 256, NULL, NULL));
    df_result(s, "with attributes", ft_list(s->t, s->dir, true, 1024, NULL, NULL));
    df_result(s, "opendir", ft_opendir(s->t, s->dir, &fh));
    len = ft_readdir(s->t, s->dir, fh, false, 0, buf, sizeof(buf));
    for (i = 0; (int)i < len && n < MB_ARRAY_SIZE(offs);) {
        const struct fuse_dirent *d = (const void *)(buf + i);

        offs[n++] = d->off;
        i += (unsigned)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d->namelen);
    }
    df_saw(s, "entries", "%u", n);
    /* After the tenth, whatever was read before. */
    for (i = 0; n > 10 && i < 3; i++) {
        len = ft_readdir(s->t, s->dir, fh, false, offs[9], buf, sizeof(buf));
        again += len > 0 && ((const struct fuse_dirent *)(const void *)buf)->off == offs[10];
    }
    df_saw(s, "continued three times", "%u", again);
    ft_unlink(s->t, s->dir, "f05");
    df_file(s, "new", "", 0644);
    len = ft_readdir(s->t, s->dir, fh, false, offs[n - 1], buf, sizeof(buf));
    df_result(s, "at the end", len < 0 ? len : len > 0);
    df_result(s, "no room", ft_readdir(s->t, s->dir, fh, false, 0, buf, 8));
    df_result(s, "a file's handle", ft_readdir(s->t, s->dir, 0x7777777, false, 0, buf, sizeof(buf)));
    df_result(s, "releasedir", ft_releasedir(s->t, s->dir, fh));
    df_result(s, "of a handle that is gone", ft_readdir(s->t, s->dir, fh, false, 0, buf, sizeof(buf)));
}

const struct df_case df_names[] = {
    {"names", names},         {"mknod", make_nodes},   {"directories", directories}, {"symlinks", symlinks},
    {"links", hard_links},    {"rename", renames},     {"listing", listings},        {NULL, NULL},
};

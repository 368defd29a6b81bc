/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The everyday operations, run against the core and against the program over
 * virtqueues, with each kind of stat virtualization.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs-test.h"

static void
test_files(struct ft *t, const char *dir)
{
    struct fuse_entry_out e, e2;
    struct fuse_attr a;
    char buf[64] = "", path[4200];
    struct stat st;
    uint64_t fh;

    eq_int(ft_lookup(t, FUSE_ROOT_ID, "nothing", NULL), -ENOENT, "a missing name");
    eq_int(ft_create(t, FUSE_ROOT_ID, "f", O_RDWR | O_EXCL, 0640, &e, &fh), 0, "create");
    eq_int(e.attr.mode, S_IFREG | 0640, "mode as asked for");
    eq_int(ft_write(t, e.nodeid, fh, 0, "hello world", 11, 0), 11, "write");
    eq_int(ft_read(t, e.nodeid, fh, 6, buf, sizeof(buf)), 5, "a read ends with the file");
    eq_str(buf, "world", "what was written is read");
    eq_int(ft_getattr(t, e.nodeid, &a), 0, "getattr");
    eq_int(a.size, 11, "size");
    eq_int(ft_flush(t, e.nodeid, fh, 1), 0, "flush");
    eq_int(ft_release(t, e.nodeid, fh), 0, "release");
    eq_int(ft_release(t, e.nodeid, fh), -EBADF, "the handle is gone");
    eq_int(ft_read(t, e.nodeid, fh, 0, buf, 4), -EBADF, "for reading, too");
    snprintf(path, sizeof(path), "%s/f", dir);
    eq_int(stat(path, &st), 0, "the host has the file");
    eq_int(st.st_size, 11, "with its size");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "f", &e2), 0, "look-up");
    eq_int(e2.nodeid, e.nodeid, "the same node");
    eq_int(ft_create(t, FUSE_ROOT_ID, "f", O_RDWR | O_EXCL, 0640, &e, &fh), -EEXIST, "O_EXCL");
    eq_int(ft_truncate(t, e2.nodeid, 5), 0, "truncate");
    eq_int(ft_open(t, e2.nodeid, O_RDONLY, &fh), 0, "open");
    eq_int(ft_write(t, e2.nodeid, fh, 0, "x", 1, 0), -EBADF, "a read-only handle does not write");
    memset(buf, 0, sizeof(buf));
    eq_int(ft_read(t, e2.nodeid, fh, 0, buf, sizeof(buf)), 5, "the shorter file");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "f"), 0, "unlink");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "f", NULL), -ENOENT, "it is gone");
    memset(buf, 0, sizeof(buf));
    eq_int(ft_read(t, e2.nodeid, fh, 0, buf, sizeof(buf)), 5, "an open file outlives its name");
    eq_int(ft_getattr(t, e2.nodeid, &a), 0, "and its attributes");
    eq_int(a.nlink, 0, "with no links");
    eq_int(ft_release(t, e2.nodeid, fh), 0, "release");
    eq_int(ft_forget(t, e2.nodeid, 2), 0, "forget");
    eq_int(ft_getattr(t, e2.nodeid, &a), -ESTALE, "a forgotten node");
}

static void
count_entry(void *data, const char *name, uint32_t type, const struct fuse_entry_out *e)
{
    unsigned *seen = data;

    (void)type;
    if (name[0] == 'n')
        seen[0]++;
    if (e && S_ISREG(e->attr.mode) && e->nodeid)
        seen[1]++;
}

static void
test_append(struct ft *t)
{
    struct fuse_entry_out e;
    char buf[16] = "";
    uint64_t fh;

    eq_int(ft_create(t, FUSE_ROOT_ID, "log", O_RDWR | O_APPEND, 0644, &e, &fh), 0, "a file for appending");
    ft_write(t, e.nodeid, fh, 0, "one", 3, 0);
    ft_write(t, e.nodeid, fh, 0, "two", 3, 0);
    eq_int(ft_write(t, e.nodeid, fh, 1, "N", 1, FUSE_WRITE_CACHE), 1, "a page that is written back through it");
    eq_int(ft_read(t, e.nodeid, fh, 0, buf, sizeof(buf)), 6, "does not lengthen it");
    eq_str(buf, "oNetwo", "and lands where it belongs");
    ft_release(t, e.nodeid, fh);
    ft_unlink(t, FUSE_ROOT_ID, "log");
}

static void
test_directories(struct ft *t)
{
    struct fuse_entry_out d, d2, e;
    unsigned seen[2] = {0};
    char name[32], long_name[1025] = "";
    uint64_t fh;
    int i, bad = 0;

    eq_int(ft_mkdir(t, FUSE_ROOT_ID, "dir", 0755, &d), 0, "mkdir");
    eq_int(d.attr.mode, S_IFDIR | 0755, "its mode");
    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "n%03d-with-a-longer-name", i);
        bad += ft_create(t, d.nodeid, name, O_WRONLY, 0644, &e, &fh) != 0;
        bad += ft_release(t, e.nodeid, fh) != 0;
    }
    eq_int(bad, 0, "300 files");
    eq_int(ft_list(t, d.nodeid, false, 4096, count_entry, seen), 300, "readdir finds them");
    eq_int(seen[0], 300, "by name");
    memset(seen, 0, sizeof(seen));
    eq_int(ft_list(t, d.nodeid, true, 4096, count_entry, seen), 300, "readdirplus finds them");
    eq_int(seen[1], 300, "with nodes and attributes");
    memset(long_name, 'n', 1024);
    eq_int(ft_lookup(t, FUSE_ROOT_ID, long_name, &e), -ENAMETOOLONG, "a name of 1024 bytes");
    long_name[256] = 0;
    eq_int(ft_mkdir(t, FUSE_ROOT_ID, long_name, 0755, &e), -ENAMETOOLONG, "of 256");
    long_name[255] = 0;
    eq_int(ft_mkdir(t, FUSE_ROOT_ID, long_name, 0755, &e), 0, "of 255");
    eq_int(ft_rmdir(t, FUSE_ROOT_ID, long_name), 0, "and away");
    eq_int(ft_rmdir(t, FUSE_ROOT_ID, "dir"), -ENOTEMPTY, "a full directory stays");
    eq_int(ft_rename(t, FUSE_ROOT_ID, "dir", FUSE_ROOT_ID, "moved", 0), 0, "rename");
    eq_int(ft_lookup(t, d.nodeid, "n000-with-a-longer-name", &e), 0, "its files are still reached by its node");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "moved", &d2), 0, "the new name");
    eq_int(d2.nodeid, d.nodeid, "is the same node");
    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "n%03d-with-a-longer-name", i);
        bad += ft_unlink(t, d.nodeid, name) != 0;
    }
    eq_int(bad, 0, "unlink them");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "moved"), -EISDIR, "unlink of a directory");
    eq_int(ft_rmdir(t, FUSE_ROOT_ID, "moved"), 0, "rmdir");
}

static void
test_links(struct ft *t)
{
    struct fuse_entry_out e, e2, l;
    char buf[256];
    uint64_t fh;

    eq_int(ft_create(t, FUSE_ROOT_ID, "a", O_WRONLY, 0644, &e, &fh), 0, "create");
    ft_release(t, e.nodeid, fh);
    eq_int(ft_link(t, e.nodeid, FUSE_ROOT_ID, "b", &e2), 0, "link");
    eq_int(e2.nodeid, e.nodeid, "one node");
    eq_int(e2.attr.nlink, 2, "two names");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "a"), 0, "one goes");
    eq_int(ft_open(t, e.nodeid, O_RDONLY, &fh), 0, "the node can still be opened");
    ft_release(t, e.nodeid, fh);
    eq_int(ft_symlink(t, FUSE_ROOT_ID, "l", "../some where", &l), 0, "symlink");
    eq_int(l.attr.mode & S_IFMT, S_IFLNK, "is a link");
    eq_int(l.attr.size, 13, "as long as its target");
    eq_int(ft_readlink(t, l.nodeid, buf, sizeof(buf)), 0, "readlink");
    eq_str(buf, "../some where", "its target");
    eq_int(ft_readlink(t, e.nodeid, buf, sizeof(buf)), -EINVAL, "a file is no link");
    eq_int(ft_open(t, l.nodeid, O_RDONLY, &fh), -ELOOP, "a link cannot be opened");
    eq_int(ft_rename(t, FUSE_ROOT_ID, "l", FUSE_ROOT_ID, "b", RENAME_NOREPLACE), -EEXIST, "RENAME_NOREPLACE");
    eq_int(ft_rename(t, FUSE_ROOT_ID, "l", FUSE_ROOT_ID, "b", RENAME_EXCHANGE), 0, "RENAME_EXCHANGE");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "b", &e2), 0, "look-up");
    eq_int(e2.nodeid, l.nodeid, "the link has the other name now");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "b"), 0, "unlink the link");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "l"), 0, "unlink the file");
}

static void
test_xattrs(struct ft *t)
{
    struct fuse_entry_out e;
    char buf[256];
    uint64_t fh;

    eq_int(ft_create(t, FUSE_ROOT_ID, "x", O_WRONLY, 0644, &e, &fh), 0, "create");
    ft_release(t, e.nodeid, fh);
    eq_int(ft_setxattr(t, e.nodeid, "user.colour", "blue", 4, 0), 0, "setxattr");
    eq_int(ft_getxattr(t, e.nodeid, "user.colour", buf, 0), 4, "its size");
    eq_int(ft_getxattr(t, e.nodeid, "user.colour", buf, sizeof(buf)), 4, "its value");
    eq_int(ft_getxattr(t, e.nodeid, "user.colour", buf, 4), 4, "its value in as much room as it takes");
    eq_int(ft_getxattr(t, e.nodeid, "user.colour", buf, 3), -ERANGE, "and in less");
    ok(memcmp(buf, "blue", 4) == 0, "is what was set");
    eq_int(ft_listxattr(t, e.nodeid, buf, sizeof(buf)), 12, "the list has it alone");
    eq_str(buf, "user.colour", "by name");
    eq_int(ft_listxattr(t, e.nodeid, buf, 0), 12, "and its size");
    eq_int(ft_listxattr(t, e.nodeid, buf, 12), 12, "the list in as much room as it takes");
    eq_int(ft_listxattr(t, e.nodeid, buf, 7), -ERANGE, "and in less");
    eq_int(ft_getxattr(t, e.nodeid, "user.nothing", buf, sizeof(buf)), -ENODATA, "another one");
    eq_int(ft_removexattr(t, e.nodeid, "user.colour"), 0, "removexattr");
    eq_int(ft_listxattr(t, e.nodeid, buf, sizeof(buf)), 0, "an empty list");
    eq_int(ft_getxattr(t, e.nodeid, FS_IDENT_XATTR, buf, sizeof(buf)), -EACCES, "the identity is hidden");
    eq_int(ft_setxattr(t, e.nodeid, FS_IDENT_XATTR, buf, 20, 0), -EACCES, "and cannot be set");
    eq_int(ft_removexattr(t, e.nodeid, FS_IDENT_XATTR), -EACCES, "or removed");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "x"), 0, "unlink");
}

/* Only root of the guest sees attributes that are root's. */
static void
test_trusted(struct ft *t)
{
    char list[256] = "";
    struct fuse_entry_out e;

    ft_mkdir(t, FUSE_ROOT_ID, "x", 0755, &e);
    /* The program gives up what it would need for them; others never had it. */
    if (geteuid() != 0 || t->vu) {
        eq_int(ft_setxattr(t, e.nodeid, "trusted.x", "1", 1, 0), -EPERM, "a trusted attribute is refused");
        ft_rmdir(t, FUSE_ROOT_ID, "x");
        return;
    }
    eq_int(ft_setxattr(t, e.nodeid, "trusted.x", "1", 1, 0), 0, "a trusted attribute");
    eq_int(ft_listxattr(t, e.nodeid, list, sizeof(list)), 10, "root sees it");
    t->uid = 1000;
    eq_int(ft_listxattr(t, e.nodeid, list, sizeof(list)), 0, "others do not");
    t->uid = 0;
    ft_rmdir(t, FUSE_ROOT_ID, "x");
}

static void
test_all(struct ft *t, const char *dir)
{
    struct fuse_statfs_out st;

    test_files(t, dir);
    test_append(t);
    test_directories(t);
    test_links(t);
    test_xattrs(t);
    test_trusted(t);
    eq_int(ft_call(t, FUSE_STATFS, FUSE_ROOT_ID, NULL, 0, NULL, 0, &st, sizeof(st), NULL), 0, "statfs");
    ok(st.st.blocks > 0 && st.st.namelen == 255, "tells something");
    eq_int(ft_list(t, FUSE_ROOT_ID, false, 4096, NULL, NULL), 0, "nothing is left");
    ft_free(t);
}

int
main(void)
{
    static const char *const virts[] = {"--stat-virt=strict", "--stat-virt=relaxed", "--stat-virt=off"};
    const char *why = ft_no_xattr();
    unsigned i;

    if (why)
        tap_skip_all(why);
    for (i = 0; i < 3; i++) {
        const char *dir = ft_subdir("share");
        struct fs_config config = {
            .shared_dir = dir,
            .stat_virt = (enum fs_stat_virt)i,
            .cache = FS_CACHE_AUTO,
        };
        char option[4200];
        const char *args[] = {option, virts[i], NULL};

        tap_diag("core, %s", virts[i]);
        test_all(ft_core(&config), dir);
        config.no_openat2 = true;
        tap_diag("core without openat2, %s", virts[i]);
        test_all(ft_core(&config), dir);
        snprintf(option, sizeof(option), "--shared-dir=%s", dir);
        tap_diag("program, %s", virts[i]);
        test_all(ft_vu(args), dir);
    }
    return tap_done();
}

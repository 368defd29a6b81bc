/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations that everyday use meets seldom: fallocate and lseek in all their
 * modes, copies, renames with flags, files without a name, appending,
 * directories that change while they are read, mounts below the share, ACLs,
 * the write-back cache, times of links.
 */
#include <config.h>

#include <errno.h>
#include <linux/falloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs-test.h"
#include "fs-xattr.h"

static char host_dir[4096];

static const char *
host(const char *name)
{
    return ft_at(host_dir, name);
}

static struct ft *
start(enum fs_stat_virt virt)
{
    struct fs_config config = {.stat_virt = virt, .cache = FS_CACHE_AUTO};

    snprintf(host_dir, sizeof(host_dir), "%s", ft_subdir("share"));
    config.shared_dir = host_dir;
    return ft_core(&config);
}

static uint64_t
make_file(struct ft *t, const char *name, uint32_t flags, uint64_t *fh)
{
    struct fuse_entry_out e = {0};

    return ft_create(t, FUSE_ROOT_ID, name, flags, 0644, &e, fh) == 0 ? e.nodeid : 0;
}

static int64_t
seek(struct ft *t, uint64_t node, uint64_t fh, uint64_t offset, uint32_t whence)
{
    struct fuse_lseek_in in = {.fh = fh, .offset = offset, .whence = whence};
    struct fuse_lseek_out out = {0};
    int r = ft_call(t, FUSE_LSEEK, node, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL);

    return r < 0 ? r : (int64_t)out.offset;
}

static int
allocate(struct ft *t, uint64_t node, uint64_t fh, uint32_t mode, uint64_t offset, uint64_t len)
{
    struct fuse_fallocate_in in = {.fh = fh, .mode = mode, .offset = offset, .length = len};

    return ft_call(t, FUSE_FALLOCATE, node, &in, sizeof(in), NULL, 0, NULL, 0, NULL);
}

static uint64_t
size_of(struct ft *t, uint64_t node)
{
    struct fuse_attr a = {0};

    ft_getattr(t, node, &a);
    return a.size;
}

static void
test_space(struct ft *t)
{
    char page[4096], buf[4096];
    uint64_t fh, f = make_file(t, "space", O_RDWR, &fh);
    int r;

    memset(page, 'p', sizeof(page));
    ft_write(t, f, fh, 8192, page, sizeof(page), 0);
    ft_truncate(t, f, 65536);
    eq_int(seek(t, f, fh, 0, SEEK_DATA), 8192, "SEEK_DATA");
    eq_int(seek(t, f, fh, 8192, SEEK_HOLE), 12288, "SEEK_HOLE");
    eq_int(seek(t, f, fh, 12288, SEEK_DATA), -ENXIO, "no data behind");
    eq_int(allocate(t, f, fh, FALLOC_FL_KEEP_SIZE, 65536, 65536), 0, "fallocate behind the end, keeping the size");
    eq_int(size_of(t, f), 65536, "keeps it");
    eq_int(allocate(t, f, fh, 0, 65536, 4096), 0, "without that");
    eq_int(size_of(t, f), 69632, "the file grows");
    r = allocate(t, f, fh, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 2048);
    eq_int(r, 0, "punch a hole");
    ft_read(t, f, fh, 8192, buf, sizeof(buf));
    ok(buf[0] == 0 && buf[2047] == 0 && buf[2048] == 'p', "of the size that was asked for");
    eq_int(allocate(t, f, fh, FALLOC_FL_PUNCH_HOLE, 0, 4096), -EOPNOTSUPP, "which has to keep the size");
    r = allocate(t, f, fh, FALLOC_FL_ZERO_RANGE, 10240, 1024);
    ok(r == 0 || r == -EOPNOTSUPP, "zero a range, if the host can");
    if (r == 0) {
        ft_read(t, f, fh, 8192, buf, sizeof(buf));
        ok(buf[2048] == 0 && buf[3072] == 'p', "it is zero");
    }
    r = allocate(t, f, fh, FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
    ok(r == 0 || r == -EOPNOTSUPP, "collapse a range, if the host can");
    if (r == 0) {
        eq_int(size_of(t, f), 65536, "the file shrinks");
        eq_int(allocate(t, f, fh, FALLOC_FL_INSERT_RANGE, 0, 4096), 0, "insert one");
        eq_int(size_of(t, f), 69632, "the file grows");
    }
    eq_int(allocate(t, f, fh, 0x4000, 0, 4096), -EOPNOTSUPP, "a mode that does not exist");
    eq_int(allocate(t, f, fh, 0, UINT64_MAX - 1, 4096), -EINVAL, "a range that wraps");
    ft_release(t, f, fh);
    ft_open(t, f, O_RDONLY, &fh);
    eq_int(allocate(t, f, fh, 0, 0, 4096), -EBADF, "not for who only reads");
    ft_release(t, f, fh);
}

static void
test_copy(struct ft *t)
{
    uint64_t from_fh, to_fh, from = make_file(t, "from", O_RDWR, &from_fh), to = make_file(t, "to", O_RDWR, &to_fh);
    struct fuse_copy_file_range_in in = {.fh_in = from_fh, .off_in = 2, .nodeid_out = to, .fh_out = to_fh,
                                         .off_out = 10, .len = 100};
    struct fuse_write_out out = {0};
    char buf[32] = "";

    ft_write(t, from, from_fh, 0, "0123456789", 10, 0);
    eq_int(ft_call(t, FUSE_COPY_FILE_RANGE, from, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL), 0, "copy");
    eq_int(out.size, 8, "what there is");
    eq_int(ft_read(t, to, to_fh, 10, buf, sizeof(buf)), 8, "arrives");
    eq_str(buf, "23456789", "as it was");
    in.flags = 1;
    eq_int(ft_call(t, FUSE_COPY_FILE_RANGE, from, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL), -EINVAL,
           "a flag that does not exist");
    ft_release(t, from, from_fh);
    ft_release(t, to, to_fh);
}

static void
test_rename(struct ft *t, enum fs_stat_virt virt)
{
    struct fuse_entry_out a, b, e;
    struct stat st;

    ft_mknod(t, FUSE_ROOT_ID, "a", S_IFREG | 0600, 0, &a);
    ft_mknod(t, FUSE_ROOT_ID, "b", S_IFREG | 0644, 0, &b);
    eq_int(ft_rename(t, FUSE_ROOT_ID, "a", FUSE_ROOT_ID, "b", RENAME_NOREPLACE), -EEXIST, "RENAME_NOREPLACE");
    eq_int(ft_rename(t, FUSE_ROOT_ID, "a", FUSE_ROOT_ID, "b", RENAME_EXCHANGE), 0, "RENAME_EXCHANGE");
    ft_lookup(t, FUSE_ROOT_ID, "a", &e);
    ok(e.nodeid == b.nodeid && (e.attr.mode & 0777) == 0644, "one is the other");
    eq_int(ft_chmod(t, a.nodeid, 0600), 0, "and both are found");
    eq_int(ft_rename(t, FUSE_ROOT_ID, "a", FUSE_ROOT_ID, "b", 64), -EINVAL, "a flag that does not exist");
    if (virt != FS_STAT_OFF) {
        ok(ft_rename(t, FUSE_ROOT_ID, "a", FUSE_ROOT_ID, "c", RENAME_WHITEOUT) < 0, "no whiteout");
        eq_int(access(host("a"), F_OK), 0, "and nothing has happened");
        return;
    }
    eq_int(ft_rename(t, FUSE_ROOT_ID, "a", FUSE_ROOT_ID, "c", RENAME_WHITEOUT), 0, "RENAME_WHITEOUT");
    ok(lstat(host("a"), &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0, "leaves one");
}

static void
test_nameless(struct ft *t)
{
    struct fuse_create_in in = {.flags = O_RDWR | O_TMPFILE, .mode = S_IFREG | 0640};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    struct fuse_entry_out e;
    char buf[8] = "";

    /* The kernel sends a name, too, which means nothing. */
    eq_int(ft_call(t, FUSE_TMPFILE, FUSE_ROOT_ID, &in, sizeof(in), "/", 2, &out, sizeof(out), NULL), 0, "O_TMPFILE");
    eq_int(out.entry.attr.nlink, 0, "has no name");
    eq_int(ft_write(t, out.entry.nodeid, out.open.fh, 0, "text", 4, 0), 4, "is written");
    eq_int(ft_list(t, FUSE_ROOT_ID, false, 4096, NULL, NULL), 0, "shows nowhere");
    eq_int(ft_link(t, out.entry.nodeid, FUSE_ROOT_ID, "named", &e), 0, "until it is linked");
    ok(e.nodeid == out.entry.nodeid && e.attr.nlink == 1 && (e.attr.mode & 0777) == 0640, "as itself");
    ft_release(t, out.entry.nodeid, out.open.fh);
    eq_int(ft_open(t, e.nodeid, O_RDONLY, &out.open.fh), 0, "open");
    ft_read(t, e.nodeid, out.open.fh, 0, buf, 4);
    eq_str(buf, "text", "with its text");
    ft_release(t, e.nodeid, out.open.fh);
    ft_unlink(t, FUSE_ROOT_ID, "named");
}

static void
test_append(struct ft *t)
{
    uint64_t fh, f = make_file(t, "log", O_WRONLY | O_APPEND, &fh);
    int fd;

    ft_write(t, f, fh, 0, "one", 3, 0);
    fd = open(host("log"), O_WRONLY | O_APPEND);
    ok(fd >= 0 && write(fd, "two", 3) == 3, "the host appends");
    close(fd);
    eq_int(ft_write(t, f, fh, 3, "three", 5, 0), 5, "the guest, who does not know, too");
    eq_int(size_of(t, f), 11, "and neither is lost");
    ft_release(t, f, fh);
}

struct listing {
    unsigned stay[200], others;
};

static void
note_name(const char *name, struct listing *list)
{
    unsigned i;

    if (sscanf(name, "stay%u", &i) == 1 && i < 200)
        list->stay[i]++;
    else
        list->others++;
}

/* Entries that stay are listed once each, whatever else comes and goes between two requests. */
static void
test_directory(struct ft *t)
{
    struct listing list = {.others = 0};
    uint64_t fh, offset = 0;
    unsigned i, n = 0, wrong = 0;
    char name[32], buf[1024];
    struct fuse_entry_out e;
    int len;

    for (i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "stay%u", i);
        ft_mknod(t, FUSE_ROOT_ID, name, S_IFREG | 0600, 0, &e);
        snprintf(name, sizeof(name), "goes%u", i);
        ft_mknod(t, FUSE_ROOT_ID, name, S_IFREG | 0600, 0, &e);
    }
    ft_opendir(t, FUSE_ROOT_ID, &fh);
    while ((len = ft_readdir(t, FUSE_ROOT_ID, fh, false, offset, buf, sizeof(buf))) > 0) {
        char *at = buf;

        while (at < buf + len) {
            struct fuse_dirent *d = (void *)at;

            snprintf(name, sizeof(name), "%.*s", (int)d->namelen, d->name);
            note_name(name, &list);
            offset = d->off;
            at += FUSE_DIRENT_SIZE(d);
        }
        snprintf(name, sizeof(name), "goes%u", n);
        unlink(host(name));
        snprintf(name, sizeof(name), "comes%u", n++);
        close(open(host(name), O_CREAT | O_WRONLY, 0600));
        /* Every other time from the offset anew, as after a seek. */
        if (n % 2)
            ft_readdir(t, FUSE_ROOT_ID, fh, false, 0, buf, sizeof(buf));
    }
    eq_int(len, 0, "a directory is read while it changes");
    for (i = 0; i < 200; i++)
        wrong += list.stay[i] != 1;
    eq_int(wrong, 0, "what stays in it is listed once");
    eq_int(ft_call(t, FUSE_FSYNCDIR, FUSE_ROOT_ID, &(struct fuse_fsync_in){.fh = fh}, sizeof(struct fuse_fsync_in),
                   NULL, 0, NULL, 0, NULL), 0, "fsyncdir");
    ft_releasedir(t, FUSE_ROOT_ID, fh);
}

static void
test_acl(struct ft *t)
{
    struct fuse_entry_out e;
    char value[44] = {2};

    ft_mknod(t, FUSE_ROOT_ID, "acl", S_IFREG | 0600, 0, &e);
    eq_int(ft_setxattr(t, e.nodeid, "system.posix_acl_access", value, sizeof(value), 0), -EOPNOTSUPP,
           "ACLs are refused");
    eq_int(ft_getxattr(t, e.nodeid, "system.posix_acl_access", value, sizeof(value)), -EOPNOTSUPP, "and not shown");
}

/* Only where owners are the host's, and a guest says that it does its part. */
static void
test_host_acl(void)
{
    const uint32_t acls = FUSE_POSIX_ACL | FUSE_DONT_MASK;
    struct ft *t = start(FS_STAT_OFF);
    struct fuse_entry_out e;
    struct stat st;
    /* Version 2; owner rwx, group r-x, others nothing. */
    uint8_t acl[] = {2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255,
                     32, 0, 0, 0, 255, 255, 255, 255};
    struct {
        struct fuse_setxattr_in in;
        char rest[sizeof(FS_ACL_ACCESS) + sizeof(acl)];
    } set = {.in = {.size = sizeof(acl), .setxattr_flags = FUSE_SETXATTR_ACL_KILL_SGID}};

    ft_init(t, acls);
    ft_mknod(t, FUSE_ROOT_ID, "acl", S_IFREG | 0600, 0, &e);
    eq_int(ft_getxattr(t, e.nodeid, FS_ACL_ACCESS, acl, sizeof(acl)), -EOPNOTSUPP, "an old guest has no ACLs");
    ft_init(t, acls | FUSE_SETXATTR_EXT);
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "acl", &e), 0, "another guest");
    chmod(host("acl"), 02755);
    memcpy(set.rest, FS_ACL_ACCESS, sizeof(FS_ACL_ACCESS));
    memcpy(set.rest + sizeof(FS_ACL_ACCESS), acl, sizeof(acl));
    eq_int(ft_call(t, FUSE_SETXATTR, e.nodeid, &set.in, sizeof(set.in), set.rest, sizeof(set.rest), NULL, 0, NULL), 0,
           "with stat-virt=off it can set one");
    stat(host("acl"), &st);
    eq_int(st.st_mode & 07777, 0750, "which is the file's mode, without the bit that is to go");
    ft_free(t);
}

static void
test_no_xattr(void)
{
    struct fs_config config = {.shared_dir = ft_subdir("share"), .stat_virt = FS_STAT_STRICT, .no_xattr = true};
    struct ft *t = ft_core(&config);
    struct fuse_entry_out e;
    char value[8] = "";

    ft_mknod(t, FUSE_ROOT_ID, "bare", S_IFREG | 0640, 0, &e);
    eq_int(ft_setxattr(t, e.nodeid, "user.x", value, 1, 0), -ENOSYS, "without attributes: none is set");
    eq_int(ft_getxattr(t, e.nodeid, "security.capability", value, sizeof(value)), -ENOSYS, "or got");
    eq_int(ft_listxattr(t, e.nodeid, value, sizeof(value)), -ENOSYS, "or listed");
    eq_int(ft_removexattr(t, e.nodeid, "user.x"), -ENOSYS, "or removed");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "bare", &e), 0, "files");
    eq_int(e.attr.mode, S_IFREG | 0640, "have their identity all the same");
    ft_free(t);
}

/* A link of the host: its times are its own, not its target's. */
static void
test_link_times(enum fs_stat_virt virt)
{
    struct fuse_setattr_in in = {.valid = FATTR_MTIME | FATTR_ATIME, .mtime = 1000, .atime = 2000};
    struct ft *t = start(virt);
    struct fuse_entry_out e;
    struct stat st;
    int r;

    close(open(host("target"), O_CREAT | O_WRONLY, 0600));
    eq_int(ft_symlink(t, FUSE_ROOT_ID, "link", host("target"), &e), 0, "a link");
    r = ft_setattr(t, e.nodeid, &in, NULL);
    eq_int(r, 0, "its times can be set");
    ok(lstat(host("link"), &st) == 0 && st.st_mtime == 1000 && st.st_atime == 2000, "on the link");
    ok(stat(host("target"), &st) == 0 && st.st_mtime != 1000, "not on what it leads to");
    ft_free(t);
}

static void
test_writeback(void)
{
    struct fs_config config = {.stat_virt = FS_STAT_STRICT, .cache = FS_CACHE_ALWAYS, .writeback = true};
    struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
                              .flags = FUSE_WRITEBACK_CACHE};
    struct fuse_init_out out = {0};
    struct ft *t;
    uint64_t f, fh;
    char buf[8] = "";

    snprintf(host_dir, sizeof(host_dir), "%s", ft_subdir("share"));
    config.shared_dir = host_dir;
    t = ft_core(&config);
    eq_int(ft_call(t, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL), 0, "INIT");
    ok(out.flags & FUSE_WRITEBACK_CACHE, "agrees on write-back");
    f = make_file(t, "f", O_WRONLY | O_APPEND, &fh);
    eq_int(ft_write(t, f, fh, 0, "abcdef", 6, FUSE_WRITE_CACHE), 6, "a page");
    eq_int(ft_write(t, f, fh, 2, "XY", 2, FUSE_WRITE_CACHE), 2, "a part of it again, though opened to append");
    eq_int(ft_read(t, f, fh, 0, buf, 6), 6, "and read, though opened to write");
    eq_str(buf, "abXYef", "all in its place");
    ft_release(t, f, fh);
    ft_free(t);
}

/* How long a guest may remember that there is no such name: -errno of the look-up, or seconds. */
static int64_t
missing_for(enum fs_cache cache)
{
    struct fs_config config = {.shared_dir = ft_subdir("share"), .cache = cache};
    struct fuse_entry_out e = {.nodeid = 1};
    struct ft *t = ft_core(&config);
    int r = ft_call(t, FUSE_LOOKUP, FUSE_ROOT_ID, "nothing", sizeof("nothing"), NULL, 0, &e, sizeof(e), NULL);

    ft_free(t);
    return r < 0 ? r : e.nodeid ? INT64_MAX : (int64_t)e.entry_valid;
}

static void
test_missing(void)
{
    eq_int(missing_for(FS_CACHE_NONE), -ENOENT, "a missing name, with nothing cached");
    eq_int(missing_for(FS_CACHE_AUTO), 1, "may be remembered for a second");
    eq_int(missing_for(FS_CACHE_ALWAYS), 86400, "or for long");
}

static int
with_a_mount(void)
{
    struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .flags = FUSE_SUBMOUNTS};
    struct fuse_init_out out;
    struct fuse_entry_out e, f;
    struct ft *t;
    uint64_t fh;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 77;
    t = start(FS_STAT_RELAXED);
    mkdir(host("below"), 0755);
    if (mount("below", host("below"), "tmpfs", 0, NULL) < 0)
        return 77;
    close(open(host("below/file"), O_CREAT | O_WRONLY, 0644));
    if (ft_call(t, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL) < 0)
        return 1;
    if (ft_lookup(t, FUSE_ROOT_ID, "below", &e) < 0 || !(e.attr.flags & FUSE_ATTR_SUBMOUNT))
        return 2;
    if (ft_lookup(t, e.nodeid, "file", &f) < 0 || f.attr.flags & FUSE_ATTR_SUBMOUNT)
        return 3;
    if (ft_open(t, f.nodeid, O_RDWR, &fh) < 0 || ft_write(t, f.nodeid, fh, 0, "x", 1, 0) != 1)
        return 4;
    if (ft_lookup(t, e.nodeid, "..", &f) != -EPERM)
        return 5;
    if (ft_rename(t, e.nodeid, "file", FUSE_ROOT_ID, "file", 0) != -EXDEV)
        return 6;
    return 0;
}

static void
test_submount(void)
{
    int status = -1;
    pid_t pid;

    if (geteuid() != 0) {
        tap_skip("a mount below the share", "needs root");
        return;
    }
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        _exit(with_a_mount());
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        tap_skip("a mount below the share", "mounting is not allowed here");
    else
        eq_int(status, 0, "a mount below the share is announced, and served");
}

/* What could not be removed needs no descriptor of its own: there are few for what has no name. */
static void
test_not_removed(void)
{
    struct fs_config config = {.cache = FS_CACHE_AUTO};
    struct fuse_entry_out d, e;
    struct ft *t;

    config.shared_dir = ft_subdir("not-removed");
    t = ft_core(&config);
    ft_mkdir(t, FUSE_ROOT_ID, "full", 0755, &d);
    ft_mkdir(t, d.nodeid, "in-it", 0755, &e);
    ft_mkdir(t, FUSE_ROOT_ID, "other", 0755, &e);
    eq_int(ft_rmdir(t, FUSE_ROOT_ID, "full"), -ENOTEMPTY, "a directory that is not empty is not removed");
    eq_int(t->fs->nodes.n_orphans, 0, "nor kept as one that was");
    eq_int(ft_rename(t, FUSE_ROOT_ID, "other", FUSE_ROOT_ID, "full", 0), -ENOTEMPTY, "and not replaced");
    eq_int(t->fs->nodes.n_orphans, 0, "nor kept");
    ft_free(t);
}

int
main(void)
{
    static const enum fs_stat_virt virts[] = {FS_STAT_STRICT, FS_STAT_RELAXED, FS_STAT_OFF};
    const char *why = ft_no_xattr();
    unsigned i;

    if (why)
        tap_skip_all(why);
    for (i = 0; i < MB_ARRAY_SIZE(virts); i++) {
        struct ft *t = start(virts[i]);

        tap_diag("stat-virt %u", virts[i]);
        test_nameless(t);
        test_space(t);
        test_copy(t);
        test_rename(t, virts[i]);
        test_append(t);
        if (virts[i] != FS_STAT_OFF)
            test_acl(t);
        ft_free(t);
        t = start(virts[i]);
        test_directory(t);
        ft_free(t);
        test_link_times(virts[i]);
    }
    test_host_acl();
    test_no_xattr();
    test_writeback();
    test_missing();
    test_submount();
    test_not_removed();
    return tap_done();
}

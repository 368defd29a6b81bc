/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stat virtualization: the attribute's format, what the host sees, what the
 * guest sees, inheritance, and that a failed write leaves nothing behind.
 */
#include <config.h>

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs-test.h"

static char host_dir[4096];

static const char *
host(const char *name)
{
    return ft_at(host_dir, name);
}

static uint32_t
host_mode(const char *name)
{
    struct stat st;

    return lstat(host(name), &st) < 0 ? 0 : st.st_mode;
}

/* On host_dir as it is. */
static struct ft *
start_here(enum fs_stat_virt virt)
{
    struct fs_config config = {.shared_dir = host_dir, .stat_virt = virt, .cache = FS_CACHE_AUTO};

    return ft_core(&config);
}

static struct ft *
start(enum fs_stat_virt virt, enum fs_host_perms perms)
{
    struct fs_config config = {.stat_virt = virt, .host_perms = perms, .cache = FS_CACHE_AUTO};

    snprintf(host_dir, sizeof(host_dir), "%s", ft_subdir("share"));
    config.shared_dir = host_dir;
    return ft_core(&config);
}

static uint64_t
make_file(struct ft *t, uint64_t dir, const char *name, uint32_t mode)
{
    struct fuse_entry_out e = {0};
    uint64_t fh;

    if (ft_create(t, dir, name, O_WRONLY, mode, &e, &fh) == 0)
        ft_release(t, e.nodeid, fh);
    return e.nodeid;
}

static void
test_format(void)
{
    static const uint8_t want[20] = {1, 0, 0, 0, 0xe8, 3, 0, 0, 0xe9, 3, 0, 0, 0xed, 0x89, 0, 0, 0, 0, 0, 0};
    struct fs_ident id = {.uid = 1000, .gid = 1001, .mode = 0104755 | 0}, got;
    uint8_t value[FS_IDENT_SIZE + 1] = {0};

    fs_ident_format(&id, value);
    ok(memcmp(value, want, 20) == 0, "the 20 bytes are as documented");
    eq_int(fs_ident_parse(value, 20, &got), 0, "and are read back");
    ok(got.uid == 1000 && got.gid == 1001 && got.mode == 0104755 && got.rdev == 0, "as they were");
    eq_int(fs_ident_parse(value, 19, &got), -EIO, "too short");
    eq_int(fs_ident_parse(value, 21, &got), -EIO, "too long");
    value[0] = 2;
    eq_int(fs_ident_parse(value, 20, &got), -EIO, "another version");
    value[0] = 1;
    value[13] = 0;
    eq_int(fs_ident_parse(value, 20, &got), -EIO, "a mode without type");
}

static void
test_create(enum fs_stat_virt virt)
{
    struct ft *t = start(virt, FS_PERMS_PRIVATE);
    struct fuse_entry_out e;
    struct fuse_attr a;
    uint8_t value[64];
    uint64_t f, fh;

    t->uid = 1000;
    t->gid = 1001;
    t->umask = 022;
    f = make_file(t, FUSE_ROOT_ID, "f", 0666);
    eq_int(ft_getattr(t, f, &a), 0, "getattr");
    ok(a.uid == 1000 && a.gid == 1001 && a.mode == (S_IFREG | 0644), "owner and mode, less the umask");
    eq_int(host_mode("f"), S_IFREG | 0600, "the host's mode is private");
    eq_int(getxattr(host("f"), FS_IDENT_XATTR, value, sizeof(value)), 20, "the attribute");
    ok(value[0] == 1 && value[4] == 0xe8 && value[5] == 3, "holds it");
    eq_int(ft_mkdir(t, FUSE_ROOT_ID, "d", 01777, &e), 0, "mkdir");
    eq_int(e.attr.mode, S_IFDIR | 01755, "with the sticky bit");
    eq_int(host_mode("d"), S_IFDIR | 0700, "the host's mode is private");
    eq_int(ft_mknod(t, FUSE_ROOT_ID, "null", S_IFCHR | 0666, 0x103, &e), 0, "mknod of a device");
    ok(e.attr.mode == (S_IFCHR | 0644) && e.attr.rdev == 0x103, "is one to the guest");
    eq_int(host_mode("null"), S_IFREG | 0600, "and a file to the host");
    eq_int(ft_open(t, e.nodeid, O_RDWR, &fh), -ENXIO, "the server does not open it");
    eq_int(ft_mknod(t, FUSE_ROOT_ID, "pipe", S_IFIFO | 0600, 0, &e), 0, "mknod of a FIFO");
    eq_int(e.attr.mode, S_IFIFO | 0600, "is one to the guest");
    eq_int(ft_mknod(t, FUSE_ROOT_ID, "odd", 0170000, 0, &e), -EINVAL, "mknod of nothing known");
    eq_int(ft_symlink(t, FUSE_ROOT_ID, "l", "target", &e), 0, "symlink");
    eq_int(host_mode("l") & S_IFMT, virt == FS_STAT_STRICT ? S_IFREG : S_IFLNK, "strict: a file; relaxed: a link");
    if (virt == FS_STAT_STRICT)
        ok(e.attr.uid == 1000 && e.attr.mode == (S_IFLNK | 0777), "a virtual link has an owner");
    if (virt == FS_STAT_RELAXED) {
        eq_int(ft_chown(t, e.nodeid, e.attr.uid, e.attr.gid), 0, "a real link can be given to whom it belongs");
        eq_int(ft_chown(t, e.nodeid, UINT32_MAX, e.attr.gid), 0, "or its group");
        eq_int(ft_chown(t, e.nodeid, e.attr.uid, 5), -EPERM, "and to nobody else");
    }
    ft_free(t);
}

static void
test_change(enum fs_host_perms perms)
{
    struct ft *t = start(FS_STAT_STRICT, perms);
    uint64_t f = make_file(t, FUSE_ROOT_ID, "f", 0640), fh;
    struct fuse_entry_out e;
    struct fuse_attr a;

    eq_int(host_mode("f") & 0777, perms == FS_PERMS_MIRROR ? 0640 : 0600, "host mode of a new file");
    eq_int(ft_chmod(t, f, 06755), 0, "chmod with set-ID bits");
    eq_int(host_mode("f"), S_IFREG | (perms == FS_PERMS_MIRROR ? 0755 : 0600), "never reaches the host with them");
    ft_getattr(t, f, &a);
    eq_int(a.mode, S_IFREG | 06755, "the guest has them");
    eq_int(ft_chown(t, f, 5, UINT32_MAX), 0, "chown");
    ft_getattr(t, f, &a);
    ok(a.uid == 5 && a.gid == 0 && a.mode == (S_IFREG | 0755), "takes the bits away, leaves the group");
    ft_chmod(t, f, 04711);
    ft_open(t, f, O_WRONLY, &fh);
    eq_int(ft_write(t, f, fh, 0, "x", 1, 0), 1, "a write by root");
    ft_getattr(t, f, &a);
    eq_int(a.mode, S_IFREG | 04711, "leaves set-user-ID");
    eq_int(ft_write(t, f, fh, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID), 1, "a write by somebody else");
    ft_getattr(t, f, &a);
    eq_int(a.mode, S_IFREG | 0711, "takes it away");
    ft_chmod(t, f, 02644);
    ft_write(t, f, fh, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID);
    ft_getattr(t, f, &a);
    eq_int(a.mode, S_IFREG | 02644, "set-group-ID without execution stays when one of the group writes");
    t->gid = 7;
    ft_write(t, f, fh, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID);
    t->gid = 0;
    ft_getattr(t, f, &a);
    eq_int(a.mode, S_IFREG | 0644, "and goes when it is somebody else");
    ft_chown(t, f, 7, 0);
    ft_chmod(t, f, 02644);
    t->uid = t->gid = 7;
    eq_int(ft_chown(t, f, UINT32_MAX, 7), 0, "a new group by an owner of another one");
    t->uid = t->gid = 0;
    ft_getattr(t, f, &a);
    eq_int(a.mode, S_IFREG | 0644, "takes set-group-ID away");
    ft_chmod(t, f, 04755);
    eq_int(ft_fallocate(t, f, fh, 0, 0, 4096), 0, "fallocate by root");
    ft_getattr(t, f, &a);
    eq_int(a.mode, S_IFREG | 04755, "leaves set-user-ID");
    t->uid = 7;
    eq_int(ft_fallocate(t, f, fh, 0, 4096, 4096), 0, "fallocate by somebody else");
    t->uid = 0;
    ft_getattr(t, f, &a);
    eq_int(a.mode, S_IFREG | 0755, "takes it away");
    ft_release(t, f, fh);
    eq_int(ft_chmod(t, f, 0), 0, "chmod 0");
    eq_int(host_mode("f") & 0777, 0600, "the host can still serve the file");
    ft_mkdir(t, FUSE_ROOT_ID, "d", 0755, &e);
    eq_int(ft_chmod(t, e.nodeid, 0), 0, "a directory, too");
    eq_int(host_mode("d") & 0777, 0700, "stays usable");
    ft_free(t);
}

/* Create on a file that exists, set-group-ID directories, hard links. */
static void
test_identity_stays(void)
{
    struct ft *t = start(FS_STAT_STRICT, FS_PERMS_PRIVATE);
    struct fuse_entry_out d, e;
    struct fuse_attr a;
    uint64_t f, fh;

    t->uid = 7;
    f = make_file(t, FUSE_ROOT_ID, "f", 0604);
    t->uid = 8;
    eq_int(ft_create(t, FUSE_ROOT_ID, "f", O_RDWR | O_TRUNC, 0777, &e, &fh), 0, "create of an existing file");
    ok(e.nodeid == f && e.attr.uid == 7 && e.attr.mode == (S_IFREG | 0604), "leaves its identity alone");
    ft_release(t, f, fh);
    eq_int(ft_link(t, f, FUSE_ROOT_ID, "g", &e), 0, "link");
    ft_chown(t, f, 9, 9);
    ft_lookup(t, FUSE_ROOT_ID, "g", &e);
    ok(e.attr.uid == 9 && e.attr.gid == 9, "both names have one owner");
    ft_mkdir(t, FUSE_ROOT_ID, "d", 0755, &d);
    ft_chown(t, d.nodeid, 0, 50);
    ft_chmod(t, d.nodeid, 02775);
    t->gid = 8;
    f = make_file(t, d.nodeid, "f", 0644);
    ft_getattr(t, f, &a);
    ok(a.uid == 8 && a.gid == 50, "a set-group-ID directory hands its group down");
    ft_mkdir(t, d.nodeid, "sub", 0755, &e);
    ok(e.attr.gid == 50 && e.attr.mode == (S_IFDIR | 02755), "and the bit to directories");
    ft_free(t);
}

static void
test_no_identity(void)
{
    struct fs_config config = {.cache = FS_CACHE_AUTO, .map_uid = 33, .map_gid = 34};
    struct fuse_entry_out e;
    struct fuse_attr a;
    struct ft *t;
    int fd;

    snprintf(host_dir, sizeof(host_dir), "%s", ft_subdir("share"));
    config.shared_dir = host_dir;
    fd = open(host("mine"), O_CREAT | O_WRONLY, 0751);
    fchmod(fd, 0751);
    close(fd);
    t = ft_core(&config);
    ft_lookup(t, FUSE_ROOT_ID, "mine", &e);
    ok(e.attr.uid == 33 && e.attr.gid == 34 && e.attr.mode == (S_IFREG | 0751), "a file of ours: --map-owner");
    if (geteuid() == 0) {
        close(open(host("other"), O_CREAT | O_WRONLY, 0644));
        ok(chown(host("other"), 1234, 1234) == 0, "chown on the host");
        ft_lookup(t, FUSE_ROOT_ID, "other", &e);
        ok(e.attr.uid == 65534 && e.attr.gid == 65534, "a file of somebody else: nobody");
    } else {
        tap_skip("a file of somebody else", "needs root");
    }
    ft_lookup(t, FUSE_ROOT_ID, "mine", &e);
    eq_int(ft_chmod(t, e.nodeid, 0700), 0, "chmod");
    ft_getattr(t, e.nodeid, &a);
    ok(a.uid == 33 && a.mode == (S_IFREG | 0700), "pins the owner along");
    ft_free(t);
    config.have_owner = true;
    config.owner_uid = 77;
    config.owner_gid = 78;
    close(open(host("third"), O_CREAT | O_WRONLY, 0644));
    t = ft_core(&config);
    ft_lookup(t, FUSE_ROOT_ID, "third", &e);
    ok(e.attr.uid == 77 && e.attr.gid == 78, "--uid and --gid");
    ft_lookup(t, FUSE_ROOT_ID, "mine", &e);
    eq_int(e.attr.uid, 33, "an identity is stronger");
    ft_free(t);
}

static void
test_damaged(void)
{
    struct ft *t = start(FS_STAT_STRICT, FS_PERMS_PRIVATE);
    struct fuse_entry_out e;
    uint8_t value[32] = {2};

    make_file(t, FUSE_ROOT_ID, "good", 0644);
    close(open(host("short"), O_CREAT | O_WRONLY, 0644));
    setxattr(host("short"), FS_IDENT_XATTR, value, 7, 0);
    close(open(host("version"), O_CREAT | O_WRONLY, 0644));
    setxattr(host("version"), FS_IDENT_XATTR, value, 20, 0);
    close(open(host("long"), O_CREAT | O_WRONLY, 0644));
    setxattr(host("long"), FS_IDENT_XATTR, value, 32, 0);
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "short", &e), -EIO, "a short value");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "version", &e), -EIO, "an unknown version");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "long", &e), -EIO, "a long value");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "good", &e), 0, "the neighbour is well");
    eq_int(ft_list(t, FUSE_ROOT_ID, true, 4096, NULL, NULL), 4, "and the directory can be listed");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "short"), 0, "they can be removed");
    setxattr(host_dir, FS_IDENT_XATTR, value, 3, 0);
    eq_int(ft_getattr(t, FUSE_ROOT_ID, NULL), 0, "a damaged root is still served");
    eq_int(ft_chmod(t, FUSE_ROOT_ID, 0755), 0, "and repaired by chmod");
    ft_free(t);
}

/* The identity cannot be written: nothing half-made stays. */
static void
test_failure(void)
{
    struct fs_config config = {.cache = FS_CACHE_AUTO, .fail_identity = true};
    struct fuse_entry_out e;
    struct ft *t;
    uint64_t fh;

    snprintf(host_dir, sizeof(host_dir), "%s", ft_subdir("share"));
    config.shared_dir = host_dir;
    t = ft_core(&config);
    eq_int(ft_create(t, FUSE_ROOT_ID, "f", O_RDWR, 0644, &e, &fh), -ENOSPC, "create");
    eq_int(ft_mkdir(t, FUSE_ROOT_ID, "d", 0755, &e), -ENOSPC, "mkdir");
    eq_int(ft_mknod(t, FUSE_ROOT_ID, "n", S_IFREG | 0644, 0, &e), -ENOSPC, "mknod");
    eq_int(ft_mknod(t, FUSE_ROOT_ID, "p", S_IFIFO | 0644, 0, &e), -ENOSPC, "mknod of a FIFO");
    eq_int(ft_symlink(t, FUSE_ROOT_ID, "l", "target", &e), -ENOSPC, "symlink");
    eq_int(ft_list(t, FUSE_ROOT_ID, false, 4096, NULL, NULL), 0, "and there is nothing");
    close(open(host("old"), O_CREAT | O_WRONLY, 0644));
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "old", &e), 0, "look-up");
    eq_int(ft_chmod(t, e.nodeid, 0600), -ENOSPC, "chmod");
    eq_int(ft_create(t, FUSE_ROOT_ID, "old", O_RDWR, 0644, &e, &fh), 0, "an existing file is opened");
    ft_release(t, e.nodeid, fh);
    eq_int(access(host("old"), F_OK), 0, "and stays");
    ft_free(t);
}

/* A change from elsewhere shows at once when asked for, however young the ctime. */
static void
test_changes_elsewhere(void)
{
    struct ft *t = start(FS_STAT_STRICT, FS_PERMS_PRIVATE);
    struct fs_config config = {.shared_dir = host_dir, .cache = FS_CACHE_AUTO};
    struct ft *other = ft_core(&config);
    uint64_t f = make_file(t, FUSE_ROOT_ID, "f", 0644);
    struct fuse_entry_out e, seen;
    int i, wrong = 0;

    ft_lookup(other, FUSE_ROOT_ID, "f", &e);
    for (i = 0; i < 2000; i++) {
        ft_chown(t, f, (uint32_t)i, 0);
        ft_lookup(other, FUSE_ROOT_ID, "f", &seen);
        wrong += seen.attr.uid != (uint32_t)i;
    }
    eq_int(wrong, 0, "2000 changes of owner by another sandbox are all seen");
    ft_free(other);
    ft_free(t);
}

static void
test_off(void)
{
    struct ft *t = start(FS_STAT_OFF, FS_PERMS_PRIVATE);
    struct fuse_entry_out e;
    uint64_t f = make_file(t, FUSE_ROOT_ID, "f", 0604);

    eq_int(host_mode("f") & 0777, 0604, "the mode reaches the host");
    ok(getxattr(host("f"), FS_IDENT_XATTR, NULL, 0) < 0, "and no attribute is written");
    if (geteuid() == 0) {
        t->uid = 12;
        t->gid = 13;
        f = make_file(t, FUSE_ROOT_ID, "owned", 0640);
        ft_lookup(t, FUSE_ROOT_ID, "owned", &e);
        ok(e.attr.uid == 12 && e.attr.gid == 13 && e.attr.mode == (S_IFREG | 0640), "root: the caller owns it");
        eq_int(ft_chmod(t, f, 04755), 0, "root: set-user-ID is applied");
        eq_int(host_mode("owned"), S_IFREG | 04755, "on the host");
        eq_int(ft_mknod(t, FUSE_ROOT_ID, "pipe", S_IFIFO | 0600, 0, &e), 0, "root: a real FIFO");
        eq_int(host_mode("pipe") & S_IFMT, S_IFIFO, "on the host");
        eq_int(ft_open(t, e.nodeid, O_RDONLY, &f), -ENXIO, "which the server does not open");
    } else {
        eq_int(ft_chmod(t, f, 04755), -EPERM, "set-user-ID is refused");
        eq_int(ft_chown(t, f, 4242, UINT32_MAX), -EPERM, "chown is refused");
        eq_int(ft_mknod(t, FUSE_ROOT_ID, "pipe", S_IFIFO | 0600, 0, &e), -EOPNOTSUPP, "FIFOs are refused");
    }
    ft_free(t);
}

/* What a server without privileges makes of the bits above the permissions: applied, or an error. */
static int
bits_of_ordinary_user(void)
{
    struct ft *t = start_here(FS_STAT_OFF);
    struct fuse_entry_out e;
    uint64_t f = make_file(t, FUSE_ROOT_ID, "sticky", 01600), d;
    struct fuse_attr a;
    int bad = 0;

    if (ft_getattr(t, f, &a) < 0 || a.mode != (S_IFREG | 01600))
        bad |= 1;
    if (ft_walk(t, "of-others", &d) < 0 || ft_chmod(t, d, 02755) != -EPERM || ft_getattr(t, d, &a) < 0 ||
        a.mode != (S_IFDIR | 0700))
        bad |= 2;
    if (ft_mkdir(t, FUSE_ROOT_ID, "own", 0755, &e) < 0 || ft_chmod(t, e.nodeid, 02755) < 0 ||
        ft_getattr(t, e.nodeid, &a) < 0 || a.mode != (S_IFDIR | 02755))
        bad |= 4;
    ft_free(t);
    return bad;
}

static void
test_ordinary_user(void)
{
    int status = -1;
    pid_t pid;

    if (geteuid() != 0) {
        tap_skip("bits of an ordinary user", "takes root to have a directory of another group");
        return;
    }
    snprintf(host_dir, sizeof(host_dir), "%s", ft_subdir("share"));
    mkdir(host("of-others"), 0700);
    if (chown(host("of-others"), 1234, 99) < 0 || chown(host_dir, 1234, 1234) < 0 || chmod(ft_tmp(), 0755) < 0)
        return;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) < 0 || setgid(1234) < 0 || setuid(1234) < 0)
            _exit(99);
        _exit(access(host_dir, W_OK) < 0 ? 77 : bits_of_ordinary_user());
    }
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        tap_skip("bits of an ordinary user", "the temporary directory is for nobody else");
    else
        eq_int(status, 0, "off, an ordinary user: the sticky bit of a file and set-group-ID of a directory, or EPERM");
}

#define BEGINNINGS 300u

/* Begin to serve the directory again and again; how often that failed. */
static void *
begin_often(void *failures)
{
    const struct fs_config config = {.shared_dir = host_dir, .stat_virt = FS_STAT_STRICT};
    char err[FS_ERR_MAX];

    for (unsigned i = 0; i < BEGINNINGS; i++) {
        struct fs *fs;

        if (fs_new(&config, &fs, err) == 0)
            fs_free(fs);
        else if ((*(unsigned *)failures)++ == 0)
            tap_diag("%s", err);
    }
    return NULL;
}

/* One sandbox may mount a directory twice, and its back-ends begin together. */
static void
test_beginning_together(void)
{
    unsigned failures[2] = {0, 0};
    pthread_t other;

    snprintf(host_dir, sizeof(host_dir), "%s", ft_subdir("together"));
    if (pthread_create(&other, NULL, begin_often, &failures[1]) != 0)
        abort();
    begin_often(&failures[0]);
    pthread_join(other, NULL);
    ok(failures[0] + failures[1] == 0, "two that begin to serve a directory at the same time");
}

int
main(void)
{
    const char *why = ft_no_xattr();

    if (why)
        tap_skip_all(why);
    test_format();
    test_create(FS_STAT_STRICT);
    test_create(FS_STAT_RELAXED);
    test_change(FS_PERMS_PRIVATE);
    test_change(FS_PERMS_MIRROR);
    test_identity_stays();
    test_no_identity();
    test_damaged();
    test_failure();
    test_changes_elsewhere();
    test_off();
    test_ordinary_user();
    test_beginning_together();
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containment: names, symbolic links planted on the host, read-only shares,
 * single-file shares, and bounded descriptors, nodes and buffers.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs-test.h"

static char host_dir[4096], secret_dir[4096];

static const char *
in_dir(const char *dir, const char *name)
{
    static __thread char path[4][4400];
    static __thread unsigned turn;
    char *p = path[turn++ % 4];

    snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
    return p;
}

static void
put(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        exit(1);
    close(fd);
}

static void
prepare(struct fs_config *config)
{
    snprintf(secret_dir, sizeof(secret_dir), "%s", ft_subdir("secret"));
    snprintf(host_dir, sizeof(host_dir), "%s", ft_subdir("share"));
    put(in_dir(secret_dir, "file"), "SECRET");
    *config = (struct fs_config){.shared_dir = host_dir, .stat_virt = FS_STAT_RELAXED, .cache = FS_CACHE_AUTO};
}

static void
test_names(struct ft *t)
{
    static const char *const slashes[] = {"a/b", "/", "/etc", "../x", "a/"};
    char longest[NAME_MAX + 2];
    struct fuse_entry_out e;
    uint64_t fh;
    unsigned i;

    eq_int(ft_lookup(t, FUSE_ROOT_ID, "", &e), -EINVAL, "an empty name");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, ".", &e), -EINVAL, "'.'");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "..", &e), -EPERM, "'..'");
    for (i = 0; i < MB_ARRAY_SIZE(slashes); i++) {
        eq_int(ft_lookup(t, FUSE_ROOT_ID, slashes[i], &e), -EPERM, "look-up of a name with a slash");
        eq_int(ft_create(t, FUSE_ROOT_ID, slashes[i], O_RDWR, 0644, &e, &fh), -EPERM, "create");
        eq_int(ft_unlink(t, FUSE_ROOT_ID, slashes[i]), -EPERM, "unlink");
        eq_int(ft_symlink(t, FUSE_ROOT_ID, slashes[i], "x", &e), -EPERM, "symlink");
        eq_int(ft_rename(t, FUSE_ROOT_ID, slashes[i], FUSE_ROOT_ID, "x", 0), -EPERM, "rename from");
        eq_int(ft_rename(t, FUSE_ROOT_ID, "x", FUSE_ROOT_ID, slashes[i], 0), -EPERM, "rename to");
    }
    eq_int(ft_rmdir(t, FUSE_ROOT_ID, ".."), -EPERM, "rmdir of '..'");
    eq_int(ft_mkdir(t, FUSE_ROOT_ID, "..", 0755, &e), -EPERM, "mkdir of '..'");
    memset(longest, 'n', sizeof(longest));
    longest[NAME_MAX] = 0;
    eq_int(ft_mkdir(t, FUSE_ROOT_ID, longest, 0755, &e), 0, "a name of 255 bytes");
    eq_int(ft_rmdir(t, FUSE_ROOT_ID, longest), 0, "is a name");
    eq_int(ft_mkdir(t, FUSE_ROOT_ID, "back\\slash\n", 0755, &e), 0, "odd bytes are, too");
    eq_int(ft_rmdir(t, FUSE_ROOT_ID, "back\\slash\n"), 0, "and go again");
}

/* Links that the host has: shown as links, never followed. */
static void
test_links(struct ft *t)
{
    struct fuse_entry_out e, e2;
    char buf[4400];
    uint64_t fh;

    if (symlink(secret_dir, in_dir(host_dir, "dirlink")) < 0 ||
        symlink(in_dir(secret_dir, "file"), in_dir(host_dir, "filelink")) < 0)
        exit(1);
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "dirlink", &e), 0, "a link to a directory");
    eq_int(e.attr.mode & S_IFMT, S_IFLNK, "is a link");
    eq_int(ft_lookup(t, e.nodeid, "file", &e2), -ENOTDIR, "and nothing is below it");
    eq_int(ft_opendir(t, e.nodeid, &fh), -ENOTDIR, "nor can it be listed");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "filelink", &e), 0, "a link to a file");
    eq_int(ft_open(t, e.nodeid, O_RDONLY, &fh), -ELOOP, "is not opened");
    eq_int(ft_truncate(t, e.nodeid, 0), -EINVAL, "not truncated");
    eq_int(ft_create(t, FUSE_ROOT_ID, "filelink", O_RDWR | O_TRUNC, 0644, &e2, &fh), -ELOOP, "not created through");
    eq_int(ft_readlink(t, e.nodeid, buf, sizeof(buf)), 0, "but read as a link");
    eq_str(buf, in_dir(secret_dir, "file"), "with its target");
    eq_int(ft_chown(t, e.nodeid, 1, 1), -EPERM, "its owner cannot be virtual");
    eq_int(ft_chmod(t, e.nodeid, 0600), -EOPNOTSUPP, "its mode neither");
}

/* A FIFO on the host must not be opened: that would block a queue for ever. */
static void
test_special(struct ft *t)
{
    struct fuse_entry_out e;
    uint64_t fh;

    if (mkfifo(in_dir(host_dir, "fifo"), 0600) < 0)
        exit(1);
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "fifo", &e), 0, "a FIFO of the host");
    eq_int(ft_open(t, e.nodeid, O_RDONLY, &fh), -ENXIO, "is not opened");
    eq_int(ft_open(t, e.nodeid, O_WRONLY | O_TRUNC, &fh), -ENXIO, "for writing neither");
    eq_int(ft_truncate(t, e.nodeid, 0), -EINVAL, "nor truncated");
}

/* ---- read-only ------------------------------------------------------------------------------------- */

static void
test_read_only(void)
{
    struct fs_config config;
    struct fuse_setattr_in times = {.valid = FATTR_MTIME | FATTR_ATIME, .mtime = 1, .atime = 1};
    struct fuse_fallocate_in fa = {.length = 4096};
    struct fuse_entry_out e, e2;
    struct stat before, after;
    struct ft *t;
    uint64_t fh;
    char buf[8];

    prepare(&config);
    put(in_dir(host_dir, "f"), "text");
    stat(host_dir, &before);
    config.read_only = true;
    config.stat_virt = FS_STAT_STRICT;
    t = ft_core(&config);
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "f", &e), 0, "look-up");
    eq_int(ft_open(t, e.nodeid, O_RDONLY, &fh), 0, "open to read");
    eq_int(ft_read(t, e.nodeid, fh, 0, buf, 4), 4, "read");
    eq_int(ft_write(t, e.nodeid, fh, 0, "x", 1, 0), -EROFS, "write");
    fa.fh = fh;
    eq_int(ft_call(t, FUSE_FALLOCATE, e.nodeid, &fa, sizeof(fa), NULL, 0, NULL, 0, NULL), -EROFS, "fallocate");
    eq_int(ft_release(t, e.nodeid, fh), 0, "release");
    eq_int(ft_open(t, e.nodeid, O_WRONLY, &fh), -EROFS, "open to write");
    eq_int(ft_open(t, e.nodeid, O_RDONLY | O_TRUNC, &fh), -EROFS, "open with O_TRUNC");
    eq_int(ft_create(t, FUSE_ROOT_ID, "n", O_RDWR, 0644, &e2, &fh), -EROFS, "create");
    eq_int(ft_mkdir(t, FUSE_ROOT_ID, "n", 0755, &e2), -EROFS, "mkdir");
    eq_int(ft_mknod(t, FUSE_ROOT_ID, "n", S_IFREG, 0, &e2), -EROFS, "mknod");
    eq_int(ft_symlink(t, FUSE_ROOT_ID, "n", "x", &e2), -EROFS, "symlink");
    eq_int(ft_link(t, e.nodeid, FUSE_ROOT_ID, "n", &e2), -EROFS, "link");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "f"), -EROFS, "unlink");
    eq_int(ft_rmdir(t, FUSE_ROOT_ID, "f"), -EROFS, "rmdir");
    eq_int(ft_rename(t, FUSE_ROOT_ID, "f", FUSE_ROOT_ID, "n", 0), -EROFS, "rename");
    eq_int(ft_truncate(t, e.nodeid, 0), -EROFS, "truncate");
    eq_int(ft_chmod(t, e.nodeid, 0600), -EROFS, "chmod");
    eq_int(ft_chown(t, e.nodeid, 1, 1), -EROFS, "chown");
    eq_int(ft_setattr(t, e.nodeid, &times, NULL), -EROFS, "utimes");
    eq_int(ft_setxattr(t, e.nodeid, "user.x", "1", 1, 0), -EROFS, "setxattr");
    eq_int(ft_removexattr(t, e.nodeid, "user.x"), -EROFS, "removexattr");
    stat(host_dir, &after);
    ok(before.st_ctim.tv_sec == after.st_ctim.tv_sec && before.st_ctim.tv_nsec == after.st_ctim.tv_nsec,
       "the root was not written to, not even as a probe");
    ft_free(t);
}

/* Access times, too: what may keep them (the owner, root) does. */
static void
test_read_only_times(void)
{
    const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1000000}};
    struct fs_config config;
    struct fuse_entry_out e;
    struct stat st;
    struct ft *t;
    char buf[64];
    int fd;

    prepare(&config);
    config.stat_virt = FS_STAT_STRICT;
    t = ft_core(&config);
    eq_int(ft_symlink(t, FUSE_ROOT_ID, "link", "target", &e), 0, "a link that is a file");
    ft_free(t);
    mkdir(in_dir(host_dir, "sub"), 0755);
    put(in_dir(host_dir, "sub/f"), "text");
    utimensat(AT_FDCWD, in_dir(host_dir, "link"), old, 0);
    utimensat(AT_FDCWD, in_dir(host_dir, "sub"), old, 0);
    fd = open(in_dir(host_dir, "sub"), O_RDONLY | O_DIRECTORY);
    if (getdents64(fd, buf, sizeof(buf)) < 0)
        exit(1);
    close(fd);
    stat(in_dir(host_dir, "sub"), &st);
    if (st.st_atim.tv_sec == 1) {
        tap_skip("access times", "the file system keeps none");
        return;
    }
    utimensat(AT_FDCWD, in_dir(host_dir, "sub"), old, 0);
    config.read_only = true;
    t = ft_core(&config);
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "sub", &e), 0, "look-up");
    eq_int(ft_list(t, e.nodeid, true, 4096, NULL, NULL), 1, "the directory is read");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "link", &e), 0, "look-up");
    eq_int(ft_readlink(t, e.nodeid, buf, sizeof(buf)), 0, "and the link");
    ft_free(t);
    stat(in_dir(host_dir, "sub"), &st);
    eq_int(st.st_atim.tv_sec, 1, "the directory's access time stays");
    stat(in_dir(host_dir, "link"), &st);
    eq_int(st.st_atim.tv_sec, 1, "and the link's");
}

/* Somebody shares all there is: processes, whose memory procfs shows as files, are not part of it. */
static void
test_procfs(void)
{
    struct fs_config config = {.shared_dir = "/proc", .stat_virt = FS_STAT_OFF, .cache = FS_CACHE_AUTO};
    char err[FS_ERR_MAX] = "", path[64];
    struct fs *fs = NULL;
    struct ft *t;
    uint64_t node, fh;

    eq_int(fs_new(&config, &fs, err), -EPERM, "procfs is not shared");
    ok(strstr(err, "'/proc'"), "the error names it");
    config.shared_dir = "/";
    t = ft_core(&config);
    snprintf(path, sizeof(path), "proc/%d/mem", (int)getpid());
    eq_int(ft_walk(t, path, &node), 0, "below a share it is shown");
    eq_int(ft_open(t, node, O_RDWR, &fh), -EACCES, "but the memory of this process is not opened");
    snprintf(path, sizeof(path), "proc/%d/environ", (int)getpid());
    eq_int(ft_walk(t, path, &node), 0, "nor");
    eq_int(ft_open(t, node, O_RDONLY, &fh), -EACCES, "its environment");
    ft_free(t);
}

/* ---- one file ----------------------------------------------------------------------------------------- */

static void
test_single(void)
{
    struct fs_config config;
    struct fuse_entry_out e, e2;
    char buf[16] = "", file[4400];
    struct fuse_attr a;
    struct ft *t;
    uint64_t fh;

    prepare(&config);
    put(in_dir(host_dir, "one"), "first");
    put(in_dir(host_dir, "other"), "hidden");
    snprintf(file, sizeof(file), "%s/one", host_dir);
    config.shared_dir = NULL;
    config.shared_file = file;
    config.stat_virt = FS_STAT_STRICT;
    t = ft_core(&config);
    eq_int(ft_getattr(t, FUSE_ROOT_ID, &a), 0, "the root");
    eq_int(a.mode, S_IFDIR | 0555, "can be read by all");
    eq_int(ft_list(t, FUSE_ROOT_ID, false, 4096, NULL, NULL), 1, "one name is in it");
    eq_int(ft_list(t, FUSE_ROOT_ID, true, 4096, NULL, NULL), 1, "with attributes, too");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "other", &e), -ENOENT, "the neighbour is not there");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "one", &e), 0, "the file is");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "one"), -EPERM, "it cannot be removed");
    eq_int(ft_rename(t, FUSE_ROOT_ID, "one", FUSE_ROOT_ID, "two", 0), -EPERM, "renamed");
    eq_int(ft_link(t, e.nodeid, FUSE_ROOT_ID, "two", &e2), -EPERM, "linked");
    eq_int(ft_create(t, FUSE_ROOT_ID, "two", O_RDWR, 0644, &e2, &fh), -EPERM, "nor others made");
    eq_int(ft_chmod(t, FUSE_ROOT_ID, 0777), -EPERM, "nor the root changed");
    eq_int(ft_create(t, FUSE_ROOT_ID, "one", O_RDWR, 0644, &e2, &fh), 0, "open(O_CREAT) of it works");
    eq_int(ft_write(t, e2.nodeid, fh, 5, "!", 1, 0), 1, "it can be written");
    ft_release(t, e2.nodeid, fh);
    put(in_dir(host_dir, "new"), "second");
    rename(in_dir(host_dir, "new"), in_dir(host_dir, "one"));
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "one", &e2), 0, "replaced by the host");
    ok(e2.nodeid == e.nodeid && e2.attr.ino != e.attr.ino, "it is another file behind the same node");
    eq_int(ft_open(t, e.nodeid, O_RDONLY, &fh), 0, "which those who looked it up before have, too");
    ft_release(t, e.nodeid, fh);
    eq_int(ft_getattr(t, e.nodeid, &a), 0, "and whose attributes");
    eq_int(a.size, 6, "are the new one's");
    eq_int(ft_open(t, e2.nodeid, O_RDONLY, &fh), 0, "open");
    ft_read(t, e2.nodeid, fh, 0, buf, sizeof(buf));
    eq_str(buf, "second", "with the new text");
    put(in_dir(host_dir, "new"), "third");
    rename(in_dir(host_dir, "new"), in_dir(host_dir, "one"));
    memset(buf, 0, sizeof(buf));
    ft_read(t, e2.nodeid, fh, 0, buf, sizeof(buf));
    eq_str(buf, "second", "what is open stays as it was");
    ft_release(t, e2.nodeid, fh);
    eq_int(ft_chmod(t, e.nodeid, 0640), 0, "chmod");
    eq_int(ft_truncate(t, e.nodeid, 2), 0, "and truncate");
    eq_int(ft_getattr(t, e.nodeid, &a), 0, "are for the new one");
    ok(a.mode == (S_IFREG | 0640) && a.size == 2, "alone");
    unlink(in_dir(host_dir, "one"));
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "one", &e2), -ENOENT, "removed on the host: not there");
    if (symlink(in_dir(secret_dir, "file"), in_dir(host_dir, "one")) < 0)
        exit(1);
    eq_int(ft_open(t, e.nodeid, O_RDONLY, &fh), -ELOOP, "replaced by a link: not followed");
    unlink(in_dir(host_dir, "one"));
    if (mkfifo(in_dir(host_dir, "one"), 0600) < 0)
        exit(1);
    eq_int(ft_open(t, e.nodeid, O_RDONLY, &fh), -ENXIO, "replaced by a FIFO: not opened");
    unlink(in_dir(host_dir, "one"));
    put(in_dir(host_dir, "one"), "back");
    eq_int(ft_open(t, e.nodeid, O_RDONLY, &fh), 0, "a file again: opened");
    ft_release(t, e.nodeid, fh);
    ft_free(t);
}

/* An ordinary user shares a file of root. */
static int
share_of_another(const char *file)
{
    struct fs_config config = {.shared_file = file, .cache = FS_CACHE_AUTO};
    struct fuse_entry_out e;
    char buf[8] = "";
    struct ft *t;
    uint64_t fh;

    if (setgid(65534) < 0 || setuid(65534) < 0)
        return 1;
    t = ft_core(&config);
    if (ft_lookup(t, FUSE_ROOT_ID, "root-owned", &e) < 0 || e.attr.uid != 65534)
        return 2;
    if (ft_open(t, e.nodeid, O_RDONLY, &fh) < 0 || ft_read(t, e.nodeid, fh, 0, buf, 5) != 5 || strcmp(buf, "rooty") != 0)
        return 3;
    if (ft_open(t, e.nodeid, O_WRONLY, &fh) != -EACCES || ft_chmod(t, e.nodeid, 0600) >= 0)
        return 4;
    return 0;
}

static void
test_root_owned(void)
{
    struct fs_config config;
    char file[4400];
    int status = -1;
    pid_t pid;

    if (geteuid() != 0) {
        tap_skip("a file of root", "needs root");
        return;
    }
    prepare(&config);
    put(in_dir(host_dir, "root-owned"), "rooty");
    snprintf(file, sizeof(file), "%s/root-owned", host_dir);
    chmod(ft_tmp(), 0755);
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        _exit(share_of_another(file));
    waitpid(pid, &status, 0);
    eq_int(status, 0, "an ordinary user shares a file of root: it can be read, not changed");
}

/* ---- bounds ---------------------------------------------------------------------------------------------- */

static unsigned
open_descriptors(void)
{
    char path[32];
    unsigned n = 0, i;

    for (i = 0; i < 4096; i++) {
        snprintf(path, sizeof(path), "/proc/self/fd/%u", i);
        n += access(path, F_OK) == 0;
    }
    return n;
}

/* What is read ahead of directories is memory that a guest can ask for by opening many. */
static void
test_dir_buffers(void)
{
    enum { N = 400 };
    struct fs_config config;
    struct fuse_entry_out e;
    char name[32], buf[512];
    uint64_t fh[N];
    struct ft *t;
    unsigned i, bad = 0;

    prepare(&config);
    mkdir(in_dir(host_dir, "d"), 0755);
    for (i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "d/f%u", i);
        put(in_dir(host_dir, name), "");
    }
    t = ft_core(&config);
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "d", &e), 0, "look-up");
    for (i = 0; i < N; i++)
        bad += ft_opendir(t, e.nodeid, &fh[i]) != 0 || ft_readdir(t, e.nodeid, fh[i], false, 0, buf, 200) <= 0;
    eq_int(bad, 0, "four hundred readers of a directory");
    ok(t->fs->handles.n_dir_buffers <= FS_MAX_DIR_BUFFERS, "have %u buffers", t->fs->handles.n_dir_buffers);
    for (i = 0, bad = 0; i < N; i += 40) {
        unsigned seen = 0;
        uint64_t off = 0;
        int len;

        while ((len = ft_readdir(t, e.nodeid, fh[i], false, off, buf, 200)) > 0) {
            int at = 0;

            while (at < len) {
                const struct fuse_dirent *d = (const void *)(buf + at);

                seen++;
                off = d->off;
                at += (int)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d->namelen);
            }
        }
        bad += seen != 22;
    }
    eq_int(bad, 0, "each of them finds every name, once");
    for (i = 0; i < N; i++)
        ft_releasedir(t, e.nodeid, fh[i]);
    eq_int(t->fs->handles.n_dir_buffers, 0, "and in the end there is none");
    ft_free(t);
}

static void
test_bounds(void)
{
    struct fs_config config;
    struct fuse_entry_out e, top[40];
    unsigned i, k, bad = 0, before, most = 0;
    struct fuse_attr a;
    char name[32];
    uint64_t fh, fhs[100];
    struct ft *t;
    int r;

    prepare(&config);
    config.stat_virt = FS_STAT_STRICT;
    config.max_fds = 64;
    config.max_nodes = 3000;
    for (i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        mkdir(in_dir(host_dir, name), 0755);
        for (k = 0; k < 40; k++) {
            snprintf(name, sizeof(name), "d%u/f%u", i, k);
            put(in_dir(host_dir, name), name);
        }
    }
    before = open_descriptors();
    t = ft_core(&config);
    for (i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        bad += ft_lookup(t, FUSE_ROOT_ID, name, &top[i]) != 0;
        for (k = 0; k < 40; k++) {
            snprintf(name, sizeof(name), "f%u", k);
            bad += ft_lookup(t, top[i].nodeid, name, &e) != 0;
        }
        most = MB_MAX(most, open_descriptors() - before);
    }
    eq_int(bad, 0, "1640 files are looked up");
    ok(most <= 64 + 8, "with 64 descriptors");
    for (i = 0; i < 40; i++) {
        for (k = 0; k < 40; k += 7) {
            snprintf(name, sizeof(name), "f%u", k);
            bad += ft_lookup(t, top[i].nodeid, name, &e) != 0;
            bad += ft_open(t, e.nodeid, O_RDONLY, &fh) != 0;
            bad += ft_release(t, e.nodeid, fh) != 0;
            bad += ft_getattr(t, top[39 - i].nodeid, &a) != 0;
        }
    }
    eq_int(bad, 0, "all can be used, though most descriptors were closed");
    for (i = 0, r = 0; i < 100 && r == 0; i++)
        r = ft_open(t, e.nodeid, O_RDONLY, &fhs[i]);
    eq_int(r, -ENFILE, "open files are bounded");
    eq_int(i, 65, "by the same number");
    ok(open_descriptors() - before <= 64 + 64 + 8, "of descriptors");
    while (i-- > 1)
        ft_release(t, e.nodeid, fhs[i - 1]);
    /* Renamed on the host while nobody holds it: found again by its new name. */
    rename(in_dir(host_dir, "d0"), in_dir(host_dir, "renamed"));
    for (i = 1; i < 40; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        for (k = 0; k < 3; k++) {
            ft_lookup(t, FUSE_ROOT_ID, name, &e);
            ft_getattr(t, e.nodeid, &a);
        }
    }
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "renamed", &e), 0, "a directory renamed on the host");
    eq_int(e.nodeid, top[0].nodeid, "is the same node");
    eq_int(ft_lookup(t, e.nodeid, "f1", &e), 0, "with its files");
    for (i = 0, r = 0; i < 4000 && r == 0; i++) {
        snprintf(name, sizeof(name), "many%u", i);
        put(in_dir(host_dir, name), "");
        r = ft_lookup(t, FUSE_ROOT_ID, name, &e);
    }
    eq_int(r, -ENFILE, "nodes are bounded");
    eq_int(ft_lookup(t, FUSE_ROOT_ID, "d1", &e), 0, "what is known can still be used");
    ft_forget(t, top[39].nodeid, 100);
    ft_free(t);
    eq_int(open_descriptors(), before, "no descriptor is left");
}

static long
resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    long total = 0, resident = 0;

    if (!f || fscanf(f, "%ld %ld", &total, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* 200 bytes each, the name, and what malloc() and tables add; ThreadSanitizer notes several times as much. */
#if defined(__SANITIZE_THREAD__)
#define FEW_MAX_KIB LONG_MAX
#else
#define FEW_MAX_KIB (10000 * 512 / 1024 + 4096)
#endif

/* Ten thousand files with the descriptors of a shell. */
static int
few_descriptors(const struct fs_config *config)
{
    struct rlimit limit = {300, 300};
    struct fuse_entry_out top[100], e;
    char name[32];
    unsigned i, k;
    struct ft *t;
    uint64_t fh;
    long before;

    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1;
    t = ft_core(config);
    before = resident_kib();
    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "top%u", i);
        if (ft_lookup(t, FUSE_ROOT_ID, name, &top[i]) < 0)
            return 2;
        for (k = 0; k < 100; k++) {
            snprintf(name, sizeof(name), "f%u", k);
            if (ft_lookup(t, top[i].nodeid, name, &e) < 0)
                return 3;
        }
    }
    for (i = 0; i < 100; i++) {
        if (ft_lookup(t, top[i].nodeid, "f99", &e) < 0 || ft_open(t, e.nodeid, O_RDONLY, &fh) < 0 ||
            ft_release(t, e.nodeid, fh) < 0)
            return 4;
    }
    return resident_kib() - before <= FEW_MAX_KIB ? 0 : 5;
}

static void
test_few_descriptors(void)
{
    struct fs_config config;
    char name[32];
    unsigned i, k;
    int status = -1;
    pid_t pid;

    prepare(&config);
    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "top%u", i);
        mkdir(in_dir(host_dir, name), 0755);
        for (k = 0; k < 100; k++) {
            snprintf(name, sizeof(name), "top%u/f%u", i, k);
            close(open(in_dir(host_dir, name), O_CREAT | O_WRONLY, 0600));
        }
    }
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        _exit(few_descriptors(&config));
    waitpid(pid, &status, 0);
    eq_int(status, 0, "10,000 files with 300 descriptors and bounded memory");
}

int
main(void)
{
    const char *why = ft_no_xattr();
    struct fs_config config;
    struct ft *t;
    unsigned i;

    if (why)
        tap_skip_all(why);
    for (i = 0; i < 2; i++) {
        prepare(&config);
        config.no_openat2 = i == 1;
        tap_diag("%s openat2()", i ? "without" : "with");
        t = ft_core(&config);
        test_names(t);
        test_links(t);
        test_special(t);
        ft_free(t);
    }
    test_read_only();
    test_read_only_times();
    test_procfs();
    test_single();
    test_root_owned();
    test_dir_buffers();
    test_bounds();
    test_few_descriptors();
    return tap_done();
}

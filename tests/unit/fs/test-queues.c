/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every operation once through the confined program and its virtqueues, with
 * each kind of stat virtualization: a system call that the confinement forgot
 * ends the program.  Also what leaves the queue's thread and comes back:
 * reads that miss the page cache, syncs, and locks that are waited for.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "fs-test.h"
#include "vu-fs.h"

static int
plain(struct ft *t, uint32_t opcode, uint64_t node, const void *arg, size_t len)
{
    return ft_call(t, opcode, node, arg, len, NULL, 0, NULL, 0, NULL);
}

static void
test_attributes(struct ft *t, uint64_t node, uint64_t fh, bool virt)
{
    struct fuse_setattr_in times = {.valid = FATTR_ATIME | FATTR_MTIME, .atime = 1000, .mtime = 2000};
    struct fuse_setattr_in size = {.valid = FATTR_SIZE | FATTR_FH, .fh = fh, .size = 70000};
    struct fuse_access_in access_in = {.mask = R_OK | W_OK};
    struct fuse_attr a;

    eq_int(ft_setattr(t, node, &times, &a), 0, "utimes");
    ok(a.atime == 1000 && a.mtime == 2000, "are set");
    times.valid = FATTR_ATIME_NOW | FATTR_FH;
    times.fh = fh;
    eq_int(ft_setattr(t, node, &times, &a), 0, "futimens");
    ok(a.atime > 1000 && a.mtime == 2000, "only one of them");
    eq_int(ft_setattr(t, node, &size, &a), 0, "ftruncate");
    eq_int(a.size, 70000, "size");
    eq_int(ft_truncate(t, node, 60000), 0, "truncate");
    eq_int(ft_chmod(t, node, 0640), 0, "chmod");
    if (virt || geteuid() == 0)
        eq_int(ft_chown(t, node, 12, 13), 0, "chown");
    eq_int(plain(t, FUSE_ACCESS, node, &access_in, sizeof(access_in)), 0, "access");
}

static void
test_ranges(struct ft *t, uint64_t node, uint64_t fh)
{
    struct fuse_fallocate_in fa = {.fh = fh, .offset = 100000, .length = 4096};
    struct fuse_lseek_in ls = {.fh = fh, .offset = 65536, .whence = SEEK_HOLE};
    struct fuse_copy_file_range_in cp = {
        .fh_in = fh, .fh_out = fh, .nodeid_out = node, .off_in = 0, .off_out = 8192, .len = 4096};
    struct fuse_fsync_in fsync_in = {.fh = fh};
    struct fuse_lseek_out at;
    struct fuse_write_out out;

    eq_int(plain(t, FUSE_FALLOCATE, node, &fa, sizeof(fa)), 0, "fallocate");
    fa.mode = 0x4000;
    eq_int(plain(t, FUSE_FALLOCATE, node, &fa, sizeof(fa)), -EOPNOTSUPP, "a mode that does not exist");
    eq_int(ft_call(t, FUSE_LSEEK, node, &ls, sizeof(ls), NULL, 0, &at, sizeof(at), NULL), 0, "lseek");
    ls.whence = SEEK_SET;
    eq_int(ft_call(t, FUSE_LSEEK, node, &ls, sizeof(ls), NULL, 0, &at, sizeof(at), NULL), -EINVAL, "SEEK_SET");
    eq_int(ft_call(t, FUSE_COPY_FILE_RANGE, node, &cp, sizeof(cp), NULL, 0, &out, sizeof(out), NULL), 0,
           "copy_file_range");
    eq_int(out.size, 4096, "copies all");
    eq_int(plain(t, FUSE_FSYNC, node, &fsync_in, sizeof(fsync_in)), 0, "fsync");
    fsync_in.fsync_flags = FUSE_FSYNC_FDATASYNC;
    eq_int(plain(t, FUSE_FSYNC, node, &fsync_in, sizeof(fsync_in)), 0, "fdatasync");
}

static void
test_names(struct ft *t, bool virt)
{
    struct fuse_create_in tmp = {.flags = O_RDWR, .mode = 0600};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } made;
    struct fuse_fsync_in sync_dir = {0};
    struct fuse_entry_out e;
    uint64_t fh;
    int want = virt || geteuid() == 0 ? 0 : -EOPNOTSUPP;

    eq_int(ft_mknod(t, FUSE_ROOT_ID, "reg", S_IFREG | 0644, 0, &e), 0, "mknod");
    eq_int(ft_mknod(t, FUSE_ROOT_ID, "fifo", S_IFIFO | 0644, 0, &e), want, "mknod of a FIFO");
    eq_int(ft_call(t, FUSE_TMPFILE, FUSE_ROOT_ID, &tmp, sizeof(tmp), "#1", 3, &made, sizeof(made), NULL), 0,
           "a file without a name");
    eq_int(ft_write(t, made.entry.nodeid, made.open.fh, 0, "text", 4, 0), 4, "can be written");
    eq_int(ft_link(t, made.entry.nodeid, FUSE_ROOT_ID, "named", &e), 0, "and be given one");
    eq_int(e.nodeid, made.entry.nodeid, "stays the same node");
    ft_release(t, made.entry.nodeid, made.open.fh);
    eq_int(ft_opendir(t, FUSE_ROOT_ID, &fh), 0, "opendir");
    sync_dir.fh = fh;
    eq_int(plain(t, FUSE_FSYNCDIR, FUSE_ROOT_ID, &sync_dir, sizeof(sync_dir)), 0, "fsyncdir");
    ft_releasedir(t, FUSE_ROOT_ID, fh);
    eq_int(ft_rename(t, FUSE_ROOT_ID, "named", FUSE_ROOT_ID, "reg", 0), 0, "rename over");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "reg"), 0, "unlink");
    if (want == 0)
        eq_int(ft_unlink(t, FUSE_ROOT_ID, "fifo"), 0, "unlink the FIFO");
    eq_int(plain(t, FUSE_SYNCFS, FUSE_ROOT_ID, "\0\0\0\0\0\0\0", 8), 0, "syncfs");
    eq_int(plain(t, 60, FUSE_ROOT_ID, NULL, 0), -ENOSYS, "an opcode that is unknown");
}

/* A wait for a lock that the host holds, with other requests in between. */
static void
test_waiting(struct ft *t, uint64_t node, uint64_t fh, const char *path)
{
    struct vu_fs *f = t->vu;
    struct vu_fs_req *r = vu_fs_req_new(f, 4096, 4096), *done = NULL;
    struct fuse_lk_in in = {
        .fh = fh, .owner = 1, .lk = {.end = INT64_MAX, .type = F_WRLCK}, .lk_flags = FUSE_LK_FLOCK};
    struct fuse_entry_out e;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned i;

    eq_int(flock(fd, LOCK_EX), 0, "the host locks the file");
    memcpy(r->arg, &in, sizeof(in));
    r->arg_len = sizeof(in);
    eq_int(vu_fs_submit(f, 1, r, FUSE_SETLKW, node, VU_KICK), 0, "the guest waits for it");
    for (i = 0; i < 20; i++) {
        if (ft_lookup(t, FUSE_ROOT_ID, "f", &e) < 0)
            break;
    }
    eq_int(i, 20, "its other requests are served");
    close(fd);
    eq_int(vu_fs_reap(f, 1, VU_TIMEOUT_MS, &done), 1, "the lock comes");
    ok(done == r && vu_fs_result(r) == 0, "to the one who waited");
    /* Once more, and the device goes away meanwhile: ft_free() must not hang. */
    fd = open(path, O_RDWR | O_CLOEXEC);
    in.lk.type = F_UNLCK;
    plain(t, FUSE_SETLK, node, &in, sizeof(in));
    flock(fd, LOCK_EX);
    eq_int(vu_fs_submit(f, 1, r, FUSE_SETLKW, node, VU_KICK), 0, "waiting when the device stops");
    ft_free(t);
    ok(true, "it stops");
    close(fd);
}

/* Data that is not in the page cache, many requests at a time. */
static void
test_cold_reads(struct ft *t, const char *path)
{
    static char big[1u << 20], buf[65536];
    uint64_t node, fh;
    unsigned i, wrong = 0;
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);

    for (i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7 + i / 256);
    ok(fd >= 0 && write(fd, big, sizeof(big)) == sizeof(big) && fsync(fd) == 0, "a file on the disk");
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    ft_walk(t, "cold", &node);
    eq_int(ft_open(t, node, O_RDONLY, &fh), 0, "open");
    for (i = 0; i < sizeof(big); i += sizeof(buf)) {
        wrong += ft_read(t, node, fh, i, buf, sizeof(buf)) != sizeof(buf);
        wrong += memcmp(buf, big + i, sizeof(buf)) != 0;
    }
    eq_int(wrong, 0, "is read as it is");
    eq_int(ft_read(t, node, fh, sizeof(big) - 10, buf, sizeof(buf)), 10, "to its end");
    ft_release(t, node, fh);
    ft_unlink(t, FUSE_ROOT_ID, "cold");
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
        char option[4200], file[4200];
        const char *args[] = {option, virts[i], i == 1 ? "--thread-pool-size=0" : "--host-perms=private", NULL};
        struct fuse_entry_out e;
        struct ft *t;
        uint64_t fh;

        snprintf(option, sizeof(option), "--shared-dir=%s", dir);
        tap_diag("%s", virts[i]);
        t = ft_vu(args);
        eq_int(ft_create(t, FUSE_ROOT_ID, "f", O_RDWR, 0644, &e, &fh), 0, "create");
        test_attributes(t, e.nodeid, fh, i < 2);
        test_ranges(t, e.nodeid, fh);
        test_names(t, i < 2);
        snprintf(file, sizeof(file), "%s/cold", dir);
        test_cold_reads(t, file);
        eq_int(ft_setlk(t, e.nodeid, fh, 1, F_WRLCK, 0, 10, 0), 0, "a POSIX lock");
        snprintf(file, sizeof(file), "%s/f", dir);
        test_waiting(t, e.nodeid, fh, file);
    }
    return tap_done();
}

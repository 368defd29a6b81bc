/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Differential cases: open files, their data, locks.
 */
#include <config.h>

#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "differ.h"

/* CREATE of what exists, which a guest sends when another was faster.  O_CREAT stays away from virtiofsd,
 * which would hand it on to openat() without a mode, and be ended by the C library for that. */
static int
create_again(struct df_side *s, const char *name, uint32_t flags, struct fuse_entry_out *e, uint64_t *fh)
{
    struct fuse_create_in in = {.flags = flags | (s->ours ? O_CREAT : 0), .mode = 0777};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    int r = ft_call(s->t, FUSE_CREATE, s->dir, &in, sizeof(in), name, strlen(name) + 1, &out, sizeof(out), NULL);

    *e = out.entry;
    *fh = out.open.fh;
    return r;
}

static void
creating(struct df_side *s)
{
    struct fuse_entry_out e, old;
    uint64_t fh, fh2;
    uint32_t mode;
    char buf[8];

    df_entry(s, "create", ft_create(s->t, s->dir, "f", O_RDWR, 0640, &old, &fh), &old);
    df_result(s, "write", ft_write(s->t, old.nodeid, fh, 0, "text", 4, 0));
    df_result(s, "read", ft_read(s->t, old.nodeid, fh, 0, buf, sizeof(buf)));
    df_result(s, "EXCL on it", ft_create(s->t, s->dir, "f", O_RDWR | O_EXCL, 0600, &e, &fh2));
    df_entry(s, "create what exists", create_again(s, "f", O_RDWR, &e, &fh2), &e);
    df_saw(s, "the same node", "%d", e.nodeid == old.nodeid);
    ft_release(s->t, e.nodeid, fh2);
    df_entry(s, "with TRUNC", create_again(s, "f", O_RDWR | O_TRUNC, &e, &fh2), &e);
    ft_release(s->t, e.nodeid, fh2);
    df_entry(s, "set-ID", ft_create(s->t, s->dir, "s", O_RDWR, 06755, &e, &fh2), &e);
    ft_release(s->t, e.nodeid, fh2);
    mode = 0666;
    df_umask(s, &mode, 027);
    df_entry(s, "umask", ft_create(s->t, s->dir, "m", O_RDWR, mode, &e, &fh2), &e);
    ft_release(s->t, e.nodeid, fh2);
    s->t->umask = 0;
    ft_mkdir(s->t, s->dir, "d", 0755, &e);
    df_result(s, "over a directory", create_again(s, "d", O_RDWR, &e, &fh2));
    df_result(s, "in a file", ft_create(s->t, old.nodeid, "x", O_RDWR, 0644, &e, &fh2));
    df_result(s, "release", ft_release(s->t, old.nodeid, fh));
    df_result(s, "release again", ft_release(s->t, old.nodeid, fh));
    df_result(s, "read after it", ft_read(s->t, old.nodeid, fh, 0, buf, sizeof(buf)));
}

static void
opening(struct df_side *s)
{
    uint64_t f = df_file(s, "f", "0123456789", 0644), fh;
    struct fuse_attr a;
    char buf[32];
    int r;

    df_result(s, "read-only", ft_open(s->t, f, O_RDONLY, &fh));
    df_result(s, "write to it", ft_write(s->t, f, fh, 0, "x", 1, 0));
    df_result(s, "beyond the end", ft_read(s->t, f, fh, 100, buf, sizeof(buf)));
    df_result(s, "over the end", ft_read(s->t, f, fh, 5, buf, sizeof(buf)));
    df_result(s, "at a negative offset", ft_read(s->t, f, fh, UINT64_MAX - 4, buf, 4));
    df_result(s, "flush", ft_flush(s->t, f, fh, 1));
    ft_release(s->t, f, fh);
    df_result(s, "write-only", ft_open(s->t, f, O_WRONLY, &fh));
    df_result(s, "read from it", ft_read(s->t, f, fh, 0, buf, sizeof(buf)));
    df_result(s, "a hole", ft_write(s->t, f, fh, 100, "end", 3, 0));
    df_result(s, "at a negative offset", ft_write(s->t, f, fh, UINT64_MAX - 4, "x", 1, 0));
    r = ft_getattr(s->t, f, &a);
    df_attr(s, "size", r, &a);
    ft_release(s->t, f, fh);
    df_result(s, "append", ft_open(s->t, f, O_WRONLY | O_APPEND, &fh));
    df_result(s, "write at 0", ft_write(s->t, f, fh, 0, "tail", 4, 0));
    r = ft_getattr(s->t, f, &a);
    df_attr(s, "is at the end", r, &a);
    ft_release(s->t, f, fh);
    df_result(s, "TRUNC", ft_open(s->t, f, O_RDWR | O_TRUNC, &fh));
    r = ft_getattr(s->t, f, &a);
    df_attr(s, "empties", r, &a);
    df_result(s, "unlink while open", ft_unlink(s->t, s->dir, "f"));
    df_result(s, "write then", ft_write(s->t, f, fh, 0, "still", 5, 0));
    df_result(s, "read then", ft_read(s->t, f, fh, 0, buf, sizeof(buf)));
    df_result(s, "chmod then", ft_chmod(s->t, f, 0600));
    ft_release(s->t, f, fh);
    df_result(s, "access mode 3", ft_open(s->t, f, O_ACCMODE, &fh));
    df_result(s, "a directory", ft_open(s->t, s->dir, O_RDONLY, &fh));
    df_result(s, "a node that never was", ft_open(s->t, 0x98765, O_RDONLY, &fh));
    df_result(s, "flush of no handle", ft_flush(s->t, f, 0x98765, 1));
}

static int
copy_range(struct df_side *s, uint64_t from, uint64_t fh_in, uint64_t off_in, uint64_t to, uint64_t fh_out,
           uint64_t off_out, uint64_t len, uint64_t flags)
{
    struct fuse_copy_file_range_in in = {
        .fh_in = fh_in, .off_in = off_in, .nodeid_out = to, .fh_out = fh_out, .off_out = off_out, .len = len,
        .flags = flags,
    };
    struct fuse_write_out out;
    int r = ft_call(s->t, FUSE_COPY_FILE_RANGE, from, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL);

    return r < 0 ? r : (int)out.size;
}

static int
seek_to(struct df_side *s, uint64_t node, uint64_t fh, uint64_t offset, uint32_t whence)
{
    struct fuse_lseek_in in = {.fh = fh, .offset = offset, .whence = whence};
    struct fuse_lseek_out out;
    int r = ft_call(s->t, FUSE_LSEEK, node, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL);

    return r < 0 ? r : (int)out.offset;
}

static void
ranges(struct df_side *s)
{
    uint64_t f = df_file(s, "f", "0123456789", 0644), g = df_file(s, "g", "", 0644), fh, gh, ro;
    struct fuse_attr a;
    char buf[16] = "";
    int r;

    ft_open(s->t, f, O_RDWR, &fh);
    ft_open(s->t, g, O_RDWR, &gh);
    ft_open(s->t, f, O_RDONLY, &ro);
    df_result(s, "fallocate", ft_fallocate(s->t, f, fh, 0, 0, 1 << 20));
    r = ft_getattr(s->t, f, &a);
    df_attr(s, "grew", r, &a);
    df_result(s, "KEEP_SIZE", ft_fallocate(s->t, f, fh, FALLOC_FL_KEEP_SIZE, 1 << 20, 1 << 20));
    df_result(s, "PUNCH_HOLE", ft_fallocate(s->t, f, fh, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 65536));
    df_result(s, "ZERO_RANGE", ft_fallocate(s->t, f, fh, FALLOC_FL_ZERO_RANGE, 0, 4096));
    df_result(s, "COLLAPSE_RANGE", ft_fallocate(s->t, f, fh, FALLOC_FL_COLLAPSE_RANGE, 0, 65536));
    df_result(s, "of nothing", ft_fallocate(s->t, f, fh, 0, 0, 0));
    df_result(s, "unknown mode", ft_fallocate(s->t, f, fh, 0x4000, 0, 4096));
    df_result(s, "read-only", ft_fallocate(s->t, f, ro, 0, 0, 4096));
    r = ft_getattr(s->t, f, &a);
    df_attr(s, "in the end", r, &a);
    ft_truncate(s->t, f, 0);
    ft_truncate(s->t, f, 1 << 20);
    ft_write(s->t, f, fh, 131072, "data", 4, 0);
    df_result(s, "SEEK_DATA", seek_to(s, f, fh, 0, SEEK_DATA));
    df_result(s, "SEEK_HOLE", seek_to(s, f, fh, 131072, SEEK_HOLE));
    df_result(s, "SEEK_DATA behind the end", seek_to(s, f, fh, 2 << 20, SEEK_DATA));
    df_result(s, "SEEK_SET", seek_to(s, f, fh, 10, SEEK_SET));
    df_result(s, "copy", copy_range(s, f, fh, 131072, g, gh, 2, 4, 0));
    df_result(s, "is there", ft_read(s->t, g, gh, 2, buf, 4) == 4 && memcmp(buf, "data", 4) == 0);
    df_result(s, "copy to read-only", copy_range(s, g, gh, 0, f, ro, 0, 4, 0));
    df_result(s, "copy behind the end", copy_range(s, g, gh, 1000, f, fh, 0, 4, 0));
    df_result(s, "copy onto itself", copy_range(s, f, fh, 0, f, fh, 2, 8, 0));
    df_result(s, "copy with flags", copy_range(s, f, fh, 0, g, gh, 0, 8, 1));
    ft_release(s->t, f, fh);
    ft_release(s->t, f, ro);
    ft_release(s->t, g, gh);
}

static void
lock_step(struct df_side *s, const char *step, uint64_t f, uint64_t fh, uint64_t owner, uint32_t type, uint64_t start,
          uint64_t end)
{
    df_result(s, step, ft_setlk(s->t, f, fh, owner, type, start, end, 0));
}

static void
locks(struct df_side *s)
{
    uint64_t f = df_file(s, "f", "0123456789", 0644), fh, fh2, ro;
    struct fuse_lk_in in = {.owner = 2, .lk = {.start = 0, .end = INT64_MAX, .type = F_WRLCK}};
    struct fuse_lk_out out = {0};
    int r;

    ft_open(s->t, f, O_RDWR, &fh);
    ft_open(s->t, f, O_RDWR, &fh2);
    ft_open(s->t, f, O_RDONLY, &ro);
    lock_step(s, "lock", f, fh, 1, F_WRLCK, 0, 9);
    lock_step(s, "another's", f, fh2, 2, F_WRLCK, 5, 20);
    lock_step(s, "beside it", f, fh2, 2, F_RDLCK, 10, 20);
    in.fh = fh2;
    r = ft_call(s->t, FUSE_GETLK, f, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL);
    df_saw(s, "who holds it", "%d type %u %llu-%llu", r, out.lk.type, (unsigned long long)out.lk.start,
           (unsigned long long)out.lk.end);
    lock_step(s, "the same again", f, fh, 1, F_RDLCK, 0, 9);
    lock_step(s, "now both read", f, fh2, 2, F_RDLCK, 0, 9);
    lock_step(s, "unlock", f, fh, 1, F_UNLCK, 0, INT64_MAX);
    lock_step(s, "unlock the other", f, fh2, 2, F_UNLCK, 0, INT64_MAX);
    lock_step(s, "to the end", f, fh, 1, F_WRLCK, 0, INT64_MAX);
    df_result(s, "flush drops it", ft_flush(s->t, f, fh, 1));
    lock_step(s, "which others see", f, fh2, 2, F_WRLCK, 0, 9);
    ft_flush(s->t, f, fh2, 2);
    lock_step(s, "write lock, read-only", f, ro, 3, F_WRLCK, 0, 9);
    lock_step(s, "no type", f, fh, 1, 77, 0, 9);
    lock_step(s, "ends before it begins", f, fh, 1, F_WRLCK, 9, 0);
    df_result(s, "flock", ft_setlk(s->t, f, fh, 1, F_WRLCK, 0, INT64_MAX, FUSE_LK_FLOCK));
    df_result(s, "by another", ft_setlk(s->t, f, fh2, 2, F_WRLCK, 0, INT64_MAX, FUSE_LK_FLOCK));
    df_result(s, "unlock it", ft_setlk(s->t, f, fh, 1, F_UNLCK, 0, INT64_MAX, FUSE_LK_FLOCK));
    df_result(s, "then by the other", ft_setlk(s->t, f, fh2, 2, F_RDLCK, 0, INT64_MAX, FUSE_LK_FLOCK));
    ft_release(s->t, f, fh);
    ft_release(s->t, f, fh2);
    ft_release(s->t, f, ro);
}

static void
as_a_whole(struct df_side *s)
{
    struct fuse_statfs_out st;
    struct fuse_fsync_in sync = {0};
    struct fuse_create_in tmp = {.flags = O_RDWR, .mode = 0600};
    struct fuse_syncfs_in all = {0};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    uint64_t f = df_file(s, "f", "x", 0644);
    uint8_t arg[128] = {0}, reply[256];
    struct fuse_entry_out e;
    int r;

    r = ft_call(s->t, FUSE_STATFS, s->dir, NULL, 0, NULL, 0, &st, sizeof(st), NULL);
    df_saw(s, "statfs", "%d blocks %llu files %llu name %u block %u", r, (unsigned long long)st.st.blocks,
           (unsigned long long)st.st.files, st.st.namelen, st.st.bsize);
    ft_open(s->t, f, O_RDWR, &sync.fh);
    df_result(s, "fsync", ft_call(s->t, FUSE_FSYNC, f, &sync, sizeof(sync), NULL, 0, NULL, 0, NULL));
    ft_release(s->t, f, sync.fh);
    df_result(s, "fsync of no handle", ft_call(s->t, FUSE_FSYNC, f, &sync, sizeof(sync), NULL, 0, NULL, 0, NULL));
    df_result(s, "syncfs", ft_call(s->t, FUSE_SYNCFS, s->dir, &all, sizeof(all), NULL, 0, NULL, 0, NULL));
    r = ft_call(s->t, FUSE_TMPFILE, s->dir, &tmp, sizeof(tmp), "#tmp", 5, &out, sizeof(out), NULL);
    df_entry(s, "tmpfile", r, &out.entry);
    if (r == 0)
        r = ft_link(s->t, out.entry.nodeid, s->dir, "named", &e);
    df_entry(s, "linked in", r, &e);
    if (r == 0)
        ft_release(s->t, out.entry.nodeid, out.open.fh);
    df_result(s, "ioctl", ft_call(s->t, FUSE_IOCTL, f, arg, 32, NULL, 0, reply, sizeof(reply), NULL));
    df_result(s, "bmap", ft_call(s->t, FUSE_BMAP, f, arg, 16, NULL, 0, reply, 8, NULL));
    df_result(s, "poll", ft_call(s->t, FUSE_POLL, f, arg, 24, NULL, 0, reply, 8, NULL));
    df_result(s, "opcode 999", ft_call(s->t, 999, f, arg, 24, NULL, 0, reply, 8, NULL));
}

const struct df_case df_files[] = {
    {"create", creating}, {"open", opening}, {"ranges", ranges}, {"locks", locks}, {"whole", as_a_whole}, {NULL, NULL},
};

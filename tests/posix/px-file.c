/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations on open files, removed ones among them.
 */
#include <config.h>

#include "px.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void
fill(uint8_t *buf, size_t len, uint32_t seed)
{
    size_t i;

    for (i = 0; i < len; i++)
        buf[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

/* A device: whether it may be opened is a matter of the mount. */
bool
px_is_device(const struct px_plan *p)
{
    struct stat st;

    return stat(p->path, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode));
}

/* FUSE tells of a close() that it is done before the other side knows of it; its locks go before. */
static long
close_file(struct px_side *s, unsigned file)
{
    struct flock all = {.l_type = F_UNLCK};
    int fd = s->fd[file];

    if (fd < 0)
        return 0;
    (void)!fcntl(fd, F_OFD_SETLK, &all);
    (void)!flock(fd, LOCK_UN);
    s->fd[file] = -1;
    return px_result(close(fd));
}

/* Open, in place of what was open there. Only regular files stay. */
static long
op_open(struct px_side *s, const struct px_plan *p)
{
    static const int ways[] = {O_RDWR, O_RDWR, O_RDONLY, O_WRONLY, O_RDWR | O_APPEND};
    int flags = ways[p->pick % MB_ARRAY_SIZE(ways)] | (p->pick2 & 1 ? O_CREAT : 0) |
                (p->pick2 % 16 == 3 ? O_TRUNC : 0) | O_NONBLOCK | O_CLOEXEC;
    int fd = px_is_device(p) ? 0 : open(p->path, flags, p->mode);
    struct stat st;

    if (fd == 0)
        return 0;
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return 0;
    }
    close_file(s, p->file);
    s->fd[p->file] = fd;
    return 0;
}

static long
op_tmpfile(struct px_side *s, const struct px_plan *p)
{
    int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, p->mode);

    if (fd < 0)
        return -errno;
    close_file(s, p->file);
    s->fd[p->file] = fd;
    px_saw_stat(s, NULL, fd);
    return 0;
}

/* A name for an open file, which may have none. */
static long
op_link_open(struct px_side *s, const struct px_plan *p)
{
    char path[64];
    struct stat st;
    long r;

    /* Where the judge knows that a file never had a name, FUSE of Linux does not. */
    if (fstat(s->fd[p->file], &st) < 0 || st.st_nlink == 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd[p->file]);
    r = px_result(linkat(AT_FDCWD, path, AT_FDCWD, p->path, AT_SYMLINK_FOLLOW));
    px_saw_stat(s, NULL, s->fd[p->file]);
    return r;
}

static long
op_close(struct px_side *s, const struct px_plan *p)
{
    return close_file(s, p->file);
}

static long
op_read(struct px_side *s, const struct px_plan *p)
{
    static uint8_t buf[PX_DATA];
    long r = px_result(pread(s->fd[p->file], buf, p->len, (off_t)p->off));

    if (r > 0)
        px_saw(s, buf, (size_t)r);
    return r;
}

static long
op_write(struct px_side *s, const struct px_plan *p)
{
    static uint8_t buf[PX_DATA];
    long r;

    fill(buf, p->len, p->pick);
    r = px_result(pwrite(s->fd[p->file], buf, p->len, (off_t)p->off));
    px_saw_stat(s, NULL, s->fd[p->file]);
    return r;
}

static long
op_writev(struct px_side *s, const struct px_plan *p)
{
    static uint8_t buf[PX_DATA];
    struct iovec iov[3] = {{buf, p->len / 3}, {buf + p->len / 3, 7}, {buf + p->len / 3, p->len / 2}};

    fill(buf, sizeof(buf), p->pick);
    return px_result(pwritev(s->fd[p->file], iov, 3, (off_t)p->off));
}

static long
op_ftruncate(struct px_side *s, const struct px_plan *p)
{
    long r = px_result(ftruncate(s->fd[p->file], (off_t)p->off));

    px_saw_stat(s, NULL, s->fd[p->file]);
    return r;
}

/* The modes that FUSE of Linux passes on. */
static long
op_fallocate(struct px_side *s, const struct px_plan *p)
{
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    long r = px_result(
        fallocate(s->fd[p->file], modes[p->pick % MB_ARRAY_SIZE(modes)], (off_t)p->off, (off_t)p->len));

    px_saw_stat(s, NULL, s->fd[p->file]);
    return r;
}

static long
op_copy(struct px_side *s, const struct px_plan *p)
{
    off_t from = (off_t)p->off, to = (off_t)p->off2;
    long r;

    if (s->fd[p->file2] < 0)
        return 0;
    r = px_result(copy_file_range(s->fd[p->file], &from, s->fd[p->file2], &to, p->len, 0));
    px_saw_stat(s, NULL, s->fd[p->file2]);
    return r;
}

/* Where holes are is the judge's own affair; that all of them read as zeros is not. */
static long
op_seek(struct px_side *s, const struct px_plan *p)
{
    struct stat st;
    off_t at = lseek(s->fd[p->file], (off_t)p->off, SEEK_HOLE);

    if (at < 0)
        return -errno;
    return fstat(s->fd[p->file], &st) == 0 && at <= st.st_size ? 0 : 1;
}

static long
op_mmap(struct px_side *s, const struct px_plan *p)
{
    int fd = s->fd[p->file], mode = fcntl(fd, F_GETFL) & O_ACCMODE;
    size_t len = p->len + 1, page = p->off & ~UINT64_C(4095);
    struct stat st;
    uint8_t *map;

    if (!px_limits.shared_mmap || mode == O_WRONLY || fstat(fd, &st) < 0 || st.st_size <= (off_t)page)
        return 0;
    len = MB_MIN(len, (size_t)st.st_size - page);
    map = mmap(NULL, len, mode == O_RDWR ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, (off_t)page);
    if (map == MAP_FAILED)
        return -errno;
    px_saw(s, map, MB_MIN(len, (size_t)PX_DATA));
    if (mode == O_RDWR && p->pick & 1) {
        fill(map, len, p->pick);
        if (p->pick & 2)
            msync(map, len, MS_SYNC);
    }
    munmap(map, len);
    return (long)len;
}

static long
op_fchmod(struct px_side *s, const struct px_plan *p)
{
    long r = px_result(fchmod(s->fd[p->file], p->mode));

    px_saw_stat(s, NULL, s->fd[p->file]);
    return r;
}

static long
op_fchown(struct px_side *s, const struct px_plan *p)
{
    long r = px_result(fchown(s->fd[p->file], p->pick % 3 * 1000, p->pick2 % 3 * 1000));

    px_saw_stat(s, NULL, s->fd[p->file]);
    return r;
}

static long
op_fstat(struct px_side *s, const struct px_plan *p)
{
    px_saw_stat(s, NULL, s->fd[p->file]);
    return 0;
}

static long
op_fsync(struct px_side *s, const struct px_plan *p)
{
    return px_result(p->pick % 2 ? fsync(s->fd[p->file]) : fdatasync(s->fd[p->file]));
}

static long
op_flock(struct px_side *s, const struct px_plan *p)
{
    static const int how[] = {LOCK_SH, LOCK_EX, LOCK_UN};

    return px_result(flock(s->fd[p->file], how[p->pick % 3] | LOCK_NB));
}

static long
op_lock(struct px_side *s, const struct px_plan *p)
{
    static const short how[] = {F_RDLCK, F_WRLCK, F_UNLCK};
    struct flock l = {
        .l_type = how[p->pick % (p->pick2 % 2 ? 3 : 2)], .l_start = (off_t)p->off, .l_len = (off_t)p->len};
    long r = px_result(fcntl(s->fd[p->file], p->pick2 % 2 ? F_OFD_SETLK : F_OFD_GETLK, &l));

    if (r == 0 && !(p->pick2 % 2))
        px_saw(s, &l.l_type, sizeof(l.l_type));
    return r;
}

const struct px_op px_file_ops[] = {
    {"read", 10, op_read},
    {"write", 10, op_write},
    {"writev", 3, op_writev},
    {"ftruncate", 5, op_ftruncate},
    {"fallocate", 4, op_fallocate},
    {"copy_file_range", 3, op_copy},
    {"seek", 2, op_seek},
    {"mmap", 4, op_mmap},
    {"fchmod", 2, op_fchmod},
    {"fchown", 2, op_fchown},
    {"fstat", 3, op_fstat},
    {"fsync", 1, op_fsync},
    {"flock", 2, op_flock},
    {"lock", 4, op_lock},
    {"close", 3, op_close},
    {"link-open", 2, op_link_open},
    {"tmpfile", 1, op_tmpfile},
    {"open", 16, op_open},
    {NULL, 0, NULL},
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench/fs-load DIR SECONDS BACKEND PEER-SOCKET: drives msb-vhost-fs (the program BACKEND,
 * with stat virtualization off and strict) and a virtiofsd that listens on
 * PEER-SOCKET with the same FUSE requests in the same directory, in turns, and
 * prints the median of the turns:
 *
 *     row=NAME ours=X peer=Y unit=U ratio=R floor=F
 *
 * A floor is a plain loop of the system calls that the operation needs at
 * least, in this process.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vu-fs.h"

#include "mb-macros.h"

#define N_NAMES 1000u
#define N_ENTRIES 10000u
#define FILE_SIZE (256u << 20)
#define MAX_DEPTH 32u
#define TURNS 21u

enum { OFF, STRICT, PEER, N_SIDES };

struct side {
    struct vu_fs f;
    uint64_t names, many, work;     /* nodes of the directories */
    uint64_t node[N_NAMES];
    uint64_t big, big_fh;
    struct vu_fs_req *req[MAX_DEPTH];
};

static struct side sides[N_SIDES];
static const char *dir;
static double turn_seconds;
static int dir_fd, big_fd;

static void
die(const char *what, int r)
{
    fprintf(stderr, "fs-load: %s: %s\n", what, strerror(-r));
    exit(1);
}

static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint32_t
rnd(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static const char *
name_of(unsigned i)
{
    static char name[32];

    snprintf(name, sizeof(name), "file-%05u", i);
    return name;
}

static const char *
path_in(const char *sub, const char *name)
{
    static char path[4300];

    snprintf(path, sizeof(path), "%s/%s", sub, name);
    return path;
}

/* ---- rows: each does one unit of work and returns how much that was ------------------------------- */

typedef double (*row_fn)(struct side *s);

static double
stat_existing(struct side *s)
{
    struct fuse_entry_out e;
    int r = vu_fs_lookup(&s->f, s->names, name_of(rnd() % N_NAMES), &e);

    if (r < 0)
        die("lookup", r);
    return 1;
}

static double
stat_missing(struct side *s)
{
    struct fuse_entry_out e;
    int r = vu_fs_lookup(&s->f, s->names, "no-such-name", &e);

    /* A reply of node 0 says the same and may be cached. */
    if (r < 0 && r != -ENOENT)
        die("lookup", r);
    return 1;
}

static double
open_close(struct side *s)
{
    uint64_t node = s->node[rnd() % N_NAMES], fh;
    struct fuse_flush_in flush = {0};
    int r = vu_fs_open_file(&s->f, node, O_RDONLY, &fh);

    if (r < 0)
        die("open", r);
    flush.fh = fh;
    r = vu_fs_call(&s->f, FUSE_FLUSH, node, &flush, sizeof(flush), NULL, 0, NULL, 0, NULL);
    if (r < 0)
        die("flush", r);
    vu_fs_release(&s->f, node, fh);
    return 1;
}

static double
create_unlink(struct side *s)
{
    struct fuse_entry_out e;
    uint64_t fh;
    int r = vu_fs_create(&s->f, s->work, "new-file", O_CREAT | O_RDWR | O_EXCL, 0644, &e, &fh);

    if (r < 0)
        die("create", r);
    vu_fs_release(&s->f, e.nodeid, fh);
    r = vu_fs_unlink(&s->f, s->work, "new-file");
    if (r < 0)
        die("unlink", r);
    vu_fs_forget(&s->f, e.nodeid, 1);
    return 1;
}

static double
read_dir_plus(struct side *s)
{
    struct fuse_open_in open_in = {.flags = O_RDONLY | O_DIRECTORY};
    struct fuse_read_in in = {.size = 4096};
    struct fuse_release_in release = {0};
    struct fuse_open_out out;
    static char buf[4096];
    double entries = 0;
    size_t len = 0;
    int r = vu_fs_call(&s->f, FUSE_OPENDIR, s->many, &open_in, sizeof(open_in), NULL, 0, &out, sizeof(out), NULL);

    in.fh = release.fh = out.fh;
    while (r == 0) {
        size_t at;

        r = vu_fs_call(&s->f, FUSE_READDIRPLUS, s->many, &in, sizeof(in), NULL, 0, buf, sizeof(buf), &len);
        if (r < 0 || len == 0)
            break;
        for (at = 0; at < len;) {
            const struct fuse_direntplus *d = (const void *)(buf + at);

            in.offset = d->dirent.off;
            at += FUSE_DIRENTPLUS_SIZE(d);
            entries++;
        }
    }
    if (r < 0)
        die("readdirplus", r);
    vu_fs_call(&s->f, FUSE_RELEASEDIR, s->many, &release, sizeof(release), NULL, 0, NULL, 0, NULL);
    return entries;
}

/* depth requests of len bytes under way, total of count. */
static void
transfer(struct side *s, bool write, unsigned depth, size_t len, unsigned count, bool random)
{
    static uint64_t position;
    unsigned sent = 0, done = 0, i;

    for (i = 0; done < count; i++) {
        struct vu_fs_req *r;
        uint64_t at;
        int got;

        if (sent < count && sent - done < depth) {
            r = s->req[sent < depth ? sent : i];
        } else {
            got = vu_fs_reap(&s->f, 1, VU_TIMEOUT_MS, &r);
            if (got < 0 || vu_fs_result(r) < 0)
                die("transfer", got < 0 ? got : vu_fs_result(r));
            done++;
            if (sent >= count)
                continue;
        }
        at = random ? (uint64_t)(rnd() % (FILE_SIZE / 4096)) * 4096 : (position += len) % FILE_SIZE;
        if (write) {
            struct fuse_write_in in = {.fh = s->big_fh, .offset = at, .size = (uint32_t)len};

            memcpy(r->arg, &in, sizeof(in));
            r->arg_len = sizeof(in) + len;
            r->reply_want = sizeof(struct fuse_write_out);
        } else {
            struct fuse_read_in in = {.fh = s->big_fh, .offset = at, .size = (uint32_t)len};

            memcpy(r->arg, &in, sizeof(in));
            r->arg_len = sizeof(in);
            r->reply_want = len;
        }
        got = vu_fs_submit(&s->f, 1, r, write ? FUSE_WRITE : FUSE_READ, s->big, VU_KICK);
        if (got < 0)
            die("submit", got);
        sent++;
    }
}

static double
read_1(struct side *s)
{
    transfer(s, false, 1, 4096, 64, true);
    return 64;
}

static double
read_32(struct side *s)
{
    transfer(s, false, 32, 4096, 512, true);
    return 512;
}

static double
write_1(struct side *s)
{
    transfer(s, true, 1, 4096, 64, true);
    return 64;
}

static double
write_32(struct side *s)
{
    transfer(s, true, 32, 4096, 512, true);
    return 512;
}

static double
read_seq(struct side *s)
{
    transfer(s, false, 2, 1u << 20, 32, false);
    return 32;
}

static double
write_seq(struct side *s)
{
    transfer(s, true, 2, 1u << 20, 32, false);
    return 32;
}

/* ---- floors: the system calls alone ------------------------------------------------------------------- */

static double
floor_stat(struct side *s)
{
    struct statx stx;

    (void)s;
    (void)!statx(dir_fd, name_of(rnd() % N_NAMES), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx);
    return 1;
}

static double
floor_missing(struct side *s)
{
    struct statx stx;

    (void)s;
    (void)!statx(dir_fd, "no-such-name", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx);
    return 1;
}

static double
floor_open(struct side *s)
{
    (void)s;
    close(openat(dir_fd, name_of(rnd() % N_NAMES), O_RDONLY | O_CLOEXEC));
    return 1;
}

static double
floor_create(struct side *s)
{
    int fd = openat(dir_fd, "floor-file", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    struct statx stx;

    (void)s;
    (void)!statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx);
    close(fd);
    unlinkat(dir_fd, "floor-file", 0);
    return 1;
}

static double
floor_transfer(bool write, size_t len, bool random)
{
    static char *buf;
    static uint64_t position;
    uint64_t at = random ? (uint64_t)(rnd() % (FILE_SIZE / 4096)) * 4096 : (position += len) % FILE_SIZE;

    if (!buf)
        buf = calloc(1, 1u << 20);
    if (!buf || (write ? pwrite(big_fd, buf, len, (off_t)at) : pread(big_fd, buf, len, (off_t)at)) < 0)
        die("floor", -errno);
    return 1;
}

static double
floor_read_4k(struct side *s)
{
    (void)s;
    return floor_transfer(false, 4096, true);
}

static double
floor_write_4k(struct side *s)
{
    (void)s;
    return floor_transfer(true, 4096, true);
}

static double
floor_read_1m(struct side *s)
{
    (void)s;
    return floor_transfer(false, 1u << 20, false);
}

static double
floor_write_1m(struct side *s)
{
    (void)s;
    return floor_transfer(true, 1u << 20, false);
}

/* ---- the run --------------------------------------------------------------------------------------------- */

static const struct row {
    const char *name, *unit;
    row_fn run, floor;
    bool strict;                /* also with stat virtualization */
} rows[] = {
    {"stat-existing", "ops/s", stat_existing, floor_stat, true},
    {"stat-missing", "ops/s", stat_missing, floor_missing, true},
    {"open-close", "ops/s", open_close, floor_open, true},
    {"create-unlink", "ops/s", create_unlink, floor_create, true},
    {"readdirplus-10000", "entries/s", read_dir_plus, NULL, true},
    {"rand-read-4k-d1", "ops/s", read_1, floor_read_4k, false},
    {"rand-read-4k-d32", "ops/s", read_32, floor_read_4k, false},
    {"rand-write-4k-d1", "ops/s", write_1, floor_write_4k, false},
    {"rand-write-4k-d32", "ops/s", write_32, floor_write_4k, false},
    {"seq-read-1m", "MiB/s", read_seq, floor_read_1m, false},
    {"seq-write-1m", "MiB/s", write_seq, floor_write_1m, false},
};

static double
measure(row_fn run, struct side *s)
{
    double begin = now(), end = begin, work = 0;

    while (end < begin + turn_seconds) {
        work += run(s);
        end = now();
    }
    return work / (end - begin);
}

static int
by_value(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;

    return d < 0 ? -1 : d > 0;
}

static double
median(double *v)
{
    qsort(v, TURNS, sizeof(*v), by_value);
    return v[TURNS / 2];
}

static void
run_row(const struct row *row)
{
    double got[N_SIDES][TURNS], low[TURNS] = {0}, peer;
    unsigned turn, i;

    for (turn = 0; turn < TURNS; turn++) {
        for (i = 0; i < N_SIDES; i++) {
            if (i != STRICT || row->strict)
                got[i][turn] = measure(row->run, &sides[i]);
        }
        if (row->floor)
            low[turn] = measure(row->floor, NULL);
    }
    peer = median(got[PEER]);
    for (i = OFF; i <= STRICT; i++) {
        double ours;

        if (i == STRICT && !row->strict)
            continue;
        ours = median(got[i]);
        printf("row=%s%s ours=%.0f peer=%.0f unit=%s ratio=%.2f", row->name, i == STRICT ? "-strict" : "", ours, peer,
               row->unit, ours / peer);
        if (row->floor)
            printf(" floor=%.0f", median(low));
        printf("\n");
        fflush(stdout);
    }
}

static void
make_files(void)
{
    char sub[4200];
    unsigned i;
    int fd;

    snprintf(sub, sizeof(sub), "%s/names", dir);
    if (mkdir(sub, 0755) < 0 && errno != EEXIST)
        die(sub, -errno);
    dir_fd = open(sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (i = 0; i < N_NAMES; i++)
        close(openat(dir_fd, name_of(i), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    snprintf(sub, sizeof(sub), "%s/many", dir);
    mkdir(sub, 0755);
    for (i = 0; i < N_ENTRIES; i++)
        close(open(path_in(sub, name_of(i)), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    snprintf(sub, sizeof(sub), "%s/work", dir);
    mkdir(sub, 0755);
    fd = open(path_in(dir, "big"), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0 || posix_fallocate(fd, 0, FILE_SIZE))
        die("big file", -errno);
    for (i = 0; i < FILE_SIZE >> 20; i++) {
        static char zero[1u << 20];

        if (pwrite(fd, zero, sizeof(zero), (off_t)i << 20) < 0)
            die("big file", -errno);
    }
    fsync(fd);
    big_fd = fd;
}

static uint64_t
node_of(struct side *s, uint64_t parent, const char *name)
{
    struct fuse_entry_out e;
    int r = vu_fs_lookup(&s->f, parent, name, &e);

    if (r < 0)
        die(name, r);
    return e.nodeid;
}

static void
open_side(struct side *s, const struct vu_options *o)
{
    unsigned i;
    int r = vu_fs_open(&s->f, o, 0);

    if (r < 0)
        die("back-end", r);
    s->names = node_of(s, FUSE_ROOT_ID, "names");
    s->many = node_of(s, FUSE_ROOT_ID, "many");
    s->work = node_of(s, FUSE_ROOT_ID, "work");
    for (i = 0; i < N_NAMES; i++)
        s->node[i] = node_of(s, s->names, name_of(i));
    s->big = node_of(s, FUSE_ROOT_ID, "big");
    r = vu_fs_open_file(&s->f, s->big, O_RDWR, &s->big_fh);
    if (r < 0)
        die("big", r);
    for (i = 0; i < MAX_DEPTH; i++) {
        s->req[i] = vu_fs_req_new(&s->f, (1u << 20) + 4096, 1u << 20);
        if (!s->req[i])
            die("memory", -ENOMEM);
    }
}

int
main(int argc, char **argv)
{
    struct vu_options o = {.queues = 2, .memory = 192u << 20, .queue_size = 256};
    char shared[4200];
    const char *ours[] = {NULL, shared, "--stat-virt=off", getenv("FS_OURS_OPT"), NULL};
    unsigned i;

    if (argc < 5) {
        fprintf(stderr, "usage: fs-load DIR SECONDS BACKEND PEER-SOCKET [ROW]\n");
        return 2;
    }
    dir = argv[1];
    turn_seconds = atof(argv[2]) / TURNS;
    ours[0] = argv[3];
    vu_quiet = true;
    make_files();
    snprintf(shared, sizeof(shared), "--shared-dir=%s", dir);
    o.argv = ours;
    open_side(&sides[OFF], &o);
    ours[2] = "--stat-virt=strict";
    open_side(&sides[STRICT], &o);
    o.argv = NULL;
    o.socket_path = argv[4];
    open_side(&sides[PEER], &o);
    for (i = 0; i < MB_ARRAY_SIZE(rows); i++) {
        if (argc < 6 || strstr(rows[i].name, argv[5]))
            run_row(&rows[i]);
    }
    for (i = 0; i < N_SIDES; i++)
        vu_fs_close(&sides[i].f);
    return 0;
}

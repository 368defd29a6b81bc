/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench/fs-quota-load DIR ACCOUNTS SECONDS BACKEND [ROW]: the program BACKEND with a quota and without
 * one, in turns, in the directory DIR; prints the median of the turns:
 *
 *     row=NAME ours=X peer=Y unit=U ratio=R
 *
 * ours is with the quota, peer without.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vu-fs.h"

#include "mb-macros.h"

#define FILE_SIZE (UINT64_C(64) << 20)
#define DEPTH 8u
#define TURNS 31u

struct side {
    struct vu_fs f;
    uint64_t node, fh, at;
    struct vu_fs_req *req[DEPTH];
};

/* WITH and WITHOUT. */
static struct side sides[2];
static double turn_seconds;

static void
die(const char *what, int r)
{
    fprintf(stderr, "fs-quota-load: %s: %s\n", what, strerror(-r));
    exit(1);
}

static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
truncate_file(struct side *s)
{
    struct fuse_setattr_in in = {.valid = FATTR_SIZE | FATTR_FH, .fh = s->fh};
    struct fuse_attr_out out;
    int r = vu_fs_setattr(&s->f, s->node, &in, &out);

    if (r < 0)
        die("truncate", r);
    s->at = 0;
}

/* count writes of len bytes, one behind the other, DEPTH under way. */
static void
write_on(struct side *s, size_t len, unsigned count)
{
    unsigned sent, done = 0;

    for (sent = 0; done < count;) {
        struct fuse_write_in in = {.fh = s->fh, .offset = s->at, .size = (uint32_t)len};
        struct vu_fs_req *r;
        int got;

        if (sent < count && sent - done < DEPTH) {
            r = s->req[sent % DEPTH];
        } else {
            got = vu_fs_reap(&s->f, 1, VU_TIMEOUT_MS, &r);
            if (got < 0 || vu_fs_result(r) < 0)
                die("write", got < 0 ? got : vu_fs_result(r));
            done++;
            if (sent >= count)
                continue;
        }
        memcpy(r->arg, &in, sizeof(in));
        r->arg_len = sizeof(in) + len;
        r->reply_want = sizeof(struct fuse_write_out);
        got = vu_fs_submit(&s->f, 1, r, FUSE_WRITE, s->node, VU_KICK);
        if (got < 0)
            die("submit", got);
        s->at += len;
        sent++;
    }
}

/* The rows: one unit of work, and how much that was. Growing files are cut off when they are large. */
static double
append_4k(struct side *s)
{
    if (s->at >= FILE_SIZE)
        truncate_file(s);
    write_on(s, 4096, 512);
    return 512;
}

static double
overwrite_4k(struct side *s)
{
    s->at %= FILE_SIZE;
    write_on(s, 4096, 512);
    return 512;
}

static double
append_1m(struct side *s)
{
    if (s->at >= FILE_SIZE)
        truncate_file(s);
    write_on(s, 1u << 20, 16);
    return 16;
}

static double
create_unlink(struct side *s)
{
    struct fuse_entry_out e;
    uint64_t fh;
    int r = vu_fs_create(&s->f, FUSE_ROOT_ID, "new-file", O_CREAT | O_RDWR | O_EXCL, 0644, &e, &fh);

    if (r == 0)
        r = vu_fs_release(&s->f, e.nodeid, fh);
    if (r == 0)
        r = vu_fs_unlink(&s->f, FUSE_ROOT_ID, "new-file");
    if (r < 0)
        die("create and unlink", r);
    vu_fs_forget(&s->f, e.nodeid, 1);
    return 1;
}

static const struct row {
    const char *name, *unit;
    double (*run)(struct side *s);
} rows[] = {
    {"quota-append-4k", "ops/s", append_4k},
    {"quota-overwrite-4k", "ops/s", overwrite_4k},
    {"quota-append-1m", "MiB/s", append_1m},
    {"quota-create-unlink", "ops/s", create_unlink},
};

static double
measure(const struct row *row, struct side *s)
{
    double begin = now(), end = begin, work = 0;

    while (end < begin + turn_seconds) {
        work += row->run(s);
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

static void
run_row(const struct row *row)
{
    double got[2][TURNS];
    unsigned turn, i;

    for (turn = 0; turn < TURNS; turn++) {
        for (i = 0; i < 2; i++)
            got[i][turn] = measure(row, &sides[i]);
    }
    for (i = 0; i < 2; i++)
        qsort(got[i], TURNS, sizeof(got[i][0]), by_value);
    printf("row=%s ours=%.1f peer=%.1f unit=%s ratio=%.3f\n", row->name, got[0][TURNS / 2], got[1][TURNS / 2],
           row->unit, got[0][TURNS / 2] / got[1][TURNS / 2]);
    fflush(stdout);
}

static void
open_side(struct side *s, const char *const *argv, const char *name)
{
    struct vu_options o = {.argv = argv, .queues = 2, .memory = 64u << 20, .max_segments = 300};
    struct fuse_entry_out e;
    unsigned i;
    int r = vu_fs_open(&s->f, &o, 0);

    if (r == 0)
        r = vu_fs_create(&s->f, FUSE_ROOT_ID, name, O_CREAT | O_RDWR, 0644, &e, &s->fh);
    if (r < 0)
        die("back-end", r);
    s->node = e.nodeid;
    for (i = 0; i < DEPTH; i++) {
        s->req[i] = vu_fs_req_new(&s->f, (1u << 20) + 4096, 4096);
        if (!s->req[i])
            die("request", -ENOMEM);
    }
}

int
main(int argc, char **argv)
{
    char dir[4300], accounts[4300];
    const char *with[] = {argc > 4 ? argv[4] : "", dir, accounts, "--quota=1T", "--stat-virt=off", NULL};
    const char *without[] = {with[0], dir, "--stat-virt=off", NULL};
    unsigned i;

    if (argc < 5) {
        fprintf(stderr, "usage: fs-quota-load DIR ACCOUNTS SECONDS BACKEND [ROW]\n");
        return 2;
    }
    snprintf(dir, sizeof(dir), "--shared-dir=%s", argv[1]);
    snprintf(accounts, sizeof(accounts), "--quota-dir=%s", argv[2]);
    turn_seconds = atof(argv[3]) / TURNS;
    open_side(&sides[0], with, "with-quota");
    open_side(&sides[1], without, "without-quota");
    for (i = 0; i < MB_ARRAY_SIZE(rows); i++) {
        if (argc < 6 || strcmp(argv[5], rows[i].name) == 0)
            run_row(&rows[i]);
    }
    for (i = 0; i < 2; i++)
        vu_fs_close(&sides[i].f);
    return 0;
}

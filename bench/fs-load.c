/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench/fs-load DIR SECONDS BACKEND PEER-SOCKET [ROW...]: drives msb-vhost-fs (the program BACKEND,
 * with stat virtualization off and strict) and a virtiofsd that listens on
 * PEER-SOCKET with the same FUSE requests in the same directory, in turns, and
 * prints medians of the turns, two or three lines a row:
 *
 *     row=NAME ours=X peer=Y unit=U ratio=R cpu_ours=C cpu_peer=D
 *     row=NAME-strict ours=X peer=Y unit=U ratio=R cpu_ours=C cpu_peer=D
 *     row=NAME floor=F ours=X unit=U ratio=X/F
 *     row=NAME-told floor=T ours=X unit=U ratio=X/T
 *
 * C and D are microseconds of processor time that the back-end took per unit of
 * work.  The floor is a plain loop of the system calls that the operation needs
 * at least, in this process, in the same turns; T is that with one more for each unit of work, the
 * write to an eventfd that wakes who waits for it.  Rows are chosen by parts of their names.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs-load.h"

#include "mb-macros.h"

#define MAX_TURNS 101u

enum { OFF, STRICT, PEER, N_SIDES };

static struct side sides[N_SIDES];
static clockid_t cpu_clock[N_SIDES];
static const char *dir;
static double turn_seconds;
static unsigned n_turns = 21;

void
die(const char *what, int r)
{
    fprintf(stderr, "fs-load: %s: %s\n", what, strerror(-r));
    exit(1);
}

static double
clock_seconds(clockid_t id)
{
    struct timespec ts = {0};

    clock_gettime(id, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

uint32_t
rnd(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

const char *
name_of(unsigned i)
{
    static char name[32];

    snprintf(name, sizeof(name), "file-%05u", i);
    return name;
}

/* ---- measuring ------------------------------------------------------------------------------------------ */

struct figures {
    double rate[MAX_TURNS], cpu[MAX_TURNS];
};

static int
by_value(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;

    return d < 0 ? -1 : d > 0;
}

static double
median(double *v)
{
    qsort(v, n_turns, sizeof(*v), by_value);
    return v[n_turns / 2];
}

static void
measure(const struct row *row, unsigned side, unsigned turn, struct figures *f)
{
    double cpu = clock_seconds(cpu_clock[side]);
    double begin = clock_seconds(CLOCK_MONOTONIC), end = begin, work = 0;

    while (end < begin + turn_seconds) {
        work += row->run(&sides[side]);
        end = clock_seconds(CLOCK_MONOTONIC);
    }
    f->rate[turn] = work / (end - begin);
    f->cpu[turn] = (clock_seconds(cpu_clock[side]) - cpu) * 1e6 / work;
}

static double
measure_floor(const struct row *row, bool tell)
{
    double begin = clock_seconds(CLOCK_MONOTONIC), end = begin, work = 0;

    while (end < begin + turn_seconds) {
        work += row->floor();
        if (tell)
            floor_tell();
        end = clock_seconds(CLOCK_MONOTONIC);
    }
    return work / (end - begin);
}

static void
print_floor(const struct row *row, const char *kind, double *low, double ours)
{
    double floor = median(low);

    printf("row=%s%s floor=%.0f ours=%.0f unit=%s ratio=%.2f\n", row->name, kind, floor, ours, row->unit, ours / floor);
}

static void
run_row(const struct row *row)
{
    static struct figures got[N_SIDES];
    double low[MAX_TURNS], told[MAX_TURNS], peer, peer_cpu, ours = 0;
    unsigned turn, i;

    for (turn = 0; turn < n_turns; turn++) {
        for (i = 0; i < N_SIDES; i++) {
            if (i != STRICT || row->strict)
                measure(row, i, turn, &got[i]);
        }
        if (row->floor) {
            low[turn] = measure_floor(row, false);
            told[turn] = measure_floor(row, true);
        }
    }
    peer = median(got[PEER].rate);
    peer_cpu = median(got[PEER].cpu);
    for (i = row->strict ? STRICT : OFF;; i--) {
        ours = median(got[i].rate);
        printf("row=%s%s ours=%.0f peer=%.0f unit=%s ratio=%.2f cpu_ours=%.2f cpu_peer=%.2f\n", row->name,
               i == STRICT ? "-strict" : "", ours, peer, row->unit, ours / peer, median(got[i].cpu), peer_cpu);
        if (i == OFF)
            break;
    }
    if (row->floor) {
        print_floor(row, "", low, ours);
        print_floor(row, "-told", told, ours);
    }
    fflush(stdout);
}

/* ---- the directory -------------------------------------------------------------------------------------- */

/* The sub-directory of that name with n files; a descriptor of it. */
static int
make_dir(const char *name, unsigned n)
{
    char sub[4200];
    unsigned i;
    int fd;

    snprintf(sub, sizeof(sub), "%s/%s", dir, name);
    if (mkdir(sub, 0755) < 0 && errno != EEXIST)
        die(sub, -errno);
    fd = open(sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        die(sub, -errno);
    for (i = 0; i < n; i++)
        close(openat(fd, name_of(i), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    return fd;
}

static void
make_files(void)
{
    static char zero[1u << 20];
    char path[4200];
    unsigned i;

    floor_names_fd = make_dir("names", N_NAMES);
    floor_many_fd = make_dir("many", N_ENTRIES);
    close(make_dir("work", 0));
    snprintf(path, sizeof(path), "%s/big", dir);
    floor_big_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (floor_big_fd < 0 || posix_fallocate(floor_big_fd, 0, FILE_SIZE))
        die("big file", -errno);
    for (i = 0; i < FILE_SIZE >> 20; i++) {
        if (pwrite(floor_big_fd, zero, sizeof(zero), (off_t)i << 20) < 0)
            die("big file", -errno);
    }
    fsync(floor_big_fd);
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

/* The processor time of the process at the other end. */
static clockid_t
clock_of_peer(int sock)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    clockid_t id;

    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || clock_getcpuclockid(cred.pid, &id) != 0)
        die("the back-end's process", -ESRCH);
    return id;
}

static void
open_side(unsigned side, const struct vu_options *o)
{
    struct side *s = &sides[side];
    unsigned i;
    int r = vu_fs_open(&s->f, o, 0);

    if (r < 0)
        die("back-end", r);
    if (!s->f.vu->pid)
        cpu_clock[side] = clock_of_peer(s->f.vu->sock);
    else if (clock_getcpuclockid(s->f.vu->pid, &cpu_clock[side]) != 0)
        die("the back-end's process", -ESRCH);
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
        /* A guest's data are whole pages. */
        s->req[i]->arg += 4096 - sizeof(struct fuse_write_in);
        s->req[i]->arg_cap -= 4096 - sizeof(struct fuse_write_in);
    }
    for (i = 0; i < N_FORGETS; i++) {
        s->forget[i] = vu_fs_req_new(&s->f, sizeof(struct fuse_forget_in), 0);
        if (!s->forget[i])
            die("memory", -ENOMEM);
    }
}

static bool
wanted(const char *name, char **parts)
{
    char **part;

    for (part = parts; *part; part++) {
        if (strstr(name, *part))
            return true;
    }
    return !*parts;
}

int
main(int argc, char **argv)
{
    struct vu_options o = {.queues = 2, .memory = 192u << 20, .queue_size = 256};
    char shared[4200];
    const char *ours[] = {NULL, shared, "--stat-virt=off", getenv("FS_OURS_OPT"), NULL};
    unsigned i;

    if (argc < 5) {
        fprintf(stderr, "usage: fs-load DIR SECONDS BACKEND PEER-SOCKET [ROW...]\n");
        return 2;
    }
    dir = argv[1];
    if (getenv("FS_TURNS"))
        n_turns = MB_MAX(1u, MB_MIN((unsigned)atoi(getenv("FS_TURNS")), MAX_TURNS));
    turn_seconds = atof(argv[2]) / n_turns;
    ours[0] = argv[3];
    vu_quiet = true;
    make_files();
    snprintf(shared, sizeof(shared), "--shared-dir=%s", dir);
    o.argv = ours;
    open_side(OFF, &o);
    floor_buf[0] = sides[OFF].req[0]->reply;
    floor_buf[1] = sides[OFF].req[1]->reply;
    ours[2] = "--stat-virt=strict";
    open_side(STRICT, &o);
    o.argv = NULL;
    o.socket_path = argv[4];
    open_side(PEER, &o);
    for (i = 0; i < n_rows; i++) {
        if (wanted(rows[i].name, argv + 5))
            run_row(&rows[i]);
    }
    for (i = 0; i < N_SIDES; i++)
        vu_fs_close(&sides[i].f);
    return 0;
}

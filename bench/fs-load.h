/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of bench/fs-load share: fs-load.c the run, fs-load-rows.c the
 * operations through a back-end, fs-load-floors.c the same as plain system
 * calls.
 */
#ifndef FS_LOAD_H
#define FS_LOAD_H

#include <stdbool.h>

#include "vu-fs.h"

#define N_NAMES 1000u
#define N_ENTRIES 10000u
#define FILE_SIZE (256u << 20)
#define MAX_DEPTH 32u
#define N_FORGETS 32u

/* A back-end, and what was looked up and opened there. */
struct side {
    struct vu_fs f;
    uint64_t names, many, work;     /* nodes of the directories */
    uint64_t node[N_NAMES];
    uint64_t big, big_fh;
    struct vu_fs_req *req[MAX_DEPTH];
    struct vu_fs_req *forget[N_FORGETS];
    unsigned n_forgets;
};

/* One unit of an operation; returns how much work that was. */
typedef double (*row_fn)(struct side *s);
typedef double (*floor_fn)(void);

struct row {
    const char *name, *unit;
    row_fn run;
    floor_fn floor;             /* NULL: there is none */
    bool strict;                /* also with stat virtualization */
};

/* fs-load-rows.c */
extern const struct row rows[];
extern const unsigned n_rows;

/* fs-load-floors.c */
extern int floor_names_fd, floor_many_fd, floor_big_fd;
extern char *floor_buf[2];      /* 1 MiB each: the guest memory that the rows use */
double floor_stat(void);
double floor_missing(void);
double floor_open(void);
double floor_create(void);
double floor_readdir(void);
double floor_read_4k(void);
double floor_write_4k(void);
double floor_read_1m(void);
double floor_write_1m(void);
void floor_tell(void);          /* wake a thread that sleeps on an eventfd, as a driver does */

/* fs-load.c */
void die(const char *what, int r) __attribute__((noreturn));
uint32_t rnd(void);
const char *name_of(unsigned i);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random file system operations, each done in two directories: the one under
 * test (0) and a plain one that is the judge (1).  The plan of an operation is
 * drawn once and carried out twice; results, and all that can be seen
 * afterwards, must be the same.
 *
 *   px-random   the run          px-name     operations on names
 *   px-tree     comparing all    px-file     operations on open files
 */
#ifndef PX_H
#define PX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mb-macros.h"

#define PX_FILES 8u /* files held open */
#define PX_DATA 65536u
#define PX_MAX_SIZE (256u << 10)

/* What the side under test cannot have, by its design. */
struct px_limits {
    bool link_owner;  /* symbolic links have owners of their own */
    bool shared_mmap; /* files can be mapped and written through the mapping */
    bool acls;        /* files have POSIX ACLs */
};

/* An operation's parameters, the same for both sides. */
struct px_plan {
    char path[600], path2[600]; /* relative to the side's directory */
    unsigned file, file2;       /* open files */
    uint32_t uid, gid, mode, umask, pick, pick2;
    uint64_t off, off2;
    uint32_t len;
};

struct px_side {
    int dir; /* descriptor of the directory; it is also the working directory while an
              * operation runs */
    int fd[PX_FILES];
    size_t n_out; /* what the operation saw, to be compared */
    uint8_t out[PX_DATA + 4096];
};

struct px_op {
    const char *name;
    unsigned weight;
    long (*run)(struct px_side *s, const struct px_plan *p); /* >= 0, or -errno */
};

extern struct px_limits px_limits;

uint32_t px_rnd(uint32_t n);
long px_result(long r); /* -errno for -1 */
void px_saw(struct px_side *s, const void *data, size_t len);
void px_saw_stat(struct px_side *s, const char *path, int fd);

extern const struct px_op px_name_ops[], px_file_ops[]; /* the last one has no name */

/* A name that is the same in both directories, from a small choice, so that operations meet. */
bool px_is_device(const struct px_plan *p);
void px_pick_path(char *path, size_t size);

/* Compare the trees; the number of differences, each told on standard output. */
unsigned px_compare_trees(int a, int b, const char *path);

#endif

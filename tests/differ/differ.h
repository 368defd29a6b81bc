/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The same requests to two back-ends, msb-vhost-fs and QEMU's virtiofsd, each on
 * a directory of its own.  A case is a function that is run for each side; it
 * records what it sees, step by step.  What differs must be a difference that is
 * expected (differ-expected.c) and explained (docs/virtiofsd.md).
 *
 *   differ          the run, comparing       differ-names    names and links
 *   differ-files    open files, locks        differ-attrs    attributes, owners
 *   differ-random   operations drawn by lot  differ-expected
 */
#ifndef DIFFER_H
#define DIFFER_H

#include "fs-test.h"

#define DF_MAX_STEPS 400u
#define DF_STEP_MAX 64u
#define DF_SEEN_MAX 320u

enum df_mode { DF_OFF = 1, DF_STRICT = 2, DF_RELAXED = 4, DF_ALL = 7 };

struct df_side {
    struct ft *t;
    bool ours;
    enum df_mode mode;          /* of our back-end */
    char host[4096];            /* the shared directory */
    uint64_t dir;               /* the case's own directory */
    unsigned n;
    struct df_step {
        char step[DF_STEP_MAX], seen[DF_SEEN_MAX];
    } *steps;
};

struct df_case {
    const char *name;
    void (*run)(struct df_side *s);
};
extern const struct df_case df_names[], df_files[], df_attrs[]; /* the last one has no name */

struct df_expected {
    unsigned modes;             /* enum df_mode */
    const char *step;           /* "case/step", a pattern (fnmatch) */
    const char *ours, *theirs;  /* what is seen, patterns */
    const char *why;            /* the row of docs/virtiofsd.md */
};
extern const struct df_expected df_expected[]; /* the last one has no step */

/* Record what was seen at a step of the case. */
void df_saw(struct df_side *s, const char *step, const char *fmt, ...) MB_PRINTF(3, 4);
/* A result: 0, a number, or the name of an error. */
void df_result(struct df_side *s, const char *step, int r);
/* The same with attributes (if r is 0). */
void df_attr(struct df_side *s, const char *step, int r, const struct fuse_attr *a);
void df_entry(struct df_side *s, const char *step, int r, const struct fuse_entry_out *e);
/* Names and errors of the result r, as df_result() shows them. */
const char *df_errno(int r, char buf[32]);

/* Create with a mode and mask, as the guest's kernel would send it to this back-end. */
void df_umask(struct df_side *s, uint32_t *mode, uint32_t umask);

/* A file of the case's directory with content; its node. */
uint64_t df_file(struct df_side *s, const char *name, const char *content, uint32_t mode);

/* True if both sides saw the same at a step, or what was to be expected; otherwise it is told. */
bool df_agree(const char *name, const struct df_side *ours, const struct df_step *a, const struct df_step *b);

/* So many operations by lot, results and attributes compared after each; 0 when all agree but for
 * what is expected.  Tells of the first that differ. */
unsigned df_random(struct df_side sides[2], uint64_t operations, uint64_t seed);

#endif

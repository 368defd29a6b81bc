/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Confinement of a daemon in named stages.  A program opens what it needs,
 * describes what it may still do, and calls mb_confine() once, before it
 * starts threads.  Stages in the order they are taken:
 *
 *   fds               descriptors that nobody listed are closed, the listed
 *                     ones are made close-on-exec
 *   no_new_privs      exec() gains nothing any more
 *   bounding          capability bounding set reduced to the kept capabilities
 *   capabilities      effective and permitted sets likewise, the rest empty
 *   landlock          no path reachable but those below the listed ones
 *   seccomp           no system call but the listed ones
 *
 * A stage that the kernel or the caller's rights do not allow is skipped, and
 * its reason recorded: nothing aborts.  Whether that is good enough is the
 * program's decision, from the report.
 *
 * This is the one part of src/base that needs more than libc; it is in a
 * library of its own, libmb-confine.la.
 */
#ifndef MB_CONFINE_H
#define MB_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mb-macros.h"

enum mb_confine_stage {
    MB_CONFINE_FDS = 0,
    MB_CONFINE_NO_NEW_PRIVS,
    MB_CONFINE_BOUNDING,
    MB_CONFINE_CAPABILITIES,
    MB_CONFINE_LANDLOCK,
    MB_CONFINE_SECCOMP,
    MB_CONFINE_N_STAGES,
};

/* What may be done below a path (Landlock); for a path that is a file, the
 * rights that only directories have are left out by themselves. */
enum mb_confine_access {
    MB_CONFINE_READ = 1,        /* open files for reading, list directories */
    MB_CONFINE_WRITE = 2,       /* open files for writing, truncate */
    MB_CONFINE_CHANGE = 4,      /* create, link, rename, remove regular files, directories, symlinks */
    MB_CONFINE_MAKE_SPECIAL = 8, /* create sockets, FIFOs and device nodes */
    MB_CONFINE_EXECUTE = 16,
    MB_CONFINE_READ_WRITE = MB_CONFINE_READ | MB_CONFINE_WRITE | MB_CONFINE_CHANGE | MB_CONFINE_MAKE_SPECIAL,
};

struct mb_confine_path {
    int fd;                     /* any descriptor of it, O_PATH will do; borrowed */
    unsigned access;            /* enum mb_confine_access */
};

/* All arrays are borrowed for the call. */
struct mb_confine_policy {
    unsigned stages;            /* bit mask of 1 << enum mb_confine_stage; MB_CONFINE_ALL */
    const int *capabilities;    /* CAP_* to keep, as far as the process has them */
    unsigned n_capabilities;
    const int *fds;             /* descriptors to keep beside 0, 1 and 2; negative ones are skipped */
    unsigned n_fds;
    const struct mb_confine_path *paths;
    unsigned n_paths;
    const int *syscalls;        /* numbers (SYS_*, or SCMP_SYS(); negative ones are skipped) */
    unsigned n_syscalls;
    const int *more_syscalls;   /* a second list, such as vh_syscalls */
    unsigned n_more_syscalls;
    bool seccomp_errno;         /* an unlisted call fails with EPERM instead of killing the process */
};
#define MB_CONFINE_ALL ((1u << MB_CONFINE_N_STAGES) - 1)

enum mb_confine_state {
    MB_CONFINE_OFF = 0,         /* not asked for */
    MB_CONFINE_APPLIED,
    MB_CONFINE_PARTIAL,         /* applied, but for what error tells */
    MB_CONFINE_REFUSED,         /* not applied, error tells why */
};

struct mb_confine_report {
    struct {
        enum mb_confine_state state;
        int error;              /* errno of what was refused, 0 if none */
    } stage[MB_CONFINE_N_STAGES];
    uint64_t capabilities;      /* bit mask of those kept */
    unsigned fds_closed;
    int landlock_abi;           /* 0: none */
    unsigned landlock_paths;
    unsigned syscalls;          /* system calls allowed */
    bool seccomp_errno;
};

/* Take the stages of the policy and fill the report.  Returns 0 when every stage
 * asked for was applied wholly, 1 when some was not. */
int mb_confine(const struct mb_confine_policy *policy, struct mb_confine_report *report);

/* The report as one line of JSON without newline in buf; -ENOSPC when it does not fit
 * (MB_CONFINE_JSON_MAX always does). */
int mb_confine_to_json(const struct mb_confine_report *report, char *buf, size_t size) MB_MUST_CHECK;
#define MB_CONFINE_JSON_MAX 1024

const char *mb_confine_stage_name(enum mb_confine_stage stage);

#endif

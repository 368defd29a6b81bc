/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory: the regions that the front-end shares, mapped, and the
 * translation of guest addresses (in descriptors) and of the front-end's user
 * addresses (of the rings) to pointers.
 *
 * The table is changed on the protocol thread while every queue is stopped, so
 * queues read it without locks.  A front-end that truncates the file behind a
 * region makes an access raise SIGBUS; see vh_mem_catch_sigbus().
 */
#ifndef VH_MEM_H
#define VH_MEM_H

#include <stdint.h>

#include "mb-macros.h"
#include "vh-msg.h"

#define VH_MEM_MAX_REGIONS 64

struct vh_region {
    uint64_t gpa;               /* guest address of its first byte */
    uint64_t size;
    uint64_t user;              /* address of that byte in the front-end */
    char *host;                 /* and here */
    void *map;                  /* the mapping, which may begin earlier */
    size_t map_size;
};

/* Zero-initialise; sorted by gpa, never overlapping. */
struct vh_mem {
    unsigned n;
    struct vh_region region[VH_MEM_MAX_REGIONS];
};

/* Map a region of the file fd (borrowed).  0, -EINVAL (empty, wraps, or past the end of the
 * file), -EEXIST (overlaps another), -ENOSPC (table full), or what mmap says. */
int vh_mem_add(struct vh_mem *mem, const struct vh_mem_region_msg *m, int fd) MB_MUST_CHECK;

/* Unmap the region with that guest address, user address and size: 0 or -ENOENT. */
int vh_mem_remove(struct vh_mem *mem, const struct vh_mem_region_msg *m) MB_MUST_CHECK;

void vh_mem_clear(struct vh_mem *mem);

/* The region that holds guest address gpa, or NULL. */
const struct vh_region *vh_mem_find(const struct vh_mem *mem, uint64_t gpa);

/* Pointer to len bytes at a user address of the front-end, in one region; or NULL. */
void *vh_mem_user_to_host(const struct vh_mem *mem, uint64_t user, uint64_t len);

/* Copy len bytes at gpa, which may cross adjoining regions: 0, or -EFAULT. */
int vh_mem_read(const struct vh_mem *mem, uint64_t gpa, void *buf, size_t len) MB_MUST_CHECK;

/* From now on SIGBUS ends the process with a message and status 1 instead of a core dump:
 * there is nothing to go on with when the guest's memory is gone. */
void vh_mem_catch_sigbus(void);

#endif

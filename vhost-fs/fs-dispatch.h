/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The opcode table: what each request must look like before its handler runs.
 */
#ifndef FS_DISPATCH_H
#define FS_DISPATCH_H

#include <stddef.h>
#include <stdint.h>

struct fs_req;

enum {
    FS_OP_NO_REPLY = 1,         /* the guest expects none */
    FS_OP_CHANGES = 2,          /* refused with EROFS on a read-only share */
    FS_OP_BLOCKS = 4,           /* always for a thread that may wait */
    FS_OP_DATA = 8,             /* only the fixed part is copied; data follows it */
    FS_OP_FIRST = 16,           /* allowed before INIT */
};

struct fs_op {
    const char *name;           /* NULL: not an opcode */
    int (*run)(struct fs_req *req);
    uint16_t fixed;             /* bytes of the fixed arguments */
    uint32_t max;               /* bytes of all arguments, names included */
    uint16_t reply;             /* room the fixed reply needs */
    uint16_t flags;
};

/* The table's entry, or NULL for an opcode that is unknown. */
const struct fs_op *fs_op_find(uint32_t opcode);

#endif

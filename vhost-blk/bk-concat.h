/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The concatenation device: any number of read-only files as the partitions of
 * one disk, behind a partition table that exists only in memory.
 */
#ifndef BK_CONCAT_H
#define BK_CONCAT_H

#include "bk-gpt.h"
#include "bk-image.h"

struct bk_concat_file {
    const char *path;
    const char *name;   /* partition name, printable ASCII; NULL: the last component of path */
};

/*
 * Partition i+1 is file i, padded with zeros to a multiple of 4 KiB.  The
 * partition table is a function of disk_id, names and sizes; without disk_id
 * (NULL) that is made from names and sizes.  0 or -errno with err.
 */
int bk_concat_open(const struct bk_concat_file *files, unsigned n, const struct bk_uuid *disk_id,
                   struct bk_image **image, struct bk_err *err) MB_MUST_CHECK;

#endif

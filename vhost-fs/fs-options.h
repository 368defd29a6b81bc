/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line of msb-vhost-fs.
 */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <limits.h>

#include "fs-core.h"
#include "vh-main.h"

struct fs_options {
    struct vh_main_options common;
    struct fs_config config;
    const char *tag;
    char mount_point[PATH_MAX]; /* serve over /dev/fuse there, not over a socket; absolute, or empty */
    uint32_t threads;           /* for requests that block; 0: none */
    uint32_t poll_us;
    bool have_uid, have_gid;
    bool print_confinement;
};

/* As vh_main_parse(). */
int fs_options_parse(int argc, char **argv, struct fs_options *opts);

#endif

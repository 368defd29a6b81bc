/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line of msb-vhost-blk beyond what all back-ends share.
 */
#ifndef BK_OPTIONS_H
#define BK_OPTIONS_H

#include <stdbool.h>

#include "bk-concat.h"
#include "bk-dev.h"
#include "vh-main.h"

enum bk_format { BK_FORMAT_RAW, BK_FORMAT_QCOW, BK_FORMAT_QCOW2, BK_FORMAT_VMDK };

struct bk_options {
    enum bk_format format;            /* of blk_file */
    const char *secret_file;          /* has the passphrase of an encrypted image */
    const char *blk_file;             /* borrowed from argv, as all strings here */
    bool concat;
    struct bk_concat_file *files;     /* of a concatenation; names are cut out of argv */
    unsigned n_files;
    bool has_disk_id;
    struct bk_uuid disk_id;
    bool read_only;
    int journal_fd;                   /* -1: none */
    bool print_confinement;
    const char *grow;                 /* make the disk so large and leave; NULL: serve it */
    struct bk_dev_settings dev;
    struct vh_main_options common;
};

/* Fill opts (released with bk_options_clear() in any case). As vh_main_parse(): 0 to go on, 1 when
 * the program is done, -1 after a message about a usage error. */
int bk_options_parse(int argc, char **argv, struct bk_options *opts) MB_MUST_CHECK;
void bk_options_clear(struct bk_options *opts);

/* Open the image that the options ask for. 0 or -errno with err. */
int bk_options_open_image(const struct bk_options *opts, struct bk_image **image, struct bk_err *err) MB_MUST_CHECK;

#endif

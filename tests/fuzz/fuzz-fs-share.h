/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The share that fuzz-fs.c serves, in a temporary directory with a file beside it
 * that nobody may read or change.
 */
#ifndef FUZZ_FS_SHARE_H
#define FUZZ_FS_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuzz_fs_paths {
    char top[64], share[80], accounts[80], secret[80];
    char file[96];              /* in the share, for one of a single file */
};
extern struct fuzz_fs_paths fuzz_fs_paths;

/* Once: the temporary directory and the secret. */
void fuzz_fs_set_up(void);

/* For each input: an empty share, and a directory for accounts of quotas. */
void fuzz_fs_make_share(bool accounts);

/* Both go; abort if anything outside of them was changed. */
void fuzz_fs_remove_share(void);

/* Abort if what the guest was told contains the secret. */
void fuzz_fs_no_secret(const uint8_t *data, size_t len);

void fuzz_fs_put_file(const char *path, const void *data, size_t n);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a user of the host does in a share while fuzz-fs.c sends requests: files, links
 * that lead out of it, identities of any form, ACLs, names that change hands.
 */
#ifndef FUZZ_FS_HOST_H
#define FUZZ_FS_HOST_H

#include <stddef.h>
#include <stdint.h>

/* kind % 16 says what; the body is a path of one or two names, NUL, and what belongs to it: a value, another path. */
void fuzz_fs_host(const char *share, const char *secret, unsigned kind, const uint8_t *body, size_t len);

/* Abort if a file of the share has an ACL, which nobody on the host has set: the guest did. */
void fuzz_fs_no_acls(const char *share);

#endif

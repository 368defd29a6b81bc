/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Name-based UUIDs (RFC 4122, version 5): the same name in the same namespace
 * gives the same UUID on every machine, which is what makes a synthesized
 * partition table reproducible.
 */
#ifndef BK_UUID_H
#define BK_UUID_H

#include <stddef.h>
#include <stdint.h>

#include "mb-macros.h"

#define BK_UUID_STR_LEN 36

/* 16 bytes in RFC 4122 (big-endian) order. */
struct bk_uuid {
    uint8_t b[16];
};

/* SHA-1 (FIPS 180-4), used for naming only, never for security. */
struct bk_sha1 {
    uint32_t h[5];
    uint64_t len;      /* bytes seen */
    uint8_t block[64]; /* the last len % 64 of them */
};

void bk_sha1_init(struct bk_sha1 *ctx);
void bk_sha1_add(struct bk_sha1 *ctx, const void *data, size_t len);
void bk_sha1_end(struct bk_sha1 *ctx, uint8_t digest[20]);

/* Version 5 UUID of the len bytes at name in the namespace ns. */
struct bk_uuid bk_uuid_v5(const struct bk_uuid *ns, const void *name, size_t len);

/* Parse the 36 character form, upper or lower case. 0 or -EINVAL. */
int bk_uuid_parse(const char *text, struct bk_uuid *uuid) MB_MUST_CHECK;

/* Lower-case text form; out has room for BK_UUID_STR_LEN + 1. */
void bk_uuid_format(const struct bk_uuid *uuid, char *out);

/* The mixed-endian form of a GUID partition table (UEFI 2.9, appendix A). */
void bk_uuid_to_guid(const struct bk_uuid *uuid, uint8_t guid[16]);

#endif

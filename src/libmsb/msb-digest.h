/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SHA-256 digests as OCI writes them: "sha256:" and 64 lower-case hexadecimal
 * digits.  Streaming, by libgcrypt: its hardware paths hash 4 to 5 times as
 * fast as GChecksum, which would otherwise be the slowest stage of a pull.
 * Internal to libmsb.
 */
#ifndef MSB_DIGEST_H
#define MSB_DIGEST_H

#include <glib.h>

G_BEGIN_DECLS

#define MSB_DIGEST_HEX_LENGTH 64
#define MSB_DIGEST_LENGTH (7 + MSB_DIGEST_HEX_LENGTH) /* of "sha256:<hex>", without the NUL */

typedef struct _MsbDigest MsbDigest;

/* A running SHA-256. One thread at a time. */
MsbDigest *msb_digest_new(void);
void msb_digest_free(MsbDigest *digest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbDigest, msb_digest_free)

void msb_digest_update(MsbDigest *digest, const void *bytes, gsize n);
guint64 msb_digest_get_length(const MsbDigest *digest);  /* bytes hashed so far */
/* The result, "sha256:..." (transfer full); no update after it. */
char *msb_digest_finish(MsbDigest *digest);

/* Of a piece of memory (transfer full). */
char *msb_digest_of_bytes(const void *bytes, gsize n);

/* TRUE if text is a well-formed sha256 digest: nothing else may become a file name. */
gboolean msb_digest_is_valid(const char *text);
/* The hexadecimal part of a valid digest (points into it). */
const char *msb_digest_hex(const char *digest);

/* TRUE if equal; otherwise CORRUPT: "<what>: expected digest ..., got ...". */
gboolean msb_digest_check(const char *what, const char *expected, const char *got, GError **error);

G_END_DECLS

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SHA-256 over libgcrypt.  The library is initialised once, without secure
 * memory (nothing secret is hashed); a program that initialised it earlier
 * keeps its own settings.
 */
#include <config.h>

#include <gcrypt.h>
#include <string.h>

#include "msb-digest.h"
#include "msb-error.h"

#define PREFIX "sha256:"

struct _MsbDigest {
    gcry_md_hd_t md;
    guint64 length;
};

static void
init_gcrypt(void)
{
    static gsize done;

    if (!g_once_init_enter(&done))
        return;
    if (!gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P)) {
        if (!gcry_check_version("1.9.0"))
            g_error("libgcrypt is older than the one this was built with");
        gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
        gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    }
    g_once_init_leave(&done, 1);
}

MsbDigest *
msb_digest_new(void)
{
    MsbDigest *digest = g_new0(MsbDigest, 1);

    init_gcrypt();
    if (gcry_md_open(&digest->md, GCRY_MD_SHA256, 0))
        g_error("libgcrypt has no SHA-256");
    return digest;
}

void
msb_digest_free(MsbDigest *digest)
{
    if (!digest)
        return;
    gcry_md_close(digest->md);
    g_free(digest);
}

void
msb_digest_update(MsbDigest *digest, const void *bytes, gsize n)
{
    gcry_md_write(digest->md, bytes, n);
    digest->length += n;
}

guint64
msb_digest_get_length(const MsbDigest *digest)
{
    return digest->length;
}

static char *
format_digest(const guint8 *raw)
{
    static const char digits[] = "0123456789abcdef";
    char *text = g_malloc(MSB_DIGEST_LENGTH + 1);
    char *p = g_stpcpy(text, PREFIX);

    for (guint i = 0; i < MSB_DIGEST_HEX_LENGTH / 2; i++) {
        *p++ = digits[raw[i] >> 4];
        *p++ = digits[raw[i] & 15];
    }
    *p = '\0';
    return text;
}

char *
msb_digest_finish(MsbDigest *digest)
{
    return format_digest(gcry_md_read(digest->md, GCRY_MD_SHA256));
}

char *
msb_digest_of_bytes(const void *bytes, gsize n)
{
    guint8 raw[MSB_DIGEST_HEX_LENGTH / 2];

    init_gcrypt();
    gcry_md_hash_buffer(GCRY_MD_SHA256, raw, bytes, n);
    return format_digest(raw);
}

gboolean
msb_digest_is_valid(const char *text)
{
    if (!text || !g_str_has_prefix(text, PREFIX) || strlen(text) != MSB_DIGEST_LENGTH)
        return FALSE;
    return strspn(text + strlen(PREFIX), "0123456789abcdef") == MSB_DIGEST_HEX_LENGTH;
}

const char *
msb_digest_hex(const char *digest)
{
    return digest + strlen(PREFIX);
}

gboolean
msb_digest_check(const char *what, const char *expected, const char *got, GError **error)
{
    if (strcmp(expected, got) == 0)
        return TRUE;
    g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "%s: expected digest %s, got %s", what, expected, got);
    return FALSE;
}

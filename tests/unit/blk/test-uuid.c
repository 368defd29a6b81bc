/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vhost-blk/bk-uuid.c: SHA-1 and UUIDs against published and independently made values. */
#include <config.h>

#include "bk-uuid.h"
#include "tap.h"

static void
hex(const uint8_t *p, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

static void
check_sha1(const char *data, size_t len, const char *want)
{
    struct bk_sha1 ctx;
    uint8_t digest[20];
    char text[41];

    bk_sha1_init(&ctx);
    bk_sha1_add(&ctx, data, len);
    bk_sha1_end(&ctx, digest);
    hex(digest, 20, text);
    eq_str(text, want, "SHA-1 in one piece");

    bk_sha1_init(&ctx);
    for (size_t i = 0; i < len; i++)
        bk_sha1_add(&ctx, data + i, 1);
    bk_sha1_end(&ctx, digest);
    hex(digest, 20, text);
    eq_str(text, want, "SHA-1 byte by byte");
}

static void
check_v5(const char *name, size_t len, const char *want)
{
    struct bk_uuid dns, u;
    char text[BK_UUID_STR_LEN + 1];

    eq_int(bk_uuid_parse("6BA7B810-9dad-11d1-80b4-00c04fd430c8", &dns), 0, "parse in mixed case");
    u = bk_uuid_v5(&dns, name, len);
    bk_uuid_format(&u, text);
    eq_str(text, want, "version 5");
}

static void
test_parse(void)
{
    static const char *const bad[] = {
        "", "6ba7b810", "6ba7b8109dad11d180b400c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8 ", "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
        "6ba7b810-9dad-11d1-80b4 00c04fd430c8", "6ba7b81-09dad-11d1-80b4-00c04fd430c8",
    };
    struct bk_uuid u;
    uint8_t guid[16];
    char text[33];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ok(bk_uuid_parse(bad[i], &u) < 0, "\"%s\" is no UUID", bad[i]);
    eq_int(bk_uuid_parse("00112233-4455-6677-8899-aabbccddeeff", &u), 0, "parse");
    bk_uuid_to_guid(&u, guid);
    hex(guid, 16, text);
    eq_str(text, "33221100554477668899aabbccddeeff", "GUID byte order");
}

int
main(void)
{
    char xs[300];

    check_sha1("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check_sha1("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    check_sha1("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
               "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    memset(xs, 'x', sizeof(xs));
    check_v5("www.example.com", 15, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    check_v5(xs, sizeof(xs), "8563d838-2cd7-5fbc-9b5c-88a26c27da93");
    check_v5("", 0, "4ebd0208-8328-5d69-8c44-ec50939c0967");
    test_parse();
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256 digests: known answers, streaming, form, mismatch message. */
#include <config.h>

#include <string.h>

#include "msb-digest.h"
#include "msb-error.h"

/* FIPS 180-4 examples. */
#define EMPTY "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define MILLION_A "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void
test_known(void)
{
    g_autofree char *empty = msb_digest_of_bytes("", 0);
    g_autofree char *abc = msb_digest_of_bytes("abc", 3);

    g_assert_cmpstr(empty, ==, EMPTY);
    g_assert_cmpstr(abc, ==, ABC);
    g_assert_cmpstr(msb_digest_hex(ABC), ==, &ABC[7]);
}

static void
test_streaming(void)
{
    g_autoptr(MsbDigest) digest = msb_digest_new();
    g_autofree char *got = NULL;
    char piece[997];
    gsize done = 0;

    memset(piece, 'a', sizeof piece);
    while (done < 1000000) {
        gsize n = MIN(sizeof piece, 1000000 - done);

        msb_digest_update(digest, piece, n);
        done += n;
    }
    g_assert_cmpuint(msb_digest_get_length(digest), ==, 1000000);
    got = msb_digest_finish(digest);
    g_assert_cmpstr(got, ==, MILLION_A);
}

static void
test_form(void)
{
    g_autofree char *upper = g_ascii_strup(ABC, -1);
    g_autofree char *longer = g_strconcat(ABC, "0", NULL);

    g_assert_true(msb_digest_is_valid(ABC));
    g_assert_false(msb_digest_is_valid(NULL));
    g_assert_false(msb_digest_is_valid(""));
    g_assert_false(msb_digest_is_valid(&ABC[7]));
    g_assert_false(msb_digest_is_valid(upper));
    g_assert_false(msb_digest_is_valid(longer));
    g_assert_false(
        msb_digest_is_valid("sha256:../../../../../../../../../../../../../../../../../../../../etc/pass"));
    g_assert_false(
        msb_digest_is_valid("sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

static void
test_mismatch(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_digest_check("layer 1", ABC, ABC, &error));
    g_assert_no_error(error);
    g_assert_false(msb_digest_check("layer 1", ABC, EMPTY, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_CORRUPT);
    g_assert_cmpstr(error->message, ==, "layer 1: expected digest " ABC ", got " EMPTY);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/digest/known", test_known);
    g_test_add_func("/digest/streaming", test_streaming);
    g_test_add_func("/digest/form", test_form);
    g_test_add_func("/digest/mismatch", test_mismatch);
    return g_test_run();
}

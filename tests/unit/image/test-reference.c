/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Image references: their full forms, and what is none. */
#include <config.h>

#include <string.h>

#include "../libmsb/test-util.h"
#include "msb-image.h"
#include "msb-reference.h"

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static const char *const good[][2] = {
    {"alpine", "docker.io/library/alpine:latest"},
    {"alpine:3.18", "docker.io/library/alpine:3.18"},
    {"user/app", "docker.io/user/app:latest"},
    {"docker.io/alpine", "docker.io/library/alpine:latest"},
    {"index.docker.io/user/app:1", "docker.io/user/app:1"},
    {"localhost/app", "localhost/app:latest"},
    {"localhost:5000/app:v1", "localhost:5000/app:v1"},
    {"quay.io/a/b/c:T_ag.1-x", "quay.io/a/b/c:T_ag.1-x"},
    {"alpine@sha256:" HEX, "docker.io/library/alpine@sha256:" HEX},
    {"alpine:3@sha256:" HEX, "docker.io/library/alpine:3@sha256:" HEX},
    {"Registry/app", "Registry/app:latest"},
    {"[::1]:5000/app", "[::1]:5000/app:latest"},
    {"a__b/c-d.e---f", "docker.io/a__b/c-d.e---f:latest"},
    {"127.0.0.1:65535/x", "127.0.0.1:65535/x:latest"},
};

static const char *const bad[] = {
    "",
    ":",
    "@",
    "/",
    "alpine:",
    ":tag",
    "Alpine",
    "a/B",
    "a//b",
    "/a",
    "a/",
    "a:b:c",
    "-a",
    "a-",
    "a..b",
    "a___b",
    "a_.b",
    "alpine:-x",
    "alpine:.x",
    "alpine: x",
    "alpine@sha256:abc",
    "alpine@md5:" HEX,
    "alpine@sha256:" HEX "0",
    "host:port/app",
    "host:/app",
    "host:123456/app",
    "a b",
    "a\nb",
    "\xff",
    "../x",
    "a/../b",
    ".hidden/x",
    "-h.x/y",
    "h..x/y",
    "[::1/app",
    "sha256:" HEX "@x",
};

static void
test_good(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *full = msb_reference_normalize(good[i][0], &error);
        g_autofree char *again = NULL;

        g_assert_no_error(error);
        g_assert_cmpstr(full, ==, good[i][1]);
        again = msb_reference_normalize(full, &error);
        g_assert_cmpstr(again, ==, full);
    }
}

static void
test_bad(void)
{
    g_autofree char *long_tag = g_strnfill(129, 't');
    g_autofree char *long_name = g_strnfill(256, 'n');
    g_autofree char *with_tag = g_strconcat("a:", long_tag, NULL);
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *full = msb_reference_normalize(bad[i], &error);

        if (full)
            g_test_message("'%s' became '%s'", bad[i], full);
        g_assert_null(full);
        assert_failed_with(error, MSB_ERROR_INVALID, "image reference '");
    }
    g_assert_null(msb_reference_normalize(with_tag, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "tag");
    g_assert_null(msb_reference_normalize(long_name, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "255");
}

static void
test_parts(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbReference) reference = msb_reference_parse("localhost:5000/a/b:v1@sha256:" HEX, &error);
    g_autofree char *name = NULL;

    g_assert_no_error(error);
    g_assert_cmpstr(reference->registry, ==, "localhost:5000");
    g_assert_cmpstr(reference->repository, ==, "a/b");
    g_assert_cmpstr(reference->tag, ==, "v1");
    g_assert_cmpstr(reference->digest, ==, "sha256:" HEX);
    name = msb_reference_dup_name(reference);
    g_assert_cmpstr(name, ==, "localhost:5000/a/b:v1");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/reference/good", test_good);
    g_test_add_func("/reference/bad", test_bad);
    g_test_add_func("/reference/parts", test_parts);
    return g_test_run();
}

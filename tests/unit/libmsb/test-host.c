/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What back-ends say of their confinement, in words. */
#include <config.h>

#include "msb-error.h"
#include "msb-host-private.h"

#define ALL \
    "\"fds\": {\"state\": \"applied\"}, \"no_new_privs\": {\"state\": \"applied\"}, \"bounding\": {\"state\": " \
    "\"applied\"}, \"capabilities\": {\"state\": \"applied\"}, \"seccomp\": {\"state\": \"applied\"}"

static void
test_describe(void)
{
    g_autoptr(GError) error = NULL;
    gboolean complete = FALSE;
    g_autofree char *all = msb_host_describe_confinement("{" ALL ", \"landlock\": {\"state\": \"applied\"}}", &complete,
                                                         &error);

    g_assert_no_error(error);
    g_assert_true(complete);
    g_assert_cmpstr(all, ==, "fds, no_new_privs, bounding, capabilities, landlock, seccomp");
    g_free(all);
    all = msb_host_describe_confinement("{" ALL ", \"landlock\": {\"state\": \"refused\", \"error\": 95}}", &complete,
                                        &error);
    g_assert_false(complete);
    g_assert_cmpstr(all, ==, "fds, no_new_privs, bounding, capabilities, seccomp; not wholly: landlock");
    g_free(all);
    /* As for everybody but root. */
    all = msb_host_describe_confinement("{\"fds\": {\"state\": \"applied\"}, \"no_new_privs\": {\"state\": \"applied\"}, "
                                        "\"bounding\": {\"state\": \"refused\", \"error\": 1}, \"capabilities\": "
                                        "{\"state\": \"applied\"}, \"landlock\": {\"state\": \"applied\"}, "
                                        "\"seccomp\": {\"state\": \"applied\"}}", &complete, &error);
    g_assert_true(complete);
    g_assert_cmpstr(all, ==, "fds, no_new_privs, capabilities, landlock, seccomp");
    g_free(all);
    all = msb_host_describe_confinement("{\"seccomp\": 3, \"fds\": {\"state\": [1]}}", &complete, &error);
    g_assert_false(complete);
    g_assert_cmpstr(all, ==, "nothing; not wholly: fds, no_new_privs, bounding, capabilities, landlock, seccomp");
    g_free(all);
    all = msb_host_describe_confinement("what", &complete, &error);
    g_assert_null(all);
    g_assert_error(error, MSB_ERROR, MSB_ERROR_CORRUPT);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host/describe-confinement", test_describe);
    return g_test_run();
}

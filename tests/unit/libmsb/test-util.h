/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of libmsb share: a temporary directory that goes away, and
 * assertions about GErrors.  On g_test, which speaks TAP.
 */
#ifndef TEST_UTIL_H
#define TEST_UTIL_H

#include <glib.h>
#include <string.h>

#include "msb-error.h"
#include "msb-paths.h"

/* The call failed with this code, and its message has needle in it. Clears the error. */
#define assert_failed_with(error, wanted, needle) \
    G_STMT_START { \
        g_assert_error(error, MSB_ERROR, wanted); \
        if (!strstr((error)->message, needle)) { \
            g_test_message("message: %s", (error)->message); \
            g_assert_cmpstr((error)->message, ==, needle); \
        } \
        g_clear_error(&(error)); \
    } G_STMT_END

/* A fresh directory (transfer full); short, because sockets are made below it. */
static inline char *
test_make_dir(void)
{
    g_autoptr(GError) error = NULL;
    char *dir = g_dir_make_tmp("msbt-XXXXXX", &error);

    g_assert_no_error(error);
    return dir;
}

static inline void
test_remove_dir(char *dir)
{
    g_autoptr(GError) error = NULL;

    msb_paths_remove_tree(dir, &error);
    g_assert_no_error(error);
    g_free(dir);
}
typedef char TestDir;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestDir, test_remove_dir)

#endif

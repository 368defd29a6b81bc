/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is told of a guest's console: the last lines, plain, of this run alone. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "sv-console.h"

static char *path;

static guint64
put(const char *text, gsize n)
{
    FILE *f = fopen(path, "a");

    g_assert_nonnull(f);
    g_assert_cmpuint(fwrite(text, 1, n, f), ==, n);
    fclose(f);
    return sv_console_size(path);
}

static void
check_tail(guint64 start, guint lines, const char *want)
{
    g_autofree char *tail = sv_console_tail(path, start, lines);

    g_assert_cmpstr(tail, ==, want);
}

static void
test_tail(void)
{
    g_autofree char *bytes = NULL;
    guint64 first;

    g_unlink(path);
    check_tail(0, 5, NULL);
    first = put("old\r\n", 5);
    check_tail(first, 5, NULL);
    put("one\r\n\r\ntwo\x1b[31m red\x1b[0m\x07\r\nthree", 31);
    check_tail(first, 5, "one\ntwo red\nthree");
    check_tail(first, 2, "two red\nthree");
    check_tail(0, 9, "old\none\ntwo red\nthree");
    put("\xff\xfe\0x\n", 5);
    bytes = sv_console_tail(path, 0, 9);
    g_assert_true(g_utf8_validate(bytes, -1, NULL));
}

static void
test_rotated(void)
{
    g_unlink(path);
    put("after\n", 6);
    check_tail(1000000, 5, "after");
}

static void
test_flood(void)
{
    g_autofree char *block = g_strnfill(1000000, 'x');
    g_autofree char *tail = NULL;

    g_unlink(path);
    put(block, 1000000);
    put("\nend\n", 5);
    tail = sv_console_tail(path, 0, 5);
    g_assert_cmpuint(strlen(tail), <, 400);
    g_assert_true(g_str_has_suffix(tail, "\nend"));
}

/* What the guest writes is cut between characters, and no terminal obeys it. */
static void
test_hostile_text(void)
{
    static const char panic[] = "Kernel panic - ";
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *tail = NULL;
    g_autofree char *found = NULL;

    g_unlink(path);
    for (guint i = 0; i < 400; i++)
        g_string_append(text, "\u20ac");
    g_string_append_printf(text, "\ntitle \xc2\x9d" "0;owned\xc2\x9c csi \xc2\x9b" "2J\n%s", panic);
    for (guint i = 0; i < 400; i++)
        g_string_append(text, "\u00e9");
    put(text->str, text->len);
    tail = sv_console_tail(path, 0, 5);
    g_assert_true(g_utf8_validate(tail, -1, NULL));
    g_assert_null(strstr(tail, "\xc2\x9b"));
    g_assert_null(strstr(tail, "\xc2\x9d"));
    g_assert_nonnull(strstr(tail, "owned"));
    found = sv_console_find_panic(path, 0);
    g_assert_true(g_utf8_validate(found, -1, NULL));
    g_assert_cmpuint(strlen(found), >, sizeof(panic) + 100);
}

static void
test_panic(void)
{
    static const char text[] = "[    1.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0\r\n"
                               "[    1.6] more\r\n";
    g_autofree char *none = NULL;
    g_autofree char *found = NULL;
    g_autofree char *past = NULL;
    guint64 size;

    g_unlink(path);
    put("fine\n", 5);
    none = sv_console_find_panic(path, 0);
    g_assert_null(none);
    size = put(text, sizeof(text) - 1);
    found = sv_console_find_panic(path, 0);
    g_assert_cmpstr(found, ==, "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0");
    /* That of an earlier run is none of this one. */
    past = sv_console_find_panic(path, size);
    g_assert_null(past);
}

int
main(int argc, char **argv)
{
    int r;
    g_autofree char *dir = g_dir_make_tmp("msb-console-XXXXXX", NULL);

    path = g_build_filename(dir, "console.log", NULL);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/console/tail", test_tail);
    g_test_add_func("/console/rotated", test_rotated);
    g_test_add_func("/console/flood", test_flood);
    g_test_add_func("/console/hostile-text", test_hostile_text);
    g_test_add_func("/console/panic", test_panic);
    r = g_test_run();
    g_unlink(path);
    g_rmdir(dir);
    g_free(path);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state directory, and removal of trees that a guest could have made. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test-util.h"

static void
test_home(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "deep", "home", NULL);
    g_autofree char *images = g_build_filename(path, "images", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbHome) home = msb_home_open(path, &error);
    g_autofree char *built = NULL, *sandbox = NULL;
    struct stat st;

    g_assert_no_error(error);
    g_assert_cmpstr(msb_home_get_path(home), ==, path);
    g_assert_cmpint(stat(images, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 0777, ==, 0700);
    built = msb_home_build_path(home, "kernel", "default", NULL);
    g_assert_true(g_str_has_suffix(built, "/deep/home/kernel/default"));
    sandbox = msb_home_sandbox_dir(home, "x");
    g_assert_true(g_str_has_suffix(sandbox, "/sandboxes/x"));
}

static void
test_home_refused(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *file = g_build_filename(dir, "file", NULL);
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(file, "x", 1, NULL));
    g_assert_null(msb_home_open(file, &error));
    assert_failed_with(error, MSB_ERROR_IO, "Not a directory");
    g_assert_cmpint(chmod(dir, 0777), ==, 0);
    g_assert_null(msb_home_open(dir, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "chmod go-w");
    g_assert_cmpint(chmod(dir, 0700), ==, 0);
    if (geteuid() == 0) {
        g_assert_cmpint(chown(dir, 12345, 12345), ==, 0);
        g_assert_null(msb_home_open(dir, &error));
        assert_failed_with(error, MSB_ERROR_INVALID, "belongs to user 12345");
        g_assert_cmpint(chown(dir, 0, 0), ==, 0);
    } else {
        g_assert_null(msb_home_open("/", &error));
        assert_failed_with(error, MSB_ERROR_INVALID, "belongs to user 0");
    }
}

static void
test_run_dir(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autoptr(MsbHome) home = msb_home_open(dir, NULL);
    g_autofree char *longname = g_strnfill(128, 'a'), *other = g_strnfill(127, 'a');
    g_autofree char *a = msb_home_run_dir(home, longname), *b = msb_home_run_dir(home, other);
    g_autofree char *c = msb_home_run_dir(home, "short"), *base = g_path_get_basename(a);

    g_assert_cmpuint(strlen(base), ==, 32);
    g_assert_cmpstr(a, !=, b);
    g_assert_true(g_str_has_suffix(c, "/run/short"));
}

static void
test_programs(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *folder = g_build_filename(dir, "vhost-fs", NULL);
    g_autofree char *program = g_build_filename(folder, "msb-vhost-fs", NULL);
    g_autofree char *found = NULL, *installed = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_paths_make_dir(folder, 0755, NULL));
    g_assert_true(g_file_set_contents_full(program, "", 0, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
    g_setenv("MSB_BUILDDIR", dir, TRUE);
    found = msb_paths_find_program("msb-vhost-fs", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(found, ==, program);
    g_assert_null(msb_paths_find_program("msb-vhost-blk", &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "msb-vhost-blk' of msb: No such file");
    g_assert_null(msb_paths_find_program("../sh", &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "not a program of msb");
    g_unsetenv("MSB_BUILDDIR");
    g_setenv("MSB_LIBEXECDIR", folder, TRUE);
    installed = msb_paths_find_program("msb-vhost-fs", &error);
    g_assert_cmpstr(installed, ==, program);
    g_unsetenv("MSB_LIBEXECDIR");
}

/* ---- removal ----------------------------------------------------------------------- */

static void
make_file(const char *dir, const char *name)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
}

static void
test_remove_plain(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *keep = g_build_filename(dir, "keep", NULL), *tree = g_build_filename(dir, "tree", NULL);
    g_autofree char *sub = g_build_filename(tree, "a", "b", NULL), *kept = g_build_filename(keep, "file", NULL);
    g_autofree char *to_dir = g_build_filename(tree, "link", NULL), *top = g_build_filename(dir, "toplink", NULL);
    g_autofree char *closed = g_build_filename(tree, "a", NULL);
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_paths_make_dir(sub, 0700, NULL) && msb_paths_make_dir(keep, 0700, NULL));
    make_file(keep, "file");
    make_file(sub, "file");
    g_assert_cmpint(symlink(keep, to_dir), ==, 0);
    g_assert_cmpint(symlink(keep, top), ==, 0);
    g_assert_cmpint(chmod(sub, 0), ==, 0);
    g_assert_cmpint(chmod(closed, 0), ==, 0);
    g_assert_true(msb_paths_remove_tree(tree, &error));
    g_assert_no_error(error);
    g_assert_false(g_file_test(tree, G_FILE_TEST_EXISTS));
    g_assert_true(msb_paths_remove_tree(top, &error));
    g_assert_true(g_file_test(kept, G_FILE_TEST_EXISTS));
    g_assert_true(msb_paths_remove_tree(tree, &error));
}

/* Deeper than descriptors and path names reach. */
static void
test_remove_deep(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), i;
    g_autoptr(GError) error = NULL;
    g_autofree char *tree = g_build_filename(dir, "d", NULL);

    for (i = 0; i < 3000; i++) {
        int next;

        g_assert_cmpint(mkdirat(fd, "d", 0700), ==, 0);
        g_assert_cmpint(mkdirat(fd, "e", 0700), ==, 0);
        next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(next, >=, 0);
        close(fd);
        fd = next;
    }
    close(fd);
    g_assert_true(msb_paths_remove_tree(tree, &error));
    g_assert_no_error(error);
    g_assert_false(g_file_test(tree, G_FILE_TEST_EXISTS));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/paths/home", test_home);
    g_test_add_func("/paths/home-refused", test_home_refused);
    g_test_add_func("/paths/run-dir", test_run_dir);
    g_test_add_func("/paths/programs", test_programs);
    g_test_add_func("/paths/remove/plain", test_remove_plain);
    g_test_add_func("/paths/remove/deep", test_remove_deep);
    return g_test_run();
}

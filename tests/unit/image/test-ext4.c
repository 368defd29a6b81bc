/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fresh ext4 disks, judged by e2fsck and debugfs, and sparse copies. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../libmsb/test-util.h"
#include "msb-ext4.h"
#include "msb-process.h"

#define MIB ((guint64)1 << 20)
#define GIB ((guint64)1 << 30)

/* Run a program of the system; its output (transfer full). Fails the test when the program fails. */
static char *
run(const char *program, const char *const *args)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autofree char *path = NULL;
    char *out = NULL;

    path = g_find_program_in_path(program);
    if (!path)
        path = g_strconcat("/usr/sbin/", program, NULL);
    g_ptr_array_add(argv, path);
    for (; *args; args++)
        g_ptr_array_add(argv, (gpointer)*args);
    g_ptr_array_add(argv, NULL);
    msb_process_run((const char *const *)argv->pdata, 60000, &out, &error);
    g_assert_no_error(error);
    return out;
}

static gboolean
have(const char *program)
{
    g_autofree char *found = g_find_program_in_path(program);
    g_autofree char *sbin = g_strconcat("/usr/sbin/", program, NULL);

    return found || g_file_test(sbin, G_FILE_TEST_IS_EXECUTABLE);
}

static void
check_size(gconstpointer data)
{
    guint64 size = *(const guint64 *)data;
    g_autoptr(GError) error = NULL;
    char *dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "disk.raw", NULL);
    const char *const fsck[] = {"-fn", path, NULL};
    const char *const list[] = {"-R", "ls -l /", path, NULL};
    const char *const stats[] = {"-h", path, NULL};
    struct stat st;

    g_assert_true(msb_ext4_create(path, size, "msb-upper", TRUE, &error));
    g_assert_no_error(error);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpuint((guint64)st.st_size, ==, size);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
    g_assert_cmpuint((guint64)st.st_blocks * 512, <, 8 * MIB + size / 65536);
    if (!have("e2fsck")) {
        g_test_skip("e2fsck is not installed");
    } else {
        g_autofree char *verdict = run("e2fsck", fsck);
        g_autofree char *names = run("debugfs", list);
        g_autofree char *super = run("dumpe2fs", stats);

        g_assert_nonnull(strstr(names, " upper\n"));
        g_assert_nonnull(strstr(names, " work\n"));
        g_assert_nonnull(strstr(super, "msb-upper"));
        g_assert_nonnull(strstr(super, "has_journal"));
        g_assert_nonnull(strstr(super, "metadata_csum"));
    }
    test_remove_dir(dir);
}

static void
test_refused(void)
{
    g_autoptr(GError) error = NULL;
    char *dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "disk.raw", NULL);
    g_autofree char *nowhere = g_build_filename(dir, "no", "disk.raw", NULL);

    g_assert_false(msb_ext4_create(path, 4096, "x", FALSE, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "16 MiB");
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_assert_false(msb_ext4_create(nowhere, GIB, "x", FALSE, &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, nowhere);
    g_assert_true(msb_ext4_create(path, 64 * MIB, "x", FALSE, &error));
    g_assert_false(msb_ext4_create(path, 64 * MIB, "x", FALSE, &error));
    assert_failed_with(error, MSB_ERROR_EXISTS, path);
    g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    test_remove_dir(dir);
}

static void
test_sparse_copy(void)
{
    g_autoptr(GError) error = NULL;
    char *dir = test_make_dir();
    g_autofree char *source = g_build_filename(dir, "a", NULL);
    g_autofree char *copy = g_build_filename(dir, "b", NULL);
    int fd = open(source, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char byte = 0;
    struct stat st;

    g_assert_cmpint(ftruncate(fd, (off_t)(2 * GIB + 12345)), ==, 0);
    g_assert_cmpint(pwrite(fd, "begin", 5, 3), ==, 5);
    g_assert_cmpint(pwrite(fd, "middle", 6, (off_t)GIB + 4095), ==, 6);
    close(fd);
    g_assert_true(msb_sparse_copy(source, copy, &error));
    g_assert_no_error(error);
    g_assert_cmpint(stat(copy, &st), ==, 0);
    g_assert_cmpuint((guint64)st.st_size, ==, 2 * GIB + 12345);
    g_assert_cmpuint((guint64)st.st_blocks * 512, <, MIB);
    fd = open(copy, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(fd, &byte, 1, 3), ==, 1);
    g_assert_cmpint(byte, ==, 'b');
    g_assert_cmpint(pread(fd, &byte, 1, (off_t)GIB + 4100), ==, 1);
    g_assert_cmpint(byte, ==, 'e');
    g_assert_cmpint(pread(fd, &byte, 1, (off_t)GIB + 4101), ==, 1);
    g_assert_cmpint(byte, ==, 0);
    close(fd);
    g_assert_false(msb_sparse_copy(source, copy, &error));
    assert_failed_with(error, MSB_ERROR_EXISTS, copy);
    g_assert_false(msb_sparse_copy(dir, copy, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, dir);
    test_remove_dir(dir);
}

int
main(int argc, char **argv)
{
    static const guint64 sizes[] = {16 * MIB, 100 * MIB, 1000 * MIB, 4 * GIB, 100 * GIB, 4096 * GIB};

    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *name = g_strdup_printf("/ext4/size/%" G_GUINT64_FORMAT "MiB", sizes[i] / MIB);

        g_test_add_data_func(name, &sizes[i], check_size);
    }
    g_test_add_func("/ext4/refused", test_refused);
    g_test_add_func("/ext4/sparse-copy", test_sparse_copy);
    return g_test_run();
}

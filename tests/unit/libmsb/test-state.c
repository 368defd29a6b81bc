/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* State files (atomic, bounded, versioned) and locks between real processes. */
#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "msb-state.h"
#include "test-util.h"

static void
test_save_load(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "x.json", NULL);
    g_autoptr(JsonObject) object = json_object_new(), read = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) listing = NULL;
    struct stat st;

    json_object_set_int_member(object, "version", 1);
    json_object_set_string_member(object, "name", "\xc3\xa4\n");
    g_assert_true(msb_state_save(path, object, &error));
    g_assert_true(msb_state_save(path, object, &error));
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
    read = msb_state_load(path, 1, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(json_object_get_string_member(read, "name"), ==, "\xc3\xa4\n");
    /* nothing but the file itself stays */
    listing = g_dir_open(dir, 0, NULL);
    g_assert_cmpstr(g_dir_read_name(listing), ==, "x.json");
    g_assert_null(g_dir_read_name(listing));
}

static void
assert_load_fails(const char *dir, const char *text, MsbError code, const char *needle)
{
    g_autofree char *path = g_build_filename(dir, "bad.json", NULL);
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_null(msb_state_load(path, 1, &error));
    g_assert_nonnull(strstr(error->message, "bad.json"));
    assert_failed_with(error, code, needle);
}

static void
test_load_bad(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *missing = g_build_filename(dir, "none", NULL), *fifo = g_build_filename(dir, "fifo", NULL);
    g_autoptr(GError) error = NULL;

    assert_load_fails(dir, "", MSB_ERROR_CORRUPT, "empty");
    assert_load_fails(dir, "{\"version\":1", MSB_ERROR_CORRUPT, "not JSON");
    assert_load_fails(dir, "[1]", MSB_ERROR_CORRUPT, "JSON object");
    assert_load_fails(dir, "{}", MSB_ERROR_CORRUPT, "no version");
    assert_load_fails(dir, "{\"version\":\"1\"}", MSB_ERROR_CORRUPT, "no version");
    assert_load_fails(dir, "{\"version\":2}", MSB_ERROR_UNSUPPORTED, "newer msb");
    g_assert_null(msb_state_load(missing, 1, &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "none");
    g_assert_null(msb_state_load(dir, 1, &error));
    assert_failed_with(error, MSB_ERROR_CORRUPT, "not a regular file");
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    g_assert_null(msb_state_load(fifo, 1, &error));
    assert_failed_with(error, MSB_ERROR_CORRUPT, "not a regular file");
}

/* ---- locks --------------------------------------------------------------------------- */

/* A process that takes the lock, says so, and holds it until told (or killed). */
static pid_t
start_holder(const char *path, MsbLockMode mode, int *tell)
{
    int said[2], told[2];
    char c;
    pid_t pid;

    g_assert_cmpint(pipe2(said, O_CLOEXEC), ==, 0);
    g_assert_cmpint(pipe2(told, O_CLOEXEC), ==, 0);
    pid = fork();
    if (pid == 0) {
        MsbLock *lock = msb_lock_acquire(path, mode, 0, NULL);

        close(told[1]);
        (void)!write(said[1], lock ? "y" : "n", 1);
        (void)!read(told[0], &c, 1);
        _exit(0);
    }
    close(told[0]);
    g_assert_cmpint(read(said[0], &c, 1), ==, 1);
    g_assert_cmpint(c, ==, 'y');
    close(said[0]);
    close(said[1]);
    *tell = told[1];
    return pid;
}

static void
test_lock_exclusive(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "lock", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbLock) lock = NULL, second = NULL;
    int tell, status;
    pid_t pid;

    g_assert_false(msb_lock_is_held(path));
    pid = start_holder(path, MSB_LOCK_EXCLUSIVE, &tell);
    g_assert_true(msb_lock_is_held(path));
    g_assert_null(msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, 0, &error));
    assert_failed_with(error, MSB_ERROR_IN_USE, "locked by another process");
    g_assert_null(msb_lock_acquire(path, MSB_LOCK_SHARED, 30, &error));
    assert_failed_with(error, MSB_ERROR_TIMEOUT, "30 ms");
    kill(pid, SIGKILL);
    lock = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, 120000, &error);
    g_assert_no_error(error);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    close(tell);
    /* also within one process: a lock belongs to its descriptor */
    second = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, 0, &error);
    g_assert_null(second);
}

static void
test_lock_wait(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "lock", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbLock) lock = NULL;
    int tell, status;
    pid_t pid = start_holder(path, MSB_LOCK_EXCLUSIVE, &tell);

    close(tell);
    lock = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, -1, &error);
    g_assert_no_error(error);
    g_assert_true(msb_lock_is_held(path));
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
}

static void
test_lock_shared(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "lock", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbLock) lock = NULL;
    int tell, status;
    pid_t pid = start_holder(path, MSB_LOCK_SHARED, &tell);

    g_assert_false(msb_lock_is_held(path));
    lock = msb_lock_acquire(path, MSB_LOCK_SHARED, 0, &error);
    g_assert_no_error(error);
    g_clear_pointer(&lock, msb_lock_release);
    g_assert_null(msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, 0, &error));
    assert_failed_with(error, MSB_ERROR_IN_USE, "locked");
    close(tell);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
}

/* A waiter must not end up with a lock on a file that is gone. */
static void
test_lock_replaced(void)
{
    g_autoptr(TestDir) dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "lock", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbLock) old = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, 0, &error), fresh = NULL;
    struct stat at_path, locked;

    g_assert_cmpint(unlink(path), ==, 0);
    fresh = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, 1000, &error);
    g_assert_no_error(error);
    g_assert_cmpint(stat(path, &at_path), ==, 0);
    g_assert_cmpint(fstat(msb_lock_get_fd(fresh), &locked), ==, 0);
    g_assert_cmpuint(at_path.st_ino, ==, locked.st_ino);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state/save-load", test_save_load);
    g_test_add_func("/state/load-bad", test_load_bad);
    g_test_add_func("/lock/exclusive", test_lock_exclusive);
    g_test_add_func("/lock/wait", test_lock_wait);
    g_test_add_func("/lock/shared", test_lock_shared);
    g_test_add_func("/lock/replaced", test_lock_replaced);
    return g_test_run();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status.json and state.json: there and back, missing, broken, and the removal of a run directory. */
#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "msb-run-state.h"
#include "msb-state.h"
#include "test-util.h"

typedef struct {
    char *dir;
    MsbHome *home;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *run = NULL, *sandbox = NULL;

    f->dir = test_make_dir();
    f->home = msb_home_open(f->dir, &error);
    g_assert_no_error(error);
    run = msb_home_run_dir(f->home, "box");
    sandbox = msb_home_sandbox_dir(f->home, "box");
    g_assert_true(msb_paths_make_dir(run, 0700, NULL) && msb_paths_make_dir(sandbox, 0700, NULL));
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    msb_home_unref(f->home);
    test_remove_dir(f->dir);
}

static void
test_status(Fixture *f, gconstpointer data)
{
    g_auto(MsbRunStatus) status = { MSB_STATE_STOPPING, 4711, 1234567890123456, g_strdup("why") };
    g_auto(MsbRunStatus) read = MSB_RUN_STATUS_INIT;
    g_autoptr(GError) error = NULL;

    g_assert_false(msb_run_status_load(f->home, "box", &read, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_true(msb_run_status_save(f->home, "box", &status, &error));
    g_assert_true(msb_run_status_load(f->home, "box", &read, &error));
    g_assert_no_error(error);
    g_assert_cmpint(read.state, ==, MSB_STATE_STOPPING);
    g_assert_cmpuint(read.supervisor_pid, ==, 4711);
    g_assert_cmpint(read.started, ==, 1234567890123456);
    g_assert_cmpstr(read.error, ==, "why");
}

static void
test_status_broken(Fixture *f, gconstpointer data)
{
    g_autofree char *run = msb_home_run_dir(f->home, "box");
    g_autofree char *path = g_build_filename(run, "status.json", NULL);
    g_auto(MsbRunStatus) read = MSB_RUN_STATUS_INIT;
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(path, "{\"version\":1,\"state\":\"asleep\"}", -1, NULL));
    g_assert_false(msb_run_status_load(f->home, "box", &read, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "'asleep'");
    g_assert_true(g_file_set_contents(path, "{\"version\":1,\"supervisor_pid\":-5}", -1, NULL));
    g_assert_false(msb_run_status_load(f->home, "box", &read, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "'supervisor_pid' is -5");
}

static void
test_last_end(Fixture *f, gconstpointer data)
{
    MsbLastEnd end = { MSB_END_GUEST_PANIC, (char *)"attempted to kill init", 0, 4711 };
    g_auto(MsbLastEnd) read = MSB_LAST_END_INIT;
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_last_end_load(f->home, "box", &read, &error));
    g_assert_cmpint(read.reason, ==, MSB_END_NONE);
    g_assert_true(msb_last_end_save(f->home, "box", &end, &error));
    g_assert_true(msb_last_end_load(f->home, "box", &read, &error));
    g_assert_no_error(error);
    g_assert_cmpint(read.reason, ==, MSB_END_GUEST_PANIC);
    g_assert_cmpstr(read.message, ==, "attempted to kill init");
    g_assert_cmpint(read.time, >, 0);
    g_assert_cmpint(read.run, ==, 4711);
    g_assert_cmpint(msb_end_reason_to_state(read.reason), ==, MSB_STATE_CRASHED);
    g_assert_cmpint(msb_end_reason_to_state(MSB_END_POWEROFF), ==, MSB_STATE_STOPPED);
    g_assert_cmpstr(msb_sandbox_state_to_string(MSB_STATE_CRASHED), ==, "crashed");
    g_assert_cmpstr(msb_sandbox_state_to_string((MsbSandboxState)99), ==, "unknown");
}

static void
test_remove(Fixture *f, gconstpointer data)
{
    g_autofree char *run = msb_home_run_dir(f->home, "box");
    g_autofree char *socket = g_build_filename(run, "agent.sock", NULL), *path = msb_run_lock_path(f->home, "box");
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbLock) lock = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, 0, &error);

    g_assert_no_error(error);
    g_assert_true(g_file_set_contents(socket, "", 0, NULL));
    g_assert_true(msb_run_remove(f->home, "box", &error));
    g_assert_false(g_file_test(run, G_FILE_TEST_EXISTS));
    g_assert_false(msb_lock_is_held(path));
    g_assert_true(msb_run_remove(f->home, "box", &error));
}

typedef struct {
    char *path;
    gint stop;
    gint made;
} Successor;

/* The next supervisor: takes the lock's name as soon as it is free. */
static gpointer
succeed(gpointer data)
{
    Successor *s = data;

    while (!g_atomic_int_get(&s->stop)) {
        int fd = open(s->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        if (fd >= 0) {
            close(fd);
            g_atomic_int_set(&s->made, 1);
            break;
        }
    }
    return NULL;
}

/* A run directory that somebody takes over while it is being removed is left to him, with what he made in it. */
static void
test_remove_race(Fixture *f, gconstpointer data)
{
    g_autofree char *run = msb_home_run_dir(f->home, "box");
    g_autofree char *path = msb_run_lock_path(f->home, "box");
    guint taken = 0;

    for (guint i = 0; i < 3000; i++) {
        Successor next = { path, 0, 0 };
        g_autoptr(GError) error = NULL;
        GThread *thread;

        g_assert_true(msb_paths_make_dir(run, 0700, NULL) && g_file_set_contents(path, "", 0, NULL));
        thread = g_thread_new("successor", succeed, &next);
        g_assert_true(msb_run_remove(f->home, "box", &error));
        g_assert_no_error(error);
        g_atomic_int_set(&next.stop, 1);
        g_thread_join(thread);
        if (next.made) {
            g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
            taken++;
        } else {
            g_assert_false(g_file_test(run, G_FILE_TEST_EXISTS));
        }
    }
    g_test_message("taken over %u times", taken);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/run-state/status", Fixture, NULL, set_up, test_status, tear_down);
    g_test_add("/run-state/status-broken", Fixture, NULL, set_up, test_status_broken, tear_down);
    g_test_add("/run-state/last-end", Fixture, NULL, set_up, test_last_end, tear_down);
    g_test_add("/run-state/remove", Fixture, NULL, set_up, test_remove, tear_down);
    g_test_add("/run-state/remove-race", Fixture, NULL, set_up, test_remove_race, tear_down);
    return g_test_run();
}

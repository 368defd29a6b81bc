/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a sandbox with real processes and locks and, in the place of the
 * supervisor and of QEMU, a stand-in and libvirt's test driver.
 *
 * The stand-in is this very program: the build directory that the library is
 * pointed to has a link to it as src/supervisor/msb-supervisor, and it does
 * what $MSB_TEST_SUPERVISOR says.
 */
#include <config.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "msb-config-private.h"
#include "msb-domain.h"
#include "msb-plan.h"
#include "msb-sandbox-private.h"
#include "msb-volume.h"
#include "msb-volumes.h"
#include "test-util.h"

/* ---- the stand-in ---------------------------------------------------------------------------- */

static void
say(int fd, const char *text)
{
    (void)!write(fd, text, strlen(text));
    close(fd);
}

/* Hold the lock as a supervisor does, until killed or, with "brief", until it has cleaned up after itself. */
static int
supervise(MsbHome *home, const char *name, int ready, const char *how)
{
    g_autofree char *lock_path = msb_run_lock_path(home, name);
    g_autoptr(MsbLock) lock = msb_lock_acquire(lock_path, MSB_LOCK_EXCLUSIVE, 0, NULL);
    MsbRunStatus status = { MSB_STATE_RUNNING, (guint)getpid(), g_get_real_time(), NULL };
    MsbLastEnd end = { MSB_END_BOOT_FAILED, (char *)"no root", 0, status.started };

    if (!lock || !msb_run_status_save(home, name, &status, NULL))
        return 1;
    if (g_str_equal(how, "fail")) {
        msb_last_end_save(home, name, &end, NULL);
        msb_run_remove(home, name, NULL);
        say(ready, "error 7 stage root: no such device\nconsole: the end\n");
        return 1;
    }
    if (g_str_equal(how, "die"))
        raise(SIGKILL);
    if (g_str_equal(how, "ok"))
        say(ready, "ok\n");
    for (;;)
        pause();
}

static int
stand_in(char **argv)
{
    const char *how = g_getenv("MSB_TEST_SUPERVISOR");
    g_autoptr(MsbHome) home = msb_home_open(argv[2], NULL);

    if (!home || !how)
        return 99;
    if (g_str_equal(how, "early")) {
        fprintf(stderr, "first line\ncannot find the kernel\n");
        return 1;
    }
    return supervise(home, argv[4], atoi(argv[6]), how);
}

/* ---- fixture ----------------------------------------------------------------------------------- */

typedef struct {
    char *dir;
    char *root;
    MsbHome *home;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *state = NULL, *folder = NULL, *link = NULL;
    g_autofree char *self = g_file_read_link("/proc/self/exe", &error);

    g_assert_no_error(error);
    f->dir = test_make_dir();
    f->root = g_build_filename(f->dir, "root", NULL);
    state = g_build_filename(f->dir, "h", NULL);
    folder = g_build_filename(f->dir, "src", "supervisor", NULL);
    link = g_build_filename(folder, "msb-supervisor", NULL);
    g_assert_true(msb_paths_make_dir(folder, 0700, NULL) && msb_paths_make_dir(f->root, 0700, NULL));
    g_assert_cmpint(symlink(self, link), ==, 0);
    f->home = msb_home_open(state, &error);
    g_assert_no_error(error);
    g_setenv("MSB_BUILDDIR", f->dir, TRUE);
    g_setenv("MSB_LIBVIRT_URI", "test:///default", TRUE);
    g_setenv("MSB_ACCEL", "tcg", TRUE);
    g_setenv("MSB_TEST_SUPERVISOR", "ok", TRUE);
}

static pid_t
supervisor_pid(Fixture *f, const char *name)
{
    g_auto(MsbRunStatus) status = MSB_RUN_STATUS_INIT;

    return msb_run_status_load(f->home, name, &status, NULL) ? (pid_t)status.supervisor_pid : 0;
}

/* Kill the stand-in and wait until the kernel has let go of its lock. */
static void
kill_supervisor(Fixture *f, const char *name)
{
    g_autofree char *path = msb_run_lock_path(f->home, name);
    pid_t pid = supervisor_pid(f, name);
    g_autoptr(GError) error = NULL;
    MsbLock *lock;

    g_assert_cmpint(pid, >, 0);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    lock = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, 120000, &error);
    g_assert_no_error(error);
    msb_lock_release(lock);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    if (msb_sandbox_is_supervised(f->home, "box"))
        kill_supervisor(f, "box");
    msb_home_unref(f->home);
    g_free(f->root);
    test_remove_dir(f->dir);
}

static MsbConfig *
make_config(Fixture *f, const char *name)
{
    MsbConfig *config = msb_config_new();

    msb_config_set_name(config, name);
    msb_config_set_image(config, f->root);
    return config;
}

static MsbSandbox *
make_sandbox(Fixture *f, const char *name)
{
    g_autoptr(MsbConfig) config = make_config(f, name);
    g_autoptr(GError) error = NULL;
    MsbSandbox *sandbox = msb_sandbox_create(f->home, config, &error);

    g_assert_no_error(error);
    return sandbox;
}

static gint
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What is in a directory of the home, sorted, in one string. */
static char *
list_dir(Fixture *f, const char *sub)
{
    g_autofree char *path = msb_home_build_path(f->home, sub, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir)))
        g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    g_ptr_array_add(names, NULL);
    return g_strjoinv(" ", (char **)names->pdata);
}

static void
assert_nothing_runs(Fixture *f)
{
    g_autofree char *run = list_dir(f, "run");

    g_assert_cmpstr(run, ==, "");
}

/* ---- creation ------------------------------------------------------------------------------------ */

static void
test_create(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "box"), again = NULL;
    g_autofree char *dir = msb_home_sandbox_dir(f->home, "box"), *log = NULL;
    g_autoptr(GError) error = NULL;
    struct stat st;

    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_CREATED);
    g_assert_null(msb_sandbox_dup_last_error(sandbox));
    g_assert_cmpint(stat(dir, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 0777, ==, 0700);
    g_assert_cmpint(msb_config_get_created(msb_sandbox_get_config(sandbox)), >, 0);
    log = msb_sandbox_dup_log_path(sandbox, "console");
    g_assert_true(g_str_has_suffix(log, "/sandboxes/box/logs/console.log"));
    again = msb_sandbox_lookup(f->home, "box", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(msb_config_get_image(msb_sandbox_get_config(again)), ==, f->root);
    g_assert_null(msb_sandbox_lookup(f->home, "boy", &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "no sandbox 'boy'");
    g_assert_null(msb_sandbox_lookup(f->home, "../x", &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "sandbox name");
}

static void
test_create_taken(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "box");
    g_autoptr(MsbConfig) config = make_config(f, "box"), nameless = make_config(f, NULL);
    g_autoptr(MsbSandbox) made = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_null(msb_sandbox_create(f->home, config, &error));
    assert_failed_with(error, MSB_ERROR_EXISTS, "msb rm box");
    made = msb_sandbox_create(f->home, nameless, &error);
    g_assert_no_error(error);
    g_assert_true(g_regex_match_simple("^msb-[0-9a-f]{8}$", msb_sandbox_get_name(made), 0, 0));
}

/* A failed creation leaves nothing: no directory, no volume that came into being for it. */
static void
test_create_fails(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbConfig) config = make_config(f, "box");
    g_autofree char *sandboxes = NULL, *volumes = NULL;
    g_autoptr(GError) error = NULL;

    msb_config_add_mount(config, msb_mount_parse(MSB_MOUNT_FLAG_NAMED, "data:/data", NULL));
    msb_config_add_mount(config, msb_mount_parse(MSB_MOUNT_FLAG_VOLUME, "/nowhere/at/all:/x", NULL));
    g_assert_null(msb_sandbox_create(f->home, config, &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "mount on '/x': '/nowhere/at/all'");
    sandboxes = list_dir(f, "sandboxes");
    volumes = list_dir(f, "volumes");
    g_assert_cmpstr(sandboxes, ==, ".locks");
    g_assert_cmpstr(volumes, ==, ".locks .meta .quota");
}

static void
test_volumes(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbConfig) config = make_config(f, "box"), second = make_config(f, "boy");
    g_autoptr(MsbSandbox) a = NULL, b = NULL;
    g_autofree char *volumes = NULL, *dir = msb_volume_dir(f->home, "data"), *meta = NULL;
    g_autofree char *disk = msb_home_build_path(f->home, "volumes", "disky", NULL), *raw = NULL;
    g_auto(GStrv) users = NULL;
    const MsbQuota gigabyte = { .bytes = G_GUINT64_CONSTANT(1) << 30 }, page = { .bytes = 4096 };
    const MsbQuota many = { .inodes = 1000 }, few = { .inodes = 10 };
    MsbQuota quota;
    g_autoptr(GError) error = NULL;

    msb_config_add_mount(config, msb_mount_parse(MSB_MOUNT_FLAG_VOLUME, "data:/data", NULL));
    a = msb_sandbox_create(f->home, config, &error);
    g_assert_no_error(error);
    msb_config_add_mount(second, msb_mount_parse(MSB_MOUNT_FLAG_VOLUME, "data:/data", NULL));
    b = msb_sandbox_create(f->home, second, &error);
    g_assert_no_error(error);
    volumes = list_dir(f, "volumes");
    meta = list_dir(f, "volumes/.meta");
    g_assert_cmpstr(volumes, ==, ".locks .meta .quota data");
    g_assert_cmpstr(meta, ==, "data.json");

    g_assert_true(msb_volume_ensure_dir(f->home, "data", &gigabyte, NULL, &error));
    g_assert_true(msb_volume_read_quota(f->home, "data", &quota, &error));
    g_assert_cmpuint(quota.bytes, ==, gigabyte.bytes);
    g_assert_cmpuint(quota.inodes, ==, 0);
    g_assert_true(msb_volume_ensure_dir(f->home, "data", NULL, NULL, &error));
    g_assert_false(msb_volume_ensure_dir(f->home, "data", &page, NULL, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "a quota of 1073741824 bytes, not of 4096");
    g_clear_error(&error);
    g_assert_true(msb_volume_ensure_dir(f->home, "data", &many, NULL, &error));
    g_assert_true(msb_volume_read_quota(f->home, "data", &quota, &error));
    g_assert_cmpuint(quota.bytes, ==, gigabyte.bytes);
    g_assert_cmpuint(quota.inodes, ==, 1000);
    g_assert_false(msb_volume_ensure_dir(f->home, "data", &few, NULL, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "a quota of 1000 inodes, not of 10");
    g_assert_false(msb_volume_remove(f->home, "data", &error));
    assert_failed_with(error, MSB_ERROR_IN_USE, "in use by the sandboxes 'box', 'boy'");
    users = msb_volume_dup_users(f->home, "other", &error);
    g_assert_no_error(error);
    g_assert_null(users[0]);

    raw = g_build_filename(disk, "disk.raw", NULL);
    g_assert_true(msb_paths_make_dir(disk, 0700, NULL) && g_file_set_contents(raw, "", 0, NULL));
    g_assert_false(msb_volume_ensure_dir(f->home, "disky", NULL, NULL, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "'disky' exists as a disk");

    g_assert_cmpint(g_rmdir(dir), ==, 0);
    g_assert_false(msb_sandbox_start(a, &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "no volume 'data' any more");
    assert_nothing_runs(f);
}

/* A sandbox that cannot be read might name the volume. */
static void
test_volume_of_damaged(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "broken");
    g_autofree char *config = msb_home_build_path(f->home, "sandboxes", "broken", "config.json", NULL);
    g_autoptr(MsbVolume) volume = NULL;
    g_autoptr(GError) error = NULL;

    volume = msb_volume_create(f->home, "kept", NULL, &error);
    g_assert_no_error(error);
    g_assert_true(g_file_set_contents(config, "{\"version\":1,", -1, NULL));
    g_assert_false(msb_volume_remove(f->home, "kept", &error));
    assert_failed_with(error, MSB_ERROR_CORRUPT, "whether volume 'kept' is in use: sandbox 'broken' is damaged");
    g_assert_true(g_file_test(msb_volume_get_path(volume), G_FILE_TEST_IS_DIR));
}

static void
test_list(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) b = make_sandbox(f, "b"), a = make_sandbox(f, "a"), broken = make_sandbox(f, "broken");
    g_autofree char *config = msb_home_build_path(f->home, "sandboxes", "broken", "config.json", NULL);
    g_autofree char *stage = msb_home_build_path(f->home, "sandboxes", ".gone.abc123", NULL);
    g_autofree char *locks = NULL;
    g_autoptr(GPtrArray) list = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(config, "{\"version\":1,", -1, NULL));
    g_assert_true(msb_paths_make_dir(stage, 0700, NULL));
    list = msb_sandbox_list(f->home, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(list->len, ==, 2);
    g_assert_cmpstr(msb_sandbox_get_name(list->pdata[0]), ==, "a");
    g_assert_cmpstr(msb_sandbox_get_name(list->pdata[1]), ==, "b");
    g_assert_false(g_file_test(stage, G_FILE_TEST_EXISTS));
    locks = list_dir(f, "sandboxes/.locks");
    g_assert_cmpstr(locks, ==, "a b broken");
    g_assert_null(msb_sandbox_lookup(f->home, "broken", &error));
    assert_failed_with(error, MSB_ERROR_CORRUPT, "broken/config.json");
}

/* ---- starting and ending ---------------------------------------------------------------------------- */

static void
test_start(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "box");
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_sandbox_start(sandbox, &error));
    g_assert_no_error(error);
    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_RUNNING);
    g_assert_false(msb_sandbox_start(sandbox, &error));
    assert_failed_with(error, MSB_ERROR_RUNNING, "running already");
    g_assert_false(msb_sandbox_remove(sandbox, FALSE, &error));
    assert_failed_with(error, MSB_ERROR_RUNNING, "stop it first");
    /* it is nobody's child, and in a session of its own */
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
    g_assert_cmpint(getsid(supervisor_pid(f, "box")), !=, getsid(0));
}

static void
test_start_fails(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "box");
    g_autofree char *why = NULL, *still = NULL;
    g_autoptr(GError) error = NULL;

    g_setenv("MSB_TEST_SUPERVISOR", "early", TRUE);
    g_assert_false(msb_sandbox_start(sandbox, &error));
    assert_failed_with(error, MSB_ERROR_BOOT, "cannot find the kernel");
    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_CREATED);
    assert_nothing_runs(f);

    g_setenv("MSB_TEST_SUPERVISOR", "fail", TRUE);
    g_assert_false(msb_sandbox_start(sandbox, &error));
    assert_failed_with(error, MSB_ERROR_BOOT, "stage root: no such device\nconsole: the end");
    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_CRASHED);
    why = msb_sandbox_dup_last_error(sandbox);
    g_assert_cmpstr(why, ==, "no root");
    assert_nothing_runs(f);

    g_setenv("MSB_TEST_SUPERVISOR", "die", TRUE);
    g_assert_false(msb_sandbox_start(sandbox, &error));
    assert_failed_with(error, MSB_ERROR_BOOT, "ended unexpectedly");
    still = msb_sandbox_dup_last_error(sandbox);
    g_assert_nonnull(strstr(still, "ended unexpectedly"));
    assert_nothing_runs(f);
}

static char *
domain_xml(const char *name, const char *uuid)
{
    return g_strdup_printf("<domain type='test'><name>%s</name><uuid>%s</uuid><memory>1024</memory>"
                           "<os><type>hvm</type></os></domain>", name, uuid);
}

/* The machine of a dead supervisor is ended by whoever looks next. */
static void
test_reap(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbConnection) connection = msb_connection_open(NULL);
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "box");
    g_autofree char *uuid = msb_plan_uuid(f->home, "box"), *why = NULL;
    g_autofree char *xml = domain_xml("msb-box", uuid);
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbDomain) domain = msb_domain_define(connection, "msb-box", uuid, xml, &error);

    g_assert_no_error(error);
    g_assert_true(msb_domain_start(domain, &error));
    g_assert_true(msb_sandbox_start(sandbox, &error));
    g_assert_no_error(error);
    kill_supervisor(f, "box");
    g_assert_true(msb_domain_is_active(domain));
    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_CRASHED);
    g_assert_false(msb_domain_is_active(domain));
    why = msb_sandbox_dup_last_error(sandbox);
    g_assert_nonnull(strstr(why, "its supervisor (process "));
    assert_nothing_runs(f);

    g_assert_true(msb_sandbox_start(sandbox, &error));
    g_assert_no_error(error);
    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_RUNNING);
    g_assert_null(msb_sandbox_dup_last_error(sandbox));
    kill_supervisor(f, "box");
    g_assert_true(msb_sandbox_remove(sandbox, FALSE, &error));
    g_assert_no_error(error);
    g_assert_null(msb_domain_lookup(connection, uuid, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_NOT_FOUND);
}

/* Another domain of the same name is left alone. */
static void
test_foreign_domain(Fixture *f, gconstpointer data)
{
    static const char other[] = "11111111-2222-4333-8444-555555555555";
    g_autoptr(MsbConnection) connection = msb_connection_open(NULL);
    g_autofree char *uuid = msb_plan_uuid(f->home, "twin");
    g_autofree char *xml = domain_xml("msb-twin", other);
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbDomain) foreign = msb_domain_define(connection, "msb-twin", other, xml, &error);

    g_assert_no_error(error);
    g_assert_null(msb_domain_define(connection, "msb-twin", uuid, xml, &error));
    assert_failed_with(error, MSB_ERROR_EXISTS, "another domain 'msb-twin'");
    g_assert_true(msb_domain_undefine(foreign, &error));
}

static void
test_host_restarted(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "box");
    g_autofree char *run = msb_home_run_dir(f->home, "box"), *why = NULL;
    MsbRunStatus status = { MSB_STATE_RUNNING, 1, 1000000, NULL };

    g_assert_true(msb_paths_make_dir(run, 0700, NULL));
    g_assert_true(msb_run_status_save(f->home, "box", &status, NULL));
    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_CRASHED);
    why = msb_sandbox_dup_last_error(sandbox);
    g_assert_cmpstr(why, ==, "the host went down while it was running");
    assert_nothing_runs(f);
}

/* What the clock says decides nothing: an end belongs to the run that it was noted for. */
static void
test_clock_was_set(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "box");
    g_autofree char *run = msb_home_run_dir(f->home, "box"), *why = NULL;
    gint64 now = g_get_real_time(), hour = G_GINT64_CONSTANT(3600) * G_USEC_PER_SEC;
    MsbRunStatus status = { MSB_STATE_RUNNING, 1, now, NULL };
    MsbLastEnd before = { MSB_END_REQUESTED, NULL, now + hour, now + hour / 2 };
    MsbLastEnd own = { MSB_END_BOOT_FAILED, (char *)"no root", now - hour, now };

    /* The run before ended while the clock was ahead; this one's supervisor was killed. */
    g_assert_true(msb_last_end_save(f->home, "box", &before, NULL));
    g_assert_true(msb_paths_make_dir(run, 0700, NULL) && msb_run_status_save(f->home, "box", &status, NULL));
    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_CRASHED);
    /* It noted its end after the clock was set back, and left its directory behind. */
    g_assert_true(msb_last_end_save(f->home, "box", &own, NULL));
    g_assert_true(msb_paths_make_dir(run, 0700, NULL) && msb_run_status_save(f->home, "box", &status, NULL));
    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_CRASHED);
    why = msb_sandbox_dup_last_error(sandbox);
    g_assert_cmpstr(why, ==, "no root");
    assert_nothing_runs(f);
}

static void
test_ephemeral(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbConfig) config = make_config(f, "box");
    g_autoptr(MsbSandbox) sandbox = NULL;
    g_autofree char *dir = msb_home_sandbox_dir(f->home, "box");
    g_autoptr(GError) error = NULL;

    msb_config_set_ephemeral(config, TRUE);
    sandbox = msb_sandbox_create(f->home, config, &error);
    g_assert_no_error(error);
    /* not before it was started */
    g_assert_true(msb_sandbox_reap(f->home, "box", FALSE, NULL));
    g_assert_true(g_file_test(dir, G_FILE_TEST_EXISTS));
    g_assert_true(msb_sandbox_start(sandbox, &error));
    g_assert_no_error(error);
    kill_supervisor(f, "box");
    g_assert_null(msb_sandbox_lookup(f->home, "box", &error));
    assert_failed_with(error, MSB_ERROR_NOT_FOUND, "no sandbox 'box'");
    g_assert_false(g_file_test(dir, G_FILE_TEST_EXISTS));
    assert_nothing_runs(f);
}

/* The stand-in has no control socket: stopping goes the hard way, and works. */
static void
test_stop_by_force(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "box");
    g_autoptr(GError) error = NULL;

    g_assert_false(msb_sandbox_stop(sandbox, 1000, &error));
    assert_failed_with(error, MSB_ERROR_NOT_RUNNING, "not running");
    g_assert_true(msb_sandbox_start(sandbox, &error));
    g_assert_true(msb_sandbox_stop(sandbox, 1000, &error));
    g_assert_no_error(error);
    g_assert_false(msb_sandbox_is_supervised(f->home, "box"));
    assert_nothing_runs(f);
}

static void
test_remove(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "box");
    g_autofree char *sandboxes = NULL, *locks = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_sandbox_start(sandbox, &error));
    g_assert_true(msb_sandbox_remove(sandbox, TRUE, &error));
    g_assert_no_error(error);
    sandboxes = list_dir(f, "sandboxes");
    locks = list_dir(f, "sandboxes/.locks");
    g_assert_cmpstr(sandboxes, ==, ".locks");
    g_assert_cmpstr(locks, ==, "");
    assert_nothing_runs(f);
}

/* A sandbox that ran has a domain: it goes when libvirt is away only if that is wanted. */
static void
test_remove_without_libvirt(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) ran = make_sandbox(f, "box"), never = make_sandbox(f, "never");
    MsbLastEnd end = { MSB_END_REQUESTED, NULL, 0, 0 };
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_last_end_save(f->home, "box", &end, NULL));
    g_setenv("MSB_LIBVIRT_URI", "test:///nowhere/at/all.xml", TRUE);
    g_assert_false(msb_sandbox_remove(ran, FALSE, &error));
    assert_failed_with(error, MSB_ERROR_HYPERVISOR, "--force removes it here alone");
    g_assert_true(msb_sandbox_exists(f->home, "box"));
    g_assert_true(msb_sandbox_remove(ran, TRUE, &error));
    g_assert_true(msb_sandbox_remove(never, FALSE, &error));
    g_assert_no_error(error);
    g_assert_false(msb_sandbox_exists(f->home, "box") || msb_sandbox_exists(f->home, "never"));
}

/* libvirt forgets its last error when it is asked for a name. */
static void
test_libvirt_says_why(Fixture *f G_GNUC_UNUSED, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbConnection) connection = msb_connection_open(&error);
    g_autoptr(MsbDomain) domain = NULL;

    g_assert_no_error(error);
    /* That of libvirt's test driver, which runs. */
    domain = msb_domain_lookup(connection, "6695eb01-f6a4-8304-79aa-97f2502e193f", &error);
    g_assert_no_error(error);
    g_assert_false(msb_domain_start(domain, &error));
    g_assert_null(strstr(error->message, "gives no reason"));
    assert_failed_with(error, MSB_ERROR_HYPERVISOR, "cannot start domain 'test': ");
}

/* While one command works on a name, another says so instead of getting in between. */
static void
test_busy(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbSandbox) sandbox = make_sandbox(f, "box");
    g_autofree char *run = msb_home_run_dir(f->home, "box");
    g_autoptr(MsbLock) lock = msb_sandbox_lock_name(f->home, "box", 0, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_null(msb_sandbox_lock_name(f->home, "box", 0, &error));
    assert_failed_with(error, MSB_ERROR_IN_USE, "working on sandbox 'box'");
    /* a start under way is not reaped */
    g_assert_true(msb_paths_make_dir(run, 0700, NULL));
    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_STARTING);
    g_assert_true(g_file_test(run, G_FILE_TEST_EXISTS));
    g_clear_pointer(&lock, msb_lock_release);
    g_assert_cmpint(msb_sandbox_get_state(sandbox), ==, MSB_STATE_CREATED);
    assert_nothing_runs(f);
}

int
main(int argc, char **argv)
{
    if (argc == 7 && g_str_equal(argv[1], "--home"))
        return stand_in(argv);
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add(path, Fixture, NULL, set_up, func, tear_down)
    ADD("/sandbox/libvirt-says-why", test_libvirt_says_why);
    ADD("/sandbox/create", test_create);
    ADD("/sandbox/create-taken", test_create_taken);
    ADD("/sandbox/create-fails", test_create_fails);
    ADD("/sandbox/volumes", test_volumes);
    ADD("/sandbox/volume-of-damaged", test_volume_of_damaged);
    ADD("/sandbox/list", test_list);
    ADD("/sandbox/start", test_start);
    ADD("/sandbox/start-fails", test_start_fails);
    ADD("/sandbox/reap", test_reap);
    ADD("/sandbox/foreign-domain", test_foreign_domain);
    ADD("/sandbox/host-restarted", test_host_restarted);
    ADD("/sandbox/clock-was-set", test_clock_was_set);
    ADD("/sandbox/ephemeral", test_ephemeral);
    ADD("/sandbox/stop-by-force", test_stop_by_force);
    ADD("/sandbox/remove", test_remove);
    ADD("/sandbox/remove-without-libvirt", test_remove_without_libvirt);
    ADD("/sandbox/busy", test_busy);
#undef ADD
    return g_test_run();
}

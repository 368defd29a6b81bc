/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The watch over back-ends, with shell scripts in their place.  A script gets the
 * options that a back-end gets, and says that it is ready on descriptor 3.
 */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "msb-paths.h"
#include "sv-backends.h"
#include "sv-log.h"

#define DEADLINE_S 120

typedef struct {
    char *dir;
    MsbPlan plan;
    SvBackends *backends;
    gboolean ready, left, stopped;
    char *failure;
    char *resized;              /* the reason, "" for none */
} Test;

static void
on_ready(gpointer data)
{
    ((Test *)data)->ready = TRUE;
}

static void
on_failed(const GError *error, gboolean left, gpointer data)
{
    Test *t = data;

    g_assert_null(t->failure);
    t->failure = g_strdup(error->message);
    t->left = left;
}

static void
on_stopped(gpointer data)
{
    ((Test *)data)->stopped = TRUE;
}

static void
on_resized(const char *id, const char *reason, gpointer data)
{
    Test *t = data;

    g_assert_cmpstr(id, ==, "disk");
    g_assert_null(t->resized);
    t->resized = g_strdup(reason ? reason : "");
}

static void
device_free(gpointer data)
{
    MsbDevice *device = data;

    g_free(device->id);
    g_free(device->target);
    g_strfreev(device->argv);
    g_free(device);
}

/* script sees the test's directory as $0; its pid goes to the file ID.pid there. */
static void
add(Test *t, MsbDeviceKind kind, const char *id, const char *script)
{
    MsbDevice *device = g_new0(MsbDevice, 1);
    g_autofree char *text = g_strdup_printf("echo $$ > $0/%s.pid; %s", id, script);
    const char *argv[] = { "/bin/sh", "-c", text, t->dir, NULL };

    device->kind = kind;
    device->id = g_strdup(id);
    device->argv = g_strdupv((char **)argv);
    g_ptr_array_add(t->plan.devices, device);
}

static void
set_up(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    memset(t, 0, sizeof(*t));
    t->dir = g_dir_make_tmp("msb-backends-XXXXXX", NULL);
    t->plan.devices = g_ptr_array_new_with_free_func(device_free);
}

static void
start(Test *t)
{
    static const SvBackendsFuncs funcs = { on_ready, on_failed, on_stopped, on_resized };
    g_autoptr(GError) error = NULL;

    t->backends = sv_backends_new(&t->plan, &funcs, t);
    g_assert_true(sv_backends_start(t->backends, &error));
    g_assert_no_error(error);
}

static void
tear_down(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    sv_backends_free(t->backends);
    g_ptr_array_unref(t->plan.devices);
    msb_paths_remove_tree(t->dir, NULL);
    g_free(t->dir);
    g_free(t->failure);
    g_free(t->resized);
}

static gboolean
tick(gpointer data G_GNUC_UNUSED)
{
    return G_SOURCE_CONTINUE;
}

#define WAIT_FOR(expr) \
    G_STMT_START { \
        gint64 end_ = g_get_monotonic_time() + DEADLINE_S * G_USEC_PER_SEC; \
        guint tick_ = g_timeout_add(20, tick, NULL); \
        while (!(expr)) { \
            if (g_get_monotonic_time() > end_) \
                g_error("%s:%d: waited in vain for: %s", __FILE__, __LINE__, #expr); \
            g_main_context_iteration(NULL, TRUE); \
        } \
        g_source_remove(tick_); \
    } G_STMT_END

/* 0 if it has not been written yet. */
static pid_t
pid_of(const Test *t, const char *id)
{
    g_autofree char *file = g_strconcat(id, ".pid", NULL);
    g_autofree char *path = g_build_filename(t->dir, file, NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? (pid_t)g_ascii_strtoll(text, NULL, 10) : 0;
}

#define SERVE "echo >&3; exec 3>&-; exec sleep 1000"

static void
test_start_stop(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    pid_t pids[2];

    add(t, MSB_DEVICE_BLK, "one", SERVE);
    add(t, MSB_DEVICE_FS, "two", SERVE);
    start(t);
    WAIT_FOR(t->ready);
    pids[0] = pid_of(t, "one");
    pids[1] = pid_of(t, "two");
    sv_backends_stop(t->backends);
    WAIT_FOR(t->stopped);
    g_assert_null(t->failure);
    g_assert_cmpint(kill(pids[0], 0), ==, -1);
    g_assert_cmpint(kill(pids[1], 0), ==, -1);
}

/* One that ignores SIGTERM is killed, after the time for it. */
static void
test_stubborn(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    gint64 begin;

    add(t, MSB_DEVICE_BLK, "one", "trap '' TERM; echo >&3; exec 3>&-; while :; do sleep 1; done");
    start(t);
    WAIT_FOR(t->ready);
    begin = g_get_monotonic_time();
    sv_backends_stop(t->backends);
    WAIT_FOR(t->stopped);
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, SV_BACKEND_END_MS * 1000 - 50000);
}

static void
test_does_not_come_up(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    add(t, MSB_DEVICE_FS, "good", SERVE);
    add(t, MSB_DEVICE_BLK, "m0", "echo 'cannot open the thing' >&2; exit 3");
    ((MsbDevice *)g_ptr_array_index(t->plan.devices, 1))->target = g_strdup("/data");
    start(t);
    WAIT_FOR(t->failure);
    g_assert_false(t->ready);
    g_assert_cmpstr(t->failure, ==,
                    "the disk back-end of '/data' did not come up: exit status 3: cannot open the thing");
}

/* Answers each request as the file "answer" has it. */
#define ANSWERS "trap 'dd bs=64 count=1 <&5 >$0/asked 2>/dev/null; cat $0/answer >&5' HUP; echo >&3; exec 3>&-; " \
                "while :; do sleep 1000 & wait; done"

static void
test_grow(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *answer = g_build_filename(t->dir, "answer", NULL);
    g_autofree char *asked = g_build_filename(t->dir, "asked", NULL);
    g_autofree char *text = NULL;

    add(t, MSB_DEVICE_BLK, "other", SERVE);
    add(t, MSB_DEVICE_BLK, "disk", ANSWERS);
    ((MsbDevice *)g_ptr_array_index(t->plan.devices, 1))->can_grow = TRUE;
    g_assert_true(g_file_set_contents(answer, "+", -1, NULL));
    start(t);
    WAIT_FOR(t->ready);
    g_assert_cmpint(sv_backends_grow(t->backends, "none", "1"), ==, -ENODEV);
    g_assert_cmpint(sv_backends_grow(t->backends, "other", "1"), ==, -ENODEV);
    g_assert_cmpint(sv_backends_grow(t->backends, "disk", "+4096"), ==, 0);
    g_assert_cmpint(sv_backends_grow(t->backends, "disk", "+4096"), ==, -EBUSY);
    WAIT_FOR(t->resized);
    g_assert_cmpstr(t->resized, ==, "");
    g_assert_true(g_file_get_contents(asked, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "+4096");
    g_clear_pointer(&t->resized, g_free);
    g_assert_true(g_file_set_contents(answer, "-no room\033[2J", -1, NULL));
    g_assert_cmpint(sv_backends_grow(t->backends, "disk", "8192"), ==, 0);
    WAIT_FOR(t->resized);
    g_assert_cmpstr(t->resized, ==, "no room\\033[2J"); /* a guest may have taken the process over */
}

/* One that dies before it has answered: nobody knows whether it did it, and the next one is not asked. */
static void
test_grow_and_die(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    add(t, MSB_DEVICE_BLK, "disk", "trap 'kill -9 $$' HUP; echo >&3; exec 3>&-; while :; do sleep 1000 & wait; done");
    ((MsbDevice *)g_ptr_array_index(t->plan.devices, 0))->can_grow = TRUE;
    start(t);
    WAIT_FOR(t->ready);
    g_assert_cmpint(sv_backends_grow(t->backends, "disk", "4096"), ==, 0);
    WAIT_FOR(t->resized);
    g_assert_nonnull(strstr(t->resized, "ask again"));
    g_assert_null(t->failure);
}

static void
test_disk_is_restarted(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    pid_t first;

    add(t, MSB_DEVICE_BLK, "disk", SERVE);
    start(t);
    WAIT_FOR(t->ready);
    first = pid_of(t, "disk");
    for (guint i = 0; i < SV_RESTARTS_MAX; i++) {
        pid_t was = pid_of(t, "disk");

        g_assert_cmpint(kill(was, SIGKILL), ==, 0);
        WAIT_FOR(pid_of(t, "disk") > 0 && pid_of(t, "disk") != was);
    }
    g_assert_null(t->failure);
    g_assert_cmpint(pid_of(t, "disk"), !=, first);
    /* Once more is too much. */
    g_assert_cmpint(kill(pid_of(t, "disk"), SIGKILL), ==, 0);
    WAIT_FOR(t->failure);
    g_assert_false(t->left);
    g_assert_nonnull(strstr(t->failure, "the disk back-end of 'disk'"));
    g_assert_nonnull(strstr(t->failure, "signal 9"));
}

static void
test_share_is_not(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    add(t, MSB_DEVICE_FS, "share", SERVE);
    start(t);
    WAIT_FOR(t->ready);
    g_assert_cmpint(kill(pid_of(t, "share"), SIGSEGV), ==, 0);
    WAIT_FOR(t->failure);
    g_assert_false(t->left);
    g_assert_nonnull(strstr(t->failure, "the file back-end of 'share' died: signal 11"));
}

static void
test_leaves_in_order(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    add(t, MSB_DEVICE_FS, "share", "echo >&3; exec 3>&-; exit 0");
    start(t);
    WAIT_FOR(t->failure);
    g_assert_true(t->left);
}

/* What a back-end writes is bounded: per line, and per second. */
static void
test_noise(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *path = g_build_filename(t->dir, "log", NULL);
    g_autofree char *text = NULL;
    gsize n;

    g_assert_true(sv_log_open(path, NULL));
    add(t, MSB_DEVICE_FS, "noisy",
        "head -c 100000 /dev/zero | tr '\\0' x >&2; printf '\\nesc \\033[31m\\n' >&2; "
        "for i in $(seq 3000); do echo line $i; done >&2; echo >&3; exec 3>&-; exec sleep 1000");
    start(t);
    WAIT_FOR(t->ready);
    sv_backends_stop(t->backends);
    WAIT_FOR(t->stopped);
    sv_log_close();
    g_assert_true(g_file_get_contents(path, &text, &n, NULL));
    g_assert_nonnull(strstr(text, "noisy: esc \\033[31m\n"));
    g_assert_nonnull(strstr(text, "noisy: line 100\n"));
    g_assert_null(strstr(text, "noisy: line 2000\n"));
    g_assert_cmpuint(n, <, 300000);
}

static gboolean
count_turn(gpointer data)
{
    (*(guint *)data)++;
    return G_SOURCE_CONTINUE;
}

/* One that never stops writing does not keep the supervisor from everything else. */
static void
test_torrent(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    guint turns = 0, id = g_timeout_add(10, count_turn, &turns);

    add(t, MSB_DEVICE_FS, "torrent", "echo >&3; exec 3>&-; exec cat /dev/zero >&2");
    start(t);
    WAIT_FOR(t->ready && turns >= 10);
    g_source_remove(id);
    sv_backends_stop(t->backends);
    WAIT_FOR(t->stopped);
}

static gboolean
exists(const Test *t, const char *file)
{
    g_autofree char *path = g_build_filename(t->dir, file, NULL);

    return access(path, F_OK) == 0;
}

static void
make(const Test *t, const char *file)
{
    g_autofree char *path = g_build_filename(t->dir, file, NULL);

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
}

/* A disk is told to look at its file again; one that is not ready yet would die of that, so it is told then. */
static void
test_reload(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *told = NULL;

    add(t, MSB_DEVICE_FS, "share", SERVE);
    add(t, MSB_DEVICE_BLK, "m1",
        "while [ ! -e $0/go ]; do sleep 0.05; done; trap 'touch $0/told' HUP; echo >&3; exec 3>&-; "
        "while :; do sleep 0.1; done");
    start(t);
    g_assert_false(sv_backends_reload(t->backends, "m2"));
    g_assert_false(sv_backends_reload(t->backends, "share"));
    g_assert_true(sv_backends_reload(t->backends, "m1"));
    g_assert_false(t->ready);
    make(t, "go");
    WAIT_FOR(t->ready && exists(t, "told"));
    told = g_build_filename(t->dir, "told", NULL);
    g_assert_cmpint(unlink(told), ==, 0);
    g_assert_true(sv_backends_reload(t->backends, "m1"));
    WAIT_FOR(exists(t, "told"));
    sv_backends_stop(t->backends);
    WAIT_FOR(t->stopped);
    g_assert_null(t->failure);
}

static void
test_no_program(Test *t, gconstpointer data G_GNUC_UNUSED)
{
    static const SvBackendsFuncs funcs = { on_ready, on_failed, on_stopped };
    MsbDevice *device;
    g_autoptr(GError) error = NULL;

    add(t, MSB_DEVICE_FS, "here", SERVE);
    add(t, MSB_DEVICE_FS, "nowhere", "");
    device = g_ptr_array_index(t->plan.devices, 1);
    g_free(device->argv[0]);
    device->argv[0] = g_strdup("/nonexistent/msb-vhost-fs");
    t->backends = sv_backends_new(&t->plan, &funcs, t);
    g_assert_false(sv_backends_start(t->backends, &error));
    g_assert_nonnull(strstr(error->message, "'nowhere'"));
    g_assert_nonnull(strstr(error->message, "/nonexistent/msb-vhost-fs"));
    sv_backends_stop(t->backends);
    WAIT_FOR(t->stopped);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add(path, Test, NULL, set_up, func, tear_down)
    ADD("/backends/grow", test_grow);
    ADD("/backends/grow-and-die", test_grow_and_die);
    ADD("/backends/start-stop", test_start_stop);
    ADD("/backends/stubborn", test_stubborn);
    ADD("/backends/does-not-come-up", test_does_not_come_up);
    ADD("/backends/disk-is-restarted", test_disk_is_restarted);
    ADD("/backends/share-is-not", test_share_is_not);
    ADD("/backends/leaves-in-order", test_leaves_in_order);
    ADD("/backends/torrent", test_torrent);
    ADD("/backends/reload", test_reload);
    ADD("/backends/no-program", test_no_program);
    /* Last: GLib's log writer can be set once. */
    ADD("/backends/noise", test_noise);
    return g_test_run();
}

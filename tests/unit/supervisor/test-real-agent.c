/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The relay and the client against the real agent, which runs commands of this
 * machine as an ordinary process (--serve-fd): everything of an exec but the VM.
 */
#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

#define SH(client, script) RUN(client, "/bin/sh", "-c", script)

static void
test_basics(void)
{
    Fixture *f = fixture_start(fixture_run_agent, 500);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) both = SH(client, "echo out; echo err >&2; exit 7");
    g_autoptr(Run) term = SH(client, "kill -TERM $$");
    g_autoptr(Run) none = RUN(client, "/nonexistent/program");
    g_autoptr(Run) dir = RUN(client, "/tmp");
    g_autoptr(Run) sleeper = RUN(client, "/bin/sleep", "1000");
    g_autofree char *log = NULL;

    WAIT_FOR(both->ended && term->ended && none->ended && dir->ended && sleeper->started);
    g_assert_cmpstr(run_text(both, 1), ==, "out\n");
    g_assert_cmpstr(run_text(both, 2), ==, "err\n");
    g_assert_cmpint(both->status, ==, 7);
    g_assert_cmpint(term->status, ==, 128 + SIGTERM);
    g_assert_cmpint(none->status, ==, 127);
    g_assert_cmpint(dir->status, ==, 126);
    msb_exec_signal(sleeper->exec, SIGINT);
    WAIT_FOR(sleeper->ended);
    g_assert_cmpint(sleeper->signum, ==, SIGINT);
    log = fixture_read_log(f);
    g_assert_nonnull(strstr(log, "\"s\":\"stdout\",\"id\":1,\"d\":\"out\\n\""));
    g_assert_nonnull(strstr(log, "\"s\":\"stderr\",\"id\":1,\"d\":\"err\\n\""));
    g_assert_nonnull(strstr(log, "exited with status 7"));
    fixture_stop(f);
}

static void
test_pipe(void)
{
    Fixture *f = fixture_start(fixture_run_agent, 500);
    g_autoptr(MsbClient) client = fixture_connect(f);
    const char *argv[] = { "/bin/cat", NULL };
    MsbExecOptions options = { .argv = argv };
    gsize n = 20 * 1000 * 1000;
    guint8 *big = g_malloc(n);
    g_autoptr(GBytes) input = NULL;
    g_autoptr(GBytes) out = NULL;
    g_autoptr(GError) error = NULL;
    int status;

    for (gsize i = 0; i < n; i++)
        big[i] = (guint8)(i * 7 + (i >> 12));
    input = g_bytes_new_take(big, n);
    g_assert_true(msb_client_exec_sync(client, &options, input, &out, NULL, &status, NULL, &error));
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    g_assert_true(g_bytes_equal(input, out));
    fixture_stop(f);
}

static void
test_slow_reader(void)
{
    Fixture *f = fixture_start(fixture_run_agent, 500);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) flood = RUN(client, "/usr/bin/head", "-c", "300000000", "/dev/zero");
    g_autoptr(Run) other = NULL;

    flood->keep = FALSE;
    flood->hold = TRUE;
    WAIT_FOR(flood->count[0] > 0);
    other = SH(client, "echo free");
    WAIT_FOR(other->ended);
    g_assert_false(flood->ended);
    flood->hold = FALSE;
    msb_exec_resume(flood->exec);
    WAIT_FOR(flood->ended);
    g_assert_cmpuint(flood->count[0], ==, 300000000);
#if !defined(__SANITIZE_ADDRESS__)
    g_assert_cmpuint(fixture_peak_kib(f), <, 24 * 1024);
#endif
    fixture_stop(f);
}

static void
test_many(void)
{
    Fixture *f = fixture_start(fixture_run_agent, 500);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(GPtrArray) runs = g_ptr_array_new_with_free_func((GDestroyNotify)run_free);

    for (int i = 0; i < 50; i++) {
        g_autofree char *script = g_strdup_printf("read x; echo \"$x\"; exit %d", i);

        g_ptr_array_add(runs, SH(client, script));
    }
    for (int i = 49; i >= 0; i--) {
        Run *run = g_ptr_array_index(runs, i);
        g_autofree char *line = g_strdup_printf("line %d\n", i);

        g_assert_cmpuint(msb_exec_write_stdin(run->exec, (guint8 *)line, strlen(line)), ==, strlen(line));
    }
    for (int i = 0; i < 50; i++) {
        Run *run = g_ptr_array_index(runs, i);
        g_autofree char *line = g_strdup_printf("line %d\n", i);

        WAIT_FOR(run->ended);
        g_assert_cmpint(run->status, ==, i);
        g_assert_cmpstr(run_text(run, 1), ==, line);
    }
    fixture_stop(f);
}

static void
test_terminal(void)
{
    Fixture *f = fixture_start(fixture_run_agent, 500);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) size = RUN_TTY(client, "/bin/sh", "-c", "stty size; read x; stty size");
    g_autoptr(Run) type = RUN_TTY(client, "/usr/bin/tty");
    g_autofree char *log = NULL;

    WAIT_FOR(size->count[0] >= 7);
    msb_exec_resize(size->exec, 50, 132);
    msb_exec_write_stdin(size->exec, (const guint8 *)"\n", 1);
    WAIT_FOR(size->ended && type->ended);
    g_assert_nonnull(strstr(run_text(size, 1), "24 80"));
    g_assert_nonnull(strstr(run_text(size, 1), "50 132"));
    g_assert_nonnull(strstr(run_text(type, 1), "/dev/pts/"));
    log = fixture_read_log(f);
    g_assert_nonnull(strstr(log, "\"s\":\"output\""));
    fixture_stop(f);
}

static void
test_lost_client(void)
{
    Fixture *f = fixture_start(fixture_run_agent, 300);
    MsbClient *client = fixture_connect(f);
    g_autoptr(MsbClient) other = fixture_connect(f);
    g_autoptr(Run) polite = RUN(client, "/bin/sleep", "1000");
    g_autoptr(Run) stubborn = SH(client, "trap '' HUP; echo up; while :; do sleep 1; done");
    g_autoptr(Run) reader = RUN(client, "/bin/cat");
    g_autoptr(GPtrArray) list = NULL;
    gint64 end = g_get_monotonic_time() + DEADLINE_S * G_USEC_PER_SEC;

    WAIT_FOR(polite->started && reader->started && stubborn->count[0] == 3);
    msb_client_unref(client);
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_clear_pointer(&list, g_ptr_array_unref);
        list = msb_client_list_execs(other, NULL);
    } while (list->len > 0);
    fixture_stop(f);
}

static void
test_detach(void)
{
    Fixture *f = fixture_start(fixture_run_agent, 300);
    MsbClient *client = fixture_connect(f);
    g_autoptr(Run) run = SH(client, "echo started; read x; echo got $x; exit 5");
    g_autoptr(MsbClient) other = NULL;
    g_autoptr(Run) again = NULL;
    guint id;

    WAIT_FOR(run->count[0] == 8);
    id = msb_exec_get_id(run->exec);
    msb_exec_detach(run->exec);
    WAIT_FOR(run->ended);
    msb_client_unref(client);
    other = fixture_connect(f);
    again = run_attach(other, id);
    msb_exec_write_stdin(again->exec, (const guint8 *)"it\n", 3);
    WAIT_FOR(again->ended);
    g_assert_cmpstr(run_text(again, 1), ==, "started\ngot it\n");
    g_assert_cmpint(again->status, ==, 5);
    fixture_stop(f);
}

int
main(int argc, char **argv)
{
    g_autofree char *path = NULL;
    const char *builddir = g_getenv("abs_top_builddir");

    g_test_init(&argc, &argv, NULL);
    path = builddir ? g_build_filename(builddir, "agent", "msb-agent", NULL)
                    : g_canonicalize_filename("agent/msb-agent", NULL);
    if (!fixture_use_agent(path)) {
        g_print("1..0 # SKIP no agent at %s\n", path);
        return 0;
    }
    g_test_add_func("/real-agent/basics", test_basics);
    g_test_add_func("/real-agent/pipe", test_pipe);
    g_test_add_func("/real-agent/slow-reader", test_slow_reader);
    g_test_add_func("/real-agent/many", test_many);
    g_test_add_func("/real-agent/terminal", test_terminal);
    g_test_add_func("/real-agent/lost-client", test_lost_client);
    g_test_add_func("/real-agent/detach", test_detach);
    return g_test_run();
}

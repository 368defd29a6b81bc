/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay and the client library against each other, with an agent that acts. */
#include <config.h>

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake-agent.h"
#include "fixture.h"

static void
test_output_and_status(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) echo = RUN(client, "echo", "hello", "world");
    g_autoptr(Run) err = RUN(client, "err", "oh");
    g_autoptr(Run) seven = RUN(client, "exit", "7");
    g_autoptr(Run) died = RUN(client, "die", "15");
    g_autoptr(Run) missing = RUN(client, "missing");
    g_auto(GStrv) timings = msb_client_dup_timings(client);

    WAIT_FOR(echo->ended && err->ended && seven->ended && died->ended && missing->ended);
    g_assert_cmpstr(run_text(echo, 1), ==, "hello world\n");
    g_assert_cmpint(echo->status, ==, 0);
    g_assert_true(echo->started);
    g_assert_cmpuint(echo->pid, ==, 1000 + msb_exec_get_id(echo->exec));
    g_assert_cmpstr(run_text(err, 2), ==, "oh\n");
    g_assert_cmpstr(run_text(err, 1), ==, "");
    g_assert_cmpint(err->status, ==, 3);
    g_assert_cmpint(seven->status, ==, 7);
    g_assert_cmpint(seven->signum, ==, 0);
    g_assert_cmpint(died->status, ==, 128 + 15);
    g_assert_cmpint(died->signum, ==, 15);
    g_assert_cmpint(missing->status, ==, 127);
    g_assert_cmpstr(missing->error, ==, "command 'missing' was not found in the sandbox");
    g_assert_cmpstr(timings[0], ==, "agent=5");
    fixture_stop(f);
}

static void
test_sync(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    const char *cat[] = { "cat", NULL };
    const char *none[] = { "missing", NULL };
    MsbExecOptions options = { .argv = cat };
    gsize n = 5 * 1000 * 1000;
    guint8 *big = g_malloc(n);
    g_autoptr(GBytes) input = NULL;
    g_autoptr(GBytes) out = NULL;
    g_autoptr(GBytes) err = NULL;
    g_autoptr(GError) error = NULL;
    int status, signum;

    for (gsize i = 0; i < n; i++)
        big[i] = FLOOD_BYTE(i);
    input = g_bytes_new_take(big, n);
    g_assert_true(msb_client_exec_sync(client, &options, input, &out, &err, &status, &signum, &error));
    g_assert_no_error(error);
    g_assert_true(g_bytes_equal(input, out));
    g_assert_cmpuint(g_bytes_get_size(err), ==, 0);
    g_assert_cmpint(status, ==, 0);

    options.argv = none;
    g_assert_false(msb_client_exec_sync(client, &options, NULL, NULL, NULL, &status, &signum, &error));
    g_assert_cmpint(status, ==, 127);
    g_assert_nonnull(error);
    fixture_stop(f);
}

static void
test_stdin_bounded(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) deaf = RUN(client, "deaf");
    g_autofree guint8 *data = g_malloc0(4 * 1024 * 1024);
    gsize taken = 0, limit = 2 * MP_WINDOW;
    g_autoptr(Run) echo = NULL;

    WAIT_FOR(deaf->started);
    /* A command that never reads takes a window in the guest and one in the relay; others go on. */
    for (int i = 0; i < 200; i++) {
        taken += msb_exec_write_stdin(deaf->exec, data, 64 * 1024);
        fixture_turn();
        if (taken >= limit && !deaf->ready)
            break;
    }
    g_assert_cmpuint(taken, >=, MP_WINDOW);
    g_assert_cmpuint(taken, <=, limit);
    echo = RUN(client, "echo", "still here");
    WAIT_FOR(echo->ended);
    msb_exec_signal(deaf->exec, SIGTERM);
    WAIT_FOR(deaf->ended);
    g_assert_cmpint(deaf->signum, ==, SIGTERM);
    fixture_stop(f);
}

static void
test_slow_reader(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(MsbClient) other = fixture_connect(f);
    g_autoptr(Run) flood = RUN(client, "flood", "1073741824");
    g_autoptr(Run) echo = NULL;

    /* Not reading stops the command after its window and what waits here, and disturbs nobody. */
    flood->keep = FALSE;
    flood->hold = TRUE;
    WAIT_FOR(flood->count[0] > 0);
    echo = RUN(other, "echo", "free");
    WAIT_FOR(echo->ended);
    for (int i = 0; i < 5; i++)
        fixture_turn();
    g_assert_cmpuint(flood->count[0], <=, MP_DATA_MAX);
    g_assert_false(flood->ended);

    flood->hold = FALSE;
    msb_exec_resume(flood->exec);
    WAIT_FOR(flood->ended);
    g_assert_cmpuint(flood->count[0], ==, 1073741824);
    g_assert_cmpint(flood->status, ==, 0);
    g_test_message("peak %" G_GUINT64_FORMAT " KiB", fixture_peak_kib(f));
#if !defined(__SANITIZE_ADDRESS__)
    g_assert_cmpuint(fixture_peak_kib(f), <, 24 * 1024);
#endif
    fixture_stop(f);
}

static void
test_stuck_client(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) stuck = fixture_connect(f);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(GPtrArray) runs = g_ptr_array_new_with_free_func((GDestroyNotify)run_free);
    g_autoptr(Run) echo = NULL;

    /* One that does not even read its socket, with many commands and many questions. */
    for (int i = 0; i < 20; i++)
        g_ptr_array_add(runs, RUN(stuck, "flood", "100000000"));
    for (int i = 0; i < 100000; i++)
        msb_link_send_data(msb_client_get_link(stuck), MP_CTL_STATUS, 0, NULL, 0);
    for (int i = 0; i < 50; i++) {
        const char *argv[] = { "echo", "alive", NULL };
        MsbExecOptions options = { .argv = argv };
        int status;

        g_assert_true(msb_client_exec_sync(client, &options, NULL, NULL, NULL, &status, NULL, NULL));
        g_assert_cmpint(status, ==, 0);
    }
#if !defined(__SANITIZE_ADDRESS__)
    g_assert_cmpuint(fixture_peak_kib(f), <, 40 * 1024);
#endif
    fixture_stop(f);
}

static void
test_many(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(GPtrArray) runs = g_ptr_array_new_with_free_func((GDestroyNotify)run_free);
    g_autoptr(GPtrArray) list = NULL;

    for (int i = 0; i < 50; i++)
        g_ptr_array_add(runs, RUN(client, "cat"));
    for (int i = 0; i < 50; i++)
        WAIT_FOR(((Run *)g_ptr_array_index(runs, i))->started);
    list = msb_client_list_execs(client, NULL);
    g_assert_cmpuint(list->len, ==, 50);
    for (int i = 49; i >= 0; i--) {
        Run *run = g_ptr_array_index(runs, i);
        g_autofree char *text = g_strdup_printf("line %d\n", i);

        g_assert_cmpuint(msb_exec_write_stdin(run->exec, (guint8 *)text, strlen(text)), ==, strlen(text));
        msb_exec_close_stdin(run->exec);
    }
    for (int i = 0; i < 50; i++) {
        Run *run = g_ptr_array_index(runs, i);
        g_autofree char *text = g_strdup_printf("line %d\n", i);

        WAIT_FOR(run->ended);
        g_assert_cmpstr(run_text(run, 1), ==, text);
    }
    fixture_stop(f);
}

static void
test_too_many(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(GPtrArray) runs = g_ptr_array_new_with_free_func((GDestroyNotify)run_free);
    g_autoptr(GPtrArray) list = NULL;
    g_autofree char *long_arg = g_strnfill(60000, 'x');
    Run *last;

    for (int i = 0; i < 257; i++) {
        Run *run = RUN(client, "sleep", long_arg, "", "");

        g_ptr_array_add(runs, run);
        WAIT_FOR(run->started || run->ended);
    }
    last = g_ptr_array_index(runs, 256);
    WAIT_FOR(last->ended);
    g_assert_cmpint(last->status, ==, -1);
    g_assert_nonnull(strstr(last->error, "256 commands"));
    /* The list fits in a frame all the same. */
    list = msb_client_list_execs(client, NULL);
    g_assert_nonnull(list);
    g_assert_cmpuint(list->len, ==, 256);
    fixture_stop(f);
}

static void
test_detach_attach(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) first = fixture_connect(f);
    g_autoptr(Run) run = RUN(first, "cat");
    g_autoptr(MsbClient) second = NULL;
    g_autoptr(Run) again = NULL;
    g_autoptr(Run) watcher = NULL;
    g_autoptr(Run) unknown = NULL;
    guint id;

    WAIT_FOR(run->started);
    msb_exec_write_stdin(run->exec, (const guint8 *)"one\n", 4);
    WAIT_FOR(run->count[0] == 4);
    id = msb_exec_get_id(run->exec);
    g_assert_cmpuint(id, >, 0);
    msb_exec_detach(run->exec);
    WAIT_FOR(run->ended);
    g_assert_cmpint(run->status, ==, -2);
    msb_client_unref(g_steal_pointer(&first));

    second = fixture_connect(f);
    again = run_attach(second, id);
    WAIT_FOR(again->count[0] == 4);
    g_assert_true(again->started);
    g_assert_cmpstr(run_text(again, 1), ==, "one\n");

    /* The latest one attached owns stdin, the other still sees the output. */
    watcher = run_attach(second, id);
    WAIT_FOR(watcher->count[0] == 4);
    msb_exec_write_stdin(again->exec, (const guint8 *)"ignored\n", 8);
    msb_exec_write_stdin(watcher->exec, (const guint8 *)"two\n", 4);
    WAIT_FOR(again->count[0] == 8 && watcher->count[0] == 8);
    g_assert_cmpstr(run_text(again, 1), ==, "one\ntwo\n");
    msb_exec_close_stdin(watcher->exec);
    WAIT_FOR(again->ended && watcher->ended);
    g_assert_cmpint(again->status, ==, 0);

    unknown = run_attach(second, 4711);
    WAIT_FOR(unknown->ended);
    g_assert_cmpint(unknown->status, ==, -1);
    g_assert_cmpstr(unknown->error, ==, "no command 4711 is running");
    fixture_stop(f);
}

static void
test_detached_end(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) run = RUN(client, "flood", "3000000");
    g_autoptr(Run) later = NULL;
    g_autoptr(GPtrArray) list = NULL;
    guint id;

    run->hold = TRUE;
    WAIT_FOR(run->count[0] > 0);
    id = msb_exec_get_id(run->exec);
    msb_exec_detach(run->exec);
    /* Nobody reads any more: it runs on, to its end. */
    do {
        g_clear_pointer(&list, g_ptr_array_unref);
        list = msb_client_list_execs(client, NULL);
    } while (list->len > 0);
    run->hold = FALSE;
    msb_exec_resume(run->exec);
    WAIT_FOR(run->ended);
    later = run_attach(client, id);
    WAIT_FOR(later->ended);
    g_assert_cmpint(later->status, ==, 0);
    g_assert_cmpuint(later->count[0], >, 60 * 1000);
    g_assert_cmpuint(later->count[0], <=, 64 * 1024);
    for (guint i = 0; i < later->out[0]->len; i++)
        g_assert_cmpuint(later->out[0]->data[i], ==, FLOOD_BYTE(3000000 - later->out[0]->len + i));
    fixture_stop(f);
}

static void
test_slow_watcher(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) a = fixture_connect(f);
    g_autoptr(MsbClient) b = fixture_connect(f);
    g_autoptr(Run) watcher = RUN(a, "flood", "50000000");
    g_autoptr(Run) owner = NULL;

    watcher->hold = TRUE;
    watcher->keep = FALSE;
    WAIT_FOR(watcher->count[0] > 0);
    owner = run_attach(b, msb_exec_get_id(watcher->exec));
    owner->keep = FALSE;
    WAIT_FOR(owner->ended);
    g_assert_cmpint(owner->status, ==, 0);
    /* It is told that it was cut off, once it has read what came before. */
    watcher->hold = FALSE;
    msb_exec_resume(watcher->exec);
    WAIT_FOR(watcher->ended);
    g_assert_cmpint(watcher->status, ==, -1);
    g_assert_nonnull(strstr(watcher->error, "too slowly"));
    fixture_stop(f);
}

static void
test_client_lost(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    MsbClient *client = fixture_connect(f);
    g_autoptr(MsbClient) other = fixture_connect(f);
    g_autoptr(Run) polite = RUN(client, "sleep");
    g_autoptr(Run) stubborn = RUN(client, "stubborn");
    g_autoptr(Run) undead = RUN(client, "undead");
    gint64 end = g_get_monotonic_time() + DEADLINE_S * G_USEC_PER_SEC;
    g_autoptr(Run) kept = RUN(client, "sleep");
    g_autoptr(Run) watched = RUN(client, "sleep");
    g_autoptr(Run) watcher = NULL;
    g_autoptr(GPtrArray) list = NULL;
    g_autofree char *log = NULL;

    WAIT_FOR(polite->started && stubborn->started && undead->started && kept->started && watched->started);
    msb_exec_detach(kept->exec);
    WAIT_FOR(kept->ended);
    watcher = run_attach(other, msb_exec_get_id(watched->exec));
    WAIT_FOR(watcher->started);
    msb_client_unref(client);
    /* SIGHUP ends one, SIGKILL after the grace the other, and a guest that says that neither did is not believed;
     * what was detached or is watched stays. */
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_clear_pointer(&list, g_ptr_array_unref);
        list = msb_client_list_execs(other, NULL);
        g_assert_nonnull(list);
    } while (list->len > 2);
    g_assert_cmpuint(((MsbExecInfo *)list->pdata[0])->id, ==, msb_exec_get_id(kept->exec));
    g_assert_cmpuint(((MsbExecInfo *)list->pdata[1])->id, ==, msb_exec_get_id(watched->exec));
    g_assert_cmpuint(((MsbExecInfo *)list->pdata[0])->attached, ==, 0);
    g_assert_cmpuint(((MsbExecInfo *)list->pdata[1])->attached, ==, 1);
    log = fixture_read_log(f);
    g_assert_nonnull(strstr(log, "ended by signal 1\""));
    g_assert_nonnull(strstr(log, "ended by signal 9\""));
    g_assert_nonnull(strstr(log, "given up"));
    fixture_stop(f);
}

static void
test_resize(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) run = RUN_TTY(client, "size");

    msb_exec_resize(run->exec, 50, 132);
    WAIT_FOR(run->count[0] == 7);
    g_assert_cmpstr(run_text(run, 1), ==, "50x132\n");
    fixture_stop(f);
}

/* The end of the workload ends the server, although its client has gone and others are there. */
static void
test_workload(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(MsbClient) other = fixture_connect(f);
    g_autoptr(Run) work = RUN(client, "sleep");
    g_autoptr(Run) bystander = RUN(other, "sleep");
    g_autoptr(Run) again = NULL;

    msb_exec_set_workload(work->exec);
    WAIT_FOR(work->started && bystander->started);
    msb_exec_detach(work->exec);
    WAIT_FOR(work->ended);
    g_assert_false(bystander->ended);
    again = run_attach(other, msb_exec_get_id(work->exec));
    msb_exec_signal(again->exec, SIGTERM);
    WAIT_FOR(again->ended && bystander->ended);
    g_assert_cmpint(again->signum, ==, SIGTERM);
    g_assert_cmpint(bystander->status, ==, -1);
    fixture_stopped(f);
}

/* ---- a guest that means harm ------------------------------------------------------------- */

static void
test_hostile(gconstpointer how)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) bystander = RUN(client, "sleep");
    g_autoptr(Run) run = NULL;
    g_autoptr(GError) error = NULL;

    WAIT_FOR(bystander->started);
    run = RUN(client, (const char *)how);
    run->hold = TRUE;
    WAIT_FOR(bystander->ended);
    g_assert_cmpint(bystander->status, ==, -1);
    g_assert_nonnull(strstr(bystander->error, "guest"));
    g_assert_null(msb_client_open(f->socket, "test", TRUE, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_BOOT);
    g_test_message("%s", error->message);
    fixture_stop(f);
}

/* What a guest says about its failure is printed and kept: bounded, and for no terminal to obey. */
static void
test_wordy(void)
{
    Fixture *f = fixture_start(fake_agent_fail_to_boot, 100);
    g_autofree char *log_path = g_build_filename(f->dir, "supervisor.log", NULL);
    g_autofree char *log = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_null(msb_client_open(f->socket, "test", TRUE, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_BOOT);
    g_assert_nonnull(strstr(error->message, "stage 'root'"));
    g_assert_nonnull(strstr(error->message, "No such file"));
    g_assert_cmpuint(strlen(error->message), <, 4096);
    g_assert_null(strstr(error->message, "\xc2\x9b"));
    g_assert_true(g_file_get_contents(log_path, &log, NULL, NULL));
    g_assert_nonnull(strstr(log, "agent: "));
    g_assert_cmpuint(strlen(log), <, 16384);
    g_assert_null(strstr(log, "\xc2\x9b"));
    fixture_stop(f);
}

/* One that writes without end and reads nothing: what it would have to read must not pile up here. */
static void
test_swamp(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) bystander = RUN(client, "sleep");
    g_autoptr(Run) run = RUN_TTY(client, "swamp");
    g_autoptr(GPtrArray) list = NULL;

    WAIT_FOR(bystander->started && run->started);
    for (guint i = 0; i < 40000; i++)
        msb_exec_resize(run->exec, 1 + i % 100, 80);
    msb_exec_detach(run->exec);
    WAIT_FOR(run->ended);
    g_assert_cmpint(kill(f->agent, SIGUSR1), ==, 0);
    /* Nobody reads it, so all is credited, as long as the guest takes the credit. */
    do {
        g_clear_pointer(&list, g_ptr_array_unref);
        list = msb_client_list_execs(client, NULL);
    } while (!bystander->ended && list && list->len > 1);
    WAIT_FOR(bystander->ended || list->len < 2);
    g_assert_true(bystander->ended);
    g_assert_nonnull(strstr(bystander->error, "more output than its window allows"));
    fixture_stop(f);
}

static void
test_strangers(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) run = RUN(client, "strangers");

    WAIT_FOR(run->ended);
    g_assert_cmpint(run->status, ==, 0);
    fixture_stop(f);
}

/* ---- a client that means harm -------------------------------------------------------------- */

static void
expect_hangup(Fixture *f, const void *bytes, gsize n)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = { DEADLINE_S, 0 };
    char buf[4096];
    ssize_t got;

    g_strlcpy(address.sun_path, f->socket, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), ==, 0);
    g_assert_cmpint(send(fd, bytes, n, MSG_NOSIGNAL), ==, (gssize)n);
    while ((got = recv(fd, buf, sizeof(buf), 0)) > 0)
        continue;
    g_assert_true(got == 0 || errno == ECONNRESET);
    close(fd);
}

static void
test_bad_client(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(Run) run = NULL;
    struct mp_enc e = { 0 };

    expect_hangup(f, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    /* No greeting. */
    g_assert_cmpint(mp_raw_encode(&e, MP_CTL_STATUS, 0, NULL, 0), ==, 0);
    expect_hangup(f, e.buf, e.len);
    mp_enc_clear(&e);
    /* A greeting, then a command that is none. */
    mp_enc_begin(&e, MP_CTL_HELLO, 0, 0);
    mp_put_u32(&e, MP_VERSION);
    g_assert_cmpint(mp_enc_end(&e), ==, 0);
    g_assert_cmpint(mp_raw_encode(&e, MP_EXEC, 1, "junk", 4), ==, 0);
    expect_hangup(f, e.buf, e.len);
    mp_enc_clear(&e);
    /* A version from the future. */
    mp_enc_begin(&e, MP_CTL_HELLO, 0, 0);
    mp_put_u32(&e, MP_VERSION + 1);
    g_assert_cmpint(mp_enc_end(&e), ==, 0);
    expect_hangup(f, e.buf, e.len);
    mp_enc_clear(&e);

    run = RUN(client, "echo", "unharmed");
    WAIT_FOR(run->ended);
    g_assert_cmpstr(run_text(run, 1), ==, "unharmed\n");
    fixture_stop(f);
}

static void
test_disk_changed(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_client_disk_changed(client, "m0", &error));
    g_assert_no_error(error);
    g_assert_false(msb_client_disk_changed(client, "m1", &error));
    g_assert_nonnull(strstr(error->message, "no disk 'm1'"));
    g_clear_error(&error);
    g_assert_true(msb_client_disk_changed(client, "m0", &error));
    g_assert_no_error(error);
    fixture_stop(f);
}

static void
test_disk_grow(void)
{
    Fixture *f = fixture_start(fake_agent_run, 100);
    g_autoptr(MsbClient) client = fixture_connect(f);
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_client_disk_grow(client, "m0", "+4096", &error));
    g_assert_no_error(error);
    g_assert_false(msb_client_disk_grow(client, "m0", "4097111", &error));
    g_assert_nonnull(strstr(error->message, "no good"));
    g_clear_error(&error);
    g_assert_false(msb_client_disk_grow(client, "m1", "4096", &error));
    g_assert_nonnull(strstr(error->message, "no disk 'm1'"));
    g_clear_error(&error);
    g_assert_false(msb_client_disk_grow(client, "busy", "4096", &error));
    g_assert_nonnull(strstr(error->message, "ask again"));
    g_clear_error(&error);
    g_assert_true(msb_client_disk_grow(client, "m0", "8192", &error));
    g_assert_no_error(error);
    /* What is no size never gets to a back-end. */
    g_assert_false(msb_client_disk_grow(client, "m0", "4k", &error));
    fixture_stop(f);
}

static void
test_not_running(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(msb_client_open("/nonexistent/control.sock", "ghost", TRUE, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_NOT_RUNNING);
    g_assert_cmpstr(error->message, ==, "sandbox 'ghost' is not running");
}

int
main(int argc, char **argv)
{
    static const char *const hostile[] = { "overrun", "garbage", "badexit", "badcredit", "toolong" };

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/relay/output-and-status", test_output_and_status);
    g_test_add_func("/relay/sync", test_sync);
    g_test_add_func("/relay/stdin-bounded", test_stdin_bounded);
    g_test_add_func("/relay/slow-reader", test_slow_reader);
    g_test_add_func("/relay/stuck-client", test_stuck_client);
    g_test_add_func("/relay/many", test_many);
    g_test_add_func("/relay/too-many", test_too_many);
    g_test_add_func("/relay/detach-attach", test_detach_attach);
    g_test_add_func("/relay/detached-end", test_detached_end);
    g_test_add_func("/relay/slow-watcher", test_slow_watcher);
    g_test_add_func("/relay/client-lost", test_client_lost);
    g_test_add_func("/relay/resize", test_resize);
    g_test_add_func("/relay/workload", test_workload);
    g_test_add_func("/relay/wordy", test_wordy);
    g_test_add_func("/relay/swamp", test_swamp);
    g_test_add_func("/relay/strangers", test_strangers);
    g_test_add_func("/relay/bad-client", test_bad_client);
    g_test_add_func("/relay/disk-changed", test_disk_changed);
    g_test_add_func("/relay/disk-grow", test_disk_grow);
    g_test_add_func("/relay/not-running", test_not_running);
    for (guint i = 0; i < G_N_ELEMENTS(hostile); i++) {
        g_autofree char *path = g_strconcat("/relay/hostile/", hostile[i], NULL);

        g_test_add_data_func(path, hostile[i], test_hostile);
    }
    return g_test_run();
}

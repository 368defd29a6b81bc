/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The exec log and its reader: what goes in comes out, byte for byte. */
#include <config.h>

#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "msb-error.h"
#include "msb-logs-private.h"
#include "msb-paths.h"
#include "sv-execlog.h"

typedef struct {
    char *dir;
    char *path;
    SvExecLog *log;
    SvLogTail tail;
} Log;

static void
set_up(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    memset(l, 0, sizeof(*l));
    l->dir = g_dir_make_tmp("msb-log-XXXXXX", NULL);
    l->path = g_build_filename(l->dir, "exec.log", NULL);
    l->log = sv_exec_log_open(l->path, &error);
    g_assert_no_error(error);
}

static void
tear_down(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    sv_exec_log_free(l->log);
    msb_paths_remove_tree(l->dir, NULL);
    g_free(l->dir);
    g_free(l->path);
}

typedef struct {
    GByteArray *bytes;
    guint records;
    guint stop_after;
    GString *ids;
} Seen;

static gboolean
see(const MsbLogRecord *record, gpointer data)
{
    Seen *seen = data;

    g_byte_array_append(seen->bytes, record->bytes, (guint)record->n);
    g_string_append_printf(seen->ids, "%u:%d ", record->id, record->stream);
    return ++seen->records != seen->stop_after;
}

static void
seen_clear(Seen *seen)
{
    g_clear_pointer(&seen->bytes, g_byte_array_unref);
    if (seen->ids)
        g_string_free(g_steal_pointer(&seen->ids), TRUE);
}
typedef Seen SeenAuto;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SeenAuto, seen_clear)

static void
read_log(Log *l, const MsbLogOptions *options, Seen *seen)
{
    g_autoptr(GError) error = NULL;

    seen->bytes = g_byte_array_new();
    seen->ids = g_string_new(NULL);
    g_assert_true(msb_logs_read_path(l->path, options, see, seen, NULL, NULL, NULL, &error));
    g_assert_no_error(error);
}

#define ALL ((MsbLogOptions){ .tail = -1 })
#define PUT(l, text) \
    sv_exec_log_output((l)->log, "stdout", 1, &(l)->tail, (const guint8 *)(text), sizeof(text) - 1)

static char *
raw(const Log *l)
{
    char *text = NULL;

    g_assert_true(g_file_get_contents(l->path, &text, NULL, NULL));
    return text;
}

static void
test_text(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    g_auto(SeenAuto) seen = { 0 };
    g_autofree char *text = NULL;
    static const char tricky[] = "a \"quote\" \\ tab\t\r\n\x01\x7f é 🙂 </script>\n";

    PUT(l, tricky);
    read_log(l, &ALL, &seen);
    g_assert_cmpmem(seen.bytes->data, seen.bytes->len, tricky, sizeof(tricky) - 1);
    g_assert_cmpstr(seen.ids->str, ==, "1:1 ");
    text = raw(l);
    g_assert_true(g_utf8_validate(text, -1, NULL));
    g_assert_nonnull(strstr(text, "\"s\":\"stdout\",\"id\":1,\"d\":\"a \\\"quote\\\" \\\\ tab\\t\\r\\n\\u0001"));
}

static void
test_straddling(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    g_auto(SeenAuto) seen = { 0 };
    g_autofree char *text = NULL;

    /* U+1F642 in four pieces, U+00E9 in two. */
    PUT(l, "one \xf0");
    PUT(l, "\x9f");
    PUT(l, "\x99");
    PUT(l, "\x82 two \xc3");
    PUT(l, "\xa9\n");
    text = raw(l);
    g_assert_null(strstr(text, "\"b\""));
    read_log(l, &ALL, &seen);
    g_assert_cmpmem(seen.bytes->data, seen.bytes->len, "one 🙂 two é\n", strlen("one 🙂 two é\n"));
}

static void
test_binary(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    g_auto(SeenAuto) seen = { 0 };
    guint8 all[256 * 4];
    GByteArray *want = g_byte_array_new();

    for (guint i = 0; i < sizeof(all); i++)
        all[i] = (guint8)(i % 256);
    /* In pieces of every length, so that every byte comes last once. */
    for (guint at = 0, n = 1; at < sizeof(all); at += n, n++) {
        n = MIN(n, (guint)sizeof(all) - at);
        sv_exec_log_output(l->log, "stdout", 1, &l->tail, all + at, n);
    }
    sv_exec_log_end(l->log, "stdout", 1, &l->tail);
    g_byte_array_append(want, all, sizeof(all));
    read_log(l, &ALL, &seen);
    g_assert_cmpmem(seen.bytes->data, seen.bytes->len, want->data, want->len);
    g_byte_array_unref(want);
}

/* A character that never becomes complete is kept all the same. */
static void
test_unfinished(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    g_auto(SeenAuto) seen = { 0 };

    PUT(l, "x\xf0\x9f");
    sv_exec_log_end(l->log, "stdout", 1, &l->tail);
    sv_exec_log_end(l->log, "stdout", 1, &l->tail);
    read_log(l, &ALL, &seen);
    g_assert_cmpmem(seen.bytes->data, seen.bytes->len, "x\xf0\x9f", 3);
    g_assert_cmpuint(seen.records, ==, 2);
}

static void
test_filters(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    SvLogTail other = { 0 };
    g_auto(SeenAuto) by_id = { 0 };
    g_auto(SeenAuto) by_stream = { 0 };
    g_auto(SeenAuto) later = { 0 };
    g_auto(SeenAuto) enough = { .stop_after = 2 };
    gint64 between;

    PUT(l, "first\n");
    sv_exec_log_output(l->log, "stderr", 2, &other, (const guint8 *)"second\n", 7);
    g_usleep(2000);
    between = g_get_real_time();
    sv_exec_log_system(l->log, 2, "exited with status %d", 3);
    read_log(l, &(MsbLogOptions){ .tail = -1, .id = 2 }, &by_id);
    g_assert_cmpstr(by_id.ids->str, ==, "2:2 2:8 ");
    read_log(l, &(MsbLogOptions){ .tail = -1, .streams = MSB_LOG_STDOUT | MSB_LOG_SYSTEM }, &by_stream);
    g_assert_cmpstr(by_stream.ids->str, ==, "1:1 2:8 ");
    read_log(l, &(MsbLogOptions){ .tail = -1, .since = between }, &later);
    g_assert_cmpstr(later.ids->str, ==, "2:8 ");
    read_log(l, &ALL, &enough);
    g_assert_cmpuint(enough.records, ==, 2);
}

static void
check_tail(Log *l, gint64 lines, const char *want)
{
    g_auto(SeenAuto) seen = { 0 };

    read_log(l, &(MsbLogOptions){ .tail = lines }, &seen);
    g_assert_cmpmem(seen.bytes->data, seen.bytes->len, want, strlen(want));
}

static void
test_tail(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    PUT(l, "1\n2\n3\n");
    PUT(l, "4\n5\n");
    PUT(l, "6");
    check_tail(l, 0, "");
    check_tail(l, 1, "6");
    check_tail(l, 2, "5\n6");
    check_tail(l, 4, "3\n4\n5\n6");
    check_tail(l, 6, "1\n2\n3\n4\n5\n6");
    check_tail(l, 100, "1\n2\n3\n4\n5\n6");
}

/* Rotation loses no line until the oldest file goes, and the space is bounded. */
static void
test_rotation(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    g_auto(SeenAuto) seen = { 0 };
    g_autofree char *oldest = g_strconcat(l->path, ".3", NULL);
    g_autofree char *beyond = g_strconcat(l->path, ".4", NULL);
    g_autofree char *block = g_strnfill(32 * 1024, 'x');
    guint n = 0, first, last = 0;
    const char *p;

    while (!g_file_test(oldest, G_FILE_TEST_EXISTS) || n % 100 != 0) {
        g_autofree char *line = g_strdup_printf("%08u%s\n", n++, block);

        sv_exec_log_output(l->log, "stdout", 1, &l->tail, (const guint8 *)line, strlen(line));
    }
    g_assert_false(g_file_test(beyond, G_FILE_TEST_EXISTS));
    read_log(l, &ALL, &seen);
    g_byte_array_append(seen.bytes, (const guint8 *)"", 1);
    p = (const char *)seen.bytes->data;
    first = (guint)strtoul(p, NULL, 10);
    for (guint i = first; *p; i++) {
        last = (guint)strtoul(p, NULL, 10);
        g_assert_cmpuint(last, ==, i);
        p = strchr(p, '\n') + 1;
    }
    g_assert_cmpuint(last, ==, n - 1);
    g_assert_cmpuint(n - first, >=, 3 * SV_EXECLOG_LIMIT / (33 * 1024));
}

static void
test_damaged(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    g_auto(SeenAuto) seen = { 0 };
    FILE *f;

    PUT(l, "before\n");
    f = fopen(l->path, "a");
    fputs("not json\n{}\n[1]\n{\"t\":\"x\",\"s\":\"stdout\",\"d\":\"y\"}\n{\"t\":1,\"s\":2,\"d\":3}\n\xff\n", f);
    for (guint i = 0; i < 3000; i++)
        fprintf(f, "%01024d", 0);
    fputs("\n", f);
    fclose(f);
    PUT(l, "after\n");
    read_log(l, &ALL, &seen);
    g_assert_cmpmem(seen.bytes->data, seen.bytes->len, "before\nafter\n", 13);
}

/* ---- following ------------------------------------------------------------------------- */

typedef struct {
    Log *l;
    gint running;             /* atomic */
} Writer;

static gboolean
is_running(gpointer data)
{
    return g_atomic_int_get(&((Writer *)data)->running);
}

static gpointer
write_lines(gpointer data)
{
    Writer *writer = data;
    g_autofree char *block = g_strnfill(20 * 1024, 'y');

    /* Over several rotations, while the other side reads. */
    for (guint i = 0; i < 1500; i++) {
        g_autofree char *line = g_strdup_printf("%08u%s\n", i, block);

        sv_exec_log_output(writer->l->log, "stdout", 1, &writer->l->tail, (const guint8 *)line, strlen(line));
        if (i % 100 == 0)
            g_usleep(5000);
    }
    g_atomic_int_set(&writer->running, FALSE);
    return NULL;
}

typedef struct {
    guint next;
    gboolean order;
} Follow;

static gboolean
follow_line(const MsbLogRecord *record, gpointer data)
{
    Follow *follow = data;
    g_autofree char *number = g_strndup((const char *)record->bytes, 8);

    if (strtoul(number, NULL, 10) != follow->next)
        follow->order = FALSE;
    follow->next++;
    return TRUE;
}

static void
test_follow(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    Writer writer = { l, TRUE };
    Follow follow = { 0, TRUE };
    MsbLogOptions options = { .tail = -1, .follow = TRUE };
    GThread *thread = g_thread_new("writer", write_lines, &writer);
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_logs_read_path(l->path, &options, follow_line, &follow, is_running, &writer, NULL, &error));
    g_thread_join(thread);
    g_assert_cmpuint(follow.next, ==, 1500);
    g_assert_true(follow.order);
}

static gpointer
cancel_soon(gpointer data)
{
    g_usleep(50000);
    g_cancellable_cancel(data);
    return NULL;
}

static gboolean
always(gpointer data G_GNUC_UNUSED)
{
    return TRUE;
}

static void
test_cancel(Log *l, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    MsbLogOptions options = { .tail = -1, .follow = TRUE };
    GThread *thread = g_thread_new("cancel", cancel_soon, cancellable);
    g_autoptr(GError) error = NULL;
    Follow follow = { 0 };

    g_assert_false(
        msb_logs_read_path(l->path, &options, follow_line, &follow, always, NULL, cancellable, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_thread_join(thread);
}

static void
test_parse_time(void)
{
    gint64 t, now = g_get_real_time();
    g_autoptr(GError) error = NULL;

    g_assert_true(msb_logs_parse_time("2026-01-31T12:00:00.5Z", &t, NULL));
    g_assert_cmpint(t, ==, G_GINT64_CONSTANT(1769860800500000));
    g_assert_true(msb_logs_parse_time("2026-01-31T13:00:00+01:00", &t, NULL));
    g_assert_cmpint(t, ==, G_GINT64_CONSTANT(1769860800000000));
    g_assert_true(msb_logs_parse_time("5m", &t, NULL));
    g_assert_cmpint(t, >=, now - 300 * G_USEC_PER_SEC);
    g_assert_cmpint(t, <=, g_get_real_time() - 300 * G_USEC_PER_SEC);
    g_assert_false(msb_logs_parse_time("yesterday", &t, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_INVALID);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add(path, Log, NULL, set_up, func, tear_down)
    ADD("/execlog/text", test_text);
    ADD("/execlog/straddling", test_straddling);
    ADD("/execlog/binary", test_binary);
    ADD("/execlog/unfinished", test_unfinished);
    ADD("/execlog/filters", test_filters);
    ADD("/execlog/tail", test_tail);
    ADD("/execlog/rotation", test_rotation);
    ADD("/execlog/damaged", test_damaged);
    ADD("/execlog/follow", test_follow);
    ADD("/execlog/cancel", test_cancel);
    g_test_add_func("/execlog/parse-time", test_parse_time);
    return g_test_run();
}

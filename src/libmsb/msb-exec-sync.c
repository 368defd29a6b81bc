/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running a command to its end with everything collected. */
#include <config.h>

#include "msb-client-private.h"
#include "msb-error.h"

/* What a program may collect; a command that writes more is for the callbacks. */
#define COLLECT_MAX (256u * 1024 * 1024)

typedef struct {
    GByteArray *streams[2];
    gboolean wanted[2];
    gboolean too_much;
    const guint8 *input;
    gsize input_left;
    gboolean done;
    int status, signum;
    GError *error;
} Run;

static void
feed(MsbExec *exec, gpointer data)
{
    Run *run = data;
    gsize n = msb_exec_write_stdin(exec, run->input, run->input_left);

    run->input += n;
    run->input_left -= n;
    if (run->input_left == 0)
        msb_exec_close_stdin(exec);
}

static gboolean
collect(MsbExec *exec, int stream, const guint8 *bytes, gsize n, gpointer data)
{
    Run *run = data;
    GByteArray *into = run->streams[stream - 1];

    if (!run->wanted[stream - 1] || run->too_much)
        return TRUE;
    if (n > COLLECT_MAX - into->len) {
        run->too_much = TRUE;
        msb_exec_signal(exec, 9);
        return TRUE;
    }
    g_byte_array_append(into, bytes, (guint)n);
    return TRUE;
}

static void
ended(MsbExec *exec G_GNUC_UNUSED, int status, int signum, const GError *error, gpointer data)
{
    Run *run = data;

    run->done = TRUE;
    run->status = status;
    run->signum = signum;
    run->error = error ? g_error_copy(error) : NULL;
}

static gboolean
run_to_end(MsbClient *client, const MsbExecOptions *options, Run *run, GError **error)
{
    static const MsbExecCallbacks callbacks = { NULL, collect, feed, ended };
    g_autoptr(MsbExec) exec = msb_client_exec(client, options, &callbacks, run, error);

    if (!exec)
        return FALSE;
    feed(exec, run);
    while (!run->done) {
        g_autoptr(GError) local = NULL;

        /* A lost connection comes through ended(). */
        if (!msb_client_iterate(client, -1, &local) && !run->done) {
            msb_exec_disown(exec);
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
    }
    if (run->too_much) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_FAILED, "'%s' wrote more than %u MiB", options->argv[0],
                    COLLECT_MAX / (1024 * 1024));
        return FALSE;
    }
    if (run->error) {
        g_propagate_error(error, g_steal_pointer(&run->error));
        return FALSE;
    }
    return TRUE;
}

gboolean
msb_client_exec_sync(MsbClient *client, const MsbExecOptions *options, GBytes *input, GBytes **out, GBytes **err,
                     int *status, int *signum, GError **error)
{
    Run run = { .wanted = { out != NULL, err != NULL } };
    gboolean good;

    if (input)
        run.input = g_bytes_get_data(input, &run.input_left);
    run.streams[0] = g_byte_array_new();
    run.streams[1] = g_byte_array_new();
    good = run_to_end(client, options, &run, error);
    if (status)
        *status = run.status;
    if (signum)
        *signum = run.signum;
    g_clear_error(&run.error);
    for (int i = 0; i < 2; i++) {
        GBytes *bytes = g_byte_array_free_to_bytes(run.streams[i]);
        GBytes **to = i == 0 ? out : err;

        if (good && to)
            *to = g_steal_pointer(&bytes);
        g_clear_pointer(&bytes, g_bytes_unref);
    }
    return good;
}

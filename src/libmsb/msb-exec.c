/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command that runs in a sandbox, as its client sees it.
 *
 * What comes while the user has no room waits in one queue (so that stdout and
 * stderr keep their order), and the end waits behind it.  Bytes are credited to
 * the supervisor once the user has had them, which bounds the queue to the
 * window and the replay of an attach.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "mb-cleanup.h"
#include "msb-client-private.h"
#include "msb-error.h"
#include "msb-refs.h"

#define CREDIT_BATCH (MP_WINDOW / 4)
/* The window, the replay after an attach (64 KiB), and a window that a previous owner had not read. */
#define PENDING_MAX (2u * MP_WINDOW + 64u * 1024)

typedef struct {
    int stream;
    GBytes *bytes;
} Chunk;

struct _MsbExec {
    gatomicrefcount refs;
    MsbClient *client;           /* NULL once it is gone or this has ended */
    guint32 number;
    guint32 id;
    const MsbExecCallbacks *callbacks;
    MsbExecCallbacks copy;
    gpointer data;
    GQueue pending;              /* of Chunk */
    gsize pending_bytes;
    gsize consumed[2];           /* delivered and not credited yet */
    gboolean paused;
    gboolean delivering;
    gsize stdin_window;
    gboolean stdin_wanted;       /* a write was cut short */
    gboolean stdin_closed;
    gboolean ending;             /* the end is known and waits behind the queue */
    int status, signum;
    GError *error;
};

static void
chunk_free(gpointer data)
{
    Chunk *chunk = data;

    g_bytes_unref(chunk->bytes);
    g_free(chunk);
}

static void
exec_free(MsbExec *exec)
{
    g_queue_clear_full(&exec->pending, chunk_free);
    g_clear_error(&exec->error);
    g_free(exec);
}

MSB_DEFINE_REFS(MsbExec, msb_exec, exec_free)

void
msb_exec_disown(MsbExec *exec)
{
    exec->client = NULL;
}

/* Encoders of this file have one of: nothing, a u32, two u16. */
static void
send_u32(MsbExec *exec, guint16 type, guint32 value)
{
    g_auto(MsbEnc) e = { 0 };

    if (!exec->client)
        return;
    mp_enc_begin(&e, type, exec->number, 0);
    mp_put_u32(&e, value);
    if (mp_enc_end(&e) == 0)
        msb_link_send(msb_client_get_link(exec->client), &e);
}

static void
send_empty(MsbExec *exec, guint16 type)
{
    if (exec->client)
        msb_link_send_data(msb_client_get_link(exec->client), type, exec->number, NULL, 0);
}

/* ---- output and the end -------------------------------------------------------------- */

static void
consumed(MsbExec *exec, int stream, gsize n)
{
    g_auto(MsbEnc) e = { 0 };
    gsize *count = &exec->consumed[stream - 1];

    *count += n;
    if (*count < CREDIT_BATCH || !exec->client || exec->ending)
        return;
    if (mp_credit_encode(&e, exec->number, (guint8)stream, (guint32)*count) == 0)
        msb_link_send(msb_client_get_link(exec->client), &e);
    *count = 0;
}

static void
finish(MsbExec *exec)
{
    MsbClient *client = exec->client;

    if (!client)
        return;
    exec->client = NULL;
    exec->callbacks->ended(exec, exec->status, exec->signum, exec->error, exec->data);
    msb_client_forget_exec(client, exec->number);
}

/* Hand out what waits, as long as it is wanted, and then the end.  The caller holds a reference. */
static void
deliver(MsbExec *exec)
{
    if (exec->delivering)
        return;
    exec->delivering = TRUE;
    while (exec->client && !exec->paused && exec->pending.length > 0) {
        Chunk *chunk = g_queue_pop_head(&exec->pending);
        gsize n;
        const guint8 *p = g_bytes_get_data(chunk->bytes, &n);

        exec->pending_bytes -= n;
        if (exec->callbacks->output && !exec->callbacks->output(exec, chunk->stream, p, n, exec->data))
            exec->paused = TRUE;
        consumed(exec, chunk->stream, n);
        chunk_free(chunk);
    }
    exec->delivering = FALSE;
    if (exec->ending && exec->pending.length == 0)
        finish(exec);
}

static gboolean
take_output(MsbExec *exec, int stream, const guint8 *p, gsize n, GError **error)
{
    Chunk *chunk;

    if (n == 0 || exec->ending)
        return TRUE;
    if (!exec->paused && !exec->delivering && exec->pending.length == 0) {
        exec->delivering = TRUE;
        if (exec->callbacks->output && !exec->callbacks->output(exec, stream, p, n, exec->data))
            exec->paused = TRUE;
        exec->delivering = FALSE;
        consumed(exec, stream, n);
        return TRUE;
    }
    if (exec->pending_bytes + n > 2 * PENDING_MAX)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "more output than its window allows");
    chunk = g_new0(Chunk, 1);
    chunk->stream = stream;
    chunk->bytes = g_bytes_new(p, n);
    g_queue_push_tail(&exec->pending, chunk);
    exec->pending_bytes += n;
    deliver(exec);
    return TRUE;
}

/* The end, behind what still waits. */
static void
end(MsbExec *exec, int status, int signum, GError *error)
{
    if (exec->ending) {
        g_clear_error(&error);
        return;
    }
    exec->ending = TRUE;
    exec->status = status;
    exec->signum = signum;
    exec->error = error;
    deliver(exec);
}

void
msb_exec_lost(MsbExec *exec, const GError *error)
{
    end(exec, -1, 0, g_error_copy(error));
}

void
msb_exec_resume(MsbExec *exec)
{
    g_autoptr(MsbExec) hold = msb_exec_ref(exec);

    exec->paused = FALSE;
    deliver(exec);
}

/* ---- frames ----------------------------------------------------------------------------- */

static gboolean
take_exited(MsbExec *exec, const guint8 *payload, gsize n, GError **error)
{
    bool signalled;
    guint32 code;
    int r = mp_exited_decode(payload, n, &signalled, &code);

    if (r < 0 || code > 255)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "an exit status that cannot be decoded");
    if (signalled)
        end(exec, 128 + (int)code, (int)code, NULL);
    else
        end(exec, (int)code, 0, NULL);
    return TRUE;
}

/* What is wrong, for each kind, with %s for the object. */
static const char *
describe_failure(guint8 kind, int *status)
{
    *status = 1;
    switch (kind) {
    case MP_EXEC_NOT_FOUND:
        *status = 127;
        return "command '%s' was not found in the sandbox";
    case MP_EXEC_NOT_EXECUTABLE:
        *status = 126;
        return "command '%s' cannot be executed";
    case MP_EXEC_BAD_CWD:
        return "cannot change to the working directory '%s'";
    case MP_EXEC_BAD_USER:
        return "user or group '%s' is not known in the sandbox";
    case MP_EXEC_BAD_ARGS:
        return "the arguments of '%s' were refused";
    case MP_EXEC_NO_RESOURCES:
        return "the sandbox lacks memory or processes to run '%s'";
    case MP_EXEC_PTY:
        return "cannot make a terminal for '%s'";
    case MP_EXEC_SHUTTING_DOWN:
        return "cannot run '%s': the sandbox is shutting down";
    default:
        return "cannot run '%s'";
    }
}

static gboolean
take_exec_failed(MsbExec *exec, const guint8 *payload, gsize n, GError **error)
{
    struct mp_exec_failed failed = { 0 };
    g_autofree char *text = NULL;
    g_auto(GStrv) halves = NULL;
    GError *reason = NULL;
    int status, r;

    r = mp_exec_failed_decode(&failed, payload, n);
    if (r < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a failure that cannot be decoded");
    halves = g_strsplit(describe_failure(failed.kind, &status), "%s", 2);
    text = g_strconcat(halves[0], failed.object, halves[1], NULL);
    if (failed.error && status != 127)
        reason = g_error_new(MSB_ERROR, MSB_ERROR_EXEC, "%s: %s", text, g_strerror((int)failed.error));
    else
        reason = g_error_new(MSB_ERROR, MSB_ERROR_EXEC, "%s", text);
    mp_exec_failed_clear(&failed);
    end(exec, status, 0, reason);
    return TRUE;
}

static gboolean
take_session_error(MsbExec *exec, const guint8 *payload, gsize n, GError **error)
{
    struct mp_dec d;
    guint32 errnum;
    mb_autofree char *text = NULL;
    int code = MSB_ERROR_FAILED;

    mp_dec_init(&d, payload, n);
    errnum = mp_get_u32(&d);
    text = mp_get_str(&d);
    if (mp_dec_end(&d) < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "an error that cannot be decoded");
    if (errnum == ESRCH)
        code = MSB_ERROR_NOT_FOUND;
    else if (errnum == ESHUTDOWN || errnum == ECONNRESET)
        code = MSB_ERROR_NOT_RUNNING;
    end(exec, -1, 0, g_error_new(MSB_ERROR, code, "%s", text));
    return TRUE;
}

static gboolean
take_started(MsbExec *exec, const guint8 *payload, gsize n, GError **error)
{
    struct mp_dec d;
    guint32 pid, id;

    mp_dec_init(&d, payload, n);
    pid = mp_get_u32(&d);
    id = mp_get_u32(&d);
    if (mp_dec_end(&d) < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a start that cannot be decoded");
    exec->id = id;
    if (exec->callbacks->started)
        exec->callbacks->started(exec, pid, exec->data);
    return TRUE;
}

static gboolean
take_stdin_credit(MsbExec *exec, const guint8 *payload, gsize n, GError **error)
{
    guint8 stream;
    guint32 bytes;
    int r = mp_credit_decode(payload, n, &stream, &bytes);

    if (r < 0 || stream != 0 || bytes > MP_WINDOW - exec->stdin_window)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a credit for what was not sent");
    exec->stdin_window += bytes;
    if (exec->stdin_wanted && !exec->stdin_closed) {
        exec->stdin_wanted = FALSE;
        if (exec->callbacks->stdin_ready)
            exec->callbacks->stdin_ready(exec, exec->data);
    }
    return TRUE;
}

gboolean
msb_exec_frame(MsbExec *exec, const struct mp_header *h, const guint8 *payload, GError **error)
{
    g_autoptr(MsbExec) hold = msb_exec_ref(exec);

    if (!exec->client)
        return TRUE;
    switch (h->type) {
    case MP_STARTED:
        return take_started(exec, payload, h->length, error);
    case MP_STDOUT:
        return take_output(exec, 1, payload, h->length, error);
    case MP_STDERR:
        return take_output(exec, 2, payload, h->length, error);
    case MP_EXITED:
        return take_exited(exec, payload, h->length, error);
    case MP_EXEC_FAILED:
        return take_exec_failed(exec, payload, h->length, error);
    case MP_CTL_ERROR:
        return take_session_error(exec, payload, h->length, error);
    case MP_CTL_OK:
        end(exec, -2, 0, NULL);
        return TRUE;
    case MP_CREDIT:
        return take_stdin_credit(exec, payload, h->length, error);
    default:
        /* A later supervisor may have more to say. */
        return TRUE;
    }
}

/* ---- starting ------------------------------------------------------------------------------ */

static MsbExec *
exec_new(MsbClient *client, const MsbExecCallbacks *callbacks, gpointer data, GError **error)
{
    g_autoptr(MsbExec) exec = g_new0(MsbExec, 1);

    g_atomic_ref_count_init(&exec->refs);
    exec->copy = *callbacks;
    exec->callbacks = &exec->copy;
    exec->data = data;
    exec->stdin_window = MP_WINDOW;
    g_queue_init(&exec->pending);
    if (!msb_client_add_exec(client, exec, &exec->number, error))
        return NULL;
    exec->client = client;
    return g_steal_pointer(&exec);
}

MsbExec *
msb_client_exec(MsbClient *client, const MsbExecOptions *options, const MsbExecCallbacks *callbacks,
                gpointer data, GError **error)
{
    g_auto(MsbEnc) e = { 0 };
    g_autoptr(MsbExec) exec = NULL;
    struct mp_exec message = {
        .argv = (char **)options->argv,
        .env = (char **)options->env,
        .cwd = (char *)options->cwd,
        .user = (char *)options->user,
        .tty = options->tty != 0,
        .rows = (guint16)MIN(options->rows, G_MAXUINT16),
        .cols = (guint16)MIN(options->cols, G_MAXUINT16),
        .no_stdin = options->no_stdin != 0,
    };
    int r;

    if (!options->argv || !options->argv[0]) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID, "no command was given");
        return NULL;
    }
    exec = exec_new(client, callbacks, data, error);
    if (!exec)
        return NULL;
    r = mp_exec_encode(&e, exec->number, &message);
    if (r < 0) {
        exec->client = NULL;
        msb_client_forget_exec(client, exec->number);
        if (r == -EMSGSIZE)
            g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID,
                        "the command line and environment are longer than %u bytes", MP_FRAME_MAX_PAYLOAD);
        else
            msb_error_set_errno(error, -r, "cannot send the command");
        return NULL;
    }
    exec->stdin_closed = options->no_stdin;
    msb_link_send(msb_client_get_link(client), &e);
    return g_steal_pointer(&exec);
}

MsbExec *
msb_client_attach(MsbClient *client, guint id, const MsbExecCallbacks *callbacks, gpointer data, GError **error)
{
    MsbExec *exec = exec_new(client, callbacks, data, error);

    if (exec) {
        exec->id = id;
        send_u32(exec, MP_CTL_ATTACH, id);
    }
    return exec;
}

/* ---- what the user does to it ----------------------------------------------------------------- */

guint
msb_exec_get_id(MsbExec *exec)
{
    return exec->id;
}

gsize
msb_exec_write_stdin(MsbExec *exec, const guint8 *bytes, gsize n)
{
    gsize taken = 0;

    if (!exec->client || exec->stdin_closed || exec->ending)
        return n;
    while (taken < n && exec->stdin_window > 0) {
        gsize piece = MIN(MIN(n - taken, exec->stdin_window), (gsize)MP_DATA_MAX);

        msb_link_send_data(msb_client_get_link(exec->client), MP_STDIN, exec->number, bytes + taken, piece);
        exec->stdin_window -= piece;
        taken += piece;
    }
    exec->stdin_wanted = taken < n;
    return taken;
}

void
msb_exec_close_stdin(MsbExec *exec)
{
    if (exec->stdin_closed)
        return;
    exec->stdin_closed = TRUE;
    send_empty(exec, MP_STDIN_EOF);
}

void
msb_exec_resize(MsbExec *exec, guint rows, guint cols)
{
    g_auto(MsbEnc) e = { 0 };

    if (!exec->client)
        return;
    mp_enc_begin(&e, MP_RESIZE, exec->number, 0);
    mp_put_u16(&e, (guint16)MIN(rows, G_MAXUINT16));
    mp_put_u16(&e, (guint16)MIN(cols, G_MAXUINT16));
    if (mp_enc_end(&e) == 0)
        msb_link_send(msb_client_get_link(exec->client), &e);
}

void
msb_exec_signal(MsbExec *exec, int signum)
{
    send_u32(exec, MP_SIGNAL, (guint32)signum);
}

void
msb_exec_detach(MsbExec *exec)
{
    send_empty(exec, MP_CTL_DETACH);
}

void
msb_exec_set_workload(MsbExec *exec)
{
    send_empty(exec, MP_CTL_WORKLOAD);
}

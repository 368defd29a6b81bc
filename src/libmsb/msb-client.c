/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Client of a supervisor: the connection itself, its state, and the questions
 * that are asked on session 0.  msb-exec.c has the commands.
 *
 * A question is answered by one frame on session 0; while one is open, the link
 * alone is iterated, so nothing else of the caller's main context runs, but
 * callbacks of this client's commands may.
 *
 * The table of commands holds a reference on each until it has ended.  A command
 * knows its client only as long as the client lives.
 */
#include <config.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "mb-cleanup.h"
#include "msb-client-private.h"
#include "msb-error.h"

/* A supervisor never blocks: one that does not answer for so long is stuck or stopped. */
#define ANSWER_TIMEOUT_MS 30000
#define GROW_TIMEOUT_MS 60000 /* a large table may have to be written, and flushed */

struct _MsbClient {
    gatomicrefcount refs;
    char *name;
    MsbLink *link;
    GHashTable *execs;          /* number -> MsbExec, one reference each */
    guint32 last_number;
    struct mp_ctl_status status;
    guint16 awaited;            /* type of the answer that is waited for, 0 = none */
    GBytes *answer;
    GError *failure;            /* why there is no answer, or no connection any more */
    gboolean closed;
};

/* ---- frames -------------------------------------------------------------------- */

static gboolean
set_status(MsbClient *client, const guint8 *payload, gsize n, GError **error)
{
    struct mp_ctl_status status = { 0 };
    int r = mp_ctl_status_decode(&status, payload, n);

    if (r < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "a status that cannot be decoded");
    mp_ctl_status_clear(&client->status);
    client->status = status;
    return TRUE;
}

static gboolean
take_error(MsbClient *client, const guint8 *payload, gsize n, GError **error)
{
    struct mp_dec d;
    guint32 errnum;
    mb_autofree char *text = NULL;

    mp_dec_init(&d, payload, n);
    errnum = mp_get_u32(&d);
    text = mp_get_str(&d);
    if (mp_dec_end(&d) < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "an error that cannot be decoded");
    g_clear_error(&client->failure);
    g_set_error(&client->failure, MSB_ERROR, errnum == ESHUTDOWN ? MSB_ERROR_NOT_RUNNING : MSB_ERROR_FAILED,
                "sandbox '%s': %s", client->name, text);
    return TRUE;
}

static gboolean
connection_frame(MsbClient *client, const struct mp_header *h, const guint8 *payload, GError **error)
{
    if (h->type == MP_CTL_ERROR)
        return take_error(client, payload, h->length, error);
    if (h->type == MP_CTL_WELCOME && !set_status(client, payload, h->length, error))
        return FALSE;
    if (h->type == client->awaited && !client->answer)
        client->answer = g_bytes_new(payload, h->length);
    return TRUE;
}

static gboolean
client_frame(MsbLink *link G_GNUC_UNUSED, const struct mp_header *h, const guint8 *payload, gpointer data,
             GError **error)
{
    MsbClient *client = data;
    MsbExec *exec;

    if (h->session == 0)
        return connection_frame(client, h, payload, error);
    exec = g_hash_table_lookup(client->execs, GUINT_TO_POINTER(h->session));
    return exec ? msb_exec_frame(exec, h, payload, error) : TRUE;
}

static void
client_closed(MsbLink *link G_GNUC_UNUSED, const GError *error, gpointer data)
{
    MsbClient *client = data;
    g_autoptr(GList) execs = NULL;

    client->closed = TRUE;
    if (!client->failure && error)
        client->failure = g_error_copy(error);
    else if (!client->failure)
        client->failure = g_error_new(MSB_ERROR, MSB_ERROR_NOT_RUNNING, "sandbox '%s' went down", client->name);
    g_atomic_ref_count_inc(&client->refs);
    execs = g_hash_table_get_values(client->execs);
    g_list_foreach(execs, (GFunc)(void (*)(void))msb_exec_ref, NULL);
    for (GList *l = execs; l; l = l->next) {
        msb_exec_lost(l->data, client->failure);
        msb_exec_unref(l->data);
    }
    msb_client_unref(client);
}

static const MsbLinkFuncs client_funcs = { client_frame, NULL, client_closed };

/* ---- questions ------------------------------------------------------------------- */

gboolean
msb_client_iterate(MsbClient *client, int timeout_ms, GError **error)
{
    if (client->closed) {
        g_propagate_error(error, g_error_copy(client->failure));
        return FALSE;
    }
    if (!msb_link_iterate(client->link, timeout_ms) && !client->closed) {
        return msb_error_set(error, MSB_ERROR_TIMEOUT,
                             "the supervisor of sandbox '%s' (process %u) does not answer", client->name,
                             client->status.supervisor_pid);
    }
    return TRUE;
}

/* Wait for the answer of type, its payload (transfer full). */
static GBytes *
await(MsbClient *client, guint16 type, int timeout_ms, GError **error)
{
    client->awaited = type;
    while (!client->answer) {
        /* An answer in the form of an error, or the end of the connection. */
        if (client->failure) {
            client->awaited = 0;
            g_propagate_error(error, g_error_copy(client->failure));
            if (!client->closed)
                g_clear_error(&client->failure);
            return NULL;
        }
        if (!msb_client_iterate(client, timeout_ms, error)) {
            client->awaited = 0;
            return NULL;
        }
    }
    client->awaited = 0;
    return g_steal_pointer(&client->answer);
}

static gboolean
greet(MsbClient *client, GError **error)
{
    g_auto(MsbEnc) e = { 0 };
    g_autoptr(GBytes) answer = NULL;

    mp_enc_begin(&e, MP_CTL_HELLO, 0, 0);
    mp_put_u32(&e, MP_VERSION);
    if (mp_enc_end(&e) < 0)
        return msb_error_set_errno(error, ENOMEM, "cannot greet the supervisor");
    msb_link_send(client->link, &e);
    answer = await(client, MP_CTL_WELCOME, ANSWER_TIMEOUT_MS, error);
    if (answer && client->status.version != MP_VERSION) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_UNSUPPORTED,
                    "sandbox '%s' was started by another version of msb (protocol %u, this one has %d)",
                    client->name, client->status.version, MP_VERSION);
        return FALSE;
    }
    return answer != NULL;
}

static gboolean
wait_until_ready(MsbClient *client, GError **error)
{
    if (client->status.state == MP_CTL_STARTING) {
        g_autoptr(GBytes) answer = NULL;

        msb_link_send_data(client->link, MP_CTL_WAIT_READY, 0, NULL, 0);
        /* The supervisor has a deadline for booting. */
        answer = await(client, MP_CTL_WELCOME, -1, error);
        if (!answer)
            return FALSE;
    }
    switch (client->status.state) {
    case MP_CTL_RUNNING:
        return TRUE;
    case MP_CTL_FAILED:
        return msb_error_set(error, MSB_ERROR_BOOT, "sandbox '%s' failed: %s", client->name,
                             client->status.message);
    default:
        return msb_error_set(error, MSB_ERROR_NOT_RUNNING, "sandbox '%s' is stopping", client->name);
    }
}

/* ---- life -------------------------------------------------------------------------- */

static int
connect_to(const char *path, const char *name, GError **error)
{
    /* A supervisor that is stopped accepts nobody: its queue may be full. */
    const struct timeval patience = { .tv_sec = ANSWER_TIMEOUT_MS / 1000 };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    mb_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID, "the socket path '%s' is too long", path);
        return -1;
    }
    if (fd < 0) {
        msb_error_set_errno(error, errno, "cannot make a socket");
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            g_set_error(error, MSB_ERROR, MSB_ERROR_NOT_RUNNING, "sandbox '%s' is not running", name);
        else
            msb_error_set_errno(error, errno, "cannot connect to the supervisor of sandbox '%s'", name);
        return -1;
    }
    return mb_steal_fd(&fd);
}

static void
release_exec(gpointer exec)
{
    msb_exec_disown(exec);
    msb_exec_unref(exec);
}

MsbClient *
msb_client_open(const char *path, const char *name, gboolean wait_ready, GError **error)
{
    g_autoptr(MsbClient) client = NULL;
    int fd = connect_to(path, name, error);

    if (fd < 0)
        return NULL;
    client = g_new0(MsbClient, 1);
    g_atomic_ref_count_init(&client->refs);
    client->name = g_strdup(name);
    client->execs = g_hash_table_new_full(NULL, NULL, NULL, release_exec);
    client->link = msb_link_new(fd, &client_funcs, client);
    if (!greet(client, error) || (wait_ready && !wait_until_ready(client, error)))
        return NULL;
    return g_steal_pointer(&client);
}

void
msb_client_unref(MsbClient *client)
{
    if (!client || !g_atomic_ref_count_dec(&client->refs))
        return;
    g_hash_table_unref(client->execs);
    msb_link_unref(client->link);
    mp_ctl_status_clear(&client->status);
    g_clear_pointer(&client->answer, g_bytes_unref);
    g_clear_error(&client->failure);
    g_free(client->name);
    g_free(client);
}

MsbLink *
msb_client_get_link(MsbClient *client)
{
    return client->link;
}

enum mp_ctl_state
msb_client_get_state(const MsbClient *client)
{
    return (enum mp_ctl_state)client->status.state;
}

char **
msb_client_dup_timings(MsbClient *client)
{
    return client->status.timings ? g_strdupv(client->status.timings) : g_new0(char *, 1);
}

gboolean
msb_client_add_exec(MsbClient *client, MsbExec *exec, guint32 *number, GError **error)
{
    if (client->closed) {
        g_propagate_error(error, g_error_copy(client->failure));
        return FALSE;
    }
    do
        client->last_number++;
    while (client->last_number == 0 ||
           g_hash_table_contains(client->execs, GUINT_TO_POINTER(client->last_number)));
    *number = client->last_number;
    g_hash_table_insert(client->execs, GUINT_TO_POINTER(*number), msb_exec_ref(exec));
    return TRUE;
}

void
msb_client_forget_exec(MsbClient *client, guint32 number)
{
    g_hash_table_remove(client->execs, GUINT_TO_POINTER(number));
}

/* ---- stop, list ---------------------------------------------------------------------- */

gboolean
msb_client_stop(MsbClient *client, guint grace_ms, gboolean force, int timeout_ms, GError **error)
{
    g_auto(MsbEnc) e = { 0 };
    g_autoptr(GBytes) answer = NULL;
    gint64 end = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

    mp_enc_begin(&e, MP_CTL_STOP, 0, 0);
    mp_put_u32(&e, grace_ms);
    mp_put_u8(&e, force != 0);
    if (mp_enc_end(&e) < 0)
        return msb_error_set_errno(error, ENOMEM, "cannot ask for the stop");
    msb_link_send(client->link, &e);
    answer = await(client, MP_CTL_OK, ANSWER_TIMEOUT_MS, error);
    if (!answer)
        return FALSE;
    while (!client->closed) {
        int left = timeout_ms < 0 ? -1 : (int)MAX(0, (end - g_get_monotonic_time()) / 1000);

        if (!msb_client_iterate(client, left, error))
            return FALSE;
    }
    return TRUE;
}

/* A message about a disk; size may be NULL. */
static gboolean
tell_of_disk(MsbClient *client, guint16 type, const char *id, const char *size, int timeout_ms, GError **error)
{
    g_auto(MsbEnc) e = { 0 };
    g_autoptr(GBytes) answer = NULL;

    mp_enc_begin(&e, type, 0, 0);
    mp_put_str(&e, id);
    if (size)
        mp_put_str(&e, size);
    if (mp_enc_end(&e) < 0)
        return msb_error_set_errno(error, ENOMEM, "cannot tell of the disk's new size");
    msb_link_send(client->link, &e);
    answer = await(client, MP_CTL_OK, timeout_ms, error);
    return answer != NULL;
}

gboolean
msb_client_disk_changed(MsbClient *client, const char *id, GError **error)
{
    return tell_of_disk(client, MP_CTL_DISK_CHANGED, id, NULL, ANSWER_TIMEOUT_MS, error);
}

gboolean
msb_client_disk_grow(MsbClient *client, const char *id, const char *size, GError **error)
{
    return tell_of_disk(client, MP_CTL_DISK_GROW, id, size, GROW_TIMEOUT_MS, error);
}

void
msb_exec_info_free(MsbExecInfo *info)
{
    if (!info)
        return;
    g_strfreev(info->argv);
    g_free(info);
}

static gint
compare_info(gconstpointer a, gconstpointer b)
{
    const MsbExecInfo *x = *(MsbExecInfo *const *)a;
    const MsbExecInfo *y = *(MsbExecInfo *const *)b;

    return (x->id > y->id) - (x->id < y->id);
}

GPtrArray *
msb_client_list_execs(MsbClient *client, GError **error)
{
    g_autoptr(GPtrArray) result = g_ptr_array_new_with_free_func((GDestroyNotify)msb_exec_info_free);
    g_autoptr(GBytes) answer = NULL;
    struct mp_ctl_session *list = NULL;
    unsigned count = 0;
    gsize n;
    const guint8 *p;
    int r;

    msb_link_send_data(client->link, MP_CTL_SESSIONS, 0, NULL, 0);
    answer = await(client, MP_CTL_SESSION_LIST, ANSWER_TIMEOUT_MS, error);
    if (!answer)
        return NULL;
    p = g_bytes_get_data(answer, &n);
    r = mp_ctl_session_list_decode(&list, &count, p, n);
    if (r < 0) {
        msb_error_set_errno(error, -r, "cannot list the commands of sandbox '%s'", client->name);
        return NULL;
    }
    for (unsigned i = 0; i < count; i++) {
        MsbExecInfo *info = g_new0(MsbExecInfo, 1);

        info->id = list[i].id;
        info->pid = list[i].pid;
        info->tty = list[i].tty != 0;
        info->attached = list[i].attached;
        info->started = (gint64)(list[i].started_ns / 1000);
        info->argv = g_strdupv(list[i].argv);
        g_ptr_array_add(result, info);
    }
    mp_ctl_session_list_free(list, count);
    g_ptr_array_sort(result, compare_info);
    return g_steal_pointer(&result);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening libvirt and turning its errors into ours.  libvirt's own printing of
 * errors is switched off: this is a library.
 */
#include <config.h>

#include <libvirt-glib/libvirt-glib.h>
#include <libvirt/virterror.h>
#include <string.h>
#include <unistd.h>

#include "msb-config.h"
#include "msb-connection.h"
#include "msb-error.h"
#include "msb-refs.h"

#define TIMEOUT_MS 60000u

struct _MsbConnection {
    gatomicrefcount refs;
    virConnectPtr conn;
    char *uri;
};

const char *
msb_connection_default_uri(void)
{
    const char *env = g_getenv("MSB_LIBVIRT_URI");

    if (env && *env)
        return env;
    return geteuid() == 0 ? "qemu:///system" : "qemu:///session";
}

static void
quiet_error(void *data, virErrorPtr error)
{
}

static void
initialize(void)
{
    static gsize once;

    if (g_once_init_enter(&once)) {
        virInitialize();
        virSetErrorFunc(NULL, quiet_error);
        g_once_init_leave(&once, 1);
    }
}

void
msb_connection_enable_events(void)
{
    initialize();
    gvir_event_register();
}

gboolean
msb_connection_set_error(GError **error, const char *format, ...)
{
    const virError *last = virGetLastError();
    g_autofree char *text = NULL;
    MsbError code = MSB_ERROR_HYPERVISOR;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    if (last && last->code == VIR_ERR_NO_DOMAIN)
        code = MSB_ERROR_NOT_FOUND;
    return msb_error_set(error, code, "%s: %s", text,
                         last && last->message ? last->message : "libvirt gives no reason");
}

static const char *
advice(const char *uri)
{
    if (g_str_has_prefix(uri, "qemu:///system"))
        return "is libvirtd running? (systemctl start libvirtd)";
    return "is libvirt installed (libvirt-daemon)? 'msb doctor' looks for the reason";
}

MsbConnection *
msb_connection_open(GError **error)
{
    const char *uri = msb_connection_default_uri();
    MsbConnection *connection;
    virConnectPtr conn;

    initialize();
    conn = virConnectOpen(uri);
    if (!conn) {
        g_autoptr(GError) local = NULL;

        msb_connection_set_error(&local, "cannot reach libvirt at '%s'", uri);
        msb_error_set(error, MSB_ERROR_HYPERVISOR, "%s; %s", local->message, advice(uri));
        return NULL;
    }
    connection = g_new0(MsbConnection, 1);
    g_atomic_ref_count_init(&connection->refs);
    connection->conn = conn;
    connection->uri = g_strdup(uri);
    return connection;
}

/* ---- with a deadline ------------------------------------------------------------------------- */

/* Between the one who waits and the thread that opens; the last of them frees it. */
typedef struct {
    gatomicrefcount refs;
    GMutex mutex;
    GCond changed;
    gboolean done;
    MsbConnection *connection;
    GError *error;
} Opening;

static void
opening_unref(Opening *o)
{
    if (!g_atomic_ref_count_dec(&o->refs))
        return;
    g_clear_pointer(&o->connection, msb_connection_unref);
    g_clear_error(&o->error);
    g_cond_clear(&o->changed);
    g_mutex_clear(&o->mutex);
    g_free(o);
}

static gpointer
open_in_thread(gpointer data)
{
    Opening *o = data;
    g_autoptr(GError) error = NULL;
    MsbConnection *connection = msb_connection_open(&error);

    g_mutex_lock(&o->mutex);
    o->connection = connection;
    o->error = g_steal_pointer(&error);
    o->done = TRUE;
    g_cond_signal(&o->changed);
    g_mutex_unlock(&o->mutex);
    opening_unref(o);
    return NULL;
}

static guint
timeout_ms(void)
{
    const char *env = g_getenv("MSB_LIBVIRT_TIMEOUT");
    guint64 ms;

    return env && *env && msb_parse_duration(env, &ms, NULL) && ms > 0 ? (guint)MIN(ms, G_MAXINT) : TIMEOUT_MS;
}

/* What libvirt calls a connection that died is one that missed several messages. */
static void
keep_alive(MsbConnection *connection, guint ms)
{
    (void)virConnectSetKeepAlive(connection->conn, (int)MAX(ms / 4000, 1), 3);
}

/* Waits until it is opened, or the deadline. NULL without error: that passed. */
static MsbConnection *
await_opening(Opening *o, gint64 deadline, GError **error)
{
    MsbConnection *connection;

    g_mutex_lock(&o->mutex);
    while (!o->done && g_cond_wait_until(&o->changed, &o->mutex, deadline))
        ;
    connection = g_steal_pointer(&o->connection);
    if (o->error)
        g_propagate_error(error, g_steal_pointer(&o->error));
    g_mutex_unlock(&o->mutex);
    return connection;
}

static MsbConnection *
open_until(gint64 deadline, GError **error)
{
    Opening *o = g_new0(Opening, 1);
    MsbConnection *connection;

    g_atomic_ref_count_init(&o->refs);
    g_atomic_ref_count_inc(&o->refs);
    g_mutex_init(&o->mutex);
    g_cond_init(&o->changed);
    g_thread_unref(g_thread_new("libvirt", open_in_thread, o));
    connection = await_opening(o, deadline, error);
    opening_unref(o);
    return connection;
}

MsbConnection *
msb_connection_open_bounded(GError **error)
{
    /* A command that has several things to ask does not wait for each of them. */
    static gint64 silent_until;
    static GMutex one_at_a_time;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&one_at_a_time);
    guint ms = timeout_ms();
    gint64 now = g_get_monotonic_time();
    g_autoptr(GError) local = NULL;
    MsbConnection *connection;

    /* libvirt's own deadlines need an event loop, though not one that runs. */
    msb_connection_enable_events();
    connection = now < silent_until ? NULL : open_until(now + (gint64)ms * 1000, &local);
    if (connection) {
        keep_alive(connection, ms);
    } else if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
    } else {
        if (now >= silent_until)
            silent_until = g_get_monotonic_time() + (gint64)ms * 1000;
        msb_error_set(error, MSB_ERROR_HYPERVISOR,
                      "libvirt at '%s' does not answer within %.3g s; does its daemon hang (libvirtd, virtqemud)? End "
                      "it, and it is started again", msb_connection_default_uri(), ms / 1000.0);
    }
    return connection;
}

static void
connection_free(MsbConnection *connection)
{
    virConnectClose(connection->conn);
    g_free(connection->uri);
    g_free(connection);
}

MSB_DEFINE_REFS(MsbConnection, msb_connection, connection_free)

virConnectPtr
msb_connection_get(MsbConnection *connection)
{
    return connection->conn;
}

const char *
msb_connection_get_uri(const MsbConnection *connection)
{
    return connection->uri;
}

gboolean
msb_connection_is_system(const MsbConnection *connection)
{
    return g_str_has_prefix(connection->uri, "qemu:///system");
}

static char *
format_version(gulong version)
{
    return g_strdup_printf("%lu.%lu.%lu", version / 1000000, version / 1000 % 1000, version % 1000);
}

char *
msb_connection_dup_version(MsbConnection *connection)
{
    gulong version;

    return virConnectGetLibVersion(connection->conn, &version) < 0 ? NULL : format_version(version);
}

char *
msb_connection_dup_hypervisor_version(MsbConnection *connection)
{
    gulong version;

    return virConnectGetVersion(connection->conn, &version) < 0 || !version ? NULL : format_version(version);
}

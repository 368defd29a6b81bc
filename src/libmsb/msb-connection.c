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

#include "msb-connection.h"
#include "msb-error.h"

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

MsbConnection *
msb_connection_ref(MsbConnection *connection)
{
    g_atomic_ref_count_inc(&connection->refs);
    return connection;
}

void
msb_connection_unref(MsbConnection *connection)
{
    if (!connection || !g_atomic_ref_count_dec(&connection->refs))
        return;
    virConnectClose(connection->conn);
    g_free(connection->uri);
    g_free(connection);
}

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

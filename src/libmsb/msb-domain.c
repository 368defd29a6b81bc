/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain handle and its events.  The domain is known by UUID, which is made
 * of the state directory and the sandbox's name, so that nothing here can touch
 * a machine that happens to have the same name.
 *
 * The watch owns no reference; msb_domain_unwatch() and the last unref take it
 * down, after which no event is delivered.
 */
#include <config.h>

#include <libvirt/virterror.h>
#include <unistd.h>

#include "msb-domain.h"
#include "msb-error.h"

/* virtlogd keeps three by default. */
#define MAX_ROTATED_LOGS 10

struct _MsbDomain {
    gatomicrefcount refs;
    MsbConnection *connection;
    virDomainPtr dom;
    MsbDomainEventFunc func;
    gpointer data;
    int lifecycle_id;       /* libvirt callback ids, -1 = none */
    gboolean close_registered;
};

static MsbDomain *
domain_new(MsbConnection *connection, virDomainPtr dom)
{
    MsbDomain *domain = g_new0(MsbDomain, 1);

    g_atomic_ref_count_init(&domain->refs);
    domain->connection = msb_connection_ref(connection);
    domain->dom = dom;
    domain->lifecycle_id = -1;
    return domain;
}

/* EXISTS if name belongs to a domain with another UUID. */
static gboolean
check_name_is_ours(MsbConnection *connection, const char *name, const char *uuid, GError **error)
{
    virDomainPtr other = virDomainLookupByName(msb_connection_get(connection), name);
    char found[VIR_UUID_STRING_BUFLEN] = "";
    gboolean ours;

    if (!other)
        return TRUE;
    ours = virDomainGetUUIDString(other, found) == 0 && g_ascii_strcasecmp(found, uuid) == 0;
    virDomainFree(other);
    if (ours)
        return TRUE;
    return msb_error_set(error, MSB_ERROR_EXISTS,
                         "libvirt has another domain '%s' (UUID %s), perhaps of a sandbox in another state directory; "
                         "choose another name, or remove that one (virsh -c %s dumpxml %s tells whose it is)",
                         name, found, msb_connection_get_uri(connection), name);
}

MsbDomain *
msb_domain_define(MsbConnection *connection, const char *name, const char *uuid, const char *xml, GError **error)
{
    virDomainPtr dom;

    if (!check_name_is_ours(connection, name, uuid, error))
        return NULL;
    dom = virDomainDefineXMLFlags(msb_connection_get(connection), xml, VIR_DOMAIN_DEFINE_VALIDATE);
    if (!dom) {
        msb_connection_set_error(error, "libvirt does not take domain '%s'", name);
        return NULL;
    }
    return domain_new(connection, dom);
}

MsbDomain *
msb_domain_lookup(MsbConnection *connection, const char *uuid, GError **error)
{
    virDomainPtr dom = virDomainLookupByUUIDString(msb_connection_get(connection), uuid);

    if (!dom) {
        msb_connection_set_error(error, "domain with UUID %s", uuid);
        return NULL;
    }
    return domain_new(connection, dom);
}

MsbDomain *
msb_domain_ref(MsbDomain *domain)
{
    g_atomic_ref_count_inc(&domain->refs);
    return domain;
}

void
msb_domain_unref(MsbDomain *domain)
{
    if (!domain || !g_atomic_ref_count_dec(&domain->refs))
        return;
    msb_domain_unwatch(domain);
    virDomainFree(domain->dom);
    msb_connection_unref(domain->connection);
    g_free(domain);
}

const char *
msb_domain_get_name(const MsbDomain *domain)
{
    return virDomainGetName(domain->dom);
}

virDomainPtr
msb_domain_get(MsbDomain *domain)
{
    return domain->dom;
}

gboolean
msb_domain_start(MsbDomain *domain, GError **error)
{
    if (virDomainCreate(domain->dom) < 0)
        return msb_connection_set_error(error, "cannot start domain '%s'", msb_domain_get_name(domain));
    return TRUE;
}

gboolean
msb_domain_is_active(MsbDomain *domain)
{
    return virDomainIsActive(domain->dom) == 1;
}

static gboolean
last_error_is(int code)
{
    const virError *last = virGetLastError();

    return last && last->code == code;
}

gboolean
msb_domain_destroy(MsbDomain *domain, GError **error)
{
    if (virDomainDestroy(domain->dom) == 0 || last_error_is(VIR_ERR_OPERATION_INVALID) ||
        last_error_is(VIR_ERR_NO_DOMAIN))
        return TRUE;
    return msb_connection_set_error(error, "cannot end domain '%s'", msb_domain_get_name(domain));
}

/* libvirt keeps the log of QEMU's messages for ever; thousands of ephemeral sandboxes would leave thousands. */
static void
remove_logs(const MsbDomain *domain)
{
    const char *uri = msb_connection_get_uri(domain->connection);
    g_autofree char *dir = NULL, *base = NULL;
    int i;

    if (g_str_has_prefix(uri, "qemu:///system"))
        dir = g_strdup("/var/log/libvirt/qemu");
    else if (g_str_has_prefix(uri, "qemu:///session"))
        dir = g_build_filename(g_get_user_cache_dir(), "libvirt", "qemu", "log", NULL);
    else
        return;
    base = g_strdup_printf("%s/%s.log", dir, msb_domain_get_name(domain));
    unlink(base);
    for (i = 0; i < MAX_ROTATED_LOGS; i++) {
        g_autofree char *rotated = g_strdup_printf("%s.%d", base, i);

        if (unlink(rotated) < 0)
            break;
    }
}

gboolean
msb_domain_undefine(MsbDomain *domain, GError **error)
{
    if (virDomainUndefine(domain->dom) < 0 && !last_error_is(VIR_ERR_NO_DOMAIN))
        return msb_connection_set_error(error, "cannot undefine domain '%s'", msb_domain_get_name(domain));
    remove_logs(domain);
    return TRUE;
}

/* ---- events ---------------------------------------------------------------------------- */

static void
deliver(MsbDomain *domain, MsbDomainEvent event)
{
    if (!domain->func)
        return;
    msb_domain_ref(domain);
    domain->func(domain, event, domain->data);
    msb_domain_unref(domain);
}

static MsbDomainEvent
stopped_event(int detail)
{
    switch (detail) {
    case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
        return MSB_DOMAIN_POWEROFF;
    case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
        return MSB_DOMAIN_DESTROYED;
    case VIR_DOMAIN_EVENT_STOPPED_FAILED:
        return MSB_DOMAIN_FAILED;
    default:
        return MSB_DOMAIN_CRASHED;
    }
}

static int
on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *data)
{
    MsbDomain *domain = data;

    switch (event) {
    case VIR_DOMAIN_EVENT_STARTED:
        deliver(domain, MSB_DOMAIN_STARTED);
        break;
    case VIR_DOMAIN_EVENT_STOPPED:
        deliver(domain, stopped_event(detail));
        break;
    case VIR_DOMAIN_EVENT_CRASHED:
        deliver(domain, MSB_DOMAIN_PANICKED);
        break;
    default:
        break;
    }
    return 0;
}

static void
on_close(virConnectPtr conn, int reason, void *data)
{
    if (reason != VIR_CONNECT_CLOSE_REASON_CLIENT)
        deliver(data, MSB_DOMAIN_CONNECTION_LOST);
}

gboolean
msb_domain_watch(MsbDomain *domain, MsbDomainEventFunc func, gpointer data, GError **error)
{
    virConnectPtr conn = msb_connection_get(domain->connection);

    g_return_val_if_fail(!domain->func, FALSE);
    domain->lifecycle_id = virConnectDomainEventRegisterAny(conn, domain->dom, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                                            VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), domain, NULL);
    if (domain->lifecycle_id < 0)
        return msb_connection_set_error(error, "cannot watch domain '%s'", msb_domain_get_name(domain));
    /* Drivers without a daemon (tests) have no connection that could close. */
    domain->close_registered = virConnectRegisterCloseCallback(conn, on_close, domain, NULL) == 0;
    domain->func = func;
    domain->data = data;
    return TRUE;
}

void
msb_domain_unwatch(MsbDomain *domain)
{
    virConnectPtr conn = msb_connection_get(domain->connection);

    domain->func = NULL;
    if (domain->lifecycle_id >= 0)
        virConnectDomainEventDeregisterAny(conn, domain->lifecycle_id);
    domain->lifecycle_id = -1;
    if (domain->close_registered)
        virConnectUnregisterCloseCallback(conn, on_close);
    domain->close_registered = FALSE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain handle and its events.  The domain is known by UUID, which is made
 * of the state directory and the sandbox's name, so that nothing here can touch
 * a machine that happens to have the same name.
 *
 * libvirt's callbacks own a part of the watch each, not the domain, whose last
 * unref takes them down from whatever thread it happens in.
 */
#include <config.h>

#include <libvirt/virterror.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-parse.h"

#include "msb-domain.h"
#include "msb-error.h"
#include "msb-refs.h"

/* virtlogd keeps three by default. */
#define MAX_ROTATED_LOGS 10

typedef struct {
    gatomicrefcount refs;
    MsbDomainEventFunc func;    /* NULL = silenced; from then on the main context's alone */
    gpointer data;
} Watch;

struct _MsbDomain {
    gatomicrefcount refs;
    MsbConnection *connection;
    virDomainPtr dom;
    char *name;             /* of our own: asking libvirt for it would make it forget its last error */
    Watch *watch;
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
    domain->name = g_strdup(virDomainGetName(dom));
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

static void unwatch(MsbDomain *domain);

static void
domain_free(MsbDomain *domain)
{
    unwatch(domain);
    virDomainFree(domain->dom);
    msb_connection_unref(domain->connection);
    g_free(domain->name);
    g_free(domain);
}

MSB_DEFINE_REFS(MsbDomain, msb_domain, domain_free)

const char *
msb_domain_get_name(const MsbDomain *domain)
{
    return domain->name;
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

/* ---- the process --------------------------------------------------------------------------- */

/* Where libvirt writes down QEMU's process id (transfer full), or NULL. */
static char *
pid_file(const MsbDomain *domain)
{
    const char *uri = msb_connection_get_uri(domain->connection);
    g_autofree char *file = g_strconcat(msb_domain_get_name(domain), ".pid", NULL);

    if (g_str_has_prefix(uri, "qemu:///system"))
        return g_build_filename("/run/libvirt/qemu", file, NULL);
    if (g_str_has_prefix(uri, "qemu:///session"))
        return g_build_filename(g_get_user_runtime_dir(), "libvirt", "qemu", "run", file, NULL);
    return NULL;
}

/* TRUE if the process's command line has "-uuid" and then uuid. */
static gboolean
is_qemu_of(guint32 pid, const char *uuid)
{
    g_autofree char *path = g_strdup_printf("/proc/%u/cmdline", pid), *text = NULL;
    gboolean is_next = FALSE;
    gsize len;

    if (!g_file_get_contents(path, &text, &len, NULL))
        return FALSE;
    for (const char *arg = text; arg < text + len; arg += strlen(arg) + 1) {
        if (is_next)
            return g_ascii_strcasecmp(arg, uuid) == 0;
        is_next = g_str_equal(arg, "-uuid");
    }
    return FALSE;
}

int
msb_domain_open_process(MsbDomain *domain)
{
    g_autofree char *path = pid_file(domain), *text = NULL;
    char uuid[VIR_UUID_STRING_BUFLEN];
    struct pollfd pfd = { .events = POLLIN };
    mb_autofd int fd = -1;
    guint32 pid;

    if (!path || virDomainGetUUIDString(domain->dom, uuid) < 0 || !g_file_get_contents(path, &text, NULL, NULL) ||
        mb_parse_u32(g_strchomp(text), &pid) < 0 || pid == 0)
        return -1;
    pfd.fd = fd = pidfd_open((pid_t)pid, 0);
    /* The file may be an old one.  What was looked at is what the descriptor is of if that has not ended since. */
    if (fd < 0 || !is_qemu_of(pid, uuid) || poll(&pfd, 1, 0) != 0)
        return -1;
    return mb_steal_fd(&fd);
}

/* ---- events ---------------------------------------------------------------------------- */

static Watch *
watch_ref(Watch *watch)
{
    g_atomic_ref_count_inc(&watch->refs);
    return watch;
}

static void
watch_unref(void *data)
{
    Watch *watch = data;

    if (g_atomic_ref_count_dec(&watch->refs))
        g_free(watch);
}

static void
deliver(const Watch *watch, MsbDomainEvent event)
{
    if (watch->func)
        watch->func(event, watch->data);
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

/* From the main context, where libvirt's events are dispatched. */
static int
on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *data)
{
    switch (event) {
    case VIR_DOMAIN_EVENT_STARTED:
        deliver(data, MSB_DOMAIN_STARTED);
        break;
    case VIR_DOMAIN_EVENT_STOPPED:
        deliver(data, stopped_event(detail));
        break;
    case VIR_DOMAIN_EVENT_CRASHED:
        deliver(data, MSB_DOMAIN_PANICKED);
        break;
    default:
        break;
    }
    return 0;
}

static gboolean
deliver_loss(gpointer data)
{
    deliver(data, MSB_DOMAIN_CONNECTION_LOST);
    return G_SOURCE_REMOVE;
}

/* From whatever thread notices it: one that waits for an answer, or the main context's. */
static void
on_close(virConnectPtr conn, int reason, void *data)
{
    if (reason != VIR_CONNECT_CLOSE_REASON_CLIENT)
        g_idle_add_full(G_PRIORITY_DEFAULT, deliver_loss, watch_ref(data), watch_unref);
}

gboolean
msb_domain_watch(MsbDomain *domain, MsbDomainEventFunc func, gpointer data, GError **error)
{
    virConnectPtr conn = msb_connection_get(domain->connection);

    g_return_val_if_fail(!domain->watch, FALSE);
    domain->watch = g_new0(Watch, 1);
    g_atomic_ref_count_init(&domain->watch->refs);
    domain->watch->func = func;
    domain->watch->data = data;
    domain->lifecycle_id =
        virConnectDomainEventRegisterAny(conn, domain->dom, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), watch_ref(domain->watch),
                                         watch_unref);
    if (domain->lifecycle_id < 0) {
        watch_unref(domain->watch);
        return msb_connection_set_error(error, "cannot watch domain '%s'", msb_domain_get_name(domain));
    }
    /* Drivers without a daemon (tests) have no connection that could close. */
    domain->close_registered =
        virConnectRegisterCloseCallback(conn, on_close, watch_ref(domain->watch), watch_unref) == 0;
    if (!domain->close_registered)
        watch_unref(domain->watch);
    return TRUE;
}

void
msb_domain_silence(MsbDomain *domain)
{
    if (domain->watch)
        domain->watch->func = NULL;
}

static void
unwatch(MsbDomain *domain)
{
    virConnectPtr conn = msb_connection_get(domain->connection);

    if (domain->lifecycle_id >= 0)
        virConnectDomainEventDeregisterAny(conn, domain->lifecycle_id);
    if (domain->close_registered)
        virConnectUnregisterCloseCallback(conn, on_close);
    g_clear_pointer(&domain->watch, watch_unref);
}

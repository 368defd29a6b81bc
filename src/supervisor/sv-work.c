/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking libvirt: see sv-work.h. */
#include <config.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-error.h"
#include "sv-work.h"

/* How often destroying is tried while libvirt cannot be reached: some ten seconds. */
#define DESTROY_TRIES 20
#define DESTROY_RETRY_US (500 * 1000)

SvWork *
sv_work_new(SvWorkKind kind, const char *uuid)
{
    SvWork *work = g_new0(SvWork, 1);

    work->kind = kind;
    work->uuid = g_strdup(uuid);
    work->process = -1;
    return work;
}

static void
let_go(SvWork *work)
{
    g_clear_pointer(&work->domain, msb_domain_unref);
    g_clear_pointer(&work->connection, msb_connection_unref);
}

void
sv_work_free(SvWork *work)
{
    let_go(work);
    mb_close(work->process);
    g_free(work->uuid);
    g_free(work->name);
    g_free(work->xml);
    g_free(work);
}

/* The domain by its UUID; not defined is no error and leaves NULL. */
static gboolean
find_domain(SvWork *work, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (!work->connection)
        work->connection = msb_connection_open(error);
    if (!work->connection)
        return FALSE;
    if (!work->domain)
        work->domain = msb_domain_lookup(work->connection, work->uuid, &local);
    if (!work->domain && !g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    return TRUE;
}

static gboolean
define(SvWork *work, GError **error)
{
    work->domain = msb_domain_define(work->connection, work->name, work->uuid, work->xml, error);
    return work->domain && msb_domain_watch(work->domain, work->event, work->event_data, error);
}

static gboolean
start(SvWork *work, GError **error)
{
    if (!msb_domain_start(work->domain, error))
        return FALSE;
    work->process = msb_domain_open_process(work->domain);
    return TRUE;
}

static gboolean
reconnect(SvWork *work, GError **error)
{
    if (!find_domain(work, error))
        return FALSE;
    if (!work->domain)
        return TRUE;
    if (!msb_domain_watch(work->domain, work->event, work->event_data, error))
        return FALSE;
    /* Asked when the watch is up, so that nothing falls in between. */
    work->active = msb_domain_is_active(work->domain);
    work->process = msb_domain_open_process(work->domain);
    return TRUE;
}

static gboolean
destroy_once(SvWork *work, GError **error)
{
    if (!find_domain(work, error))
        return FALSE;
    if (!work->domain)
        return TRUE;
    return msb_domain_destroy(work->domain, error) && (!work->undefine || msb_domain_undefine(work->domain, error));
}

/* libvirtd may just be starting again: try a bounded number of times, each on a fresh connection. */
static gboolean
destroy(SvWork *work, GError **error)
{
    for (int i = 0;; i++) {
        g_autoptr(GError) local = NULL;

        if (destroy_once(work, &local))
            return TRUE;
        let_go(work);
        if (i == DESTROY_TRIES) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        g_usleep(DESTROY_RETRY_US);
    }
}

static gboolean
run(SvWork *work, GError **error)
{
    switch (work->kind) {
    case SV_WORK_CONNECT:
        return (work->connection = msb_connection_open(error)) != NULL;
    case SV_WORK_DEFINE:
        return define(work, error);
    case SV_WORK_START:
        return start(work, error);
    case SV_WORK_DESTROY:
        return destroy(work, error);
    case SV_WORK_RECONNECT:
        return reconnect(work, error);
    case SV_WORK_RELEASE:
        return TRUE;
    }
    return FALSE;
}

gboolean
sv_work_run(SvWork *work, GError **error)
{
    gboolean good = run(work, error);
    gboolean found = work->kind == SV_WORK_CONNECT || work->kind == SV_WORK_DEFINE || work->kind == SV_WORK_RECONNECT;

    if (!good || !found)
        let_go(work);
    return good;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Libvirt: see sv-machine.h.
 *
 * A thread that runs a step works on a Work of its own; the machine's fields
 * belong to the main thread, which takes over what a finished Work holds.
 */
#include <config.h>

#include <gio/gio.h>

#include "msb-error.h"
#include "sv-log.h"
#include "sv-machine.h"

#define RECONNECT_FIRST_MS 250u
#define RECONNECT_MAX_MS 5000u
/* How often destroying is tried while libvirt cannot be reached: some ten seconds. */
#define DESTROY_TRIES 20
#define DESTROY_RETRY_US (500 * 1000)

typedef struct {
    SvMachineStep step;
    gboolean reconnecting;
    gboolean undefine;
    char *uuid;
    char *name;
    char *xml;
    MsbConnection *connection;   /* what to use, and what was opened */
    MsbDomain *domain;
    gboolean active;
} Work;

struct SvMachine {
    char *uuid;
    const SvMachineFuncs *funcs;
    gpointer data;
    MsbConnection *connection;
    MsbDomain *domain;
    gboolean watched;
    gboolean freed;              /* sv_machine_free() waits for the steps under way */
    guint pending;               /* steps under way */
    guint reconnect_timer;
    guint reconnect_ms;
};

static void
work_free(gpointer data)
{
    Work *work = data;

    g_free(work->uuid);
    g_free(work->name);
    g_free(work->xml);
    g_clear_pointer(&work->domain, msb_domain_unref);
    g_clear_pointer(&work->connection, msb_connection_unref);
    g_free(work);
}

/* ---- in the thread ---------------------------------------------------------------------------- */

/* The domain by its UUID; not defined is no error and leaves NULL. */
static gboolean
find_domain(Work *work, GError **error)
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
destroy_once(Work *work, GError **error)
{
    if (!find_domain(work, error))
        return FALSE;
    if (!work->domain)
        return TRUE;
    return msb_domain_destroy(work->domain, error) && (!work->undefine || msb_domain_undefine(work->domain, error));
}

/* libvirtd may just be starting again: try a bounded number of times, each on a fresh connection. */
static gboolean
destroy(Work *work, GError **error)
{
    for (int i = 0;; i++) {
        g_autoptr(GError) local = NULL;

        if (destroy_once(work, &local))
            return TRUE;
        g_clear_pointer(&work->domain, msb_domain_unref);
        g_clear_pointer(&work->connection, msb_connection_unref);
        if (i == DESTROY_TRIES) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        g_usleep(DESTROY_RETRY_US);
    }
}

static gboolean
run_step(Work *work, GError **error)
{
    switch (work->step) {
    case SV_MACHINE_CONNECTED:
        if (!work->reconnecting)
            return (work->connection = msb_connection_open(error)) != NULL;
        if (!find_domain(work, error))
            return FALSE;
        work->active = work->domain && msb_domain_is_active(work->domain);
        return TRUE;
    case SV_MACHINE_DEFINED:
        work->domain = msb_domain_define(work->connection, work->name, work->uuid, work->xml, error);
        return work->domain != NULL;
    case SV_MACHINE_STARTED:
        return msb_domain_start(work->domain, error);
    case SV_MACHINE_DESTROYED:
        return destroy(work, error);
    }
    return FALSE;
}

static void
thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    GError *error = NULL;

    if (run_step(data, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

/* ---- events and reconnecting -------------------------------------------------------------------- */

static void step_done(GObject *source, GAsyncResult *result, gpointer data);

static Work *
work_new(SvMachine *machine, SvMachineStep step)
{
    Work *work = g_new0(Work, 1);

    work->step = step;
    work->uuid = g_strdup(machine->uuid);
    work->connection = machine->connection ? msb_connection_ref(machine->connection) : NULL;
    work->domain = machine->domain ? msb_domain_ref(machine->domain) : NULL;
    return work;
}

static void
submit(SvMachine *machine, Work *work)
{
    g_autoptr(GTask) task = g_task_new(NULL, NULL, step_done, machine);

    g_task_set_task_data(task, work, work_free);
    machine->pending++;
    g_task_run_in_thread(task, thread);
}

static void
drop_connection(SvMachine *machine)
{
    if (machine->domain && machine->watched)
        msb_domain_unwatch(machine->domain);
    machine->watched = FALSE;
    g_clear_pointer(&machine->domain, msb_domain_unref);
    g_clear_pointer(&machine->connection, msb_connection_unref);
}

static gboolean
reconnect(gpointer data)
{
    SvMachine *machine = data;
    Work *work;

    drop_connection(machine);
    work = work_new(machine, SV_MACHINE_CONNECTED);
    machine->reconnect_timer = 0;
    work->reconnecting = TRUE;
    submit(machine, work);
    return G_SOURCE_REMOVE;
}

static void
reconnect_later(SvMachine *machine)
{
    if (machine->reconnect_timer || machine->freed)
        return;
    machine->reconnect_timer = g_timeout_add(machine->reconnect_ms, reconnect, machine);
    machine->reconnect_ms = MIN(machine->reconnect_ms * 2, RECONNECT_MAX_MS);
}

static void
domain_event(MsbDomain *domain, MsbDomainEvent event, gpointer data)
{
    SvMachine *machine = data;

    if (event == MSB_DOMAIN_CONNECTION_LOST) {
        /* Closing it from here would take the lock that libvirt holds: the timer does it. */
        sv_warn("the connection to libvirt is lost, the machine runs on");
        machine->reconnect_ms = RECONNECT_FIRST_MS;
        reconnect_later(machine);
        return;
    }
    machine->funcs->event(event, machine->data);
}

static gboolean
watch(SvMachine *machine, GError **error)
{
    if (machine->watched)
        return TRUE;
    machine->watched = msb_domain_watch(machine->domain, domain_event, machine, error);
    return machine->watched;
}

/* ---- back on the main loop ------------------------------------------------------------------------- */

static void
adopt(SvMachine *machine, Work *work)
{
    if (!machine->connection)
        machine->connection = g_steal_pointer(&work->connection);
    if (!machine->domain)
        machine->domain = g_steal_pointer(&work->domain);
}

static void
reconnected(SvMachine *machine, Work *work, GError *error)
{
    g_autoptr(GError) local = NULL;

    if (error) {
        reconnect_later(machine);
        return;
    }
    adopt(machine, work);
    sv_info("connected to libvirt again");
    if (machine->domain && !watch(machine, &local)) {
        drop_connection(machine);
        reconnect_later(machine);
        return;
    }
    /* Asked after the watch is up, so that nothing falls in between. */
    if (!machine->domain || !msb_domain_is_active(machine->domain))
        machine->funcs->event(MSB_DOMAIN_CRASHED, machine->data);
}

static void
step_done(GObject *source, GAsyncResult *result, gpointer data)
{
    SvMachine *machine = data;
    Work *work = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;

    machine->pending--;
    if (!g_task_propagate_boolean(G_TASK(result), &error) && !error)
        msb_error_set(&error, MSB_ERROR_FAILED, "a step was cut short");
    if (machine->freed)
        return;
    if (work->reconnecting) {
        reconnected(machine, work, error);
        return;
    }
    if (!error && work->step != SV_MACHINE_DESTROYED)
        adopt(machine, work);
    if (!error && work->step == SV_MACHINE_DEFINED)
        watch(machine, &error);
    machine->funcs->step(work->step, error, machine->data);
}

/* ---- interface ---------------------------------------------------------------------------------------- */

SvMachine *
sv_machine_new(const char *uuid, const SvMachineFuncs *funcs, gpointer data)
{
    SvMachine *machine = g_new0(SvMachine, 1);

    machine->uuid = g_strdup(uuid);
    machine->funcs = funcs;
    machine->data = data;
    machine->reconnect_ms = RECONNECT_FIRST_MS;
    return machine;
}

static gboolean
tick(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

void
sv_machine_free(SvMachine *machine)
{
    gint64 end = g_get_monotonic_time() + SV_MACHINE_FREE_MS * 1000;
    guint ticking;

    if (!machine)
        return;
    machine->freed = TRUE;
    if (machine->reconnect_timer)
        g_source_remove(machine->reconnect_timer);
    ticking = g_timeout_add(100, tick, NULL);
    while (machine->pending > 0 && g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(ticking);
    if (machine->pending > 0) {
        sv_warn("libvirt does not answer; not waiting for it any longer");
        return;
    }
    drop_connection(machine);
    g_free(machine->uuid);
    g_free(machine);
}

void
sv_machine_connect(SvMachine *machine)
{
    submit(machine, work_new(machine, SV_MACHINE_CONNECTED));
}

void
sv_machine_define(SvMachine *machine, const char *name, const char *xml)
{
    Work *work = work_new(machine, SV_MACHINE_DEFINED);

    work->name = g_strdup(name);
    work->xml = g_strdup(xml);
    submit(machine, work);
}

void
sv_machine_start(SvMachine *machine)
{
    submit(machine, work_new(machine, SV_MACHINE_STARTED));
}

void
sv_machine_destroy(SvMachine *machine, gboolean undefine)
{
    Work *work = work_new(machine, SV_MACHINE_DESTROYED);

    work->undefine = undefine;
    submit(machine, work);
}

gboolean
sv_machine_is_active(SvMachine *machine)
{
    return machine->domain && msb_domain_is_active(machine->domain);
}

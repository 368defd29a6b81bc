/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Libvirt: see sv-machine.h. */
#include <config.h>

#include <gio/gio.h>
#include <glib-unix.h>
#include <signal.h>
#include <sys/pidfd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-error.h"
#include "sv-log.h"
#include "sv-machine.h"
#include "sv-work.h"

#define RECONNECT_FIRST_MS 250u
#define RECONNECT_MAX_MS 5000u

struct SvMachine {
    char *uuid;
    const SvMachineFuncs *funcs;
    gpointer data;
    MsbConnection *connection;
    MsbDomain *domain;
    gboolean freed;              /* sv_machine_free() waits for the works under way; no callback any more */
    gboolean abandoned;          /* no callback any more, and no waiting */
    guint pending;               /* works under way */
    guint reconnect_timer;
    guint reconnect_ms;
    gboolean missed;             /* libvirt does not know the domain as active, though QEMU lives: said once */
    int process;                 /* pidfd of QEMU, -1 = not known */
    guint process_source;
    gboolean ended;              /* that process has */
};

/* ---- works -------------------------------------------------------------------------------------- */

static void work_done(GObject *source, GAsyncResult *result, gpointer data);

static void
work_free(gpointer data)
{
    sv_work_free(data);
}

static void
thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    GError *error = NULL;

    if (sv_work_run(data, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

/* Takes work. */
static void
submit(SvMachine *machine, SvWork *work)
{
    g_autoptr(GTask) task = g_task_new(NULL, NULL, work_done, machine);

    g_task_set_task_data(task, work, work_free);
    machine->pending++;
    g_task_run_in_thread(task, thread);
}

/* One that uses the connection and the domain that there are. */
static SvWork *
work_new(SvMachine *machine, SvWorkKind kind)
{
    SvWork *work = sv_work_new(kind, machine->uuid);

    work->connection = machine->connection ? msb_connection_ref(machine->connection) : NULL;
    work->domain = machine->domain ? msb_domain_ref(machine->domain) : NULL;
    return work;
}

static void
release(SvMachine *machine, MsbConnection *connection, MsbDomain *domain)
{
    SvWork *work;

    if (!connection && !domain)
        return;
    if (domain)
        msb_domain_silence(domain);
    work = sv_work_new(SV_WORK_RELEASE, machine->uuid);
    work->connection = connection;
    work->domain = domain;
    submit(machine, work);
}

static void
drop_connection(SvMachine *machine)
{
    release(machine, g_steal_pointer(&machine->connection), g_steal_pointer(&machine->domain));
}

/* ---- events, the process, reconnecting ----------------------------------------------------------- */

static void domain_event(MsbDomainEvent event, gpointer data);

static gboolean
process_ended(gint fd, GIOCondition condition, gpointer data)
{
    SvMachine *machine = data;

    machine->process_source = 0;
    machine->ended = TRUE;
    machine->funcs->gone(machine->data);
    return G_SOURCE_REMOVE;
}

static void
watch_process(SvMachine *machine, SvWork *work)
{
    if (machine->process >= 0 || work->process < 0)
        return;
    machine->process = mb_steal_fd(&work->process);
    machine->process_source = g_unix_fd_add(machine->process, G_IO_IN, process_ended, machine);
}

static gboolean
reconnect(gpointer data)
{
    SvMachine *machine = data;
    SvWork *work = sv_work_new(SV_WORK_RECONNECT, machine->uuid);

    machine->reconnect_timer = 0;
    drop_connection(machine);
    work->event = domain_event;
    work->event_data = machine;
    submit(machine, work);
    return G_SOURCE_REMOVE;
}

static void
reconnect_later(SvMachine *machine)
{
    if (machine->reconnect_timer || machine->freed || machine->abandoned)
        return;
    machine->reconnect_timer = g_timeout_add(machine->reconnect_ms, reconnect, machine);
    machine->reconnect_ms = MIN(machine->reconnect_ms * 2, RECONNECT_MAX_MS);
}

static void
domain_event(MsbDomainEvent event, gpointer data)
{
    SvMachine *machine = data;

    if (machine->freed || machine->abandoned)
        return;
    if (event == MSB_DOMAIN_CONNECTION_LOST) {
        sv_warn("the connection to libvirt is lost, the machine runs on");
        machine->reconnect_ms = RECONNECT_FIRST_MS;
        reconnect_later(machine);
        return;
    }
    machine->funcs->event(event, machine->data);
}

/* A daemon that does not know (yet) that the machine runs is no reason to end it, if its process is there. */
static void
domain_not_active(SvMachine *machine)
{
    if (machine->process < 0 || machine->ended) {
        machine->funcs->event(MSB_DOMAIN_CRASHED, machine->data);
        return;
    }
    if (!machine->missed)
        sv_warn("libvirt does not know that the machine runs; asking again");
    machine->missed = TRUE;
    reconnect_later(machine);
}

static void
reconnected(SvMachine *machine, const SvWork *work, const GError *error)
{
    if (error) {
        reconnect_later(machine);
        return;
    }
    if (!work->active) {
        domain_not_active(machine);
        return;
    }
    machine->missed = FALSE;
    sv_info("connected to libvirt again");
}

/* ---- back on the main loop ------------------------------------------------------------------------- */

static void
adopt(SvMachine *machine, SvWork *work)
{
    if (!machine->connection)
        machine->connection = g_steal_pointer(&work->connection);
    if (!machine->domain)
        machine->domain = g_steal_pointer(&work->domain);
    watch_process(machine, work);
    /* References to others than the machine's may be the last ones. */
    release(machine, work->connection != machine->connection ? g_steal_pointer(&work->connection) : NULL,
            work->domain != machine->domain ? g_steal_pointer(&work->domain) : NULL);
}

static void
tell_step(SvMachine *machine, const SvWork *work, const GError *error)
{
    static const SvMachineStep steps[] = {
        [SV_WORK_CONNECT] = SV_MACHINE_CONNECTED,
        [SV_WORK_DEFINE] = SV_MACHINE_DEFINED,
        [SV_WORK_START] = SV_MACHINE_STARTED,
        [SV_WORK_DESTROY] = SV_MACHINE_DESTROYED,
    };

    machine->funcs->step(steps[work->kind], error, machine->data);
}

static void
work_done(GObject *source, GAsyncResult *result, gpointer data)
{
    SvMachine *machine = data;
    SvWork *work = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;

    machine->pending--;
    if (!g_task_propagate_boolean(G_TASK(result), &error) && !error)
        msb_error_set(&error, MSB_ERROR_FAILED, "a step was cut short");
    if (machine->freed || machine->abandoned) {
        release(machine, g_steal_pointer(&work->connection), g_steal_pointer(&work->domain));
        return;
    }
    if (!error)
        adopt(machine, work);
    if (work->kind == SV_WORK_RECONNECT)
        reconnected(machine, work, error);
    else if (work->kind != SV_WORK_RELEASE)
        tell_step(machine, work, error);
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
    machine->process = -1;
    return machine;
}

static gboolean
tick(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

/* TRUE if none is left. */
static gboolean
await_works(SvMachine *machine)
{
    gint64 end = g_get_monotonic_time() + SV_MACHINE_FREE_MS * 1000;
    guint ticking = g_timeout_add(100, tick, NULL);

    while (machine->pending > 0 && !machine->abandoned && g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(ticking);
    return machine->pending == 0;
}

void
sv_machine_free(SvMachine *machine)
{
    if (!machine)
        return;
    machine->freed = TRUE;
    if (machine->reconnect_timer)
        g_source_remove(machine->reconnect_timer);
    if (machine->process_source)
        g_source_remove(machine->process_source);
    mb_close(mb_steal_fd(&machine->process));
    drop_connection(machine);
    if (!await_works(machine)) {
        if (!machine->abandoned)
            sv_warn("libvirt does not answer; not waiting for it any longer");
        return;
    }
    g_free(machine->uuid);
    g_free(machine);
}

void
sv_machine_connect(SvMachine *machine)
{
    submit(machine, work_new(machine, SV_WORK_CONNECT));
}

void
sv_machine_define(SvMachine *machine, const char *name, const char *xml)
{
    SvWork *work = work_new(machine, SV_WORK_DEFINE);

    work->name = g_strdup(name);
    work->xml = g_strdup(xml);
    work->event = domain_event;
    work->event_data = machine;
    submit(machine, work);
}

void
sv_machine_start(SvMachine *machine)
{
    submit(machine, work_new(machine, SV_WORK_START));
}

void
sv_machine_destroy(SvMachine *machine, gboolean undefine)
{
    SvWork *work = work_new(machine, SV_WORK_DESTROY);

    work->undefine = undefine;
    submit(machine, work);
}

void
sv_machine_kill(SvMachine *machine)
{
    if (machine->process >= 0 && !machine->ended)
        (void)pidfd_send_signal(machine->process, SIGKILL, NULL, 0);
}

gboolean
sv_machine_has_ended(const SvMachine *machine)
{
    return machine->ended;
}

void
sv_machine_abandon(SvMachine *machine)
{
    machine->abandoned = TRUE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Booting a sandbox.
 *
 *     connect to libvirt (thread) ──────────┐
 *     kernel, image, initrd, plan ── define ┴┐
 *                 └─ back-ends ──────────────┴─ start ── agent: HELLO, BOOT, READY
 *
 * One deadline covers it all; what went by is kept for --timings.
 */
#include <config.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-kernel-private.h"
#include "msb-sandbox-private.h"
#include "sv-console.h"
#include "sv-log.h"
#include "sv-run-private.h"

#define TAIL_LINES 12u

/* ---- timings ------------------------------------------------------------------------------------ */

void
sv_timing_add(SvRun *run, const char *stage, gint64 since, gint64 until)
{
    gint64 us = (until ? until : g_get_monotonic_time()) - since;

    g_ptr_array_add(run->timings, g_strdup_printf("%s=%" G_GINT64_FORMAT, stage, MAX(us, 0)));
}

/* The agent's clock started with the guest's kernel. */
static void
add_guest_timings(SvRun *run, const struct mp_ready *r)
{
    const struct {
        const char *stage;
        guint64 from, to;
    } parts[] = {
        { "guest-kernel", 0, r->started_ns },
        { "guest-port", r->started_ns, r->port_ns },
        { "guest-boot-frame", r->port_ns, r->boot_ns },
        { "guest-root", r->boot_ns, r->root_ns },
        { "guest-system", r->root_ns, r->ready_ns },
    };

    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        guint64 ns = parts[i].to > parts[i].from ? parts[i].to - parts[i].from : 0;

        g_ptr_array_add(run->timings, g_strdup_printf("%s=%" G_GUINT64_FORMAT, parts[i].stage, ns / 1000));
    }
}

/* ---- the deadline ----------------------------------------------------------------------------------- */

static const char *
describe_stage(SvStage stage)
{
    switch (stage) {
    case SV_STAGE_PREPARING:
        return "its back-ends and libvirt were being prepared";
    case SV_STAGE_STARTING:
        return "libvirt was starting the machine";
    case SV_STAGE_WAITING:
        return "the machine ran, but its agent had not been heard of";
    default:
        return "the agent was assembling the root filesystem";
    }
}

static gboolean
boot_expired(gpointer data)
{
    SvRun *run = data;
    g_autoptr(GError) error = NULL;
    g_autofree char *tail = sv_console_tail(run->plan ? run->plan->console_log : "", run->console_start, TAIL_LINES);

    run->boot_timer = 0;
    g_set_error(&error, MSB_ERROR, MSB_ERROR_BOOT, "the guest was not ready after %.1f s: %s; %s%s",
                run->boot_timeout_ms / 1000.0, describe_stage(run->stage),
                tail ? "the console's last lines:\n" : "its console is empty", tail ? tail : "");
    sv_end_boot_failed(run, MSB_END_BOOT_FAILED, error);
    return G_SOURCE_REMOVE;
}

static void
arm_deadline(SvRun *run, const char *accel)
{
    run->boot_timeout_ms = msb_sandbox_boot_timeout_ms(accel);
    run->boot_timer = g_timeout_add(run->boot_timeout_ms, boot_expired, run);
}

/* ---- agent -------------------------------------------------------------------------------------------- */

static void
agent_hello(gpointer data)
{
    SvRun *run = data;

    if (run->stage == SV_STAGE_ENDING)
        return;
    run->stage = SV_STAGE_BOOTING;
    run->t_hello = g_get_monotonic_time();
}

static void
agent_ready(const struct mp_ready *ready, gpointer data)
{
    SvRun *run = data;

    if (run->stage == SV_STAGE_ENDING)
        return;
    g_source_remove(run->boot_timer);
    run->boot_timer = 0;
    sv_timing_add(run, "hello", run->t_started, run->t_hello);
    add_guest_timings(run, ready);
    sv_timing_add(run, "ready", run->t_hello, 0);
    sv_timing_add(run, "total", run->t_begin, 0);
    g_ptr_array_add(run->timings, NULL);
    run->stage = SV_STAGE_RUNNING;
    run->status.state = MSB_STATE_RUNNING;
    if (!msb_run_status_save(run->home, run->name, &run->status, NULL))
        sv_warn("cannot save the state of the run");
    sv_relay_set_state(run->relay, MP_CTL_RUNNING, NULL, (const char *const *)run->timings->pdata);
    sv_exec_log_system(run->exec_log, 0, "the sandbox is ready");
    sv_info("ready after %" G_GINT64_FORMAT " ms", (g_get_monotonic_time() - run->t_begin) / 1000);
    /* The msb that made it was killed meanwhile: nobody knows its name. */
    if (!sv_report_ready(mb_steal_fd(&run->ready_fd), NULL) && msb_config_get_ephemeral(run->config))
        sv_end_begin(run, MSB_END_REQUESTED, "nobody waits for it any more", -1);
}

static void
agent_gone(const GError *error, gpointer data)
{
    sv_end_agent_gone(data, error);
}

static gboolean
connect_agent(SvRun *run, GError **error)
{
    static const SvAgentFuncs funcs = { agent_hello, agent_ready, agent_gone };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    mb_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return msb_error_set_errno(error, errno, "cannot make a socket");
    g_strlcpy(address.sun_path, run->plan->agent_socket, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return msb_error_set_errno(error, errno, "cannot connect to the agent's channel '%s'",
                                   run->plan->agent_socket);
    run->agent = sv_agent_new(mb_steal_fd(&fd), &run->plan->boot, run->relay, &funcs, run);
    return TRUE;
}

/* ---- libvirt -------------------------------------------------------------------------------------------- */

static void
try_define(SvRun *run)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = NULL;

    if (!run->connected || !run->plan || run->t_define)
        return;
    xml = msb_domain_xml(run->plan, &error);
    if (!xml) {
        sv_end_boot_failed(run, MSB_END_INTERNAL, error);
        return;
    }
    run->t_define = g_get_monotonic_time();
    run->busy = TRUE;
    sv_machine_define(run->machine, run->plan->domain_name, xml);
}

static void
try_start(SvRun *run)
{
    if (!run->defined || !run->backends_ready || run->t_start)
        return;
    run->stage = SV_STAGE_STARTING;
    run->console_start = sv_console_size(run->plan->console_log);
    run->t_start = g_get_monotonic_time();
    run->busy = TRUE;
    sv_machine_start(run->machine);
}

static void
machine_started(SvRun *run)
{
    g_autoptr(GError) error = NULL;

    run->t_started = g_get_monotonic_time();
    sv_timing_add(run, "start", run->t_start, run->t_started);
    run->stage = SV_STAGE_WAITING;
    if (!connect_agent(run, &error))
        sv_end_boot_failed(run, MSB_END_BOOT_FAILED, error);
}

static void
machine_step(SvMachineStep step, const GError *error, gpointer data)
{
    SvRun *run = data;

    if (step == SV_MACHINE_DEFINED || step == SV_MACHINE_STARTED)
        run->busy = FALSE;
    if (run->stage == SV_STAGE_ENDING) {
        sv_end_machine_step(run, step, error);
        return;
    }
    if (error) {
        sv_end_boot_failed(run, MSB_END_BOOT_FAILED, error);
        return;
    }
    switch (step) {
    case SV_MACHINE_CONNECTED:
        sv_timing_add(run, "connect", run->t_connect, 0);
        run->connected = TRUE;
        try_define(run);
        break;
    case SV_MACHINE_DEFINED:
        sv_timing_add(run, "define", run->t_define, 0);
        run->defined = TRUE;
        try_start(run);
        break;
    case SV_MACHINE_STARTED:
        machine_started(run);
        break;
    case SV_MACHINE_DESTROYED:
        break;
    }
}

static void
machine_event(MsbDomainEvent event, gpointer data)
{
    sv_end_machine_event(data, event);
}

static void
machine_gone(gpointer data)
{
    sv_end_machine_gone(data);
}

/* ---- plan and back-ends ------------------------------------------------------------------------------------ */

static void
backends_ready(gpointer data)
{
    SvRun *run = data;

    sv_timing_add(run, "backends", run->t_backends, 0);
    run->backends_ready = TRUE;
    if (run->stage == SV_STAGE_PREPARING)
        try_start(run);
}

static void
backends_failed(const GError *error, gboolean left, gpointer data)
{
    sv_end_backend_failed(data, error, left);
}

static void
backends_stopped(gpointer data)
{
    sv_end_backends_stopped(data);
}

static gboolean
make_plan(SvRun *run, GError **error)
{
    g_autoptr(MsbKernel) kernel = NULL;
    g_autoptr(MsbImage) image = NULL;
    g_autofree char *accel = NULL;
    g_autofree char *why = NULL;
    g_autofree char *initrd = NULL;
    const char *digest = msb_config_get_image_digest(run->config);
    gint64 t = g_get_monotonic_time();

    accel = msb_plan_choose_accel(msb_config_get_accel(run->config), &why, error);
    if (!accel)
        return FALSE;
    if (why)
        sv_info("%s", why);
    arm_deadline(run, accel);
    kernel = msb_kernel_lookup(run->home, NULL, error);
    run->kernel_lock = kernel ? msb_kernel_hold(kernel, error) : NULL;
    if (!run->kernel_lock)
        return FALSE;
    if (msb_config_get_root_kind(run->config) == MSB_ROOT_IMAGE) {
        image = msb_image_lookup(run->home, digest ? digest : msb_config_get_image(run->config), error);
        if (!image)
            return FALSE;
    }
    initrd = msb_kernel_ensure_initrd(run->home, kernel, error);
    if (!initrd)
        return FALSE;
    sv_timing_add(run, "kernel", t, 0);
    t = g_get_monotonic_time();
    run->plan = msb_plan_new(run->home, run->config, image, kernel, initrd, accel, error);
    sv_timing_add(run, "plan", t, 0);
    return run->plan != NULL;
}

static void
backends_resized(const char *id, const char *reason, gpointer data)
{
    SvRun *run = data;

    sv_relay_disk_resized(run->relay, id, reason);
}

static gboolean
start_backends(SvRun *run, GError **error)
{
    static const SvBackendsFuncs funcs = { backends_ready, backends_failed, backends_stopped, backends_resized };

    run->t_backends = g_get_monotonic_time();
    run->backends = sv_backends_new(run->plan, &funcs, run);
    return sv_backends_start(run->backends, error);
}

void
sv_boot_begin(SvRun *run)
{
    static const SvMachineFuncs funcs = { machine_step, machine_event, machine_gone };
    g_autofree char *uuid = msb_plan_uuid(run->home, run->name);
    g_autoptr(GError) error = NULL;

    run->t_connect = g_get_monotonic_time();
    run->machine = sv_machine_new(uuid, &funcs, run);
    sv_machine_connect(run->machine);
    if (!make_plan(run, &error) || !start_backends(run, &error)) {
        sv_end_boot_failed(run, MSB_END_BOOT_FAILED, error);
        return;
    }
    try_define(run);
}

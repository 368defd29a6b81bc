/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ending a sandbox: one way for every reason.
 *
 *   asked      the agent stops everything and powers off, at most the grace and
 *              GUEST_MARGIN_MS; skipped when there is no agent or no time
 *   destroy    the domain, whether it still runs or not (a thread; with an
 *              ephemeral sandbox it is undefined too).  A libvirt that has not done
 *              it after KILL_MS is not needed for it: QEMU is killed.  What then is
 *              left to do in libvirt is waited for GIVE_UP_MS more, and then left
 *              to the next msb command
 *   back-ends  SIGTERM, SIGKILL, reaped
 *   quit       the main loop; sv-run.c records, removes and lets go of the lock
 *
 * The agent's channel, a back-end that leaves in good order, QEMU's process and
 * libvirt's event tell of QEMU's end in any order; the event knows the reason, so
 * the others wait for it a little (the "doubt").
 */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "sv-console.h"
#include "sv-log.h"
#include "sv-run-private.h"

/* What syncing and unmounting may take on top of the grace. */
#define GUEST_MARGIN_MS 10000
/* How long libvirt has to end the machine before QEMU is killed without it, and then to do the rest. */
#define KILL_MS 5000u
#define GIVE_UP_MS 20000u
/* A busy libvirtd takes its time to say why a machine ended. */
#define DOUBT_MS 10000u
#define TAIL_LINES 6u

static const char qemu_died[] = "QEMU ended unexpectedly; libvirt's log of the domain may say why";

gboolean
sv_report_ready(int fd, const GError *error)
{
    g_autofree char *text = NULL;
    gboolean told;

    if (fd < 0)
        return TRUE;
    text = error ? g_strdup_printf("error %d %s\n", error->domain == MSB_ERROR ? error->code : MSB_ERROR_FAILED,
                                   error->message)
                 : g_strdup("ok\n");
    /* A pipe takes that much at once. */
    told = write(fd, text, strlen(text)) > 0;
    if (!told)
        sv_warn("whoever started this does not listen any more");
    mb_close(fd);
    return told;
}

/* ---- the steps ---------------------------------------------------------------------------------- */

static void
remove_timer(guint *id)
{
    if (*id)
        g_source_remove(*id);
    *id = 0;
}

static void stop_backends(SvRun *run);

/* The domain of one that stays is defined all the time: once QEMU is gone there is nothing left to do. */
static gboolean
needs_libvirt(const SvRun *run)
{
    return msb_config_get_ephemeral(run->config) || !sv_machine_has_ended(run->machine);
}

static void
give_up_libvirt(SvRun *run)
{
    run->destroy_failed = needs_libvirt(run);
    sv_machine_abandon(run->machine);
    stop_backends(run);
}

static gboolean
destroy_is_late(gpointer data)
{
    SvRun *run = data;

    run->destroy_timer = 0;
    if (run->killed || !needs_libvirt(run)) {
        give_up_libvirt(run);
        return G_SOURCE_REMOVE;
    }
    sv_warn("libvirt does not end the machine, killing QEMU");
    run->killed = TRUE;
    sv_machine_kill(run->machine);
    run->destroy_timer = g_timeout_add(GIVE_UP_MS, destroy_is_late, run);
    return G_SOURCE_REMOVE;
}

static void
destroy(SvRun *run)
{
    gboolean defined = run->t_define && msb_config_get_ephemeral(run->config);

    remove_timer(&run->grace_timer);
    if (!run->t_start && !defined) {
        stop_backends(run);
        return;
    }
    run->destroys++;
    if (!run->destroy_timer && !run->killed)
        run->destroy_timer = g_timeout_add(KILL_MS, destroy_is_late, run);
    sv_machine_destroy(run->machine, msb_config_get_ephemeral(run->config));
}

static gboolean
grace_expired(gpointer data)
{
    SvRun *run = data;

    run->grace_timer = 0;
    sv_warn("the guest did not power off in time, ending it by force");
    destroy(run);
    return G_SOURCE_REMOVE;
}

static void
stop_backends(SvRun *run)
{
    sv_info("the machine is down");
    remove_timer(&run->destroy_timer);
    g_clear_pointer(&run->agent, sv_agent_free);
    sv_relay_end_sessions(run->relay, run->message ? run->message : "the sandbox was stopped");
    if (run->backends && !run->backends_stopping) {
        run->backends_stopping = TRUE;
        sv_backends_stop(run->backends);
    } else if (!run->backends) {
        g_main_loop_quit(run->loop);
    }
}

void
sv_end_backends_stopped(SvRun *run)
{
    g_main_loop_quit(run->loop);
}

void
sv_end_machine_step(SvRun *run, SvMachineStep step, const GError *error)
{
    if (step == SV_MACHINE_DESTROYED) {
        run->destroys--;
        if (error)
            sv_warn("%s", error->message);
        run->destroy_failed = error != NULL;
    } else if (step != SV_MACHINE_CONNECTED) {
        /* It was defined or came up after (or while) it was destroyed: once more. */
        destroy(run);
    }
    if (run->destroys == 0 && !run->busy && step == SV_MACHINE_DESTROYED) {
        /* One that libvirt had lost sight of may still be there. */
        sv_machine_kill(run->machine);
        stop_backends(run);
    }
}

static void
set_state(SvRun *run)
{
    gboolean failed = run->failed_boot || (run->reason != MSB_END_REQUESTED && run->reason != MSB_END_POWEROFF);

    run->status.state = MSB_STATE_STOPPING;
    g_free(run->status.error);
    run->status.error = failed ? g_strdup(run->message) : NULL;
    if (!msb_run_status_save(run->home, run->name, &run->status, NULL))
        sv_warn("cannot save the state of the run");
    sv_relay_set_state(run->relay, failed ? MP_CTL_FAILED : MP_CTL_STOPPING, run->message,
                       (const char *const *)(run->stage == SV_STAGE_RUNNING ? run->timings->pdata : NULL));
}

/* An ephemeral sandbox in which no command runs, and which could write nowhere but on the upper that goes
 * with it: nobody misses what the guest would still do. */
static gboolean
nothing_to_lose(const SvRun *run)
{
    const GPtrArray *mounts = msb_config_get_mounts(run->config);

    if (!msb_config_get_ephemeral(run->config) || msb_config_get_root_kind(run->config) != MSB_ROOT_IMAGE ||
        sv_relay_count_sessions(run->relay) > 0)
        return FALSE;
    for (guint i = 0; i < mounts->len; i++) {
        const MsbMount *m = g_ptr_array_index(mounts, i);

        if (m->kind != MSB_MOUNT_TMPFS && !m->readonly)
            return FALSE;
    }
    return TRUE;
}

void
sv_end_begin(SvRun *run, MsbEndReason reason, const char *message, gint grace_ms)
{
    gboolean ask = grace_ms >= 0 && run->stage == SV_STAGE_RUNNING && run->agent &&
                   sv_agent_get_stage(run->agent) == SV_AGENT_READY && !nothing_to_lose(run);

    if (run->stage == SV_STAGE_ENDING) {
        /* Asked again with less patience. */
        if (run->grace_timer && grace_ms < 0)
            destroy(run);
        return;
    }
    remove_timer(&run->boot_timer);
    remove_timer(&run->doubt_timer);
    remove_timer(&run->quiet_timer);
    run->reason = reason;
    run->message = g_strdup(message);
    set_state(run);
    run->stage = SV_STAGE_ENDING;
    sv_info("ending: %s%s%s", msb_end_reason_describe(reason), message ? ": " : "", message ? message : "");
    sv_exec_log_system(run->exec_log, 0, "the sandbox ends: %s%s%s", msb_end_reason_describe(reason),
                       message ? ": " : "", message ? message : "");
    if (ask) {
        sv_agent_shutdown(run->agent, (guint32)grace_ms);
        run->grace_timer = g_timeout_add((guint)MIN((gint64)grace_ms + GUEST_MARGIN_MS, G_MAXINT), grace_expired, run);
    } else {
        destroy(run);
    }
}

void
sv_end_boot_failed(SvRun *run, MsbEndReason reason, const GError *error)
{
    if (run->stage == SV_STAGE_ENDING)
        return;
    run->failed_boot = TRUE;
    sv_report_ready(mb_steal_fd(&run->ready_fd), error);
    sv_end_begin(run, reason, error->message, -1);
}

/* ---- what others tell ------------------------------------------------------------------------------ */

/* It ended without having been asked to by us. */
static void
machine_ended(SvRun *run, MsbEndReason reason, const char *what)
{
    g_autofree char *panic = run->plan ? sv_console_find_panic(run->plan->console_log, run->console_start) : NULL;
    g_autofree char *tail = run->plan ? sv_console_tail(run->plan->console_log, run->console_start, TAIL_LINES) : NULL;
    g_autoptr(GError) error = NULL;

    if (panic && reason != MSB_END_REQUESTED) {
        reason = MSB_END_GUEST_PANIC;
        what = panic;
    }
    if (run->stage != SV_STAGE_RUNNING && reason != MSB_END_REQUESTED) {
        g_set_error(&error, MSB_ERROR, MSB_ERROR_BOOT, "the machine ended while the guest was booting (%s); %s%s", what,
                    tail ? "the console's last lines:\n" : "its console is empty", tail ? tail : "");
        sv_end_boot_failed(run, reason == MSB_END_POWEROFF ? MSB_END_BOOT_FAILED : reason, error);
    } else if (run->stage != SV_STAGE_RUNNING) {
        g_set_error(&error, MSB_ERROR, MSB_ERROR_BOOT, "%s while the guest was booting", what);
        sv_end_boot_failed(run, reason, error);
    } else {
        sv_end_begin(run, reason, reason == MSB_END_POWEROFF ? NULL : what, -1);
    }
}

static const char *
describe_event(MsbDomainEvent event)
{
    switch (event) {
    case MSB_DOMAIN_POWEROFF:
        return "power-off";
    case MSB_DOMAIN_DESTROYED:
        return "destroyed";
    case MSB_DOMAIN_PANICKED:
        return "panicked";
    case MSB_DOMAIN_FAILED:
        return "failed";
    default:
        return "crashed";
    }
}

void
sv_end_machine_event(SvRun *run, MsbDomainEvent event)
{
    if (event == MSB_DOMAIN_STARTED)
        return;
    sv_info("libvirt: the domain has ended (%s)", describe_event(event));
    if (run->stage == SV_STAGE_ENDING) {
        /* The guest powered off as it was asked to. */
        if (run->grace_timer)
            destroy(run);
        return;
    }
    /* A start that fails is told by the step, with the reason. */
    if (run->busy)
        return;
    switch (event) {
    case MSB_DOMAIN_POWEROFF:
        machine_ended(run, MSB_END_POWEROFF, "the guest powered off");
        break;
    case MSB_DOMAIN_DESTROYED:
        machine_ended(run, MSB_END_REQUESTED, "libvirt was told to destroy the domain");
        break;
    case MSB_DOMAIN_PANICKED:
        machine_ended(run, MSB_END_GUEST_PANIC, "the guest's kernel panicked");
        break;
    default:
        machine_ended(run, MSB_END_QEMU_DIED, qemu_died);
        break;
    }
}

static gboolean
doubt_over(gpointer data)
{
    SvRun *run = data;

    run->doubt_timer = 0;
    if (sv_machine_has_ended(run->machine))
        machine_ended(run, MSB_END_QEMU_DIED, qemu_died);
    else
        machine_ended(run, run->doubt_reason, run->doubt_message);
    return G_SOURCE_REMOVE;
}

static void
doubt(SvRun *run, MsbEndReason reason, const char *message)
{
    if (run->doubt_timer)
        return;
    run->doubt_reason = reason;
    g_free(run->doubt_message);
    run->doubt_message = g_strdup(message);
    run->doubt_timer = g_timeout_add(DOUBT_MS, doubt_over, run);
}

void
sv_end_machine_gone(SvRun *run)
{
    if (run->stage == SV_STAGE_ENDING) {
        if (run->grace_timer)
            destroy(run);
        else if (run->killed && !needs_libvirt(run))
            give_up_libvirt(run);
        return;
    }
    sv_info("QEMU's process has ended");
    if (!run->busy)
        doubt(run, MSB_END_QEMU_DIED, qemu_died);
}

void
sv_end_agent_gone(SvRun *run, const GError *error)
{
    sv_info("%s", error->message);
    if (run->stage == SV_STAGE_ENDING)
        return;
    if (g_error_matches(error, MSB_ERROR, MSB_ERROR_NOT_RUNNING))
        doubt(run, MSB_END_INTERNAL, error->message);
    else if (run->stage != SV_STAGE_RUNNING)
        sv_end_boot_failed(run, MSB_END_BOOT_FAILED, error);
    else
        sv_end_begin(run, MSB_END_INTERNAL, error->message, -1);
}

void
sv_end_backend_failed(SvRun *run, const GError *error, gboolean left)
{
    if (run->stage == SV_STAGE_ENDING)
        return;
    sv_warn("%s", error->message);
    if (left)
        doubt(run, MSB_END_BACKEND_DIED, error->message);
    else if (run->stage != SV_STAGE_RUNNING)
        sv_end_boot_failed(run, MSB_END_BACKEND_DIED, error);
    else
        sv_end_begin(run, MSB_END_BACKEND_DIED, error->message, -1);
}

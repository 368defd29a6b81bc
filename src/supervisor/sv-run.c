/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A run's beginning and end: see sv-run.h. */
#include <config.h>

#include <signal.h>
#include <unistd.h>

#include <glib-unix.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-sandbox-private.h"
#include "sv-log.h"
#include "sv-run-private.h"

#define SIGNAL_GRACE_MS 10000
/* An ephemeral sandbox waits that long for one more client. */
#define QUIET_MS 2000u
/* Clients get what is queued for them, if they take it by then. */
#define FLUSH_US (1 * G_USEC_PER_SEC)
#define LOCK_WAIT_MS 2000

/* ---- the beginning -------------------------------------------------------------------------------- */

static gboolean
take_lock(SvRun *run, GError **error)
{
    g_autofree char *dir = msb_home_run_dir(run->home, run->name);
    g_autofree char *path = msb_run_lock_path(run->home, run->name);
    g_autoptr(GError) local = NULL;

    if (!msb_paths_make_dir(dir, 0700, error))
        return FALSE;
    /* Whoever looks for dead supervisors holds it for a moment. */
    run->lock = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, LOCK_WAIT_MS, &local);
    if (run->lock)
        return TRUE;
    if (g_error_matches(local, MSB_ERROR, MSB_ERROR_TIMEOUT) || g_error_matches(local, MSB_ERROR, MSB_ERROR_IN_USE))
        return msb_error_set(error, MSB_ERROR_RUNNING, "sandbox '%s' is running already (%s)", run->name,
                             local->message);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean
load_config(SvRun *run, GError **error)
{
    run->config = msb_sandbox_load_config(run->home, run->name, error);
    return run->config && msb_config_validate(run->config, error) &&
           msb_sandbox_check_sources(run->home, run->config, error);
}

static gboolean
open_logs(SvRun *run, GError **error)
{
    g_autofree char *dir = msb_home_sandbox_dir(run->home, run->name);
    g_autofree char *logs = g_build_filename(dir, "logs", NULL);
    g_autofree char *supervisor = g_build_filename(logs, "supervisor.log", NULL);
    g_autofree char *exec = g_build_filename(logs, "exec.log", NULL);

    if (!msb_paths_make_dir(logs, 0700, error) || !sv_log_open(supervisor, error))
        return FALSE;
    run->exec_log = sv_exec_log_open(exec, error);
    return run->exec_log != NULL;
}

static void
client_stop(guint32 grace_ms, gboolean force, gpointer data)
{
    sv_end_begin(data, MSB_END_REQUESTED, NULL, force ? -1 : (gint)MIN(grace_ms, G_MAXINT32));
}

static gboolean
still_quiet(gpointer data)
{
    SvRun *run = data;

    run->quiet_timer = 0;
    if (sv_relay_is_quiet(run->relay))
        sv_end_begin(run, MSB_END_REQUESTED, "its work is done", SIGNAL_GRACE_MS);
    return G_SOURCE_REMOVE;
}

static void
workload_ended(gpointer data)
{
    SvRun *run = data;

    if (run->stage == SV_STAGE_RUNNING)
        sv_end_begin(run, MSB_END_REQUESTED, "its command has ended", SIGNAL_GRACE_MS);
}

static void
relay_quiet(gpointer data)
{
    SvRun *run = data;

    if (msb_config_get_ephemeral(run->config) && run->stage == SV_STAGE_RUNNING && !run->quiet_timer)
        run->quiet_timer = g_timeout_add(QUIET_MS, still_quiet, run);
}

static gboolean
disk_changed(const char *id, gpointer data)
{
    SvRun *run = data;

    return run->backends && sv_backends_reload(run->backends, id);
}

static int
disk_grow(const char *id, const char *size, gpointer data)
{
    SvRun *run = data;

    return run->backends ? sv_backends_grow(run->backends, id, size) : -ENODEV;
}

static gboolean
open_control(SvRun *run, GError **error)
{
    static const SvRelayFuncs funcs = { client_stop, workload_ended, relay_quiet, disk_changed,
                                         disk_grow };
    g_autofree char *path = msb_run_control_socket(run->home, run->name);

    run->relay = sv_relay_new(run->exec_log, &funcs, run);
    return sv_relay_listen(run->relay, path, error);
}

static gboolean
on_signal(gpointer data)
{
    sv_end_begin(data, MSB_END_REQUESTED, "the supervisor got a signal", SIGNAL_GRACE_MS);
    return G_SOURCE_CONTINUE;
}

static gboolean
prepare(SvRun *run, GError **error)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

    if (!load_config(run, error) || !open_logs(run, error))
        return FALSE;
    run->status.supervisor_pid = (guint)getpid();
    run->status.started = g_get_real_time();
    if (!msb_run_status_save(run->home, run->name, &run->status, error) || !open_control(run, error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(signals); i++)
        run->signal_sources[i] = g_unix_signal_add(signals[i], on_signal, run);
    sv_info("process %d runs sandbox '%s'", (int)getpid(), run->name);
    return TRUE;
}

SvRun *
sv_run_new(const char *home, const char *name, int ready_fd, GError **error)
{
    g_autoptr(SvRun) run = g_new0(SvRun, 1);

    run->t_begin = g_get_monotonic_time();
    run->ready_fd = ready_fd;
    run->name = g_strdup(name);
    run->timings = g_ptr_array_new_with_free_func(g_free);
    run->loop = g_main_loop_new(NULL, FALSE);
    run->home = msb_home_open(home, error);
    if (!run->home || !msb_name_validate("sandbox", name, error) || !take_lock(run, error))
        goto failed;
    if (!prepare(run, error)) {
        g_clear_pointer(&run->relay, sv_relay_free);
        (void)msb_run_remove(run->home, run->name, NULL);
        goto failed;
    }
    sv_timing_add(run, "prepare", run->t_begin, 0);
    return g_steal_pointer(&run);

failed:
    /* The caller reports on the descriptor. */
    run->ready_fd = -1;
    return NULL;
}

static gboolean
begin(gpointer data)
{
    SvRun *run = data;

    /* It may have been told to end before it had begun. */
    if (run->stage != SV_STAGE_ENDING)
        sv_boot_begin(run);
    return G_SOURCE_REMOVE;
}

/* ---- the end ----------------------------------------------------------------------------------------- */

static void
record_end(SvRun *run)
{
    MsbLastEnd end = { run->reason, run->message, 0, run->status.started };
    g_autoptr(GError) error = NULL;

    if (!msb_last_end_save(run->home, run->name, &end, &error))
        sv_warn("%s", error->message);
}

static void
remove_sandbox(SvRun *run)
{
    g_autoptr(GError) error = NULL;

    sv_log_close();
    g_clear_pointer(&run->exec_log, sv_exec_log_free);
    if (!msb_sandbox_discard(run->home, run->name, NULL, &error))
        sv_warn("%s", error->message);
}

static gboolean
wake_up(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

static void
close_clients(SvRun *run)
{
    gint64 end = g_get_monotonic_time() + FLUSH_US;
    guint tick = g_timeout_add(50, wake_up, NULL);

    sv_relay_close_clients(run->relay);
    while (!sv_relay_is_flushed(run->relay) && g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(tick);
    g_clear_pointer(&run->relay, sv_relay_free);
}

static void
clean_up(SvRun *run)
{
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&run->agent, sv_agent_free);
    g_clear_pointer(&run->backends, sv_backends_free);
    g_clear_pointer(&run->machine, sv_machine_free);
    record_end(run);
    if (run->destroy_failed) {
        /* The next msb command finds the run directory with a free lock, and tries again. */
        sv_warn("libvirt could not be asked to end the machine; it is left to the next msb command");
        close_clients(run);
        return;
    }
    sv_info("ended");
    if (msb_config_get_ephemeral(run->config))
        remove_sandbox(run);
    close_clients(run);
    if (!msb_run_remove(run->home, run->name, &error))
        sv_warn("%s", error->message);
}

int
sv_run_main(SvRun *run)
{
    gboolean good;

    g_idle_add(begin, run);
    g_main_loop_run(run->loop);
    good = !run->failed_boot && (run->reason == MSB_END_REQUESTED || run->reason == MSB_END_POWEROFF);
    sv_report_ready(mb_steal_fd(&run->ready_fd),
                    &(GError){ MSB_ERROR, MSB_ERROR_BOOT, (char *)"it was ended while it was starting" });
    clean_up(run);
    return good ? 0 : 1;
}

void
sv_run_free(SvRun *run)
{
    if (!run)
        return;
    for (guint i = 0; i < G_N_ELEMENTS(run->signal_sources); i++)
        if (run->signal_sources[i])
            g_source_remove(run->signal_sources[i]);
    g_clear_pointer(&run->agent, sv_agent_free);
    g_clear_pointer(&run->backends, sv_backends_free);
    g_clear_pointer(&run->machine, sv_machine_free);
    g_clear_pointer(&run->relay, sv_relay_free);
    g_clear_pointer(&run->exec_log, sv_exec_log_free);
    g_clear_pointer(&run->plan, msb_plan_free);
    g_clear_pointer(&run->kernel_lock, msb_lock_release);
    g_clear_pointer(&run->config, msb_config_unref);
    msb_run_status_clear(&run->status);
    g_clear_pointer(&run->timings, g_ptr_array_unref);
    g_clear_pointer(&run->loop, g_main_loop_unref);
    mb_close(run->ready_fd);
    g_free(run->message);
    g_free(run->doubt_message);
    g_free(run->name);
    /* The lock goes last: who gets it finds nothing of us. */
    g_clear_pointer(&run->lock, msb_lock_release);
    g_clear_pointer(&run->home, msb_home_unref);
    g_free(run);
    sv_log_close();
}

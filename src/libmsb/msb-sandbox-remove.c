/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ends of a sandbox: removal on request, and putting in order what a
 * supervisor left that did not live to do it.  A directory is renamed out of
 * sight first and removed then, so that nobody sees half of one; what an
 * interruption leaves is swept up by the next listing.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "msb-domain.h"
#include "msb-error.h"
#include "msb-plan.h"
#include "msb-sandbox-private.h"

#define LOCK_TIMEOUT_MS 60000
/* An ephemeral sandbox that was never started belongs to a command that is gone if it is older than this. */
#define NEVER_STARTED_MAX_AGE (G_GINT64_CONSTANT(600) * G_USEC_PER_SEC)

/* ---- removal --------------------------------------------------------------------------------------- */

/* End and forget the domain. One that is not there is fine. */
static gboolean
drop_domain(MsbHome *home, const char *name, MsbConnection *connection, gboolean undefine, GError **error)
{
    g_autofree char *uuid = msb_plan_uuid(home, name);
    g_autoptr(GError) local = NULL;
    g_autoptr(MsbDomain) domain = msb_domain_lookup(connection, uuid, &local);

    if (!domain) {
        if (g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND))
            return TRUE;
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    return msb_domain_destroy(domain, error) && (!undefine || msb_domain_undefine(domain, error));
}

static gboolean
remove_dir(MsbHome *home, const char *name, GError **error)
{
    g_autofree char *dir = msb_home_sandbox_dir(home, name);
    g_autofree char *file = g_strdup_printf(".%s.%06x", name, g_random_int() & 0xffffff);
    g_autofree char *aside = msb_home_build_path(home, "sandboxes", file, NULL);

    if (rename(dir, aside) < 0)
        return errno == ENOENT || msb_error_set_errno(error, errno, "cannot remove sandbox '%s'", name);
    return msb_paths_remove_tree(aside, error);
}

gboolean
msb_sandbox_discard(MsbHome *home, const char *name, MsbConnection *connection, GError **error)
{
    if (connection && !drop_domain(home, name, connection, TRUE, error))
        return FALSE;
    return remove_dir(home, name, error);
}

/* The lock file goes too; whoever waits for it notices. */
static void
forget_name_lock(MsbHome *home, const char *name)
{
    g_autofree char *path = msb_home_build_path(home, "sandboxes", ".locks", name, NULL);

    unlink(path);
}

/* A sandbox that never ran has no domain: libvirt need not be there to remove it. */
static gboolean
may_have_domain(MsbHome *home, const char *name)
{
    g_auto(MsbLastEnd) end = MSB_LAST_END_INIT;
    g_autofree char *run = msb_home_run_dir(home, name);

    return access(run, F_OK) == 0 || !msb_last_end_load(home, name, &end, NULL) || end.reason != MSB_END_NONE;
}

/* With force a sandbox goes even when libvirt is away; a definition that stays behind is replaced or refused by
 * name when the name is used again. */
static gboolean
remove_locked(MsbHome *home, const char *name, gboolean force, GError **error)
{
    g_autoptr(MsbConnection) connection = NULL;
    g_autoptr(GError) local = NULL;

    if (may_have_domain(home, name)) {
        connection = msb_connection_open_bounded(&local);
        if (!connection && !force)
            return msb_error_set(error, MSB_ERROR_HYPERVISOR, "cannot remove sandbox '%s' from libvirt: %s; --force "
                                 "removes it here alone", name, local->message);
    }
    if (!msb_sandbox_discard(home, name, connection, error) || !msb_run_remove(home, name, error))
        return FALSE;
    forget_name_lock(home, name);
    return TRUE;
}

gboolean
msb_sandbox_remove(MsbSandbox *sandbox, gboolean force, GError **error)
{
    g_autoptr(MsbLock) lock = NULL;
    g_autoptr(GError) local = NULL;

    if (msb_sandbox_is_supervised(sandbox->home, sandbox->name)) {
        if (!force)
            return msb_error_set(error, MSB_ERROR_RUNNING, "sandbox '%s' is running; stop it first, or use --force",
                                 sandbox->name);
        if (!msb_sandbox_stop(sandbox, 0, &local) && !g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_RUNNING)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
    }
    lock = msb_sandbox_lock_name(sandbox->home, sandbox->name, LOCK_TIMEOUT_MS, error);
    if (!lock)
        return FALSE;
    if (msb_sandbox_is_supervised(sandbox->home, sandbox->name))
        return msb_error_set(error, MSB_ERROR_RUNNING, "sandbox '%s' was started again meanwhile", sandbox->name);
    return remove_locked(sandbox->home, sandbox->name, force, error);
}

/* ---- reaping ---------------------------------------------------------------------------------------- */

/* TRUE if the host was started after that moment. */
static gboolean
host_started_since(gint64 realtime)
{
    struct timespec up;

    if (clock_gettime(CLOCK_BOOTTIME, &up) < 0)
        return FALSE;
    return g_get_real_time() - ((gint64)up.tv_sec * G_USEC_PER_SEC + up.tv_nsec / 1000) > realtime;
}

/* Note how the run ended, unless the supervisor still did so itself: that an end belongs to the run is told by the
 * run's own mark, since clocks are set back and forth. */
static gboolean
note_end(MsbHome *home, const char *name, GError **error)
{
    g_auto(MsbRunStatus) status = MSB_RUN_STATUS_INIT;
    g_auto(MsbLastEnd) end = MSB_LAST_END_INIT;

    if (!msb_sandbox_exists(home, name))
        return TRUE;
    (void)msb_run_status_load(home, name, &status, NULL);
    if (msb_last_end_load(home, name, &end, NULL) && end.reason != MSB_END_NONE && status.started &&
        end.run == status.started)
        return TRUE;
    msb_last_end_clear(&end);
    end.reason = MSB_END_SUPERVISOR_DIED;
    end.time = 0;
    end.run = status.started;
    if (status.started && host_started_since(status.started))
        end.message = g_strdup("the host went down while it was running");
    else if (status.supervisor_pid)
        end.message = g_strdup_printf("its supervisor (process %u) ended unexpectedly; the machine was stopped",
                                      status.supervisor_pid);
    return msb_last_end_save(home, name, &end, error);
}

static gboolean
is_ephemeral(MsbHome *home, const char *name, gint64 *created)
{
    g_autoptr(MsbConfig) config = msb_sandbox_load_config(home, name, NULL);

    *created = config ? msb_config_get_created(config) : 0;
    return config && msb_config_get_ephemeral(config);
}

static gboolean
reap_locked(MsbHome *home, const char *name, GError **error)
{
    g_autofree char *run = msb_home_run_dir(home, name), *lock_path = msb_run_lock_path(home, name);
    g_auto(MsbRunStatus) status = MSB_RUN_STATUS_INIT;
    g_autoptr(MsbConnection) connection = NULL;
    g_autoptr(MsbLock) lock = NULL;
    g_autoptr(GError) local = NULL;
    gint64 created;

    if (access(run, F_OK) < 0)
        return TRUE;
    /* A supervisor that just started has it: then there is nothing to put in order. */
    lock = msb_lock_acquire(lock_path, MSB_LOCK_EXCLUSIVE, 0, NULL);
    if (!lock)
        return TRUE;
    /* Its first act is the status: without one it had not begun anything. */
    if (!msb_run_status_load(home, name, &status, &local) && g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND))
        return msb_run_remove(home, name, error);
    connection = msb_connection_open_bounded(error);
    if (!connection || !drop_domain(home, name, connection, FALSE, error) || !note_end(home, name, error))
        return FALSE;
    if (is_ephemeral(home, name, &created) && !msb_sandbox_discard(home, name, connection, error))
        return FALSE;
    return msb_run_remove(home, name, error);
}

/* An ephemeral sandbox is only between its creation and its end: one that ended, or that nobody started. */
static gboolean
is_left_over(MsbHome *home, const char *name)
{
    g_auto(MsbLastEnd) end = MSB_LAST_END_INIT;
    gint64 created;

    if (!is_ephemeral(home, name, &created) || msb_sandbox_is_supervised(home, name))
        return FALSE;
    if (msb_last_end_load(home, name, &end, NULL) && end.reason != MSB_END_NONE)
        return TRUE;
    return g_get_real_time() - created > NEVER_STARTED_MAX_AGE;
}

gboolean
msb_sandbox_reap(MsbHome *home, const char *name, gboolean locked, GError **error)
{
    g_autofree char *run = msb_home_run_dir(home, name);
    g_autoptr(MsbLock) lock = NULL;
    gboolean left_over;

    if (msb_sandbox_is_supervised(home, name))
        return TRUE;
    left_over = is_left_over(home, name);
    if (access(run, F_OK) < 0 && !left_over)
        return TRUE;
    if (!locked) {
        lock = msb_sandbox_lock_name(home, name, 0, NULL);
        if (!lock)
            return TRUE;
    }
    if (!reap_locked(home, name, error))
        return FALSE;
    if (left_over && !msb_sandbox_is_supervised(home, name) && is_left_over(home, name))
        return remove_locked(home, name, FALSE, error);
    return TRUE;
}

/* ---- sweeping ------------------------------------------------------------------------------------------ */

/* ".<name>.<6 characters>" -> name, or NULL. */
static char *
name_of_stage(const char *entry)
{
    const char *dot = strrchr(entry, '.');

    if (entry[0] != '.' || dot == entry || strlen(dot) != 7)
        return NULL;
    return g_strndup(entry + 1, (gsize)(dot - entry - 1));
}

static void
sweep_stages(MsbHome *home)
{
    g_autofree char *path = msb_home_build_path(home, "sandboxes", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *entry;

    while (dir && (entry = g_dir_read_name(dir))) {
        g_autofree char *name = name_of_stage(entry), *stage = g_build_filename(path, entry, NULL);
        g_autoptr(MsbLock) lock = NULL;

        if (!name || !msb_name_validate("sandbox", name, NULL))
            continue;
        /* Whoever is making or removing it has the lock. */
        lock = msb_sandbox_lock_name(home, name, 0, NULL);
        if (lock)
            (void)msb_paths_remove_tree(stage, NULL);
    }
}

void
msb_sandbox_forget_lock(MsbHome *home, const char *name)
{
    g_autoptr(MsbLock) lock = msb_sandbox_exists(home, name) ? NULL : msb_sandbox_lock_name(home, name, 0, NULL);

    if (lock && !msb_sandbox_exists(home, name))
        forget_name_lock(home, name);
}

static void
sweep_locks(MsbHome *home)
{
    g_autofree char *path = msb_home_build_path(home, "sandboxes", ".locks", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir)))
        msb_sandbox_forget_lock(home, name);
}

void
msb_sandbox_sweep(MsbHome *home)
{
    sweep_stages(home);
    sweep_locks(home);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sandbox object: a name in a state directory and its configuration.  What
 * state it is in is never kept: the supervisor's lock tells whether it runs,
 * status.json how far it is, state.json how it ended.
 */
#include <config.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msb-error.h"
#include "msb-plan.h"
#include "msb-refs.h"
#include "msb-sandbox-private.h"

#define CONFIG_VERSION 1

/* ---- parts ------------------------------------------------------------------------------- */

gboolean
msb_sandbox_exists(MsbHome *home, const char *name)
{
    g_autofree char *dir = msb_home_sandbox_dir(home, name);

    return access(dir, F_OK) == 0;
}

MsbConfig *
msb_sandbox_load_config(MsbHome *home, const char *name, GError **error)
{
    g_autofree char *dir = msb_home_sandbox_dir(home, name), *path = g_build_filename(dir, "config.json", NULL);
    g_autoptr(GError) local = NULL;
    g_autoptr(JsonObject) object = NULL;
    g_autoptr(JsonNode) node = NULL;
    MsbConfig *config;

    if (access(dir, F_OK) < 0) {
        msb_error_set(error, MSB_ERROR_NOT_FOUND, "there is no sandbox '%s' ('msb ls' lists them)", name);
        return NULL;
    }
    object = msb_state_load(path, CONFIG_VERSION, &local);
    if (object) {
        node = json_node_init_object(json_node_alloc(), object);
        config = msb_config_from_json(node, &local);
        if (config && g_strcmp0(msb_config_get_name(config), name) == 0)
            return config;
        if (config)
            msb_error_set(&local, MSB_ERROR_CORRUPT, "it is the configuration of '%s'", msb_config_get_name(config));
        msb_config_unref(config);
    }
    msb_error_set(error, local->code == MSB_ERROR_UNSUPPORTED ? MSB_ERROR_UNSUPPORTED : MSB_ERROR_CORRUPT,
                  "sandbox '%s' is damaged: %s: %s", name, path, local->message);
    return NULL;
}

gboolean
msb_sandbox_is_supervised(MsbHome *home, const char *name)
{
    g_autofree char *path = msb_run_lock_path(home, name);

    return msb_lock_is_held(path);
}

MsbLock *
msb_sandbox_lock_name(MsbHome *home, const char *name, gint timeout_ms, GError **error)
{
    g_autofree char *path = msb_home_build_path(home, "sandboxes", ".locks", name, NULL);
    g_autoptr(GError) local = NULL;
    MsbLock *lock = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, timeout_ms, &local);

    if (lock)
        return lock;
    if (g_error_matches(local, MSB_ERROR, MSB_ERROR_IN_USE) || g_error_matches(local, MSB_ERROR, MSB_ERROR_TIMEOUT))
        msb_error_set(error, MSB_ERROR_IN_USE, "another msb command is working on sandbox '%s'", name);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
}

/* ---- the object ---------------------------------------------------------------------------- */

/* Takes config. */
static MsbSandbox *
sandbox_new(MsbHome *home, const char *name, MsbConfig *config)
{
    MsbSandbox *sandbox = g_new0(MsbSandbox, 1);

    g_atomic_ref_count_init(&sandbox->refs);
    sandbox->home = msb_home_ref(home);
    sandbox->name = g_strdup(name);
    sandbox->config = config;
    return sandbox;
}

static void
sandbox_free(MsbSandbox *sandbox)
{
    msb_home_unref(sandbox->home);
    g_free(sandbox->name);
    msb_config_unref(sandbox->config);
    g_free(sandbox);
}

MSB_DEFINE_REFS(MsbSandbox, msb_sandbox, sandbox_free)

MsbSandbox *
msb_sandbox_open(MsbHome *home, const char *name, GError **error)
{
    MsbConfig *config = msb_sandbox_load_config(home, name, error);

    return config ? sandbox_new(home, name, config) : NULL;
}

MsbSandbox *
msb_sandbox_lookup(MsbHome *home, const char *name, GError **error)
{
    if (!msb_name_validate("sandbox", name, error))
        return NULL;
    /* With libvirt away nothing can be put in order, and logs and configuration are still wanted. */
    (void)msb_sandbox_reap(home, name, FALSE, NULL);
    return msb_sandbox_open(home, name, error);
}

static gint
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp((*(MsbSandbox *const *)a)->name, (*(MsbSandbox *const *)b)->name);
}

GPtrArray *
msb_sandbox_list(MsbHome *home, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)msb_sandbox_unref);
    g_autofree char *path = msb_home_build_path(home, "sandboxes", NULL);
    g_autoptr(GError) local = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &local);
    const char *name;

    if (!dir) {
        msb_error_set(error, MSB_ERROR_IO, "%s", local->message);
        return NULL;
    }
    msb_sandbox_sweep(home);
    while ((name = g_dir_read_name(dir))) {
        MsbSandbox *sandbox;

        if (!msb_name_validate("sandbox", name, NULL))
            continue;
        /* What cannot be put in order now (libvirt is away) is still listed. */
        (void)msb_sandbox_reap(home, name, FALSE, NULL);
        sandbox = msb_sandbox_open(home, name, NULL);
        if (sandbox)
            g_ptr_array_add(list, sandbox);
    }
    g_ptr_array_sort(list, compare_names);
    return g_steal_pointer(&list);
}

const char *
msb_sandbox_get_name(const MsbSandbox *sandbox)
{
    return sandbox->name;
}

MsbConfig *
msb_sandbox_get_config(const MsbSandbox *sandbox)
{
    return sandbox->config;
}

static MsbSandboxState
running_state(MsbSandbox *sandbox)
{
    g_auto(MsbRunStatus) status = MSB_RUN_STATUS_INIT;

    /* Without a status the supervisor is at its very beginning, or its very end. */
    if (!msb_run_status_load(sandbox->home, sandbox->name, &status, NULL))
        return MSB_STATE_STARTING;
    return status.state == MSB_STATE_RUNNING || status.state == MSB_STATE_STOPPING ? status.state : MSB_STATE_STARTING;
}

/* No supervisor, but a run directory that could not be reaped: it is being started, or libvirt is away. */
static MsbSandboxState
unsupervised_state(MsbSandbox *sandbox)
{
    g_autofree char *lock = msb_home_build_path(sandbox->home, "sandboxes", ".locks", sandbox->name, NULL);

    return msb_lock_is_held(lock) ? MSB_STATE_STARTING : MSB_STATE_CRASHED;
}

MsbSandboxState
msb_sandbox_get_state(MsbSandbox *sandbox)
{
    g_autofree char *run = msb_home_run_dir(sandbox->home, sandbox->name);
    g_auto(MsbLastEnd) end = MSB_LAST_END_INIT;

    if (msb_sandbox_is_supervised(sandbox->home, sandbox->name))
        return running_state(sandbox);
    (void)msb_sandbox_reap(sandbox->home, sandbox->name, FALSE, NULL);
    if (access(run, F_OK) == 0)
        return msb_sandbox_is_supervised(sandbox->home, sandbox->name) ? running_state(sandbox)
                                                                       : unsupervised_state(sandbox);
    if (!msb_last_end_load(sandbox->home, sandbox->name, &end, NULL))
        return MSB_STATE_CRASHED;
    return msb_end_reason_to_state(end.reason);
}

char *
msb_sandbox_dup_last_error(MsbSandbox *sandbox)
{
    g_auto(MsbLastEnd) end = MSB_LAST_END_INIT;
    g_autoptr(GError) local = NULL;

    if (msb_sandbox_is_supervised(sandbox->home, sandbox->name))
        return NULL;
    if (!msb_last_end_load(sandbox->home, sandbox->name, &end, &local))
        return g_strdup(local->message);
    if (msb_end_reason_to_state(end.reason) != MSB_STATE_CRASHED)
        return NULL;
    return g_strdup(end.message ? end.message : msb_end_reason_describe(end.reason));
}

char *
msb_sandbox_dup_domain_name(MsbSandbox *sandbox)
{
    return msb_plan_domain_name(sandbox->name);
}

char *
msb_sandbox_dup_log_path(MsbSandbox *sandbox, const char *which)
{
    g_autofree char *dir = msb_home_sandbox_dir(sandbox->home, sandbox->name);
    g_autofree char *file = g_strconcat(which, ".log", NULL);

    return g_build_filename(dir, "logs", file, NULL);
}

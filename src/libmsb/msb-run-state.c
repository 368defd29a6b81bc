/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading and writing of the two small files by which supervisors and the
 * other programs know of each other.  The words in them are tables here.
 */
#include <config.h>

#include <errno.h>
#include <glib/gstdio.h>
#include <unistd.h>

#include "msb-error.h"
#include "msb-json.h"
#include "msb-run-state.h"
#include "msb-state.h"

#define RUN_STATUS_VERSION 1
#define LAST_END_VERSION 1

static const char *const states[] = {
    [MSB_STATE_CREATED] = "created",   [MSB_STATE_STARTING] = "starting", [MSB_STATE_RUNNING] = "running",
    [MSB_STATE_STOPPING] = "stopping", [MSB_STATE_STOPPED] = "stopped",   [MSB_STATE_CRASHED] = "crashed",
    NULL,
};

static const char *const reasons[] = {
    [MSB_END_NONE] = "none",
    [MSB_END_REQUESTED] = "requested",
    [MSB_END_POWEROFF] = "poweroff",
    [MSB_END_BOOT_FAILED] = "boot-failed",
    [MSB_END_GUEST_PANIC] = "guest-panic",
    [MSB_END_QEMU_DIED] = "qemu-died",
    [MSB_END_BACKEND_DIED] = "backend-died",
    [MSB_END_SUPERVISOR_DIED] = "supervisor-died",
    [MSB_END_INTERNAL] = "internal",
    NULL,
};

static const char *const reason_texts[] = {
    [MSB_END_NONE] = "never ran",
    [MSB_END_REQUESTED] = "stopped by request",
    [MSB_END_POWEROFF] = "the guest powered off",
    [MSB_END_BOOT_FAILED] = "the guest did not come up",
    [MSB_END_GUEST_PANIC] = "the guest kernel panicked",
    [MSB_END_QEMU_DIED] = "QEMU ended unexpectedly",
    [MSB_END_BACKEND_DIED] = "a device back-end ended unexpectedly",
    [MSB_END_SUPERVISOR_DIED] = "its supervisor ended unexpectedly",
    [MSB_END_INTERNAL] = "a failure on the host",
};

const char *
msb_sandbox_state_to_string(MsbSandboxState state)
{
    return (gsize)state < G_N_ELEMENTS(states) - 1 ? states[state] : "unknown";
}

MsbSandboxState
msb_end_reason_to_state(MsbEndReason reason)
{
    switch (reason) {
    case MSB_END_NONE:
        return MSB_STATE_CREATED;
    case MSB_END_REQUESTED:
    case MSB_END_POWEROFF:
        return MSB_STATE_STOPPED;
    default:
        return MSB_STATE_CRASHED;
    }
}

const char *
msb_end_reason_describe(MsbEndReason reason)
{
    return (gsize)reason < G_N_ELEMENTS(reason_texts) ? reason_texts[reason] : "unknown";
}

/* ---- run/<name> ---------------------------------------------------------------------- */

static char *
run_path(MsbHome *home, const char *name, const char *file)
{
    g_autofree char *dir = msb_home_run_dir(home, name);

    return g_build_filename(dir, file, NULL);
}

char *
msb_run_lock_path(MsbHome *home, const char *name)
{
    return run_path(home, name, "lock");
}

char *
msb_run_control_socket(MsbHome *home, const char *name)
{
    return run_path(home, name, "control.sock");
}

gboolean
msb_run_status_load(MsbHome *home, const char *name, MsbRunStatus *status, GError **error)
{
    g_autofree char *path = run_path(home, name, "status.json");
    g_autoptr(JsonObject) object = msb_state_load(path, RUN_STATUS_VERSION, error);
    g_autoptr(JsonNode) node = NULL;
    g_auto(MsbRunStatus) read = MSB_RUN_STATUS_INIT;
    MsbJsonReader r;

    if (!object)
        return FALSE;
    node = json_node_init_object(json_node_alloc(), object);
    msb_json_reader_begin(&r, node, path);
    msb_json_get_int(&r, "version", 0, 0, G_MAXINT64);
    read.state = (MsbSandboxState)msb_json_get_choice(&r, "state", states, MSB_STATE_STARTING);
    read.supervisor_pid = (guint)msb_json_get_int(&r, "supervisor_pid", 0, 0, G_MAXINT32);
    read.started = msb_json_get_int(&r, "started", 0, 0, G_MAXINT64);
    read.error = g_strdup(msb_json_get_string(&r, "error"));
    if (!msb_json_reader_end(&r, error))
        return FALSE;
    msb_run_status_clear(status);
    *status = read;
    read = (MsbRunStatus)MSB_RUN_STATUS_INIT;
    return TRUE;
}

gboolean
msb_run_status_save(MsbHome *home, const char *name, const MsbRunStatus *status, GError **error)
{
    g_autofree char *path = run_path(home, name, "status.json");
    g_autoptr(JsonObject) object = json_object_new();

    json_object_set_int_member(object, "version", RUN_STATUS_VERSION);
    json_object_set_string_member(object, "state", msb_sandbox_state_to_string(status->state));
    json_object_set_int_member(object, "supervisor_pid", status->supervisor_pid);
    json_object_set_int_member(object, "started", status->started);
    if (status->error)
        json_object_set_string_member(object, "error", status->error);
    return msb_state_save(path, object, error);
}

void
msb_run_status_clear(MsbRunStatus *status)
{
    g_clear_pointer(&status->error, g_free);
}

/* Once the lock has lost its name, another supervisor may take the directory over: it goes if it is empty, and
 * what is in it by now is not ours to remove. */
static gboolean
remove_emptied(const char *dir, const char *lock, GError **error)
{
    if ((unlink(lock) < 0 && errno != ENOENT) ||
        (rmdir(dir) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST))
        return msb_error_set_errno(error, errno, "cannot remove '%s'", dir);
    return TRUE;
}

gboolean
msb_run_remove(MsbHome *home, const char *name, GError **error)
{
    g_autofree char *dir = msb_home_run_dir(home, name), *lock = msb_run_lock_path(home, name);
    g_autoptr(GDir) listing = g_dir_open(dir, 0, NULL);
    const char *entry;

    if (!listing)
        return TRUE;
    while ((entry = g_dir_read_name(listing))) {
        g_autofree char *path = g_build_filename(dir, entry, NULL);

        if (!g_str_equal(entry, "lock") && !msb_paths_remove_tree(path, error))
            return FALSE;
    }
    return remove_emptied(dir, lock, error);
}

/* ---- sandboxes/<name>/state.json ---------------------------------------------------------- */

static char *
last_end_path(MsbHome *home, const char *name)
{
    g_autofree char *dir = msb_home_sandbox_dir(home, name);

    return g_build_filename(dir, "state.json", NULL);
}

gboolean
msb_last_end_load(MsbHome *home, const char *name, MsbLastEnd *end, GError **error)
{
    g_autofree char *path = last_end_path(home, name);
    g_autoptr(GError) local = NULL;
    g_autoptr(JsonObject) object = msb_state_load(path, LAST_END_VERSION, &local);
    g_autoptr(JsonNode) node = NULL;
    MsbLastEnd read = MSB_LAST_END_INIT;
    MsbJsonReader r;

    if (object) {
        node = json_node_init_object(json_node_alloc(), object);
        msb_json_reader_begin(&r, node, path);
        msb_json_get_int(&r, "version", 0, 0, G_MAXINT64);
        read.reason = (MsbEndReason)msb_json_get_choice(&r, "reason", reasons, MSB_END_INTERNAL);
        read.message = g_strdup(msb_json_get_string(&r, "message"));
        read.time = msb_json_get_int(&r, "time", 0, 0, G_MAXINT64);
        read.run = msb_json_get_int(&r, "run", 0, 0, G_MAXINT64);
        if (!msb_json_reader_end(&r, error)) {
            msb_last_end_clear(&read);
            return FALSE;
        }
    } else if (!g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    msb_last_end_clear(end);
    *end = read;
    return TRUE;
}

gboolean
msb_last_end_save(MsbHome *home, const char *name, const MsbLastEnd *end, GError **error)
{
    g_autofree char *path = last_end_path(home, name);
    g_autoptr(JsonObject) object = json_object_new();

    json_object_set_int_member(object, "version", LAST_END_VERSION);
    json_object_set_string_member(object, "reason", reasons[end->reason]);
    if (end->message)
        json_object_set_string_member(object, "message", end->message);
    json_object_set_int_member(object, "time", end->time ? end->time : g_get_real_time());
    json_object_set_int_member(object, "run", end->run);
    return msb_state_save(path, object, error);
}

void
msb_last_end_clear(MsbLastEnd *end)
{
    g_clear_pointer(&end->message, g_free);
}

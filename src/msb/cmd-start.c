/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * start, stop, restart and rm, and what run, create and exec share with them:
 * creating with --replace, starting with progress and a way to interrupt it.
 */
#include <config.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmd-signals.h"
#include "cmd.h"
#include "ui-message.h"
#include "ui-progress.h"

static gboolean arg_force;
static gboolean arg_quiet;
static gint64 arg_timeout = -1;

/* ---- bringing one up --------------------------------------------------------------- */

static gboolean
replace_old(MsbHome *home, const char *name, guint timeout_ms, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(MsbSandbox) old = msb_sandbox_lookup(home, name, &local);

    if (!old) {
        if (g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND))
            return TRUE;
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (!msb_sandbox_stop(old, timeout_ms, &local)) {
        if (!g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_RUNNING)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
    }
    return msb_sandbox_remove(old, TRUE, error);
}

/* The image is in the store when this succeeds: --pull decides whether a registry is asked. */
static gboolean
ensure_image(MsbHome *home, const MsbConfig *config, GError **error)
{
    MsbPullOptions options = { .policy = cmd_config_pull() };
    g_autoptr(MsbImage) image = NULL;

    if (msb_config_get_root_kind(config) != MSB_ROOT_IMAGE || !msb_config_get_image(config))
        return TRUE;
    image = cmd_pull_image(home, msb_config_get_image(config), &options, cmd_config_quiet, error);
    return image != NULL;
}

MsbSandbox *
cmd_create_sandbox(MsbHome *home, MsbConfig *config, GError **error)
{
    guint timeout_ms;

    /* What can be wrong is said before an image is downloaded, and the old sandbox goes when the new image is there. */
    if (cmd_config_replace(&timeout_ms) && !cmd_config_name()) {
        msb_error_set(error, MSB_ERROR_INVALID, _("--replace needs the name of what to replace (--name)"));
        return NULL;
    }
    if (msb_config_get_name(config) && !msb_config_validate(config, error))
        return NULL;
    if (!ensure_image(home, config, error))
        return NULL;
    if (cmd_config_replace(&timeout_ms) && !replace_old(home, cmd_config_name(), timeout_ms, error))
        return NULL;
    return msb_sandbox_create(home, config, error);
}

typedef struct {
    MsbHome *home;
    const char *name;
} Attempt;

/* From the watch's thread: take down what is coming up, so that the waiting call fails. */
static void
abandon(gpointer data)
{
    const Attempt *attempt = data;
    g_autoptr(MsbSandbox) sandbox = msb_sandbox_lookup(attempt->home, attempt->name, NULL);

    if (sandbox)
        msb_sandbox_stop(sandbox, 0, NULL);
}

/* Tell why it will be slow. */
static gboolean
note_accel(MsbSandbox *sandbox, gboolean quiet, GError **error)
{
    g_autofree char *why = NULL;
    g_autofree char *accel =
        msb_host_choose_accel(msb_config_get_accel(msb_sandbox_get_config(sandbox)), &why, error);

    if (!accel)
        return FALSE;
    if (why && !quiet)
        ui_note("%s", why);
    return TRUE;
}

gboolean
cmd_start_sandbox(MsbHome *home, MsbSandbox *sandbox, gboolean quiet, GError **error)
{
    Attempt attempt = {.home = home, .name = msb_sandbox_get_name(sandbox)};
    g_autoptr(UiProgress) progress = ui_progress_new(quiet);
    g_autofree char *what = g_strdup_printf(_("starting %s"), attempt.name);
    g_autoptr(GError) local = NULL;
    CmdWatch *watch;
    gboolean ok;
    int caught;

    if (!note_accel(sandbox, quiet, error))
        return FALSE;
    if (ui_progress_is_drawn(progress))
        ui_progress_step(progress, what);
    watch = cmd_watch_begin(abandon, &attempt);
    ok = msb_sandbox_start(sandbox, &local);
    caught = cmd_watch_end(watch);
    if (caught) {
        if (ok)
            msb_sandbox_stop(sandbox, 0, NULL);
        return msb_error_set(error, MSB_ERROR_FAILED, _("starting '%s' was interrupted by signal %d (%s)"),
                             attempt.name, caught, strsignal(caught));
    }
    if (!ok)
        g_propagate_error(error, g_steal_pointer(&local));
    return ok;
}

gboolean
cmd_stop_sandbox(MsbSandbox *sandbox, guint timeout_ms, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (msb_sandbox_stop(sandbox, timeout_ms, &local) ||
        g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_RUNNING))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

void
cmd_print_timings(MsbClient *client)
{
    g_auto(GStrv) timings = msb_client_dup_timings(client);

    for (guint i = 0; timings && timings[i]; i++) {
        char *equals = strchr(timings[i], '=');

        if (!equals)
            continue;
        *equals = '\0';
        fprintf(stderr, "%-24s %10.3f ms\n", timings[i],
                (double)g_ascii_strtoull(equals + 1, NULL, 10) / 1000);
    }
}

/* ---- the commands ---------------------------------------------------------------------- */

static const CmdOption quiet_option[] = {
    {"quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("no progress and no notes"), CMD_VALUE_ANY,
     NULL},
    CMD_TARGET_LABEL_OPTION,
    {0},
};

static gboolean
start_one(MsbSandbox *sandbox, GError **error)
{
    g_autoptr(MsbHome) home = msb_home_open(NULL, error);

    if (!home || !cmd_start_sandbox(home, sandbox, arg_quiet, error))
        return FALSE;
    puts(msb_sandbox_get_name(sandbox));
    return TRUE;
}

static int
run_start(const CmdArgs *args)
{
    cmd_signals_init();
    return cmd_for_targets(args, start_one);
}

const CmdCommand cmd_start = {
    .name = "start",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] NAME…"),
    .summary = N_("Start stopped sandboxes"),
    .options = {quiet_option},
    .operands = (const CmdValue[]){CMD_VALUE_STOPPED, CMD_VALUE_END},
    .max_operands = G_MAXUINT,
    .run = run_start,
};

#define TIMEOUT_OPTION                                                                                       \
    {                                                                                                        \
        "timeout", 't', CMD_OPTION_DURATION, &arg_timeout, NULL, N_("DURATION"),                             \
            N_("how long it has to stop before it is killed (default 10s)"), CMD_VALUE_ANY, NULL             \
    }

static const CmdOption stop_options[] = {
    {"force", 'f', CMD_OPTION_FLAG, &arg_force, NULL, NULL, N_("kill it at once"), CMD_VALUE_ANY, NULL},
    TIMEOUT_OPTION,
    {0},
};

static guint
stop_timeout(void)
{
    if (arg_force)
        return 0;
    return arg_timeout >= 0 ? (guint)arg_timeout : CMD_STOP_TIMEOUT_MS;
}

static gboolean
stop_one(MsbSandbox *sandbox, GError **error)
{
    g_autoptr(UiProgress) progress = ui_progress_new(arg_quiet);
    g_autofree char *what = g_strdup_printf(_("stopping %s"), msb_sandbox_get_name(sandbox));

    if (ui_progress_is_drawn(progress))
        ui_progress_step(progress, what);
    if (!msb_sandbox_stop(sandbox, stop_timeout(), error))
        return FALSE;
    ui_progress_clear_line();
    puts(msb_sandbox_get_name(sandbox));
    return TRUE;
}

static int
run_stop(const CmdArgs *args)
{
    return cmd_for_targets(args, stop_one);
}

const CmdCommand cmd_stop = {
    .name = "stop",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] NAME…"),
    .summary = N_("Stop running sandboxes"),
    .details =
        N_("The guest terminates its commands, writes what is unwritten and powers off. What was written to "
           "its root is there again when it starts."),
    .options = {stop_options, quiet_option},
    .operands = (const CmdValue[]){CMD_VALUE_RUNNING, CMD_VALUE_END},
    .max_operands = G_MAXUINT,
    .run = run_stop,
};

static gboolean
restart_one(MsbSandbox *sandbox, GError **error)
{
    return cmd_stop_sandbox(sandbox, stop_timeout(), error) && start_one(sandbox, error);
}

static int
run_restart(const CmdArgs *args)
{
    cmd_signals_init();
    return cmd_for_targets(args, restart_one);
}

const CmdCommand cmd_restart = {
    .name = "restart",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] NAME…"),
    .summary = N_("Stop sandboxes if they run, and start them"),
    .options = {stop_options, quiet_option},
    .operands = (const CmdValue[]){CMD_VALUE_SANDBOX, CMD_VALUE_END},
    .max_operands = G_MAXUINT,
    .run = run_restart,
};

static gboolean
remove_one(MsbSandbox *sandbox, GError **error)
{
    g_autofree char *name = g_strdup(msb_sandbox_get_name(sandbox));

    if (!msb_sandbox_remove(sandbox, arg_force, error))
        return FALSE;
    if (!arg_quiet)
        puts(name);
    return TRUE;
}

static int
run_rm(const CmdArgs *args)
{
    return cmd_for_targets(args, remove_one);
}

static const CmdOption rm_options[] = {
    {"force", 'f', CMD_OPTION_FLAG, &arg_force, NULL, NULL, N_("kill it if it runs"), CMD_VALUE_ANY, NULL},
    {0},
};

const CmdCommand cmd_rm = {
    .name = "rm",
    .aliases = "remove",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] NAME…"),
    .summary = N_("Remove sandboxes with all that was written in them"),
    .details = N_("Images and named volumes stay."),
    .options = {rm_options, quiet_option},
    .operands = (const CmdValue[]){CMD_VALUE_SANDBOX, CMD_VALUE_END},
    .max_operands = G_MAXUINT,
    .run = run_rm,
};

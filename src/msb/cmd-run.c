/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run: a command in a sandbox that is made for it, or in the named one that is
 * there already.  Without a name the sandbox goes when the command ends, whatever
 * way that is; with a name it stays, stopped if it was this run that started it.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cmd-signals.h"
#include "cmd.h"
#include "ui-message.h"

static gboolean arg_detach;

static const CmdOption options[] = {
    {"detach", 'd', CMD_OPTION_FLAG, &arg_detach, NULL, NULL,
     N_("leave the command running and print the sandbox's name"), CMD_VALUE_ANY, NULL},
    {0},
};

/* ---- which command ------------------------------------------------------------------ */

static void
append(GPtrArray *argv, const char *const *words)
{
    for (guint i = 0; words && words[i]; i++)
        g_ptr_array_add(argv, g_strdup(words[i]));
}

/* The image the sandbox was made from; NULL if its root is none or the image is gone. */
static MsbImage *
image_of(MsbHome *home, MsbConfig *config)
{
    const char *digest = msb_config_get_image_digest(config);

    if (msb_config_get_root_kind(config) != MSB_ROOT_IMAGE)
        return NULL;
    return msb_image_lookup(home, digest ? digest : msb_config_get_image(config), NULL);
}

/* ENTRYPOINT and CMD of the image, as far as the sandbox's configuration and the command line leave them. An
 * entry point of the sandbox's own drops the image's CMD, which is written for the image's. */
static char **
command_line(MsbHome *home, MsbSandbox *sandbox, const CmdArgs *args)
{
    MsbConfig *config = msb_sandbox_get_config(sandbox);
    g_autoptr(MsbImage) image = image_of(home, config);
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    const char *const *entrypoint = msb_config_get_entrypoint(config);
    const char *const *cmd = msb_config_get_cmd(config);

    append(argv, entrypoint ? entrypoint : image ? msb_image_get_entrypoint(image) : NULL);
    if (args->command)
        append(argv, (const char *const *)args->command);
    else
        append(argv, cmd ? cmd : image && !entrypoint ? msb_image_get_cmd(image) : NULL);
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&argv), FALSE);
}

/* ---- which sandbox -------------------------------------------------------------------- */

/* Options that only a new sandbox can follow. */
static void
warn_ignored(const CmdArgs *args, MsbSandbox *sandbox)
{
    static const char *const kept[] = {"name", "quiet", "timings", "pull", NULL};
    g_autoptr(GString) list = g_string_new(NULL);
    const char *image = msb_config_get_image(msb_sandbox_get_config(sandbox));

    for (guint i = 0; i < args->given->len; i++) {
        const CmdOption *option = args->given->pdata[i];

        for (const CmdOption *known = cmd_config_options; known->name; known++)
            if (known == option && !g_strv_contains(kept, option->name))
                g_string_append_printf(list, "%s--%s", list->len ? ", " : "", option->name);
    }
    if (args->n_operands > 0 && g_strcmp0(args->operands[0], image) != 0)
        g_string_append_printf(list, "%s%s", list->len ? ", " : "", args->operands[0]);
    if (list->len == 0)
        return;
    ui_warning(_("the sandbox '%s' exists and is used as it is; ignored: %s"), msb_sandbox_get_name(sandbox),
               list->str);
    ui_hint(_("--replace makes it anew"));
}

/* The named sandbox that is there, or a new one; *made tells which. */
static MsbSandbox *
obtain(MsbHome *home, const CmdArgs *args, gboolean *made, GError **error)
{
    g_autoptr(MsbConfig) config = cmd_config_build(args->n_operands ? args->operands[0] : NULL, error);
    guint timeout_ms;

    if (!config)
        return NULL;
    *made = TRUE;
    if (cmd_config_name() && !cmd_config_replace(&timeout_ms)) {
        g_autoptr(GError) local = NULL;
        MsbSandbox *sandbox = msb_sandbox_lookup(home, cmd_config_name(), &local);

        if (sandbox) {
            *made = FALSE;
            warn_ignored(args, sandbox);
            return sandbox;
        }
        if (!g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return NULL;
        }
    }
    if (args->n_operands == 0) {
        if (cmd_config_name())
            msb_error_set(error, MSB_ERROR_NOT_FOUND,
                          _("there is no sandbox '%s'; an image is needed to make it"), cmd_config_name());
        else
            msb_error_set(error, MSB_ERROR_INVALID,
                          _("an image is needed; 'msb images' lists those there are"));
        return NULL;
    }
    return cmd_create_sandbox(home, config, error);
}

/* ---- the run ------------------------------------------------------------------------------ */

/* Nothing to run: a shell at a terminal, else nothing. */
static gboolean
find_command(MsbSandbox *sandbox, CmdSession *session, char ***argv)
{
    if ((*argv)[0])
        return TRUE;
    if (!cmd_session_wants_tty(session))
        return FALSE;
    g_strfreev(*argv);
    *argv = g_strdupv((char *[]){(char *)msb_config_get_shell(msb_sandbox_get_config(sandbox)), NULL});
    return TRUE;
}

static CmdSessionResult
run_session(MsbHome *home, MsbSandbox *sandbox, gboolean started, const CmdArgs *args)
{
    CmdSession session = cmd_session_from_options();
    CmdSessionResult result = {.status = CMD_EXIT_FAILURE};
    g_auto(GStrv) argv = command_line(home, sandbox, args);
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbClient) client = msb_client_connect(sandbox, &error);

    if (!client) {
        cmd_fail(error);
        return result;
    }
    if (cmd_config_timings)
        cmd_print_timings(client);
    session.detach = arg_detach;
    session.workload = started;
    if (!find_command(sandbox, &session, &argv)) {
        if (arg_detach) {
            result.detached = TRUE;
        } else {
            ui_warning(_("there is nothing to run: neither a command nor one in the image"));
            ui_hint(_("give a command after '--', or --detach to leave the sandbox running"));
        }
        result.status = 0;
        return result;
    }
    session.argv = (const char *const *)argv;
    return cmd_session_run(client, msb_sandbox_get_name(sandbox), &session);
}

/* Put things back as they were: stop what this run started, remove what it made without a name. */
static void
wind_up(MsbSandbox *sandbox, gboolean started, gboolean remove)
{
    g_autoptr(GError) error = NULL;

    if (started && !cmd_stop_sandbox(sandbox, CMD_STOP_TIMEOUT_MS, &error)) {
        ui_warning("%s", error->message);
        g_clear_error(&error);
    }
    if (!remove || msb_sandbox_remove(sandbox, TRUE, &error) ||
        g_error_matches(error, MSB_ERROR, MSB_ERROR_NOT_FOUND))
        return;
    ui_warning("%s", error->message);
}

static int
run(const CmdArgs *args)
{
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(MsbSandbox) sandbox = NULL;
    g_autoptr(GError) error = NULL;
    CmdSessionResult result;
    gboolean made = FALSE, ephemeral, started;

    cmd_signals_init();
    home = cmd_open_home();
    if (!home)
        return CMD_EXIT_FAILURE;
    sandbox = obtain(home, args, &made, &error);
    if (!sandbox)
        return cmd_fail(error);
    ephemeral = made && !cmd_config_name();
    started = msb_sandbox_get_state(sandbox) != MSB_STATE_RUNNING;
    if (started && !cmd_start_sandbox(home, sandbox, cmd_config_quiet, &error)) {
        wind_up(sandbox, FALSE, made);
        return cmd_fail(error);
    }
    result = run_session(home, sandbox, started, args);
    if (result.detached) {
        if (arg_detach)
            puts(msb_sandbox_get_name(sandbox));
        return result.status;
    }
    wind_up(sandbox, started, ephemeral);
    return result.status;
}

const CmdCommand cmd_run = {
    .name = "run",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] [IMAGE] [-- COMMAND [ARGUMENT…]]"),
    .summary = N_("Run a command in a new sandbox"),
    .details = N_(
        "Without --name the sandbox is removed when the command ends. A named one is kept, and used as it is "
        "when there is one of that name already. The image's entry point and default command apply.\n\n"
        "The exit status is the command's; 128+N if signal N killed it, 127 if it was not found, 126 if it "
        "cannot be executed, 1 for any error of msb, 2 for a wrong command line."),
    .options = {options, cmd_session_options, cmd_config_options},
    .operands = (const CmdValue[]){CMD_VALUE_IMAGE, CMD_VALUE_END},
    .max_operands = 1,
    .takes_command = TRUE,
    .run = run,
};

/* ---- create --------------------------------------------------------------------------------- */

static int
run_create(const CmdArgs *args)
{
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(MsbConfig) config = NULL;
    g_autoptr(MsbSandbox) sandbox = NULL;
    g_autoptr(GError) error = NULL;

    cmd_signals_init();
    home = cmd_open_home();
    if (!home)
        return CMD_EXIT_FAILURE;
    config = cmd_config_build(args->operands[0], &error);
    if (!config)
        return cmd_fail(error);
    msb_config_set_ephemeral(config, FALSE);
    sandbox = cmd_create_sandbox(home, config, &error);
    if (!sandbox)
        return cmd_fail(error);
    if (!cmd_start_sandbox(home, sandbox, cmd_config_quiet, &error)) {
        wind_up(sandbox, FALSE, TRUE);
        return cmd_fail(error);
    }
    if (cmd_config_timings) {
        g_autoptr(MsbClient) client = msb_client_connect(sandbox, NULL);

        if (client)
            cmd_print_timings(client);
    }
    puts(msb_sandbox_get_name(sandbox));
    return 0;
}

const CmdCommand cmd_create = {
    .name = "create",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] IMAGE"),
    .summary = N_("Make a sandbox, start it and leave it idle"),
    .details = N_(
        "Prints its name: --name, or a new one. 'msb exec' runs commands in it. If it does not start it is "
        "not kept."),
    .options = {cmd_config_options},
    .operands = (const CmdValue[]){CMD_VALUE_IMAGE, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .run = run_create,
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * exec, shell and attach: a command in a sandbox that is there.  A stopped sandbox
 * is started for the call and stopped again after it.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "mb-parse.h"

#include "cmd-signals.h"
#include "cmd.h"
#include "ui-message.h"

static char **arg_env;
static char *arg_workdir;
static char *arg_user;
static gboolean arg_detach;
static gboolean arg_quiet;

static const CmdOption exec_options[] = {
    {"detach", 'd', CMD_OPTION_FLAG, &arg_detach, NULL, NULL, N_("leave it running and print its number"),
     CMD_VALUE_ANY, NULL},
    {0},
};

static const CmdOption common_options[] = {
    {"env", 'e', CMD_OPTION_STRINGS, &arg_env, NULL, N_("NAME[=VALUE]"),
     N_("set an environment variable; without a value it is passed on from here"), CMD_VALUE_ANY, NULL},
    {"workdir", 'w', CMD_OPTION_STRING, &arg_workdir, NULL, N_("DIR"), N_("working directory in the guest"),
     CMD_VALUE_ANY, NULL},
    {"user", 'u', CMD_OPTION_STRING, &arg_user, NULL, N_("USER[:GROUP]"),
     N_("run as this user and group, by name or number"), CMD_VALUE_ANY, NULL},
    {"quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("no progress and no notes"), CMD_VALUE_ANY,
     NULL},
    {0},
};

/* --env as K=V: a name alone takes our own value. */
static char **
expand_env(void)
{
    g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; arg_env && arg_env[i]; i++) {
        const char *ours = strchr(arg_env[i], '=') ? NULL : g_getenv(arg_env[i]);

        if (strchr(arg_env[i], '='))
            g_ptr_array_add(env, g_strdup(arg_env[i]));
        else if (ours)
            g_ptr_array_add(env, g_strdup_printf("%s=%s", arg_env[i], ours));
    }
    g_ptr_array_add(env, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&env), FALSE);
}

static MsbSandbox *
lookup(MsbHome *home, const char *name)
{
    g_autoptr(GError) error = NULL;
    MsbSandbox *sandbox = msb_sandbox_lookup(home, name, &error);

    if (!sandbox)
        cmd_fail(error);
    return sandbox;
}

/* Run session in sandbox, which is started before and stopped after if it does not run. */
static int
run_in(MsbHome *home, MsbSandbox *sandbox, CmdSession *session)
{
    g_auto(GStrv) env = expand_env();
    gboolean started = msb_sandbox_get_state(sandbox) != MSB_STATE_RUNNING;
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbClient) client = NULL;
    CmdSessionResult result = {.status = CMD_EXIT_FAILURE};

    if (started && !cmd_start_sandbox(home, sandbox, arg_quiet, &error))
        return cmd_fail(error);
    session->env = (const char *const *)env;
    session->cwd = arg_workdir;
    session->user = arg_user;
    client = msb_client_connect(sandbox, &error);
    if (client)
        result = cmd_session_run(client, msb_sandbox_get_name(sandbox), session);
    else
        cmd_fail(error);
    if (session->detach && result.detached)
        printf("%u\n", result.id);
    if (started && !result.detached && !cmd_stop_sandbox(sandbox, CMD_STOP_TIMEOUT_MS, &error))
        ui_warning("%s", error->message);
    return result.status;
}

static int
run_exec(const CmdArgs *args)
{
    CmdSession session = cmd_session_from_options();
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(MsbSandbox) sandbox = NULL;

    if (!args->command) {
        ui_error(_("which command? Give it after the sandbox's name"));
        ui_hint(_("see '%s --help'"), "msb exec");
        return CMD_EXIT_USAGE;
    }
    cmd_signals_init();
    session.argv = (const char *const *)args->command;
    session.detach = arg_detach;
    home = cmd_open_home();
    sandbox = home ? lookup(home, args->operands[0]) : NULL;
    return sandbox ? run_in(home, sandbox, &session) : CMD_EXIT_FAILURE;
}

const CmdCommand cmd_exec = {
    .name = "exec",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] NAME [--] COMMAND [ARGUMENT…]"),
    .summary = N_("Run a command in a sandbox"),
    .details = N_(
        "The image's entry point does not apply. A stopped sandbox is started for the call and stopped "
        "again. Ctrl-] detaches from a terminal and leaves the command running.\n\n"
        "The exit status is the command's; 128+N if signal N killed it, 127 if it was not found, 126 if it "
        "cannot be executed, 1 for any error of msb, 2 for a wrong command line."),
    .options = {exec_options, common_options, cmd_session_options},
    .operands = (const CmdValue[]){CMD_VALUE_SANDBOX, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .takes_command = TRUE,
    .run = run_exec,
};

/* ---- shell ---------------------------------------------------------------------------- */

static int
run_shell(const CmdArgs *args)
{
    CmdSession session = cmd_session_from_options();
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(MsbSandbox) sandbox = NULL;
    const char *argv[2] = {NULL, NULL};

    cmd_signals_init();
    home = cmd_open_home();
    sandbox = home ? lookup(home, args->operands[0]) : NULL;
    if (!sandbox)
        return CMD_EXIT_FAILURE;
    argv[0] = msb_config_get_shell(msb_sandbox_get_config(sandbox));
    session.argv = argv;
    return run_in(home, sandbox, &session);
}

const CmdCommand cmd_shell = {
    .name = "shell",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] NAME"),
    .summary = N_("Open the shell of a sandbox"),
    .details = N_(
        "It is the shell the sandbox was made with (--shell, default /bin/sh). A stopped sandbox is started "
        "for the call and stopped again. Ctrl-] detaches and leaves the shell running."),
    .options = {common_options, cmd_session_options},
    .operands = (const CmdValue[]){CMD_VALUE_SANDBOX, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .run = run_shell,
};

/* ---- attach --------------------------------------------------------------------------- */

/* The command with that number, or the only one there is that nobody watches. */
static const MsbExecInfo *
choose(const GPtrArray *list, const char *number, const char *name, GError **error)
{
    const MsbExecInfo *chosen = NULL;
    guint n = 0;
    uint32_t id = 0;

    if (number && mb_parse_u32(number, &id) < 0) {
        msb_error_set(error, MSB_ERROR_INVALID, _("'%s' is not the number of a command"), number);
        return NULL;
    }
    for (guint i = 0; i < list->len; i++) {
        const MsbExecInfo *info = list->pdata[i];

        if (number ? info->id == id : info->attached == 0) {
            chosen = info;
            n++;
        }
    }
    if (number && n == 0)
        msb_error_set(error, MSB_ERROR_NOT_FOUND, _("no command %s runs in '%s'; 'msb ps %s' lists them"),
                      number, name, name);
    else if (n == 0)
        msb_error_set(error, MSB_ERROR_NOT_FOUND, _("no detached command runs in '%s'"), name);
    else if (n > 1)
        msb_error_set(error, MSB_ERROR_INVALID,
                      _("%u detached commands run in '%s'; give the number of one ('msb ps %s' lists them)"),
                      n, name, name);
    return n == 1 ? chosen : NULL;
}

static int
run_attach(const CmdArgs *args)
{
    const char *name = args->operands[0];
    CmdSession session = cmd_session_from_options();
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(MsbSandbox) sandbox = NULL;
    g_autoptr(MsbClient) client = NULL;
    g_autoptr(GPtrArray) list = NULL;
    g_autoptr(GError) error = NULL;
    const MsbExecInfo *info;

    cmd_signals_init();
    home = cmd_open_home();
    sandbox = home ? lookup(home, name) : NULL;
    if (!sandbox)
        return CMD_EXIT_FAILURE;
    client = msb_client_connect(sandbox, &error);
    list = client ? msb_client_list_execs(client, &error) : NULL;
    info = list ? choose(list, args->n_operands > 1 ? args->operands[1] : NULL, name, &error) : NULL;
    if (!info)
        return cmd_fail(error);
    session.attach_id = info->id;
    session.attach_tty = info->tty;
    return cmd_session_run(client, name, &session).status;
}

static const CmdOption attach_options[] = {
    CMD_DETACH_KEYS_OPTION,
    CMD_NO_STDIN_OPTION(N_("only watch")),
    {0},
};

const CmdCommand cmd_attach = {
    .name = "attach",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] NAME [NUMBER]"),
    .summary = N_("Attach to a command that runs detached"),
    .details = N_(
        "The last of what it has written is shown first. Without a number it is the only detached command. "
        "The exit status is the command's, as for 'msb exec'."),
    .options = {attach_options},
    .operands = (const CmdValue[]){CMD_VALUE_RUNNING, CMD_VALUE_ANY, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 2,
    .run = run_attach,
};

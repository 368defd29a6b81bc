/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msb: the table of commands, the options of all of them, and the way from
 * the command line to one of them.
 */
#include <config.h>

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "mb-parse.h"

#include "cmd.h"
#include "ui-message.h"

static gboolean arg_tree;
static gboolean arg_version;

/* The level reaches the supervisor and the back-ends through the environment. */
static gboolean
set_log_level(const char *name, const char *value G_GNUC_UNUSED, GError **error)
{
    static const char *given;

    if (given && strcmp(given, name) != 0) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID, _("--%s and --%s exclude each other"), given, name);
        return FALSE;
    }
    given = g_intern_string(name);
    g_setenv("MSB_LOG_LEVEL", strcmp(name, "trace") == 0 ? "debug" : name, TRUE);
    if (strcmp(name, "debug") == 0 || strcmp(name, "trace") == 0)
        g_setenv("G_MESSAGES_DEBUG", "all", FALSE);
    return TRUE;
}

#define LOG_LEVEL(level, help)                                                                               \
    {                                                                                                        \
        level, 0, CMD_OPTION_FLAG, NULL, set_log_level, NULL, help, CMD_VALUE_ANY, NULL                      \
    }

const CmdOption cmd_global_options[] = {
    {"help", 'h', CMD_OPTION_FLAG, NULL, NULL, NULL, N_("show this help"), CMD_VALUE_ANY, NULL},
    {"version", 'V', CMD_OPTION_FLAG, &arg_version, NULL, NULL, N_("show the version"), CMD_VALUE_ANY, NULL},
    {"tree", 0, CMD_OPTION_FLAG, &arg_tree, NULL, NULL, N_("show all commands with their subcommands"),
     CMD_VALUE_ANY, NULL},
    LOG_LEVEL("error", N_("log errors only")),
    LOG_LEVEL("warn", N_("log warnings too")),
    LOG_LEVEL("info", N_("log what happens (the default)")),
    LOG_LEVEL("debug", N_("log what a developer wants to know")),
    LOG_LEVEL("trace", N_("log everything")),
    {0},
};

static int
run_complete(const CmdArgs *args)
{
    guint64 index;

    if (args->n_operands < 2 || mb_parse_u64(args->operands[0], &index) < 0 || index >= args->n_operands)
        return CMD_EXIT_USAGE;
    return cmd_complete((const char *const *)args->operands + 1, (guint)index);
}

static const CmdCommand complete_command = {
    .name = "__complete",
    .group = CMD_GROUP_HIDDEN,
    .synopsis = N_("INDEX -- WORD…"),
    .summary = N_("Complete a command line"),
    .max_operands = G_MAXUINT,
    .run = run_complete,
};

const CmdCommand *const cmd_commands[] = {
    &cmd_run,     &cmd_create, &cmd_start,      &cmd_stop,         &cmd_restart, &cmd_modify, &cmd_rm,
    &cmd_ls,      &cmd_ps,     &cmd_exec,       &cmd_shell,        &cmd_attach,  &cmd_logs,
    &cmd_inspect, &cmd_volume, &cmd_pull,   &cmd_push,   &cmd_load,   &cmd_save,   &cmd_import,     &cmd_image,
    &cmd_images,  &cmd_rmi,    &cmd_registry, &cmd_df,
    &cmd_kernel,  &cmd_doctor, &cmd_completion, &complete_command, NULL,
};

const CmdCommand *
cmd_find(const CmdCommand *const *list, const char *name)
{
    for (guint i = 0; list[i]; i++) {
        g_auto(GStrv) aliases = g_strsplit(list[i]->aliases ? list[i]->aliases : "", " ", -1);

        if (strcmp(list[i]->name, name) == 0 || g_strv_contains((const char *const *)aliases, name))
            return list[i];
    }
    return NULL;
}

static int
usage_failure(const char *full_name, const GError *error)
{
    ui_error("%s", error->message);
    /* TRANSLATORS: "%s" is a command such as "msb run" */
    ui_hint(_("see '%s --help'"), full_name);
    return CMD_EXIT_USAGE;
}

/* --version and --tree, wherever they stand. */
static gboolean
answer_at_once(void)
{
    if (arg_version)
        printf("msb %s\n", PACKAGE_VERSION);
    else if (arg_tree)
        cmd_help_tree();
    return arg_version || arg_tree;
}

/* Run command with the words after its name. */
static int
dispatch(const char *parent, const CmdCommand *command, const char *const *argv)
{
    g_autofree char *full_name = g_strdup_printf("%s %s", parent, command->name);
    g_auto(CmdArgs) args = {0};
    g_autoptr(GError) error = NULL;
    gboolean help;

    if (command->children && argv[0] && argv[0][0] != '-') {
        const CmdCommand *child = cmd_find(command->children, argv[0]);

        if (child)
            return dispatch(full_name, child, argv + 1);
        g_set_error(&error, MSB_ERROR, MSB_ERROR_INVALID, _("'%s' has no command '%s'"), full_name, argv[0]);
        return usage_failure(full_name, error);
    }
    if (!cmd_parse(command, argv, &args, &help, &error))
        return usage_failure(full_name, error);
    if (help) {
        cmd_help_command(full_name, command);
        return 0;
    }
    if (answer_at_once())
        return 0;
    if (command->run)
        return command->run(&args);
    g_set_error(&error, MSB_ERROR, MSB_ERROR_INVALID, _("'%s' wants a command"), full_name);
    return usage_failure(full_name, error);
}

/* A word that is close to a command's name, for the hint. */
static const char *
similar_command(const char *name)
{
    for (guint i = 0; cmd_commands[i]; i++) {
        const char *candidate = cmd_commands[i]->name;

        if (cmd_commands[i]->group != CMD_GROUP_HIDDEN && name[0] == candidate[0] &&
            (strncmp(name, candidate, 2) == 0 || strlen(candidate) <= 2))
            return candidate;
    }
    return NULL;
}

static int
unknown_command(const char *name)
{
    const char *similar = similar_command(name);

    ui_error(_("there is no command '%s'"), name);
    if (similar)
        ui_hint(_("did you mean 'msb %s'? 'msb --help' lists the commands"), similar);
    else
        ui_hint(_("'msb --help' lists the commands"));
    return CMD_EXIT_USAGE;
}

/* Options in front of the command belong to the program: the number of words they take, or -1 after an error.
 */
static int
parse_leading(const char *const *argv, gboolean *help)
{
    static const CmdCommand program = {.name = "msb", .synopsis = "", .max_operands = 0};
    g_autoptr(GPtrArray) leading = g_ptr_array_new();
    g_auto(CmdArgs) args = {0};
    g_autoptr(GError) error = NULL;
    int n = 0;

    for (; argv[n] && argv[n][0] == '-' && argv[n][1]; n++)
        g_ptr_array_add(leading, (gpointer)argv[n]);
    g_ptr_array_add(leading, NULL);
    if (!cmd_parse(&program, (const char *const *)leading->pdata, &args, help, &error)) {
        usage_failure("msb", error);
        return -1;
    }
    return n;
}

int
main(int argc, char **argv)
{
    const CmdCommand *command;
    gboolean help = FALSE;
    int skip;

    setlocale(LC_ALL, "");
    bindtextdomain(PACKAGE, LOCALEDIR);
    bind_textdomain_codeset(PACKAGE, "UTF-8");
    textdomain(PACKAGE);
    g_set_prgname("msb");
    if (argc < 1)
        return CMD_EXIT_USAGE;

    skip = parse_leading((const char *const *)argv + 1, &help);
    if (skip < 0)
        return CMD_EXIT_USAGE;
    if (help || (argc == 1 && !arg_version)) {
        cmd_help_program();
        return help ? 0 : CMD_EXIT_USAGE;
    }
    if (answer_at_once())
        return 0;
    if (!argv[1 + skip]) {
        cmd_help_program();
        return CMD_EXIT_USAGE;
    }
    command = cmd_find(cmd_commands, argv[1 + skip]);
    if (!command)
        return unknown_command(argv[1 + skip]);
    return dispatch("msb", command, (const char *const *)argv + 2 + skip);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ls, ps and inspect: what there is. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "ui-json.h"
#include "ui-message.h"
#include "ui-table.h"

static gboolean arg_running;
static gboolean arg_stopped;
static gboolean arg_all;

#define LABEL_OPTION                                                                                         \
    {                                                                                                        \
        "label", 0, CMD_OPTION_STRINGS, &cmd_target_labels, NULL, N_("KEY[=VALUE]"),                         \
            N_("only those that have this label (repeat: all of them)"), CMD_VALUE_ANY, NULL                 \
    }

static gboolean
is_up(MsbSandboxState state)
{
    return state == MSB_STATE_RUNNING || state == MSB_STATE_STARTING || state == MSB_STATE_STOPPING;
}

static const char *
image_of(MsbSandbox *sandbox)
{
    const char *image = msb_config_get_image(msb_sandbox_get_config(sandbox));

    return image ? image : "";
}

/* What it was told to run; "" = what the image says, or nothing. */
static char *
command_of(MsbSandbox *sandbox)
{
    const MsbConfig *config = msb_sandbox_get_config(sandbox);
    g_autofree char *entrypoint = cmd_join_argv(msb_config_get_entrypoint(config));
    g_autofree char *cmd = cmd_join_argv(msb_config_get_cmd(config));
    g_autofree char *text = g_strdup_printf("%s %s", entrypoint, cmd);

    return g_strdup(g_strstrip(text));
}

/* All sandboxes, or those that --label asks for; NULL after an error. */
static GPtrArray *
list_sandboxes(MsbHome *home)
{
    static const CmdArgs none = {0};
    g_autoptr(GError) error = NULL;
    GPtrArray *list = NULL;

    if (cmd_target_labels) {
        if (!cmd_targets(home, &none, &list))
            g_clear_pointer(&list, g_ptr_array_unref);
        return list;
    }
    list = msb_sandbox_list(home, &error);
    if (!list)
        cmd_fail(error);
    return list;
}

/* ---- ls ------------------------------------------------------------------------------ */

static const char *
list_name(gpointer item)
{
    return msb_sandbox_get_name(item);
}

static UiTable *
ls_table(void)
{
    return ui_table_new(_("NAME"), _("IMAGE"), _("STATUS"), _("CREATED"), NULL);
}

static void
ls_row(UiTable *table, gpointer sandbox)
{
    g_autofree char *age = cmd_format_age(msb_config_get_created(msb_sandbox_get_config(sandbox)));

    ui_table_add(table, msb_sandbox_get_name(sandbox), image_of(sandbox),
                 msb_sandbox_state_to_string(msb_sandbox_get_state(sandbox)), age);
}

static void
ls_members(JsonBuilder *b, gpointer sandbox)
{
    g_autofree char *created = cmd_format_time(msb_config_get_created(msb_sandbox_get_config(sandbox)));

    ui_json_string(b, "name", msb_sandbox_get_name(sandbox));
    ui_json_string(b, "status", msb_sandbox_state_to_string(msb_sandbox_get_state(sandbox)));
    ui_json_string(b, "created_at", created);
    ui_json_string(b, "image", image_of(sandbox));
}

static const CmdListing ls_listing = {ls_table, ls_row, ls_members, list_name, NULL};

static int
run_ls(const CmdArgs *args G_GNUC_UNUSED)
{
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(GPtrArray) all = home ? list_sandboxes(home) : NULL;
    g_autoptr(GPtrArray) list = g_ptr_array_new();

    if (!all)
        return CMD_EXIT_FAILURE;
    for (guint i = 0; i < all->len; i++) {
        gboolean up = is_up(msb_sandbox_get_state(all->pdata[i]));

        if ((!arg_running && !arg_stopped) || (up ? arg_running : arg_stopped))
            g_ptr_array_add(list, all->pdata[i]);
    }
    cmd_print_list(&ls_listing, list);
    return 0;
}

static const CmdOption ls_options[] = {
    {"running", 0, CMD_OPTION_FLAG, &arg_running, NULL, NULL, N_("only those that run"), CMD_VALUE_ANY, NULL},
    {"stopped", 0, CMD_OPTION_FLAG, &arg_stopped, NULL, NULL, N_("only those that do not"), CMD_VALUE_ANY,
     NULL},
    LABEL_OPTION,
    {0},
};

const CmdCommand cmd_ls = {
    .name = "ls",
    .aliases = "list",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…]"),
    .summary = N_("List the sandboxes"),
    .options = {ls_options, cmd_list_options},
    .run = run_ls,
};

/* ---- ps ------------------------------------------------------------------------------ */

static UiTable *
ps_table(void)
{
    return ui_table_new(_("NAME"), _("IMAGE"), _("COMMAND"), _("CPUS"), _("MEMORY"), _("STATUS"), NULL);
}

static void
ps_row(UiTable *table, gpointer sandbox)
{
    const MsbConfig *config = msb_sandbox_get_config(sandbox);
    g_autofree char *command = command_of(sandbox);
    g_autofree char *cpus = g_strdup_printf("%u", msb_config_get_cpus(config));
    g_autofree char *memory = g_strdup_printf("%" G_GUINT64_FORMAT " MiB", msb_config_get_memory_mib(config));

    ui_table_add(table, msb_sandbox_get_name(sandbox), image_of(sandbox), command[0] ? command : "-", cpus,
                 memory, msb_sandbox_state_to_string(msb_sandbox_get_state(sandbox)));
}

static void
ps_members(JsonBuilder *b, gpointer sandbox)
{
    const MsbConfig *config = msb_sandbox_get_config(sandbox);
    g_autofree char *command = command_of(sandbox);

    ui_json_string(b, "name", msb_sandbox_get_name(sandbox));
    ui_json_string(b, "status", msb_sandbox_state_to_string(msb_sandbox_get_state(sandbox)));
    ui_json_string(b, "image", image_of(sandbox));
    ui_json_string(b, "command", command);
    ui_json_int(b, "cpus", msb_config_get_cpus(config));
    ui_json_int(b, "memory_mib", (gint64)msb_config_get_memory_mib(config));
}

static const CmdListing ps_listing = {ps_table, ps_row, ps_members, list_name, NULL};

/* The commands that run in one sandbox; NULL with an error if it cannot be asked. */
static GPtrArray *
running_commands(MsbSandbox *sandbox, GError **error)
{
    g_autoptr(MsbClient) client = msb_client_connect(sandbox, error);

    return client ? msb_client_list_execs(client, error) : NULL;
}

static void
ps_commands(const GPtrArray *execs)
{
    g_autoptr(UiTable) table =
        ui_table_new(_("NUMBER"), _("PID"), _("TERMINAL"), _("ATTACHED"), _("STARTED"), _("COMMAND"), NULL);

    for (guint i = 0; i < execs->len; i++) {
        const MsbExecInfo *info = execs->pdata[i];
        g_autofree char *id = g_strdup_printf("%u", info->id);
        g_autofree char *pid = g_strdup_printf("%u", info->pid);
        g_autofree char *attached = g_strdup_printf("%u", info->attached);
        g_autofree char *age = cmd_format_age(info->started);
        g_autofree char *command = cmd_join_argv((const char *const *)info->argv);

        ui_table_add(table, id, pid, info->tty ? _("yes") : _("no"), attached, age, command);
    }
    putchar('\n');
    ui_table_print(table);
}

/* ps NAME: that one whatever its state, and what runs in it. */
static int
ps_one(MsbHome *home, const char *name)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)msb_sandbox_unref);
    g_autoptr(GPtrArray) execs = NULL;
    g_autoptr(GError) error = NULL;
    MsbSandbox *sandbox = msb_sandbox_lookup(home, name, &error);
    g_autofree char *why = NULL;

    if (!sandbox)
        return cmd_fail(error);
    g_ptr_array_add(list, sandbox);
    cmd_print_list(&ps_listing, list);
    if (cmd_list_json())
        return 0;
    why = msb_sandbox_dup_last_error(sandbox);
    if (why)
        ui_note("%s", why);
    if (msb_sandbox_get_state(sandbox) != MSB_STATE_RUNNING)
        return 0;
    execs = running_commands(sandbox, &error);
    if (!execs)
        return cmd_fail(error);
    if (execs->len > 0)
        ps_commands(execs);
    return 0;
}

static int
run_ps(const CmdArgs *args)
{
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(GPtrArray) all = NULL;
    g_autoptr(GPtrArray) list = g_ptr_array_new();

    if (!home)
        return CMD_EXIT_FAILURE;
    if (args->n_operands > 0)
        return ps_one(home, args->operands[0]);
    all = list_sandboxes(home);
    if (!all)
        return CMD_EXIT_FAILURE;
    for (guint i = 0; i < all->len; i++)
        if (arg_all || is_up(msb_sandbox_get_state(all->pdata[i])))
            g_ptr_array_add(list, all->pdata[i]);
    cmd_print_list(&ps_listing, list);
    return 0;
}

static const CmdOption ps_options[] = {
    {"all", 'a', CMD_OPTION_FLAG, &arg_all, NULL, NULL, N_("also those that do not run"), CMD_VALUE_ANY,
     NULL},
    LABEL_OPTION,
    {0},
};

const CmdCommand cmd_ps = {
    .name = "ps",
    .aliases = "status",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("[OPTION…] [NAME]"),
    .summary = N_("Show the running sandboxes, or one and what runs in it"),
    .options = {ps_options, cmd_list_options},
    .operands = (const CmdValue[]){CMD_VALUE_SANDBOX, CMD_VALUE_END},
    .max_operands = 1,
    .run = run_ps,
};

/* ---- inspect ---------------------------------------------------------------------------- */

static void
add_paths(JsonBuilder *b, MsbHome *home, MsbSandbox *sandbox)
{
    g_autofree char *dir = msb_home_sandbox_dir(home, msb_sandbox_get_name(sandbox));
    g_autofree char *run = msb_home_run_dir(home, msb_sandbox_get_name(sandbox));
    g_autofree char *domain = msb_sandbox_dup_domain_name(sandbox);
    g_autofree char *console = msb_sandbox_dup_log_path(sandbox, "console");
    g_autofree char *error = msb_sandbox_dup_last_error(sandbox);

    ui_json_string(b, "domain", domain);
    ui_json_string(b, "state_directory", dir);
    ui_json_string(b, "run_directory", run);
    ui_json_string(b, "console_log", console);
    ui_json_string(b, "last_error", error);
}

static int
run_inspect(const CmdArgs *args)
{
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(MsbSandbox) sandbox = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *created = NULL;
    JsonBuilder *b;

    if (!home)
        return CMD_EXIT_FAILURE;
    sandbox = msb_sandbox_lookup(home, args->operands[0], &error);
    if (!sandbox)
        return cmd_fail(error);
    created = cmd_format_time(msb_config_get_created(msb_sandbox_get_config(sandbox)));
    b = ui_json_begin();
    json_builder_begin_object(b);
    ui_json_string(b, "name", msb_sandbox_get_name(sandbox));
    ui_json_string(b, "status", msb_sandbox_state_to_string(msb_sandbox_get_state(sandbox)));
    ui_json_string(b, "created_at", created);
    add_paths(b, home, sandbox);
    json_builder_set_member_name(b, "config");
    json_builder_add_value(b, msb_config_to_json(msb_sandbox_get_config(sandbox)));
    json_builder_end_object(b);
    ui_json_print(b);
    return 0;
}

const CmdCommand cmd_inspect = {
    .name = "inspect",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("NAME"),
    .summary = N_("Show all that is known of a sandbox, as JSON"),
    .options = {cmd_inspect_options},
    .operands = (const CmdValue[]){CMD_VALUE_SANDBOX, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .run = run_inspect,
};

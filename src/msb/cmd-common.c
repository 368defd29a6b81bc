/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What several commands share: the state directory, errors, targets, formats. */
#include <config.h>

#include <libintl.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "ui-json.h"
#include "ui-message.h"

char **cmd_target_labels;

MsbHome *
cmd_open_home(void)
{
    g_autoptr(GError) error = NULL;
    MsbHome *home = msb_home_open(NULL, &error);

    if (!home)
        cmd_fail(error);
    return home;
}

int
cmd_fail(const GError *error)
{
    ui_error("%s", error->message);
    if (g_error_matches(error, MSB_ERROR, MSB_ERROR_HYPERVISOR))
        ui_hint(_("'msb doctor' checks what sandboxes need on this machine"));
    return CMD_EXIT_FAILURE;
}

char *
cmd_format_time(gint64 time)
{
    g_autoptr(GDateTime) date = g_date_time_new_from_unix_utc(time / G_USEC_PER_SEC);

    return date ? g_date_time_format(date, "%Y-%m-%dT%H:%M:%SZ") : g_strdup("");
}

char *
cmd_format_age(gint64 time)
{
    gint64 seconds = MAX(0, (g_get_real_time() - time) / G_USEC_PER_SEC);
    gint64 minutes = seconds / 60, hours = minutes / 60, days = hours / 24;

    if (time <= 0)
        return g_strdup("-");
    if (minutes < 1)
        return g_strdup_printf(ngettext("%d second ago", "%d seconds ago", (gulong)seconds), (int)seconds);
    if (hours < 1)
        return g_strdup_printf(ngettext("%d minute ago", "%d minutes ago", (gulong)minutes), (int)minutes);
    if (days < 1)
        return g_strdup_printf(ngettext("%d hour ago", "%d hours ago", (gulong)hours), (int)hours);
    return g_strdup_printf(ngettext("%d day ago", "%d days ago", (gulong)days), (int)days);
}

char *
cmd_format_size(guint64 bytes)
{
    return g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS);
}

char *
cmd_join_argv(const char *const *argv)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; argv && argv[i]; i++) {
        gsize plain =
            strspn(argv[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+");
        g_autofree char *quoted = argv[i][0] && !argv[i][plain] ? g_strdup(argv[i]) : g_shell_quote(argv[i]);

        g_string_append_printf(text, "%s%s", i ? " " : "", quoted);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* ---- listings -------------------------------------------------------------------- */

static char *arg_format;
static gboolean arg_quiet;

const CmdOption cmd_list_options[] = {
    {"format", 0, CMD_OPTION_STRING, &arg_format, NULL, N_("FORMAT"), N_("table or json"), CMD_VALUE_WORDS,
     "table json"},
    {"quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("names only"), CMD_VALUE_ANY, NULL},
    {0},
};

const CmdOption cmd_inspect_options[] = {
    {"format", 0, CMD_OPTION_STRING, &arg_format, NULL, N_("FORMAT"), N_("json, which is the default"),
     CMD_VALUE_WORDS, "json"},
    {0},
};

gboolean
cmd_list_json(void)
{
    return g_strcmp0(arg_format, "json") == 0;
}

static void
print_list_json(const CmdListing *listing, const GPtrArray *items)
{
    JsonBuilder *builder = ui_json_begin();

    json_builder_begin_array(builder);
    for (guint i = 0; i < items->len; i++) {
        json_builder_begin_object(builder);
        listing->add_members(builder, items->pdata[i]);
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
    ui_json_print(builder);
}

void
cmd_print_list(const CmdListing *listing, const GPtrArray *items)
{
    g_autoptr(UiTable) table = NULL;

    if (cmd_list_json()) {
        print_list_json(listing, items);
        return;
    }
    if (!arg_quiet)
        table = listing->new_table();
    for (guint i = 0; i < items->len; i++) {
        if (table)
            listing->add_row(table, items->pdata[i]);
        else
            puts(listing->get_name(items->pdata[i]));
    }
    if (table)
        ui_table_print(table);
}

int
cmd_run_list(const CmdListing *listing)
{
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(GPtrArray) items = NULL;
    g_autoptr(GError) error = NULL;

    if (!home)
        return CMD_EXIT_FAILURE;
    items = listing->collect(home, &error);
    if (!items)
        return cmd_fail(error);
    cmd_print_list(listing, items);
    return 0;
}

int
cmd_for_operands(const CmdArgs *args, gboolean (*work)(MsbHome *home, const char *name, GError **error),
                 gboolean quiet)
{
    g_autoptr(MsbHome) home = cmd_open_home();
    int status = 0;

    if (!home)
        return CMD_EXIT_FAILURE;
    for (guint i = 0; i < args->n_operands; i++) {
        g_autoptr(GError) error = NULL;

        if (!work(home, args->operands[i], &error))
            status = cmd_fail(error);
        else if (!quiet)
            puts(args->operands[i]);
    }
    return status;
}

/* ---- targets -------------------------------------------------------------------- */

static gboolean
has_labels(MsbSandbox *sandbox)
{
    const MsbConfig *config = msb_sandbox_get_config(sandbox);

    for (guint i = 0; cmd_target_labels[i]; i++) {
        g_auto(GStrv) parts = g_strsplit(cmd_target_labels[i], "=", 2);
        const char *value = msb_config_get_label(config, parts[0]);

        if (!value || (parts[1] && strcmp(value, parts[1]) != 0))
            return FALSE;
    }
    return TRUE;
}

static gboolean
is_listed(const GPtrArray *sandboxes, const char *name)
{
    for (guint i = 0; i < sandboxes->len; i++)
        if (strcmp(msb_sandbox_get_name(sandboxes->pdata[i]), name) == 0)
            return TRUE;
    return FALSE;
}

gboolean
cmd_targets(MsbHome *home, const CmdArgs *args, GPtrArray **sandboxes)
{
    gboolean ok = TRUE;

    *sandboxes = g_ptr_array_new_with_free_func((GDestroyNotify)msb_sandbox_unref);
    if (args->n_operands == 0 && !cmd_target_labels) {
        ui_error(_("which sandbox? Give its name, or --label"));
        return FALSE;
    }
    for (guint i = 0; i < args->n_operands; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(MsbSandbox) sandbox = msb_sandbox_lookup(home, args->operands[i], &error);

        if (!sandbox) {
            cmd_fail(error);
            ok = FALSE;
        } else if (!is_listed(*sandboxes, args->operands[i])) {
            g_ptr_array_add(*sandboxes, g_steal_pointer(&sandbox));
        }
    }
    if (cmd_target_labels) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) all = msb_sandbox_list(home, &error);

        if (!all) {
            cmd_fail(error);
            return FALSE;
        }
        for (guint i = 0; i < all->len; i++)
            if (has_labels(all->pdata[i]) && !is_listed(*sandboxes, msb_sandbox_get_name(all->pdata[i])))
                g_ptr_array_add(*sandboxes, msb_sandbox_ref(all->pdata[i]));
    }
    return ok;
}

int
cmd_for_targets(const CmdArgs *args, gboolean (*work)(MsbSandbox *sandbox, GError **error))
{
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(GPtrArray) sandboxes = NULL;
    gboolean ok;

    if (!home)
        return CMD_EXIT_FAILURE;
    ok = cmd_targets(home, args, &sandboxes);
    for (guint i = 0; i < sandboxes->len; i++) {
        g_autoptr(GError) error = NULL;

        if (!work(sandboxes->pdata[i], &error)) {
            cmd_fail(error);
            ok = FALSE;
        }
    }
    return ok ? 0 : CMD_EXIT_FAILURE;
}

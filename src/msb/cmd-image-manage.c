/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* image tag|history|prune, and df. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd-image.h"
#include "ui-json.h"
#include "ui-message.h"
#include "ui-table.h"

#define CREATED_BY_WIDTH 60

static gboolean arg_dry_run;
static gboolean arg_yes;
static char *arg_format;

/* ---- tag ------------------------------------------------------------------------------------- */

static int
run_tag(const CmdArgs *args)
{
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(GError) error = NULL;

    if (!home)
        return CMD_EXIT_FAILURE;
    return msb_image_tag(home, args->operands[0], args->operands[1], &error) ? 0 : cmd_fail(error);
}

const CmdCommand cmd_image_tag = {
    .name = "tag",
    .synopsis = N_("IMAGE NAME"),
    .summary = N_("Give an image one more name"),
    .operands = (const CmdValue[]){CMD_VALUE_IMAGE, CMD_VALUE_ANY, CMD_VALUE_END},
    .min_operands = 2,
    .max_operands = 2,
    .run = run_tag,
};

/* ---- history --------------------------------------------------------------------------------- */

static UiTable *
history_table(void)
{
    return ui_table_new(_("LAYER"), _("CREATED"), _("SIZE"), _("CREATED BY"), NULL);
}

static void
history_row(UiTable *table, gpointer item)
{
    const MsbImageHistory *step = item;
    g_autofree char *layer = step->diff_id ? g_strndup(step->diff_id, CMD_SHORT_DIGEST) : g_strdup("-");
    g_autofree char *age = step->created ? cmd_format_age(step->created) : g_strdup("-");
    g_autofree char *size = step->diff_id ? cmd_format_size(step->size) : g_strdup("-");
    g_autofree char *clean = ui_clean_text(step->created_by ? step->created_by : "");
    g_autofree char *by = ui_fit_text(clean, CREATED_BY_WIDTH);

    ui_table_add(table, layer, age, size, by);
}

static void
history_members(JsonBuilder *b, gpointer item)
{
    const MsbImageHistory *step = item;
    g_autofree char *created = step->created ? cmd_format_time(step->created) : NULL;

    ui_json_string(b, "diff_id", step->diff_id);
    ui_json_string(b, "created_at", created);
    ui_json_int(b, "size_bytes", (gint64)step->size);
    ui_json_string(b, "created_by", step->created_by);
    ui_json_string(b, "comment", step->comment);
}

static const char *
history_name(gpointer item)
{
    const MsbImageHistory *step = item;

    return step->diff_id ? step->diff_id : "-";
}

static int
run_history(const CmdArgs *args)
{
    static const CmdListing listing = {history_table, history_row, history_members, history_name, NULL};
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbImage) image = NULL;
    g_autoptr(GPtrArray) steps = NULL, newest = g_ptr_array_new();

    image = home ? msb_image_lookup(home, args->operands[0], &error) : NULL;
    steps = image ? msb_image_dup_history(image, &error) : NULL;
    if (!steps)
        return error ? cmd_fail(error) : CMD_EXIT_FAILURE;
    for (guint i = steps->len; i > 0; i--)
        g_ptr_array_add(newest, steps->pdata[i - 1]);
    cmd_print_list(&listing, newest);
    return 0;
}

const CmdCommand cmd_image_history = {
    .name = "history",
    .synopsis = N_("[OPTION…] IMAGE"),
    .summary = N_("Show the steps an image was made by, the last one first"),
    .options = {cmd_list_options},
    .operands = (const CmdValue[]){CMD_VALUE_IMAGE, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .run = run_history,
};

/* ---- prune ------------------------------------------------------------------------------------ */

static void
print_prune(const MsbImagePrune *prune)
{
    g_autofree char *size = cmd_format_size(prune->bytes);

    if (g_strcmp0(arg_format, "json") == 0) {
        JsonBuilder *builder = ui_json_begin();

        json_builder_begin_object(builder);
        json_builder_set_member_name(builder, "images_removed");
        json_builder_begin_array(builder);
        for (char **reference = prune->references; *reference; reference++)
            json_builder_add_string_value(builder, *reference);
        json_builder_end_array(builder);
        ui_json_int(builder, "layers_removed", prune->layers);
        ui_json_int(builder, "blobs_removed", prune->blobs);
        ui_json_int(builder, "bytes_reclaimed", (gint64)prune->bytes);
        json_builder_end_object(builder);
        ui_json_print(builder);
        return;
    }
    for (char **reference = prune->references; *reference; reference++)
        puts(*reference);
    if (arg_dry_run)
        ui_note(_("%s would be freed"), size);
    else
        ui_note(_("%s freed"), size);
}

/* Show what would go, and ask. */
static gboolean
confirm(MsbHome *home, GError **error)
{
    g_autoptr(MsbImagePrune) prune = msb_image_prune(home, TRUE, error);
    g_autofree char *size = NULL;
    int c, first;

    if (!prune)
        return FALSE;
    for (char **reference = prune->references; *reference; reference++)
        fprintf(stderr, "%s\n", *reference);
    size = cmd_format_size(prune->bytes);
    /* TRANSLATORS: the answer is y (or the first letter of the translation of "yes") */
    fprintf(stderr, _("Remove these %u images and free %s? [y/N] "), g_strv_length(prune->references), size);
    first = c = getchar();
    while (c != EOF && c != '\n')
        c = getchar();
    return first == 'y' || first == 'Y' || first == _("yes")[0];
}

static int
run_prune(const CmdArgs *args G_GNUC_UNUSED)
{
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(MsbImagePrune) prune = NULL;
    g_autoptr(GError) error = NULL;

    if (!arg_dry_run && !arg_yes && !isatty(STDIN_FILENO)) {
        ui_error(_("images are removed when that is confirmed: --yes, or --dry-run to see which"));
        return CMD_EXIT_USAGE;
    }
    home = cmd_open_home();
    if (!home)
        return CMD_EXIT_FAILURE;
    if (!arg_dry_run && !arg_yes && !confirm(home, &error))
        return error ? cmd_fail(error) : CMD_EXIT_FAILURE;
    prune = msb_image_prune(home, arg_dry_run, &error);
    if (!prune)
        return cmd_fail(error);
    print_prune(prune);
    return 0;
}

static const CmdOption prune_options[] = {
    {"dry-run", 0, CMD_OPTION_FLAG, &arg_dry_run, NULL, NULL, N_("only say what would be removed"),
     CMD_VALUE_ANY, NULL},
    {"yes", 'y', CMD_OPTION_FLAG, &arg_yes, NULL, NULL, N_("do not ask"), CMD_VALUE_ANY, NULL},
    {"format", 0, CMD_OPTION_STRING, &arg_format, NULL, N_("FORMAT"), N_("table or json"), CMD_VALUE_WORDS,
     "table json"},
    {0},
};

const CmdCommand cmd_image_prune = {
    .name = "prune",
    .synopsis = N_("[OPTION…]"),
    .summary = N_("Remove the images that no sandbox and no snapshot was made from"),
    .details = N_("Sandboxes count whether they run or not. Prints the names of the images."),
    .options = {prune_options},
    .run = run_prune,
};

/* ---- df --------------------------------------------------------------------------------------------- */

static UiTable *
df_table(void)
{
    return ui_table_new(_("KIND"), _("COUNT"), _("ACTIVE"), _("SIZE"), _("RECLAIMABLE"), NULL);
}

static void
df_row(UiTable *table, gpointer item)
{
    const MsbDiskUsage *usage = item;
    g_autofree char *count = g_strdup_printf("%u", usage->count);
    g_autofree char *active = g_strdup_printf("%u", usage->active);
    g_autofree char *size = cmd_format_size(usage->bytes);
    g_autofree char *reclaimable = cmd_format_size(usage->reclaimable);

    ui_table_add(table, usage->kind, count, active, size, reclaimable);
}

static void
df_members(JsonBuilder *b, gpointer item)
{
    const MsbDiskUsage *usage = item;

    ui_json_string(b, "kind", usage->kind);
    ui_json_int(b, "count", usage->count);
    ui_json_int(b, "active", usage->active);
    ui_json_int(b, "size_bytes", (gint64)usage->bytes);
    ui_json_int(b, "reclaimable_bytes", (gint64)usage->reclaimable);
}

static const char *
df_name(gpointer item)
{
    return ((const MsbDiskUsage *)item)->kind;
}

static int
run_df(const CmdArgs *args G_GNUC_UNUSED)
{
    static const CmdListing listing = {df_table, df_row, df_members, df_name, NULL};
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) usage = home ? msb_home_disk_usage(home, &error) : NULL;

    if (!usage)
        return error ? cmd_fail(error) : CMD_EXIT_FAILURE;
    cmd_print_list(&listing, usage);
    return 0;
}

const CmdCommand cmd_df = {
    .name = "df",
    .group = CMD_GROUP_IMAGES,
    .synopsis = N_("[OPTION…]"),
    .summary = N_("Show what images, sandboxes and volumes take on disk"),
    .details = N_("Reclaimable is what images that nothing was made from, sandboxes that do not run and "
                  "volumes that no sandbox "
                  "names would give back."),
    .options = {cmd_list_options},
    .run = run_df,
};

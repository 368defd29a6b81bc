/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* load, import, image ls|inspect|rm, images and rmi. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd-image.h"
#include "cmd-signals.h"
#include "ui-json.h"
#include "ui-message.h"
#include "ui-progress.h"
#include "ui-table.h"

static char *arg_input;
static char *arg_tag;
static gboolean arg_quiet;
static gboolean arg_force;
static char **arg_env;
static char **arg_entrypoint;
static char **arg_cmd;
static char *arg_workdir;
static char *arg_user;

static void
cancel(gpointer cancellable)
{
    g_cancellable_cancel(cancellable);
}

/* ---- load and import --------------------------------------------------------------------- */

/* The archive is --input or the operand; "-" and nothing at all are standard input. */
static const char *
input_path(const CmdArgs *args)
{
    if (arg_input)
        return arg_input;
    return args->n_operands > 0 ? args->operands[0] : "-";
}

static gboolean
check_input(const char *path)
{
    if (strcmp(path, "-") != 0 || !isatty(STDIN_FILENO))
        return TRUE;
    ui_error(_("the archive is expected on standard input, which is a terminal"));
    ui_hint(_("give the path of an archive or directory, or a pipe: docker save IMAGE | msb load"));
    return FALSE;
}

static int
run_load(const CmdArgs *args)
{
    const char *path = input_path(args);
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(UiProgress) progress = NULL;
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GPtrArray) images = NULL;
    g_autoptr(GError) error = NULL;
    CmdWatch *watch;

    cmd_signals_init();
    home = check_input(path) ? cmd_open_home() : NULL;
    if (!home)
        return CMD_EXIT_FAILURE;
    progress = ui_progress_new(arg_quiet);
    watch = cmd_watch_begin(cancel, cancellable);
    images = msb_image_load(home, path, arg_tag, ui_progress_update, progress, cancellable, &error);
    cmd_watch_end(watch);
    ui_progress_clear_line();
    if (!images)
        return cmd_fail(error);
    for (guint i = 0; i < images->len; i++)
        puts(msb_image_get_reference(images->pdata[i]));
    return 0;
}

#define TAG_OPTION(help)                                                                                     \
    {                                                                                                        \
        "tag", 't', CMD_OPTION_STRING, &arg_tag, NULL, N_("NAME"), help, CMD_VALUE_ANY, NULL                 \
    }
#define QUIET_OPTION                                                                                         \
    {                                                                                                        \
        "quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("no progress and no notes"),               \
            CMD_VALUE_ANY, NULL                                                                              \
    }

static const CmdOption load_options[] = {
    {"input", 'i', CMD_OPTION_STRING, &arg_input, NULL, N_("PATH"),
     N_("the archive or directory, - for stdin"), CMD_VALUE_FILE, NULL},
    TAG_OPTION(N_("give the (first) image this name")),
    QUIET_OPTION,
    {0},
};

const CmdCommand cmd_load = {
    .name = "load",
    .group = CMD_GROUP_IMAGES,
    .synopsis = N_("[OPTION…] [PATH]"),
    .summary = N_("Load images from an archive or directory"),
    .details = N_(
        "Takes OCI layouts and the archives of 'docker save', as tar (compressed or not) or as a directory; "
        "from standard input without a path. Prints the names of the images."),
    .options = {load_options},
    .operands = (const CmdValue[]){CMD_VALUE_FILE, CMD_VALUE_END},
    .max_operands = 1,
    .run = run_load,
};

static int
run_import(const CmdArgs *args)
{
    MsbImageImportOptions options = {.env = (const char *const *)arg_env,
                                     .cmd = (const char *const *)arg_cmd,
                                     .entrypoint = (const char *const *)arg_entrypoint,
                                     .workdir = arg_workdir,
                                     .user = arg_user};
    const char *tag = args->n_operands > 1 ? args->operands[1] : arg_tag;
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(UiProgress) progress = NULL;
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(MsbImage) image = NULL;
    g_autoptr(GError) error = NULL;
    CmdWatch *watch;

    if (!tag) {
        ui_error(_("the image needs a name: --tag"));
        return CMD_EXIT_USAGE;
    }
    cmd_signals_init();
    home = check_input(args->operands[0]) ? cmd_open_home() : NULL;
    if (!home)
        return CMD_EXIT_FAILURE;
    progress = ui_progress_new(arg_quiet);
    watch = cmd_watch_begin(cancel, cancellable);
    image = msb_image_import(home, args->operands[0], tag, &options, ui_progress_update, progress,
                             cancellable, &error);
    cmd_watch_end(watch);
    ui_progress_clear_line();
    if (!image)
        return cmd_fail(error);
    puts(msb_image_get_reference(image));
    return 0;
}

static const CmdOption import_options[] = {
    TAG_OPTION(N_("name of the image")),
    {"env", 'e', CMD_OPTION_STRINGS, &arg_env, NULL, N_("NAME=VALUE"),
     N_("environment variable of the image"), CMD_VALUE_ANY, NULL},
    {"entrypoint", 0, CMD_OPTION_STRINGS, &arg_entrypoint, NULL, N_("WORD"),
     N_("its entry point (repeat for each word)"), CMD_VALUE_ANY, NULL},
    {"cmd", 0, CMD_OPTION_STRINGS, &arg_cmd, NULL, N_("WORD"),
     N_("its default command (repeat for each word)"), CMD_VALUE_ANY, NULL},
    {"workdir", 'w', CMD_OPTION_STRING, &arg_workdir, NULL, N_("DIR"), N_("its working directory"),
     CMD_VALUE_ANY, NULL},
    {"user", 'u', CMD_OPTION_STRING, &arg_user, NULL, N_("USER[:GROUP]"), N_("its user"), CMD_VALUE_ANY,
     NULL},
    QUIET_OPTION,
    {0},
};

const CmdCommand cmd_import = {
    .name = "import",
    .group = CMD_GROUP_IMAGES,
    .synopsis = N_("[OPTION…] PATH [NAME]"),
    .summary = N_("Make an image from a root filesystem"),
    .details = N_(
        "PATH is a directory, a tar file (compressed or not), or - for a tar on standard input. Prints the "
        "image's name."),
    .options = {import_options},
    .operands = (const CmdValue[]){CMD_VALUE_FILE, CMD_VALUE_ANY, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 2,
    .run = run_import,
};

/* ---- image ls ------------------------------------------------------------------------------- */

static UiTable *
ls_table(void)
{
    return ui_table_new(_("REFERENCE"), _("DIGEST"), _("SIZE"), _("CREATED"), NULL);
}

static void
ls_row(UiTable *table, gpointer image)
{
    g_autofree char *digest = g_strndup(msb_image_get_digest(image), CMD_SHORT_DIGEST);
    g_autofree char *size = cmd_format_size(msb_image_get_size(image));
    g_autofree char *age = cmd_format_age(msb_image_get_created(image));

    ui_table_add(table, msb_image_get_reference(image), digest, size, age);
}

static void
ls_members(JsonBuilder *b, gpointer image)
{
    g_autofree char *created = cmd_format_time(msb_image_get_created(image));

    ui_json_string(b, "reference", msb_image_get_reference(image));
    ui_json_string(b, "digest", msb_image_get_digest(image));
    ui_json_int(b, "size_bytes", (gint64)msb_image_get_size(image));
    ui_json_string(b, "architecture", msb_image_get_architecture(image));
    ui_json_string(b, "os", msb_image_get_os(image));
    ui_json_int(b, "layer_count", msb_image_get_n_layers(image));
    ui_json_string(b, "created_at", created);
}

static const char *
ls_name(gpointer image)
{
    return msb_image_get_reference(image);
}

static int
run_ls(const CmdArgs *args G_GNUC_UNUSED)
{
    static const CmdListing listing = {ls_table, ls_row, ls_members, ls_name, msb_image_list};

    return cmd_run_list(&listing);
}

static const CmdCommand image_ls = {
    .name = "ls",
    .aliases = "list",
    .synopsis = N_("[OPTION…]"),
    .summary = N_("List the images in the store"),
    .options = {cmd_list_options},
    .run = run_ls,
};

const CmdCommand cmd_images = {
    .name = "images",
    .group = CMD_GROUP_IMAGES,
    .synopsis = N_("[OPTION…]"),
    .summary = N_("List the images in the store"),
    .options = {cmd_list_options},
    .run = run_ls,
};

/* ---- image inspect ----------------------------------------------------------------------------- */

static int
run_inspect(const CmdArgs *args)
{
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(MsbImage) image = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *json = NULL;

    if (!home)
        return CMD_EXIT_FAILURE;
    image = msb_image_lookup(home, args->operands[0], &error);
    if (!image)
        return cmd_fail(error);
    json = msb_image_dup_json(image);
    ui_json_print_text(json);
    return 0;
}

static const CmdCommand image_inspect = {
    .name = "inspect",
    .synopsis = N_("IMAGE"),
    .summary = N_("Show all that is known of an image, as JSON"),
    .operands = (const CmdValue[]){CMD_VALUE_IMAGE, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .run = run_inspect,
};

/* ---- image rm ------------------------------------------------------------------------------------ */

static gboolean
remove_one(MsbHome *home, const char *reference, GError **error)
{
    return msb_image_remove(home, reference, arg_force, error);
}

static int
run_rm(const CmdArgs *args)
{
    return cmd_for_operands(args, remove_one, arg_quiet);
}

static const CmdOption rm_options[] = {
    {"force", 'f', CMD_OPTION_FLAG, &arg_force, NULL, NULL, N_("also if a sandbox or a snapshot was made from it"),
     CMD_VALUE_ANY, NULL},
    {"quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("do not print what was removed"),
     CMD_VALUE_ANY, NULL},
    {0},
};

#define RM_COMMAND                                                                                           \
    .synopsis = N_("[OPTION…] IMAGE…"),                                                                      \
    .summary = N_("Remove images, and the layers that nothing else needs"), .options = {rm_options},         \
    .operands = (const CmdValue[]){CMD_VALUE_IMAGE, CMD_VALUE_END}, .min_operands = 1,                       \
    .max_operands = G_MAXUINT, .run = run_rm

static const CmdCommand image_rm = {.name = "rm", .aliases = "remove", RM_COMMAND};
const CmdCommand cmd_rmi = {.name = "rmi", .group = CMD_GROUP_IMAGES, RM_COMMAND};

const CmdCommand cmd_image = {
    .name = "image",
    .group = CMD_GROUP_IMAGES,
    .synopsis = N_("COMMAND …"),
    .summary = N_("Show, name and remove images"),
    .children = (const CmdCommand *const[]){&image_ls, &image_inspect, &cmd_image_history, &cmd_image_tag,
                                            &cmd_image_prune, &image_rm, &cmd_pull, &cmd_push, NULL},
};

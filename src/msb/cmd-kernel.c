/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kernel import|ls|rm|default: the kernels that sandboxes boot. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "ui-json.h"
#include "ui-message.h"
#include "ui-progress.h"
#include "ui-table.h"

static char *arg_vmlinuz;
static char *arg_modules;
static gboolean arg_default;
static gboolean arg_quiet;

/* ---- import ------------------------------------------------------------------------- */

/* The library's steps in words. */
static void
on_progress(const char *step, guint64 done, guint64 total, gpointer progress)
{
    static const struct {
        const char *step, *text;
    } texts[] = {
        {"unpack", N_("unpacking the package")},
        {"copy", N_("copying the modules")},
        {"kernel", N_("unpacking the kernel")},
        {"modules", N_("choosing the modules for the boot")},
        {"image", N_("making the image of the modules")},
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        if (strcmp(texts[i].step, step) == 0)
            ui_progress_update(_(texts[i].text), i < 2 ? done : 0, total, progress);
}

static gboolean
check_import(const CmdArgs *args)
{
    gboolean files = arg_vmlinuz && arg_modules;

    if (files ? args->n_operands == 0 : args->n_operands == 1 && !arg_vmlinuz && !arg_modules)
        return TRUE;
    ui_error(_("give either a kernel package, or --vmlinuz and --modules"));
    ui_hint(_("see '%s --help'"), "msb kernel import");
    return FALSE;
}

static int
run_import(const CmdArgs *args)
{
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(MsbKernel) kernel = NULL;
    g_autoptr(UiProgress) progress = NULL;
    g_autoptr(GError) error = NULL;

    if (!check_import(args))
        return CMD_EXIT_USAGE;
    home = cmd_open_home();
    if (!home)
        return CMD_EXIT_FAILURE;
    progress = ui_progress_new(arg_quiet);
    if (arg_vmlinuz)
        kernel = msb_kernel_import_files(home, arg_vmlinuz, arg_modules, on_progress, progress, &error);
    else
        kernel = msb_kernel_import_package(home, args->operands[0], on_progress, progress, &error);
    ui_progress_clear_line();
    if (!kernel || (arg_default && !msb_kernel_set_default(home, msb_kernel_get_version(kernel), &error)))
        return cmd_fail(error);
    puts(msb_kernel_get_version(kernel));
    return 0;
}

static const CmdOption import_options[] = {
    {"vmlinuz", 0, CMD_OPTION_STRING, &arg_vmlinuz, NULL, N_("FILE"),
     N_("the kernel: a bzImage or an ELF vmlinux"), CMD_VALUE_FILE, NULL},
    {"modules", 0, CMD_OPTION_STRING, &arg_modules, NULL, N_("DIR"), N_("its modules: …/lib/modules/VERSION"),
     CMD_VALUE_DIR, NULL},
    {"default", 0, CMD_OPTION_FLAG, &arg_default, NULL, NULL, N_("make it the default at once"),
     CMD_VALUE_ANY, NULL},
    {"quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("no progress and no notes"), CMD_VALUE_ANY,
     NULL},
    {0},
};

static const CmdCommand kernel_import = {
    .name = "import",
    .synopsis = N_("[OPTION…] PACKAGE | --vmlinuz=FILE --modules=DIR"),
    .summary = N_("Make a kernel available to sandboxes"),
    .details =
        N_("PACKAGE is a distribution's kernel package (.deb or .rpm), which needs not be installed: "
           "'apt-get download linux-image-VERSION-cloud-amd64' gets Debian's. The first kernel becomes the "
           "default. Prints its version."),
    .options = {import_options},
    .operands = (const CmdValue[]){CMD_VALUE_FILE, CMD_VALUE_END},
    .max_operands = 1,
    .run = run_import,
};

/* ---- ls --------------------------------------------------------------------------------- */

static UiTable *
ls_table(void)
{
    return ui_table_new(_("VERSION"), _("DEFAULT"), _("SIZE"), _("CREATED"), NULL);
}

static void
ls_row(UiTable *table, gpointer kernel)
{
    g_autofree char *size = cmd_format_size(msb_kernel_get_size(kernel));
    g_autofree char *age = cmd_format_age(msb_kernel_get_created(kernel));

    ui_table_add(table, msb_kernel_get_version(kernel), msb_kernel_is_default(kernel) ? _("yes") : "", size,
                 age);
}

static void
ls_members(JsonBuilder *b, gpointer kernel)
{
    g_autofree char *created = cmd_format_time(msb_kernel_get_created(kernel));

    ui_json_string(b, "version", msb_kernel_get_version(kernel));
    ui_json_bool(b, "default", msb_kernel_is_default(kernel));
    ui_json_int(b, "size_bytes", (gint64)msb_kernel_get_size(kernel));
    ui_json_string(b, "created_at", created);
    ui_json_string(b, "vmlinux", msb_kernel_get_vmlinux(kernel));
    ui_json_string(b, "modules_image", msb_kernel_get_modules_image(kernel));
}

static const char *
ls_name(gpointer kernel)
{
    return msb_kernel_get_version(kernel);
}

static int
run_ls(const CmdArgs *args G_GNUC_UNUSED)
{
    static const CmdListing listing = {ls_table, ls_row, ls_members, ls_name, msb_kernel_list};

    return cmd_run_list(&listing);
}

static const CmdCommand kernel_ls = {
    .name = "ls",
    .aliases = "list",
    .synopsis = N_("[OPTION…]"),
    .summary = N_("List the kernels"),
    .options = {cmd_list_options},
    .run = run_ls,
};

/* ---- rm and default ------------------------------------------------------------------------ */

static int
run_rm(const CmdArgs *args)
{
    return cmd_for_operands(args, msb_kernel_remove, FALSE);
}

static const CmdCommand kernel_rm = {
    .name = "rm",
    .aliases = "remove",
    .synopsis = N_("VERSION…"),
    .summary = N_("Remove kernels"),
    .details =
        N_("A kernel that a running sandbox uses is kept. When the default goes, the newest of the others "
           "becomes it."),
    .operands = (const CmdValue[]){CMD_VALUE_KERNEL, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = G_MAXUINT,
    .run = run_rm,
};

static int
run_default(const CmdArgs *args)
{
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(MsbKernel) kernel = NULL;
    g_autoptr(GError) error = NULL;

    if (!home)
        return CMD_EXIT_FAILURE;
    if (args->n_operands > 0 && !msb_kernel_set_default(home, args->operands[0], &error))
        return cmd_fail(error);
    kernel = msb_kernel_lookup(home, NULL, &error);
    if (!kernel)
        return cmd_fail(error);
    puts(msb_kernel_get_version(kernel));
    return 0;
}

static const CmdCommand kernel_default = {
    .name = "default",
    .synopsis = N_("[VERSION]"),
    .summary = N_("Show or choose the kernel that sandboxes boot"),
    .operands = (const CmdValue[]){CMD_VALUE_KERNEL, CMD_VALUE_END},
    .max_operands = 1,
    .run = run_default,
};

const CmdCommand cmd_kernel = {
    .name = "kernel",
    .group = CMD_GROUP_INSTALLATION,
    .synopsis = N_("COMMAND …"),
    .summary = N_("Manage the kernels that sandboxes boot"),
    .children = (const CmdCommand *const[]){&kernel_import, &kernel_ls, &kernel_rm, &kernel_default, NULL},
};

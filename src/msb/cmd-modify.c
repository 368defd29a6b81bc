/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* modify: what can be changed of a sandbox that is there. */
#include <config.h>

#include <stdio.h>

#include "cmd.h"
#include "ui-message.h"

static char *arg_root_disk;
static gboolean arg_quiet;

static guint64 size;

static gboolean
modify_one(MsbSandbox *sandbox, GError **error)
{
    if (!msb_sandbox_resize_root(sandbox, *arg_root_disk == '+', size, error))
        return FALSE;
    if (!arg_quiet)
        puts(msb_sandbox_get_name(sandbox));
    return TRUE;
}

static int
run_modify(const CmdArgs *args)
{
    g_autoptr(GError) error = NULL;

    if (!arg_root_disk) {
        ui_error(_("nothing to modify is given: --root-disk"));
        return CMD_EXIT_USAGE;
    }
    if (!msb_parse_size(arg_root_disk + (*arg_root_disk == '+'), &size, &error)) {
        ui_error("--root-disk: %s", error->message);
        return CMD_EXIT_USAGE;
    }
    return cmd_for_targets(args, modify_one);
}

static const CmdOption modify_options[] = {
    {"root-disk", 0, CMD_OPTION_STRING, &arg_root_disk, NULL, N_("[+]SIZE"),
     N_("make the writable disk over the image SIZE large, or with a + larger by SIZE"), CMD_VALUE_ANY, NULL},
    {"quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("do not print the names"), CMD_VALUE_ANY, NULL},
    CMD_TARGET_LABEL_OPTION,
    {0},
};

const CmdCommand cmd_modify = {
    .name = "modify",
    .aliases = "mod",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("OPTION… NAME…"),
    .summary = N_("Change sandboxes, also while they run"),
    .options = {modify_options},
    .operands = (const CmdValue[]){CMD_VALUE_SANDBOX, CMD_VALUE_END},
    .max_operands = G_MAXUINT,
    .run = run_modify,
};

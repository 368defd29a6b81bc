/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* push: an image into a registry. */
#include <config.h>

#include <stdio.h>

#include "cmd-signals.h"
#include "cmd.h"
#include "ui-progress.h"

static gboolean arg_quiet;
static gboolean arg_insecure;
static gboolean arg_password_stdin;
static char *arg_ca_certs;
static char *arg_username;

static void
cancel(gpointer cancellable)
{
    g_cancellable_cancel(cancellable);
}

static int
run_push(const CmdArgs *args)
{
    g_autoptr(UiProgress) progress = ui_progress_new(arg_quiet);
    MsbPushOptions options = {.plain_http = arg_insecure,
                              .ca_file = arg_ca_certs,
                              .username = arg_username,
                              .progress = ui_progress_update,
                              .progress_data = progress};
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *pushed = NULL, *password = NULL;
    CmdWatch *watch;
    int status = cmd_read_account(arg_username, arg_password_stdin, &password);

    if (status != 0)
        return status;
    options.password = password;
    cmd_signals_init();
    home = cmd_open_home();
    if (!home)
        return CMD_EXIT_FAILURE;
    watch = cmd_watch_begin(cancel, cancellable);
    pushed = msb_image_push(home, args->operands[0], args->n_operands > 1 ? args->operands[1] : NULL,
                            &options, cancellable, &error);
    cmd_watch_end(watch);
    ui_progress_clear_line();
    if (!pushed)
        return cmd_fail(error);
    puts(pushed);
    return 0;
}

static const CmdOption push_options[] = {
    {"username", 'u', CMD_OPTION_STRING, &arg_username, NULL, N_("NAME"),
     N_("with this account instead of one that is kept; asks for its password"), CMD_VALUE_ANY, NULL},
    {"password-stdin", 0, CMD_OPTION_FLAG, &arg_password_stdin, NULL, NULL,
     N_("read the password from standard input"), CMD_VALUE_ANY, NULL},
    {"insecure", 0, CMD_OPTION_FLAG, &arg_insecure, NULL, NULL, N_("talk plain HTTP to the registry"),
     CMD_VALUE_ANY, NULL},
    {"ca-certs", 0, CMD_OPTION_STRING, &arg_ca_certs, NULL, N_("FILE"),
     N_("trust the authorities in this PEM file instead of the system's"), CMD_VALUE_FILE, NULL},
    {"quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("no progress and no notes"), CMD_VALUE_ANY,
     NULL},
    {0},
};

const CmdCommand cmd_push = {
    .name = "push",
    .group = CMD_GROUP_IMAGES,
    .synopsis = N_("[OPTION…] IMAGE [NAME]"),
    .summary = N_("Put an image into a registry"),
    .details = N_("The image goes to the registry of its own name, or of NAME. What the registry has is not "
                  "sent again. Prints "
                  "the image's name and digest there."),
    .options = {push_options},
    .operands = (const CmdValue[]){CMD_VALUE_IMAGE, CMD_VALUE_ANY, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 2,
    .run = run_push,
};

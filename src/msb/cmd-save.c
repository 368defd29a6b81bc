/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* save: images into an archive or a directory. */
#include <config.h>

#include <string.h>
#include <unistd.h>

#include "cmd-signals.h"
#include "cmd.h"
#include "ui-message.h"
#include "ui-progress.h"

static char *arg_output;
static char *arg_format;
static gboolean arg_quiet;

static void
cancel(gpointer cancellable)
{
    g_cancellable_cancel(cancellable);
}

static gboolean
find_format(MsbImageFormat *format)
{
    static const struct {
        const char *name;
        MsbImageFormat format;
    } formats[] = {
        {"oci-archive", MSB_IMAGE_OCI_ARCHIVE},
        {"oci-dir", MSB_IMAGE_OCI_DIR},
        {"docker-archive", MSB_IMAGE_DOCKER_ARCHIVE},
        {"docker-dir", MSB_IMAGE_DOCKER_DIR},
    };

    *format = MSB_IMAGE_OCI_ARCHIVE;
    if (!arg_format)
        return TRUE;
    for (guint i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (strcmp(formats[i].name, arg_format) == 0) {
            *format = formats[i].format;
            return TRUE;
        }
    }
    return FALSE;
}

static int
run_save(const CmdArgs *args)
{
    const char *path = arg_output ? arg_output : "-";
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(UiProgress) progress = NULL;
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    MsbImageFormat format;
    CmdWatch *watch;
    gboolean done;

    if (!find_format(&format))
        return CMD_EXIT_USAGE; /* the parser knows the words */
    if (strcmp(path, "-") == 0 && isatty(STDOUT_FILENO)) {
        ui_error(_("the archive would go to standard output, which is a terminal"));
        ui_hint(_("give a path with --output, or a pipe: msb save IMAGE | ssh HOST msb load"));
        return CMD_EXIT_FAILURE;
    }
    cmd_signals_init();
    home = cmd_open_home();
    if (!home)
        return CMD_EXIT_FAILURE;
    progress = ui_progress_new(arg_quiet);
    watch = cmd_watch_begin(cancel, cancellable);
    done = msb_image_save(home, (const char *const *)args->operands, path, format, ui_progress_update,
                          progress, cancellable, &error);
    cmd_watch_end(watch);
    ui_progress_clear_line();
    return done ? 0 : cmd_fail(error);
}

static const CmdOption save_options[] = {
    {"output", 'o', CMD_OPTION_STRING, &arg_output, NULL, N_("PATH"),
     N_("the archive or directory to write, - for stdout"), CMD_VALUE_FILE, NULL},
    {"format", 0, CMD_OPTION_STRING, &arg_format, NULL, N_("FORMAT"),
     N_("oci-archive, oci-dir, docker-archive or docker-dir"), CMD_VALUE_WORDS,
     "oci-archive oci-dir docker-archive docker-dir"},
    {"quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("no progress and no notes"), CMD_VALUE_ANY,
     NULL},
    {0},
};

const CmdCommand cmd_save = {
    .name = "save",
    .group = CMD_GROUP_IMAGES,
    .synopsis = N_("[OPTION…] IMAGE…"),
    .summary = N_("Write images to an archive or directory"),
    .details = N_("Writes an OCI layout (the default) or an archive as 'docker save' does. In an OCI layout "
                  "every document and "
                  "layer is what it was in the registry, byte for byte."),
    .options = {save_options},
    .operands = (const CmdValue[]){CMD_VALUE_IMAGE, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = G_MAXUINT,
    .run = run_save,
};

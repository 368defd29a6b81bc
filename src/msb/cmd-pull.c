/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pull, and registry login|logout|ls. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cmd-signals.h"
#include "cmd.h"
#include "ui-json.h"
#include "ui-message.h"
#include "ui-progress.h"
#include "ui-table.h"

#define MAX_PASSWORD 65536

static gboolean arg_quiet;
static gboolean arg_insecure;
static gboolean arg_if_missing;
static gboolean arg_password_stdin;
static char *arg_ca_certs;
static char *arg_platform;
static char *arg_username;
static char *arg_store;

/* ---- accounts ---------------------------------------------------------------------------------- */

static char *
read_password(gboolean from_stdin)
{
    gboolean terminal = isatty(STDIN_FILENO);
    struct termios saved, quiet;
    g_autoptr(GString) line = g_string_new(NULL);
    int c;

    if (terminal && !from_stdin) {
        fputs(_("Password: "), stderr);
        if (tcgetattr(STDIN_FILENO, &saved) < 0)
            return NULL;
        quiet = saved;
        quiet.c_lflag &= (tcflag_t)~ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    while ((c = getchar()) != EOF && c != '\n' && line->len < MAX_PASSWORD)
        g_string_append_c(line, (char)c);
    if (terminal && !from_stdin) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
        fputc('\n', stderr);
    }
    if (line->len == 0) {
        ui_error(_("no password was given"));
        ui_hint(_("type it at a terminal, or write it to standard input with --password-stdin"));
        return NULL;
    }
    return g_string_free(g_steal_pointer(&line), FALSE);
}

int
cmd_read_account(const char *username, gboolean from_stdin, char **password)
{
    *password = NULL;
    if (username) {
        *password = read_password(from_stdin);
        return *password ? 0 : CMD_EXIT_FAILURE;
    }
    if (!from_stdin)
        return 0;
    ui_error(_("whose account is it? --username"));
    return CMD_EXIT_USAGE;
}

/* ---- pull -------------------------------------------------------------------------------------- */

static void
cancel(gpointer cancellable)
{
    g_cancellable_cancel(cancellable);
}

static void
warn(const char *text, gpointer data G_GNUC_UNUSED)
{
    ui_warning("%s", text);
}

MsbImage *
cmd_pull_image(MsbHome *home, const char *reference, MsbPullOptions *options, gboolean quiet, GError **error)
{
    g_autoptr(UiProgress) progress = ui_progress_new(quiet);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    CmdWatch *watch = cmd_watch_begin(cancel, cancellable);
    MsbImage *image;

    options->progress = ui_progress_update;
    options->progress_data = progress;
    options->warning = warn;
    image = msb_image_pull(home, reference, options, cancellable, error);
    cmd_watch_end(watch);
    ui_progress_clear_line();
    return image;
}

static int
run_pull(const CmdArgs *args)
{
    MsbPullOptions options = {.policy = arg_if_missing ? MSB_PULL_IF_MISSING : MSB_PULL_ALWAYS,
                              .platform = arg_platform,
                              .plain_http = arg_insecure,
                              .ca_file = arg_ca_certs,
                              .username = arg_username};
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(MsbImage) image = NULL;
    g_autofree char *password = NULL;
    g_autoptr(GError) error = NULL;
    int status = cmd_read_account(arg_username, arg_password_stdin, &password);

    if (status != 0)
        return status;
    options.password = password;
    cmd_signals_init();
    home = cmd_open_home();
    if (!home)
        return CMD_EXIT_FAILURE;
    image = cmd_pull_image(home, args->operands[0], &options, arg_quiet, &error);
    if (!image)
        return cmd_fail(error);
    printf("%s@%s\n", msb_image_get_reference(image), msb_image_get_digest(image));
    return 0;
}

#define INSECURE_OPTION                                                                                      \
    {                                                                                                        \
        "insecure", 0, CMD_OPTION_FLAG, &arg_insecure, NULL, NULL, N_("talk plain HTTP to the registry"),    \
            CMD_VALUE_ANY, NULL                                                                              \
    }
#define CA_OPTION                                                                                            \
    {                                                                                                        \
        "ca-certs", 0, CMD_OPTION_STRING, &arg_ca_certs, NULL, N_("FILE"),                                   \
            N_("trust the authorities in this PEM file instead of the system's"), CMD_VALUE_FILE, NULL       \
    }

static const CmdOption pull_options[] = {
    {"platform", 0, CMD_OPTION_STRING, &arg_platform, NULL, N_("OS/ARCH"),
     N_("the image for this platform (default: this host's)"), CMD_VALUE_ANY, NULL},
    {"if-missing", 0, CMD_OPTION_FLAG, &arg_if_missing, NULL, NULL,
     N_("ask no registry if the image is in the store"), CMD_VALUE_ANY, NULL},
    {"username", 'u', CMD_OPTION_STRING, &arg_username, NULL, N_("NAME"),
     N_("with this account instead of one that is kept; asks for its password"), CMD_VALUE_ANY, NULL},
    {"password-stdin", 0, CMD_OPTION_FLAG, &arg_password_stdin, NULL, NULL,
     N_("read the password from standard input"), CMD_VALUE_ANY, NULL},
    INSECURE_OPTION,
    CA_OPTION,
    {"quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("no progress and no notes"), CMD_VALUE_ANY,
     NULL},
    {0},
};

const CmdCommand cmd_pull = {
    .name = "pull",
    .group = CMD_GROUP_IMAGES,
    .synopsis = N_("[OPTION…] IMAGE"),
    .summary = N_("Get an image from a registry"),
    .details = N_(
        "IMAGE is written as docker users write it: [REGISTRY/]REPOSITORY[:TAG][@DIGEST]. Layers that are in "
        "the store are not downloaded again. Prints the image's name and digest."),
    .options = {pull_options},
    .operands = (const CmdValue[]){CMD_VALUE_IMAGE, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .run = run_pull,
};

/* ---- registry ---------------------------------------------------------------------------------- */

static int
run_login(const CmdArgs *args)
{
    const char *host = args->operands[0];
    MsbLoginOptions options = {.username = arg_username, .plain_http = arg_insecure, .ca_file = arg_ca_certs};
    g_autoptr(MsbHome) home = NULL;
    MsbLoginStore store;
    g_autofree char *password = NULL;
    g_autoptr(GError) error = NULL;

    if (!arg_username) {
        ui_error(_("whose account is it? --username"));
        return CMD_EXIT_USAGE;
    }
    if (arg_store)
        msb_login_store_from_string(arg_store, &options.store); /* one of the option's words */
    home = cmd_open_home();
    options.password = password = home ? read_password(arg_password_stdin) : NULL;
    if (!password)
        return CMD_EXIT_FAILURE;
    if (!msb_registry_login(home, host, &options, &store, NULL, &error))
        return cmd_fail(error);
    if (store == MSB_LOGIN_SECRET_SERVICE)
        ui_note(_("the password is kept in the Secret Service"));
    else
        ui_note(_("the password is kept in '%s/registries.json'"), msb_home_get_path(home));
    return 0;
}

static const CmdOption login_options[] = {
    {"username", 'u', CMD_OPTION_STRING, &arg_username, NULL, N_("NAME"), N_("name of the account"),
     CMD_VALUE_ANY, NULL},
    {"password-stdin", 0, CMD_OPTION_FLAG, &arg_password_stdin, NULL, NULL,
     N_("read the password from standard input"), CMD_VALUE_ANY, NULL},
    {"store", 0, CMD_OPTION_STRING, &arg_store, NULL, N_("WHERE"),
     N_("keep the password in a file or in the secret-service (default: auto)"), CMD_VALUE_WORDS,
     "auto file secret-service"},
    INSECURE_OPTION,
    CA_OPTION,
    {0},
};

static const CmdCommand registry_login = {
    .name = "login",
    .synopsis = N_("[OPTION…] REGISTRY"),
    .summary = N_("Check credentials with a registry and keep them"),
    .details = N_(
        "The password is kept in the Secret Service of the session if there is one, else in "
        "$MSB_HOME/registries.json, which only its owner may read. Credentials that docker or podman have are "
        "found by themselves."),
    .options = {login_options},
    .operands = (const CmdValue[]){CMD_VALUE_ANY, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .run = run_login,
};

static int
run_logout(const CmdArgs *args)
{
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(GError) error = NULL;

    if (!home)
        return CMD_EXIT_FAILURE;
    return msb_registry_logout(home, args->operands[0], NULL, &error) ? 0 : cmd_fail(error);
}

static const CmdCommand registry_logout = {
    .name = "logout",
    .synopsis = N_("REGISTRY"),
    .summary = N_("Forget the credentials for a registry"),
    .operands = (const CmdValue[]){CMD_VALUE_ANY, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .run = run_logout,
};

static UiTable *
ls_table(void)
{
    return ui_table_new(_("REGISTRY"), _("USER"), _("PASSWORD IN"), NULL);
}

static void
ls_row(UiTable *table, gpointer item)
{
    const MsbLogin *login = item;

    ui_table_add(table, login->registry, login->username, msb_login_store_to_string(login->store));
}

static void
ls_members(JsonBuilder *b, gpointer item)
{
    const MsbLogin *login = item;

    ui_json_string(b, "registry", login->registry);
    ui_json_string(b, "username", login->username);
    ui_json_string(b, "store", msb_login_store_to_string(login->store));
}

static const char *
ls_name(gpointer item)
{
    return ((const MsbLogin *)item)->registry;
}

static int
run_ls(const CmdArgs *args G_GNUC_UNUSED)
{
    static const CmdListing listing = {ls_table, ls_row, ls_members, ls_name, msb_registry_list};

    return cmd_run_list(&listing);
}

static const CmdCommand registry_ls = {
    .name = "ls",
    .aliases = "list",
    .synopsis = N_("[OPTION…]"),
    .summary = N_("List the registries there are credentials for, and where the passwords are"),
    .options = {cmd_list_options},
    .run = run_ls,
};

const CmdCommand cmd_registry = {
    .name = "registry",
    .aliases = "registries regs",
    .group = CMD_GROUP_IMAGES,
    .synopsis = N_("COMMAND"),
    .summary = N_("Keep credentials for registries"),
    .children = (const CmdCommand *const[]){&registry_login, &registry_logout, &registry_ls, NULL},
};

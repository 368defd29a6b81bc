/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The commands.  Each lives in cmd-<name>.c and is one CmdCommand; main.c has
 * the table of them.  A command declares its options and operands as data, and
 * the parser, --help, the completion and the test that compares them with the
 * manual pages all read that one declaration.
 *
 * Exit statuses: CMD_EXIT_FAILURE for any error of msb, CMD_EXIT_USAGE for a
 * command line that cannot be understood, else what the command in the guest
 * returned (128+N after a signal, 126 and 127 if it could not be started).
 */
#ifndef CMD_H
#define CMD_H

#include <glib.h>
#include <glib/gi18n.h>
#include <json-glib/json-glib.h>

#include "msb.h"
#include "ui-table.h"

#define CMD_EXIT_FAILURE 1
#define CMD_EXIT_USAGE 2

/* What an option's value or an operand is, for the completion. */
typedef enum {
    CMD_VALUE_END,          /* ends the list of a command's operands */
    CMD_VALUE_ANY,
    CMD_VALUE_FILE,
    CMD_VALUE_DIR,
    CMD_VALUE_WORDS,        /* one of CmdOption.words */
    CMD_VALUE_SANDBOX,
    CMD_VALUE_RUNNING,      /* a running sandbox */
    CMD_VALUE_STOPPED,
    CMD_VALUE_IMAGE,
    CMD_VALUE_KERNEL,
    CMD_VALUE_VOLUME,
    CMD_VALUE_COMMAND,      /* a command of msb */
    CMD_VALUE_MOUNT,        /* an argument of the mount flag that the option is */
} CmdValue;

typedef enum {
    CMD_OPTION_FLAG,        /* target: gboolean */
    CMD_OPTION_STRING,      /* target: char *, the last one counts */
    CMD_OPTION_STRINGS,     /* target: char **, all of them */
    CMD_OPTION_SIZE,        /* target: guint64, bytes */
    CMD_OPTION_DURATION,    /* target: gint64, milliseconds; -1 = not given */
    CMD_OPTION_UINT,        /* target: guint */
    CMD_OPTION_FUNCTION,    /* target: CmdOptionFunc */
} CmdOptionKind;

typedef gboolean (*CmdOptionFunc)(const char *name, const char *value, GError **error);

typedef struct {
    const char *name;       /* without the dashes; NULL ends a table */
    char letter;            /* short form, 0 = none */
    CmdOptionKind kind;
    void *target;
    CmdOptionFunc function;
    const char *arg;        /* N_() placeholder of the value in --help */
    const char *help;       /* N_() */
    CmdValue value;
    const char *words;      /* CMD_VALUE_WORDS: separated by spaces */
} CmdOption;

/* What was left when the options were taken. */
typedef struct {
    char **operands;        /* NULL-terminated */
    guint n_operands;
    char **command;         /* the guest's command line, NULL if none was given */
    GPtrArray *given;       /* of const CmdOption: the options that were given */
} CmdArgs;

typedef enum {
    CMD_GROUP_SANDBOXES,
    CMD_GROUP_IMAGES,
    CMD_GROUP_INSTALLATION,
    CMD_GROUP_OTHER,
    CMD_GROUP_HIDDEN,
    CMD_N_GROUPS,
} CmdGroup;

typedef struct CmdCommand CmdCommand;
struct CmdCommand {
    const char *name;
    const char *aliases;    /* other names, separated by spaces, not shown */
    CmdGroup group;
    const char *synopsis;   /* N_() what follows the name on the usage line */
    const char *summary;    /* N_() one line without a full stop */
    const char *details;    /* N_() more for --help, or NULL */
    const CmdOption *options[4];    /* tables, its own and those it shares with others, up to a NULL */
    const CmdValue *operands;       /* what they are, up to CMD_VALUE_END; the last one repeats. NULL = any */
    guint min_operands, max_operands;
    gboolean takes_command;         /* what follows "--" or max_operands operands is taken as a command line */
    int (*run)(const CmdArgs *args);
    const CmdCommand *const *children;  /* subcommands, NULL-terminated; then run is NULL */
};

/* ---- main.c -------------------------------------------------------------------- */

extern const CmdCommand *const cmd_commands[];
extern const CmdOption cmd_global_options[];
/* The command by its name or an alias among list; NULL if there is none. */
const CmdCommand *cmd_find(const CmdCommand *const *list, const char *name);

/* ---- cmd-options.c --------------------------------------------------------------- */

/* Take the options out of argv (without the command's name). *help is set when --help was among them, and
 * then nothing else is checked. */
gboolean cmd_parse(const CmdCommand *command, const char *const *argv, CmdArgs *args, gboolean *help,
                   GError **error);
void cmd_args_clear(CmdArgs *args);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CmdArgs, cmd_args_clear)
/* Whether the option was given. */
gboolean cmd_args_given(const CmdArgs *args, const char *name);
/* Every option of command, its shared ones and the global ones included, in the order of --help. */
GPtrArray *cmd_list_options_of(const CmdCommand *command);
const CmdOption *cmd_find_option(const CmdCommand *command, const char *name, gsize length);
const CmdOption *cmd_find_letter(const CmdCommand *command, char letter);

/* ---- cmd-help.c --------------------------------------------------------------------- */

void cmd_help_program(void);
void cmd_help_command(const char *full_name, const CmdCommand *command);
void cmd_help_tree(void);

/* ---- cmd-complete.c ------------------------------------------------------------------ */

/* Print the completions of words[index] (words[0] is the program). */
int cmd_complete(const char *const *words, guint index);

/* ---- cmd-common.c: what several commands share ------------------------------------------ */

/* $MSB_HOME; NULL after having said why. */
MsbHome *cmd_open_home(void);
/* Say what went wrong, with the hints that belong to it; returns CMD_EXIT_FAILURE. */
int cmd_fail(const GError *error);
/* "2 minutes ago"; RFC 3339 in UTC (both transfer full). time in microseconds, real time. */
char *cmd_format_age(gint64 time);
char *cmd_format_time(gint64 time);
/* "12.3 MiB" (transfer full). */
char *cmd_format_size(guint64 bytes);
/* A command line as one string, quoted where a shell would need it (transfer full). */
char *cmd_join_argv(const char *const *argv);

/* What a command lists: as a table, as JSON with --format=json, or as names alone with --quiet. */
typedef struct {
    UiTable *(*new_table)(void);
    void (*add_row)(UiTable *table, gpointer item);
    void (*add_members)(JsonBuilder *builder, gpointer item);   /* of the object for item */
    const char *(*get_name)(gpointer item);
    GPtrArray *(*collect)(MsbHome *home, GError **error);       /* for cmd_run_list() alone */
} CmdListing;

extern const CmdOption cmd_list_options[];
/* Of commands that show one thing, as JSON. */
extern const CmdOption cmd_inspect_options[];
void cmd_print_list(const CmdListing *listing, const GPtrArray *items);
/* Collect and print them; the exit status. */
int cmd_run_list(const CmdListing *listing);
/* Do work on every operand, going on after a failure, and print those that it was done on, unless quiet; the exit
 * status. */
int cmd_for_operands(const CmdArgs *args, gboolean (*work)(MsbHome *home, const char *name, GError **error),
                     gboolean quiet);
/* --format=json was given. */
gboolean cmd_list_json(void);

/* Operands and --label: the sandboxes meant, each once. FALSE after having said what is wrong
 * with some of them (the others are in *sandboxes nevertheless). */
extern char **cmd_target_labels;
#define CMD_TARGET_LABEL_OPTION \
    { "label", 0, CMD_OPTION_STRINGS, &cmd_target_labels, NULL, N_("KEY[=VALUE]"), \
      N_("also those that have this label (repeat: all of them)"), CMD_VALUE_ANY, NULL }
gboolean cmd_targets(MsbHome *home, const CmdArgs *args, GPtrArray **sandboxes);
/* Do work on each, going on after a failure; the exit status. */
int cmd_for_targets(const CmdArgs *args, gboolean (*work)(MsbSandbox *sandbox, GError **error));

/* ---- cmd-config.c: the options that describe a sandbox ------------------------------------ */

extern const CmdOption cmd_config_options[];
/* The mount flag that the option of that name is; FALSE if it is none. */
gboolean cmd_find_mount_flag(const char *name, MsbMountFlag *flag);
extern gboolean cmd_config_quiet;
extern gboolean cmd_config_timings;
/* The configuration that the options ask for; image may be NULL. */
MsbConfig *cmd_config_build(const char *image, GError **error);
const char *cmd_config_name(void);
MsbPullPolicy cmd_config_pull(void);
/* Whether --replace was given, and how long the old sandbox has to stop. */
gboolean cmd_config_replace(guint *timeout_ms);

/* ---- cmd-start.c: bringing sandboxes up and down, with progress and the accelerator's line ---- */

/* Create by config, replacing an old one if --replace says so. */
MsbSandbox *cmd_create_sandbox(MsbHome *home, MsbConfig *config, GError **error);
/* Start and wait until it is ready. A signal meanwhile ends the attempt. */
gboolean cmd_start_sandbox(MsbHome *home, MsbSandbox *sandbox, gboolean quiet, GError **error);
gboolean cmd_stop_sandbox(MsbSandbox *sandbox, guint timeout_ms, GError **error);
void cmd_print_timings(MsbClient *client);
#define CMD_STOP_TIMEOUT_MS 10000

/* ---- cmd-pull.c ---- */

/* Get an image by options->policy, with progress. A signal meanwhile ends the attempt. */
MsbImage *cmd_pull_image(MsbHome *home, const char *reference, MsbPullOptions *options, gboolean quiet,
                         GError **error);
/* The password of an account that an option names, from the terminal, unseen, or the first line of standard input
 * (transfer full; NULL without a name). 0, or the exit status after having said why. */
int cmd_read_account(const char *username, gboolean from_stdin, char **password);

/* ---- cmd-session.c: one command in a guest, at this terminal ----------------------------------- */

#define CMD_DETACH_KEYS_OPTION \
    { "detach-keys", 0, CMD_OPTION_STRING, &cmd_session_detach_keys, NULL, N_("KEYS"), \
      N_("keys that detach from the terminal (default ctrl-]), such as ctrl-p,ctrl-q"), CMD_VALUE_ANY, NULL }
#define CMD_NO_STDIN_OPTION(help) \
    { "no-stdin", 0, CMD_OPTION_FLAG, &cmd_session_no_stdin, NULL, NULL, help, CMD_VALUE_ANY, NULL }
extern char *cmd_session_detach_keys;
extern gboolean cmd_session_no_stdin;

typedef struct {
    const char *const *argv;    /* NULL when attaching */
    const char *const *env;
    const char *cwd;
    const char *user;
    gboolean tty;
    gboolean no_tty;
    gboolean no_stdin;
    const char *detach_keys;    /* NULL = ctrl-] */
    gint64 timeout_ms;          /* < 0 = none */
    gboolean detach;            /* leave it running at once */
    gboolean workload;          /* the sandbox stops when it ends */
    guint attach_id;            /* attach to this one instead of starting argv */
    gboolean attach_tty;        /* whether that one has a terminal */
} CmdSession;

typedef struct {
    int status;                 /* for exit() */
    gboolean detached;          /* it still runs */
    guint id;                   /* to attach again */
} CmdSessionResult;

/* The options of a session (--tty, --timeout, ...) and a session with what they say. */
extern const CmdOption cmd_session_options[];
CmdSession cmd_session_from_options(void);
/* Whether a command gets a terminal: by the options, else if stdin and stdout are one. */
gboolean cmd_session_wants_tty(const CmdSession *session);
/* Run it to its end (or until it is detached). Errors have been printed. */
CmdSessionResult cmd_session_run(MsbClient *client, const char *sandbox, const CmdSession *session);

/* ---- the commands -------------------------------------------------------------------------------- */

extern const CmdCommand cmd_run, cmd_create, cmd_start, cmd_stop, cmd_restart, cmd_modify, cmd_rm;
extern const CmdCommand cmd_ls, cmd_ps, cmd_inspect, cmd_logs;
extern const CmdCommand cmd_exec, cmd_shell, cmd_attach;
extern const CmdCommand cmd_pull, cmd_push, cmd_registry, cmd_load, cmd_save, cmd_import;
extern const CmdCommand cmd_image, cmd_images, cmd_rmi, cmd_df;
extern const CmdCommand cmd_kernel, cmd_doctor, cmd_completion, cmd_volume;

#endif

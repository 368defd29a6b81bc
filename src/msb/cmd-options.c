/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The option parser.  Options and operands may be mixed; "--" ends the options,
 * and for a command that takes a command line also begins that line, as does the
 * first operand beyond those it has of its own: in "msb exec -t web sh -c true"
 * -t is ours and -c is the shell's.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "cmd.h"

GPtrArray *
cmd_list_options_of(const CmdCommand *command)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; command && command->options[i]; i++)
        for (const CmdOption *option = command->options[i]; option->name; option++)
            g_ptr_array_add(list, (gpointer)option);
    for (const CmdOption *option = cmd_global_options; option->name; option++)
        g_ptr_array_add(list, (gpointer)option);
    return list;
}

const CmdOption *
cmd_find_option(const CmdCommand *command, const char *name, gsize length)
{
    g_autoptr(GPtrArray) list = cmd_list_options_of(command);

    for (guint i = 0; i < list->len; i++) {
        const CmdOption *option = list->pdata[i];

        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0)
            return option;
    }
    return NULL;
}

const CmdOption *
cmd_find_letter(const CmdCommand *command, char letter)
{
    g_autoptr(GPtrArray) list = cmd_list_options_of(command);

    for (guint i = 0; i < list->len; i++) {
        const CmdOption *option = list->pdata[i];

        if (option->letter == letter)
            return option;
    }
    return NULL;
}

static gboolean
add_string(char ***target, const char *value)
{
    guint n = *target ? g_strv_length(*target) : 0;

    *target = g_renew(char *, *target, n + 2);
    (*target)[n] = g_strdup(value);
    (*target)[n + 1] = NULL;
    return TRUE;
}

static gboolean
parse_uint(const char *shown, const char *value, guint *target, GError **error)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(value, 10, 0, G_MAXUINT, &number, NULL))
        return msb_error_set(error, MSB_ERROR_INVALID, _("%s wants a number, not '%s'"), shown, value);
    *target = (guint)number;
    return TRUE;
}

static gboolean
parse_duration(const char *shown, const char *value, gint64 *target, GError **error)
{
    g_autoptr(GError) local = NULL;
    guint64 ms;

    if (!msb_parse_duration(value, &ms, &local) || ms > G_MAXINT)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             _("%s wants a duration such as 30, 500ms or 2m, not '%s'"), shown, value);
    *target = (gint64)ms;
    return TRUE;
}

static gboolean
parse_size(const char *shown, const char *value, guint64 *target, GError **error)
{
    if (!msb_parse_size(value, target, NULL))
        return msb_error_set(error, MSB_ERROR_INVALID, _("%s wants a size such as 512M or 2G, not '%s'"),
                             shown, value);
    return TRUE;
}

static gboolean
check_word(const CmdOption *option, const char *shown, const char *value, GError **error)
{
    g_auto(GStrv) words = g_strsplit(option->words, " ", -1);
    g_autofree char *list = NULL;

    if (g_strv_contains((const char *const *)words, value))
        return TRUE;
    list = g_strjoinv(", ", words);
    return msb_error_set(error, MSB_ERROR_INVALID, _("%s wants one of %s, not '%s'"), shown, list, value);
}

/* Store what was given for option; shown is how the user wrote it. */
static gboolean
store(const CmdOption *option, const char *shown, const char *value, CmdArgs *args, GError **error)
{
    g_ptr_array_add(args->given, (gpointer)option);
    if (option->value == CMD_VALUE_WORDS && option->kind != CMD_OPTION_FLAG &&
        !check_word(option, shown, value, error))
        return FALSE;
    switch (option->kind) {
    case CMD_OPTION_FLAG:
        if (option->function)
            return option->function(option->name, NULL, error);
        *(gboolean *)option->target = TRUE;
        return TRUE;
    case CMD_OPTION_STRING:
        g_free(*(char **)option->target);
        *(char **)option->target = g_strdup(value);
        return TRUE;
    case CMD_OPTION_STRINGS:
        return add_string(option->target, value);
    case CMD_OPTION_SIZE:
        return parse_size(shown, value, option->target, error);
    case CMD_OPTION_DURATION:
        return parse_duration(shown, value, option->target, error);
    case CMD_OPTION_UINT:
        return parse_uint(shown, value, option->target, error);
    case CMD_OPTION_FUNCTION:
        return option->function(option->name, value, error);
    }
    return TRUE;
}

static gboolean
unknown_option(const CmdCommand *command, const char *shown, GError **error)
{
    if (strcmp(shown, "--rm") == 0 && (command == &cmd_run || command == &cmd_create))
        return msb_error_set(
            error, MSB_ERROR_INVALID,
            _("unknown option '--rm': a sandbox without a name is always removed when its command "
              "ends, one with a name is kept until 'msb rm'"));
    return msb_error_set(error, MSB_ERROR_INVALID, _("unknown option '%s'"), shown);
}

/* argv[*i] is a long option; *i moves on when the next word is its value. */
static gboolean
parse_long(const CmdCommand *command, const char *const *argv, guint *i, CmdArgs *args, GError **error)
{
    const char *word = argv[*i];
    const char *name = word + 2;
    const char *equals = strchr(name, '=');
    gsize length = equals ? (gsize)(equals - name) : strlen(name);
    g_autofree char *shown = g_strndup(word, length + 2);
    const CmdOption *option = cmd_find_option(command, name, length);

    if (!option)
        return unknown_option(command, shown, error);
    if (option->kind == CMD_OPTION_FLAG) {
        if (equals)
            return msb_error_set(error, MSB_ERROR_INVALID, _("%s takes no value"), shown);
        return store(option, shown, NULL, args, error);
    }
    if (equals)
        return store(option, shown, equals + 1, args, error);
    if (!argv[*i + 1])
        return msb_error_set(error, MSB_ERROR_INVALID, _("%s wants a value"), shown);
    return store(option, shown, argv[++*i], args, error);
}

/* argv[*i] is a cluster of letters: flags, and at the end at most one with a value. */
static gboolean
parse_letters(const CmdCommand *command, const char *const *argv, guint *i, CmdArgs *args, gboolean *help,
              GError **error)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const char shown[] = {'-', *p, '\0'};
        const CmdOption *option = cmd_find_letter(command, *p);

        if (*p == 'h') {
            *help = TRUE;
            return TRUE;
        }
        if (!option)
            return unknown_option(command, shown, error);
        if (option->kind == CMD_OPTION_FLAG) {
            if (!store(option, shown, NULL, args, error))
                return FALSE;
            continue;
        }
        if (p[1])
            return store(option, shown, p[1] == '=' ? p + 2 : p + 1, args, error);
        if (!argv[*i + 1])
            return msb_error_set(error, MSB_ERROR_INVALID, _("%s wants a value"), shown);
        return store(option, shown, argv[++*i], args, error);
    }
    return TRUE;
}

static gboolean
check_operands(const CmdCommand *command, const CmdArgs *args, GError **error)
{
    if (args->n_operands > command->max_operands) {
        if (command->max_operands == 0)
            return msb_error_set(error, MSB_ERROR_INVALID, _("'%s' takes no operand, but there is '%s'"),
                                 command->name, args->operands[0]);
        return msb_error_set(error, MSB_ERROR_INVALID, _("there is one operand too many: '%s'"),
                             args->operands[command->max_operands]);
    }
    if (args->n_operands < command->min_operands)
        return msb_error_set(error, MSB_ERROR_INVALID, _("'%s' wants more operands: %s"), command->name,
                             _(command->synopsis));
    return TRUE;
}

/* Sort argv into options, operands and the guest's command line. */
static gboolean
split(const CmdCommand *command, const char *const *argv, CmdArgs *args, GPtrArray *operands, gboolean *help,
      GError **error)
{
    for (guint i = 0; argv[i]; i++) {
        if (strcmp(argv[i], "--") == 0) {
            if (command->takes_command)
                args->command = g_strdupv((char **)argv + i + 1);
            else
                for (i++; argv[i]; i++)
                    g_ptr_array_add(operands, g_strdup(argv[i]));
            return TRUE;
        }
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            if (command->takes_command && operands->len == command->max_operands) {
                args->command = g_strdupv((char **)argv + i);
                return TRUE;
            }
            g_ptr_array_add(operands, g_strdup(argv[i]));
            continue;
        }
        if (strcmp(argv[i], "--help") == 0)
            *help = TRUE;
        else if (argv[i][1] == '-' ? !parse_long(command, argv, &i, args, error)
                                   : !parse_letters(command, argv, &i, args, help, error))
            return FALSE;
        if (*help)
            return TRUE;
    }
    return TRUE;
}

gboolean
cmd_parse(const CmdCommand *command, const char *const *argv, CmdArgs *args, gboolean *help, GError **error)
{
    g_autoptr(GPtrArray) operands = g_ptr_array_new_with_free_func(g_free);
    gboolean ok;

    memset(args, 0, sizeof(*args));
    args->given = g_ptr_array_new();
    *help = FALSE;
    ok = split(command, argv, args, operands, help, error);
    args->n_operands = operands->len;
    g_ptr_array_add(operands, NULL);
    args->operands = (char **)g_ptr_array_free(g_steal_pointer(&operands), FALSE);
    if (args->command && !args->command[0])
        g_clear_pointer(&args->command, g_strfreev);
    return ok && (*help || check_operands(command, args, error));
}

void
cmd_args_clear(CmdArgs *args)
{
    g_clear_pointer(&args->operands, g_strfreev);
    g_clear_pointer(&args->command, g_strfreev);
    g_clear_pointer(&args->given, g_ptr_array_unref);
}

gboolean
cmd_args_given(const CmdArgs *args, const char *name)
{
    for (guint i = 0; i < args->given->len; i++)
        if (strcmp(((const CmdOption *)args->given->pdata[i])->name, name) == 0)
            return TRUE;
    return FALSE;
}

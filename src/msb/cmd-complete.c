/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Completion, driven by the tables of commands and options: "msb __complete
 * INDEX -- WORDS…" prints one candidate per line for the word at INDEX. Three
 * lines have a meaning of their own: ":files" and ":dirs" ask the shell to
 * complete names of files or directories, ":nospace" not to end the word, which
 * goes on. And the command that prints the shell's side of it.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "ui-message.h"

static void
print_words(const char *words)
{
    g_auto(GStrv) list = g_strsplit(words ? words : "", " ", -1);

    for (guint i = 0; list[i]; i++)
        if (list[i][0])
            puts(list[i]);
}

static void
print_sandboxes(MsbHome *home, CmdValue value)
{
    g_autoptr(GPtrArray) list = msb_sandbox_list(home, NULL);

    for (guint i = 0; list && i < list->len; i++) {
        gboolean running =
            value != CMD_VALUE_SANDBOX && msb_sandbox_get_state(list->pdata[i]) == MSB_STATE_RUNNING;

        if (value == CMD_VALUE_SANDBOX || running == (value == CMD_VALUE_RUNNING))
            puts(msb_sandbox_get_name(list->pdata[i]));
    }
}

/* Full and, where that means the same, short names. */
static void
print_images(MsbHome *home)
{
    static const char *const prefixes[] = {"docker.io/library/", "docker.io/", ""};
    g_autoptr(GPtrArray) list = msb_image_list(home, NULL);

    for (guint i = 0; list && i < list->len; i++) {
        const char *reference = msb_image_get_reference(list->pdata[i]);

        for (guint k = 0; k < G_N_ELEMENTS(prefixes); k++)
            if (g_str_has_prefix(reference, prefixes[k])) {
                g_autofree char *name = g_strdup(reference + strlen(prefixes[k]));

                if (g_str_has_suffix(name, ":latest"))
                    name[strlen(name) - strlen(":latest")] = '\0';
                puts(name);
                break;
            }
    }
}

static void
print_kernels(MsbHome *home)
{
    g_autoptr(GPtrArray) list = msb_kernel_list(home, NULL);

    for (guint i = 0; list && i < list->len; i++)
        puts(msb_kernel_get_version(list->pdata[i]));
}

/* end: what follows the name of one. */
static void
print_volumes(MsbHome *home, const char *end)
{
    g_autoptr(GPtrArray) list = msb_volume_list(home, NULL);

    for (guint i = 0; list && i < list->len; i++)
        printf("%s%s\n", msb_volume_get_name(list->pdata[i]), end);
}

static void
print_commands(const CmdCommand *const *list)
{
    for (guint i = 0; list[i]; i++)
        if (list[i]->group != CMD_GROUP_HIDDEN)
            puts(list[i]->name);
}

static void
print_values(CmdValue value, const char *words)
{
    g_autoptr(MsbHome) home = NULL;

    switch (value) {
    case CMD_VALUE_END:
    case CMD_VALUE_ANY:
    case CMD_VALUE_MOUNT:
        return;
    case CMD_VALUE_FILE:
        puts(":files");
        return;
    case CMD_VALUE_DIR:
        puts(":dirs");
        return;
    case CMD_VALUE_WORDS:
        print_words(words);
        return;
    case CMD_VALUE_COMMAND:
        print_commands(cmd_commands);
        return;
    default:
        break;
    }
    home = msb_home_open(NULL, NULL);
    if (!home)
        return;
    if (value == CMD_VALUE_IMAGE)
        print_images(home);
    else if (value == CMD_VALUE_KERNEL)
        print_kernels(home);
    else if (value == CMD_VALUE_VOLUME)
        print_volumes(home, "");
    else
        print_sandboxes(home, value);
}

/* Where a mount comes from. */
static void
print_sources(MsbMountFlag flag)
{
    if (flag == MSB_MOUNT_FLAG_VOLUME || flag == MSB_MOUNT_FLAG_DIR)
        puts(":dirs");
    if (flag == MSB_MOUNT_FLAG_FILE || flag == MSB_MOUNT_FLAG_DISK)
        puts(":files");
    if (flag == MSB_MOUNT_FLAG_VOLUME || flag == MSB_MOUNT_FLAG_NAMED) {
        g_autoptr(MsbHome) home = msb_home_open(NULL, NULL);

        if (home)
            print_volumes(home, ":/");
    }
    puts(":nospace");
}

static void
print_mount(MsbMountFlag flag, const char *text)
{
    g_auto(GStrv) list = msb_mount_complete(flag, text);

    if (!list) {
        if (!strchr(text, ':'))
            print_sources(flag);
        return;
    }
    for (guint i = 0; list[i]; i++)
        puts(list[i]);
    puts(":nospace");
}

/* Candidates for the value of option, of which text is there. */
static void
print_values_of(const CmdOption *option, const char *text)
{
    MsbMountFlag flag;

    if (option->value == CMD_VALUE_MOUNT && cmd_find_mount_flag(option->name, &flag))
        print_mount(flag, text);
    else
        print_values(option->value, option->words);
}

static void
print_options(const CmdCommand *command)
{
    g_autoptr(GPtrArray) list = cmd_list_options_of(command);

    for (guint i = 0; i < list->len; i++) {
        const CmdOption *option = list->pdata[i];

        printf("--%s%s\n", option->name, option->kind == CMD_OPTION_FLAG ? "" : "=");
    }
}

/* The option whose value is the word after word; NULL if it has none or holds it itself. */
static const CmdOption *
awaits_value(const CmdCommand *command, const char *word)
{
    const CmdOption *option = NULL;

    if (g_str_has_prefix(word, "--"))
        option = strchr(word, '=') ? NULL : cmd_find_option(command, word + 2, strlen(word + 2));
    else if (word[0] == '-' && word[1] && !word[2])
        option = cmd_find_letter(command, word[1]);
    return option && option->kind != CMD_OPTION_FLAG ? option : NULL;
}

/* Candidates for the operand of that number. */
static void
print_operands(const CmdCommand *command, guint number)
{
    const CmdValue *value = command->operands;

    if (command->children) {
        print_commands(command->children);
        return;
    }
    if (!value || number >= command->max_operands)
        return;
    while (number-- > 0 && value[1] != CMD_VALUE_END)
        value++;
    print_values(*value, command == &cmd_completion ? "bash" : NULL);
}

/* words follow command's name; the last one is to be completed. */
static int
complete(const CmdCommand *command, const char *const *words, guint n)
{
    guint operands = 0;

    for (guint i = 0; i + 1 < n; i++) {
        const CmdCommand *child;

        if (strcmp(words[i], "--") == 0)
            return 0; /* the guest's command line, or operands that look like options */
        if (words[i][0] == '-') {
            const CmdOption *option = awaits_value(command, words[i]);

            if (option && i + 2 == n) {
                print_values_of(option, words[n - 1]);
                return 0;
            }
            i += option ? 1 : 0;
            continue;
        }
        child = command->children && operands == 0 ? cmd_find(command->children, words[i]) : NULL;
        if (child)
            return complete(child, words + i + 1, n - i - 1);
        if (command->takes_command && operands == command->max_operands)
            return 0;
        operands++;
    }
    if (words[n - 1][0] == '-') {
        const char *equals = strchr(words[n - 1], '=');
        const CmdOption *option = NULL;

        if (equals && g_str_has_prefix(words[n - 1], "--"))
            option = cmd_find_option(command, words[n - 1] + 2, (gsize)(equals - words[n - 1] - 2));
        if (option)
            print_values_of(option, equals + 1);
        else if (!equals)
            print_options(command);
        return 0;
    }
    print_operands(command, operands);
    return 0;
}

int
cmd_complete(const char *const *words, guint index)
{
    guint first = 1;
    const CmdCommand *command;

    if (index == 0)
        return 0;
    while (first < index && words[first][0] == '-')
        first++;
    if (first == index) {
        if (words[index][0] == '-')
            print_options(NULL);
        else
            print_commands(cmd_commands);
        return 0;
    }
    command = cmd_find(cmd_commands, words[first]);
    return command ? complete(command, words + first + 1, index - first) : 0;
}

/* ---- the command ---------------------------------------------------------------------- */

static int
run_completion(const CmdArgs *args)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;
    g_autofree char *text = NULL;

    if (strcmp(args->operands[0], "bash") != 0) {
        ui_error(_("there is no completion for '%s'; there is one for bash"), args->operands[0]);
        return CMD_EXIT_USAGE;
    }
    path = msb_paths_find_data("completions/msb", &error);
    if (!path || !g_file_get_contents(path, &text, NULL, &error))
        return cmd_fail(error);
    fputs(text, stdout);
    return 0;
}

const CmdCommand cmd_completion = {
    .name = "completion",
    .group = CMD_GROUP_OTHER,
    .synopsis = N_("bash"),
    .summary = N_("Print the completion script for a shell"),
    .details = N_("For one session: source <(msb completion bash)"),
    .operands = (const CmdValue[]){CMD_VALUE_WORDS, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = 1,
    .run = run_completion,
};

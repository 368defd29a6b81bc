/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --help of the program and of a command, and --tree. */
#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "ui-message.h"
#include "ui-table.h"
#include "ui-tty.h"

#define INDENT 2
#define HELP_COLUMN 30
#define NARROW 40
#define DEFAULT_COLUMNS 80

static const char *const group_titles[CMD_N_GROUPS] = {
    [CMD_GROUP_SANDBOXES] = N_("Sandboxes"),
    [CMD_GROUP_IMAGES] = N_("Images"),
    [CMD_GROUP_INSTALLATION] = N_("Installation"),
    [CMD_GROUP_OTHER] = N_("Other"),
};

static guint
columns(void)
{
    guint width = ui_tty_columns(STDOUT_FILENO);

    return width >= NARROW ? MIN(width, 100) : DEFAULT_COLUMNS;
}

static void
print_heading(const char *text)
{
    printf(ui_has_colour(STDOUT_FILENO) ? "\n\033[1m%s:\033[0m\n" : "\n%s:\n", text);
}

/* text in lines that begin at column indent; the cursor is there already. Line ends in it are kept. */
static void
print_wrapped(const char *text, guint indent)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (guint i = 0; lines[i]; i++) {
        g_auto(GStrv) words = g_strsplit(lines[i], " ", -1);
        guint used = indent;

        if (i > 0)
            printf("%*s", lines[i][0] ? (int)indent : 0, "");
        for (guint k = 0; words[k]; k++) {
            guint width = ui_text_width(words[k]);

            if (used > indent && used + 1 + width > columns()) {
                printf("\n%*s", (int)indent, "");
                used = indent;
            } else if (k > 0) {
                putchar(' ');
                used++;
            }
            fputs(words[k], stdout);
            used += width;
        }
        putchar('\n');
    }
}

static void
print_entry(const char *left, const char *text)
{
    guint width = ui_text_width(left) + INDENT;

    printf("%*s%s", INDENT, "", left);
    if (width + 2 > HELP_COLUMN)
        printf("\n%*s", HELP_COLUMN, "");
    else
        printf("%*s", (int)(HELP_COLUMN - width), "");
    print_wrapped(text, HELP_COLUMN);
}

static void
print_option(const CmdOption *option)
{
    g_autofree char *left = NULL;

    if (option->letter)
        left = g_strdup_printf("-%c, --%s%s%s", option->letter, option->name, option->arg ? "=" : "",
                               option->arg ? _(option->arg) : "");
    else
        left = g_strdup_printf("    --%s%s%s", option->name, option->arg ? "=" : "",
                               option->arg ? _(option->arg) : "");
    print_entry(left, _(option->help));
}

/* title NULL: go on under the last one. */
static void
print_options(const char *title, const CmdOption *table)
{
    if (title)
        print_heading(title);
    for (; table->name; table++)
        print_option(table);
}

void
cmd_help_program(void)
{
    printf(_("Usage: %s\n"), _("msb [OPTION…] COMMAND …"));
    printf("\n%s\n", _("Runs untrusted code in microVMs, on QEMU and libvirt."));
    for (guint group = 0; group < CMD_GROUP_HIDDEN; group++) {
        print_heading(_(group_titles[group]));
        for (guint i = 0; cmd_commands[i]; i++)
            if (cmd_commands[i]->group == group)
                print_entry(cmd_commands[i]->name, _(cmd_commands[i]->summary));
    }
    print_options(_("Options"), cmd_global_options);
    printf("\n%s\n", _("'msb COMMAND --help' tells more about a command, 'msb --tree' lists all of them."));
}

void
cmd_help_command(const char *full_name, const CmdCommand *command)
{
    g_autofree char *usage = g_strdup_printf("%s %s", full_name, _(command->synopsis));

    printf(_("Usage: %s\n"), g_strchomp(usage));
    putchar('\n');
    print_wrapped(_(command->summary), 0);
    if (command->details) {
        putchar('\n');
        print_wrapped(_(command->details), 0);
    }
    if (command->children) {
        print_heading(_("Commands"));
        for (guint i = 0; command->children[i]; i++)
            print_entry(command->children[i]->name, _(command->children[i]->summary));
    }
    for (guint i = 0; command->options[i]; i++) {
        gboolean describes = command->options[i] == cmd_config_options;

        print_options(describes ? _("Options that describe the sandbox")
                      : i == 0  ? _("Options")
                                : NULL,
                      command->options[i]);
    }
    print_options(_("Options of every command"), cmd_global_options);
}

static void
print_tree(const CmdCommand *const *list, guint depth)
{
    for (guint i = 0; list[i]; i++) {
        if (list[i]->group == CMD_GROUP_HIDDEN)
            continue;
        printf("%*s", (int)(depth * 4), "");
        printf("%-*s %s\n", (int)MAX(4, 24 - (int)depth * 4), list[i]->name, _(list[i]->summary));
        if (list[i]->children)
            print_tree(list[i]->children, depth + 1);
    }
}

void
cmd_help_tree(void)
{
    puts("msb");
    print_tree(cmd_commands, 1);
}

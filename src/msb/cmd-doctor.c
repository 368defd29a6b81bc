/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* doctor: whether this machine has what sandboxes need. */
#include <config.h>

#include <stdio.h>
#include <unistd.h>

#include "cmd.h"
#include "ui-json.h"
#include "ui-message.h"

static char *arg_format;

static const char *
result_word(MsbCheckResult result)
{
    static const char *const words[] = {"ok", "warning", "failed"};

    return words[result];
}

static void
print_json(const GPtrArray *checks)
{
    JsonBuilder *b = ui_json_begin();

    json_builder_begin_array(b);
    for (guint i = 0; i < checks->len; i++) {
        const MsbCheck *check = checks->pdata[i];

        json_builder_begin_object(b);
        ui_json_string(b, "check", check->name);
        ui_json_string(b, "result", result_word(check->result));
        ui_json_string(b, "found", check->found);
        ui_json_string(b, "hint", check->hint);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    ui_json_print(b);
}

static void
print_check(const MsbCheck *check)
{
    static const char *const marks[] = {N_("ok"), N_("warning"), N_("FAILED")};
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[1;31m"};
    g_autofree char *found = ui_clean_text(check->found);

    if (ui_has_colour(STDOUT_FILENO))
        printf("%-12s %s%s\033[0m: %s\n", check->name, colours[check->result], _(marks[check->result]),
               found);
    else
        printf("%-12s %s: %s\n", check->name, _(marks[check->result]), found);
    if (check->hint)
        printf("%-12s %s\n", "", check->hint);
}

static int
run_doctor(const CmdArgs *args G_GNUC_UNUSED)
{
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(GPtrArray) checks = NULL;
    gboolean json = g_strcmp0(arg_format, "json") == 0, failed = FALSE;

    home = cmd_open_home();
    if (!home)
        return CMD_EXIT_FAILURE;
    checks = msb_host_check(home);
    if (json)
        print_json(checks);
    for (guint i = 0; i < checks->len; i++) {
        const MsbCheck *check = checks->pdata[i];

        if (!json)
            print_check(check);
        failed = failed || check->result == MSB_CHECK_FAILED;
    }
    return failed ? CMD_EXIT_FAILURE : 0;
}

static const CmdOption options[] = {
    {"format", 0, CMD_OPTION_STRING, &arg_format, NULL, N_("FORMAT"), N_("table or json"), CMD_VALUE_WORDS,
     "table json"},
    {0},
};

const CmdCommand cmd_doctor = {
    .name = "doctor",
    .group = CMD_GROUP_INSTALLATION,
    .synopsis = N_("[OPTION…]"),
    .summary = N_("Check what sandboxes need on this machine"),
    .details = N_("The exit status is 1 if something is missing without which no sandbox runs."),
    .options = {options},
    .run = run_doctor,
};

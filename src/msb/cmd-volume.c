/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* volume create|ls|inspect|resize|rm|mount: named volumes. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "ui-json.h"
#include "ui-message.h"
#include "ui-table.h"

static char *arg_stat_virt;
static char *arg_kind;
static guint arg_inodes;
static guint64 arg_quota;
static guint64 arg_size;
static gboolean arg_quiet;
static gboolean arg_read_only;

static const CmdValue volumes[] = {CMD_VALUE_VOLUME, CMD_VALUE_END};

/* ---- create and rm ------------------------------------------------------------------ */

static gboolean
create_one(MsbHome *home, const char *name, GError **error)
{
    const MsbQuota quota = {.bytes = arg_quota, .inodes = arg_inodes};
    g_autoptr(MsbVolume) volume = arg_size ? msb_volume_create_disk(home, name, arg_size, error)
                                           : msb_volume_create(home, name, &quota, error);

    return volume != NULL;
}

static int
run_create(const CmdArgs *args)
{
    gboolean disk = g_strcmp0(arg_kind, "disk") == 0;

    if (disk && !arg_size) {
        ui_error(_("a disk has a size: --size"));
        return CMD_EXIT_USAGE;
    }
    if (!disk && arg_size) {
        ui_error(_("--size goes with --kind disk; the limit of a directory is --quota"));
        return CMD_EXIT_USAGE;
    }
    if (disk && (arg_quota || arg_inodes)) {
        ui_error(_("--quota and --inodes go with directories; a disk has its size"));
        return CMD_EXIT_USAGE;
    }
    return cmd_for_operands(args, create_one, arg_quiet);
}

static const CmdOption quiet_options[] = {
    {"quiet", 'q', CMD_OPTION_FLAG, &arg_quiet, NULL, NULL, N_("do not print the names"), CMD_VALUE_ANY,
     NULL},
    {0},
};

static const CmdOption create_options[] = {
    {"kind", 0, CMD_OPTION_STRING, &arg_kind, NULL, N_("KIND"),
     N_("dir, a directory (default), or disk, an image with an ext4 that one sandbox at a time writes"),
     CMD_VALUE_WORDS, "dir disk"},
    {"size", 0, CMD_OPTION_SIZE, &arg_size, NULL, N_("SIZE"), N_("size of a disk, allocated as it is used"),
     CMD_VALUE_ANY, NULL},
    {"quota", 0, CMD_OPTION_SIZE, &arg_quota, NULL, N_("SIZE"),
     N_("what the files may take on the host, all together"), CMD_VALUE_ANY, NULL},
    {"inodes", 0, CMD_OPTION_UINT, &arg_inodes, NULL, N_("N"),
     N_("how many files, directories and links there may be"), CMD_VALUE_ANY, NULL},
    {0},
};

static const CmdCommand volume_create = {
    .name = "create",
    .synopsis = N_("[OPTION…] NAME…"),
    .summary = N_("Make empty volumes"),
    .details = N_("'-v NAME:PATH' makes a volume that is not there by itself."),
    .options = {create_options, quiet_options},
    .operands = (const CmdValue[]){CMD_VALUE_ANY, CMD_VALUE_END},
    .min_operands = 1,
    .max_operands = G_MAXUINT,
    .run = run_create,
};

/* A slash makes it a file, as in -v. */
static gboolean
resize(MsbHome *home, const char *name, gboolean add, guint64 size, GError **error)
{
    return strchr(name, '/') ? msb_disk_image_resize(home, name, add, size, error)
                             : msb_volume_resize(home, name, add, size, error);
}

static int
run_resize(const CmdArgs *args)
{
    const char *text = args->operands[1];
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(GError) error = NULL;
    guint64 size;

    if (!msb_parse_size(text + (*text == '+'), &size, &error)) {
        ui_error("%s", error->message);
        return CMD_EXIT_USAGE;
    }
    home = cmd_open_home();
    if (!home)
        return CMD_EXIT_FAILURE;
    if (!resize(home, args->operands[0], *text == '+', size, &error))
        return cmd_fail(error);
    if (!arg_quiet)
        puts(args->operands[0]);
    return 0;
}

static const CmdCommand volume_resize = {
    .name = "resize",
    .synopsis = N_("[OPTION…] NAME|IMAGE [+]SIZE"),
    .summary = N_("Make a disk volume larger"),
    .details = N_("To SIZE, or with a + by SIZE. A running sandbox that has the volume sees it at once, and its file "
                  "system grows with it; otherwise that grows when a sandbox mounts the volume next. With a slash in "
                  "it, it is the file of a disk image, raw or qcow2."),
    .options = {quiet_options},
    .operands = (const CmdValue[]){CMD_VALUE_VOLUME, CMD_VALUE_ANY, CMD_VALUE_END},
    .min_operands = 2,
    .max_operands = 2,
    .run = run_resize,
};

static int
run_rm(const CmdArgs *args)
{
    return cmd_for_operands(args, msb_volume_remove, arg_quiet);
}

static const CmdCommand volume_rm = {
    .name = "rm",
    .aliases = "remove",
    .synopsis = N_("[OPTION…] NAME…"),
    .summary = N_("Remove volumes with all that is in them"),
    .details = N_("A volume that a sandbox names is kept, whether the sandbox runs or not."),
    .options = {quiet_options},
    .operands = volumes,
    .min_operands = 1,
    .max_operands = G_MAXUINT,
    .run = run_rm,
};

/* ---- ls and inspect -------------------------------------------------------------------- */

/* -1 after having said why. */
static gint64
used_bytes(const MsbVolume *volume, guint64 *files)
{
    g_autoptr(GError) error = NULL;
    guint64 bytes;

    if (msb_volume_measure(volume, &bytes, files, &error))
        return (gint64)bytes;
    ui_warning("%s", error->message);
    return -1;
}

static UiTable *
ls_table(void)
{
    return ui_table_new(_("NAME"), _("KIND"), _("SIZE"), _("CAPACITY"), _("CREATED"), NULL);
}

static void
ls_row(UiTable *table, gpointer volume)
{
    gint64 bytes = used_bytes(volume, NULL);
    g_autofree char *size = bytes < 0 ? g_strdup("-") : cmd_format_size((guint64)bytes);
    guint64 most = msb_volume_get_capacity(volume);
    g_autofree char *capacity = most ? cmd_format_size(most) : g_strdup("-");
    g_autofree char *age = cmd_format_age(msb_volume_get_created(volume));

    ui_table_add(table, msb_volume_get_name(volume), msb_volume_get_kind(volume), size, capacity, age);
}

static void
ls_members(JsonBuilder *b, gpointer volume)
{
    gint64 created = msb_volume_get_created(volume);
    g_autofree char *time = created ? cmd_format_time(created) : NULL;
    const MsbQuota *quota = msb_volume_get_quota(volume);
    guint64 files = 0;
    gint64 bytes = used_bytes(volume, &files);

    ui_json_string(b, "name", msb_volume_get_name(volume));
    ui_json_string(b, "kind", msb_volume_get_kind(volume));
    ui_json_int(b, "used_bytes", bytes);
    if (msb_volume_get_capacity(volume))
        ui_json_int(b, "capacity_bytes", (gint64)msb_volume_get_capacity(volume));
    if (quota->bytes)
        ui_json_int(b, "quota", (gint64)quota->bytes);
    if (quota->inodes)
        ui_json_int(b, "inodes", (gint64)quota->inodes);
    ui_json_int(b, "files", bytes < 0 ? -1 : (gint64)files);
    ui_json_string(b, "created_at", time);
    ui_json_string(b, "path", msb_volume_get_path(volume));
}

static const char *
ls_name(gpointer volume)
{
    return msb_volume_get_name(volume);
}

static int
run_ls(const CmdArgs *args G_GNUC_UNUSED)
{
    static const CmdListing listing = {ls_table, ls_row, ls_members, ls_name, msb_volume_list};

    return cmd_run_list(&listing);
}

static const CmdCommand volume_ls = {
    .name = "ls",
    .aliases = "list",
    .synopsis = N_("[OPTION…]"),
    .summary = N_("List the volumes"),
    .options = {cmd_list_options},
    .run = run_ls,
};

static int
run_inspect(const CmdArgs *args)
{
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(MsbVolume) volume = NULL;
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) users = NULL;
    JsonBuilder *b;

    if (!home)
        return CMD_EXIT_FAILURE;
    volume = msb_volume_lookup(home, args->operands[0], &error);
    if (volume)
        users = msb_volume_dup_users(home, args->operands[0], &error);
    if (!users)
        return cmd_fail(error);
    b = ui_json_begin();
    json_builder_begin_object(b);
    ls_members(b, volume);
    ui_json_strv(b, "sandboxes", (const char *const *)users);
    json_builder_end_object(b);
    ui_json_print(b);
    return 0;
}

static const CmdCommand volume_inspect = {
    .name = "inspect",
    .synopsis = N_("NAME"),
    .summary = N_("Show all that is known of a volume, as JSON"),
    .options = {cmd_inspect_options},
    .operands = volumes,
    .min_operands = 1,
    .max_operands = 1,
    .run = run_inspect,
};

/* ---- mount ---------------------------------------------------------------------------------- */

static int
run_mount(const CmdArgs *args)
{
    MsbStatVirt virt = g_strcmp0(arg_stat_virt, "off") == 0       ? MSB_STAT_VIRT_OFF
                       : g_strcmp0(arg_stat_virt, "relaxed") == 0 ? MSB_STAT_VIRT_RELAXED
                                                                  : MSB_STAT_VIRT_STRICT;
    g_autoptr(MsbHome) home = cmd_open_home();
    g_autoptr(MsbVolume) volume = NULL;
    g_autoptr(GError) error = NULL;

    if (!home)
        return CMD_EXIT_FAILURE;
    volume = msb_volume_lookup(home, args->operands[0], &error);
    if (volume)
        msb_volume_exec_mount(volume, args->operands[1], virt, arg_read_only, &error);
    return cmd_fail(error);
}

static const CmdOption mount_options[] = {
    {"read-only", 'r', CMD_OPTION_FLAG, &arg_read_only, NULL, NULL, N_("refuse every change"), CMD_VALUE_ANY,
     NULL},
    {"stat-virt", 0, CMD_OPTION_STRING, &arg_stat_virt, NULL, N_("MODE"),
     N_("strict, relaxed or off, as it is mounted in sandboxes (default: strict)"), CMD_VALUE_WORDS,
     "strict relaxed off"},
    {0},
};

static const CmdCommand volume_mount = {
    .name = "mount",
    .synopsis = N_("[OPTION…] NAME DIR"),
    .summary = N_("Mount a volume on a directory of this host"),
    .details = N_("Shows the volume with the owners and modes that sandboxes see. Stays until the directory is "
                  "unmounted or it is interrupted. Needs root."),
    .options = {mount_options},
    .operands = (const CmdValue[]){CMD_VALUE_VOLUME, CMD_VALUE_DIR, CMD_VALUE_END},
    .min_operands = 2,
    .max_operands = 2,
    .run = run_mount,
};

const CmdCommand cmd_volume = {
    .name = "volume",
    .aliases = "volumes vol vols",
    .group = CMD_GROUP_SANDBOXES,
    .synopsis = N_("COMMAND …"),
    .summary = N_("Manage named volumes"),
    .children = (const CmdCommand *const[]){&volume_create, &volume_ls, &volume_inspect, &volume_resize, &volume_rm,
                                            &volume_mount, NULL},
};

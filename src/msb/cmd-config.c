/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options that describe a sandbox, shared by run and create. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cmd.h"

#define MAX_ENV_FILE (1024 * 1024)

static char *arg_name;
/* Not given is not the same as 0, which is refused. */
#define NOT_GIVEN G_MAXUINT
#define NO_SIZE G_MAXUINT64

static guint arg_cpus = NOT_GIVEN;
static guint64 arg_memory = NO_SIZE;
static char *arg_workdir;
static char *arg_shell;
static char *arg_user;
static char *arg_hostname;
static char *arg_entrypoint;
static char **arg_labels;
static guint64 arg_root_disk = NO_SIZE;
static char *arg_accel;
static char *arg_pull;
static gboolean arg_replace;
static gint64 arg_replace_timeout = -1;
gboolean cmd_config_quiet;
gboolean cmd_config_timings;

/* In the order they were given, which matters: a later variable replaces an earlier one. */
static GPtrArray *env;
static GPtrArray *mounts; /* of MsbMount */

static gboolean
add_env(const char *name G_GNUC_UNUSED, const char *value, GError **error G_GNUC_UNUSED)
{
    if (!env)
        env = g_ptr_array_new_with_free_func(g_free);
    /* As docker has it: a name alone takes the value from our own environment. */
    if (!strchr(value, '=')) {
        const char *ours = g_getenv(value);

        if (ours)
            g_ptr_array_add(env, g_strdup_printf("%s=%s", value, ours));
        return TRUE;
    }
    g_ptr_array_add(env, g_strdup(value));
    return TRUE;
}

static gboolean
add_env_file(const char *name, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    gsize n;

    if (!g_file_get_contents(path, &text, &n, error))
        return FALSE;
    if (n > MAX_ENV_FILE || memchr(text, '\0', n))
        return msb_error_set(error, MSB_ERROR_INVALID, _("'%s' is not a file of environment variables"),
                             path);
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        const char *line = g_strchug(lines[i]);

        g_strchomp(lines[i]);
        if (line[0] == '\0' || line[0] == '#')
            continue;
        if (!add_env(name, line, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
cmd_find_mount_flag(const char *name, MsbMountFlag *flag)
{
    static const struct {
        const char *name;
        MsbMountFlag flag;
    } flags[] = {
        {"volume", MSB_MOUNT_FLAG_VOLUME},   {"mount-dir", MSB_MOUNT_FLAG_DIR},
        {"mount-file", MSB_MOUNT_FLAG_FILE}, {"mount-named", MSB_MOUNT_FLAG_NAMED},
        {"mount-disk", MSB_MOUNT_FLAG_DISK}, {"tmpfs", MSB_MOUNT_FLAG_TMPFS},
    };

    for (guint i = 0; i < G_N_ELEMENTS(flags); i++)
        if (strcmp(flags[i].name, name) == 0) {
            *flag = flags[i].flag;
            return TRUE;
        }
    return FALSE;
}

static gboolean
add_mount(const char *name, const char *value, GError **error)
{
    MsbMount *mount = NULL;
    MsbMountFlag flag;

    if (cmd_find_mount_flag(name, &flag))
        mount = msb_mount_parse(flag, value, error);
    if (!mount)
        return FALSE;
    if (!mounts)
        mounts = g_ptr_array_new();
    g_ptr_array_add(mounts, mount);
    return TRUE;
}

#define STRING(name, letter, target, arg, help, value)                                                       \
    {                                                                                                        \
        name, letter, CMD_OPTION_STRING, &target, NULL, arg, help, value, NULL                               \
    }
#define MOUNT(name, letter, arg, help)                                                                       \
    {                                                                                                        \
        name, letter, CMD_OPTION_FUNCTION, NULL, add_mount, arg, help, CMD_VALUE_MOUNT, NULL                 \
    }

const CmdOption cmd_config_options[] = {
    STRING("name", 'n', arg_name, N_("NAME"), N_("name the sandbox; with a name it is kept when it ends"),
           CMD_VALUE_ANY),
    {"cpus", 'c', CMD_OPTION_UINT, &arg_cpus, NULL, N_("N"), N_("number of virtual CPUs (default 1)"),
     CMD_VALUE_ANY, NULL},
    {"memory", 'm', CMD_OPTION_SIZE, &arg_memory, NULL, N_("SIZE"),
     N_("memory: a number of MiB, or with a unit such as 1G (default 512M)"), CMD_VALUE_ANY, NULL},
    {"env", 'e', CMD_OPTION_FUNCTION, NULL, add_env, N_("NAME[=VALUE]"),
     N_("set an environment variable; without a value it is passed on from here"), CMD_VALUE_ANY, NULL},
    {"env-file", 0, CMD_OPTION_FUNCTION, NULL, add_env_file, N_("FILE"),
     N_("read environment variables from a file, one per line"), CMD_VALUE_FILE, NULL},
    STRING("workdir", 'w', arg_workdir, N_("DIR"), N_("working directory in the guest"), CMD_VALUE_ANY),
    STRING("user", 'u', arg_user, N_("USER[:GROUP]"), N_("run as this user and group, by name or number"),
           CMD_VALUE_ANY),
    STRING("hostname", 'H', arg_hostname, N_("NAME"),
           N_("host name of the guest (default: from the sandbox's name)"), CMD_VALUE_ANY),
    STRING("shell", 0, arg_shell, N_("PATH"), N_("shell of the guest (default /bin/sh)"), CMD_VALUE_ANY),
    STRING("entrypoint", 0, arg_entrypoint, N_("PATH"),
           N_("run this instead of the image's entry point; the image's default command is dropped then"),
           CMD_VALUE_ANY),
    {"label", 0, CMD_OPTION_STRINGS, &arg_labels, NULL, N_("KEY[=VALUE]"), N_("attach a label (repeatable)"),
     CMD_VALUE_ANY, NULL},
    MOUNT("volume", 'v', N_("SOURCE:DEST[:OPTIONS]"),
          N_("mount a directory or file (a path with a slash) or a named volume")),
    MOUNT("mount-dir", 0, N_("DIR:DEST[:OPTIONS]"), N_("mount a directory of the host")),
    MOUNT("mount-file", 0, N_("FILE:DEST[:OPTIONS]"), N_("mount a single file of the host")),
    MOUNT("mount-named", 0, N_("NAME:DEST[:OPTIONS]"), N_("mount a named volume")),
    MOUNT("mount-disk", 0, N_("IMAGE:DEST[:OPTIONS]"), N_("mount the filesystem of a disk image")),
    {"tmpfs", 0, CMD_OPTION_FUNCTION, NULL, add_mount, N_("DEST[:SIZE][:OPTIONS]"),
     N_("mount an empty filesystem that lives in memory"), CMD_VALUE_MOUNT, NULL},
    {"root-disk", 0, CMD_OPTION_SIZE, &arg_root_disk, NULL, N_("SIZE"),
     N_("how much the sandbox can write on top of its image (default 4G, allocated as it is used)"),
     CMD_VALUE_ANY, NULL},
    {"accel", 0, CMD_OPTION_STRING, &arg_accel, NULL, N_("NAME"),
     N_("kvm or tcg instead of what suits the machine"), CMD_VALUE_WORDS, "kvm tcg"},
    {"pull", 0, CMD_OPTION_STRING, &arg_pull, NULL, N_("WHEN"),
     N_("when to ask the image's registry: if-missing (default), always or never"), CMD_VALUE_WORDS,
     "if-missing always never"},
    {"replace", 0, CMD_OPTION_FLAG, &arg_replace, NULL, NULL,
     N_("stop and remove a sandbox that has this name already"), CMD_VALUE_ANY, NULL},
    {"replace-with-timeout", 0, CMD_OPTION_DURATION, &arg_replace_timeout, NULL, N_("DURATION"),
     N_("the same, and how long the old one has to stop (default 10s, 0 = kill it)"), CMD_VALUE_ANY, NULL},
    {"timings", 0, CMD_OPTION_FLAG, &cmd_config_timings, NULL, NULL,
     N_("say where the time of the start went"), CMD_VALUE_ANY, NULL},
    {"quiet", 'q', CMD_OPTION_FLAG, &cmd_config_quiet, NULL, NULL, N_("no progress and no notes"),
     CMD_VALUE_ANY, NULL},
    {0},
};

const char *
cmd_config_name(void)
{
    return arg_name;
}

gboolean
cmd_config_replace(guint *timeout_ms)
{
    *timeout_ms = arg_replace_timeout >= 0 ? (guint)arg_replace_timeout : CMD_STOP_TIMEOUT_MS;
    return arg_replace || arg_replace_timeout >= 0;
}

MsbPullPolicy
cmd_config_pull(void)
{
    if (g_strcmp0(arg_pull, "always") == 0)
        return MSB_PULL_ALWAYS;
    return g_strcmp0(arg_pull, "never") == 0 ? MSB_PULL_NEVER : MSB_PULL_IF_MISSING;
}

static gboolean
set_resources(MsbConfig *config, GError **error)
{
    if (arg_cpus != NOT_GIVEN)
        msb_config_set_cpus(config, arg_cpus);
    if (arg_memory != NO_SIZE) {
        if (arg_memory % (1024 * 1024))
            return msb_error_set(error, MSB_ERROR_INVALID,
                                 _("the memory of a sandbox is a whole number of MiB"));
        msb_config_set_memory_mib(config, arg_memory >> 20);
    }
    if (arg_root_disk != NO_SIZE)
        msb_config_set_root_disk_bytes(config, arg_root_disk);
    if (arg_accel)
        msb_config_set_accel(config, arg_accel);
    return TRUE;
}

MsbConfig *
cmd_config_build(const char *image, GError **error)
{
    g_autoptr(MsbConfig) config = msb_config_new();

    msb_config_set_name(config, arg_name);
    if (image && !msb_config_parse_image(config, image, error))
        return NULL;
    msb_config_set_ephemeral(config, arg_name == NULL);
    if (!set_resources(config, error))
        return NULL;
    msb_config_set_workdir(config, arg_workdir);
    msb_config_set_user(config, arg_user);
    msb_config_set_hostname(config, arg_hostname);
    if (arg_shell)
        msb_config_set_shell(config, arg_shell);
    if (arg_entrypoint)
        msb_config_set_entrypoint(config, (const char *const[]){arg_entrypoint, NULL});
    for (guint i = 0; env && i < env->len; i++)
        if (!msb_config_add_env(config, env->pdata[i], error))
            return NULL;
    for (guint i = 0; arg_labels && arg_labels[i]; i++)
        if (!msb_config_add_label(config, arg_labels[i], error))
            return NULL;
    for (guint i = 0; mounts && i < mounts->len; i++)
        msb_config_add_mount(config, g_steal_pointer(&mounts->pdata[i]));
    return g_steal_pointer(&config);
}

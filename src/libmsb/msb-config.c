/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration object: what was asked for, kept and given back.  It owns
 * everything in it.  Judging is msb-config-validate.c, reading arguments
 * msb-config-mount.c and msb-config-parse.c, the JSON form msb-config-json.c.
 */
#include <config.h>

#include <string.h>
#include <sys/stat.h>

#include "msb-config-private.h"
#include "msb-error.h"
#include "msb-refs.h"

#define HOSTNAME_MAX 64
#define HOSTNAME_KEEP 55

MsbConfig *
msb_config_new(void)
{
    MsbConfig *config = g_new0(MsbConfig, 1);

    g_atomic_ref_count_init(&config->refs);
    config->cpus = MSB_DEFAULT_CPUS;
    config->memory_mib = MSB_DEFAULT_MEMORY_MIB;
    config->root_disk_bytes = MSB_DEFAULT_ROOT_DISK;
    config->env = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(config->env, NULL);
    config->labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    config->mounts = g_ptr_array_new_with_free_func((GDestroyNotify)msb_mount_free);
    return config;
}

static void
config_free(MsbConfig *config)
{
    g_free(config->name);
    g_free(config->image);
    g_free(config->image_digest);
    g_free(config->root_format);
    g_free(config->root_fstype);
    g_free(config->root_secret_file);
    g_free(config->workdir);
    g_free(config->shell);
    g_free(config->user);
    g_free(config->hostname);
    g_strfreev(config->entrypoint);
    g_strfreev(config->cmd);
    g_ptr_array_unref(config->env);
    g_hash_table_unref(config->labels);
    g_ptr_array_unref(config->mounts);
    g_free(config->accel);
    g_free(config);
}

MSB_DEFINE_REFS(MsbConfig, msb_config, config_free)

static void
set_string(char **field, const char *value)
{
    char *copy = g_strdup(value);

    g_free(*field);
    *field = copy;
}

static void
set_strv(char ***field, const char *const *value)
{
    char **copy = g_strdupv((char **)value);

    g_strfreev(*field);
    *field = copy;
}

void
msb_config_set_name(MsbConfig *config, const char *name)
{
    set_string(&config->name, name);
}

const char *
msb_config_get_name(const MsbConfig *config)
{
    return config->name;
}

/* A path is kept absolute: whoever starts the sandbox later has another working directory. */
void
msb_config_set_image(MsbConfig *config, const char *image)
{
    g_free(config->image);
    if (image && msb_looks_like_path(image))
        config->image = g_canonicalize_filename(image, NULL);
    else
        config->image = g_strdup(image);
}

const char *
msb_config_get_image(const MsbConfig *config)
{
    return config->image;
}

gboolean
msb_config_parse_image(MsbConfig *config, const char *text, GError **error)
{
    g_autoptr(MsbMount) root = NULL;

    if (!msb_looks_like_path(text)) {
        msb_config_set_image(config, text);
        return TRUE;
    }
    root = msb_mount_parse_root(text, error);
    if (!root)
        return FALSE;
    set_string(&config->image, root->source);
    set_string(&config->root_format, root->format);
    set_string(&config->root_fstype, root->fstype);
    config->root_partition = root->partition;
    set_string(&config->root_secret_file, root->secret_file);
    config->root_readonly = root->readonly;
    config->root_detect_zeroes = root->detect_zeroes;
    return TRUE;
}

const char *
msb_config_get_root_format(const MsbConfig *config)
{
    return config->root_format;
}

const char *
msb_config_get_root_fstype(const MsbConfig *config)
{
    return config->root_fstype;
}

guint
msb_config_get_root_partition(const MsbConfig *config)
{
    return config->root_partition;
}

const char *
msb_config_get_root_secret_file(const MsbConfig *config)
{
    return config->root_secret_file;
}

MsbDetectZeroes
msb_config_get_root_detect_zeroes(const MsbConfig *config)
{
    return config->root_detect_zeroes;
}

gboolean
msb_config_get_root_readonly(const MsbConfig *config)
{
    return config->root_readonly;
}

MsbRootKind
msb_config_get_root_kind(const MsbConfig *config)
{
    static const char *const disks[] = { ".qcow2", ".vmdk", ".raw", ".img" };
    struct stat st;
    gsize i;

    if (!config->image || !msb_looks_like_path(config->image))
        return MSB_ROOT_IMAGE;
    if (stat(config->image, &st) == 0)
        return S_ISDIR(st.st_mode) ? MSB_ROOT_BIND : MSB_ROOT_DISK;
    for (i = 0; i < G_N_ELEMENTS(disks); i++) {
        if (g_str_has_suffix(config->image, disks[i]))
            return MSB_ROOT_DISK;
    }
    return MSB_ROOT_BIND;
}

void
msb_config_set_image_digest(MsbConfig *config, const char *digest)
{
    set_string(&config->image_digest, digest);
}

const char *
msb_config_get_image_digest(const MsbConfig *config)
{
    return config->image_digest;
}

void
msb_config_set_cpus(MsbConfig *config, guint cpus)
{
    config->cpus = cpus;
}

guint
msb_config_get_cpus(const MsbConfig *config)
{
    return config->cpus;
}

void
msb_config_set_memory_mib(MsbConfig *config, guint64 mib)
{
    config->memory_mib = mib;
}

guint64
msb_config_get_memory_mib(const MsbConfig *config)
{
    return config->memory_mib;
}

void
msb_config_set_root_disk_bytes(MsbConfig *config, guint64 bytes)
{
    config->root_disk_bytes = bytes;
}

guint64
msb_config_get_root_disk_bytes(const MsbConfig *config)
{
    return config->root_disk_bytes;
}

void
msb_config_set_workdir(MsbConfig *config, const char *workdir)
{
    set_string(&config->workdir, workdir);
}

const char *
msb_config_get_workdir(const MsbConfig *config)
{
    return config->workdir;
}

void
msb_config_set_shell(MsbConfig *config, const char *shell)
{
    set_string(&config->shell, shell);
}

const char *
msb_config_get_shell(const MsbConfig *config)
{
    return config->shell ? config->shell : MSB_DEFAULT_SHELL;
}

void
msb_config_set_user(MsbConfig *config, const char *user)
{
    set_string(&config->user, user);
}

const char *
msb_config_get_user(const MsbConfig *config)
{
    return config->user;
}

void
msb_config_set_hostname(MsbConfig *config, const char *hostname)
{
    set_string(&config->hostname, hostname);
}

char *
msb_config_dup_hostname(const MsbConfig *config)
{
    g_autofree char *digest = NULL;

    if (config->hostname)
        return g_strdup(config->hostname);
    if (!config->name)
        return g_strdup("sandbox");
    if (strlen(config->name) <= HOSTNAME_MAX)
        return g_strdup(config->name);
    digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, config->name, -1);
    return g_strdup_printf("%.*s-%.8s", HOSTNAME_KEEP, config->name, digest);
}

void
msb_config_set_entrypoint(MsbConfig *config, const char *const *argv)
{
    set_strv(&config->entrypoint, argv);
}

const char *const *
msb_config_get_entrypoint(const MsbConfig *config)
{
    return (const char *const *)config->entrypoint;
}

void
msb_config_set_cmd(MsbConfig *config, const char *const *argv)
{
    set_strv(&config->cmd, argv);
}

const char *const *
msb_config_get_cmd(const MsbConfig *config)
{
    return (const char *const *)config->cmd;
}

/* ---- environment, labels, mounts --------------------------------------------- */

gboolean
msb_config_add_env(MsbConfig *config, const char *assignment, GError **error)
{
    const char *equals = strchr(assignment, '=');
    gsize key_len;
    guint i;

    if (!equals)
        return msb_error_set(error, MSB_ERROR_INVALID, "environment '%s' is not KEY=VALUE", assignment);
    key_len = (gsize)(equals - assignment);
    if (!msb_config_check_env_key(assignment, key_len, error))
        return FALSE;
    for (i = 0; i + 1 < config->env->len; i++) {
        const char *old = g_ptr_array_index(config->env, i);

        if (strncmp(old, assignment, key_len + 1) == 0) {
            g_ptr_array_remove_index(config->env, i);
            break;
        }
    }
    g_ptr_array_insert(config->env, (gint)config->env->len - 1, g_strdup(assignment));
    return TRUE;
}

const char *const *
msb_config_get_env(const MsbConfig *config)
{
    return (const char *const *)config->env->pdata;
}

gboolean
msb_config_add_label(MsbConfig *config, const char *label, GError **error)
{
    const char *equals = strchr(label, '=');
    gsize key_len = equals ? (gsize)(equals - label) : strlen(label);

    if (!msb_config_check_label_key(label, key_len, error))
        return FALSE;
    g_hash_table_replace(config->labels, g_strndup(label, key_len), g_strdup(equals ? equals + 1 : ""));
    return TRUE;
}

const char *
msb_config_get_label(const MsbConfig *config, const char *key)
{
    return g_hash_table_lookup(config->labels, key);
}

static gint
compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char **
msb_config_dup_label_keys(const MsbConfig *config)
{
    g_autoptr(GPtrArray) keys = g_ptr_array_new();
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, config->labels);
    while (g_hash_table_iter_next(&iter, &key, NULL))
        g_ptr_array_add(keys, g_strdup(key));
    g_ptr_array_sort(keys, compare_strings);
    g_ptr_array_add(keys, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&keys), FALSE);
}

void
msb_config_add_mount(MsbConfig *config, MsbMount *mount)
{
    g_ptr_array_add(config->mounts, mount);
}

const GPtrArray *
msb_config_get_mounts(const MsbConfig *config)
{
    return config->mounts;
}

void
msb_config_set_ephemeral(MsbConfig *config, gboolean ephemeral)
{
    config->ephemeral = ephemeral;
}

gboolean
msb_config_get_ephemeral(const MsbConfig *config)
{
    return config->ephemeral;
}

void
msb_config_set_accel(MsbConfig *config, const char *accel)
{
    set_string(&config->accel, accel);
}

const char *
msb_config_get_accel(const MsbConfig *config)
{
    return config->accel;
}

void
msb_config_set_created(MsbConfig *config, gint64 created)
{
    config->created = created;
}

gint64
msb_config_get_created(const MsbConfig *config)
{
    return config->created;
}

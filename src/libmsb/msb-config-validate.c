/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All rules of a configuration, one function per matter.  Each says what is
 * wrong with which value; msb_config_validate() stops at the first.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "msb-config-private.h"
#include "msb-error.h"

#define NAME_MAX_BYTES 128
#define HOSTNAME_MAX_BYTES 64
#define USER_MAX_BYTES 256
#define MAX_MOUNTS 64

static gboolean
has_control(const char *text)
{
    for (; *text; text++) {
        if (g_ascii_iscntrl(*text))
            return TRUE;
    }
    return FALSE;
}

gboolean
msb_name_validate(const char *what, const char *name, GError **error)
{
    gsize i, len = name ? strlen(name) : 0;

    if (len == 0)
        return msb_error_set(error, MSB_ERROR_INVALID, "the %s name is empty", what);
    if (len > NAME_MAX_BYTES)
        return msb_error_set(error, MSB_ERROR_INVALID, "%s name '%.20s...' is %" G_GSIZE_FORMAT
                             " bytes long, more than %d", what, name, len, NAME_MAX_BYTES);
    if (!g_ascii_isalnum(name[0]))
        return msb_error_set(error, MSB_ERROR_INVALID, "%s name '%s' does not begin with a letter or digit", what,
                             name);
    for (i = 1; i < len; i++) {
        if (!g_ascii_isalnum(name[i]) && !strchr("._-", name[i]))
            return msb_error_set(error, MSB_ERROR_INVALID,
                                 "%s name '%s' has other characters than letters, digits, '.', '_' and '-'", what,
                                 name);
    }
    return TRUE;
}

gboolean
msb_config_check_env_key(const char *key, gsize len, GError **error)
{
    if (len == 0)
        return msb_error_set(error, MSB_ERROR_INVALID, "an environment variable has no name");
    if (len >= 4 && strncmp(key, "MSB_", 4) == 0)
        return msb_error_set(error, MSB_ERROR_INVALID, "environment variable '%.*s': names with MSB_ are reserved",
                             (int)MIN(len, 64), key);
    return TRUE;
}

gboolean
msb_config_check_label_key(const char *key, gsize len, GError **error)
{
    static const char *const reserved[] = { "sandbox.", "microsandbox.", "service." };
    gsize i;

    if (len == 0)
        return msb_error_set(error, MSB_ERROR_INVALID, "a label has no key");
    for (i = 0; i < G_N_ELEMENTS(reserved); i++) {
        if (len >= strlen(reserved[i]) && strncmp(key, reserved[i], strlen(reserved[i])) == 0)
            return msb_error_set(error, MSB_ERROR_INVALID, "label '%.*s': keys with '%s' are reserved",
                                 (int)MIN(len, 64), key, reserved[i]);
    }
    return TRUE;
}

/* ---- parts ------------------------------------------------------------------------- */

static gboolean
check_resources(const MsbConfig *c, GError **error)
{
    if (c->cpus < 1 || c->cpus > MSB_MAX_CPUS)
        return msb_error_set(error, MSB_ERROR_INVALID, "%u CPUs: a sandbox has 1 to %d", c->cpus, MSB_MAX_CPUS);
    if (c->memory_mib < MSB_MIN_MEMORY_MIB || c->memory_mib > MSB_MAX_MEMORY_MIB)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "%" G_GUINT64_FORMAT " MiB of memory: a sandbox has %d MiB to %d TiB", c->memory_mib,
                             MSB_MIN_MEMORY_MIB, (int)(MSB_MAX_MEMORY_MIB >> 20));
    if (c->root_disk_bytes < MSB_MIN_DISK || c->root_disk_bytes > MSB_MAX_DISK)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "root disk of %" G_GUINT64_FORMAT " bytes: it has 16 MiB to 15 TiB",
                             c->root_disk_bytes);
    if (c->accel && !g_str_equal(c->accel, "kvm") && !g_str_equal(c->accel, "tcg"))
        return msb_error_set(error, MSB_ERROR_INVALID, "accelerator '%s' is neither kvm nor tcg", c->accel);
    return TRUE;
}

static gboolean
check_hostname(const char *name, GError **error)
{
    const char *p;

    if (!*name || strlen(name) > HOSTNAME_MAX_BYTES)
        return msb_error_set(error, MSB_ERROR_INVALID, "host name '%s' is not 1 to %d bytes long", name,
                             HOSTNAME_MAX_BYTES);
    for (p = name; *p; p++) {
        if (!g_ascii_isalnum(*p) && !strchr("._-", *p))
            return msb_error_set(error, MSB_ERROR_INVALID,
                                 "host name '%s' has other characters than letters, digits, '.', '_' and '-'", name);
    }
    if (!g_ascii_isalnum(name[0]))
        return msb_error_set(error, MSB_ERROR_INVALID, "host name '%s' does not begin with a letter or digit", name);
    return TRUE;
}

static gboolean
check_user(const char *user, GError **error)
{
    const char *colon = strchr(user, ':');

    if (!*user || strlen(user) > USER_MAX_BYTES || user[0] == ':' || (colon && (!colon[1] || strchr(colon + 1, ':'))) ||
        has_control(user) || strpbrk(user, " /"))
        return msb_error_set(error, MSB_ERROR_INVALID, "user '%s' is not USER or USER:GROUP", user);
    return TRUE;
}

static gboolean
check_argv(const char *what, char **argv, GError **error)
{
    if (argv && argv[0] && !argv[0][0])
        return msb_error_set(error, MSB_ERROR_INVALID, "the %s is an empty word", what);
    return TRUE;
}

static gboolean
check_runtime(const MsbConfig *c, GError **error)
{
    if (c->workdir && c->workdir[0] != '/')
        return msb_error_set(error, MSB_ERROR_INVALID, "working directory '%s' is not an absolute path", c->workdir);
    if (c->shell && (!*c->shell || g_str_equal(c->shell, "/") || has_control(c->shell) || strchr(c->shell, ' ')))
        return msb_error_set(error, MSB_ERROR_INVALID, "shell '%s' is not the path of a program", c->shell);
    if (c->user && !check_user(c->user, error))
        return FALSE;
    if (c->hostname && !check_hostname(c->hostname, error))
        return FALSE;
    return check_argv("entry point", c->entrypoint, error) && check_argv("command", c->cmd, error);
}

static gboolean
check_env_and_labels(const MsbConfig *c, GError **error)
{
    GHashTableIter iter;
    gpointer key;
    guint i;

    for (i = 0; i + 1 < c->env->len; i++) {
        const char *item = g_ptr_array_index(c->env, i);
        const char *equals = strchr(item, '=');

        if (!equals)
            return msb_error_set(error, MSB_ERROR_INVALID, "environment '%s' is not KEY=VALUE", item);
        if (!msb_config_check_env_key(item, (gsize)(equals - item), error))
            return FALSE;
    }
    g_hash_table_iter_init(&iter, c->labels);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (!msb_config_check_label_key(key, strlen(key), error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
is_share(const MsbMount *m)
{
    return m->kind == MSB_MOUNT_DIR || m->kind == MSB_MOUNT_FILE ||
           (m->kind == MSB_MOUNT_NAMED && !m->volume_is_disk);
}

static gboolean
mount_fails(const MsbMount *m, GError **error, const char *why)
{
    return msb_error_set(error, MSB_ERROR_INVALID, "mount on '%s': %s", m->target ? m->target : "", why);
}

static gboolean
check_mount_source(const MsbMount *m, GError **error)
{
    if (!m->source)
        return mount_fails(m, error, "it has no source");
    switch (m->kind) {
    case MSB_MOUNT_TMPFS:
        return !*m->source || mount_fails(m, error, "a tmpfs has no source");
    case MSB_MOUNT_NAMED:
        return msb_name_validate("volume", m->source, error);
    case MSB_MOUNT_DIR:
    case MSB_MOUNT_FILE:
    case MSB_MOUNT_DISK:
        break;
    }
    return m->source[0] == '/' || mount_fails(m, error, "the source is not an absolute path");
}

static gboolean
check_mount_options(const MsbMount *m, GError **error)
{
    gboolean sized = m->kind == MSB_MOUNT_TMPFS || (m->kind == MSB_MOUNT_NAMED && m->volume_is_disk);

    if (m->size && !sized)
        return mount_fails(m, error, "a size goes with a tmpfs or a volume of kind=disk");
    if (m->size && m->kind == MSB_MOUNT_NAMED && (m->size < MSB_MIN_DISK || m->size > MSB_MAX_DISK))
        return mount_fails(m, error, "a disk volume has 16 MiB to 15 TiB");
    if ((m->quota.bytes || m->quota.inodes) && (!is_share(m) || m->kind == MSB_MOUNT_FILE))
        return mount_fails(m, error, "a quota goes with directories");
    if (!is_share(m) && (m->stat_virt != MSB_STAT_VIRT_STRICT || m->host_perms != MSB_HOST_PERMS_PRIVATE ||
                         m->cache != MSB_CACHE_AUTO || m->no_xattr || m->uid >= 0 || m->gid >= 0))
        return mount_fails(m, error,
                           "stat-virt, host-perms, cache, xattr, uid and gid go with shared directories and files");
    if (m->stat_virt == MSB_STAT_VIRT_OFF && m->host_perms == MSB_HOST_PERMS_MIRROR)
        return mount_fails(m, error, "host-perms=mirror has no meaning with stat-virt=off");
    if (m->stat_virt == MSB_STAT_VIRT_OFF && m->uid >= 0)
        return mount_fails(m, error, "uid and gid have no meaning with stat-virt=off, which shows the host's owners");
    if ((m->uid < 0) != (m->gid < 0))
        return mount_fails(m, error, "uid and gid go together");
    if ((m->format || m->fstype || m->partition || m->secret_file || m->detect_zeroes) && m->kind != MSB_MOUNT_DISK)
        return mount_fails(m, error, "format, fstype, partition, secret-file and detect-zeroes go with disk images");
    if (m->detect_zeroes && m->readonly)
        return mount_fails(m, error, "detect-zeroes has no meaning with ro");
    if (m->kind != MSB_MOUNT_NAMED && (m->volume_is_disk || m->volume_kind_given))
        return mount_fails(m, error, "kind goes with named volumes");
    return TRUE;
}

static gboolean
check_disk(const MsbMount *m, GError **error)
{
    g_autofree char *where = g_strdup_printf("mount on '%s'", m->target);

    return m->kind != MSB_MOUNT_DISK ||
           msb_disk_validate(where, m->format, m->source, m->secret_file, m->readonly, error);
}

static gboolean
check_mount(const MsbMount *m, GError **error)
{
    g_autofree char *target = NULL;
    g_autoptr(GError) local = NULL;

    if (!m->target)
        return mount_fails(m, error, "it has no target");
    target = msb_mount_normalize_target(m->target, &local);
    if (!target)
        return mount_fails(m, error, local->message);
    if (!g_str_equal(target, m->target))
        return mount_fails(m, error, "the path is not in its normal form");
    if (g_str_equal(target, "/.msb") || g_str_has_prefix(target, "/.msb/"))
        return mount_fails(m, error, "/.msb belongs to msb");
    return check_mount_source(m, error) && check_mount_options(m, error) &&
           check_disk(m, error);
}

/* Both paths lead to one file; links are followed where they can be. */
static gboolean
same_image(const char *a, const char *b)
{
    g_autofree char *x = realpath(a, NULL);
    g_autofree char *y = realpath(b, NULL);

    return g_str_equal(x ? x : a, y ? y : b);
}

static gboolean
check_two_mounts(const MsbMount *a, const MsbMount *b, GError **error)
{
    gsize len = strlen(a->target);

    if (g_str_equal(a->target, b->target))
        return msb_error_set(error, MSB_ERROR_INVALID, "two mounts on '%s'", a->target);
    if (a->kind == MSB_MOUNT_FILE && strncmp(a->target, b->target, len) == 0 && b->target[len] == '/')
        return msb_error_set(error, MSB_ERROR_INVALID, "mount on '%s' is below '%s', which is a file", b->target,
                             a->target);
    if (a->kind == MSB_MOUNT_NAMED && b->kind == MSB_MOUNT_NAMED && a->volume_is_disk && b->volume_is_disk &&
        g_str_equal(a->source, b->source))
        return msb_error_set(error, MSB_ERROR_INVALID, "disk volume '%s' is mounted twice, on '%s' and on '%s'",
                             a->source, a->target, b->target);
    if (a->kind == MSB_MOUNT_DISK && b->kind == MSB_MOUNT_DISK && same_image(a->source, b->source))
        return msb_error_set(error, MSB_ERROR_INVALID, "disk image '%s' is mounted twice, on '%s' and on '%s'",
                             a->source, a->target, b->target);
    return TRUE;
}

static gboolean
check_mounts(const MsbConfig *c, GError **error)
{
    guint i, j;

    if (c->mounts->len > MAX_MOUNTS)
        return msb_error_set(error, MSB_ERROR_INVALID, "%u mounts, more than %d", c->mounts->len, MAX_MOUNTS);
    for (i = 0; i < c->mounts->len; i++) {
        if (!check_mount(g_ptr_array_index(c->mounts, i), error))
            return FALSE;
    }
    for (i = 0; i < c->mounts->len; i++) {
        for (j = 0; j < c->mounts->len; j++) {
            if (i != j && !check_two_mounts(g_ptr_array_index(c->mounts, i), g_ptr_array_index(c->mounts, j), error))
                return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_root(const MsbConfig *c, GError **error)
{
    guint i;

    if (msb_config_get_root_kind(c) != MSB_ROOT_DISK) {
        if (!c->root_format && !c->root_fstype && !c->root_partition && !c->root_secret_file && !c->root_readonly &&
            !c->root_detect_zeroes)
            return TRUE;
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "image '%s': format, fstype, partition, secret-file, detect-zeroes and ro go with disk "
                             "images", c->image);
    }
    if (c->root_detect_zeroes && c->root_readonly)
        return msb_error_set(error, MSB_ERROR_INVALID, "root disk: detect-zeroes has no meaning with ro");
    for (i = 0; i < c->mounts->len; i++) {
        const MsbMount *m = g_ptr_array_index(c->mounts, i);

        if (m->kind == MSB_MOUNT_DISK && same_image(m->source, c->image))
            return msb_error_set(error, MSB_ERROR_INVALID, "disk image '%s' is the root already, and mounted on '%s'",
                                 m->source, m->target);
    }
    return msb_disk_validate("root disk", c->root_format, c->image, c->root_secret_file, c->root_readonly, error);
}

gboolean
msb_config_validate(const MsbConfig *config, GError **error)
{
    if (!msb_name_validate("sandbox", config->name, error))
        return FALSE;
    if (!config->image || !*config->image)
        return msb_error_set(error, MSB_ERROR_INVALID, "sandbox '%s' has no image", config->name);
    return check_resources(config, error) && check_runtime(config, error) && check_env_and_labels(config, error) &&
           check_mounts(config, error) && check_root(config, error);
}

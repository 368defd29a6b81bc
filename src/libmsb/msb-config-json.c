/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The JSON form of a configuration, the file sandboxes/<name>/config.json.
 * Members at their default are left out; members that are not known are an
 * error, so that a misspelt one is not silently ignored.
 *
 *   { "version": 1, "name", "image", "image_digest", "created" (ISO 8601),
 *     "root": { "format", "fstype", "partition", "secret_file", "readonly", "detect_zeroes" } (of a disk image),
 *     "resources": { "cpus", "memory_mib", "root_disk_bytes", "accel" },
 *     "runtime": { "workdir", "shell", "user", "hostname", "entrypoint" [], "cmd" [] },
 *     "env": [ { "key", "value" } ], "labels": { key: value },
 *     "mounts": [ { "kind", "source", "target", ... } ], "lifecycle": { "ephemeral" } }
 */
#include <config.h>

#include <string.h>

#include "msb-config-private.h"
#include "msb-error.h"
#include "msb-json.h"

#define MAX_LIST 4096

static const char *const mount_kinds[] = { "dir", "file", "named", "disk", "tmpfs", NULL };
static const char *const stat_virts[] = { "strict", "relaxed", "off", NULL };
static const char *const host_perms[] = { "private", "mirror", NULL };
static const char *const caches[] = { "auto", "none", "always", NULL };
static const char *const detect_zeroes[] = { "off", "on", "unmap", NULL };
static const char *const volume_kinds[] = { "dir", "disk", NULL };

/* ---- writing ----------------------------------------------------------------------- */

static void
add_string(JsonBuilder *b, const char *key, const char *value)
{
    if (!value)
        return;
    json_builder_set_member_name(b, key);
    json_builder_add_string_value(b, value);
}

static void
add_int(JsonBuilder *b, const char *key, gint64 value)
{
    json_builder_set_member_name(b, key);
    json_builder_add_int_value(b, value);
}

static void
add_true(JsonBuilder *b, const char *key, gboolean value)
{
    if (!value)
        return;
    json_builder_set_member_name(b, key);
    json_builder_add_boolean_value(b, TRUE);
}

static void
add_false(JsonBuilder *b, const char *key, gboolean value)
{
    if (value)
        return;
    json_builder_set_member_name(b, key);
    json_builder_add_boolean_value(b, FALSE);
}

static void
add_strv(JsonBuilder *b, const char *key, char **values)
{
    if (!values)
        return;
    json_builder_set_member_name(b, key);
    json_builder_begin_array(b);
    for (; *values; values++)
        json_builder_add_string_value(b, *values);
    json_builder_end_array(b);
}

static void
add_mount(JsonBuilder *b, const MsbMount *m)
{
    json_builder_begin_object(b);
    add_string(b, "kind", mount_kinds[m->kind]);
    add_string(b, "source", m->source);
    add_string(b, "target", m->target);
    add_true(b, "readonly", m->readonly);
    add_true(b, "noexec", m->noexec);
    add_true(b, "nosuid", m->nosuid);
    add_true(b, "nodev", m->nodev);
    if (m->stat_virt != MSB_STAT_VIRT_STRICT)
        add_string(b, "stat_virt", stat_virts[m->stat_virt]);
    if (m->host_perms != MSB_HOST_PERMS_PRIVATE)
        add_string(b, "host_perms", host_perms[m->host_perms]);
    if (m->uid >= 0)
        add_int(b, "uid", m->uid);
    if (m->gid >= 0)
        add_int(b, "gid", m->gid);
    if (m->size)
        add_int(b, "size", (gint64)m->size);
    if (m->quota.bytes)
        add_int(b, "quota", (gint64)m->quota.bytes);
    if (m->quota.inodes)
        add_int(b, "inodes", (gint64)m->quota.inodes);
    if (m->cache != MSB_CACHE_AUTO)
        add_string(b, "cache", caches[m->cache]);
    add_false(b, "xattr", !m->no_xattr);
    if (m->volume_kind_given)
        add_string(b, "volume_kind", volume_kinds[m->volume_is_disk ? 1 : 0]);
    add_string(b, "format", m->format);
    add_string(b, "fstype", m->fstype);
    if (m->partition)
        add_int(b, "partition", m->partition);
    add_string(b, "secret_file", m->secret_file);
    if (m->detect_zeroes != MSB_DETECT_ZEROES_OFF)
        add_string(b, "detect_zeroes", detect_zeroes[m->detect_zeroes]);
    json_builder_end_object(b);
}

static void
add_env(JsonBuilder *b, const MsbConfig *c)
{
    guint i;

    json_builder_set_member_name(b, "env");
    json_builder_begin_array(b);
    for (i = 0; i + 1 < c->env->len; i++) {
        const char *item = g_ptr_array_index(c->env, i);
        const char *equals = strchr(item, '=');
        g_autofree char *key = g_strndup(item, (gsize)(equals - item));

        json_builder_begin_object(b);
        add_string(b, "key", key);
        add_string(b, "value", equals + 1);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

static void
add_labels(JsonBuilder *b, const MsbConfig *c)
{
    g_auto(GStrv) keys = msb_config_dup_label_keys(c);
    guint i;

    json_builder_set_member_name(b, "labels");
    json_builder_begin_object(b);
    for (i = 0; keys[i]; i++)
        add_string(b, keys[i], msb_config_get_label(c, keys[i]));
    json_builder_end_object(b);
}

static void
add_root(JsonBuilder *b, const MsbConfig *c)
{
    if (!c->root_format && !c->root_fstype && !c->root_partition && !c->root_secret_file && !c->root_readonly &&
        c->root_detect_zeroes == MSB_DETECT_ZEROES_OFF)
        return;
    json_builder_set_member_name(b, "root");
    json_builder_begin_object(b);
    add_string(b, "format", c->root_format);
    add_string(b, "fstype", c->root_fstype);
    if (c->root_partition)
        add_int(b, "partition", c->root_partition);
    add_string(b, "secret_file", c->root_secret_file);
    if (c->root_detect_zeroes != MSB_DETECT_ZEROES_OFF)
        add_string(b, "detect_zeroes", detect_zeroes[c->root_detect_zeroes]);
    add_true(b, "readonly", c->root_readonly);
    json_builder_end_object(b);
}

static void
add_created(JsonBuilder *b, gint64 created)
{
    g_autoptr(GDateTime) seconds = NULL;
    g_autofree char *text = NULL, *whole = NULL;

    if (!created)
        return;
    seconds = g_date_time_new_from_unix_utc(created / G_USEC_PER_SEC);
    if (!seconds)
        return;
    whole = g_date_time_format(seconds, "%Y-%m-%dT%H:%M:%S");
    text = g_strdup_printf("%s.%06dZ", whole, (int)(created % G_USEC_PER_SEC));
    add_string(b, "created", text);
}

JsonNode *
msb_config_to_json(const MsbConfig *config)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    guint i;

    json_builder_begin_object(b);
    add_int(b, "version", MSB_CONFIG_VERSION);
    add_string(b, "name", config->name);
    add_string(b, "image", config->image);
    add_string(b, "image_digest", config->image_digest);
    add_created(b, config->created);
    add_root(b, config);

    json_builder_set_member_name(b, "resources");
    json_builder_begin_object(b);
    add_int(b, "cpus", config->cpus);
    add_int(b, "memory_mib", (gint64)config->memory_mib);
    add_int(b, "root_disk_bytes", (gint64)config->root_disk_bytes);
    add_string(b, "accel", config->accel);
    json_builder_end_object(b);

    json_builder_set_member_name(b, "runtime");
    json_builder_begin_object(b);
    add_string(b, "workdir", config->workdir);
    add_string(b, "shell", config->shell);
    add_string(b, "user", config->user);
    add_string(b, "hostname", config->hostname);
    add_strv(b, "entrypoint", config->entrypoint);
    add_strv(b, "cmd", config->cmd);
    json_builder_end_object(b);

    add_env(b, config);
    add_labels(b, config);
    json_builder_set_member_name(b, "mounts");
    json_builder_begin_array(b);
    for (i = 0; i < config->mounts->len; i++)
        add_mount(b, g_ptr_array_index(config->mounts, i));
    json_builder_end_array(b);

    json_builder_set_member_name(b, "lifecycle");
    json_builder_begin_object(b);
    json_builder_set_member_name(b, "ephemeral");
    json_builder_add_boolean_value(b, config->ephemeral);
    json_builder_end_object(b);
    json_builder_end_object(b);
    return json_builder_get_root(b);
}

/* ---- reading ----------------------------------------------------------------------- */

static MsbMount *
read_mount(JsonNode *node, const char *where, GError **error)
{
    g_autoptr(MsbMount) m = g_new0(MsbMount, 1);
    MsbJsonReader r;
    int kind, volume_kind;

    msb_json_reader_begin(&r, node, where);
    kind = msb_json_get_choice(&r, "kind", mount_kinds, -1);
    if (kind < 0)
        msb_json_reader_fail(&r, "'kind' is missing");
    m->kind = (MsbMountKind)MAX(kind, 0);
    m->source = g_strdup(msb_json_get_string(&r, "source"));
    m->target = g_strdup(msb_json_get_string(&r, "target"));
    m->readonly = msb_json_get_boolean(&r, "readonly", FALSE);
    m->noexec = msb_json_get_boolean(&r, "noexec", FALSE);
    m->nosuid = msb_json_get_boolean(&r, "nosuid", FALSE);
    m->nodev = msb_json_get_boolean(&r, "nodev", FALSE);
    m->stat_virt = (MsbStatVirt)msb_json_get_choice(&r, "stat_virt", stat_virts, MSB_STAT_VIRT_STRICT);
    m->host_perms = (MsbHostPerms)msb_json_get_choice(&r, "host_perms", host_perms, MSB_HOST_PERMS_PRIVATE);
    m->uid = msb_json_get_int(&r, "uid", -1, 0, G_MAXUINT32 - 1);
    m->gid = msb_json_get_int(&r, "gid", -1, 0, G_MAXUINT32 - 1);
    m->size = (guint64)msb_json_get_int(&r, "size", 0, 0, G_MAXINT64);
    m->quota.bytes = (guint64)msb_json_get_int(&r, "quota", 0, 0, G_MAXINT64);
    m->quota.inodes = (guint64)msb_json_get_int(&r, "inodes", 0, 0, G_MAXINT64);
    m->cache = (MsbCache)msb_json_get_choice(&r, "cache", caches, MSB_CACHE_AUTO);
    m->no_xattr = !msb_json_get_boolean(&r, "xattr", TRUE);
    volume_kind = msb_json_get_choice(&r, "volume_kind", volume_kinds, -1);
    m->volume_kind_given = volume_kind >= 0;
    m->volume_is_disk = volume_kind == 1;
    m->format = g_strdup(msb_json_get_string(&r, "format"));
    m->fstype = g_strdup(msb_json_get_string(&r, "fstype"));
    m->partition = (guint)msb_json_get_int(&r, "partition", 0, 0, MSB_MAX_PARTITION);
    m->secret_file = g_strdup(msb_json_get_string(&r, "secret_file"));
    m->detect_zeroes = (MsbDetectZeroes)msb_json_get_choice(&r, "detect_zeroes", detect_zeroes, MSB_DETECT_ZEROES_OFF);
    if (!m->source || !m->target)
        msb_json_reader_fail(&r, "'source' or 'target' is missing");
    return msb_json_reader_end(&r, error) ? g_steal_pointer(&m) : NULL;
}

static gboolean
read_mounts(MsbConfig *c, JsonArray *array, GError **error)
{
    guint i, n = array ? json_array_get_length(array) : 0;

    if (n > MAX_LIST)
        return msb_error_set(error, MSB_ERROR_INVALID, "config: %u mounts", n);
    for (i = 0; i < n; i++) {
        g_autofree char *where = g_strdup_printf("config: mount %u", i + 1);
        MsbMount *m = read_mount(json_array_get_element(array, i), where, error);

        if (!m)
            return FALSE;
        msb_config_add_mount(c, m);
    }
    return TRUE;
}

static gboolean
read_env(MsbConfig *c, JsonArray *array, GError **error)
{
    guint i, n = array ? json_array_get_length(array) : 0;

    if (n > MAX_LIST)
        return msb_error_set(error, MSB_ERROR_INVALID, "config: %u environment variables", n);
    for (i = 0; i < n; i++) {
        g_autofree char *where = g_strdup_printf("config: env %u", i + 1);
        g_autofree char *assignment = NULL;
        const char *key, *value;
        MsbJsonReader r;

        msb_json_reader_begin(&r, json_array_get_element(array, i), where);
        key = msb_json_get_string(&r, "key");
        value = msb_json_get_string(&r, "value");
        if (!key || strchr(key, '='))
            msb_json_reader_fail(&r, "'key' is missing or has '=' in it");
        if (!msb_json_reader_end(&r, error))
            return FALSE;
        assignment = g_strdup_printf("%s=%s", key, value ? value : "");
        if (!msb_config_add_env(c, assignment, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
read_labels(MsbConfig *c, JsonObject *object, GError **error)
{
    JsonObjectIter iter;
    const char *key;
    JsonNode *node;

    if (!object)
        return TRUE;
    json_object_iter_init(&iter, object);
    while (json_object_iter_next(&iter, &key, &node)) {
        if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
            return msb_error_set(error, MSB_ERROR_INVALID, "config: label '%s' is not a string", key);
        if (strchr(key, '='))
            return msb_error_set(error, MSB_ERROR_INVALID, "config: label '%s' has '=' in it", key);
        if (!msb_config_check_label_key(key, strlen(key), error))
            return FALSE;
        g_hash_table_replace(c->labels, g_strdup(key), g_strdup(json_node_get_string(node)));
    }
    return TRUE;
}

static gboolean
read_root(MsbConfig *c, JsonNode *node, GError **error)
{
    MsbJsonReader r;

    msb_json_reader_begin(&r, node, "config: root");
    g_free(c->root_format);
    c->root_format = g_strdup(msb_json_get_string(&r, "format"));
    g_free(c->root_fstype);
    c->root_fstype = g_strdup(msb_json_get_string(&r, "fstype"));
    c->root_partition = (guint)msb_json_get_int(&r, "partition", 0, 0, MSB_MAX_PARTITION);
    g_free(c->root_secret_file);
    c->root_secret_file = g_strdup(msb_json_get_string(&r, "secret_file"));
    c->root_readonly = msb_json_get_boolean(&r, "readonly", FALSE);
    c->root_detect_zeroes =
        (MsbDetectZeroes)msb_json_get_choice(&r, "detect_zeroes", detect_zeroes, MSB_DETECT_ZEROES_OFF);
    return msb_json_reader_end(&r, error);
}

static gboolean
read_resources(MsbConfig *c, JsonNode *node, GError **error)
{
    MsbJsonReader r;

    msb_json_reader_begin(&r, node, "config: resources");
    c->cpus = (guint)msb_json_get_int(&r, "cpus", c->cpus, 0, G_MAXINT);
    c->memory_mib = (guint64)msb_json_get_int(&r, "memory_mib", (gint64)c->memory_mib, 0, G_MAXINT64);
    c->root_disk_bytes = (guint64)msb_json_get_int(&r, "root_disk_bytes", (gint64)c->root_disk_bytes, 0, G_MAXINT64);
    msb_config_set_accel(c, msb_json_get_string(&r, "accel"));
    return msb_json_reader_end(&r, error);
}

static gboolean
read_runtime(MsbConfig *c, JsonNode *node, GError **error)
{
    MsbJsonReader r;

    msb_json_reader_begin(&r, node, "config: runtime");
    msb_config_set_workdir(c, msb_json_get_string(&r, "workdir"));
    msb_config_set_shell(c, msb_json_get_string(&r, "shell"));
    msb_config_set_user(c, msb_json_get_string(&r, "user"));
    msb_config_set_hostname(c, msb_json_get_string(&r, "hostname"));
    c->entrypoint = msb_json_dup_strv(&r, "entrypoint");
    c->cmd = msb_json_dup_strv(&r, "cmd");
    return msb_json_reader_end(&r, error);
}

static gboolean
read_lifecycle(MsbConfig *c, JsonNode *node, GError **error)
{
    MsbJsonReader r;

    msb_json_reader_begin(&r, node, "config: lifecycle");
    c->ephemeral = msb_json_get_boolean(&r, "ephemeral", FALSE);
    return msb_json_reader_end(&r, error);
}

static void
read_created(MsbConfig *c, MsbJsonReader *r)
{
    const char *text = msb_json_get_string(r, "created");
    g_autoptr(GDateTime) when = NULL;

    if (!text)
        return;
    when = g_date_time_new_from_iso8601(text, NULL);
    if (!when || g_date_time_to_unix(when) < 0) {
        msb_json_reader_fail(r, "'created' is '%s', which is not a time since 1970", text);
        return;
    }
    c->created = g_date_time_to_unix(when) * G_USEC_PER_SEC + g_date_time_get_microsecond(when);
}

typedef gboolean (*ReadSection)(MsbConfig *c, JsonNode *node, GError **error);

static gboolean
read_section(MsbConfig *c, MsbJsonReader *r, const char *key, ReadSection read, GError **error)
{
    if (!msb_json_get_object(r, key))
        return TRUE;
    return read(c, json_object_get_member(r->object, key), error);
}

MsbConfig *
msb_config_from_json(JsonNode *node, GError **error)
{
    g_autoptr(MsbConfig) c = msb_config_new();
    g_autoptr(GError) local = NULL;
    MsbJsonReader r;
    gboolean good;

    msb_json_reader_begin(&r, node, "config");
    if (msb_json_get_int(&r, "version", 0, 1, G_MAXINT64) != MSB_CONFIG_VERSION)
        msb_json_reader_fail(&r, "'version' is missing or not %d", MSB_CONFIG_VERSION);
    msb_config_set_name(c, msb_json_get_string(&r, "name"));
    msb_config_set_image(c, msb_json_get_string(&r, "image"));
    msb_config_set_image_digest(c, msb_json_get_string(&r, "image_digest"));
    read_created(c, &r);
    good = read_section(c, &r, "root", read_root, &local) &&
           read_section(c, &r, "resources", read_resources, &local) &&
           read_section(c, &r, "runtime", read_runtime, &local) &&
           read_section(c, &r, "lifecycle", read_lifecycle, &local) &&
           read_env(c, msb_json_get_array(&r, "env"), &local) &&
           read_labels(c, msb_json_get_object(&r, "labels"), &local) &&
           read_mounts(c, msb_json_get_array(&r, "mounts"), &local);
    if (!good) {
        (void)msb_json_reader_end(&r, NULL);
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    return msb_json_reader_end(&r, error) ? g_steal_pointer(&c) : NULL;
}

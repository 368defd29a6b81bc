/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * $MSB_HOME/config.json, written by users:
 *
 *   { "limits":     { "layer_bytes", "image_bytes", "layer_entries", "layer_ratio", "layer_ratio_after" },
 *     "transfers":  { "stall_seconds", "connect_seconds", "retries", "parallel" },
 *     "registries": { "ca_certs", "hosts": { HOST: { "mirrors": [ ADDRESS... ], "ca_certs", "insecure" } } } }
 *
 * All of it may be missing.  Other members of the outermost object belong to
 * somebody else; below, one that is not known is an error, as a limit whose
 * name is misspelt would be no limit.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "mb-io.h"
#include "msb-error.h"
#include "msb-json.h"
#include "msb-settings.h"

#define MAX_SIZE (1024 * 1024)
#define MAX_SECONDS 86400
#define MAX_RETRIES 100
#define MAX_PARALLEL 64
#define MAX_MIRRORS 16

static char *no_mirrors[] = {NULL};
static const MsbHostSettings default_host = {.mirrors = no_mirrors};

static const MsbSettings defaults = {
    .limits =
        {
            .layer_bytes = (guint64)64 << 30,
            .image_bytes = (guint64)256 << 30,
            .layer_entries = 2000000,
            .layer_ratio = 1100, /* nothing honest shrinks by more than gzip can (1032:1) for long */
            .layer_ratio_after = (guint64)1 << 30,
        },
    .stall_seconds = 30,
    .connect_seconds = 20,
    .retries = 5,
    .parallel = 4,
};

static void
host_free(MsbHostSettings *host)
{
    g_strfreev(host->mirrors);
    g_free(host->ca_certs);
    g_free(host);
}

void
msb_settings_free(MsbSettings *settings)
{
    if (!settings)
        return;
    g_free(settings->ca_certs);
    g_hash_table_unref(settings->hosts);
    g_free(settings);
}

const MsbHostSettings *
msb_settings_get_host(const MsbSettings *settings, const char *host)
{
    const MsbHostSettings *found = g_hash_table_lookup(settings->hosts, host);

    return found ? found : &default_host;
}

/* ---- reading ----------------------------------------------------------------------- */

static guint64
get_size(MsbJsonReader *reader, const char *key, guint64 fallback)
{
    return (guint64)msb_json_get_int(reader, key, (gint64)fallback, 1, G_MAXINT64);
}

static guint
get_number(MsbJsonReader *reader, const char *key, guint fallback, guint min, guint max)
{
    return (guint)msb_json_get_int(reader, key, fallback, min, max);
}

static void
read_limits(MsbJsonReader *reader, MsbSettings *settings)
{
    MsbLimits *limits = &settings->limits;

    limits->layer_bytes = get_size(reader, "layer_bytes", limits->layer_bytes);
    limits->image_bytes = get_size(reader, "image_bytes", limits->image_bytes);
    limits->layer_entries = get_size(reader, "layer_entries", limits->layer_entries);
    limits->layer_ratio = get_number(reader, "layer_ratio", limits->layer_ratio, 1, G_MAXINT32);
    limits->layer_ratio_after = get_size(reader, "layer_ratio_after", limits->layer_ratio_after);
}

static void
read_transfers(MsbJsonReader *reader, MsbSettings *settings)
{
    settings->stall_seconds = get_number(reader, "stall_seconds", settings->stall_seconds, 1, MAX_SECONDS);
    settings->connect_seconds = get_number(reader, "connect_seconds", settings->connect_seconds, 1, MAX_SECONDS);
    settings->retries = get_number(reader, "retries", settings->retries, 0, MAX_RETRIES);
    settings->parallel = get_number(reader, "parallel", settings->parallel, 1, MAX_PARALLEL);
}

static gboolean
is_address(const char *text)
{
    const char *rest = g_str_has_prefix(text, "https://")  ? text + strlen("https://")
                       : g_str_has_prefix(text, "http://") ? text + strlen("http://")
                                                           : "";

    return *rest && *rest != '/' && !strpbrk(rest, "@?# \t\r\n");
}

static gboolean
read_host(JsonNode *node, const char *where, MsbHostSettings *host, GError **error)
{
    MsbJsonReader reader;

    msb_json_reader_begin(&reader, node, where);
    host->mirrors = msb_json_dup_strv(&reader, "mirrors");
    if (!host->mirrors)
        host->mirrors = g_new0(char *, 1);
    host->ca_certs = g_strdup(msb_json_get_string(&reader, "ca_certs"));
    host->insecure = msb_json_get_boolean(&reader, "insecure", FALSE);
    if (g_strv_length(host->mirrors) > MAX_MIRRORS)
        msb_json_reader_fail(&reader, "more than %d mirrors", MAX_MIRRORS);
    for (guint i = 0; host->mirrors[i]; i++) {
        if (!is_address(host->mirrors[i]))
            msb_json_reader_fail(&reader, "the mirror '%s' is not http[s]://HOST[:PORT][/PATH]", host->mirrors[i]);
    }
    return msb_json_reader_end(&reader, error);
}

static gboolean
read_hosts(JsonObject *hosts, const char *where, MsbSettings *settings, GError **error)
{
    g_autoptr(GList) names = hosts ? json_object_get_members(hosts) : NULL;

    for (GList *item = names; item; item = item->next) {
        g_autofree char *place = g_strdup_printf("%s: registries.hosts.%s", where, (const char *)item->data);
        MsbHostSettings *host = g_new0(MsbHostSettings, 1);

        g_hash_table_replace(settings->hosts, g_strdup(item->data), host);
        if (!read_host(json_object_get_member(hosts, item->data), place, host, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
read_registries(JsonNode *node, const char *where, MsbSettings *settings, GError **error)
{
    g_autofree char *place = g_strconcat(where, ": registries", NULL);
    JsonObject *hosts;
    MsbJsonReader reader;
    gboolean good;

    msb_json_reader_begin(&reader, node, place);
    settings->ca_certs = g_strdup(msb_json_get_string(&reader, "ca_certs"));
    hosts = msb_json_get_object(&reader, "hosts");
    good = read_hosts(hosts, where, settings, error);
    return msb_json_reader_end(&reader, good ? error : NULL) && good;
}

/* One member of the outermost object, if it is there. */
static gboolean
read_group(JsonObject *object, const char *name, const char *where, MsbSettings *settings,
           void (*read)(MsbJsonReader *reader, MsbSettings *settings), GError **error)
{
    g_autofree char *place = g_strconcat(where, ": ", name, NULL);
    JsonNode *node = json_object_get_member(object, name);
    MsbJsonReader reader;

    if (!node)
        return TRUE;
    msb_json_reader_begin(&reader, node, place);
    read(&reader, settings);
    return msb_json_reader_end(&reader, error);
}

static gboolean
parse(const char *path, const char *text, gsize length, MsbSettings *settings, GError **error)
{
    g_autoptr(JsonNode) root = msb_json_parse(path, text, length, error);
    JsonObject *object;
    JsonNode *registries;

    if (!root)
        return FALSE;
    if (!JSON_NODE_HOLDS_OBJECT(root))
        return msb_error_set(error, MSB_ERROR_INVALID, "'%s' is not an object", path);
    object = json_node_get_object(root);
    registries = json_object_get_member(object, "registries");
    return read_group(object, "limits", path, settings, read_limits, error) &&
           read_group(object, "transfers", path, settings, read_transfers, error) &&
           (!registries || read_registries(registries, path, settings, error));
}

MsbSettings *
msb_settings_load(MsbHome *home, GError **error)
{
    g_autoptr(MsbSettings) settings = g_memdup2(&defaults, sizeof defaults);
    g_autofree char *path = msb_home_build_path(home, "config.json", NULL);
    char *text = NULL;
    size_t length;
    int r = mb_read_file_at(AT_FDCWD, path, MAX_SIZE, &text, &length);
    gboolean good = TRUE;

    settings->hosts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)host_free);
    if (r < 0 && r != -ENOENT) {
        msb_error_set_errno(error, -r, "read '%s'", path);
        return NULL;
    }
    if (r >= 0)
        good = parse(path, text, length, settings, error);
    free(text);
    return good ? g_steal_pointer(&settings) : NULL;
}

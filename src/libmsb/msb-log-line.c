/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One line of logs/exec.log: JSON to record.  src/supervisor/sv-execlog.h has the format. */
#include <config.h>

#include <string.h>

#include <json-glib/json-glib.h>

#include "msb-error.h"
#include "msb-logs-private.h"

static gint64
microseconds(GDateTime *t)
{
    return g_date_time_to_unix(t) * G_USEC_PER_SEC + g_date_time_get_microsecond(t);
}

static MsbLogStream
parse_stream(const char *s)
{
    if (g_str_equal(s, "stdout"))
        return MSB_LOG_STDOUT;
    if (g_str_equal(s, "stderr"))
        return MSB_LOG_STDERR;
    if (g_str_equal(s, "output"))
        return MSB_LOG_OUTPUT;
    return g_str_equal(s, "system") ? MSB_LOG_SYSTEM : 0;
}

static const char *
get_string(JsonObject *object, const char *member)
{
    JsonNode *node = json_object_get_member(object, member);

    return node && json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node) : NULL;
}

static gboolean
fill(MsbLogLine *line, JsonObject *object)
{
    const char *t = get_string(object, "t");
    const char *s = get_string(object, "s");
    const char *d = get_string(object, "d");
    const char *b = get_string(object, "b");
    g_autoptr(GDateTime) time = t ? g_date_time_new_from_iso8601(t, NULL) : NULL;

    if (!time || !s || !parse_stream(s) || (!d && !b))
        return FALSE;
    line->record.time = microseconds(time);
    line->record.stream = parse_stream(s);
    line->record.id = (guint)json_object_get_int_member_with_default(object, "id", 0);
    if (d) {
        line->record.n = strlen(d);
        line->owned = (guchar *)g_strdup(d);
    } else {
        line->owned = g_base64_decode(b, &line->record.n);
    }
    line->record.bytes = line->owned;
    line->record.json = line->line;
    return TRUE;
}

MsbLogLine *
msb_log_line_parse(const char *text, gsize n)
{
    g_autoptr(MsbLogLine) line = g_new0(MsbLogLine, 1);
    g_autoptr(JsonParser) parser = json_parser_new_immutable();
    JsonNode *root;

    if (memchr(text, 0, n))
        return NULL;
    line->line = g_strndup(text, n);
    if (!json_parser_load_from_data(parser, line->line, (gssize)n, NULL))
        return NULL;
    root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root) || !fill(line, json_node_get_object(root)))
        return NULL;
    return g_steal_pointer(&line);
}

void
msb_log_line_free(MsbLogLine *line)
{
    if (!line)
        return;
    g_free(line->owned);
    g_free(line->line);
    g_free(line);
}

gboolean
msb_logs_parse_time(const char *text, gint64 *time, GError **error)
{
    g_autoptr(GTimeZone) local = g_time_zone_new_local();
    g_autoptr(GDateTime) t = g_date_time_new_from_iso8601(text, local);
    guint64 ms;

    if (t) {
        *time = microseconds(t);
        return TRUE;
    }
    if (msb_parse_duration(text, &ms, NULL)) {
        *time = g_get_real_time() - (gint64)MIN(ms, (guint64)G_MAXINT64 / 2000) * 1000;
        return TRUE;
    }
    g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID,
                "'%s' is neither a time like 2026-01-31T12:00:00Z nor a duration like 10m", text);
    return FALSE;
}

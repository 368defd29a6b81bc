/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Strict JSON reading on top of json-glib, whose parser recurses without a
 * limit and whose getters complain on stderr about a wrong type: the text is
 * scanned for its depth first, and every node's type is looked at.
 */
#include <config.h>

#include "msb-error.h"
#include "msb-json.h"

/*
 * NULL if the text is safe for a parser that recurses: one object or list, its
 * brackets at most MSB_JSON_MAX_DEPTH deep.  json-glib also takes comments and
 * other quotes, which JSON has not and which would hide brackets from this
 * scan, and leaks what stands before a second value: all refused.
 */
static const char *
find_unsafe(const char *text, gsize len)
{
    guint depth = 0;
    gboolean in_string = FALSE, ended = FALSE;
    gsize i;

    for (i = 0; i < len; i++) {
        guchar c = (guchar)text[i];

        if (in_string) {
            if (c < 0x20)
                return "a control character in a string";
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = FALSE;
        } else if (g_ascii_isspace(c)) {
            continue;
        } else if (ended) {
            return "something follows its end";
        } else if (depth == 0 && c != '[' && c != '{') {
            return "neither an object nor a list";
        } else if (c == '"') {
            in_string = TRUE;
        } else if (c == '/' || c == '\'' || c == '#' || c == '`') {
            return "a comment or quote that JSON has not";
        } else if (c == '[' || c == '{') {
            if (++depth > MSB_JSON_MAX_DEPTH)
                return "nested too deeply";
        } else if (c == ']' || c == '}') {
            ended = --depth == 0;
        }
    }
    return NULL;
}

JsonNode *
msb_json_parse(const char *what, const char *text, gsize len, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new_immutable();
    g_autoptr(GError) local = NULL;
    const char *unsafe;
    JsonNode *root;

    if (len == 0) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "%s is empty", what);
        return NULL;
    }
    if (len > G_MAXSSIZE || !g_utf8_validate_len(text, len, NULL)) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "%s is not JSON: it is not UTF-8 text", what);
        return NULL;
    }
    unsafe = find_unsafe(text, len);
    if (unsafe) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "%s is not JSON: %s", what, unsafe);
        return NULL;
    }
    if (!json_parser_load_from_data(parser, text, (gssize)len, &local)) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "%s is not JSON: %s", what, local->message);
        return NULL;
    }
    root = json_parser_get_root(parser);
    if (!root) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "%s is empty", what);
        return NULL;
    }
    return json_node_ref(root);
}

char *
msb_json_to_string(JsonNode *node, gboolean pretty)
{
    g_autoptr(JsonGenerator) generator = json_generator_new();

    json_generator_set_root(generator, node);
    json_generator_set_pretty(generator, pretty);
    json_generator_set_indent(generator, 2);
    return json_generator_to_data(generator, NULL);
}

/* ---- reader ------------------------------------------------------------------ */

void
msb_json_reader_fail(MsbJsonReader *reader, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    if (reader->error)
        return;
    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    msb_error_set(&reader->error, MSB_ERROR_INVALID, "%s: %s", reader->where, text);
    reader->object = NULL;
}

void
msb_json_reader_begin(MsbJsonReader *reader, JsonNode *node, const char *where)
{
    *reader = (MsbJsonReader){ .where = where };
    reader->seen = g_hash_table_new(g_str_hash, g_str_equal);
    if (node && JSON_NODE_HOLDS_OBJECT(node))
        reader->object = json_node_get_object(node);
    else
        msb_json_reader_fail(reader, "not a JSON object");
}

/* The member, or NULL when it is missing, null, or an earlier error stands. */
static JsonNode *
take(MsbJsonReader *reader, const char *key)
{
    JsonNode *node;

    if (!reader->object)
        return NULL;
    g_hash_table_add(reader->seen, (gpointer)key);
    node = json_object_get_member(reader->object, key);
    return node && !JSON_NODE_HOLDS_NULL(node) ? node : NULL;
}

static gboolean
holds(JsonNode *node, GType type)
{
    return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == type;
}

const char *
msb_json_get_string(MsbJsonReader *reader, const char *key)
{
    JsonNode *node = take(reader, key);

    if (!node)
        return NULL;
    if (!holds(node, G_TYPE_STRING)) {
        msb_json_reader_fail(reader, "'%s' is not a string", key);
        return NULL;
    }
    return json_node_get_string(node);
}

gint64
msb_json_get_int(MsbJsonReader *reader, const char *key, gint64 fallback, gint64 min, gint64 max)
{
    JsonNode *node = take(reader, key);
    gint64 value;

    if (!node)
        return fallback;
    if (!holds(node, G_TYPE_INT64)) {
        msb_json_reader_fail(reader, "'%s' is not a whole number", key);
        return fallback;
    }
    value = json_node_get_int(node);
    if (value < min || value > max) {
        msb_json_reader_fail(reader, "'%s' is %" G_GINT64_FORMAT ", not between %" G_GINT64_FORMAT " and %"
                             G_GINT64_FORMAT, key, value, min, max);
        return fallback;
    }
    return value;
}

gboolean
msb_json_get_boolean(MsbJsonReader *reader, const char *key, gboolean fallback)
{
    JsonNode *node = take(reader, key);

    if (!node)
        return fallback;
    if (!holds(node, G_TYPE_BOOLEAN)) {
        msb_json_reader_fail(reader, "'%s' is neither true nor false", key);
        return fallback;
    }
    return json_node_get_boolean(node);
}

JsonArray *
msb_json_get_array(MsbJsonReader *reader, const char *key)
{
    JsonNode *node = take(reader, key);

    if (!node)
        return NULL;
    if (!JSON_NODE_HOLDS_ARRAY(node)) {
        msb_json_reader_fail(reader, "'%s' is not a list", key);
        return NULL;
    }
    return json_node_get_array(node);
}

JsonObject *
msb_json_get_object(MsbJsonReader *reader, const char *key)
{
    JsonNode *node = take(reader, key);

    if (!node)
        return NULL;
    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        msb_json_reader_fail(reader, "'%s' is not an object", key);
        return NULL;
    }
    return json_node_get_object(node);
}

char **
msb_json_dup_strv(MsbJsonReader *reader, const char *key)
{
    JsonArray *array = msb_json_get_array(reader, key);
    g_autoptr(GStrvBuilder) builder = NULL;
    guint i, n;

    if (!array)
        return NULL;
    builder = g_strv_builder_new();
    n = json_array_get_length(array);
    for (i = 0; i < n; i++) {
        JsonNode *node = json_array_get_element(array, i);

        if (!holds(node, G_TYPE_STRING)) {
            msb_json_reader_fail(reader, "element %u of '%s' is not a string", i + 1, key);
            return NULL;
        }
        g_strv_builder_add(builder, json_node_get_string(node));
    }
    return g_strv_builder_end(builder);
}

int
msb_json_get_choice(MsbJsonReader *reader, const char *key, const char *const *words, int fallback)
{
    const char *text = msb_json_get_string(reader, key);
    int i;

    if (!text)
        return fallback;
    for (i = 0; words[i]; i++) {
        if (g_str_equal(words[i], text))
            return i;
    }
    msb_json_reader_fail(reader, "'%s' is '%s', which is not a known value", key, text);
    return fallback;
}

void
msb_json_reader_allow_unknown(MsbJsonReader *reader)
{
    JsonObjectIter iter;
    const char *name;

    if (!reader->object)
        return;
    json_object_iter_init(&iter, reader->object);
    while (json_object_iter_next(&iter, &name, NULL))
        g_hash_table_add(reader->seen, (gpointer)name);
}

gboolean
msb_json_reader_end(MsbJsonReader *reader, GError **error)
{
    JsonObjectIter iter;
    const char *name;

    if (reader->object) {
        json_object_iter_init(&iter, reader->object);
        while (reader->object && json_object_iter_next(&iter, &name, NULL)) {
            if (!g_hash_table_contains(reader->seen, name))
                msb_json_reader_fail(reader, "unknown member '%s'", name);
        }
    }
    g_clear_pointer(&reader->seen, g_hash_table_unref);
    if (!reader->error)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&reader->error));
    return FALSE;
}

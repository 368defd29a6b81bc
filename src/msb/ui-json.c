/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <stdio.h>

#include "ui-json.h"

JsonBuilder *
ui_json_begin(void)
{
    return json_builder_new();
}

/* Only strings can have them, so the text still means the same. */
char *
ui_json_escape(const char *json)
{
    GString *text = g_string_new(NULL);

    for (const char *p = json; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (c >= 0x7f && c < 0xa0)
            g_string_append_printf(text, "\\u%04x", c);
        else
            g_string_append_len(text, p, g_utf8_next_char(p) - p);
    }
    return g_string_free(text, FALSE);
}

void
ui_json_print_text(const char *json)
{
    g_autofree char *valid = g_utf8_make_valid(json, -1);
    g_autofree char *text = ui_json_escape(valid);

    puts(g_strchomp(text));
}

void
ui_json_print_node(JsonNode *node)
{
    g_autofree char *text = json_to_string(node, TRUE);

    ui_json_print_text(text);
}

void
ui_json_print(JsonBuilder *builder)
{
    JsonNode *root = json_builder_get_root(builder);

    ui_json_print_node(root);
    json_node_unref(root);
    g_object_unref(builder);
}

void
ui_json_string(JsonBuilder *builder, const char *name, const char *value)
{
    json_builder_set_member_name(builder, name);
    if (value) {
        g_autofree char *valid = g_utf8_make_valid(value, -1);

        json_builder_add_string_value(builder, valid);
    } else {
        json_builder_add_null_value(builder);
    }
}

void
ui_json_int(JsonBuilder *builder, const char *name, gint64 value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_int_value(builder, value);
}

void
ui_json_bool(JsonBuilder *builder, const char *name, gboolean value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_boolean_value(builder, value);
}

void
ui_json_strv(JsonBuilder *builder, const char *name, const char *const *values)
{
    json_builder_set_member_name(builder, name);
    json_builder_begin_array(builder);
    for (guint i = 0; values && values[i]; i++) {
        g_autofree char *valid = g_utf8_make_valid(values[i], -1);

        json_builder_add_string_value(builder, valid);
    }
    json_builder_end_array(builder);
}

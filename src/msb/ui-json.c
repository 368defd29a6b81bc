/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <stdio.h>

#include "ui-json.h"

JsonBuilder *
ui_json_begin(void)
{
    return json_builder_new();
}

void
ui_json_print_node(JsonNode *node)
{
    g_autofree char *text = json_to_string(node, TRUE);

    puts(text);
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

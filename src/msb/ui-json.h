/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON on stdout: what --format json prints. */
#ifndef UI_JSON_H
#define UI_JSON_H

#include <json-glib/json-glib.h>

/* Begin; JsonBuilder is used directly in between; end, print indented, and free. */
JsonBuilder *ui_json_begin(void);
void ui_json_print(JsonBuilder *builder);
/* Print a tree (indented, with a final line end). */
void ui_json_print_node(JsonNode *node);
/* Print JSON that is text already, with one line end. */
void ui_json_print_text(const char *json);
/* Valid UTF-8 with the control characters that JSON allows in strings, and a terminal would obey, escaped. */
char *ui_json_escape(const char *json);

/* Members of the object under construction; a NULL string is null. */
void ui_json_string(JsonBuilder *builder, const char *name, const char *value);
void ui_json_int(JsonBuilder *builder, const char *name, gint64 value);
void ui_json_bool(JsonBuilder *builder, const char *name, gboolean value);
void ui_json_strv(JsonBuilder *builder, const char *name, const char *const *values);

#endif

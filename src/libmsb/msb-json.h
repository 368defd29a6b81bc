/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Strict reading of JSON that may come from anywhere: bounded nesting, no
 * value is taken before its type is known, members that nobody asked for are
 * errors.  Internal to libmsb.
 */
#ifndef MSB_JSON_H
#define MSB_JSON_H

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* Nesting above this is refused before json-glib, which recurses, sees the text. */
#define MSB_JSON_MAX_DEPTH 64

/* Parse one object or list (len bytes, UTF-8). CORRUPT, with what ("image config", a path) in front. */
JsonNode *msb_json_parse(const char *what, const char *text, gsize len, GError **error);
/* One line without trailing newline, or indented by two (transfer full). */
char *msb_json_to_string(JsonNode *node, gboolean pretty);

/*
 * A sticky reader of one object.  Each get leaves the result at its default
 * when the member is missing, and records the first error: wrong type or out of
 * range.  msb_json_reader_end() also finds members that were never asked for.
 * The strings are borrowed from the object.
 */
typedef struct {
    JsonObject *object;     /* borrowed; NULL after an error */
    const char *where;      /* for messages: "config", "mount 2" */
    GHashTable *seen;
    GError *error;
} MsbJsonReader;

void msb_json_reader_begin(MsbJsonReader *reader, JsonNode *node, const char *where);
const char *msb_json_get_string(MsbJsonReader *reader, const char *key);          /* NULL if missing */
gint64 msb_json_get_int(MsbJsonReader *reader, const char *key, gint64 fallback, gint64 min, gint64 max);
gboolean msb_json_get_boolean(MsbJsonReader *reader, const char *key, gboolean fallback);
char **msb_json_dup_strv(MsbJsonReader *reader, const char *key);                  /* NULL if missing */
JsonArray *msb_json_get_array(MsbJsonReader *reader, const char *key);             /* NULL if missing */
JsonObject *msb_json_get_object(MsbJsonReader *reader, const char *key);           /* NULL if missing */
/* One of a NULL-terminated list of words, as its index. */
int msb_json_get_choice(MsbJsonReader *reader, const char *key, const char *const *words, int fallback);
void msb_json_reader_fail(MsbJsonReader *reader, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Accept members that were not asked for (formats that others extend). */
void msb_json_reader_allow_unknown(MsbJsonReader *reader);
/* FALSE with the first error (INVALID). Releases what the reader holds. */
gboolean msb_json_reader_end(MsbJsonReader *reader, GError **error);

G_END_DECLS

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A terminal's parser (ECMA-48) in small: see ui-safe.h.  Controls of the second
 * set (C1) come as two bytes of UTF-8, 0xc2 0x80 to 0xc2 0x9f; single bytes of
 * that range that belong to no character are left out.
 */
#include <config.h>

#include <string.h>

#include "ui-safe.h"

enum { TEXT, AFTER_C2, ESCAPE, SEQUENCE, STRING, STRING_C2, STRING_ESCAPE };

#define ESC 0x1b

/* How many bytes follow the first one of a character. */
static guint
following(guint8 c)
{
    return c >= 0xf0 && c <= 0xf4 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc3 && c < 0xe0 ? 1 : 0;
}

static void
take_text(UiSafe *s, guint8 c, GString *out)
{
    gboolean continues = s->more > 0 && (c & 0xc0) == 0x80;

    s->more = continues ? s->more - 1 : following(c);
    if (continues || (c >= 0x20 && c < 0x7f) || c >= 0xc3 || c == '\n' || c == '\t' || c == '\r')
        g_string_append_c(out, (char)c);
    else if (c == ESC)
        s->state = ESCAPE;
    else if (c == 0xc2)
        s->state = AFTER_C2;
}

static void
begin_control(UiSafe *s, guint8 c)
{
    s->n = 0;
    if (c == '[')
        s->state = SEQUENCE;
    else if (c && strchr("]PX^_", c))
        s->state = STRING;
    else
        s->state = TEXT;
}

/* A colour is the only sequence that passes. */
static void
end_sequence(UiSafe *s, guint8 c, GString *out)
{
    s->state = TEXT;
    if (c != 'm' || s->n >= sizeof(s->parameters) || strspn(s->parameters, "0123456789;:") != s->n)
        return;
    g_string_append_printf(out, "\033[%sm", s->parameters);
    s->coloured = s->parameters[0] && !g_str_equal(s->parameters, "0");
}

static void
take_parameter(UiSafe *s, guint8 c)
{
    if (s->n < sizeof(s->parameters) - 1)
        s->parameters[s->n++] = (char)c;
    else
        s->n = sizeof(s->parameters);
}

/* FALSE: the byte is to be looked at again, in the new state. */
static gboolean
take(UiSafe *s, guint8 c, GString *out)
{
    switch (s->state) {
    case TEXT:
        take_text(s, c, out);
        return TRUE;
    case AFTER_C2:
        s->state = TEXT;
        if ((c & 0xc0) != 0x80)
            return FALSE;
        if (c < 0xa0)
            begin_control(s, (guint8)(c - 0x40));
        else
            g_string_append_printf(out, "\xc2%c", c);
        return TRUE;
    case ESCAPE:
        if (c < 0x20 || c > 0x7e) {
            s->state = TEXT;
            return FALSE;
        }
        if (c >= 0x30)
            begin_control(s, c);
        return TRUE;
    case SEQUENCE:
        if (c >= 0x20 && c < 0x40) {
            take_parameter(s, c);
            return TRUE;
        }
        if (c < 0x40 || c > 0x7e) {
            s->state = TEXT;
            return FALSE;
        }
        if (s->n < sizeof(s->parameters))
            s->parameters[s->n] = 0;
        end_sequence(s, c, out);
        return TRUE;
    case STRING:
        /* It ends with its line at the latest: what follows is not to vanish. */
        s->state = c == ESC ? STRING_ESCAPE : c == 0xc2 ? STRING_C2 : c == '\a' || c == '\n' ? TEXT : STRING;
        return c != '\n';
    case STRING_C2:
        s->state = c == 0x9c ? TEXT : STRING;
        return c == 0x9c;
    default:
        s->state = c == '\\' ? TEXT : ESCAPE;
        return c == '\\';
    }
}

void
ui_safe_feed(UiSafe *safe, const guint8 *in, gsize n, GString *out)
{
    for (gsize i = 0; i < n; i++)
        while (!take(safe, in[i], out))
            continue;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest wrote, on its way to a terminal.  Text and its colours pass; all
 * else that a terminal would obey (cursor, title, clipboard, questions that it
 * answers as if typed) is left out.  Sequences may come in pieces.
 */
#ifndef UI_SAFE_H
#define UI_SAFE_H

#include <glib.h>

G_BEGIN_DECLS

#define UI_SAFE_PARAMETERS 48

/* Zero-initialise; one per stream. */
typedef struct {
    guint state;
    guint more;                             /* bytes of a character that are still to come */
    char parameters[UI_SAFE_PARAMETERS];    /* of the control sequence at hand */
    guint n;
    gboolean coloured;                      /* the last colour set is not the default */
} UiSafe;

/* Append to out what of in[0, n) may pass. */
void ui_safe_feed(UiSafe *safe, const guint8 *in, gsize n, GString *out);

G_END_DECLS

#endif

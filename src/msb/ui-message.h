/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What msb says on stderr: errors, warnings, notes, hints.  Texts may quote a
 * guest (its console's last lines, a file it named), so control characters never
 * reach the terminal. Colour only on a terminal, and not with $NO_COLOR.
 */
#ifndef UI_MESSAGE_H
#define UI_MESSAGE_H

#include <glib.h>

void ui_error(const char *format, ...) G_GNUC_PRINTF(1, 2);
void ui_warning(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* Something the user may want to know. */
void ui_note(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* The next step, after an error or a warning. */
void ui_hint(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* text without control characters but line ends, valid UTF-8 (transfer full). */
char *ui_clean_text(const char *text);
/* Whether messages on fd may have colour. */
gboolean ui_has_colour(int fd);

#endif

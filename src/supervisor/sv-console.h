/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the guest's console said last: the reason when a guest does not come up or dies. */
#ifndef SV_CONSOLE_H
#define SV_CONSOLE_H

#include <glib.h>

G_BEGIN_DECLS

/* The log's size, 0 if there is none. */
guint64 sv_console_size(const char *path);
/* The last lines (at most max_lines) written after offset start; control characters are made visible. NULL if
 * there are none. */
char *sv_console_tail(const char *path, guint64 start, guint max_lines);
/* The kernel's panic line written after start, or NULL. */
char *sv_console_find_panic(const char *path, guint64 start);

G_END_DECLS

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * logs/supervisor.log: what the supervisor and the back-ends it runs have to
 * say, a line each: RFC 3339 time, who, text.  Before sv_log_open() lines go to
 * standard error.
 */
#ifndef SV_LOG_H
#define SV_LOG_H

#include <glib.h>

G_BEGIN_DECLS

#define SV_LOG_LIMIT (4u * 1024 * 1024)

/* From here on to path.  GLib's own messages go there too. */
gboolean sv_log_open(const char *path, GError **error);
void sv_log_close(void);

void sv_info(const char *format, ...) G_GNUC_PRINTF(1, 2);
void sv_warn(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* A line from somebody else ("upper", "agent"), made printable. */
void sv_log_line(const char *who, const char *text);

#define SV_LINE_MAX 4096u
/* Text that a guest may have written, for logs and terminals: valid UTF-8, control characters as \ooo, and at
 * most max bytes of text, cut between characters (transfer full). */
char *sv_printable(const char *text, gsize max);

G_END_DECLS

#endif

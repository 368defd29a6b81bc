/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parts of the log reader that its tests use directly. */
#ifndef MSB_LOGS_PRIVATE_H
#define MSB_LOGS_PRIVATE_H

#include "msb-logs.h"

G_BEGIN_DECLS

typedef gboolean (*MsbLogAliveFunc)(gpointer data);

/* msb_logs_read() on a log by its path; alive tells whether following goes on. */
gboolean msb_logs_read_path(const char *path, const MsbLogOptions *options, MsbLogFunc func, gpointer data,
                            MsbLogAliveFunc alive, gpointer alive_data, GCancellable *cancellable,
                            GError **error);

/* One line of the log (n bytes, no newline), decoded. */
typedef struct {
    MsbLogRecord record;
    guchar *owned;             /* what record.bytes points to */
    char *line;
} MsbLogLine;
MsbLogLine *msb_log_line_parse(const char *line, gsize n);   /* NULL if it is damaged */
void msb_log_line_free(MsbLogLine *line);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbLogLine, msb_log_line_free)

G_END_DECLS

#endif

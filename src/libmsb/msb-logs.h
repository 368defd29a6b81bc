/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading logs/exec.log and its rotated predecessors: what the commands of a
 * sandbox wrote, byte for byte, and what msb noted about them.  Works on a
 * stopped sandbox as well.
 */
#ifndef MSB_LOGS_H
#define MSB_LOGS_H

#include <gio/gio.h>

#include "msb-sandbox.h"

G_BEGIN_DECLS

typedef enum {
    MSB_LOG_STDOUT = 1 << 0,
    MSB_LOG_STDERR = 1 << 1,
    MSB_LOG_OUTPUT = 1 << 2,   /* of a terminal */
    MSB_LOG_SYSTEM = 1 << 3,   /* msb's own notes */
} MsbLogStream;

/* Owned by the reader, for the time of the call. */
typedef struct {
    gint64 time;               /* microseconds, real time */
    MsbLogStream stream;
    guint id;                  /* of the command, 0 = about none */
    const guint8 *bytes;       /* as written, not terminated */
    gsize n;
    const char *json;          /* the whole line of the log, without its newline */
} MsbLogRecord;

typedef struct {
    guint streams;             /* MsbLogStream bits; 0 = all */
    guint id;                  /* of one command; 0 = all */
    gint64 since, until;       /* microseconds, real time; 0 = no limit */
    gint64 tail;               /* the last so many lines of text; negative = all */
    gboolean follow;           /* then go on as they come, until the sandbox stops */
} MsbLogOptions;

/* FALSE = enough. */
typedef gboolean (*MsbLogFunc)(const MsbLogRecord *record, gpointer data);

/* Hand the records to func, oldest first, on the calling thread; following blocks.  A line that is damaged
 * is left out.  No log yet is no error.  cancellable (may be NULL) ends following with G_IO_ERROR_CANCELLED. */
gboolean msb_logs_read(MsbSandbox *sandbox, const MsbLogOptions *options, MsbLogFunc func, gpointer data,
                       GCancellable *cancellable, GError **error);

/* RFC 3339, or a duration back from now ("90s", "5m", "2h", "1d"), as microseconds. */
gboolean msb_logs_parse_time(const char *text, gint64 *time, GError **error);

G_END_DECLS

#endif

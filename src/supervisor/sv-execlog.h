/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * logs/exec.log: what commands wrote, one JSON object per line.
 *
 *     {"t":"2026-01-02T03:04:05.678901Z","s":"stdout","id":1,"d":"text"}
 *
 * s: stdout, stderr, output (of a terminal) or system: what msb itself notes (id
 * only if it is about a command).  Bytes are kept: a piece that is not valid
 * UTF-8 or has a NUL in it is "b", base64, instead of "d".  A multi-byte
 * character that arrives in two pieces is joined.  msb-logs.h reads it.
 */
#ifndef SV_EXECLOG_H
#define SV_EXECLOG_H

#include <glib.h>

G_BEGIN_DECLS

#define SV_EXECLOG_LIMIT (10u * 1024 * 1024)
#define SV_EXECLOG_KEEP 3u

typedef struct SvExecLog SvExecLog;

/* The start of a character whose rest has not come yet.  Zero-initialise; one per stream of a command. */
typedef struct {
    guint8 bytes[4];
    guint n;
} SvLogTail;

SvExecLog *sv_exec_log_open(const char *path, GError **error);
void sv_exec_log_free(SvExecLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SvExecLog, sv_exec_log_free)

/* n bytes of the stream called s of command id. */
void sv_exec_log_output(SvExecLog *log, const char *s, guint32 id, SvLogTail *tail, const guint8 *p, gsize n);
/* The stream has ended: what is left in tail is written as it is. */
void sv_exec_log_end(SvExecLog *log, const char *s, guint32 id, SvLogTail *tail);
/* A "system" line; id 0 = about no command. */
void sv_exec_log_system(SvExecLog *log, guint32 id, const char *format, ...) G_GNUC_PRINTF(3, 4);

G_END_DECLS

#endif

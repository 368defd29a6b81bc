/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A log file that is appended to and rotated by size: NAME, NAME.1, NAME.2, ...
 * (NAME.1 is the newest of the old ones).  A guest decides how much is logged,
 * so the space a log takes is bounded: limit * (keep + 1).
 */
#ifndef SV_LOGFILE_H
#define SV_LOGFILE_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct SvLogFile SvLogFile;

/* Open (mode 0600) or continue path.  limit: bytes before it is rotated; keep: old files, at least 1. */
SvLogFile *sv_log_file_open(const char *path, gsize limit, guint keep, GError **error);
void sv_log_file_free(SvLogFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SvLogFile, sv_log_file_free)

/* Append one record, never split over two files.  0 or -errno: what could not be written is lost (a full
 * disk must not stop the sandbox), the next record is tried again.  A record that was written in part is
 * taken back, so that the file keeps its lines. */
int sv_log_file_append(SvLogFile *file, const void *p, gsize n);

G_END_DECLS

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Progress on stderr: on a terminal a bar for everything that has a size, one
 * for all together, and the step without a size; otherwise a line when
 * something begins and when it is done; nothing when asked to be quiet. One at
 * a time.
 */
#ifndef UI_PROGRESS_H
#define UI_PROGRESS_H

#include <glib.h>

typedef struct _UiProgress UiProgress;

UiProgress *ui_progress_new(gboolean quiet);
/* what is under way; total 0 = not known, done and total in bytes. Fits MsbProgressFunc with the
 * UiProgress as data. */
void ui_progress_update(const char *what, guint64 done, guint64 total, gpointer progress);
/* A step without numbers. */
void ui_progress_step(UiProgress *progress, const char *what);
/* Whether it is drawn on a terminal: short steps are not worth a line in a log. */
gboolean ui_progress_is_drawn(const UiProgress *progress);
/* Take the lines away again. */
void ui_progress_free(UiProgress *progress);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(UiProgress, ui_progress_free)

/* Other output is about to be printed: remove the lines (they come back with the next update). */
void ui_progress_clear_line(void);

#endif

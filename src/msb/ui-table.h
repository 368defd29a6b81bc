/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tables on stdout: columns as wide as what is in them, counted in terminal
 * cells; on a terminal that is too narrow the widest columns are cut, in a pipe
 * never. Cells are cleaned of control characters.
 */
#ifndef UI_TABLE_H
#define UI_TABLE_H

#include <glib.h>

typedef struct _UiTable UiTable;

/* Headings, NULL-terminated. */
UiTable *ui_table_new(const char *first, ...) G_GNUC_NULL_TERMINATED;
/* As many cells as there are headings, copied; NULL is an empty one. */
void ui_table_add(UiTable *table, const char *first, ...);
void ui_table_print(UiTable *table);
void ui_table_free(UiTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(UiTable, ui_table_free)

/* Terminal cells that text takes. */
guint ui_text_width(const char *text);
/* text, cut to at most width cells with an ellipsis at the end (transfer full). */
char *ui_fit_text(const char *text, guint width);

#endif

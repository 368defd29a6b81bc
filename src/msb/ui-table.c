/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "ui-message.h"
#include "ui-table.h"
#include "ui-tty.h"

#define GAP 3
#define LEAST_WIDTH 6 /* a column is not cut below this */

struct _UiTable {
    guint n_columns;
    GPtrArray *cells; /* row after row, the headings first */
};

static guint
char_width(gunichar c)
{
    if (g_unichar_iszerowidth(c))
        return 0;
    return g_unichar_iswide(c) ? 2 : 1;
}

guint
ui_text_width(const char *text)
{
    guint width = 0;

    for (const char *p = text; *p; p = g_utf8_next_char(p))
        width += char_width(g_utf8_get_char(p));
    return width;
}

char *
ui_fit_text(const char *text, guint width)
{
    const char *end = text;
    guint used = 0;

    if (ui_text_width(text) <= width)
        return g_strdup(text);
    if (width == 0)
        return g_strdup("");
    while (used + char_width(g_utf8_get_char(end)) <= width - 1) {
        used += char_width(g_utf8_get_char(end));
        end = g_utf8_next_char(end);
    }
    return g_strdup_printf("%.*s…", (int)(end - text), text);
}

static void
add_cell(UiTable *table, const char *text)
{
    char *clean = ui_clean_text(text ? text : "");

    g_ptr_array_add(table->cells, g_strdelimit(clean, "\n", ' '));
}

UiTable *
ui_table_new(const char *first, ...)
{
    UiTable *table = g_new0(UiTable, 1);
    va_list ap;

    table->cells = g_ptr_array_new_with_free_func(g_free);
    va_start(ap, first);
    for (const char *heading = first; heading; heading = va_arg(ap, const char *)) {
        add_cell(table, heading);
        table->n_columns++;
    }
    va_end(ap);
    return table;
}

void
ui_table_add(UiTable *table, const char *first, ...)
{
    va_list ap;

    va_start(ap, first);
    add_cell(table, first);
    for (guint i = 1; i < table->n_columns; i++)
        add_cell(table, va_arg(ap, const char *));
    va_end(ap);
}

/* Make the columns fit into the terminal by cutting the widest, cell by cell. */
static void
fit_widths(guint *widths, guint n, guint available)
{
    guint total = (n - 1) * GAP;

    for (guint i = 0; i < n; i++)
        total += widths[i];
    while (total > available) {
        guint widest = 0;

        for (guint i = 1; i < n; i++)
            if (widths[i] > widths[widest])
                widest = i;
        if (widths[widest] <= LEAST_WIDTH)
            return;
        widths[widest]--;
        total--;
    }
}

static void
print_row(UiTable *table, guint row, const guint *widths, gboolean bold)
{
    g_autoptr(GString) line = g_string_new(NULL);

    for (guint column = 0; column < table->n_columns; column++) {
        const char *cell = table->cells->pdata[row * table->n_columns + column];
        g_autofree char *text = ui_fit_text(cell, widths[column]);

        g_string_append(line, text);
        for (guint w = ui_text_width(text); column + 1 < table->n_columns && w < widths[column] + GAP; w++)
            g_string_append_c(line, ' ');
    }
    while (line->len > 0 && line->str[line->len - 1] == ' ')
        g_string_truncate(line, line->len - 1);
    printf(bold ? "\033[1m%s\033[0m\n" : "%s\n", line->str);
}

void
ui_table_print(UiTable *table)
{
    g_autofree guint *widths = g_new0(guint, table->n_columns);
    guint rows = table->cells->len / table->n_columns;
    guint available = ui_tty_columns(STDOUT_FILENO);

    for (guint i = 0; i < table->cells->len; i++)
        widths[i % table->n_columns] =
            MAX(widths[i % table->n_columns], ui_text_width(table->cells->pdata[i]));
    if (available > 0)
        fit_widths(widths, table->n_columns, available);
    for (guint row = 0; row < rows; row++)
        print_row(table, row, widths, row == 0 && ui_has_colour(STDOUT_FILENO));
}

void
ui_table_free(UiTable *table)
{
    if (!table)
        return;
    g_ptr_array_unref(table->cells);
    g_free(table);
}

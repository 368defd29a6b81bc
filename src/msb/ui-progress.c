/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <glib/gi18n.h>
#include <stdio.h>
#include <unistd.h>

#include "ui-message.h"
#include "ui-progress.h"
#include "ui-table.h"
#include "ui-tty.h"

#define REDRAW_US (100 * 1000)
#define BAR_WIDTH 24

struct _UiProgress {
    gboolean quiet;
    gboolean terminal;
    char *what;   /* the step that was said or drawn last */
    gint64 drawn; /* monotonic time of the last drawing */
};

/* Whether a line of ours stands on the terminal. */
static gboolean line_is_drawn;

UiProgress *
ui_progress_new(gboolean quiet)
{
    UiProgress *progress = g_new0(UiProgress, 1);

    progress->quiet = quiet;
    progress->terminal = isatty(STDERR_FILENO) && g_strcmp0(g_getenv("TERM"), "dumb") != 0;
    return progress;
}

void
ui_progress_clear_line(void)
{
    if (!line_is_drawn)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    line_is_drawn = FALSE;
}

/* "what  [#####.....] 12 MiB of 30 MiB", cut to the terminal's width. */
static void
draw(const char *what, guint64 done, guint64 total)
{
    g_autoptr(GString) line = g_string_new(what);
    g_autofree char *done_text = g_format_size_full(done, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *fitting = NULL;
    guint columns = ui_tty_columns(STDERR_FILENO);

    if (total > 0) {
        g_autofree char *total_text = g_format_size_full(total, G_FORMAT_SIZE_IEC_UNITS);
        guint filled = (guint)(MIN(done, total) * BAR_WIDTH / total);

        g_string_append(line, "  [");
        for (guint i = 0; i < BAR_WIDTH; i++)
            g_string_append_c(line, i < filled ? '#' : '.');
        g_string_append(line, "] ");
        /* TRANSLATORS: "12 MiB of 30 MiB" */
        g_string_append_printf(line, _("%s of %s"), done_text, total_text);
    } else if (done > 0) {
        g_string_append_printf(line, "  %s", done_text);
    }
    fitting = ui_fit_text(line->str, columns > 1 ? columns - 1 : 79);
    fprintf(stderr, "\r%s\033[K", fitting);
    fflush(stderr);
    line_is_drawn = TRUE;
}

void
ui_progress_update(const char *what, guint64 done, guint64 total, gpointer data)
{
    UiProgress *progress = data;
    g_autofree char *clean = NULL;
    gint64 now;
    gboolean changed;

    if (progress->quiet)
        return;
    changed = g_strcmp0(progress->what, what) != 0;
    now = g_get_monotonic_time();
    if (!changed && (!progress->terminal || (now - progress->drawn < REDRAW_US && done != total)))
        return;
    if (changed) {
        g_free(progress->what);
        progress->what = g_strdup(what);
    }
    clean = ui_clean_text(what);
    progress->drawn = now;
    if (progress->terminal)
        draw(clean, done, total);
    else
        fprintf(stderr, "%s\n", clean);
}

void
ui_progress_step(UiProgress *progress, const char *what)
{
    ui_progress_update(what, 0, 0, progress);
}

gboolean
ui_progress_is_drawn(const UiProgress *progress)
{
    return progress->terminal && !progress->quiet;
}

void
ui_progress_free(UiProgress *progress)
{
    if (!progress)
        return;
    if (progress->terminal && !progress->quiet)
        ui_progress_clear_line();
    g_free(progress->what);
    g_free(progress);
}

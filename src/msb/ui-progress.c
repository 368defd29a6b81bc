/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Progress: see the header.  On a terminal the lines are a block at the bottom:
 *
 *     4f4fb700ef54  [############............] 15.0 MiB of 30.0 MiB
 *     a1c3190df0aa  [########################] 2.1 MiB
 *     3 of 5  [###########.............] 48.0 MiB of 96.1 MiB, 11.2 MiB/s
 *
 * which is taken away and drawn again.  What has ended goes from the block when
 * it would be higher than the terminal.
 */
#include <config.h>

#include <glib/gi18n.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ui-message.h"
#include "ui-progress.h"
#include "ui-table.h"
#include "ui-tty.h"

#define REDRAW_US (100 * 1000)
#define BAR_WIDTH 24
#define DIGEST_PREFIX "sha256:"
#define DIGEST_DIGITS 12

/* Something that has a size. */
typedef struct {
    char *what;
    char *label; /* as it is shown */
    guint64 done, total;
} Item;

struct _UiProgress {
    gboolean quiet;
    gboolean terminal;
    char *step;       /* what has no size, the last one; NULL = none */
    guint64 step_done;
    GPtrArray *items; /* of Item, in the order in which they came */
    GHashTable *by_what;
    gint64 began; /* monotonic, with the first item */
    gint64 drawn; /* monotonic time of the last drawing */
};

/* Lines of ours that stand on the terminal; the cursor is at the end of the last. */
static guint lines_drawn;

static void
item_free(Item *item)
{
    g_free(item->what);
    g_free(item->label);
    g_free(item);
}

UiProgress *
ui_progress_new(gboolean quiet)
{
    UiProgress *progress = g_new0(UiProgress, 1);

    progress->quiet = quiet;
    progress->terminal = isatty(STDERR_FILENO) && g_strcmp0(g_getenv("TERM"), "dumb") != 0;
    progress->items = g_ptr_array_new_with_free_func((GDestroyNotify)item_free);
    progress->by_what = g_hash_table_new(g_str_hash, g_str_equal);
    return progress;
}

void
ui_progress_clear_line(void)
{
    if (lines_drawn == 0)
        return;
    fputc('\r', stderr);
    for (guint i = 1; i < lines_drawn; i++)
        fputs("\033[A", stderr);
    fputs("\033[J", stderr);
    fflush(stderr);
    lines_drawn = 0;
}

/* ---- text --------------------------------------------------------------------------- */

static char *
size_text(guint64 bytes)
{
    return g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS);
}

/* Digests by their beginning, as other tools show them. */
static char *
label_of(const char *what)
{
    if (g_str_has_prefix(what, DIGEST_PREFIX))
        return g_strndup(what + strlen(DIGEST_PREFIX), DIGEST_DIGITS);
    return ui_clean_text(what);
}

/* "label  [#####.....] 12 MiB of 30 MiB" */
static char *
bar_text(const char *label, guint64 done, guint64 total)
{
    g_autoptr(GString) line = g_string_new(label);
    guint filled = total ? (guint)((double)MIN(done, total) / (double)total * BAR_WIDTH) : BAR_WIDTH;
    g_autofree char *done_text = size_text(done);
    g_autofree char *total_text = size_text(total);

    g_string_append(line, "  [");
    for (guint i = 0; i < BAR_WIDTH; i++)
        g_string_append_c(line, i < filled ? '#' : '.');
    g_string_append(line, "] ");
    if (done < total)
        /* TRANSLATORS: "12 MiB of 30 MiB" */
        g_string_append_printf(line, _("%s of %s"), done_text, total_text);
    else
        g_string_append(line, total_text);
    return g_string_free(g_steal_pointer(&line), FALSE);
}

/* All items together. */
static char *
total_text(const UiProgress *progress)
{
    gint64 took = g_get_monotonic_time() - progress->began;
    guint64 done = 0, total = 0;
    guint ended = 0;
    g_autofree char *count = NULL, *bar = NULL, *rate = NULL;

    for (guint i = 0; i < progress->items->len; i++) {
        const Item *item = g_ptr_array_index(progress->items, i);

        done += item->done;
        total += item->total;
        ended += item->done >= item->total;
    }
    /* TRANSLATORS: "3 of 5" */
    count = g_strdup_printf(_("%u of %u"), ended, progress->items->len);
    bar = bar_text(count, done, total);
    if (took < G_USEC_PER_SEC)
        return g_steal_pointer(&bar);
    rate = size_text((guint64)((double)done * G_USEC_PER_SEC / (double)took));
    return g_strdup_printf("%s, %s/s", bar, rate);
}

/* ---- drawing --------------------------------------------------------------------------- */

static void
put_line(const char *text)
{
    guint columns = ui_tty_columns(STDERR_FILENO);
    g_autofree char *fitting = ui_fit_text(text, columns > 1 ? columns - 1 : 79);

    fprintf(stderr, "%s%s", lines_drawn > 0 ? "\n" : "", fitting);
    lines_drawn++;
}

static void
draw_items(const UiProgress *progress, guint room)
{
    gboolean all = progress->items->len <= room;

    for (guint i = 0; i < progress->items->len && room > 0; i++) {
        const Item *item = g_ptr_array_index(progress->items, i);
        g_autofree char *text = NULL;

        if (!all && (item->done >= item->total || item->done == 0))
            continue;
        text = bar_text(item->label, item->done, item->total);
        put_line(text);
        room--;
    }
}

static void
draw(UiProgress *progress)
{
    guint rows, columns;

    ui_tty_size(STDERR_FILENO, &rows, &columns);
    ui_progress_clear_line();
    draw_items(progress, rows > 4 ? rows - 3 : 1);
    if (progress->items->len > 1) {
        g_autofree char *text = total_text(progress);

        put_line(text);
    }
    if (progress->step) {
        g_autofree char *done = size_text(progress->step_done);
        g_autofree char *text = g_strdup_printf("%s  %s", progress->step, progress->step_done ? done : "");

        put_line(text);
    }
    fflush(stderr);
    progress->drawn = g_get_monotonic_time();
}

/* ---- updates ------------------------------------------------------------------------------ */

/* TRUE if this is news that must be shown. */
static gboolean
update_step(UiProgress *progress, const char *what, guint64 done)
{
    g_autofree char *label = label_of(what);
    gboolean changed = g_strcmp0(progress->step, label) != 0;

    progress->step_done = done;
    if (!changed)
        return FALSE;
    g_free(progress->step);
    progress->step = g_steal_pointer(&label);
    if (!progress->terminal)
        fprintf(stderr, "%s\n", progress->step);
    return TRUE;
}

static Item *
add_item(UiProgress *progress, const char *what, guint64 total)
{
    Item *item = g_new0(Item, 1);
    g_autofree char *size = size_text(total);

    item->what = g_strdup(what);
    item->label = label_of(what);
    item->total = total;
    if (progress->items->len == 0)
        progress->began = g_get_monotonic_time();
    g_ptr_array_add(progress->items, item);
    g_hash_table_insert(progress->by_what, item->what, item);
    if (!progress->terminal)
        fprintf(stderr, "%s: %s\n", item->label, size);
    return item;
}

static gboolean
update_item(UiProgress *progress, const char *what, guint64 done, guint64 total)
{
    Item *item = g_hash_table_lookup(progress->by_what, what);
    gboolean news = !item, ended;

    if (!item)
        item = add_item(progress, what, total);
    ended = done >= total && item->done < total;
    item->done = done;
    item->total = total;
    g_clear_pointer(&progress->step, g_free);
    if (ended && !progress->terminal)
        /* TRANSLATORS: a layer of an image is there */
        fprintf(stderr, _("%s: done\n"), item->label);
    return news || ended;
}

void
ui_progress_update(const char *what, guint64 done, guint64 total, gpointer data)
{
    UiProgress *progress = data;
    gboolean news;

    if (progress->quiet)
        return;
    news = total > 0 ? update_item(progress, what, done, total) : update_step(progress, what, done);
    if (progress->terminal && (news || g_get_monotonic_time() - progress->drawn >= REDRAW_US))
        draw(progress);
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
    g_free(progress->step);
    g_hash_table_unref(progress->by_what);
    g_ptr_array_unref(progress->items);
    g_free(progress);
}

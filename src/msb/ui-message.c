/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <glib/gi18n.h>
#include <stdio.h>
#include <unistd.h>

#include "ui-message.h"
#include "ui-progress.h"

#define RED "\033[1;31m"
#define YELLOW "\033[1;33m"
#define BOLD "\033[1m"
#define CYAN "\033[36m"
#define RESET "\033[0m"

gboolean
ui_has_colour(int fd)
{
    const char *no_colour = g_getenv("NO_COLOR");

    return isatty(fd) && !(no_colour && no_colour[0]) && g_strcmp0(g_getenv("TERM"), "dumb") != 0;
}

char *
ui_clean_text(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *clean = g_string_new(NULL);

    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (c == '\n')
            g_string_append_c(clean, '\n');
        else if (c == '\t')
            g_string_append_c(clean, ' ');
        else if (c == '\r')
            continue;
        else if (g_unichar_iscntrl(c))
            g_string_append_c(clean, '?');
        else
            g_string_append_unichar(clean, c);
    }
    return g_string_free(clean, FALSE);
}

static void say(const char *colour, const char *tag, const char *format, va_list ap) G_GNUC_PRINTF(3, 0);

/* "tag: text"; further lines of the text are indented. */
static void
say(const char *colour, const char *tag, const char *format, va_list ap)
{
    g_autofree char *raw = g_strdup_vprintf(format, ap);
    g_autofree char *text = ui_clean_text(raw);
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    g_autofree char *body = g_strjoinv("\n  ", lines);
    g_autofree char *line = NULL;

    ui_progress_clear_line();
    if (ui_has_colour(STDERR_FILENO))
        line = g_strdup_printf("%s%s:%s %s\n", colour, tag, RESET, body);
    else
        line = g_strdup_printf("%s: %s\n", tag, body);
    fputs(line, stderr);
    fflush(stderr);
}

#define SAY(colour, tag)                                                                                     \
    do {                                                                                                     \
        va_list ap;                                                                                          \
                                                                                                             \
        va_start(ap, format);                                                                                \
        say(colour, tag, format, ap);                                                                        \
        va_end(ap);                                                                                          \
    } while (0)

void
ui_error(const char *format, ...)
{
    /* TRANSLATORS: in front of a message, as are the next three */
    SAY(RED, _("error"));
}

void
ui_warning(const char *format, ...)
{
    SAY(YELLOW, _("warning"));
}

void
ui_note(const char *format, ...)
{
    SAY(BOLD, _("note"));
}

void
ui_hint(const char *format, ...)
{
    SAY(CYAN, _("hint"));
}

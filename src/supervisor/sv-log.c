/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The supervisor's log: see sv-log.h. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "mb-log.h"
#include "sv-log.h"
#include "sv-logfile.h"

static SvLogFile *log_file;
static enum mb_log_level log_level = MB_LOG_INFO;

static void
write_line(const char *who, const char *text)
{
    gint64 now = g_get_real_time();
    g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(now / G_USEC_PER_SEC);
    g_autofree char *seconds = g_date_time_format(t, "%Y-%m-%dT%H:%M:%S");
    g_autofree char *line =
        g_strdup_printf("%s.%06dZ %s: %s\n", seconds, (int)(now % G_USEC_PER_SEC), who, text);

    if (log_file)
        (void)sv_log_file_append(log_file, line, strlen(line));
    else
        fputs(line, stderr);
}

static GLogWriterOutput
glib_writer(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer data G_GNUC_UNUSED)
{
    g_autofree char *text = g_log_writer_format_fields(level, fields, n, FALSE);

    if ((level & (G_LOG_LEVEL_DEBUG | G_LOG_LEVEL_INFO)) && log_level < MB_LOG_DEBUG)
        return G_LOG_WRITER_HANDLED;
    write_line("glib", text);
    return G_LOG_WRITER_HANDLED;
}

gboolean
sv_log_open(const char *path, GError **error)
{
    const char *level = g_getenv("MSB_LOG_LEVEL");

    if (!level || mb_log_parse_level(level, &log_level) < 0)
        log_level = MB_LOG_INFO;
    log_file = sv_log_file_open(path, SV_LOG_LIMIT, 1, error);
    if (!log_file)
        return FALSE;
    g_log_set_writer_func(glib_writer, NULL, NULL);
    return TRUE;
}

void
sv_log_close(void)
{
    g_clear_pointer(&log_file, sv_log_file_free);
}

void
sv_info(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    if (log_level < MB_LOG_INFO)
        return;
    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    write_line("supervisor", text);
}

void
sv_warn(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    if (log_level < MB_LOG_WARN)
        return;
    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    write_line("supervisor: warning", text);
}

char *
sv_printable(const char *text, gsize max)
{
    g_autofree char *valid = g_utf8_make_valid(text, (gssize)strnlen(text, max + 1));
    GString *shown = g_string_sized_new(64);

    /* The text stays readable in any language; what terminals obey goes, in both of its forms (C0 and C1). */
    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        const char *next = g_utf8_next_char(p);
        gunichar c = g_utf8_get_char(p);

        if ((gsize)(next - valid) > max) {
            g_string_append(shown, "...");
            break;
        }
        if (c != '\t' && g_unichar_iscntrl(c))
            g_string_append_printf(shown, "\\%03o", c);
        else
            g_string_append_len(shown, p, next - p);
    }
    return g_string_free(shown, FALSE);
}

void
sv_log_line(const char *who, const char *text)
{
    g_autofree char *shown = sv_printable(text, SV_LINE_MAX);

    write_line(who, g_strchomp(shown));
}

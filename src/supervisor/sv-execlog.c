/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The exec log: see sv-execlog.h.  A record is built in one buffer that is kept
 * from call to call, and appended with one write.
 */
#include <config.h>

#include <string.h>

#include "sv-execlog.h"
#include "sv-log.h"
#include "sv-logfile.h"

struct SvExecLog {
    SvLogFile *file;
    GString *line;
    gboolean failing;       /* the last write failed, and that was told */
};

SvExecLog *
sv_exec_log_open(const char *path, GError **error)
{
    SvLogFile *file = sv_log_file_open(path, SV_EXECLOG_LIMIT, SV_EXECLOG_KEEP, error);
    SvExecLog *log;

    if (!file)
        return NULL;
    log = g_new0(SvExecLog, 1);
    log->file = file;
    log->line = g_string_sized_new(1024);
    return log;
}

void
sv_exec_log_free(SvExecLog *log)
{
    if (!log)
        return;
    sv_log_file_free(log->file);
    g_string_free(log->line, TRUE);
    g_free(log);
}

/* p as the inside of a JSON string; it is valid UTF-8. */
static void
append_escaped(GString *line, const char *p, gsize n)
{
    gsize plain = 0;

    for (gsize i = 0; i < n; i++) {
        guchar c = (guchar)p[i];

        if (G_LIKELY(c >= 0x20 && c != '"' && c != '\\'))
            continue;
        g_string_append_len(line, p + plain, (gssize)(i - plain));
        plain = i + 1;
        switch (c) {
        case '\n':
            g_string_append(line, "\\n");
            break;
        case '\r':
            g_string_append(line, "\\r");
            break;
        case '\t':
            g_string_append(line, "\\t");
            break;
        case '"':
        case '\\':
            g_string_append_c(line, '\\');
            g_string_append_c(line, (char)c);
            break;
        default:
            g_string_append_printf(line, "\\u%04x", c);
            break;
        }
    }
    g_string_append_len(line, p + plain, (gssize)(n - plain));
}

static void
begin_record(SvExecLog *log, const char *s, guint32 id)
{
    gint64 now = g_get_real_time();
    g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(now / G_USEC_PER_SEC);
    g_autofree char *seconds = g_date_time_format(t, "%Y-%m-%dT%H:%M:%S");

    g_string_printf(log->line, "{\"t\":\"%s.%06dZ\",\"s\":\"%s\"", seconds, (int)(now % G_USEC_PER_SEC), s);
    if (id)
        g_string_append_printf(log->line, ",\"id\":%u", id);
}

static void
end_record(SvExecLog *log)
{
    int r;

    g_string_append(log->line, "}\n");
    r = sv_log_file_append(log->file, log->line->str, log->line->len);
    if (r < 0 && !log->failing)
        sv_warn("exec.log: output is being lost: %s", g_strerror(-r));
    log->failing = r < 0;
    /* One large record must not pin its size for the life of the sandbox. */
    if (log->line->allocated_len > 256 * 1024) {
        g_string_free(log->line, TRUE);
        log->line = g_string_sized_new(1024);
    }
}

static void
write_record(SvExecLog *log, const char *s, guint32 id, const guint8 *p, gsize n, gboolean is_text)
{
    begin_record(log, s, id);
    if (is_text) {
        g_string_append(log->line, ",\"d\":\"");
        append_escaped(log->line, (const char *)p, n);
    } else {
        g_autofree char *encoded = g_base64_encode(p, n);

        g_string_append(log->line, ",\"b\":\"");
        g_string_append(log->line, encoded);
    }
    g_string_append_c(log->line, '"');
    end_record(log);
}

/* How many bytes at the end of p begin a character that is not complete; *is_text: the rest is text. */
static gsize
split_tail(const guint8 *p, gsize n, gboolean *is_text)
{
    const char *end;
    gsize left;

    *is_text = g_utf8_validate_len((const char *)p, n, &end);
    if (*is_text)
        return 0;
    left = n - (gsize)(end - (const char *)p);
    if (left > 3 || g_utf8_get_char_validated(end, (gssize)left) != (gunichar)-2)
        return 0;
    *is_text = TRUE;
    return left;
}

void
sv_exec_log_output(SvExecLog *log, const char *s, guint32 id, SvLogTail *tail, const guint8 *p, gsize n)
{
    g_autofree guint8 *joined = NULL;
    gboolean is_text;
    gsize left;

    if (n == 0)
        return;
    if (tail->n > 0) {
        joined = g_malloc(tail->n + n);
        memcpy(joined, tail->bytes, tail->n);
        memcpy(joined + tail->n, p, n);
        n += tail->n;
        p = joined;
        tail->n = 0;
    }
    left = split_tail(p, n, &is_text);
    if (left > 0) {
        memcpy(tail->bytes, p + n - left, left);
        tail->n = (guint)left;
    }
    if (n > left)
        write_record(log, s, id, p, n - left, is_text);
}

void
sv_exec_log_end(SvExecLog *log, const char *s, guint32 id, SvLogTail *tail)
{
    if (tail->n > 0)
        write_record(log, s, id, tail->bytes, tail->n, FALSE);
    tail->n = 0;
}

void
sv_exec_log_system(SvExecLog *log, guint32 id, const char *format, ...)
{
    g_autofree char *text = NULL;
    g_autofree char *valid = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    valid = g_utf8_make_valid(text, -1);
    write_record(log, "system", id, (const guint8 *)valid, strlen(valid), TRUE);
}

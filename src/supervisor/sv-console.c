/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The console's log: see sv-console.h.  libvirt writes it; the guest decides
 * what is in it, so only its last bytes are read, and nothing of it is trusted.
 */
#include <config.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "sv-console.h"
#include "sv-log.h"

#define TAIL_BYTES (16u * 1024)
#define LINE_BYTES 300u

guint64
sv_console_size(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (guint64)st.st_size : 0;
}

/* The last TAIL_BYTES after start, as lines without escape sequences and control characters. */
static char **
read_lines(const char *path, guint64 start)
{
    mb_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    guint64 size = sv_console_size(path);
    g_autofree char *buf = g_malloc(TAIL_BYTES + 1);
    g_autofree char *valid = NULL;
    g_autoptr(GRegex) escapes =
        g_regex_new("(\\x1b\\[|\\x{9b})[0-9;?]*[a-zA-Z]|[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x{9f}]", 0, 0, NULL);
    g_autofree char *plain = NULL;
    guint64 from = size > TAIL_BYTES ? MAX(start, size - TAIL_BYTES) : start;
    ssize_t n;

    /* A log that was rotated in between begins anew. */
    if (from > size)
        from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
    n = fd >= 0 ? mb_pread_full(fd, buf, TAIL_BYTES, (off_t)from) : 0;
    valid = g_utf8_make_valid(buf, n > 0 ? (gssize)n : 0);
    plain = g_regex_replace_literal(escapes, valid, -1, 0, "", 0, NULL);
    return g_strsplit(plain ? plain : "", "\n", -1);
}

char *
sv_console_tail(const char *path, guint64 start, guint max_lines)
{
    g_auto(GStrv) lines = read_lines(path, start);
    g_autoptr(GString) text = g_string_new(NULL);
    guint n = g_strv_length(lines);
    guint first = n, taken = 0;

    while (first > 0 && taken < max_lines)
        taken += *g_strchomp(lines[--first]) != 0;
    for (; first < n; first++) {
        g_autofree char *line = sv_printable(lines[first], LINE_BYTES);

        if (*line)
            g_string_append_printf(text, "%s%s", text->len ? "\n" : "", line);
    }
    return text->len ? g_string_free(g_steal_pointer(&text), FALSE) : NULL;
}

char *
sv_console_find_panic(const char *path, guint64 start)
{
    g_auto(GStrv) lines = read_lines(path, start);

    for (char **line = lines; *line; line++) {
        const char *found = strstr(*line, "Kernel panic - ");

        if (found)
            return sv_printable(found, LINE_BYTES);
    }
    return NULL;
}

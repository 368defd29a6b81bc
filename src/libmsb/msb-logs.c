/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log reader: see msb-logs.h.
 *
 * A Source is one open file of the log and what of it has been read but is no
 * whole line yet.  Files are known by their inode, so a rotation while reading
 * neither repeats nor skips a line: the file that was current is read to its
 * end, then those that came between, then the new one.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-logs-private.h"

#define MAX_OLD 9             /* rotated files looked for */
#define MAX_LINE (2u * 1024 * 1024)
#define READ_SIZE (64u * 1024)
/* The sandbox's end makes no change in the log's directory if its supervisor was killed. */
#define ALIVE_CHECK_MS 1000

typedef struct {
    int fd;
    ino_t inode;
    GByteArray *buf;
    gboolean skipping;         /* inside a line that is too long */
} Source;

typedef struct {
    const char *path;
    const MsbLogOptions *options;
    MsbLogFunc func;
    gpointer data;
    gboolean stopped;          /* func had enough */
    GQueue held;               /* of MsbLogLine: the last ones, for tail */
    gint64 held_lines;
    gboolean holding;
} Reader;

/* ---- sources ---------------------------------------------------------------------- */

static void
source_free(Source *source)
{
    if (!source)
        return;
    mb_close(source->fd);
    g_byte_array_unref(source->buf);
    g_free(source);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Source, source_free)

/* The n-th old file, or with 0 the current one; NULL (and errno) if there is none. */
static Source *
source_open(const char *path, guint n)
{
    g_autofree char *name = n > 0 ? g_strdup_printf("%s.%u", path, n) : g_strdup(path);
    mb_autofd int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    Source *source;

    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;
    if (!S_ISREG(st.st_mode)) {
        errno = EINVAL;
        return NULL;
    }
    source = g_new0(Source, 1);
    source->fd = mb_steal_fd(&fd);
    source->inode = st.st_ino;
    source->buf = g_byte_array_new();
    return source;
}

/* ---- records ------------------------------------------------------------------------ */

static gboolean
wanted(const Reader *reader, const MsbLogRecord *r)
{
    const MsbLogOptions *o = reader->options;

    return (o->streams == 0 || (o->streams & r->stream)) && (o->id == 0 || o->id == r->id) &&
           (o->since == 0 || r->time >= o->since) && (o->until == 0 || r->time <= o->until);
}

/* Lines of text in a record: its newlines, and one for what follows the last. */
static gint64
count_lines(const MsbLogRecord *r)
{
    gint64 lines = 0;

    for (gsize i = 0; i < r->n; i++)
        lines += r->bytes[i] == '\n';
    return lines + (r->n > 0 && r->bytes[r->n - 1] != '\n');
}

static void
hold(Reader *reader, MsbLogLine *line)
{
    g_queue_push_tail(&reader->held, line);
    reader->held_lines += count_lines(&line->record);
    while (reader->held.length > 0) {
        MsbLogLine *first = g_queue_peek_head(&reader->held);
        gint64 lines = count_lines(&first->record);

        if (reader->held_lines - lines < reader->options->tail)
            break;
        reader->held_lines -= lines;
        msb_log_line_free(g_queue_pop_head(&reader->held));
    }
}

static void
take_line(Reader *reader, const char *text, gsize n)
{
    g_autoptr(MsbLogLine) line = msb_log_line_parse(text, n);

    if (!line || !wanted(reader, &line->record))
        return;
    if (reader->holding)
        hold(reader, g_steal_pointer(&line));
    else if (!reader->func(&line->record, reader->data))
        reader->stopped = TRUE;
}

/* Let go what tail held back; the first may begin in the middle. */
static void
release(Reader *reader)
{
    MsbLogLine *line;

    reader->holding = FALSE;
    while ((line = g_queue_pop_head(&reader->held))) {
        g_autoptr(MsbLogLine) owned = line;
        MsbLogRecord *r = &owned->record;

        for (; reader->held_lines > reader->options->tail && r->n > 0; r->bytes++, r->n--)
            reader->held_lines -= r->bytes[0] == '\n';
        if (!reader->stopped && r->n > 0 && !reader->func(r, reader->data))
            reader->stopped = TRUE;
    }
}

static void
cut_lines(Reader *reader, Source *source)
{
    GByteArray *buf = source->buf;
    guint start = 0;

    while (!reader->stopped) {
        const guint8 *nl = memchr(buf->data + start, '\n', buf->len - start);
        guint end;

        if (!nl)
            break;
        end = (guint)(nl - buf->data);
        if (!source->skipping)
            take_line(reader, (const char *)buf->data + start, end - start);
        source->skipping = FALSE;
        start = end + 1;
    }
    if (start > 0)
        g_byte_array_remove_range(buf, 0, start);
    if (buf->len > MAX_LINE) {
        source->skipping = TRUE;
        g_byte_array_set_size(buf, 0);
    }
}

/* Read to the present end. */
static gboolean
drain(Reader *reader, Source *source, GError **error)
{
    while (!reader->stopped) {
        guint have = source->buf->len;
        ssize_t n;

        g_byte_array_set_size(source->buf, have + READ_SIZE);
        do
            n = read(source->fd, source->buf->data + have, READ_SIZE);
        while (n < 0 && errno == EINTR);
        g_byte_array_set_size(source->buf, have + (n > 0 ? (guint)n : 0));
        if (n < 0)
            return msb_error_set_errno(error, errno, "cannot read '%s'", reader->path);
        if (n == 0)
            return TRUE;
        cut_lines(reader, source);
    }
    return TRUE;
}

/* ---- all files of the log ------------------------------------------------------------- */

/* The files that are older than the one with inode (0 = all there are), oldest last; NULL-terminated. */
static GPtrArray *
open_since(const char *path, ino_t inode)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func((GDestroyNotify)source_free);

    for (guint i = 0; i <= MAX_OLD; i++) {
        g_autoptr(Source) source = source_open(path, i);
        gboolean seen = FALSE;

        if (!source && i > 0)
            break;
        if (!source)
            continue;
        if (source->inode == inode)
            break;
        /* A rotation between two opens shows the same file twice. */
        for (guint j = 0; j < files->len; j++)
            seen = seen || ((Source *)g_ptr_array_index(files, j))->inode == source->inode;
        if (!seen)
            g_ptr_array_add(files, g_steal_pointer(&source));
    }
    return g_steal_pointer(&files);
}

/* Read the files, oldest first; the newest one stays open in *current. */
static gboolean
read_files(Reader *reader, GPtrArray *files, Source **current, GError **error)
{
    for (guint i = files->len; i > 0; i--) {
        if (!drain(reader, g_ptr_array_index(files, i - 1), error))
            return FALSE;
    }
    if (files->len > 0) {
        source_free(*current);
        *current = g_ptr_array_steal_index(files, 0);
    }
    return TRUE;
}

/* Whatever came since: in the current file, then in newer ones. */
static gboolean
read_more(Reader *reader, Source **current, GError **error)
{
    g_autoptr(GPtrArray) newer = NULL;
    struct stat st;

    if (*current && stat(reader->path, &st) == 0 && st.st_ino == (*current)->inode)
        return drain(reader, *current, error);
    /* It was rotated, perhaps more than once, or it has just been made. */
    newer = open_since(reader->path, *current ? (*current)->inode : 0);
    if (*current && !drain(reader, *current, error))
        return FALSE;
    return read_files(reader, newer, current, error);
}

/* Until something changes in the directory, at most ALIVE_CHECK_MS. */
static gboolean
wait_for_change(int inotify_fd, GCancellable *cancellable, GError **error)
{
    struct pollfd fds[2] = { { .fd = inotify_fd, .events = POLLIN },
                             { .fd = g_cancellable_get_fd(cancellable), .events = POLLIN } };
    char events[4096];

    (void)poll(fds, fds[1].fd >= 0 ? 2 : 1, ALIVE_CHECK_MS);
    if (fds[1].fd >= 0)
        g_cancellable_release_fd(cancellable);
    while (read(inotify_fd, events, sizeof(events)) > 0)
        continue;
    return !g_cancellable_set_error_if_cancelled(cancellable, error);
}

static gboolean
follow(Reader *reader, Source **current, int inotify_fd, MsbLogAliveFunc alive, gpointer alive_data,
       GCancellable *cancellable, GError **error)
{
    gboolean running = TRUE;

    while (running && !reader->stopped) {
        /* Asked before reading: what was written before the end is still read. */
        running = alive(alive_data);
        if (!read_more(reader, current, error))
            return FALSE;
        if (running && !reader->stopped && !wait_for_change(inotify_fd, cancellable, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
msb_logs_read_path(const char *path, const MsbLogOptions *options, MsbLogFunc func, gpointer data,
                   MsbLogAliveFunc alive, gpointer alive_data, GCancellable *cancellable, GError **error)
{
    Reader reader = { .path = path, .options = options, .func = func, .data = data,
                      .held = G_QUEUE_INIT, .holding = options->tail >= 0 };
    g_autofree char *dir = g_path_get_dirname(path);
    g_autoptr(GPtrArray) files = NULL;
    g_autoptr(Source) current = NULL;
    mb_autofd int inotify_fd = -1;
    gboolean good;

    if (options->follow) {
        inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (inotify_fd < 0 ||
            inotify_add_watch(inotify_fd, dir, IN_MODIFY | IN_CREATE | IN_MOVE | IN_DELETE | IN_ONLYDIR) < 0)
            return msb_error_set_errno(error, errno, "cannot watch '%s'", dir);
    }
    files = open_since(path, 0);
    good = read_files(&reader, files, &current, error);
    release(&reader);
    if (good && options->follow && !reader.stopped)
        good = follow(&reader, &current, inotify_fd, alive, alive_data, cancellable, error);
    return good;
}

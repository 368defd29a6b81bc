/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Links: see msb-link.h.
 *
 * One GSource per link watches the descriptor.  Output is a queue of shared
 * byte strings, written with sendmsg(); the first write is tried at once, so a
 * short answer costs no extra turn of the main loop.  Any callback may close or
 * unreference the link, so each dispatch holds a reference and looks at fd
 * again after every call.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-link.h"
#include "msb-refs.h"

#define MAX_IOV 16
/* Bytes handled per dispatch, so that one busy link does not starve the others. */
#define READ_BUDGET (512u * 1024)
/* Payloads up to this are copied behind their header, larger ones are shared. */
#define INLINE_PAYLOAD 2048u

struct _MsbLink {
    gatomicrefcount refs;
    int fd;                 /* -1 once closed */
    GSource *source;
    gpointer tag;           /* fd tag of the source */
    const MsbLinkFuncs *funcs;
    gpointer data;
    struct mp_reader reader;
    GQueue out;             /* of GBytes */
    gsize out_offset;       /* bytes of the first one that are written */
    gsize queued;
    gboolean reading;
    gboolean closing;       /* close_after_write() was called */
    gboolean above_low;     /* the queue was above the low-water mark */
};

typedef struct {
    GSource base;
    MsbLink *link;          /* borrowed: the link destroys its source */
} LinkSource;

static gboolean handle_io(MsbLink *link, GIOCondition condition);

static gboolean
source_dispatch(GSource *source, GSourceFunc callback G_GNUC_UNUSED, gpointer data G_GNUC_UNUSED)
{
    g_autoptr(MsbLink) link = msb_link_ref(((LinkSource *)source)->link);

    handle_io(link, g_source_query_unix_fd(source, link->tag));
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = { NULL, NULL, source_dispatch, NULL, NULL, NULL };

static GIOCondition
wanted_condition(const MsbLink *link)
{
    GIOCondition want = 0;

    if (link->reading && !link->closing)
        want |= G_IO_IN;
    if (link->queued > 0)
        want |= G_IO_OUT;
    return want;
}

static void
update_source(MsbLink *link)
{
    if (link->fd >= 0)
        g_source_modify_unix_fd(link->source, link->tag, wanted_condition(link));
}

MsbLink *
msb_link_new(int fd, const MsbLinkFuncs *funcs, gpointer data)
{
    MsbLink *link = g_new0(MsbLink, 1);

    g_atomic_ref_count_init(&link->refs);
    link->fd = fd;
    link->funcs = funcs;
    link->data = data;
    link->reading = TRUE;
    g_queue_init(&link->out);
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);

    link->source = g_source_new(&source_funcs, sizeof(LinkSource));
    ((LinkSource *)link->source)->link = link;
    g_source_set_static_name(link->source, "msb-link");
    link->tag = g_source_add_unix_fd(link->source, fd, G_IO_IN);
    g_source_attach(link->source, g_main_context_get_thread_default());
    return link;
}

static void
link_free(MsbLink *link)
{
    msb_link_close(link);
    g_free(link);
}

MSB_DEFINE_REFS(MsbLink, msb_link, link_free)

void
msb_link_close(MsbLink *link)
{
    if (link->fd < 0)
        return;
    g_source_destroy(link->source);
    g_clear_pointer(&link->source, g_source_unref);
    mb_close(mb_steal_fd(&link->fd));
    mp_reader_clear(&link->reader);
    g_queue_clear_full(&link->out, (GDestroyNotify)g_bytes_unref);
    link->queued = 0;
}

gboolean
msb_link_is_closed(const MsbLink *link)
{
    return link->fd < 0;
}

gsize
msb_link_get_queued(const MsbLink *link)
{
    return link->queued;
}

static void
fail(MsbLink *link, const GError *error)
{
    if (link->fd < 0)
        return;
    msb_link_close(link);
    link->funcs->closed(link, error, link->data);
}

static void
fail_errno(MsbLink *link, int errnum, const char *what)
{
    g_autoptr(GError) error = NULL;

    msb_error_set_errno(&error, errnum, "%s", what);
    fail(link, error);
}

/* ---- output ---------------------------------------------------------------- */

static void
forget_written(MsbLink *link, gsize n)
{
    link->queued -= n;
    while (n > 0) {
        GBytes *first = g_queue_peek_head(&link->out);
        gsize left = g_bytes_get_size(first) - link->out_offset;

        if (n < left) {
            link->out_offset += n;
            return;
        }
        n -= left;
        link->out_offset = 0;
        g_bytes_unref(g_queue_pop_head(&link->out));
    }
}

/* Write what the peer takes: 0 or -errno. */
static int
flush(MsbLink *link)
{
    while (link->queued > 0) {
        struct iovec iov[MAX_IOV];
        struct msghdr msg = { .msg_iov = iov };
        ssize_t written;

        for (GList *l = link->out.head; l && msg.msg_iovlen < MAX_IOV; l = l->next) {
            gsize size;
            const guint8 *p = g_bytes_get_data(l->data, &size);
            gsize skip = msg.msg_iovlen == 0 ? link->out_offset : 0;

            iov[msg.msg_iovlen].iov_base = (void *)(p + skip);
            iov[msg.msg_iovlen++].iov_len = size - skip;
        }
        written = sendmsg(link->fd, &msg, MSG_NOSIGNAL);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno == EAGAIN ? 0 : -errno;
        forget_written(link, (gsize)written);
    }
    return 0;
}

static gboolean
flush_when_writable(MsbLink *link)
{
    int r = flush(link);

    if (r < 0) {
        fail_errno(link, -r, "cannot write to the peer");
        return FALSE;
    }
    if (link->above_low && link->queued <= MSB_LINK_LOW_WATER) {
        link->above_low = FALSE;
        if (link->funcs->drained)
            link->funcs->drained(link, link->data);
    }
    if (link->fd >= 0 && link->closing && link->queued == 0)
        msb_link_close(link);
    update_source(link);
    return link->fd >= 0;
}

static void
enqueue(MsbLink *link, GBytes *bytes)
{
    gsize n = g_bytes_get_size(bytes);

    if (link->fd < 0 || link->closing || n == 0) {
        g_bytes_unref(bytes);
        return;
    }
    g_queue_push_tail(&link->out, bytes);
    link->queued += n;
}

/* After enqueueing: try to write when nothing waits before it.  An error is left to the next dispatch, which
 * sees it too, so that no callback ever comes from within a send. */
static void
kick(MsbLink *link, gboolean was_empty)
{
    if (link->fd < 0 || (was_empty && flush(link) < 0))
        return;
    if (link->queued > MSB_LINK_LOW_WATER)
        link->above_low = TRUE;
    update_source(link);
}

void
msb_link_send(MsbLink *link, struct mp_enc *enc)
{
    gboolean was_empty = link->queued == 0;

    enqueue(link, g_bytes_new(enc->buf, enc->len));
    mp_enc_clear(enc);
    kick(link, was_empty);
}

static GBytes *
make_header(guint16 type, guint32 session, const void *p, gsize n, gsize payload_size)
{
    struct mp_header h = { .length = (guint32)payload_size, .session = session, .type = type };
    guint8 *buf = g_malloc(MP_FRAME_HEADER_SIZE + n);

    mp_header_encode(&h, buf);
    if (n > 0)
        memcpy(buf + MP_FRAME_HEADER_SIZE, p, n);
    return g_bytes_new_take(buf, MP_FRAME_HEADER_SIZE + n);
}

void
msb_link_send_bytes(MsbLink *link, guint16 type, guint32 session, GBytes *bytes)
{
    gboolean was_empty = link->queued == 0;
    gsize n = 0;
    const void *p = bytes ? g_bytes_get_data(bytes, &n) : NULL;

    if (n <= INLINE_PAYLOAD) {
        enqueue(link, make_header(type, session, p, n, n));
    } else {
        enqueue(link, make_header(type, session, NULL, 0, n));
        enqueue(link, g_bytes_ref(bytes));
    }
    kick(link, was_empty);
}

void
msb_link_send_data(MsbLink *link, guint16 type, guint32 session, const void *p, gsize n)
{
    gboolean was_empty = link->queued == 0;

    enqueue(link, make_header(type, session, p, n, n));
    kick(link, was_empty);
}

/* ---- input ----------------------------------------------------------------- */

/* Hand out every whole frame that is buffered.  FALSE when the link is closed. */
static gboolean
deliver_frames(MsbLink *link)
{
    struct mp_header h;
    const uint8_t *payload;
    int r;

    while (link->fd >= 0 && (r = mp_reader_next(&link->reader, &h, &payload)) != 0) {
        g_autoptr(GError) error = NULL;

        if (r < 0) {
            fail_errno(link, -r, "the peer's stream is not made of frames");
            return FALSE;
        }
        if (!link->funcs->frame(link, &h, payload, link->data, &error)) {
            fail(link, error);
            return FALSE;
        }
    }
    return link->fd >= 0;
}

static gboolean
read_frames(MsbLink *link)
{
    gsize budget = READ_BUDGET;

    while (link->reading && budget > 0) {
        size_t space;
        uint8_t *p = mp_reader_space(&link->reader, &space);
        ssize_t n;

        if (!p) {
            fail_errno(link, ENOMEM, "cannot read from the peer");
            return FALSE;
        }
        n = read(link->fd, p, space);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0 && errno != ECONNRESET) {
            fail_errno(link, errno, "cannot read from the peer");
            return FALSE;
        }
        if (n <= 0) {
            fail(link, NULL);
            return FALSE;
        }
        mp_reader_added(&link->reader, (size_t)n);
        if (!deliver_frames(link))
            return FALSE;
        budget -= MIN(budget, (gsize)n);
        if ((size_t)n < space)
            break;
    }
    return TRUE;
}

/* TRUE when there was something to do. */
static gboolean
handle_io(MsbLink *link, GIOCondition condition)
{
    gboolean can_read;

    if (link->fd < 0 || condition == 0)
        return FALSE;
    if ((condition & G_IO_OUT) && !flush_when_writable(link))
        return TRUE;
    can_read = link->reading && !link->closing;
    if (can_read && (condition & (G_IO_IN | G_IO_HUP | G_IO_ERR))) {
        read_frames(link);
        return TRUE;
    }
    /* Not reading, and the peer is gone for good: nothing that is queued will ever be taken. */
    if (condition & (G_IO_HUP | G_IO_ERR)) {
        if (link->closing)
            msb_link_close(link);
        else
            fail(link, NULL);
    }
    return TRUE;
}

void
msb_link_set_reading(MsbLink *link, gboolean reading)
{
    link->reading = reading;
    update_source(link);
}

void
msb_link_close_after_write(MsbLink *link)
{
    link->closing = TRUE;
    if (link->queued == 0)
        msb_link_close(link);
    else
        update_source(link);
}

gboolean
msb_link_iterate(MsbLink *link, int timeout_ms)
{
    g_autoptr(MsbLink) hold = msb_link_ref(link);
    struct pollfd pfd = { .fd = link->fd };
    GIOCondition want = wanted_condition(link);
    int r;

    if (link->fd < 0)
        return FALSE;
    pfd.events = (short)((want & G_IO_IN ? POLLIN : 0) | (want & G_IO_OUT ? POLLOUT : 0));
    do
        r = poll(&pfd, 1, timeout_ms);
    while (r < 0 && errno == EINTR);
    if (r <= 0)
        return FALSE;
    /* GIOCondition has the values of poll(2). */
    return handle_io(link, (GIOCondition)pfd.revents);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <glib-unix.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "sv-log.h"
#include "sv-resize.h"

#define ANSWER_MAX 1024u

struct SvResize {
    const char *id;
    SvResizeDone done;
    gpointer data;
    int fd;                     /* our end; -1 = no process */
    guint source;
    gboolean asked;             /* and not answered yet */
};

static void
finish(SvResize *resize, const char *reason)
{
    if (!resize->asked)
        return;
    resize->asked = FALSE;
    if (resize->done)
        resize->done(resize->id, reason, resize->data);
}

static void
disconnect(SvResize *resize)
{
    if (resize->source)
        g_source_remove(resize->source);
    resize->source = 0;
    mb_close(mb_steal_fd(&resize->fd));
}

/* FALSE at the end. */
static gboolean
take_answer(SvResize *resize)
{
    g_autofree char *reason = NULL;
    char answer[ANSWER_MAX];
    ssize_t n = recv(resize->fd, answer, sizeof(answer) - 1, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return FALSE;
    answer[n] = '\0';
    if (answer[0] != '+')
        reason = sv_printable(answer + 1, ANSWER_MAX); /* a guest may have taken it over */
    finish(resize, reason);
    return TRUE;
}

static gboolean
readable(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    SvResize *resize = data;

    if (take_answer(resize))
        return G_SOURCE_CONTINUE;
    resize->source = 0; /* the process is ending: its pidfd tells */
    return G_SOURCE_REMOVE;
}

SvResize *
sv_resize_new(const char *id, SvResizeDone done, gpointer data)
{
    SvResize *resize = g_new0(SvResize, 1);

    resize->id = id;
    resize->done = done;
    resize->data = data;
    resize->fd = -1;
    return resize;
}

void
sv_resize_free(SvResize *resize)
{
    if (!resize)
        return;
    disconnect(resize);
    g_free(resize);
}

int
sv_resize_open(SvResize *resize, GError **error)
{
    int pair[2];

    disconnect(resize);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        msb_error_set_errno(error, errno, "a socket");
        return -1;
    }
    resize->fd = pair[0];
    resize->source = g_unix_fd_add(resize->fd, G_IO_IN, readable, resize);
    return pair[1];
}

gboolean
sv_resize_ask(SvResize *resize, const char *size)
{
    if (resize->asked || resize->fd < 0 || send(resize->fd, size, strlen(size), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return FALSE;
    resize->asked = TRUE;
    return TRUE;
}

void
sv_resize_lost(SvResize *resize)
{
    if (resize->fd >= 0)
        (void)take_answer(resize); /* what it said last */
    disconnect(resize);
    finish(resize, "the back-end of the disk ended meanwhile; see how large the disk is, and ask again");
}

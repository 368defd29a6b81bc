/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk's back-end is asked to make the disk larger: the socket of its
 * --resize-fd, made anew for each process, and the one request that can be under
 * way.  The caller sends the SIGHUP that makes the back-end look.
 */
#ifndef SV_RESIZE_H
#define SV_RESIZE_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct SvResize SvResize;

/* The request about the disk id has ended: reason NULL, it has that size; otherwise why it has not. */
typedef void (*SvResizeDone)(const char *id, const char *reason, gpointer data);

/* id is borrowed and outlives it; done may be NULL. */
SvResize *sv_resize_new(const char *id, SvResizeDone done, gpointer data);
void sv_resize_free(SvResize *resize);

/* For a new process: its end of a socket, the caller's to close; -1 with error. */
int sv_resize_open(SvResize *resize, GError **error);
/* size: digits, or a plus sign and digits. FALSE: a request is under way, or there is no process. */
gboolean sv_resize_ask(SvResize *resize, const char *size);
/* The process has ended. A request that was under way was carried out or not. */
void sv_resize_lost(SvResize *resize);

G_END_DECLS

#endif

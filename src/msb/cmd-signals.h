/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signals of the commands that have something to undo.  Such a command calls
 * cmd_signals_init() before anything else (before there are threads): SIGINT,
 * SIGTERM, SIGHUP, SIGQUIT and SIGWINCH are blocked from then on and are read
 * from a descriptor, by a main loop or, during a blocking call, by a watch.
 */
#ifndef CMD_SIGNALS_H
#define CMD_SIGNALS_H

#include <glib.h>

void cmd_signals_init(void);
/* The signalfd, for a main loop; read with cmd_signals_next(). */
int cmd_signals_fd(void);
/* The next signal, 0 if there is none right now. */
int cmd_signals_next(void);

typedef struct _CmdWatch CmdWatch;
typedef void (*CmdWatchFunc)(gpointer data);

/* Call func from a thread of its own for every signal that asks to end, until cmd_watch_end(), which returns
 * the first of them or 0. */
CmdWatch *cmd_watch_begin(CmdWatchFunc func, gpointer data);
int cmd_watch_end(CmdWatch *watch);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The terminal: size, raw mode, and the keys that detach from it.  Raw mode is
 * taken back on every way out of the process: by ui_tty_restore(), at exit(), and
 * in the handlers of the signals that would kill it.
 */
#ifndef UI_TTY_H
#define UI_TTY_H

#include <glib.h>

/* Columns of the terminal on fd, 0 if it is none. */
guint ui_tty_columns(int fd);
/* Rows and columns; FALSE (24 and 80) if fd is no terminal or does not say. */
gboolean ui_tty_size(int fd, guint *rows, guint *columns);

/* Put the terminal on stdin into raw mode; FALSE with errno. */
gboolean ui_tty_raw(void);
/* Back to what it was; fine when it was never raw. */
void ui_tty_restore(void);

/* A sequence of bytes to look for in what is typed. */
#define UI_KEYS_MAX 8
typedef struct {
    guint8 bytes[UI_KEYS_MAX];
    guint n;                /* 0: no such sequence */
    guint matched;          /* bytes of it that were seen, and are held back */
} UiKeys;

/* docker's syntax: "ctrl-p,ctrl-q", "ctrl-]", "a"; "" = none. */
gboolean ui_keys_parse(const char *text, UiKeys *keys, GError **error);
/* Look for keys in in[0, n): TRUE when they are complete (what follows them is dropped). What is to be sent
 * on goes to out, which has room for n + UI_KEYS_MAX bytes; *out_n is its length. */
gboolean ui_keys_feed(UiKeys *keys, const guint8 *in, gsize n, guint8 *out, gsize *out_n);

#endif

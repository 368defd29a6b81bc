/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <glib/gi18n.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "msb.h"
#include "ui-tty.h"

static struct termios cooked;
static volatile sig_atomic_t is_raw;

guint
ui_tty_columns(int fd)
{
    struct winsize size;

    return isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

gboolean
ui_tty_size(int fd, guint *rows, guint *columns)
{
    struct winsize size;

    *rows = 24;
    *columns = 80;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
        return FALSE;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return TRUE;
}

void
ui_tty_restore(void)
{
    if (!is_raw)
        return;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
    is_raw = 0;
}

/* A crash or an untended signal: tcsetattr() is async-signal-safe. The default action follows. */
static void
on_fatal_signal(int signum)
{
    ui_tty_restore();
    raise(signum);
}

static void
install_fatal_handlers(void)
{
    static const int signals[] = {SIGABRT, SIGBUS,  SIGFPE,  SIGILL, SIGSEGV,
                                  SIGSYS,  SIGTRAP, SIGXCPU, SIGXFSZ};
    struct sigaction action = {.sa_handler = on_fatal_signal, .sa_flags = SA_RESETHAND | SA_NODEFER};

    for (guint i = 0; i < G_N_ELEMENTS(signals); i++)
        sigaction(signals[i], &action, NULL);
}

gboolean
ui_tty_raw(void)
{
    static gboolean installed;
    struct termios raw;

    if (is_raw)
        return TRUE;
    if (tcgetattr(STDIN_FILENO, &cooked) < 0)
        return FALSE;
    if (!installed) {
        atexit(ui_tty_restore);
        install_fatal_handlers();
        installed = TRUE;
    }
    raw = cooked;
    cfmakeraw(&raw);
    is_raw = 1;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0) {
        is_raw = 0;
        return FALSE;
    }
    return TRUE;
}

/* One element: a character, or ctrl- and one of @ A-Z a-z [ \ ] ^ _ */
static gboolean
parse_key(const char *text, guint8 *byte)
{
    char c;

    if (strlen(text) == 1 && (guchar)text[0] < 0x80) {
        *byte = (guint8)text[0];
        return TRUE;
    }
    if (g_ascii_strncasecmp(text, "ctrl-", 5) != 0 || strlen(text) != 6)
        return FALSE;
    c = g_ascii_toupper(text[5]);
    if (c < '@' || c > '_')
        return FALSE;
    *byte = (guint8)(c - '@');
    return TRUE;
}

gboolean
ui_keys_parse(const char *text, UiKeys *keys, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    memset(keys, 0, sizeof(*keys));
    if (!text[0])
        return TRUE;
    for (guint i = 0; parts[i]; i++) {
        if (keys->n == UI_KEYS_MAX || !parse_key(parts[i], &keys->bytes[keys->n])) {
            g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID,
                        _("detach keys '%s' are not of the form 'ctrl-p,ctrl-q' (at most %d keys, each a "
                          "character or ctrl- and a letter or one of @[\\]^_)"),
                        text, UI_KEYS_MAX);
            return FALSE;
        }
        keys->n++;
    }
    return TRUE;
}

/* After a mismatch the held bytes may still begin the sequence further on: how many of held[0, n) do. */
static guint
longest_restart(const UiKeys *keys, const guint8 *held, guint n)
{
    for (guint length = n - 1; length > 0; length--)
        if (memcmp(held + n - length, keys->bytes, length) == 0)
            return length;
    return 0;
}

gboolean
ui_keys_feed(UiKeys *keys, const guint8 *in, gsize n, guint8 *out, gsize *out_n)
{
    gsize used = 0;

    for (gsize i = 0; i < n; i++) {
        guint8 held[UI_KEYS_MAX + 1];
        guint keep, count = keys->matched + 1;

        memcpy(held, keys->bytes, keys->matched);
        held[keys->matched] = in[i];
        if (keys->n > 0 && in[i] == keys->bytes[keys->matched]) {
            if (++keys->matched == keys->n) {
                keys->matched = 0;
                *out_n = used;
                return TRUE;
            }
            continue;
        }
        keep = keys->n > 0 ? longest_restart(keys, held, count) : 0;
        memcpy(out + used, held, count - keep);
        used += count - keep;
        keys->matched = keep;
    }
    *out_n = used;
    return FALSE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the terminal side decides without a terminal: widths, cutting, cleaning, detach keys. */
#include <config.h>

#include <locale.h>
#include <string.h>

#include "msb.h"
#include "ui-json.h"
#include "ui-message.h"
#include "ui-safe.h"
#include "ui-table.h"
#include "ui-tty.h"

static void
test_width(void)
{
    g_assert_cmpuint(ui_text_width(""), ==, 0);
    g_assert_cmpuint(ui_text_width("abc"), ==, 3);
    g_assert_cmpuint(ui_text_width("äöü"), ==, 3);
    g_assert_cmpuint(ui_text_width("日本"), ==, 4);
    g_assert_cmpuint(ui_text_width("e\xcc\x81"), ==, 1); /* a combining accent */
}

static void
test_fit(void)
{
    static const struct {
        const char *text;
        guint width;
        const char *result;
    } cases[] = {
        {"short", 5, "short"},  {"longer", 5, "long…"}, {"x", 0, ""},       {"日本語", 6, "日本語"},
        {"日本語", 5, "日本…"}, {"日本語", 4, "日…"},   {"a日本", 3, "a…"}, {"", 3, ""},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *fitted = ui_fit_text(cases[i].text, cases[i].width);

        g_assert_cmpstr(fitted, ==, cases[i].result);
        g_assert_cmpuint(ui_text_width(fitted), <=, cases[i].width);
    }
}

/* Nothing that a guest or an archive has named does anything to the terminal. */
static void
test_clean(void)
{
    static const char *const cases[][2] = {
        {"plain äöü\n", "plain äöü\n"},
        {"\033[2Jgone", "?[2Jgone"},
        {"a\tb\rc\a", "a bc?"},
        {"\xc2\x9b"
         "31m",
         "?31m"}, /* CSI as one C1 character */
        {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\x7f", "?"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *clean = ui_clean_text(cases[i][0]);

        g_assert_cmpstr(clean, ==, cases[i][1]);
    }
}

static void
test_keys_parse(void)
{
    static const char *const bad[] = {"ctrl-",          "ctrl-ab", "ctrl-1", ",",
                                      "ctrl-p,,ctrl-q", "ab",      "ü",      "a,b,c,d,e,f,g,h,i"};
    UiKeys keys;

    g_assert_true(ui_keys_parse("ctrl-p,CTRL-q", &keys, NULL));
    g_assert_cmpuint(keys.n, ==, 2);
    g_assert_cmpuint(keys.bytes[0], ==, 16);
    g_assert_cmpuint(keys.bytes[1], ==, 17);
    g_assert_true(ui_keys_parse("ctrl-]", &keys, NULL));
    g_assert_cmpuint(keys.bytes[0], ==, 0x1d);
    g_assert_true(ui_keys_parse("ctrl-@,a,~", &keys, NULL));
    g_assert_cmpuint(keys.bytes[0], ==, 0);
    g_assert_true(ui_keys_parse("", &keys, NULL));
    g_assert_cmpuint(keys.n, ==, 0);
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(ui_keys_parse(bad[i], &keys, &error));
        g_assert_error(error, MSB_ERROR, MSB_ERROR_INVALID);
    }
}

/* Feed typed in pieces of every size: what is sent on, and whether the keys were found, do not depend on the
 * cut. */
static void
check_feed(const char *keys_text, const char *typed, const char *sent, gboolean found)
{
    gsize n = strlen(typed);

    for (gsize piece = 1; piece <= n; piece++) {
        g_autoptr(GString) out = g_string_new(NULL);
        gboolean complete = FALSE;
        UiKeys keys;

        g_assert_true(ui_keys_parse(keys_text, &keys, NULL));
        for (gsize at = 0; at < n && !complete; at += piece) {
            guint8 passed[64 + UI_KEYS_MAX];
            gsize passed_n = 0;

            complete = ui_keys_feed(&keys, (const guint8 *)typed + at, MIN(piece, n - at), passed, &passed_n);
            g_string_append_len(out, (const char *)passed, (gssize)passed_n);
        }
        g_assert_cmpint(complete, ==, found);
        g_assert_cmpstr(out->str, ==, sent);
    }
}

static void
test_keys_feed(void)
{
    check_feed("ctrl-]", "abc", "abc", FALSE);
    check_feed("ctrl-]", "ab\035cd", "ab", TRUE);
    check_feed("ctrl-p,ctrl-q", "a\020b\020\021c", "a\020b", TRUE);
    check_feed("ctrl-p,ctrl-q", "\020\020\020\021", "\020\020", TRUE);
    check_feed("a,a,b", "aaab", "a", TRUE);
    check_feed("a,b,a,c", "ababac!", "ab", TRUE);
    check_feed("a,b,a,c", "abab", "ab", FALSE); /* the rest is held back */
    check_feed("", "ab\035", "ab\035", FALSE);
}

/* Of what a guest wrote a terminal gets text and colours, however it comes in pieces. */
static void
test_safe(void)
{
    static const char *const cases[][2] = {
        {"plain \303\244 \342\202\254 \360\237\230\200\r\n\t.", "plain \303\244 \342\202\254 \360\237\230\200\r\n\t."},
        {"\033[1;31mred\033[0m \033[38:2::1:2:3mx\033[m", "\033[1;31mred\033[0m \033[38:2::1:2:3mx\033[m"},
        {"a\033[2Jb\033[10;10Hc\033[?25ld\033[>0me\033[6nf", "abcdef"},
        {"a\033]52;c;cm0gLXJm\ab\033]0;title\033\\c", "abc"},
        {"a\033Pq...\033\\b\033_x\033\\c\033^y\033\\d", "abcd"},
        {"a\302\2332Jb\302\2350;t\302\234c\302\205d\302\240e", "abcd\302\240e"},
        {"\302\2331mx", "\033[1mx"},
        {"a\233\062Jb\377", "a2Jb\377"},
        {"a\033(0b\033cc\0337d\033=e", "abcde"},
        {"a\033]never ended\nb", "a\nb"},
        {"a\033[31\nb\b\016\177\005c", "a\nbc"},
        {"\033\033[1mx\033", "\033[1mx"},
        {"\033[1111111111111111111111111111111111111111111111111111111111111111111mx", "x"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        gsize n = strlen(cases[i][0]);

        for (gsize piece = 1; piece <= n; piece = piece < n && piece * 3 > n ? n : piece * 3) {
            g_autoptr(GString) out = g_string_new(NULL);
            UiSafe safe = {0};

            for (gsize at = 0; at < n; at += piece)
                ui_safe_feed(&safe, (const guint8 *)cases[i][0] + at, MIN(piece, n - at), out);
            g_assert_cmpstr(out->str, ==, cases[i][1]);
            if (piece == n)
                break;
        }
    }
}

/* JSON that is printed holds no control characters, of either kind. */
static void
test_json_text(void)
{
    g_autofree char *text = ui_json_escape("{\"a\": \"x\302\2332J\177 \303\244\302\240\"}\n");

    g_assert_cmpstr(text, ==, "{\"a\": \"x\\u009b2J\\u007f \303\244\302\240\"}\n");
}

int
main(int argc, char **argv)
{
    setlocale(LC_ALL, "C.UTF-8");
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/ui/width", test_width);
    g_test_add_func("/cli/ui/fit", test_fit);
    g_test_add_func("/cli/ui/clean", test_clean);
    g_test_add_func("/cli/ui/keys/parse", test_keys_parse);
    g_test_add_func("/cli/ui/keys/feed", test_keys_feed);
    g_test_add_func("/cli/ui/safe", test_safe);
    g_test_add_func("/cli/ui/json-text", test_json_text);
    return g_test_run();
}

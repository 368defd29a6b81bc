/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TAP for tests that need libc alone.
 *
 *     int main(void) { test_this(); test_that(); return tap_done(); }
 *
 * ok(), eq_int() and eq_str() count one assertion each and go on after a
 * failure, so that one run tells all that is wrong.
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count, tap_failures;

__attribute__((format(printf, 4, 5), unused)) static int
tap_ok(int good, const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    printf("%sok %d - ", good ? "" : "not ", ++tap_count);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    if (!good) {
        tap_failures++;
        printf("# failed at %s:%d\n", file, line);
    }
    fflush(stdout);
    return good;
}

#define ok(cond, ...) tap_ok(!!(cond), __FILE__, __LINE__, __VA_ARGS__)
#define eq_int(got, want, what) tap_eq_int((intmax_t)(got), (intmax_t)(want), __FILE__, __LINE__, what)
#define eq_str(got, want, what) tap_eq_str(got, want, __FILE__, __LINE__, what)
#define tap_diag(...) (printf("# "), printf(__VA_ARGS__), printf("\n"))

__attribute__((unused)) static int
tap_eq_int(intmax_t got, intmax_t want, const char *file, int line, const char *what)
{
    if (!tap_ok(got == want, file, line, "%s", what)) {
        printf("# got %jd, want %jd\n", got, want);
        return 0;
    }
    return 1;
}

__attribute__((unused)) static int
tap_eq_str(const char *got, const char *want, const char *file, int line, const char *what)
{
    if (!tap_ok(got && want ? strcmp(got, want) == 0 : got == want, file, line, "%s", what)) {
        printf("# got \"%s\", want \"%s\"\n", got ? got : "(null)", want ? want : "(null)");
        return 0;
    }
    return 1;
}

/* One assertion that cannot be made here. */
__attribute__((unused)) static void
tap_skip(const char *what, const char *why)
{
    printf("ok %d - %s # SKIP %s\n", ++tap_count, what, why);
}

/* The whole program cannot run here. */
__attribute__((unused, noreturn)) static void
tap_skip_all(const char *why)
{
    printf("1..0 # SKIP %s\n", why);
    exit(0);
}

__attribute__((unused)) static int
tap_done(void)
{
    printf("1..%d\n", tap_count);
    return tap_failures ? 1 : 0;
}

#endif

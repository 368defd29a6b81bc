/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text that goes with a negative errno from a function that opens or
 * checks something: which object, what is wrong with it.  The library fills
 * it, main() prints it.
 */
#ifndef BK_ERR_H
#define BK_ERR_H

#include <stdarg.h>
#include <stdio.h>

#include "mb-macros.h"

struct bk_err {
    char text[512];
};

/* Fill err (may be NULL) and return code, so that a caller can return at once. */
MB_PRINTF(3, 4)
static inline int
bk_fail(struct bk_err *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (err) {
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
    }
    return code;
}

#endif

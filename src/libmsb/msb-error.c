/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The error domain of libmsb and the two ways its functions report: with a
 * sentence of their own, or with what the system said about an object.
 */
#include <config.h>

#include <errno.h>

#include "msb-error.h"

G_DEFINE_QUARK(msb-error-quark, msb_error)

static void G_GNUC_PRINTF(4, 0)
set_valist(GError **error, MsbError code, const char *suffix, const char *format, va_list ap)
{
    g_autofree char *text = NULL;

    if (!error)
        return;
    text = g_strdup_vprintf(format, ap);
    if (suffix)
        g_set_error(error, MSB_ERROR, (gint)code, "%s: %s", text, suffix);
    else
        g_set_error_literal(error, MSB_ERROR, (gint)code, text);
}

gboolean
msb_error_set(GError **error, MsbError code, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    set_valist(error, code, NULL, format, ap);
    va_end(ap);
    return FALSE;
}

gboolean
msb_error_set_errno(GError **error, int errnum, const char *format, ...)
{
    MsbError code = MSB_ERROR_IO;
    va_list ap;

    if (errnum == ENOENT)
        code = MSB_ERROR_NOT_FOUND;
    else if (errnum == EEXIST)
        code = MSB_ERROR_EXISTS;
    va_start(ap, format);
    set_valist(error, code, g_strerror(errnum), format, ap);
    va_end(ap);
    return FALSE;
}

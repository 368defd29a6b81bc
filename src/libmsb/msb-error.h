/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors of libmsb.  A message is one whole sentence fragment that names the
 * object and the cause, and where there is one the next step, ready for a user.
 */
#ifndef MSB_ERROR_H
#define MSB_ERROR_H

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    MSB_ERROR_FAILED,          /* anything without a code of its own */
    MSB_ERROR_INVALID,         /* bad name, option, configuration */
    MSB_ERROR_NOT_FOUND,       /* no such sandbox, image, kernel, volume */
    MSB_ERROR_EXISTS,          /* the name is taken */
    MSB_ERROR_IN_USE,          /* removal refused, locked by somebody */
    MSB_ERROR_RUNNING,         /* wants a stopped sandbox */
    MSB_ERROR_NOT_RUNNING,     /* wants a running one */
    MSB_ERROR_BOOT,            /* the guest did not come up */
    MSB_ERROR_EXEC,            /* the command could not be started */
    MSB_ERROR_TIMEOUT,
    MSB_ERROR_CORRUPT,         /* digest mismatch, broken archive or state file */
    MSB_ERROR_UNSUPPORTED,
    MSB_ERROR_HYPERVISOR,      /* libvirt or QEMU */
    MSB_ERROR_IO,              /* a file operation; the message has strerror */
} MsbError;

#define MSB_ERROR (msb_error_quark())
GQuark msb_error_quark(void);

/* g_set_error() in our domain that returns FALSE, for "return msb_error_set (...)". */
gboolean msb_error_set(GError **error, MsbError code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Set error to "<formatted>: <strerror(errnum)>" with the code that fits errnum (ENOENT: NOT_FOUND, EEXIST:
 * EXISTS, otherwise IO). Always returns FALSE. */
gboolean msb_error_set_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

G_END_DECLS

#endif

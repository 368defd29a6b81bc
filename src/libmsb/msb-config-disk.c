/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk images: their format is what was given or what the name's extension
 * says, and never what is in them.  A raw disk belongs to its guest, who could
 * write another format's header into it, with a backing file of its choice.
 */
#include <config.h>

#include <string.h>

#include "msb-config-private.h"
#include "msb-error.h"

const char *const msb_disk_formats[] = { "raw", "qcow2", "vmdk", NULL };

const char *
msb_disk_format(const char *given, const char *path)
{
    const char *dot = strrchr(path, '.');
    guint i;

    if (given)
        return given;
    for (i = 0; dot && msb_disk_formats[i]; i++) {
        if (g_ascii_strcasecmp(dot + 1, msb_disk_formats[i]) == 0)
            return msb_disk_formats[i];
    }
    return "raw";
}

gboolean
msb_disk_validate(const char *where, const char *format, GError **error)
{
    if (!format || g_strv_contains(msb_disk_formats, format))
        return TRUE;
    return msb_error_set(error, MSB_ERROR_INVALID, "%s: '%s' is no format of disk images", where, format);
}

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

const char *const msb_disk_formats[] = { "raw", "qcow", "qcow2", "vmdk", NULL };

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
msb_disk_validate(const char *where, const char *given, const char *path, const char *secret_file, gboolean readonly,
                  GError **error)
{
    const char *format = msb_disk_format(given, path);
    gboolean is_qcow = g_str_equal(format, "qcow");

    if (!g_strv_contains(msb_disk_formats, format))
        return msb_error_set(error, MSB_ERROR_INVALID, "%s: '%s' is no format of disk images", where, format);
    if (secret_file && !is_qcow && !g_str_equal(format, "qcow2"))
        return msb_error_set(error, MSB_ERROR_INVALID, "%s: a secret-file goes with format=qcow or qcow2, not with %s",
                             where, format);
    if (secret_file && secret_file[0] != '/')
        return msb_error_set(error, MSB_ERROR_INVALID, "%s: the secret-file '%s' is not an absolute path", where,
                             secret_file);
    if ((is_qcow || secret_file) && !readonly)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "%s: %s can only be read: add 'ro', or convert the image with qemu-img convert -O qcow2",
                             where, secret_file ? "an encrypted image" : "a qcow image of version 1");
    return TRUE;
}

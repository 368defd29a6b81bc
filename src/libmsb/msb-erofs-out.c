/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Buffered positional output: see the header. */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "mb-io.h"
#include "msb-erofs-format.h"
#include "msb-erofs-out.h"
#include "msb-error.h"

gboolean
msb_erofs_out_init(MsbErofsOut *out, int fd, gsize capacity, GError **error)
{
    *out = (MsbErofsOut){.fd = fd, .capacity = capacity, .buffer = g_try_malloc(capacity)};
    if (!out->buffer)
        return msb_error_set_errno(error, ENOMEM, "buffer of the EROFS writer");
    return TRUE;
}

void
msb_erofs_out_clear(MsbErofsOut *out)
{
    g_clear_pointer(&out->buffer, g_free);
}

gboolean
msb_erofs_out_pwrite(int fd, guint64 position, const void *bytes, gsize n, GError **error)
{
    int r = mb_pwrite_full(fd, bytes, n, (off_t)position);

    return r == 0 || msb_error_set_errno(error, -r, "write the EROFS image");
}

gboolean
msb_erofs_out_flush(MsbErofsOut *out, GError **error)
{
    gsize used = out->used;

    out->used = 0;
    return used == 0 || msb_erofs_out_pwrite(out->fd, out->start, out->buffer, used, error);
}

gboolean
msb_erofs_out_write(MsbErofsOut *out, guint64 position, const void *bytes, gsize n, GError **error)
{
    guint64 end = out->start + out->used;
    gsize gap = 0;

    if (n == 0)
        return TRUE;
    if (out->used > 0) {
        gboolean joins = position >= end && position - end < MSB_EROFS_BLOCK;

        gap = joins ? (gsize)(position - end) : 0;
        if (!joins || n > out->capacity - out->used || gap > out->capacity - out->used - n) {
            if (!msb_erofs_out_flush(out, error))
                return FALSE;
            gap = 0;
        }
    }
    if (out->used == 0) {
        if (n >= out->capacity)
            return msb_erofs_out_pwrite(out->fd, position, bytes, n, error);
        out->start = position;
    }
    memset(out->buffer + out->used, 0, gap);
    memcpy(out->buffer + out->used + gap, bytes, n);
    out->used += gap + n;
    return TRUE;
}

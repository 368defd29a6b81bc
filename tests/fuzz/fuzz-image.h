/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the targets that make images share. */
#ifndef FUZZ_IMAGE_H
#define FUZZ_IMAGE_H

#include <glib.h>
#include <unistd.h>

/* All that is in a file. */
static inline GBytes *
fuzz_content(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    guint8 *bytes = g_malloc((gsize)size);

    g_assert_cmpint(pread(fd, bytes, (gsize)size, 0), ==, size);
    return g_bytes_new_take(bytes, (gsize)size);
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An EROFS image that was damaged on disk: reading directories of it ends, with an answer or an error. */
#include <config.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "msb-erofs-reader.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"", "etc", "a/b", "usr/share/doc/x"};
    int fd = memfd_create("image", MFD_CLOEXEC);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    const char *const paths[] = {path, path, NULL};
    g_autoptr(MsbErofsStack) stack = NULL;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, data, size), ==, (gssize)size);
    stack = msb_erofs_stack_new(paths);
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;
        MsbErofsEntry entry;
        gboolean found;

        if (!msb_erofs_stack_find_directory(stack, names[i], &entry, &found, &error))
            g_assert_nonnull(error);
    }
    close(fd);
    return 0;
}

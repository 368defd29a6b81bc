/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tar archive to an EROFS image, as a layer from anywhere would be.  Whatever
 * is converted must be deterministic and readable: the stack reader finds its
 * root in it.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz-image.h"
#include "fuzz.h"
#include "msb-erofs-reader.h"
#include "msb-layer.h"

static gboolean
convert(const uint8_t *data, size_t size, int fd)
{
    static const MsbLayerOptions options = {.whiteouts = TRUE, .max_bytes = 8 << 20, .max_entries = 1000};
    struct archive *archive = archive_read_new();
    g_autoptr(GError) error = NULL;
    gboolean done = FALSE;

    archive_read_support_format_tar(archive);
    archive_read_set_options(archive, "hdrcharset=BINARY");
    if (archive_read_open_memory(archive, data, size) == ARCHIVE_OK) {
        done = msb_layer_from_archive(archive, fd, &options, NULL, &error);
        g_assert_true(done || error);
    }
    archive_read_free(archive);
    return done;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int first = memfd_create("first", MFD_CLOEXEC), second = memfd_create("second", MFD_CLOEXEC);

    g_assert_cmpint(first, >=, 0);
    g_assert_cmpint(second, >=, 0);
    if (convert(data, size, first)) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", first);
        const char *const paths[] = {path, NULL};
        g_autoptr(MsbErofsStack) stack = msb_erofs_stack_new(paths);
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) a = NULL, b = NULL;
        MsbErofsEntry entry;
        gboolean found;

        g_assert_true(convert(data, size, second));
        a = fuzz_content(first);
        b = fuzz_content(second);
        g_assert_true(g_bytes_equal(a, b));
        g_assert_true(msb_erofs_stack_find_directory(stack, "", &entry, &found, &error));
        g_assert_true(found);
        g_assert_true(msb_erofs_stack_find_directory(stack, "a/b/c", &entry, &found, &error));
    }
    close(first);
    close(second);
    return 0;
}

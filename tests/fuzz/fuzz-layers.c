/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Layers upon each other.  The input is a list of entries rather than an
 * archive, so that most of what is tried gets past the checksums of tar: files,
 * directories, symbolic and hard links, whiteouts and opaque marks with names
 * that meet, layer after layer.  Each layer is converted over those before it.
 *
 * What must hold: the same input gives the same bytes; every image that was
 * made can be read; a hard link leads to what is no directory.  One operation
 * damages a finished image, as a bad disk would: then errors are all right.
 */
#include <config.h>

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz-image.h"
#include "fuzz.h"
#include "msb-layer.h"

#define MAX_LAYERS 6
#define MAX_ENTRIES 48              /* of a layer */
#define ARCHIVE_SIZE (256 * 1024)

enum {
    NEXT_LAYER, DIRECTORY, FILE_SMALL, FILE_LARGE, SYMLINK, HARDLINK, WHITEOUT, OPAQUE, DEVICE, DAMAGE,
    N_OPERATIONS
};

typedef struct {
    struct fuzz_input in;
    guint n;                        /* layers made */
    int fds[MAX_LAYERS];
    char *paths[MAX_LAYERS + 1];
    gboolean damaged;
    GPtrArray *links;               /* names of the hard links of this layer */
    MsbErofsStack *below;
} Stack;

/* One to four components of few names; now and then absolute, or with a name that is long. */
static char *
take_path(Stack *stack)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", ".", "a", ".."};
    guint8 head = fuzz_u8(&stack->in);
    GString *path = g_string_new(head & 0x80 ? "/" : NULL);

    for (guint i = 0; i <= (head & 3u); i++) {
        guint8 pick = fuzz_u8(&stack->in);

        if (i > 0)
            g_string_append_c(path, '/');
        g_string_append(path, names[pick & 7]);
        for (guint j = 0; pick >= 0xf0 && j < 250; j++)
            g_string_append_c(path, 'n');
    }
    return g_string_free(path, FALSE);
}

static void
put_content(struct archive *archive, gsize size)
{
    static const char content[20000] = "some bytes";

    for (gsize n; size > 0; size -= n) {
        n = MIN(size, sizeof content);
        archive_write_data(archive, content, n);
    }
}

/* One entry into the archive. */
static void
put_entry(Stack *stack, struct archive *archive, guint operation)
{
    struct archive_entry *entry = archive_entry_new();
    g_autofree char *path = take_path(stack), *other = NULL;
    guint type = operation == DIRECTORY ? AE_IFDIR
               : operation == SYMLINK   ? AE_IFLNK
               : operation == DEVICE    ? AE_IFCHR
                                        : AE_IFREG;
    gsize size = operation == FILE_SMALL ? path[0] : operation == FILE_LARGE ? 13000 : 0;

    if (operation == WHITEOUT || operation == OPAQUE) {
        g_autofree char *base = g_path_get_basename(path), *dir = g_path_get_dirname(path);

        g_free(path);
        path = operation == WHITEOUT ? g_strdup_printf("%s/.wh.%s", dir, base)
                                     : g_strdup_printf("%s/.wh..wh..opq", dir);
    }
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, 0640);
    archive_entry_set_uid(entry, operation);
    archive_entry_set_mtime(entry, 1000, 0);
    archive_entry_set_size(entry, (la_int64_t)size);
    if (operation == DEVICE) {
        archive_entry_set_rdevmajor(entry, 1);
        archive_entry_set_rdevminor(entry, 3);
    }
    if (operation == FILE_LARGE)
        archive_entry_xattr_add_entry(entry, "user.k", "value", 5);
    if (operation == SYMLINK || operation == HARDLINK) {
        other = take_path(stack);
        if (operation == SYMLINK)
            archive_entry_set_symlink(entry, other);
        else
            archive_entry_set_hardlink(entry, other);
    }
    if (operation == HARDLINK && strcmp(path, other) != 0)
        g_ptr_array_add(stack->links, g_strdup(path));
    if (archive_write_header(archive, entry) >= ARCHIVE_WARN)
        put_content(archive, size);
    archive_entry_free(entry);
}

static void
damage(Stack *stack)
{
    guint16 where = fuzz_u16(&stack->in);
    guint8 what = fuzz_u8(&stack->in), byte;
    struct stat st;

    if (stack->n == 0 || fstat(stack->fds[stack->n - 1], &st) < 0 || st.st_size == 0)
        return;
    stack->damaged = TRUE;
    /* The superblock and the inodes are at the beginning. */
    if (pread(stack->fds[stack->n - 1], &byte, 1, where % MIN(st.st_size, 24576)) == 1) {
        byte ^= what;
        g_assert_cmpint(pwrite(stack->fds[stack->n - 1], &byte, 1, where % MIN(st.st_size, 24576)), ==, 1);
    }
}

/* The entries up to the next layer's as an archive; its size. */
static gsize
take_archive(Stack *stack, char *bytes)
{
    struct archive *archive = archive_write_new();
    size_t used = 0;

    archive_write_set_format_pax_restricted(archive);
    archive_write_add_filter_none(archive);
    archive_write_set_bytes_per_block(archive, 512);
    archive_write_open_memory(archive, bytes, ARCHIVE_SIZE, &used);
    for (guint i = 0; i < MAX_ENTRIES && stack->in.left > 0; i++) {
        guint operation = fuzz_u8(&stack->in) % N_OPERATIONS;

        if (operation == NEXT_LAYER)
            break;
        if (operation == DAMAGE)
            damage(stack);
        else
            put_entry(stack, archive, operation);
    }
    archive_write_close(archive);
    archive_write_free(archive);
    return used;
}

static MsbErofsStack *
get_below(gpointer data, GError **error G_GNUC_UNUSED)
{
    Stack *stack = data;

    if (!stack->below)
        stack->below = msb_erofs_stack_new((const char *const *)stack->paths);
    return stack->below;
}

static gboolean
ask_below(MsbErofsEntry *entry, gpointer data, GError **error)
{
    gboolean found;

    return msb_erofs_stack_find_directory(get_below(data, error), entry->path, entry, &found, error);
}

static gboolean
convert(Stack *stack, const char *bytes, gsize size, int fd, GError **error)
{
    const MsbLayerOptions options = {.whiteouts = TRUE, .max_bytes = 8 << 20, .max_entries = 1000,
                                     .implicit = ask_below, .implicit_data = stack, .below = get_below};
    struct archive *archive = archive_read_new();
    gboolean done = FALSE;

    archive_read_support_format_tar(archive);
    archive_read_support_format_empty(archive);
    archive_read_set_options(archive, "hdrcharset=BINARY");
    if (archive_read_open_memory(archive, bytes, size) == ARCHIVE_OK) {
        done = msb_layer_from_archive(archive, fd, &options, NULL, error);
        g_assert_true(done || !error || *error);
    }
    archive_read_free(archive);
    g_clear_pointer(&stack->below, msb_erofs_stack_free);
    return done;
}

/* The stack with the new layer can be read, also where its hard links are. */
static void
check_stack(Stack *stack)
{
    g_autoptr(MsbErofsStack) all = msb_erofs_stack_new((const char *const *)stack->paths);
    static const char *const some[] = {"", "a", "a/b", "b/c/d"};
    MsbErofsEntry entry;
    gboolean found;

    for (guint i = 0; i < G_N_ELEMENTS(some); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_true(msb_erofs_stack_find_directory(all, some[i], &entry, &found, &error) || stack->damaged);
    }
    for (guint i = 0; i < stack->links->len; i++) {
        const char *name = g_ptr_array_index(stack->links, i);
        g_autoptr(GError) error = NULL;
        const guint8 *bytes;
        guint64 n;

        g_assert_true(msb_erofs_stack_find_file(all, name, &entry, &found, &error) || stack->damaged);
        if (error || !found)    /* replaced since, or below a symbolic link */
            continue;
        g_assert_true(!S_ISDIR(entry.attr.mode));
        if (S_ISREG(entry.attr.mode) && msb_erofs_stack_get_size(all) > 0)
            g_assert_true(msb_erofs_stack_map(all, 0, &bytes, &n) || stack->damaged);
    }
}

/* One layer more; FALSE if it was refused, or there is nothing left. */
static gboolean
add_layer(Stack *stack)
{
    g_autofree char *bytes = g_malloc(ARCHIVE_SIZE);
    gsize size = take_archive(stack, bytes);
    int fd = memfd_create("layer", MFD_CLOEXEC), again = memfd_create("again", MFD_CLOEXEC);
    g_autoptr(GError) error = NULL, second = NULL;
    gboolean done;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(again, >=, 0);
    done = convert(stack, bytes, size, fd, &error);
    g_assert_true(convert(stack, bytes, size, again, &second) == done);
    if (done) {
        g_autoptr(GBytes) a = fuzz_content(fd), b = fuzz_content(again);

        g_assert_true(g_bytes_equal(a, b));
        stack->fds[stack->n] = fd;
        stack->paths[stack->n++] = g_strdup_printf("/proc/self/fd/%d", fd);
        check_stack(stack);
    } else {
        close(fd);
    }
    close(again);
    g_ptr_array_set_size(stack->links, 0);
    return done && stack->n < MAX_LAYERS && stack->in.left > 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Stack stack = {.in = {data, size}, .links = g_ptr_array_new_with_free_func(g_free)};

    while (add_layer(&stack))
        continue;
    for (guint i = 0; i < stack.n; i++) {
        close(stack.fds[i]);
        g_free(stack.paths[i]);
    }
    g_ptr_array_unref(stack.links);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "layer-tar.h"

/* ---- archives ------------------------------------------------------------------------- */

#define TAR_MAX ((size_t)32 << 20)

Tar *
tar_new(void)
{
    Tar *tar = g_new0(Tar, 1);

    tar->tar = archive_write_new();
    tar->bytes = g_malloc(TAR_MAX);
    archive_write_set_format_pax(tar->tar);
    archive_write_set_options(tar->tar, "pax:hdrcharset=BINARY,pax:xattrheader=SCHILY");
    archive_write_set_bytes_per_block(tar->tar, 512);
    g_assert_cmpint(archive_write_open_memory(tar->tar, tar->bytes, TAR_MAX, &tar->used), ==, ARCHIVE_OK);
    return tar;
}

/* The entry to describe further; tar_end() writes it. */
struct archive_entry *
tar_begin(Tar *tar, const char *path, guint mode)
{
    tar->entry = archive_entry_new();
    archive_entry_copy_pathname(tar->entry, path);
    archive_entry_set_mode(tar->entry, (__LA_MODE_T)mode);
    archive_entry_set_mtime(tar->entry, 1700000000, 0);
    return tar->entry;
}

void
tar_end(Tar *tar, const void *content, gsize size)
{
    if (content)
        archive_entry_set_size(tar->entry, (la_int64_t)size);
    g_assert_cmpint(archive_write_header(tar->tar, tar->entry), ==, ARCHIVE_OK);
    if (content)
        g_assert_cmpint(archive_write_data(tar->tar, content, size), ==, (la_ssize_t)size);
    archive_entry_free(tar->entry);
}

void
tar_file(Tar *tar, const char *path, const char *content)
{
    tar_begin(tar, path, S_IFREG | 0644);
    tar_end(tar, content, strlen(content));
}

void
tar_dir(Tar *tar, const char *path, guint mode)
{
    tar_begin(tar, path, S_IFDIR | mode);
    tar_end(tar, NULL, 0);
}

void
tar_symlink(Tar *tar, const char *path, const char *target)
{
    archive_entry_copy_symlink(tar_begin(tar, path, S_IFLNK | 0777), target);
    tar_end(tar, NULL, 0);
}

void
tar_link(Tar *tar, const char *path, const char *target)
{
    archive_entry_copy_hardlink(tar_begin(tar, path, S_IFREG | 0644), target);
    tar_end(tar, NULL, 0);
}

/* The finished bytes; frees tar. */
GBytes *
tar_finish(Tar *tar)
{
    GBytes *bytes;

    g_assert_cmpint(archive_write_close(tar->tar), ==, ARCHIVE_OK);
    bytes = g_bytes_new(tar->bytes, tar->used);
    archive_write_free(tar->tar);
    g_free(tar->bytes);
    g_free(tar);
    return bytes;
}

/* ---- conversion --------------------------------------------------------------------------- */

gboolean
convert_to(GBytes *bytes, const char *path, const MsbLayerOptions *options, GError **error)
{
    struct archive *archive = archive_read_new();
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    gboolean done;

    archive_read_support_format_tar(archive);
    archive_read_support_format_empty(archive);
    archive_read_set_options(archive, "hdrcharset=BINARY");
    g_assert_cmpint(fd, >=, 0);
    if (archive_read_open_memory(archive, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)) ==
        ARCHIVE_OK)
        done = msb_layer_from_archive(archive, fd, options, NULL, error);
    else
        done = msb_error_set(error, MSB_ERROR_CORRUPT, "%s", archive_error_string(archive));
    archive_read_free(archive);
    close(fd);
    return done;
}

const MsbLayerOptions layer_oci = {.whiteouts = TRUE};

/* Convert (the tar is freed) and read back. */
GTree *
convert(Tar *tar)
{
    g_autoptr(GBytes) bytes = tar_finish(tar);
    g_autoptr(GError) error = NULL;
    char *dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "image", NULL);
    GTree *tree;

    convert_to(bytes, path, &layer_oci, &error);
    g_assert_no_error(error);
    tree = erofs_read(path);
    test_remove_dir(dir);
    return tree;
}

void
refuse_with(Tar *tar, const MsbLayerOptions *options, const char *needle)
{
    g_autoptr(GBytes) bytes = tar_finish(tar);
    g_autoptr(GError) error = NULL;
    char *dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "image", NULL);

    if (convert_to(bytes, path, options, &error)) {
        erofs_print(erofs_read(path), FALSE);
        g_error("converted, expected: %s", needle);
    }
    assert_failed_with(error, MSB_ERROR_CORRUPT, needle);
    test_remove_dir(dir);
}

void
refuse(Tar *tar, const char *needle)
{
    refuse_with(tar, &layer_oci, needle);
}

const ErofsEntry *
get(GTree *tree, const char *path)
{
    const ErofsEntry *entry = g_tree_lookup(tree, path);

    if (!entry)
        g_error("the image has no '%s'", path);
    return entry;
}

void
assert_content(GTree *tree, const char *path, const void *content, gsize size)
{
    const ErofsEntry *entry = get(tree, path);
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, content, size);

    g_assert_true(S_ISREG(entry->mode));
    g_assert_cmpuint(entry->size, ==, size);
    g_assert_cmpstr(entry->sha256, ==, sum);
}

void
assert_text(GTree *tree, const char *path, const char *content)
{
    assert_content(tree, path, content, strlen(content));
}

void
assert_xattr(GTree *tree, const char *path, const char *name, const void *value, gsize size)
{
    GBytes *got = g_tree_lookup(get(tree, path)->xattrs, name);

    g_assert_nonnull(got);
    g_assert_cmpmem(g_bytes_get_data(got, NULL), g_bytes_get_size(got), value, size);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the tests of kernels: a directory per test, and kernels made up to order. */
#ifndef KERNEL_UTIL_H
#define KERNEL_UTIL_H

#include <archive_entry.h>
#include <elf.h>
#include <glib/gstdio.h>
#include <string.h>

#include "mb-endian.h"
#include "msb-error.h"
#include "msb-kernel-private.h"

#define RELEASE "6.1.0-9-test"
#define SETUP_SECTORS 4
#define PAYLOAD_AT ((SETUP_SECTORS + 1) * 512)

typedef struct {
    char *dir;
} Fixture;

static inline void
set_up(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    f->dir = g_dir_make_tmp("msb-kernel-XXXXXX", NULL);
    g_assert_nonnull(f->dir);
}

static inline void
tear_down(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_assert_true(msb_paths_remove_tree(f->dir, NULL));
    g_free(f->dir);
}

#define path_in(f, ...) g_build_filename((f)->dir, __VA_ARGS__, NULL)

static inline void
put(const char *path, const void *data, gssize n)
{
    g_autofree char *parent = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
    g_assert_true(g_file_set_contents(path, data, n, NULL));
}

/* ---- images ------------------------------------------------------------------- */

/* An ELF kernel of one page: a note segment, and the banner with the release. */
static inline GByteArray *
make_elf(guint32 note_type, const char *release)
{
    g_autofree char *banner = g_strdup_printf("Linux version %%s (\nLinux version %s (builder) #1\n", release);
    GByteArray *elf = g_byte_array_new();
    Elf64_Ehdr header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
                          .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_phoff = sizeof(header),
                          .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2 };
    Elf64_Phdr segments[2] = {
        { .p_type = PT_LOAD },
        { .p_type = PT_NOTE, .p_offset = 512, .p_filesz = 48 },
    };
    guint8 notes[48] = { 0 };

    mb_put_le32(notes, 5);           /* a note before it, with odd sizes */
    mb_put_le32(notes + 4, 1);
    mb_put_le32(notes + 8, 1);
    memcpy(notes + 12, "Other", 5);
    mb_put_le32(notes + 24, 4);
    mb_put_le32(notes + 28, 4);
    mb_put_le32(notes + 32, note_type);
    memcpy(notes + 36, "Xen", 4);
    g_byte_array_append(elf, (guint8 *)&header, sizeof(header));
    g_byte_array_append(elf, (guint8 *)segments, sizeof(segments));
    g_byte_array_set_size(elf, 4096);
    memset(elf->data + sizeof(header) + sizeof(segments), 0, 4096 - sizeof(header) - sizeof(segments));
    memcpy(elf->data + 512, notes, sizeof(notes));
    memcpy(elf->data + 1024, banner, strlen(banner));
    return elf;
}

/* data compressed as libarchive's filter does it, without a container. */
static inline GByteArray *
compress_with(const char *filter, const GByteArray *data)
{
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    GByteArray *out = g_byte_array_new();
    size_t used = 0;

    g_byte_array_set_size(out, data->len + 65536);
    g_assert_cmpint(archive_write_add_filter_by_name(a, filter), ==, ARCHIVE_OK);
    archive_write_set_format_raw(a);
    archive_write_set_bytes_in_last_block(a, 1);
    g_assert_cmpint(archive_write_open_memory(a, out->data, out->len, &used), ==, ARCHIVE_OK);
    archive_entry_set_filetype(entry, AE_IFREG);
    g_assert_cmpint(archive_write_header(a, entry), ==, ARCHIVE_OK);
    g_assert_cmpint(archive_write_data(a, data->data, data->len), ==, data->len);
    archive_entry_free(entry);
    g_assert_cmpint(archive_write_free(a), ==, ARCHIVE_OK);
    g_byte_array_set_size(out, (guint)used);
    return out;
}

/* LZ4's legacy frame, the kernel's form of it, with one block of literals only. */
static inline GByteArray *
compress_lz4_legacy(const GByteArray *data)
{
    GByteArray *out = g_byte_array_new();
    guint rest = data->len - 15;
    guint8 word[4], token = 0xf0;

    mb_put_le32(word, 0x184c2102);
    g_byte_array_append(out, word, 4);
    mb_put_le32(word, 1 + rest / 255 + 1 + data->len);
    g_byte_array_append(out, word, 4);
    g_byte_array_append(out, &token, 1);
    for (;; rest -= 255) {
        guint8 more = rest >= 255 ? 255 : (guint8)rest;

        g_byte_array_append(out, &more, 1);
        if (more < 255)
            break;
    }
    g_byte_array_append(out, data->data, data->len);
    return out;
}

/* A bzImage around payload, to which size is appended unless it is gzip's own. */
static inline GByteArray *
make_bzimage(const GByteArray *payload, gboolean append_size, guint32 size)
{
    GByteArray *image = g_byte_array_new();
    guint8 word[4];

    g_byte_array_set_size(image, PAYLOAD_AT);
    memset(image->data, 0, PAYLOAD_AT);
    image->data[0x1f1] = SETUP_SECTORS;
    mb_put_le16(image->data + 0x1fe, 0xaa55);
    memcpy(image->data + 0x202, "HdrS", 4);
    mb_put_le16(image->data + 0x206, 0x20f);
    mb_put_le32(image->data + 0x248, 16);
    mb_put_le32(image->data + 0x24c, payload->len + (append_size ? 4 : 0));
    g_byte_array_append(image, (const guint8 *)"decompressorcode", 16);
    g_byte_array_append(image, payload->data, payload->len);
    mb_put_le32(word, size);
    if (append_size)
        g_byte_array_append(image, word, 4);
    g_byte_array_append(image, (const guint8 *)"signature", 9);
    return image;
}

static inline GByteArray *
make_good_bzimage(void)
{
    g_autoptr(GByteArray) elf = make_elf(18, RELEASE);
    g_autoptr(GByteArray) payload = compress_with("xz", elf);

    return make_bzimage(payload, TRUE, elf->len);
}

#define ADD(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)

#endif

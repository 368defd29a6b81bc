/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Layers: archives made here, converted, and read back by a reader that
 * shares nothing with the writer.
 */
#include <config.h>

#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../libmsb/test-util.h"
#include "erofs-read.h"
#include "msb-layer.h"

/* ---- archives ------------------------------------------------------------------------- */

typedef struct {
    struct archive *tar;
    struct archive_entry *entry;
    char *bytes;
    size_t used;
} Tar;

#define TAR_MAX ((size_t)32 << 20)

static Tar *
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
static struct archive_entry *
tar_begin(Tar *tar, const char *path, guint mode)
{
    tar->entry = archive_entry_new();
    archive_entry_copy_pathname(tar->entry, path);
    archive_entry_set_mode(tar->entry, (__LA_MODE_T)mode);
    archive_entry_set_mtime(tar->entry, 1700000000, 0);
    return tar->entry;
}

static void
tar_end(Tar *tar, const void *content, gsize size)
{
    if (content)
        archive_entry_set_size(tar->entry, (la_int64_t)size);
    g_assert_cmpint(archive_write_header(tar->tar, tar->entry), ==, ARCHIVE_OK);
    if (content)
        g_assert_cmpint(archive_write_data(tar->tar, content, size), ==, (la_ssize_t)size);
    archive_entry_free(tar->entry);
}

static void
tar_file(Tar *tar, const char *path, const char *content)
{
    tar_begin(tar, path, S_IFREG | 0644);
    tar_end(tar, content, strlen(content));
}

static void
tar_dir(Tar *tar, const char *path, guint mode)
{
    tar_begin(tar, path, S_IFDIR | mode);
    tar_end(tar, NULL, 0);
}

static void
tar_symlink(Tar *tar, const char *path, const char *target)
{
    archive_entry_copy_symlink(tar_begin(tar, path, S_IFLNK | 0777), target);
    tar_end(tar, NULL, 0);
}

static void
tar_link(Tar *tar, const char *path, const char *target)
{
    archive_entry_copy_hardlink(tar_begin(tar, path, S_IFREG | 0644), target);
    tar_end(tar, NULL, 0);
}

/* The finished bytes; frees tar. */
static GBytes *
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

static gboolean
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

static const MsbLayerOptions oci = {.whiteouts = TRUE};

/* Convert (the tar is freed) and read back. */
static GTree *
convert(Tar *tar)
{
    g_autoptr(GBytes) bytes = tar_finish(tar);
    g_autoptr(GError) error = NULL;
    char *dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "image", NULL);
    GTree *tree;

    convert_to(bytes, path, &oci, &error);
    g_assert_no_error(error);
    tree = erofs_read(path);
    test_remove_dir(dir);
    return tree;
}

static void
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

static void
refuse(Tar *tar, const char *needle)
{
    refuse_with(tar, &oci, needle);
}

static const ErofsEntry *
get(GTree *tree, const char *path)
{
    const ErofsEntry *entry = g_tree_lookup(tree, path);

    if (!entry)
        g_error("the image has no '%s'", path);
    return entry;
}

static void
assert_content(GTree *tree, const char *path, const void *content, gsize size)
{
    const ErofsEntry *entry = get(tree, path);
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, content, size);

    g_assert_true(S_ISREG(entry->mode));
    g_assert_cmpuint(entry->size, ==, size);
    g_assert_cmpstr(entry->sha256, ==, sum);
}

static void
assert_text(GTree *tree, const char *path, const char *content)
{
    assert_content(tree, path, content, strlen(content));
}

static void
assert_xattr(GTree *tree, const char *path, const char *name, const void *value, gsize size)
{
    GBytes *got = g_tree_lookup(get(tree, path)->xattrs, name);

    g_assert_nonnull(got);
    g_assert_cmpmem(g_bytes_get_data(got, NULL), g_bytes_get_size(got), value, size);
}

/* ---- what an entry has ----------------------------------------------------------------------- */

static void
test_types(void)
{
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;
    struct archive_entry *entry;
    guint major_number, minor_number;

    tar_dir(tar, "./", 01777);
    entry = tar_begin(tar, "./dev", S_IFDIR | 0750);
    archive_entry_set_uid(entry, 70000);
    archive_entry_set_gid(entry, 4000000000);
    archive_entry_set_mtime(entry, 2000000000, 123456789);
    tar_end(tar, NULL, 0);
    entry = tar_begin(tar, "dev/big", S_IFBLK | 0600);
    archive_entry_set_rdevmajor(entry, 4095);
    archive_entry_set_rdevminor(entry, 1048575);
    tar_end(tar, NULL, 0);
    entry = tar_begin(tar, "/dev/null", S_IFCHR | 0666);
    archive_entry_set_rdevmajor(entry, 1);
    archive_entry_set_rdevminor(entry, 3);
    tar_end(tar, NULL, 0);
    tar_begin(tar, "//pipe", S_IFIFO | 04755);
    tar_end(tar, NULL, 0);
    tar_symlink(tar, "link", "/over/../there");
    tar_file(tar, "suid", "x");
    tree = convert(tar);

    g_assert_cmpuint(g_tree_nnodes(tree), ==, 7);
    g_assert_cmpuint(get(tree, "")->mode, ==, S_IFDIR | 01777);
    g_assert_cmpuint(get(tree, "")->nlink, ==, 3);
    g_assert_cmpuint(get(tree, "dev")->mode, ==, S_IFDIR | 0750);
    g_assert_cmpuint(get(tree, "dev")->uid, ==, 70000);
    g_assert_cmpuint(get(tree, "dev")->gid, ==, 4000000000);
    g_assert_cmpint(get(tree, "dev")->mtime, ==, 2000000000);
    g_assert_cmpuint(get(tree, "dev")->mtime_nsec, ==, 123456789);
    erofs_split_device(get(tree, "dev/big")->rdev, &major_number, &minor_number);
    g_assert_cmpuint(major_number, ==, 4095);
    g_assert_cmpuint(minor_number, ==, 1048575);
    g_assert_cmpuint(get(tree, "dev/null")->mode, ==, S_IFCHR | 0666);
    g_assert_cmpuint(get(tree, "dev/null")->rdev, ==, 0x103);
    g_assert_cmpuint(get(tree, "pipe")->mode, ==, S_IFIFO | 04755);
    g_assert_cmpstr(get(tree, "link")->target, ==, "/over/../there");
    g_assert_true(get(tree, "suid")->compact);
    g_assert_false(get(tree, "dev")->compact);
}

/* Sizes around everything that decides where data goes. */
static void
test_sizes(void)
{
    static const gsize sizes[] = {0,    1,    31,           32,    2047,  2048,    4031,    4032,
                                  4033, 4063, 4064,         4065,  4095,  4096,    4097,    8191,
                                  8192, 8193, 12288 + 4000, 65535, 65536, 1048575, 1048577, 3000000};
    g_autofree guint8 *content = g_malloc(3000000);
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;

    for (guint i = 0; i < 3000000; i++)
        content[i] = (guint8)(i * 2654435761u >> 13);
    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *path = g_strdup_printf("file%zu", sizes[i]);

        tar_begin(tar, path, S_IFREG | 0644);
        tar_end(tar, content + i, sizes[i] > i ? sizes[i] - i : 0);
    }
    tree = convert(tar);
    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *path = g_strdup_printf("file%zu", sizes[i]);

        assert_content(tree, path, content + i, sizes[i] > i ? sizes[i] - i : 0);
    }
}

static void
test_xattrs(void)
{
    static const guint8 capability[20] = {1, 0, 0, 2, 0, 0x20};
    g_autofree char *large = g_strnfill(60000, 'v');
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;
    struct archive_entry *entry;

    for (guint i = 0; i < 3; i++) {
        g_autofree char *path = g_strdup_printf("f%u", i);

        entry = tar_begin(tar, path, S_IFREG | 0755);
        archive_entry_xattr_add_entry(entry, "security.capability", capability, sizeof capability);
        archive_entry_xattr_add_entry(entry, "user.empty", "", 0);
        archive_entry_xattr_add_entry(entry, "trusted.overlay.opaque", "y", 1);
        archive_entry_xattr_add_entry(entry, "com.apple.quarantine", "x", 1);
        tar_end(tar, "content", 7);
    }
    entry = tar_begin(tar, "large", S_IFDIR | 0755);
    archive_entry_xattr_add_entry(entry, "user.large", large, 60000);
    archive_entry_xattr_add_entry(entry, "trusted.other", "t", 1);
    tar_end(tar, NULL, 0);
    entry = tar_begin(tar, "many", S_IFREG | 0644);
    for (guint i = 0; i < 300; i++) {
        g_autofree char *name = g_strdup_printf("user.n%u", i);

        archive_entry_xattr_add_entry(entry, name, name, strlen(name));
    }
    tar_end(tar, "many", 4);
    tree = convert(tar);
    for (guint i = 0; i < 3; i++) {
        g_autofree char *path = g_strdup_printf("f%u", i);

        assert_xattr(tree, path, "security.capability", capability, sizeof capability);
        assert_xattr(tree, path, "user.empty", "", 0);
        g_assert_cmpint(g_tree_nnodes(get(tree, path)->xattrs), ==, 2);
        assert_text(tree, path, "content");
    }
    assert_xattr(tree, "large", "user.large", large, 60000);
    assert_xattr(tree, "large", "trusted.other", "t", 1);
    g_assert_cmpint(g_tree_nnodes(get(tree, "many")->xattrs), ==, 300);
    assert_xattr(tree, "many", "user.n299", "user.n299", 9);
    assert_text(tree, "many", "many");
}

static void
test_acl(void)
{
    /* version 2; u::rw-, u:1000:r--, g::r--, m::r--, o::--- */
    static const guint8 want[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0,
                                  4, 0, 4, 0, 255, 255, 255, 255, 0x10, 0, 4, 0, 255, 255, 255, 255,
                                  0x20, 0, 0, 0, 255, 255, 255, 255};
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;
    struct archive_entry *entry = tar_begin(tar, "acl", S_IFREG | 0640);

    archive_entry_acl_add_entry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 4, ARCHIVE_ENTRY_ACL_MASK, -1, "");
    archive_entry_acl_add_entry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 4, ARCHIVE_ENTRY_ACL_USER, 1000, "");
    archive_entry_acl_add_entry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 6, ARCHIVE_ENTRY_ACL_USER_OBJ, -1, "");
    archive_entry_acl_add_entry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 4, ARCHIVE_ENTRY_ACL_GROUP_OBJ, -1, "");
    archive_entry_acl_add_entry(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 0, ARCHIVE_ENTRY_ACL_OTHER, -1, "");
    tar_end(tar, "x", 1);
    tar_file(tar, "plain", "x");
    tree = convert(tar);
    assert_xattr(tree, "acl", "system.posix_acl_access", want, sizeof want);
    g_assert_cmpint(g_tree_nnodes(get(tree, "plain")->xattrs), ==, 0);
}

/* ---- names ---------------------------------------------------------------------------------------- */

static void
test_names(void)
{
    static const char *const names[] = {"!first", "-dash",        ".hidden", "..more",    "...",        "a",
                                        "aa",     "\xff\xfe raw", "~",       "new\nline", "caf\xc3\xa9"};
    g_autofree char *longest = g_strnfill(255, 'n');
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        tar_file(tar, names[i], names[i]);
    tar_file(tar, longest, "long");
    tree = convert(tar);
    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        assert_text(tree, names[i], names[i]);
    assert_text(tree, longest, "long");
    g_assert_cmpint(g_tree_nnodes(tree), ==, G_N_ELEMENTS(names) + 2);
}

/* A directory of many blocks, names of many lengths, in no order. */
static void
test_large_directory(void)
{
    enum { N = 5000 };
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;

    for (guint i = 0; i < N; i++) {
        guint shuffled = (i * 7919u) % N;
        g_autofree char *filler = g_strnfill(shuffled % 200, 'x');
        g_autofree char *path = g_strdup_printf("d/%u%s", shuffled, filler);

        tar_file(tar, path, path);
    }
    tree = convert(tar);
    g_assert_cmpint(g_tree_nnodes(tree), ==, N + 2);
    for (guint i = 0; i < N; i++) {
        g_autofree char *filler = g_strnfill(i % 200, 'x');
        g_autofree char *path = g_strdup_printf("d/%u%s", i, filler);

        assert_text(tree, path, path);
    }
}

static void
test_implicit(void)
{
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;

    tar_file(tar, "a/b/./c//d", "deep");
    tar_dir(tar, "a/b/", 0700);
    tree = convert(tar);
    g_assert_cmpuint(get(tree, "a")->mode, ==, S_IFDIR | 0755);
    g_assert_cmpint(get(tree, "a")->mtime, ==, 0);
    g_assert_cmpuint(get(tree, "a/b")->mode, ==, S_IFDIR | 0700);
    assert_text(tree, "a/b/c/d", "deep");
}

static void
test_replacement(void)
{
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;

    tar_file(tar, "file", "old");
    tar_file(tar, "file", "newer");
    tar_file(tar, "dir/in/side", "x");
    tar_link(tar, "kept", "dir/in/side");
    tar_file(tar, "dir", "now a file");
    tar_file(tar, "was", "file");
    tar_dir(tar, "was", 0755);
    tar_file(tar, "was/in", "y");
    tar_file(tar, "again/child", "z");
    tar_dir(tar, "again", 0711);
    tar_symlink(tar, "sym", "was");
    tar_dir(tar, "sym", 0700);
    tree = convert(tar);
    assert_text(tree, "file", "newer");
    assert_text(tree, "dir", "now a file");
    assert_text(tree, "kept", "x");
    g_assert_cmpuint(get(tree, "kept")->nlink, ==, 1);
    g_assert_null(g_tree_lookup(tree, "dir/in"));
    assert_text(tree, "was/in", "y");
    assert_text(tree, "again/child", "z");
    g_assert_cmpuint(get(tree, "again")->mode, ==, S_IFDIR | 0711);
    g_assert_cmpuint(get(tree, "sym")->mode, ==, S_IFDIR | 0700);
    g_assert_cmpuint(get(tree, "")->nlink, ==, 5);
}

/* ---- links ------------------------------------------------------------------------------------------ */

static void
test_hard_links(void)
{
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;

    tar_file(tar, "a", "content");
    tar_link(tar, "b", "a");
    tar_link(tar, "./deep/c", "/b");
    tar_link(tar, "a", "./a");
    tar_symlink(tar, "s", "a");
    tar_link(tar, "s2", "s");
    tar_file(tar, "gone", "old");
    tar_link(tar, "g2", "gone");
    tar_file(tar, "gone", "new");
    tree = convert(tar);
    g_assert_cmpuint(get(tree, "a")->nlink, ==, 3);
    g_assert_cmpuint(get(tree, "a")->nid, ==, get(tree, "deep/c")->nid);
    assert_text(tree, "b", "content");
    g_assert_cmpstr(get(tree, "s2")->target, ==, "a");
    g_assert_cmpuint(get(tree, "s2")->nlink, ==, 2);
    assert_text(tree, "g2", "old");
    assert_text(tree, "gone", "new");
    g_assert_cmpuint(get(tree, "g2")->nlink, ==, 1);

    tar = tar_new();
    tar_link(tar, "lonely", "nowhere");
    refuse(tar, "entry 'lonely': a hard link to 'nowhere'");
    tar = tar_new();
    tar_dir(tar, "d", 0755);
    tar_link(tar, "e", "d");
    refuse(tar, "entry 'e': a hard link to 'd'");
    tar = tar_new();
    tar_file(tar, "f", "");
    tar_link(tar, "e", "../f");
    refuse(tar, "entry 'e'");
}

/* Many names of one inode, then most of them replaced. */
static void
test_link_count(void)
{
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;

    tar_file(tar, "f", "x");
    for (guint i = 0; i < 300; i++) {
        g_autofree char *path = g_strdup_printf("l%u", i);

        tar_link(tar, path, "f");
    }
    for (guint i = 0; i < 298; i++) {
        g_autofree char *path = g_strdup_printf("l%u", i);

        tar_file(tar, path, "other");
    }
    tree = convert(tar);
    g_assert_cmpuint(get(tree, "f")->nlink, ==, 3);
    g_assert_cmpuint(get(tree, "l5")->nlink, ==, 1);
}

static void
test_symlinks_in_paths(void)
{
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;

    tar_symlink(tar, "lib", "usr/lib");
    tar_file(tar, "lib/x", "1");
    tar_symlink(tar, "up", "../../../../usr");
    tar_file(tar, "up/y", "2");
    tar_symlink(tar, "usr/abs", "/abs/target");
    tar_file(tar, "usr/abs/z", "3");
    tar_link(tar, "hard", "lib/x");
    tree = convert(tar);
    assert_text(tree, "usr/lib/x", "1");
    assert_text(tree, "usr/y", "2");
    assert_text(tree, "abs/target/z", "3");
    assert_text(tree, "hard", "1");
    g_assert_true(S_ISLNK(get(tree, "lib")->mode));

    tar = tar_new();
    tar_symlink(tar, "a", "b");
    tar_symlink(tar, "b", "a");
    tar_file(tar, "a/x", "");
    refuse(tar, "symbolic links");
    tar = tar_new();
    tar_file(tar, "f", "");
    tar_file(tar, "f/x", "");
    refuse(tar, "not a directory");
    tar = tar_new();
    tar_symlink(tar, ".", "x");
    refuse(tar, "root");
}

static void
test_dot_dot(void)
{
    static const char *const paths[] = {"../x", "dir/../x", "/..", "a/b/..", "lib/../../x"};

    for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
        Tar *tar = tar_new();

        tar_symlink(tar, "lib", "usr/lib");
        tar_file(tar, paths[i], "");
        refuse(tar, "'..'");
    }
}

/* ---- whiteouts ---------------------------------------------------------------------------------------- */

static void
assert_whiteout(GTree *tree, const char *path)
{
    g_assert_true(S_ISCHR(get(tree, path)->mode));
    g_assert_cmpuint(get(tree, path)->rdev, ==, 0);
}

static void
test_whiteouts(void)
{
    Tar *tar = tar_new();
    g_autoptr(GTree) tree = NULL;
    g_autoptr(GBytes) literal = NULL;

    tar_file(tar, "d/.wh.one", "");
    tar_file(tar, ".wh.two", "");
    tar_file(tar, "three/.wh..wh..opq", "");
    tar_file(tar, "three/new", "n");
    tar_file(tar, ".wh.four", "");
    tar_dir(tar, "four", 0755);
    tar_dir(tar, "five", 0755);
    tar_file(tar, "five/x", "");
    tar_file(tar, ".wh.five", "");
    tar_file(tar, "six", "6");
    tar_file(tar, ".wh.six", "");
    tar_file(tar, ".wh.seven", "");
    tar_file(tar, "seven/x", "");
    tar_file(tar, ".wh..wh.plnk", "");
    tar_file(tar, ".wh.two", "");
    tree = convert(tar);
    assert_whiteout(tree, "d/one");
    assert_whiteout(tree, "two");
    g_assert_cmpuint(get(tree, "two")->nlink, ==, 2);
    assert_xattr(tree, "three", "trusted.overlay.opaque", "y", 1);
    assert_text(tree, "three/new", "n");
    assert_xattr(tree, "four", "trusted.overlay.opaque", "y", 1);
    assert_xattr(tree, "five", "trusted.overlay.opaque", "y", 1);
    g_assert_nonnull(g_tree_lookup(tree, "five/x"));
    assert_text(tree, "six", "6");
    assert_xattr(tree, "seven", "trusted.overlay.opaque", "y", 1);
    g_assert_cmpint(g_tree_nnodes(tree), ==, 12);

    tar = tar_new();
    tar_file(tar, "d/.wh.", "");
    refuse(tar, "whiteout of no name");
    tar = tar_new();
    tar_file(tar, "d/.wh...", "");
    refuse(tar, "whiteout of no name");
}

static void
test_literal_whiteouts(void)
{
    static const MsbLayerOptions plain;
    Tar *tar = tar_new();
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GTree) tree = NULL;
    char *dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "image", NULL);

    tar_file(tar, ".wh.x", "a name like any other");
    bytes = tar_finish(tar);
    convert_to(bytes, path, &plain, &error);
    g_assert_no_error(error);
    tree = erofs_read(path);
    assert_text(tree, ".wh.x", "a name like any other");
    test_remove_dir(dir);
}

/* ---- limits and damage ------------------------------------------------------------------------------------
 */

/* One 512-byte header with its checksum. */
static void
put_header(char *block, const char *name, char type, guint size)
{
    guint sum = 0;

    memcpy(block, name, strlen(name));
    memcpy(block + 100, "0000644\0000000000\0000000000", 24);
    g_snprintf(block + 124, 12, "%011o", size);
    memcpy(block + 136, "00000000000", 11);
    memset(block + 148, ' ', 8);
    block[156] = type;
    memcpy(block + 257, "ustar\00000", 8);
    for (guint i = 0; i < 512; i++)
        sum += (guint8)block[i];
    g_snprintf(block + 148, 8, "%06o", sum);
}

/* A GNU sparse 1.0 entry by hand: 1 TiB with 512 bytes at either end. Real size and name are attributes, the
 * map is before the data. */
static GBytes *
sparse_archive(void)
{
    static const char records[] = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.name=holes\n"
                                  "37 GNU.sparse.realsize=1099511627776\n";
    static const char map[] = "2\n0\n512\n1099511627264\n512\n";
    char *bytes = g_malloc0(10 * 512);

    put_header(bytes, "PaxHeaders/holes", 'x', sizeof records - 1);
    memcpy(bytes + 512, records, sizeof records - 1);
    put_header(bytes + 1024, "GNUSparseFile.0/holes", '0', 1536);
    memcpy(bytes + 1536, map, sizeof map - 1);
    memset(bytes + 2048, 'A', 512);
    memset(bytes + 2560, 'Z', 512);
    return g_bytes_new_take(bytes, 10 * 512);
}

static void
test_sparse(void)
{
    const guint64 size = (guint64)1 << 40;
    g_autoptr(GBytes) bytes = sparse_archive();
    g_autoptr(GError) error = NULL;
    char *dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "image", NULL);
    g_autofree char *image = NULL;
    gsize image_size;
    struct stat st;

    convert_to(bytes, path, &oci, &error);
    g_assert_no_error(error);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpuint((guint64)st.st_size, <, (guint64)64 << 20);
    g_assert_cmpuint((guint64)st.st_blocks * 512, <, 1 << 20);
    /* A terabyte is too long to read through: look for the parts. */
    g_assert_true(g_file_get_contents(path, &image, &image_size, NULL));
    g_assert_nonnull(memmem(image, image_size, "AAAAAAAA", 8));
    g_assert_nonnull(memmem(image, image_size, "ZZZZZZZZ", 8));
    g_assert_nonnull(memmem(image, image_size, &size, sizeof size));
    test_remove_dir(dir);
}

static void
test_limits(void)
{
    MsbLayerOptions options = {.whiteouts = TRUE, .max_entries = 3};
    g_autofree char *content = g_strnfill(100000, 'c');
    g_autofree char *name = g_strnfill(256, 'n');
    g_autofree char *component = g_strnfill(200, 'p');
    g_autoptr(GString) path = g_string_new("x");
    g_autoptr(GString) deep = g_string_new("x");
    Tar *tar = tar_new();

    for (guint i = 0; i < 4; i++) {
        g_autofree char *file = g_strdup_printf("f%u", i);

        tar_file(tar, file, "");
    }
    refuse_with(tar, &options, "more than 3 entries");
    options = (MsbLayerOptions){.max_bytes = 65536};
    tar = tar_new();
    tar_file(tar, "big", content);
    refuse_with(tar, &options, "entry 'big': the image becomes larger than the limit");
    tar = tar_new();
    tar_file(tar, name, "");
    refuse(tar, "longer than 255 bytes");
    for (guint i = 0; i < 25; i++)
        g_string_append_printf(path, "/%s", component);
    tar = tar_new();
    tar_file(tar, path->str, "");
    refuse(tar, "longer than 4095 bytes");
    for (guint i = 0; i < 300; i++)
        g_string_append(deep, "/d");
    tar = tar_new();
    tar_file(tar, deep->str, "");
    refuse(tar, "too deep");
    tar = tar_new();
    archive_entry_set_uid(tar_begin(tar, "owner", S_IFREG | 0644), (la_int64_t)1 << 33);
    tar_end(tar, "", 0);
    refuse(tar, "impossible owner");
}

static GBytes *
sample(void)
{
    g_autofree char *content = g_strnfill(50000, 'c');
    Tar *tar = tar_new();
    struct archive_entry *entry;

    tar_dir(tar, "d", 0755);
    tar_file(tar, "d/big", content);
    tar_link(tar, "d/link", "d/big");
    entry = tar_begin(tar, "x", S_IFREG | 0600);
    archive_entry_xattr_add_entry(entry, "user.a", "b", 1);
    tar_end(tar, "small", 5);
    tar_symlink(tar, "s", "d");
    tar_file(tar, ".wh.y", "");
    tar_file(tar, "s/z", "z");
    return tar_finish(tar);
}

static void
test_truncated(void)
{
    g_autoptr(GBytes) bytes = sample();
    g_autoptr(GBytes) cut = g_bytes_new_from_bytes(bytes, 0, 20000);
    g_autoptr(GError) error = NULL;
    char *dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "image", NULL);

    g_assert_false(convert_to(cut, path, &oci, &error));
    assert_failed_with(error, MSB_ERROR_CORRUPT, "entry 'd/big'");
    test_remove_dir(dir);
}

static void
test_deterministic(void)
{
    g_autoptr(GBytes) bytes = sample();
    char *dir = test_make_dir();
    g_autofree char *a = g_build_filename(dir, "a", NULL);
    g_autofree char *b = g_build_filename(dir, "b", NULL);
    g_autofree char *first = NULL, *second = NULL;
    gsize first_size, second_size;

    g_assert_true(convert_to(bytes, a, &oci, NULL));
    g_assert_true(convert_to(bytes, b, &oci, NULL));
    g_assert_true(g_file_get_contents(a, &first, &first_size, NULL));
    g_assert_true(g_file_get_contents(b, &second, &second_size, NULL));
    g_assert_cmpmem(first, first_size, second, second_size);
    test_remove_dir(dir);
}

/* An archive with random changes is converted or refused; what is converted can be read. */
static void
test_damaged(void)
{
    g_autoptr(GBytes) bytes = sample();
    g_autoptr(GRand) random = g_rand_new_with_seed(20240229);
    char *dir = test_make_dir();
    g_autofree char *path = g_build_filename(dir, "image", NULL);
    gsize size;
    const guint8 *data = g_bytes_get_data(bytes, &size);
    guint converted = 0;

    for (guint i = 0; i < 1000; i++) {
        g_autofree guint8 *copy = g_memdup2(data, size);
        g_autoptr(GBytes) damaged = NULL;
        g_autoptr(GError) error = NULL;

        for (gint n = g_rand_int_range(random, 1, 6); n > 0; n--)
            copy[g_rand_int_range(random, 0, (gint32)size)] = (guint8)g_rand_int(random);
        damaged = g_bytes_new(copy, size);
        if (convert_to(damaged, path, &oci, &error)) {
            g_tree_unref(erofs_read(path));
            converted++;
        } else {
            g_assert_nonnull(error);
        }
    }
    g_test_message("%u of 1000 were converted", converted);
    g_assert_cmpuint(converted, >, 0);
    test_remove_dir(dir);
}

/* A tree of the host and the same through tar. */
static void
test_directory(void)
{
    g_autoptr(GError) error = NULL;
    char *dir = test_make_dir();
    g_autofree char *root = g_build_filename(dir, "root", "sub", NULL);
    g_autofree char *top = g_build_filename(dir, "root", NULL);
    g_autofree char *file = g_build_filename(root, "file", NULL);
    g_autofree char *link_path = g_build_filename(root, "link", NULL);
    g_autofree char *hard = g_build_filename(top, "hard", NULL);
    g_autofree char *image = g_build_filename(dir, "image", NULL);
    g_autofree char *sparse = g_build_filename(root, "sparse", NULL);
    g_autoptr(GTree) tree = NULL;
    MsbLayerOptions options = {.squash_owner = TRUE};
    int fd;

    g_assert_cmpint(g_mkdir_with_parents(root, 0755), ==, 0);
    g_assert_true(g_file_set_contents(file, "content", -1, NULL));
    g_assert_cmpint(symlink("file", link_path), ==, 0);
    g_assert_cmpint(link(file, hard), ==, 0);
    fd = open(sparse, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(ftruncate(fd, 10 << 20), ==, 0);
    g_assert_cmpint(pwrite(fd, "end", 3, (10 << 20) - 3), ==, 3);
    close(fd);
    fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    msb_layer_from_directory(top, fd, &options, NULL, &error);
    g_assert_no_error(error);
    close(fd);
    tree = erofs_read(image);
    assert_text(tree, "sub/file", "content");
    g_assert_cmpuint(get(tree, "hard")->nid, ==, get(tree, "sub/file")->nid);
    g_assert_cmpuint(get(tree, "hard")->nlink, ==, 2);
    g_assert_cmpstr(get(tree, "sub/link")->target, ==, "file");
    g_assert_cmpuint(get(tree, "sub")->uid, ==, 0);
    g_assert_true(get(tree, "sub/sparse")->chunked);
    {
        g_autofree char *want = g_malloc0(10 << 20);

        memcpy(want + (10 << 20) - 3, "end", 3);
        assert_content(tree, "sub/sparse", want, 10 << 20);
    }
    test_remove_dir(dir);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/layer/types", test_types);
    g_test_add_func("/layer/sizes", test_sizes);
    g_test_add_func("/layer/xattrs", test_xattrs);
    g_test_add_func("/layer/acl", test_acl);
    g_test_add_func("/layer/names", test_names);
    g_test_add_func("/layer/large-directory", test_large_directory);
    g_test_add_func("/layer/implicit", test_implicit);
    g_test_add_func("/layer/replacement", test_replacement);
    g_test_add_func("/layer/hard-links", test_hard_links);
    g_test_add_func("/layer/link-count", test_link_count);
    g_test_add_func("/layer/symlinks-in-paths", test_symlinks_in_paths);
    g_test_add_func("/layer/dot-dot", test_dot_dot);
    g_test_add_func("/layer/whiteouts", test_whiteouts);
    g_test_add_func("/layer/literal-whiteouts", test_literal_whiteouts);
    g_test_add_func("/layer/sparse", test_sparse);
    g_test_add_func("/layer/limits", test_limits);
    g_test_add_func("/layer/truncated", test_truncated);
    g_test_add_func("/layer/deterministic", test_deterministic);
    g_test_add_func("/layer/damaged", test_damaged);
    g_test_add_func("/layer/directory", test_directory);
    return g_test_run();
}

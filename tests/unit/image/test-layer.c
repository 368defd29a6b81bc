/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layers: what honest archives become. */
#include <config.h>

#include "layer-tar.h"

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
    return g_test_run();
}

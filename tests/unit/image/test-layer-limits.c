/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layers: archives that are too much, cut short or damaged; the same bytes every time; and directories. */
#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "layer-tar.h"

/* ---- limits and damage ---- */

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

    convert_to(bytes, path, &layer_oci, &error);
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

/* A pax record: its length counts itself. */
static char *
pax_record(const char *key, const char *value)
{
    gsize rest = strlen(key) + strlen(value) + strlen(" =\n"), length = rest + 1;
    g_autofree char *digits = NULL;

    do {
        g_free(digits);
        digits = g_strdup_printf("%zu", length++);
    } while (strlen(digits) + rest >= length);
    return g_strdup_printf("%s %s=%s\n", digits, key, value);
}

/* A file "f" of four bytes, with a pax header. */
static GBytes *
pax_archive(const char *records)
{
    gsize length = strlen(records), room = (length + 511) / 512 * 512;
    char *bytes = g_malloc0(512 + room + 4 * 512);

    put_header(bytes, "PaxHeaders/f", 'x', (guint)length);
    memcpy(bytes + 512, records, length);
    put_header(bytes + 512 + room, "f", '0', 4);
    memcpy(bytes + 1024 + room, "data", 4);
    return g_bytes_new_take(bytes, 512 + room + 4 * 512);
}

/* What attributes of entries may say. */
static void
test_pax(void)
{
    static const struct {
        const char *key, *value;
        const char *refused; /* NULL = the archive is taken */
    } cases[] = {
        {"size", "999999", "entry 'f'"},
        {"size", "-5", "negative"},
        {"size", "99999999999999999999", "overflow"},
        {"path", "a/../../b", "'..'"},
        {"path", "//abs//./x", NULL},
        {"path", "caf\xe9", NULL},
        {"uid", "-1", "impossible owner"},
        {"gid", "99999999999", "impossible owner"},
        {"mtime", "-1.25", NULL},
        {"mtime", "nan", NULL},
        {"mtime", "999999999999999999999999999999", NULL},
        {"GNU.sparse.map", "0,4000", "its data ends early"},
        {"SCHILY.xattr.", "x", NULL},
        {"SCHILY.xattr.odd.name", "x", NULL},
        {"SCHILY.acl.access", "nonsense::::", NULL},
        {"linkpath", "/etc/passwd", NULL},
        {"MSB.nothing", "x", NULL},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *record = pax_record(cases[i].key, cases[i].value);
        g_autofree char *records = g_str_has_prefix(cases[i].key, "GNU.")
                                       ? g_strconcat("22 GNU.sparse.size=10\n", record, NULL)
                                       : g_strdup(record);
        g_autoptr(GBytes) bytes = pax_archive(records);
        g_autoptr(GError) error = NULL;
        char *dir = test_make_dir();
        g_autofree char *path = g_build_filename(dir, "image", NULL);

        g_test_message("%s=%s", cases[i].key, cases[i].value);
        if (cases[i].refused) {
            g_assert_false(convert_to(bytes, path, &layer_oci, &error));
            assert_failed_with(error, MSB_ERROR_CORRUPT, cases[i].refused);
        } else {
            g_assert_true(convert_to(bytes, path, &layer_oci, &error));
            g_assert_no_error(error);
            g_tree_unref(erofs_read(path));
        }
        test_remove_dir(dir);
    }
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

    g_assert_false(convert_to(cut, path, &layer_oci, &error));
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

    g_assert_true(convert_to(bytes, a, &layer_oci, NULL));
    g_assert_true(convert_to(bytes, b, &layer_oci, NULL));
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
        if (convert_to(damaged, path, &layer_oci, &error)) {
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
    g_test_add_func("/layer/sparse", test_sparse);
    g_test_add_func("/layer/limits", test_limits);
    g_test_add_func("/layer/pax", test_pax);
    g_test_add_func("/layer/truncated", test_truncated);
    g_test_add_func("/layer/deterministic", test_deterministic);
    g_test_add_func("/layer/damaged", test_damaged);
    g_test_add_func("/layer/directory", test_directory);
    return g_test_run();
}

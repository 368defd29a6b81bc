/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel images and module trees, made up here so that every way they can be
 * broken can be tried.
 */
#include <config.h>

#include <unistd.h>

#include "kernel-util.h"

/* ---- images ------------------------------------------------------------------- */

static gboolean
unpack(Fixture *f, const GByteArray *image, GError **error)
{
    g_autofree char *in = path_in(f, "image");
    g_autofree char *out = path_in(f, "vmlinux");

    put(in, image->data, image->len);
    unlink(out);
    return msb_kernel_unpack_vmlinux(in, out, error);
}

static void
assert_unpacked(Fixture *f, const GByteArray *elf)
{
    g_autofree char *out = path_in(f, "vmlinux");
    g_autofree char *data = NULL;
    gsize n;

    g_assert_true(g_file_get_contents(out, &data, &n, NULL));
    g_assert_cmpmem(data, n, elf->data, elf->len);
}

static void
test_compressions(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const char *const filters[] = {"gzip", "bzip2", "xz", "lzma", "zstd", "lz4-legacy"};
    g_autoptr(GByteArray) elf = make_elf(18, RELEASE);

    for (guint i = 0; i < G_N_ELEMENTS(filters); i++) {
        gboolean legacy = strcmp(filters[i], "lz4-legacy") == 0;
        g_autoptr(GByteArray) payload = legacy ? compress_lz4_legacy(elf) : compress_with(filters[i], elf);
        g_autoptr(GByteArray) image = make_bzimage(payload, strcmp(filters[i], "gzip") != 0, elf->len);
        g_autoptr(GError) error = NULL;

        g_test_message("%s", filters[i]);
        unpack(f, image, &error);
        g_assert_no_error(error);
        assert_unpacked(f, elf);
    }
}

static void
test_elf_is_copied(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) elf = make_elf(18, RELEASE);
    g_autoptr(GError) error = NULL;

    unpack(f, elf, &error);
    g_assert_no_error(error);
    assert_unpacked(f, elf);
}

static void
test_bad_images(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) elf = make_elf(18, RELEASE);
    g_autoptr(GByteArray) payload = compress_with("xz", elf);
    g_autoptr(GByteArray) wrong_size = make_bzimage(payload, TRUE, elf->len + 1);

    g_autoptr(GError) error = NULL;

    g_assert_false(unpack(f, wrong_size, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_CORRUPT);
    for (guint length = 0; length < wrong_size->len - 9; length += 7) {
        g_autoptr(GByteArray) image = make_good_bzimage();
        g_autoptr(GError) local = NULL;

        g_byte_array_set_size(image, length);
        g_assert_false(unpack(f, image, &local));
        g_assert_error(local, MSB_ERROR, MSB_ERROR_CORRUPT);
    }
}

/* Every byte of the header at its worst: an error or not, but nothing read outside. */
static void
test_bad_headers(Fixture *f G_GNUC_UNUSED, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) good = make_good_bzimage();

    for (guint at = 0x1f1; at < 0x250; at++) {
        for (guint value = 0; value < 256; value += 51) {
            g_autofree guint8 *image = g_memdup2(good->data, good->len);
            gsize offset = 0, length = 0;

            image[at] = (guint8)value;
            if (msb_bzimage_find_payload(image, good->len, "x", &offset, &length, NULL)) {
                g_assert_cmpuint(offset, <=, good->len);
                g_assert_cmpuint(length, <=, good->len - offset);
            }
        }
    }
}

static void
test_pvh(Fixture *f G_GNUC_UNUSED, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) good = make_elf(18, RELEASE);
    g_autoptr(GByteArray) without = make_elf(17, RELEASE);
    g_autofree char *release = msb_vmlinux_dup_release(good->data, good->len);
    g_autoptr(GError) error = NULL;

    g_assert_cmpstr(release, ==, RELEASE);
    g_assert_true(msb_vmlinux_check_pvh(good->data, good->len, "k", &error));
    g_assert_no_error(error);
    g_assert_false(msb_vmlinux_check_pvh(without->data, without->len, "k", &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(error->message, "CONFIG_PVH"));
    for (guint length = 0; length < 560; length++) {
        g_autofree guint8 *cut = g_memdup2(good->data, length);

        g_assert_false(msb_vmlinux_check_pvh(cut, length, "k", NULL) && length < 512 + 40);
    }
}

/* Sizes in the notes and program headers that point far away. */
static void
test_hostile_elf(Fixture *f G_GNUC_UNUSED, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) good = make_elf(18, RELEASE);

    for (guint at = 16; at < 560; at++) {
        g_autofree guint8 *elf = g_memdup2(good->data, good->len);

        elf[at] = 0xff;
        msb_vmlinux_check_pvh(elf, good->len, "k", NULL);
        memset(elf + at, 0xff, 8);
        msb_vmlinux_check_pvh(elf, good->len, "k", NULL);
    }
}

/* ---- modules ---------------------------------------------------------------------- */

static const char good_dep[] = "kernel/virtio_ring.ko:\n"
                               "kernel/virtio.ko: kernel/virtio_ring.ko\n"
                               "kernel/virtio-mmio.ko.xz: kernel/virtio.ko kernel/virtio_ring.ko\n"
                               "kernel/virtio_blk.ko: kernel/virtio.ko kernel/virtio_ring.ko\n"
                               "kernel/virtio_console.ko: kernel/virtio.ko kernel/virtio_ring.ko\n"
                               "kernel/libcrc32c.ko:\nkernel/crc32c_intel.ko:\nkernel/crc32c_other.ko:\n"
                               "kernel/erofs.ko: kernel/libcrc32c.ko\n"
                               "kernel/overlay.ko:\nkernel/fuse.ko:\nkernel/unrelated.ko:\n"
                               "kernel/virtiofs.ko: kernel/virtio.ko kernel/virtio_ring.ko kernel/fuse.ko\n";

static void
put_tree(Fixture *f, const char *dep, const char *builtin, const char *softdep, const char *alias)
{
    g_autofree char *a = path_in(f, "modules.dep");
    g_autofree char *b = path_in(f, "modules.builtin");
    g_autofree char *c = path_in(f, "modules.softdep");
    g_autofree char *d = path_in(f, "modules.alias");

    put(a, dep, -1);
    put(b, builtin, -1);
    put(c, softdep, -1);
    put(d, alias, -1);
}

static char *
pick(Fixture *f, GError **error)
{
    g_auto(GStrv) files = msb_modules_pick(f->dir, error);

    return files ? g_strjoinv(" ", files) : NULL;
}

static void
test_pick_order(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *files = NULL;
    g_autoptr(GError) error = NULL;

    put_tree(f, good_dep, "kernel/fs/ext4/ext4.ko\n",
             "# comment\nsoftdep libcrc32c pre: crc32c nothing-like-it post: unrelated\nsoftdep short\n",
             "alias crc32c crc32c_intel\nalias crypto-* unrelated\n");
    files = pick(f, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(
        files, ==,
        "kernel/virtio_ring.ko kernel/virtio.ko kernel/virtio-mmio.ko.xz "
        "kernel/virtio_blk.ko kernel/virtio_console.ko kernel/crc32c_intel.ko "
        "kernel/libcrc32c.ko kernel/erofs.ko kernel/overlay.ko kernel/fuse.ko kernel/virtiofs.ko");
}

static void
test_pick_builtin_alias(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const char modinfo[] =
        "crc32c_generic.license=GPL\0crc32c_generic.alias=crc32c\0ext4.alias=fs-ext4";
    g_autofree char *path = path_in(f, "modules.builtin.modinfo");
    g_autofree char *files = NULL;

    put_tree(f, good_dep, "kernel/fs/ext4/ext4.ko\n", "softdep libcrc32c pre: crc32c\n",
             "alias crc32c crc32c_intel\n");
    put(path, modinfo, sizeof(modinfo));
    files = pick(f, NULL);
    g_assert_nonnull(files);
    g_assert_null(strstr(files, "crc32c_intel"));
}

static void
test_pick_bad_trees(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *cyclic = g_strconcat(good_dep, "kernel/fuse.ko: kernel/virtiofs.ko\n", NULL);
    g_autofree char *escaping = g_strconcat(good_dep, "../../etc/virtio_rng.ko:\n", NULL);
    g_autofree char *files = NULL;
    g_autoptr(GError) missing = NULL;
    g_autoptr(GError) unsafe = NULL;

    put_tree(f, good_dep, "", "", "");
    g_assert_null(pick(f, &missing));
    g_assert_error(missing, MSB_ERROR, MSB_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(missing->message, "'ext4'"));

    put_tree(f, cyclic, "kernel/ext4.ko\n", "softdep fuse pre: virtiofs\nsoftdep erofs pre: erofs\n", "");
    files = pick(f, NULL);
    g_assert_nonnull(files);

    put_tree(f, escaping, "kernel/ext4.ko\n", "", "");
    g_assert_null(pick(f, &unsafe));
    g_assert_error(unsafe, MSB_ERROR, MSB_ERROR_CORRUPT);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/kernel/image/compressions", test_compressions);
    ADD("/kernel/image/elf", test_elf_is_copied);
    ADD("/kernel/image/bad", test_bad_images);
    ADD("/kernel/image/bad-headers", test_bad_headers);
    ADD("/kernel/image/pvh", test_pvh);
    ADD("/kernel/image/hostile-elf", test_hostile_elf);
    ADD("/kernel/modules/order", test_pick_order);
    ADD("/kernel/modules/builtin-alias", test_pick_builtin_alias);
    ADD("/kernel/modules/bad", test_pick_bad_trees);
    return g_test_run();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel bundles: packages and files to import, well-formed and not, and
 * initrds.  $MSB_TEST_KERNEL_PACKAGE names a distribution's real package to import
 * as well.
 */
#include <config.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel-util.h"
#include "mb-cleanup.h"

/* ---- packages ----------------------------------------------------------------------- */

typedef struct {
    const char *name;
    const void *data;
    gsize n;
    mode_t type;
} Member;

static GByteArray *
make_archive(gboolean ar, const char *filter, const Member *members)
{
    struct archive *a = archive_write_new();
    GByteArray *out = g_byte_array_new();
    size_t used = 0;

    g_byte_array_set_size(out, 4 * 1024 * 1024);
    if (ar)
        archive_write_set_format_ar_svr4(a);
    else
        archive_write_set_format_pax_restricted(a);
    if (filter)
        archive_write_add_filter_by_name(a, filter);
    archive_write_set_bytes_in_last_block(a, 1);
    g_assert_cmpint(archive_write_open_memory(a, out->data, out->len, &used), ==, ARCHIVE_OK);
    for (; members->name; members++) {
        struct archive_entry *entry = archive_entry_new();

        archive_entry_set_pathname(entry, members->name);
        archive_entry_set_filetype(entry, members->type ? members->type : AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_size(entry, (la_int64_t)members->n);
        if (members->type == AE_IFLNK)
            archive_entry_set_symlink(entry, members->data);
        g_assert_cmpint(archive_write_header(a, entry), ==, ARCHIVE_OK);
        if (members->n)
            g_assert_cmpint(archive_write_data(a, members->data, members->n), ==, members->n);
        archive_entry_free(entry);
    }
    g_assert_cmpint(archive_write_free(a), ==, ARCHIVE_OK);
    g_byte_array_set_size(out, (guint)used);
    return out;
}

/* A .deb whose data.tar.xz has the kernel, the modules the boot wants, and extra. */
static void
put_deb(const char *path, const GByteArray *image, const Member *extra)
{
    static const char *const modules[] = {"virtio_mmio", "virtio_blk", "virtio_console",
                                          "erofs",       "overlay",    "virtiofs"};
    g_autoptr(GByteArray) tar = NULL;
    g_autoptr(GByteArray) deb = NULL;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) members = g_array_new(TRUE, TRUE, sizeof(Member));
    Member kernel = {"./boot/vmlinuz-" RELEASE, image->data, image->len, 0};
    Member builtin = {"./lib/modules/" RELEASE "/modules.builtin", "kernel/fs/ext4/ext4.ko\n", 23, 0};

    g_array_append_val(members, kernel);
    g_array_append_val(members, builtin);
    for (guint i = 0; i < G_N_ELEMENTS(modules); i++) {
        Member module = {NULL, modules[i], strlen(modules[i]), 0};

        g_ptr_array_add(names, g_strdup_printf("./lib/modules/" RELEASE "/kernel/%s.ko", modules[i]));
        module.name = names->pdata[i];
        g_array_append_val(members, module);
    }
    for (; extra && extra->name; extra++)
        g_array_append_val(members, *extra);
    tar = make_archive(FALSE, "xz", (Member *)members->data);
    deb = make_archive(TRUE, NULL,
                       (const Member[]){{"debian-binary", "2.0\n", 4, 0},
                                        {"control.tar.xz", "not looked at", 13, 0},
                                        {"data.tar.xz", tar->data, tar->len, 0},
                                        {NULL, NULL, 0, 0}});
    put(path, deb->data, deb->len);
}

static MsbKernel *
import_deb(Fixture *f, MsbHome *home, const Member *extra, GError **error)
{
    g_autoptr(GByteArray) image = make_good_bzimage();
    g_autofree char *path = path_in(f, "kernel.deb");

    put_deb(path, image, extra);
    return msb_kernel_import_package(home, path, NULL, NULL, error);
}

static MsbHome *
open_home(Fixture *f)
{
    g_autofree char *path = path_in(f, "home");
    MsbHome *home = msb_home_open(path, NULL);

    g_assert_nonnull(home);
    return home;
}

/* Nothing but finished bundles, the lock and the default in kernel/. */
static void
assert_clean(MsbHome *home, guint bundles)
{
    g_autofree char *path = msb_home_build_path(home, "kernel", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    guint n = 0;

    while ((name = g_dir_read_name(dir))) {
        g_assert_false(g_str_has_prefix(name, ".import"));
        g_assert_false(g_str_has_prefix(name, ".removed"));
        if (name[0] != '.' && strcmp(name, "default") != 0)
            n++;
    }
    g_assert_cmpuint(n, ==, bundles);
}

static void
test_import(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(MsbHome) home = open_home(f);
    g_autoptr(MsbKernel) kernel = NULL;
    g_autoptr(MsbKernel) found = NULL;
    g_autoptr(MsbKernel) again = NULL;
    g_autoptr(GPtrArray) list = NULL;
    g_autoptr(GError) error = NULL;
    const MsbBootModule *first;

    g_assert_null(msb_kernel_lookup(home, NULL, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "msb kernel import"));
    g_clear_error(&error);

    kernel = import_deb(f, home, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(msb_kernel_get_version(kernel), ==, RELEASE);
    g_assert_true(msb_kernel_is_default(kernel));
    g_assert_cmpuint(msb_kernel_get_boot_modules(kernel)->len, ==, 6);
    first = msb_kernel_get_boot_modules(kernel)->pdata[0];
    g_assert_cmpstr(first->name, ==, "virtio_mmio.ko");
    g_assert_cmpuint(msb_kernel_get_size(kernel), >, 4096);
    assert_clean(home, 1);

    found = msb_kernel_lookup(home, NULL, &error);
    g_assert_no_error(error);
    list = msb_kernel_list(home, &error);
    g_assert_cmpuint(list->len, ==, 1);

    again = import_deb(f, home, NULL, &error);
    g_assert_null(again);
    g_assert_error(error, MSB_ERROR, MSB_ERROR_EXISTS);
    assert_clean(home, 1);
}

static void
test_remove(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(MsbHome) home = open_home(f);
    g_autoptr(MsbKernel) kernel = import_deb(f, home, NULL, NULL);
    g_autoptr(MsbLock) held = msb_kernel_hold(kernel, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_nonnull(held);
    g_assert_false(msb_kernel_remove(home, RELEASE, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_IN_USE);
    g_clear_error(&error);
    g_clear_pointer(&held, msb_lock_release);
    msb_kernel_remove(home, RELEASE, &error);
    g_assert_no_error(error);
    assert_clean(home, 0);
    g_assert_false(msb_kernel_remove(home, RELEASE, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(msb_kernel_remove(home, "../sandboxes", &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_null(msb_kernel_lookup(home, NULL, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_NOT_FOUND);
}

/* What a killed import left goes with the next one, but not what another one works in. */
static void
test_stale_imports(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(MsbHome) home = open_home(f);
    g_autofree char *stale = msb_home_build_path(home, "kernel", ".import-stale", "lib", NULL);
    g_autofree char *busy = msb_home_build_path(home, "kernel", ".import-busy", NULL);
    g_autoptr(MsbKernel) kernel = NULL;
    mb_autofd int fd = -1;

    g_assert_cmpint(g_mkdir_with_parents(stale, 0700), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(busy, 0700), ==, 0);
    fd = open(busy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(flock(fd, LOCK_EX), ==, 0);
    kernel = import_deb(f, home, NULL, NULL);
    g_assert_nonnull(kernel);
    g_assert_false(g_file_test(stale, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(busy, G_FILE_TEST_EXISTS));
}

/* What a package may hold besides, and what makes it refused; nothing is left behind. */
static void
test_odd_packages(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const Member harmless[] = {
        {"../../../../escaped", "x", 1, 0},
        {"lib/modules/" RELEASE "/build", "/usr/src/linux", 0, AE_IFLNK},
        {"lib/modules/" RELEASE "/kernel/link.ko", "../../../../../escaped", 0, AE_IFLNK},
        {"usr/share/doc/readme", "x", 1, 0},
        {NULL, NULL, 0, 0},
    };
    static const Member second_version[] = {{"lib/modules/7.0/kernel/x.ko", "x", 1, 0}, {NULL, NULL, 0, 0}};
    static const Member through_link[] = {{"lib/modules/" RELEASE "/kernel/erofs.ko", "twice", 5, 0},
                                          {NULL, NULL, 0, 0}};
    g_autoptr(MsbHome) home = open_home(f);
    g_autofree char *escaped = path_in(f, "escaped");
    g_autoptr(MsbKernel) kernel = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_null(import_deb(f, home, second_version, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_CORRUPT);
    assert_clean(home, 0);
    g_clear_error(&error);
    g_assert_null(import_deb(f, home, through_link, &error));
    g_assert_nonnull(error);
    assert_clean(home, 0);
    g_clear_error(&error);
    kernel = import_deb(f, home, harmless, &error);
    g_assert_no_error(error);
    g_assert_false(g_file_test(escaped, G_FILE_TEST_EXISTS));
    assert_clean(home, 1);
}

static void
test_broken_packages(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(MsbHome) home = open_home(f);
    g_autoptr(GByteArray) image = make_good_bzimage();
    g_autoptr(GByteArray) elf = make_elf(17, RELEASE);
    g_autoptr(GByteArray) other = make_elf(18, "5.0.0");
    g_autofree char *path = path_in(f, "kernel.deb");
    g_autofree char *bytes = NULL;
    g_autoptr(GError) error = NULL;
    gsize n;

    put_deb(path, elf, NULL);
    g_assert_null(msb_kernel_import_package(home, path, NULL, NULL, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_UNSUPPORTED);
    g_clear_error(&error);
    put_deb(path, other, NULL);
    g_assert_null(msb_kernel_import_package(home, path, NULL, NULL, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_INVALID);
    g_clear_error(&error);
    put_deb(path, image, NULL);
    g_assert_true(g_file_get_contents(path, &bytes, &n, NULL));
    for (gsize length = 0; length < n - 200; length += 97) {
        g_autoptr(GError) local = NULL;

        put(path, bytes, (gssize)length);
        g_assert_null(msb_kernel_import_package(home, path, NULL, NULL, &local));
        g_assert_nonnull(local);
    }
    g_assert_null(msb_kernel_import_package(home, "/nonexistent.deb", NULL, NULL, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_NOT_FOUND);
    assert_clean(home, 0);
}

static void
test_import_files(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const char *const modules[] = {"virtio_mmio", "virtio_blk", "virtio_console", "erofs", "overlay",
                                          "virtiofs",    "ext4"};
    g_autoptr(MsbHome) home = open_home(f);
    g_autoptr(GByteArray) image = make_good_bzimage();
    g_autofree char *vmlinuz = path_in(f, "vmlinuz");
    g_autofree char *tree = path_in(f, "lib/modules", RELEASE);
    g_autofree char *link = path_in(f, "lib/modules", RELEASE, "kernel/evil.ko");
    g_autoptr(MsbKernel) kernel = NULL;
    g_autoptr(MsbKernel) none = NULL;
    g_autoptr(GError) error = NULL;

    put(vmlinuz, image->data, image->len);
    for (guint i = 0; i < G_N_ELEMENTS(modules); i++) {
        g_autofree char *name = g_strconcat(modules[i], ".ko", NULL);
        g_autofree char *path = path_in(f, "lib/modules", RELEASE, "kernel", name);

        put(path, modules[i], -1);
    }
    g_assert_cmpint(symlink("/etc/passwd", link), ==, 0);
    kernel = msb_kernel_import_files(home, vmlinuz, tree, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(msb_kernel_get_boot_modules(kernel)->len, ==, 7);
    none = msb_kernel_import_files(home, vmlinuz, "/nonexistent", NULL, NULL, &error);
    g_assert_null(none);
    g_assert_error(error, MSB_ERROR, MSB_ERROR_INVALID);
    assert_clean(home, 1);
}

/* ---- initrd ---------------------------------------------------------------------------- */

static GPtrArray *
put_boot_modules(Fixture *f)
{
    GPtrArray *modules = g_ptr_array_new_with_free_func((GDestroyNotify)msb_boot_module_free);
    static const char *const names[] = {"zeta.ko", "alpha.ko"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = path_in(f, names[i]);
        MsbBootModule *module = g_new0(MsbBootModule, 1);

        put(path, names[i], -1);
        module->name = g_strdup(names[i]);
        module->sha256 = g_compute_checksum_for_string(G_CHECKSUM_SHA256, names[i], -1);
        g_ptr_array_add(modules, module);
    }
    return modules;
}

static void
test_initrd(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const char *const names[] = {
        "dev", "dev/console", "init", "modules", "modules/zeta.ko", "modules/alpha.ko", "modules/load"};
    g_autoptr(GPtrArray) modules = put_boot_modules(f);
    g_autofree char *agent = path_in(f, "agent");
    g_autofree char *out = path_in(f, "initrd");
    g_autoptr(GError) error = NULL;
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    char text[64] = {0};
    mb_autofd int fd = -1;

    put(agent, "agent", 5);
    fd = open(out, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    msb_initrd_write(fd, agent, f->dir, modules, &error);
    g_assert_no_error(error);

    archive_read_support_format_cpio(a);
    g_assert_cmpint(archive_read_open_filename(a, out, 4096), ==, ARCHIVE_OK);
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpint(archive_read_next_header(a, &entry), ==, ARCHIVE_OK);
        g_assert_cmpstr(archive_entry_pathname(entry), ==, names[i]);
        if (i == 1) {
            g_assert_cmpuint(archive_entry_filetype(entry), ==, AE_IFCHR);
            g_assert_cmpuint(archive_entry_rdevmajor(entry), ==, 5);
            g_assert_cmpuint(archive_entry_rdevminor(entry), ==, 1);
        }
        if (i == 2)
            g_assert_cmpuint(archive_entry_mode(entry), ==, S_IFREG | 0755);
    }
    g_assert_cmpint(archive_read_data(a, text, sizeof(text)), ==, 17);
    g_assert_cmpstr(text, ==, "zeta.ko\nalpha.ko\n");
    g_assert_cmpint(archive_read_next_header(a, &entry), ==, ARCHIVE_EOF);
    archive_read_free(a);
}

static void
test_initrd_is_deterministic(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) modules = put_boot_modules(f);
    g_autofree char *agent = path_in(f, "agent");
    g_autofree char *bytes[2] = {NULL, NULL};
    gsize n[2];

    put(agent, "agent", 5);
    for (guint i = 0; i < 2; i++) {
        g_autofree char *out = path_in(f, i ? "one" : "two");
        mb_autofd int fd = open(out, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        g_assert_true(msb_initrd_write(fd, agent, f->dir, modules, NULL));
        g_assert_true(g_file_get_contents(out, &bytes[i], &n[i], NULL));
    }
    g_assert_cmpmem(bytes[0], n[0], bytes[1], n[1]);
    g_free(bytes[1]);
}

static void
test_initrd_refuses_changed_module(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) modules = put_boot_modules(f);
    g_autofree char *agent = path_in(f, "agent");
    g_autofree char *changed = path_in(f, "alpha.ko");
    g_autofree char *out = path_in(f, "initrd");
    g_autoptr(GError) error = NULL;
    mb_autofd int fd = open(out, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    put(agent, "agent", 5);
    put(changed, "other", 5);
    g_assert_false(msb_initrd_write(fd, agent, f->dir, modules, &error));
    g_assert_error(error, MSB_ERROR, MSB_ERROR_CORRUPT);
}

static void
test_initrd_cache(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(MsbHome) home = open_home(f);
    g_autoptr(MsbKernel) kernel = import_deb(f, home, NULL, NULL);
    g_autofree char *programs = path_in(f, "build");
    g_autofree char *agent = path_in(f, "build/agent/msb-agent");
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    g_autofree char *changed = NULL;
    g_autoptr(GError) error = NULL;

    g_setenv("MSB_BUILDDIR", programs, TRUE);
    put(agent, "agent", 5);
    g_assert_cmpint(chmod(agent, 0755), ==, 0);
    first = msb_kernel_ensure_initrd(home, kernel, &error);
    g_assert_no_error(error);
    second = msb_kernel_ensure_initrd(home, kernel, &error);
    g_assert_cmpstr(first, ==, second);
    put(agent, "other", 5);
    g_assert_cmpint(chmod(agent, 0755), ==, 0);
    changed = msb_kernel_ensure_initrd(home, kernel, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(first, !=, changed);
    g_assert_true(g_file_test(first, G_FILE_TEST_EXISTS));
}

/* ---- a real one -------------------------------------------------------------------------- */

static void
test_real_package(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    const char *package = g_getenv("MSB_TEST_KERNEL_PACKAGE");
    g_autoptr(MsbHome) home = open_home(f);
    g_autoptr(MsbKernel) kernel = NULL;
    g_autoptr(GError) error = NULL;

    if (!package) {
        g_test_skip("MSB_TEST_KERNEL_PACKAGE does not name a kernel package");
        return;
    }
    kernel = msb_kernel_import_package(home, package, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(msb_kernel_get_boot_modules(kernel)->len, >, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/kernel/import/package", test_import);
    ADD("/kernel/import/files", test_import_files);
    ADD("/kernel/import/odd", test_odd_packages);
    ADD("/kernel/import/broken", test_broken_packages);
    ADD("/kernel/import/stale", test_stale_imports);
    ADD("/kernel/remove", test_remove);
    ADD("/kernel/initrd/content", test_initrd);
    ADD("/kernel/initrd/deterministic", test_initrd_is_deterministic);
    ADD("/kernel/initrd/changed-module", test_initrd_refuses_changed_module);
    ADD("/kernel/initrd/cache", test_initrd_cache);
    ADD("/kernel/import/real", test_real_package);
    return g_test_run();
}

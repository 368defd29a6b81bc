/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making a kernel bundle.  Everything happens in kernel/.import-XXXXXX, which is
 * locked while somebody works in it and removed on every way out; what a killed
 * import left goes with the next one:
 *
 *   vmlinuz                      the image as it came
 *   lib/modules/<version>/       the module tree as it came, then with depmod's indexes
 *   bundle/                      vmlinux, modules.erofs, boot/<module>.ko, bundle.json
 *
 * and the finished bundle/ becomes kernel/<version> by one rename. Packages are
 * read by libarchive: a .deb is an ar archive whose data.tar.* member is read
 * through the outer reader without a temporary file; an RPM is a cpio archive
 * behind a filter. Of either only regular files at known places are taken, so
 * that links and odd names in a package reach nothing.
 */
#include <config.h>

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-kernel-private.h"
#include "msb-layer.h"

#define READ_CHUNK (128 * 1024)

typedef struct {
    MsbHome *home;
    const char *source; /* for messages */
    char *staging;
    int staging_fd; /* holds its lock */
    char *vmlinuz;
    char *version; /* of the module tree, once known */
    guint64 bytes; /* taken so far */
    guint entries;
    MsbProgressFunc progress;
    gpointer data;
} Import;

static void
import_clear(Import *im)
{
    if (im->staging)
        msb_paths_remove_tree(im->staging, NULL);
    mb_close(im->staging_fd);
    im->staging_fd = -1;
    g_clear_pointer(&im->staging, g_free);
    g_clear_pointer(&im->vmlinuz, g_free);
    g_clear_pointer(&im->version, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Import, import_clear)

static void
report(Import *im, const char *what)
{
    if (im->progress)
        im->progress(what, im->bytes, 0, im->data);
}

/* Directories of imports that died: nobody has them locked. The caller holds the store's lock. */
static void
remove_stale_imports(MsbHome *home)
{
    g_autofree char *path = msb_home_build_path(home, "kernel", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *stale = g_build_filename(path, name, NULL);
        mb_autofd int fd = -1;

        if (!g_str_has_prefix(name, ".import-") && !g_str_has_prefix(name, ".removed-"))
            continue;
        fd = open(stale, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            msb_paths_remove_tree(stale, NULL);
    }
}

static gboolean
import_begin(Import *im, GError **error)
{
    g_autoptr(MsbLock) lock = msb_kernel_store_lock(im->home, error);

    if (!lock)
        return FALSE;
    remove_stale_imports(im->home);
    im->staging = msb_home_build_path(im->home, "kernel", ".import-XXXXXX", NULL);
    if (!g_mkdtemp_full(im->staging, 0700)) {
        msb_error_set_errno(error, errno, "cannot create a directory for the import in '%s'",
                            msb_home_get_path(im->home));
        g_clear_pointer(&im->staging, g_free);
        return FALSE;
    }
    im->staging_fd = open(im->staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (im->staging_fd < 0 || flock(im->staging_fd, LOCK_EX) < 0)
        return msb_error_set_errno(error, errno, "cannot lock '%s'", im->staging);
    im->vmlinuz = g_build_filename(im->staging, "vmlinuz", NULL);
    return TRUE;
}

/* ---- taking files ---------------------------------------------------------------- */

/* A name out of a package, without "./", "/" and "usr/" in front; NULL if it has "..". */
static char *
clean_name(const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, "/", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();

    for (guint i = 0; parts[i]; i++) {
        if (strcmp(parts[i], "..") == 0)
            return NULL;
        if (parts[i][0] && strcmp(parts[i], ".") != 0)
            g_ptr_array_add(kept, parts[i]);
    }
    g_ptr_array_add(kept, NULL);
    if (kept->len > 2 && strcmp(kept->pdata[0], "usr") == 0)
        g_ptr_array_remove_index(kept, 0);
    return g_strjoinv("/", (char **)kept->pdata);
}

/* Where a file of the package goes below the staging directory; NULL: it is not needed. */
static char *
place_of(Import *im, const char *name, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(name, "/", 4);

    if (parts[0] && parts[1] && !parts[2] && strcmp(parts[0], "boot") == 0)
        return g_str_has_prefix(parts[1], "vmlinuz-") ? g_strdup("vmlinuz") : NULL;
    if (g_strv_length(parts) < 4 || strcmp(parts[0], "lib") != 0 || strcmp(parts[1], "modules") != 0)
        return NULL;
    if (!msb_kernel_version_is_valid(parts[2])) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT,
                    "'%s' has modules for the impossible kernel version '%s'", im->source, parts[2]);
        return NULL;
    }
    if (!im->version)
        im->version = g_strdup(parts[2]);
    if (strcmp(im->version, parts[2]) != 0) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' has modules for two kernels, '%s' and '%s'",
                    im->source, im->version, parts[2]);
        return NULL;
    }
    if (strcmp(parts[3], "vmlinuz") == 0)
        return g_strdup("vmlinuz");
    if (g_str_has_prefix(parts[3], "kernel/") || g_str_has_prefix(parts[3], "extra/") ||
        g_str_has_prefix(parts[3], "updates/") || g_str_has_prefix(parts[3], "modules."))
        return g_strdup(name);
    return NULL;
}

/* Create the file (with its parents) that place names; -1 with error. */
static int
create_place(Import *im, const char *place, GError **error)
{
    g_autofree char *path = g_build_filename(im->staging, place, NULL);
    g_autofree char *parent = g_path_get_dirname(path);
    int fd;

    if (!msb_paths_make_dir(parent, 0755, error))
        return -1;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        msb_error_set_errno(error, errno, "cannot unpack '%s' from '%s'", place, im->source);
    return fd;
}

static gboolean
take_entry(Import *im, struct archive *archive, struct archive_entry *entry, GError **error)
{
    const char *raw = archive_entry_pathname(entry);
    g_autofree char *name = raw ? clean_name(raw) : NULL;
    g_autofree char *place = NULL;
    g_autoptr(GError) local = NULL;
    mb_autofd int fd = -1;
    guint64 limit, written = 0;

    if (++im->entries > MSB_KERNEL_MAX_ENTRIES) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' has more files than any kernel package",
                    im->source);
        return FALSE;
    }
    if (!name || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
        return TRUE;
    place = place_of(im, name, &local);
    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (!place)
        return TRUE;
    fd = create_place(im, place, error);
    if (fd < 0)
        return FALSE;
    limit = MIN(MSB_KERNEL_MAX_TREE - im->bytes,
                strcmp(place, "vmlinuz") == 0 ? MSB_KERNEL_MAX_IMAGE : MSB_KERNEL_MAX_MODULE);
    if (!msb_archive_copy_data(archive, name, fd, limit, &written, error))
        return FALSE;
    im->bytes += written;
    report(im, "unpack");
    return TRUE;
}

/* All entries of archive from the current one on. */
static gboolean
take_entries(Import *im, struct archive *archive, struct archive_entry *entry, int result, GError **error)
{
    while (result == ARCHIVE_OK || result == ARCHIVE_WARN) {
        if (!take_entry(im, archive, entry, error))
            return FALSE;
        result = archive_read_next_header(archive, &entry);
    }
    if (result == ARCHIVE_EOF)
        return TRUE;
    g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' is damaged: %s", im->source,
                archive_error_string(archive) ? archive_error_string(archive) : "unreadable");
    return FALSE;
}

/* ---- packages ---------------------------------------------------------------------- */

typedef struct {
    struct archive *outer;
    guint8 buffer[READ_CHUNK];
} Member;

static la_ssize_t
read_member(struct archive *inner, void *data, const void **buffer)
{
    Member *member = data;
    la_ssize_t n = archive_read_data(member->outer, member->buffer, sizeof(member->buffer));

    if (n < 0)
        archive_set_error(inner, EIO, "%s",
                          archive_error_string(member->outer) ? archive_error_string(member->outer)
                                                              : "unreadable");
    *buffer = member->buffer;
    return n < 0 ? -1 : n;
}

/* outer stands on the member data.tar.* of a .deb. */
static gboolean
take_deb_data(Import *im, struct archive *outer, GError **error)
{
    g_autofree Member *member = g_new0(Member, 1);
    struct archive *inner = msb_archive_reader_new();
    struct archive_entry *entry = NULL;
    gboolean ok;

    member->outer = outer;
    archive_read_support_format_tar(inner);
    if (archive_read_open(inner, member, NULL, read_member, NULL) != ARCHIVE_OK) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' is damaged: %s", im->source,
                    archive_error_string(inner));
        ok = FALSE;
    } else {
        ok = take_entries(im, inner, entry, archive_read_next_header(inner, &entry), error);
    }
    archive_read_free(inner);
    return ok;
}

static gboolean
take_package(Import *im, struct archive *archive, GError **error)
{
    struct archive_entry *entry;
    int result = archive_read_next_header(archive, &entry);

    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID, "'%s' is not a kernel package (.deb or .rpm)",
                    im->source);
        return FALSE;
    }
    if ((archive_format(archive) & ARCHIVE_FORMAT_BASE_MASK) != ARCHIVE_FORMAT_AR)
        return take_entries(im, archive, entry, result, error);
    while (result == ARCHIVE_OK || result == ARCHIVE_WARN) {
        if (g_str_has_prefix(archive_entry_pathname(entry) ? archive_entry_pathname(entry) : "", "data.tar"))
            return take_deb_data(im, archive, error);
        result = archive_read_next_header(archive, &entry);
    }
    g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' is damaged: it has no data.tar", im->source);
    return FALSE;
}

static gboolean
unpack_package(Import *im, GError **error)
{
    mb_autofd int fd = open(im->source, O_RDONLY | O_CLOEXEC);
    struct archive *archive;
    gboolean ok;

    if (fd < 0)
        return msb_error_set_errno(error, errno, "cannot open the kernel package '%s'", im->source);
    archive = msb_archive_reader_new();
    archive_read_support_filter_rpm(archive);
    archive_read_support_format_ar(archive);
    archive_read_support_format_cpio(archive);
    archive_read_support_format_tar(archive);
    if (archive_read_open_fd(archive, fd, READ_CHUNK) != ARCHIVE_OK) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID, "'%s' is not a kernel package (.deb or .rpm): %s",
                    im->source, archive_error_string(archive));
        ok = FALSE;
    } else {
        ok = take_package(im, archive, error);
    }
    archive_read_free(archive);
    if (ok && !g_file_test(im->vmlinuz, G_FILE_TEST_EXISTS)) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID,
                    "'%s' has no kernel image; a metapackage only names the one to download "
                    "(linux-image-<version>-cloud-amd64)",
                    im->source);
        return FALSE;
    }
    if (ok && !im->version) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID, "'%s' has a kernel image, but no modules",
                    im->source);
        return FALSE;
    }
    return ok;
}

/* ---- a module tree on this machine ----------------------------------------------------- */

static gboolean
copy_tree_file(Import *im, const char *path, const char *relative, GError **error)
{
    g_autofree char *name = g_build_filename("lib/modules", im->version, relative, NULL);
    g_autofree char *place = place_of(im, name, NULL);
    mb_autofd int in = -1, out = -1;
    struct stat st;

    if (!place || strcmp(place, "vmlinuz") == 0)
        return TRUE;
    in = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0)
        return msb_error_set_errno(error, errno, "cannot read '%s'", path);
    im->bytes += (guint64)st.st_size;
    if (im->bytes > MSB_KERNEL_MAX_TREE || ++im->entries > MSB_KERNEL_MAX_ENTRIES) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID, "'%s' is larger than any module tree", path);
        return FALSE;
    }
    out = create_place(im, place, error);
    if (out < 0)
        return FALSE;
    while (st.st_size > 0) {
        ssize_t n = sendfile(out, in, NULL, (size_t)st.st_size);

        if (n <= 0)
            return msb_error_set_errno(error, n < 0 ? errno : EIO, "cannot copy '%s'", path);
        st.st_size -= n;
    }
    report(im, "copy");
    return TRUE;
}

static gboolean
copy_modules(Import *im, const char *dir, GError **error)
{
    char *paths[] = {(char *)dir, NULL};
    FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    gsize prefix = strlen(dir);
    gboolean ok = TRUE;
    FTSENT *entry;

    if (!fts)
        return msb_error_set_errno(error, errno, "cannot read the modules in '%s'", dir);
    while (ok && (entry = fts_read(fts))) {
        if (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS)
            ok = msb_error_set_errno(error, entry->fts_errno, "cannot read '%s'", entry->fts_path);
        else if (entry->fts_info == FTS_F)
            ok = copy_tree_file(im, entry->fts_path, entry->fts_path + prefix + 1, error);
    }
    fts_close(fts);
    return ok;
}

/* ---- the bundle --------------------------------------------------------------------------- */

/* The kernel must be for the modules and bootable; *elf keeps the mapping alive meanwhile. */
static gboolean
check_vmlinux(Import *im, const char *vmlinux, GError **error)
{
    g_autoptr(GMappedFile) elf = g_mapped_file_new(vmlinux, FALSE, error);
    g_autofree char *release = NULL;
    const guint8 *bytes;
    gsize n;

    if (!elf)
        return FALSE;
    bytes = (const guint8 *)g_mapped_file_get_contents(elf);
    n = g_mapped_file_get_length(elf);
    if (!msb_vmlinux_check_pvh(bytes, n, im->source, error))
        return FALSE;
    release = msb_vmlinux_dup_release(bytes, n);
    if (release && strcmp(release, im->version) != 0) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID,
                    "the kernel is version '%s', the modules are for '%s'", release, im->version);
        return FALSE;
    }
    return TRUE;
}

/* The whole module tree as the image that the guest mounts on /lib/modules/<version>. */
static gboolean
write_modules_image(const char *tree, const char *path, GError **error)
{
    MsbLayerOptions options = {.squash_owner = TRUE};
    mb_autofd int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0)
        return msb_error_set_errno(error, errno, "cannot create '%s'", path);
    if (!msb_layer_from_directory(tree, fd, &options, NULL, error))
        return FALSE;
    return fsync(fd) == 0 ? TRUE : msb_error_set_errno(error, errno, "cannot write '%s'", path);
}

/* Uncompressed copies of the boot modules in bundle/boot, and what bundle.json says of them. */
static gboolean
add_boot_modules(const char *tree, const char *bundle, JsonArray *array, GError **error)
{
    g_auto(GStrv) files = msb_modules_pick(tree, error);

    if (!files)
        return FALSE;
    for (guint i = 0; files[i]; i++) {
        g_autofree char *source = g_build_filename(tree, files[i], NULL);
        g_autofree char *name = msb_module_name(files[i]);
        g_autofree char *file = g_strconcat(name, ".ko", NULL);
        g_autofree char *out = g_build_filename(bundle, "boot", file, NULL);
        g_autofree char *data = NULL;
        g_autofree char *sum = NULL;
        JsonObject *object;
        gsize n;

        if (!msb_archive_unpack_file(source, out, MSB_KERNEL_MAX_MODULE, error) ||
            !g_file_get_contents(out, &data, &n, error))
            return FALSE;
        sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)data, n);
        object = json_object_new();
        json_object_set_string_member(object, "name", file);
        json_object_set_string_member(object, "sha256", sum);
        json_array_add_object_element(array, object);
    }
    return TRUE;
}

static gboolean
write_bundle(Import *im, const char *bundle, GError **error)
{
    g_autofree char *tree = g_build_filename(im->staging, "lib/modules", im->version, NULL);
    g_autofree char *vmlinux = g_build_filename(bundle, "vmlinux", NULL);
    g_autofree char *image = g_build_filename(bundle, "modules.erofs", NULL);
    g_autofree char *boot = g_build_filename(bundle, "boot", NULL);
    g_autofree char *json = g_build_filename(bundle, "bundle.json", NULL);
    g_autofree char *source = g_path_get_basename(im->source);
    g_autoptr(JsonObject) object = json_object_new();
    g_autoptr(JsonArray) array = json_array_new();

    if (!msb_paths_make_dir(boot, 0755, error))
        return FALSE;
    report(im, "kernel");
    if (!msb_kernel_unpack_vmlinux(im->vmlinuz, vmlinux, error) || !check_vmlinux(im, vmlinux, error))
        return FALSE;
    report(im, "modules");
    if (!msb_modules_run_depmod(im->staging, im->version, error) ||
        !add_boot_modules(tree, bundle, array, error))
        return FALSE;
    report(im, "image");
    if (!write_modules_image(tree, image, error))
        return FALSE;
    json_object_set_int_member(object, "version", MSB_KERNEL_BUNDLE_VERSION);
    json_object_set_string_member(object, "kernel", im->version);
    json_object_set_string_member(object, "source", source);
    json_object_set_int_member(object, "created", g_get_real_time());
    json_object_set_array_member(object, "boot_modules", g_steal_pointer(&array));
    return msb_state_save(json, object, error);
}

/* kernel/<version> appears whole or not at all. */
static gboolean
publish(Import *im, const char *bundle, GError **error)
{
    g_autoptr(MsbLock) lock = msb_kernel_store_lock(im->home, error);
    g_autofree char *target = msb_home_build_path(im->home, "kernel", im->version, NULL);
    g_autofree char *link = msb_home_build_path(im->home, "kernel", "default", NULL);

    if (!lock)
        return FALSE;
    if (rename(bundle, target) < 0) {
        if (errno != EEXIST && errno != ENOTEMPTY)
            return msb_error_set_errno(error, errno, "cannot create '%s'", target);
        g_set_error(error, MSB_ERROR, MSB_ERROR_EXISTS,
                    "there is a kernel '%s' already; 'msb kernel rm %s' removes it", im->version,
                    im->version);
        return FALSE;
    }
    return g_file_test(link, G_FILE_TEST_EXISTS) || msb_kernel_point_default(im->home, im->version, error);
}

static MsbKernel *
finish(Import *im, GError **error)
{
    g_autofree char *bundle = g_build_filename(im->staging, "bundle", NULL);
    g_autofree char *target = msb_home_build_path(im->home, "kernel", im->version, NULL);

    if (g_file_test(target, G_FILE_TEST_EXISTS)) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_EXISTS,
                    "there is a kernel '%s' already; 'msb kernel rm %s' removes it", im->version,
                    im->version);
        return NULL;
    }
    if (!write_bundle(im, bundle, error) || !publish(im, bundle, error))
        return NULL;
    return msb_kernel_lookup(im->home, im->version, error);
}

MsbKernel *
msb_kernel_import_package(MsbHome *home, const char *package, MsbProgressFunc progress, gpointer data,
                          GError **error)
{
    g_auto(Import)
        im = {.home = home, .staging_fd = -1, .source = package, .progress = progress, .data = data};

    if (!import_begin(&im, error) || !unpack_package(&im, error))
        return NULL;
    return finish(&im, error);
}

MsbKernel *
msb_kernel_import_files(MsbHome *home, const char *vmlinuz, const char *modules_dir, MsbProgressFunc progress,
                        gpointer data, GError **error)
{
    g_auto(Import)
        im = {.home = home, .staging_fd = -1, .source = vmlinuz, .progress = progress, .data = data};
    g_autofree char *dir = g_canonicalize_filename(modules_dir, NULL);
    g_autofree char *version = g_path_get_basename(dir);

    if (!msb_kernel_version_is_valid(version) || !g_file_test(dir, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID,
                    "'%s' is not a module tree (a directory .../lib/modules/<version>)", modules_dir);
        return NULL;
    }
    im.version = g_strdup(version);
    if (!import_begin(&im, error) || !copy_modules(&im, dir, error))
        return NULL;
    g_free(im.vmlinuz);
    im.vmlinuz = g_strdup(vmlinuz);
    return finish(&im, error);
}

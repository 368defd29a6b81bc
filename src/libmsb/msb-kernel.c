/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel bundles on disk: kernel/<version>/ as msb-kernel-import.c publishes it,
 * and the symbolic link kernel/default to one of them.
 *
 * A bundle never changes once it is there, but for the initrds that are made in
 * it on demand: initrd-<digest>.img, where the digest covers the agent and the
 * boot modules, so that a new agent gets a new initrd and two processes that make
 * the same one at once only replace it by itself.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-kernel-private.h"

#define MAX_BOOT_MODULES 256
#define STALE_INITRD_SECONDS (24 * 60 * 60)

struct _MsbKernel {
    gint refs;
    char *version;
    char *dir;
    char *vmlinux;
    char *modules_image;
    GPtrArray *boot_modules; /* of MsbBootModule, in load order */
    gint64 created;          /* microseconds, real time */
    guint64 size;
    gboolean is_default;
};

void
msb_boot_module_free(MsbBootModule *module)
{
    if (!module)
        return;
    g_free(module->name);
    g_free(module->sha256);
    g_free(module);
}

MsbKernel *
msb_kernel_ref(MsbKernel *kernel)
{
    g_atomic_int_inc(&kernel->refs);
    return kernel;
}

void
msb_kernel_unref(MsbKernel *kernel)
{
    if (!kernel || !g_atomic_int_dec_and_test(&kernel->refs))
        return;
    g_free(kernel->version);
    g_free(kernel->dir);
    g_free(kernel->vmlinux);
    g_free(kernel->modules_image);
    g_clear_pointer(&kernel->boot_modules, g_ptr_array_unref);
    g_free(kernel);
}

const char *
msb_kernel_get_version(const MsbKernel *kernel)
{
    return kernel->version;
}

const char *
msb_kernel_get_dir(const MsbKernel *kernel)
{
    return kernel->dir;
}

const char *
msb_kernel_get_vmlinux(const MsbKernel *kernel)
{
    return kernel->vmlinux;
}

const char *
msb_kernel_get_modules_image(const MsbKernel *kernel)
{
    return kernel->modules_image;
}

const GPtrArray *
msb_kernel_get_boot_modules(const MsbKernel *kernel)
{
    return kernel->boot_modules;
}

gboolean
msb_kernel_is_default(const MsbKernel *kernel)
{
    return kernel->is_default;
}

gint64
msb_kernel_get_created(const MsbKernel *kernel)
{
    return kernel->created;
}

guint64
msb_kernel_get_size(const MsbKernel *kernel)
{
    return kernel->size;
}

gboolean
msb_kernel_version_is_valid(const char *version)
{
    gsize n = strlen(version);

    if (n == 0 || n > 64 || !g_ascii_isalnum(version[0]) || strcmp(version, "default") == 0)
        return FALSE;
    return strspn(version, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+~-") == n;
}

MsbLock *
msb_kernel_store_lock(MsbHome *home, GError **error)
{
    g_autofree char *path = msb_home_build_path(home, "kernel", ".lock", NULL);

    return msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, -1, error);
}

/* The version kernel/default points to, NULL if none. */
static char *
read_default(MsbHome *home)
{
    g_autofree char *path = msb_home_build_path(home, "kernel", "default", NULL);
    g_autofree char *target = g_file_read_link(path, NULL);

    return target && msb_kernel_version_is_valid(target) ? g_steal_pointer(&target) : NULL;
}

gboolean
msb_kernel_point_default(MsbHome *home, const char *version, GError **error)
{
    g_autofree char *path = msb_home_build_path(home, "kernel", "default", NULL);
    g_autofree char *temporary = msb_home_build_path(home, "kernel", ".default", NULL);

    if (unlink(temporary) < 0 && errno != ENOENT)
        return msb_error_set_errno(error, errno, "cannot remove '%s'", temporary);
    if (symlink(version, temporary) < 0)
        return msb_error_set_errno(error, errno, "cannot create '%s'", temporary);
    if (rename(temporary, path) < 0)
        return msb_error_set_errno(error, errno, "cannot make '%s' the default kernel", version);
    return TRUE;
}

/* A boot module's name is a file name and its digest 64 hexadecimal digits, or the bundle is damaged. */
static gboolean
load_boot_modules(MsbKernel *kernel, JsonObject *object)
{
    JsonNode *node = json_object_get_member(object, "boot_modules");
    JsonArray *array;

    if (!node || !JSON_NODE_HOLDS_ARRAY(node))
        return FALSE;
    array = json_node_get_array(node);
    if (json_array_get_length(array) > MAX_BOOT_MODULES)
        return FALSE;
    for (guint i = 0; i < json_array_get_length(array); i++) {
        JsonNode *element = json_array_get_element(array, i);
        const char *name, *sha256;
        MsbBootModule *module;

        if (!JSON_NODE_HOLDS_OBJECT(element))
            return FALSE;
        name = json_object_get_string_member_with_default(json_node_get_object(element), "name", NULL);
        sha256 = json_object_get_string_member_with_default(json_node_get_object(element), "sha256", NULL);
        if (!name || !name[0] || name[0] == '.' || strpbrk(name, "/\n") || strlen(name) > 128 || !sha256 ||
            strlen(sha256) != 64)
            return FALSE;
        module = g_new0(MsbBootModule, 1);
        module->name = g_strdup(name);
        module->sha256 = g_strdup(sha256);
        g_ptr_array_add(kernel->boot_modules, module);
    }
    return TRUE;
}

static MsbKernel *
load_bundle(MsbHome *home, const char *version, const char *default_version, GError **error)
{
    g_autoptr(MsbKernel) kernel = g_new0(MsbKernel, 1);
    g_autofree char *path = NULL;
    g_autoptr(JsonObject) object = NULL;
    struct stat vmlinux, modules;

    kernel->refs = 1;
    kernel->version = g_strdup(version);
    kernel->dir = msb_home_build_path(home, "kernel", version, NULL);
    kernel->vmlinux = g_build_filename(kernel->dir, "vmlinux", NULL);
    kernel->modules_image = g_build_filename(kernel->dir, "modules.erofs", NULL);
    kernel->boot_modules = g_ptr_array_new_with_free_func((GDestroyNotify)msb_boot_module_free);
    kernel->is_default = g_strcmp0(version, default_version) == 0;

    path = g_build_filename(kernel->dir, "bundle.json", NULL);
    object = msb_state_load(path, MSB_KERNEL_BUNDLE_VERSION, error);
    if (!object)
        return NULL;
    if (stat(kernel->vmlinux, &vmlinux) < 0 || stat(kernel->modules_image, &modules) < 0 ||
        !load_boot_modules(kernel, object)) {
        g_set_error(
            error, MSB_ERROR, MSB_ERROR_CORRUPT,
            "the kernel bundle '%s' is damaged; remove it with 'msb kernel rm %s' and import it again",
            version, version);
        return NULL;
    }
    kernel->created = json_object_get_int_member_with_default(object, "created", 0);
    kernel->size = (guint64)vmlinux.st_size + (guint64)modules.st_size;
    return g_steal_pointer(&kernel);
}

MsbKernel *
msb_kernel_lookup(MsbHome *home, const char *version, GError **error)
{
    g_autofree char *default_version = read_default(home);
    g_autoptr(GError) local = NULL;
    MsbKernel *kernel;

    if (!version && !default_version) {
        g_set_error_literal(
            error, MSB_ERROR, MSB_ERROR_NOT_FOUND,
            "there is no kernel yet; import one with 'msb kernel import PACKAGE' (on Debian: "
            "linux-image-*-cloud-amd64 as 'apt-get download' gets it, which need not be installed)");
        return NULL;
    }
    if (!version)
        version = default_version;
    kernel =
        msb_kernel_version_is_valid(version) ? load_bundle(home, version, default_version, &local) : NULL;
    if (kernel)
        return kernel;
    if (local && !g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND))
        g_propagate_error(error, g_steal_pointer(&local));
    else
        g_set_error(error, MSB_ERROR, MSB_ERROR_NOT_FOUND,
                    "there is no kernel '%s'; 'msb kernel ls' lists them, 'msb kernel import' adds one",
                    version);
    return NULL;
}

static int
compare_newest_first(gconstpointer a, gconstpointer b)
{
    const MsbKernel *left = *(MsbKernel *const *)a, *right = *(MsbKernel *const *)b;

    if (left->created != right->created)
        return left->created > right->created ? -1 : 1;
    return strcmp(left->version, right->version);
}

GPtrArray *
msb_kernel_list(MsbHome *home, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)msb_kernel_unref);
    g_autofree char *path = msb_home_build_path(home, "kernel", NULL);
    g_autofree char *default_version = read_default(home);
    mb_autodir DIR *dir = opendir(path);
    struct dirent *entry;

    if (!dir) {
        msb_error_set_errno(error, errno, "cannot read '%s'", path);
        return NULL;
    }
    while ((entry = readdir(dir))) {
        MsbKernel *kernel;

        if (!msb_kernel_version_is_valid(entry->d_name))
            continue;
        kernel = load_bundle(home, entry->d_name, default_version, NULL);
        if (kernel)
            g_ptr_array_add(list, kernel);
    }
    g_ptr_array_sort(list, compare_newest_first);
    return g_steal_pointer(&list);
}

gboolean
msb_kernel_set_default(MsbHome *home, const char *version, GError **error)
{
    g_autoptr(MsbLock) lock = msb_kernel_store_lock(home, error);
    g_autoptr(MsbKernel) kernel = NULL;

    if (!lock)
        return FALSE;
    kernel = msb_kernel_lookup(home, version, error);
    return kernel && msb_kernel_point_default(home, kernel->version, error);
}

MsbLock *
msb_kernel_hold(MsbKernel *kernel, GError **error)
{
    g_autofree char *path = g_build_filename(kernel->dir, "in-use", NULL);

    return msb_lock_acquire(path, MSB_LOCK_SHARED, 0, error);
}

/* The bundle goes away under a name that is none, so that nobody sees half of it. */
static gboolean
remove_bundle(MsbHome *home, const char *version, GError **error)
{
    g_autofree char *path = msb_home_build_path(home, "kernel", version, NULL);
    g_autofree char *trash_name = g_strconcat(".removed-", version, NULL);
    g_autofree char *trash = msb_home_build_path(home, "kernel", trash_name, NULL);
    g_autofree char *lock_path = g_build_filename(path, "in-use", NULL);
    g_autoptr(GError) local = NULL;
    g_autoptr(MsbLock) lock = msb_lock_acquire(lock_path, MSB_LOCK_EXCLUSIVE, 0, &local);

    if (!lock) {
        if (!g_error_matches(local, MSB_ERROR, MSB_ERROR_IN_USE)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        g_set_error(error, MSB_ERROR, MSB_ERROR_IN_USE,
                    "the kernel '%s' is used by a running sandbox; stop it first ('msb ls --running')",
                    version);
        return FALSE;
    }
    if (!msb_paths_remove_tree(trash, error))
        return FALSE;
    if (rename(path, trash) < 0)
        return msb_error_set_errno(error, errno, "cannot remove '%s'", path);
    return msb_paths_remove_tree(trash, error);
}

gboolean
msb_kernel_remove(MsbHome *home, const char *version, GError **error)
{
    g_autoptr(MsbLock) lock = msb_kernel_store_lock(home, error);
    g_autofree char *default_version = NULL;
    g_autofree char *path = NULL;
    g_autofree char *link = NULL;
    g_autoptr(GPtrArray) rest = NULL;

    if (!lock)
        return FALSE;
    path = msb_home_build_path(home, "kernel", version, NULL);
    if (!msb_kernel_version_is_valid(version) || !g_file_test(path, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_NOT_FOUND,
                    "there is no kernel '%s'; 'msb kernel ls' lists them", version);
        return FALSE;
    }
    default_version = read_default(home);
    if (!remove_bundle(home, version, error))
        return FALSE;
    if (g_strcmp0(default_version, version) != 0)
        return TRUE;
    rest = msb_kernel_list(home, error);
    if (!rest)
        return FALSE;
    if (rest->len > 0)
        return msb_kernel_point_default(home, msb_kernel_get_version(rest->pdata[0]), error);
    link = msb_home_build_path(home, "kernel", "default", NULL);
    if (unlink(link) < 0 && errno != ENOENT)
        return msb_error_set_errno(error, errno, "cannot remove '%s'", link);
    return TRUE;
}

/* ---- initrds ------------------------------------------------------------------- */

/* Digest of the agent's bytes and of the boot modules, in order. */
static char *
initrd_digest(const MsbKernel *kernel, const char *agent, GError **error)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autoptr(GError) local = NULL;
    g_autofree char *bytes = NULL;
    gsize n;

    if (!g_file_get_contents(agent, &bytes, &n, &local)) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_IO, "the guest agent cannot be read: %s", local->message);
        return NULL;
    }
    g_checksum_update(sum, (const guchar *)bytes, (gssize)n);
    for (guint i = 0; i < kernel->boot_modules->len; i++) {
        const MsbBootModule *module = kernel->boot_modules->pdata[i];

        g_checksum_update(sum, (const guchar *)module->name, (gssize)strlen(module->name) + 1);
        g_checksum_update(sum, (const guchar *)module->sha256, 64);
    }
    return g_strndup(g_checksum_get_string(sum), 32);
}

/* Initrds of earlier agents, once nobody can be about to boot from them. */
static void
remove_stale_initrds(const MsbKernel *kernel, const char *keep)
{
    mb_autodir DIR *dir = opendir(kernel->dir);
    gint64 now = g_get_real_time() / G_USEC_PER_SEC;
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        struct stat st;

        if (!g_str_has_prefix(entry->d_name, "initrd-") || strcmp(entry->d_name, keep) == 0)
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_mtime + STALE_INITRD_SECONDS < now)
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
}

static gboolean
make_initrd(const MsbKernel *kernel, const char *agent, const char *path, GError **error)
{
    g_autofree char *temporary = g_strconcat(path, ".XXXXXX", NULL);
    g_autofree char *boot_dir = g_build_filename(kernel->dir, "boot", NULL);
    mb_autofd int fd = g_mkstemp_full(temporary, O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0)
        return msb_error_set_errno(error, errno, "cannot create '%s'", temporary);
    if (!msb_initrd_write(fd, agent, boot_dir, kernel->boot_modules, error)) {
        unlink(temporary);
        return FALSE;
    }
    if (fsync(fd) < 0 || rename(temporary, path) < 0) {
        msb_error_set_errno(error, errno, "cannot write '%s'", path);
        unlink(temporary);
        return FALSE;
    }
    return TRUE;
}

char *
msb_kernel_ensure_initrd(MsbHome *home G_GNUC_UNUSED, MsbKernel *kernel, GError **error)
{
    g_autofree char *agent = msb_paths_find_program("msb-agent", error);
    g_autofree char *digest = agent ? initrd_digest(kernel, agent, error) : NULL;
    g_autofree char *name = NULL;
    g_autofree char *path = NULL;

    if (!digest)
        return NULL;
    name = g_strdup_printf("initrd-%s.img", digest);
    path = g_build_filename(kernel->dir, name, NULL);
    if (g_file_test(path, G_FILE_TEST_IS_REGULAR))
        return g_steal_pointer(&path);
    if (!make_initrd(kernel, agent, path, error))
        return NULL;
    remove_stale_initrds(kernel, name);
    return g_steal_pointer(&path);
}

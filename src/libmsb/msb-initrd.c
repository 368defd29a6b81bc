/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The initrd: an uncompressed newc archive (Documentation/driver-api/early-userspace/
 * buffer-format.rst) with the agent as /init, the boot modules in /modules with
 * their order in /modules/load, and /dev/console.
 *
 * It is deterministic (inode numbers count up, times are zero, everything belongs
 * to root), so that its name can be the digest of what went into it, and it is not
 * compressed, because the guest's single CPU would pay for that at every boot.
 * The writer is our own: the format is a header of hexadecimal numbers, and the
 * agent and the modules are all it ever holds.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-kernel-private.h"

typedef struct {
    GByteArray *bytes;
    guint32 next_inode;
} Cpio;

static void
pad4(GByteArray *bytes)
{
    static const guint8 zero[4];

    if (bytes->len % 4)
        g_byte_array_append(bytes, zero, 4 - bytes->len % 4);
}

/* One entry; device numbers only for nodes. */
static void
cpio_add(Cpio *cpio, const char *name, guint32 mode, dev_t device, const void *data, guint32 n)
{
    g_autofree char *header = NULL;
    guint32 inode = strcmp(name, "TRAILER!!!") == 0 ? 0 : cpio->next_inode++;
    guint name_size = (guint)strlen(name) + 1;

    header =
        g_strdup_printf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", inode, mode, 0u, 0u,
                        S_ISDIR(mode) ? 2u : 1u, 0u, n, 0u, 0u, major(device), minor(device), name_size, 0u);
    g_byte_array_append(cpio->bytes, (const guint8 *)header, (guint)strlen(header));
    g_byte_array_append(cpio->bytes, (const guint8 *)name, name_size);
    pad4(cpio->bytes);
    if (n)
        g_byte_array_append(cpio->bytes, data, n);
    pad4(cpio->bytes);
}

static gboolean
cpio_add_file(Cpio *cpio, const char *name, guint32 mode, const char *path, const char *sha256,
              GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autofree char *data = NULL;
    g_autofree char *sum = NULL;
    gsize n;

    if (!g_file_get_contents(path, &data, &n, &local)) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_IO, "the initrd cannot be made: %s", local->message);
        return FALSE;
    }
    if (n > MSB_KERNEL_MAX_MODULE) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' is far too large for an initrd", path);
        return FALSE;
    }
    sum = sha256 ? g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)data, n) : NULL;
    if (sum && strcmp(sum, sha256) != 0) {
        g_set_error(
            error, MSB_ERROR, MSB_ERROR_CORRUPT,
            "'%s' is not what it was when the kernel was imported; remove the kernel and import it again",
            path);
        return FALSE;
    }
    cpio_add(cpio, name, mode, 0, data, (guint32)n);
    return TRUE;
}

gboolean
msb_initrd_write(int fd, const char *agent, const char *boot_dir, const GPtrArray *modules, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GString) load = g_string_new(NULL);
    Cpio cpio = {.bytes = bytes, .next_inode = 1};

    cpio_add(&cpio, "dev", S_IFDIR | 0755, 0, NULL, 0);
    cpio_add(&cpio, "dev/console", S_IFCHR | 0600, makedev(5, 1), NULL, 0);
    if (!cpio_add_file(&cpio, "init", S_IFREG | 0755, agent, NULL, error))
        return FALSE;
    cpio_add(&cpio, "modules", S_IFDIR | 0755, 0, NULL, 0);
    for (guint i = 0; i < modules->len; i++) {
        const MsbBootModule *module = modules->pdata[i];
        g_autofree char *name = g_strconcat("modules/", module->name, NULL);
        g_autofree char *path = g_build_filename(boot_dir, module->name, NULL);

        if (!cpio_add_file(&cpio, name, S_IFREG | 0644, path, module->sha256, error))
            return FALSE;
        g_string_append_printf(load, "%s\n", module->name);
    }
    cpio_add(&cpio, "modules/load", S_IFREG | 0644, 0, load->str, (guint32)load->len);
    cpio_add(&cpio, "TRAILER!!!", 0, 0, NULL, 0);
    return msb_archive_write_all(fd, bytes->data, bytes->len, "initrd", error);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the kernel code share:
 *
 *   msb-kernel.c           the bundles on disk: look up, list, default, remove
 *   msb-kernel-import.c    package or files to a bundle, published by one rename
 *   msb-kernel-bzimage.c   bzImage to ELF, the PVH note, the kernel's version
 *   msb-kernel-modules.c   modules.dep and friends, which modules the boot loads
 *   msb-initrd.c           agent + boot modules as a newc archive
 *   msb-kernel-archive.c   what all of them need of libarchive
 *
 * A bundle directory holds vmlinux, modules.erofs, boot/<module>.ko and
 * bundle.json, which lists the boot modules in load order with their digests.
 */
#ifndef MSB_KERNEL_PRIVATE_H
#define MSB_KERNEL_PRIVATE_H

#include <archive.h>

#include "msb-kernel.h"
#include "msb-state.h"

G_BEGIN_DECLS

/* Bounds on what an import takes from a file it was given. */
#define MSB_KERNEL_MAX_IMAGE (256 * G_GUINT64_CONSTANT(0x100000))    /* bzImage */
#define MSB_KERNEL_MAX_VMLINUX (1024 * G_GUINT64_CONSTANT(0x100000))
#define MSB_KERNEL_MAX_MODULE (128 * G_GUINT64_CONSTANT(0x100000))
#define MSB_KERNEL_MAX_TREE (4096 * G_GUINT64_CONSTANT(0x100000))    /* all modules */
#define MSB_KERNEL_MAX_ENTRIES 200000                                /* of a package */
#define MSB_KERNEL_BUNDLE_VERSION 1

/* One module that the initrd loads. */
typedef struct {
    char *name;      /* file name in boot/ and in the initrd: "virtio_ring.ko" */
    char *sha256;    /* of that file, hexadecimal */
} MsbBootModule;

void msb_boot_module_free(MsbBootModule *module);

/* The bundle's directory, and its boot modules (of MsbBootModule) in load order; both owned by kernel. */
const char *msb_kernel_get_dir(const MsbKernel *kernel);
const GPtrArray *msb_kernel_get_boot_modules(const MsbKernel *kernel);
/* Whether version can be a bundle's name: [A-Za-z0-9][A-Za-z0-9._+~-]*, at most 64 bytes, not "default". */
gboolean msb_kernel_version_is_valid(const char *version);
/* A shared lock on the bundle, held by whoever runs a guest from it as long as it runs: msb_kernel_remove()
 * refuses meanwhile. */
MsbLock *msb_kernel_hold(MsbKernel *kernel, GError **error);
/* Lock that covers changes of kernel/. */
MsbLock *msb_kernel_store_lock(MsbHome *home, GError **error);
/* Point kernel/default at version; the caller holds the lock. */
gboolean msb_kernel_point_default(MsbHome *home, const char *version, GError **error);

/* ---- libarchive ---------------------------------------------------------------- */

/* A reader with the compressions that kernels, modules and packages come in, without
 * those for which libarchive would start other programs. Free with archive_read_free(). */
struct archive *msb_archive_reader_new(void);
/* Copy the data of the current entry to fd, at most limit bytes. *written (may be NULL) is set. */
gboolean msb_archive_copy_data(struct archive *archive, const char *what, int fd, guint64 limit,
                               guint64 *written, GError **error);
/* Decompress bytes (in any of those forms; plain bytes are copied) to fd. */
gboolean msb_archive_unpack_bytes(const guint8 *bytes, gsize n, const char *what, int fd, guint64 limit,
                                  guint64 *written, GError **error);
/* Decompress a file to a new file (0644). */
gboolean msb_archive_unpack_file(const char *path, const char *out_path, guint64 limit, GError **error);
/* write() all of it; what names the file in errors. */
gboolean msb_archive_write_all(int fd, const void *bytes, gsize n, const char *what, GError **error);

/* ---- the kernel itself ----------------------------------------------------------- */

/* Where the compressed payload of a bzImage lies (Linux boot protocol 2.08 or later,
 * Documentation/arch/x86/boot.rst). */
gboolean msb_bzimage_find_payload(const guint8 *image, gsize n, const char *what, gsize *offset,
                                  gsize *length, GError **error);
/* image is a bzImage or an ELF kernel: write the ELF to out_path (new). */
gboolean msb_kernel_unpack_vmlinux(const char *image, const char *out_path, GError **error);
/* Fails with UNSUPPORTED if the ELF file has no PVH entry note (XEN_ELFNOTE_PHYS32_ENTRY). */
gboolean msb_vmlinux_check_pvh(const guint8 *elf, gsize n, const char *what, GError **error);
/* The release in the kernel's banner (transfer full), NULL if there is none. */
char *msb_vmlinux_dup_release(const guint8 *elf, gsize n);

/* ---- modules --------------------------------------------------------------------- */

/* Run depmod on base/lib/modules/version. */
gboolean msb_modules_run_depmod(const char *base, const char *version, GError **error);
/* Files below dir (relative, transfer full) that the boot has to load, in order; from
 * modules.dep, modules.softdep, modules.alias and modules.builtin. NOT_FOUND names a module
 * that is neither there nor built in. */
char **msb_modules_pick(const char *dir, GError **error);
/* The module's name from a path: base name up to ".ko", '-' as '_' (transfer full). */
char *msb_module_name(const char *path);

/* ---- initrd ------------------------------------------------------------------------ */

/* Write a newc archive with agent as /init and the modules of boot_dir to fd. */
gboolean msb_initrd_write(int fd, const char *agent, const char *boot_dir, const GPtrArray *modules,
                          GError **error);

G_END_DECLS

#endif

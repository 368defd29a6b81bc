/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel bundles, kernel/<version>/: vmlinux (the PVH ELF out of a distribution's
 * bzImage), modules.erofs (its whole module tree, for the guest's /lib/modules/<version>),
 * initrd modules in load order, bundle.json.  kernel/default names one of them.
 * The initrd (agent + boot modules) is made from the bundle and the agent on demand and
 * cached under the digest of both.
 */
#ifndef MSB_KERNEL_H
#define MSB_KERNEL_H

#include <gio/gio.h>

#include "msb-image.h"
#include "msb-paths.h"

G_BEGIN_DECLS

typedef struct _MsbKernel MsbKernel;
MsbKernel *msb_kernel_ref(MsbKernel *kernel);
void msb_kernel_unref(MsbKernel *kernel);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbKernel, msb_kernel_unref)

const char *msb_kernel_get_version(const MsbKernel *kernel);
const char *msb_kernel_get_vmlinux(const MsbKernel *kernel);
const char *msb_kernel_get_modules_image(const MsbKernel *kernel);  /* EROFS file */
gboolean msb_kernel_is_default(const MsbKernel *kernel);
gint64 msb_kernel_get_created(const MsbKernel *kernel);
guint64 msb_kernel_get_size(const MsbKernel *kernel);
/* The initrd for this kernel and the installed agent, made now if it is not cached. */
char *msb_kernel_ensure_initrd(MsbHome *home, MsbKernel *kernel, GError **error);

/* version NULL = the default. NOT_FOUND says "msb kernel import". */
MsbKernel *msb_kernel_lookup(MsbHome *home, const char *version, GError **error);
GPtrArray *msb_kernel_list(MsbHome *home, GError **error);
gboolean msb_kernel_set_default(MsbHome *home, const char *version, GError **error);
/* IN_USE while a sandbox runs it. If it was the default, the newest of the others becomes it. */
gboolean msb_kernel_remove(MsbHome *home, const char *version, GError **error);
/* From a Debian (or RPM) kernel package. The first bundle becomes the default. */
MsbKernel *msb_kernel_import_package(MsbHome *home, const char *package,
                                     MsbProgressFunc progress, gpointer data, GError **error);
/* From a bzImage or ELF vmlinux and a module tree (.../lib/modules/<version>). */
MsbKernel *msb_kernel_import_files(MsbHome *home, const char *vmlinuz, const char *modules_dir,
                                   MsbProgressFunc progress, gpointer data, GError **error);

G_END_DECLS

#endif

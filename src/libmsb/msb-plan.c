/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a configuration to a plan: what the image, the kernel and the host say
 * is gathered here into plain data, and msb_plan_build() decides.
 */
#include <config.h>

#include "msb-connection.h"
#include "msb-plan-private.h"
#include "msb-volume.h"

/* What volumes have by themselves counts also for mounts that do not name it. */
static MsbQuota *
read_quotas(const MsbHome *home, const MsbConfig *config, GError **error)
{
    const GPtrArray *mounts = msb_config_get_mounts(config);
    g_autofree MsbQuota *quotas = g_new0(MsbQuota, mounts->len + 1);
    guint i;

    for (i = 0; i < mounts->len; i++) {
        const MsbMount *m = g_ptr_array_index(mounts, i);

        if (m->kind == MSB_MOUNT_NAMED && !msb_volume_read_quota(home, m->source, &quotas[i], error))
            return NULL;
        if (m->quota.bytes)
            quotas[i].bytes = m->quota.bytes;
        if (m->quota.inodes)
            quotas[i].inodes = m->quota.inodes;
    }
    return g_steal_pointer(&quotas);
}

MsbPlan *
msb_plan_new(MsbHome *home, const MsbConfig *config, MsbImage *image, MsbKernel *kernel, const char *initrd,
             const char *accel, GError **error)
{
    g_autofree char *vhost_blk = msb_paths_find_program("msb-vhost-blk", error);
    g_autofree char *vhost_fs = vhost_blk ? msb_paths_find_program("msb-vhost-fs", error) : NULL;
    g_autofree MsbQuota *quotas = vhost_fs ? read_quotas(home, config, error) : NULL;
    g_autoptr(GPtrArray) layers = g_ptr_array_new();
    MsbPlanInput in = { .home = home, .config = config, .vhost_blk = vhost_blk, .vhost_fs = vhost_fs };
    guint i;

    if (!quotas)
        return NULL;
    in.quotas = quotas;
    if (image) {
        in.n_layers = msb_image_get_n_layers(image);
        for (i = 0; i < in.n_layers; i++)
            g_ptr_array_add(layers, (gpointer)msb_image_get_layer_path(image, i));
        in.layers = (const char *const *)layers->pdata;
        in.image_env = msb_image_get_env(image);
        in.image_user = msb_image_get_user(image);
        in.image_workdir = msb_image_get_workdir(image);
    }
    in.kernel_version = msb_kernel_get_version(kernel);
    in.vmlinux = msb_kernel_get_vmlinux(kernel);
    in.modules_image = msb_kernel_get_modules_image(kernel);
    in.initrd = initrd;
    in.accel = accel;
    in.tsc_khz = g_str_equal(accel, "tcg") ? msb_host_tsc_khz(home) : 0;
    in.system = g_str_has_prefix(msb_connection_default_uri(), "qemu:///system");
    return msb_plan_build(&in, error);
}

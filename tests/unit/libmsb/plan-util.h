/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A plan's input without images, kernels or programs: made-up paths that only have to come through. */
#ifndef PLAN_UTIL_H
#define PLAN_UTIL_H

#include "msb-plan-private.h"
#include "test-util.h"

static const char *const plan_layers[] = { "/store/layers/aa.erofs", "/store/layers/bb.erofs" };
static const char *const plan_image_env[] = { "PATH=/opt/bin:/bin", "LANG=C.UTF-8", NULL };

static inline MsbPlanInput
plan_input(const MsbHome *home, const MsbConfig *config)
{
    MsbPlanInput in = {
        .home = home,
        .config = config,
        .vhost_blk = "/libexec/msb-vhost-blk",
        .vhost_fs = "/libexec/msb-vhost-fs",
        .layers = plan_layers,
        .n_layers = G_N_ELEMENTS(plan_layers),
        .image_env = plan_image_env,
        .image_reference = "docker.io/library/busybox:latest",
        .kernel_version = "6.1.0-test",
        .vmlinux = "/store/kernel/6.1.0-test/vmlinux",
        .modules_image = "/store/kernel/6.1.0-test/modules.erofs",
        .initrd = "/store/kernel/6.1.0-test/initrd",
        .accel = "tcg",
        .tsc_khz = 2500000,
    };

    return in;
}

static inline void
plan_add_mount(MsbConfig *config, MsbMountFlag flag, const char *spec)
{
    g_autoptr(GError) error = NULL;
    MsbMount *mount = msb_mount_parse(flag, spec, &error);

    g_assert_no_error(error);
    msb_config_add_mount(config, mount);
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The planning behind msb_plan_new(), on plain data: what an image and a
 * kernel bundle say is in MsbPlanInput, and the same input makes the same plan.
 */
#ifndef MSB_PLAN_PRIVATE_H
#define MSB_PLAN_PRIVATE_H

#include "msb-plan.h"

G_BEGIN_DECLS

/* All borrowed. */
typedef struct {
    const MsbHome *home;
    const MsbConfig *config;
    const char *vhost_blk;          /* programs */
    const char *vhost_fs;
    const char *const *layers;      /* EROFS files, lowest first; NULL without an image */
    guint n_layers;
    const char *const *image_env;   /* defaults of the image, may be NULL */
    const char *image_user;
    const char *image_workdir;
    const char *image_reference;    /* for the metadata; NULL = as configured */
    const MsbQuota *quotas;         /* of the mounts by their index, what a volume has by itself included; NULL: as
                                     * configured */
    const char *kernel_version;
    const char *vmlinux;
    const char *modules_image;
    const char *initrd;
    const char *accel;
    guint tsc_khz;                  /* under TCG; 0 = not known */
    gboolean system;
} MsbPlanInput;

MsbPlan *msb_plan_build(const MsbPlanInput *in, GError **error);

/* msb-plan-devices.c: plan->devices. */
gboolean msb_plan_add_devices(MsbPlan *plan, const MsbPlanInput *in, GError **error);
/* msb-plan-boot.c: plan->boot. */
void msb_plan_fill_boot(MsbPlan *plan, const MsbPlanInput *in);
/* "m" + the index of the mount in the configuration (transfer full). */
char *msb_plan_mount_id(guint index);

/* msb-host.c */
/* The rate of the host's time stamp counter in kHz, 0 = not known. Measured once per boot of the host and kept
 * in run/.tsc.json, because a measurement that is good enough takes some milliseconds. */
guint msb_host_tsc_khz(const MsbHome *home);

G_END_DECLS

#endif

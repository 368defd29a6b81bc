/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vhost-user devices of a plan, each with the back-end that serves it:
 *
 *   layers   read-only, one partition per layer, lowest first, modules last
 *   upper    the sandbox's own ext4, with an image
 *   root     the directory or disk image that is the root, without one
 *   m0, m1   the mounts, by their index in the configuration
 */
#include <config.h>

#include <string.h>

#include "msb-config-private.h"
#include "msb-error.h"
#include "msb-plan-private.h"
#include "msb-volume.h"

/* virtio-mmio slots of QEMU's microvm with ACPI, and those we need for the serial controller and the
 * random number generator. */
#define MACHINE_SLOTS 24
#define OWN_SLOTS 2
#define MAX_BLK_QUEUES 4u

char *
msb_plan_mount_id(guint index)
{
    return g_strdup_printf("m%u", index);
}

static MsbDevice *
device_new(const MsbPlan *plan, MsbDeviceKind kind, const char *id, gboolean readonly)
{
    MsbDevice *device = g_new0(MsbDevice, 1);
    g_autofree char *file = g_strconcat(id, ".sock", NULL);

    device->kind = kind;
    device->id = g_strdup(id);
    device->socket = g_build_filename(plan->run_dir, file, NULL);
    device->readonly = readonly;
    device->queues = kind == MSB_DEVICE_BLK ? MIN(plan->cpus, MAX_BLK_QUEUES) : 1;
    return device;
}

/* Takes what is added. */
static void
take_arg(GPtrArray *argv, char *arg)
{
    g_ptr_array_add(argv, arg);
}

static GPtrArray *
begin_argv(const char *program, const MsbDevice *device)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

    take_arg(argv, g_strdup(program));
    take_arg(argv, g_strconcat("--socket-path=", device->socket, NULL));
    if (device->kind == MSB_DEVICE_BLK) {
        take_arg(argv, g_strconcat("--serial=", device->id, NULL));
        take_arg(argv, g_strdup_printf("--num-queues=%u", device->queues));
    } else {
        take_arg(argv, g_strconcat("--tag=", device->id, NULL));
    }
    return argv;
}

static void
end_argv(MsbPlan *plan, MsbDevice *device, GPtrArray *argv)
{
    g_ptr_array_add(argv, NULL);
    device->argv = (char **)g_ptr_array_free(argv, FALSE);
    g_ptr_array_add(plan->devices, device);
}

/* ---- disks ------------------------------------------------------------------------------- */

/* The last comma ends the path: it may have others in it. */
static void
add_concat_file(GPtrArray *argv, const char *path, const char *name)
{
    take_arg(argv, g_strdup_printf("--file=%s,name=%s", path, name));
}

static void
add_layers(MsbPlan *plan, const MsbPlanInput *in)
{
    MsbDevice *device = device_new(plan, MSB_DEVICE_BLK, "layers", TRUE);
    GPtrArray *argv = begin_argv(in->vhost_blk, device);
    guint i;

    take_arg(argv, g_strdup("--concat"));
    take_arg(argv, g_strconcat("--disk-id=", plan->uuid, NULL));
    for (i = 0; i < in->n_layers; i++) {
        g_autofree char *name = g_strdup_printf("layer%u", i);

        add_concat_file(argv, in->layers[i], name);
    }
    add_concat_file(argv, in->modules_image, "modules");
    end_argv(plan, device, argv);
}

/* How a disk is served. */
typedef struct {
    const char *format;         /* NULL: what the extension says */
    const char *secret_file;    /* NULL: not encrypted */
    MsbDetectZeroes detect_zeroes;
    gboolean readonly;
} DiskOptions;

static void
add_disk(MsbPlan *plan, const MsbPlanInput *in, const char *id, const char *path, const DiskOptions *o)
{
    MsbDevice *device = device_new(plan, MSB_DEVICE_BLK, id, o->readonly);
    GPtrArray *argv = begin_argv(in->vhost_blk, device);
    const char *as = msb_disk_format(o->format, path);

    device->can_grow = !o->readonly;
    device->journal = !o->readonly && !o->secret_file && strcmp(as, "qcow2") == 0;
    take_arg(argv, g_strconcat("--blk-file=", path, NULL));
    take_arg(argv, g_strconcat("--format=", as, NULL));
    if (o->secret_file)
        take_arg(argv, g_strconcat("--secret-file=", o->secret_file, NULL));
    take_arg(argv, g_strdup(o->readonly ? "--read-only" : "--discard=on"));
    if (o->detect_zeroes == MSB_DETECT_ZEROES_ON)
        take_arg(argv, g_strdup("--detect-zeroes=on"));
    else if (o->detect_zeroes == MSB_DETECT_ZEROES_UNMAP)
        take_arg(argv, g_strdup("--detect-zeroes=unmap"));
    end_argv(plan, device, argv);
}

/* ---- shared directories and files ----------------------------------------------------------- */

/* USER[:GROUP] of the guest when both are numbers; 0:0 otherwise. Names are known to the guest alone. */
static char *
default_owner(const MsbPlanInput *in)
{
    const char *user = msb_config_get_user(in->config);
    g_auto(GStrv) parts = NULL;
    guint64 uid, gid;

    if (!user)
        user = in->image_user ? in->image_user : "";
    parts = g_strsplit(user, ":", 2);
    if (!parts[0] || !g_ascii_string_to_unsigned(parts[0], 10, 0, G_MAXUINT32 - 1, &uid, NULL))
        return g_strdup("0:0");
    gid = 0;
    if (parts[1] && !g_ascii_string_to_unsigned(parts[1], 10, 0, G_MAXUINT32 - 1, &gid, NULL))
        return g_strdup("0:0");
    return g_strdup_printf("%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, uid, gid);
}

static const char *
stat_virt_word(MsbStatVirt stat_virt)
{
    switch (stat_virt) {
    case MSB_STAT_VIRT_RELAXED:
        return "relaxed";
    case MSB_STAT_VIRT_OFF:
        return "off";
    case MSB_STAT_VIRT_STRICT:
    default:
        return "strict";
    }
}

/* All who can change a directory take part in its account, if there is one. What the host's user does in a directory
 * of theirs is not in it: that is counted when the first sandbox begins. */
static void
add_quota(GPtrArray *argv, const MsbPlanInput *in, const MsbMount *mount, const MsbQuota *quota)
{
    g_autofree char *dir = msb_volume_quota_dir(in->home);

    take_arg(argv, g_strconcat("--quota-dir=", dir, NULL));
    if (quota->bytes)
        take_arg(argv, g_strdup_printf("--quota=%" G_GUINT64_FORMAT, quota->bytes));
    if (quota->inodes)
        take_arg(argv, g_strdup_printf("--quota-inodes=%" G_GUINT64_FORMAT, quota->inodes));
    if ((quota->bytes || quota->inodes) && mount->kind == MSB_MOUNT_DIR)
        take_arg(argv, g_strdup("--quota-recount"));
}

static void
add_share(MsbPlan *plan, const MsbPlanInput *in, const char *id, const char *path, const MsbMount *mount,
          const MsbQuota *quota)
{
    static const MsbQuota none = { 0, 0 };
    MsbDevice *device = device_new(plan, MSB_DEVICE_FS, id, mount && mount->readonly);
    GPtrArray *argv = begin_argv(in->vhost_fs, device);
    gboolean is_file = mount && mount->kind == MSB_MOUNT_FILE;

    take_arg(argv, g_strconcat(is_file ? "--shared-file=" : "--shared-dir=", path, NULL));
    if (device->readonly)
        take_arg(argv, g_strdup("--read-only"));
    take_arg(argv, g_strconcat("--stat-virt=", stat_virt_word(mount ? mount->stat_virt : MSB_STAT_VIRT_STRICT), NULL));
    if (mount && mount->host_perms == MSB_HOST_PERMS_MIRROR)
        take_arg(argv, g_strdup("--host-perms=mirror"));
    if (mount && mount->uid >= 0) {
        take_arg(argv, g_strdup_printf("--uid=%" G_GINT64_FORMAT, mount->uid));
        take_arg(argv, g_strdup_printf("--gid=%" G_GINT64_FORMAT, mount->gid));
    } else if (mount && mount->stat_virt != MSB_STAT_VIRT_OFF) {
        g_autofree char *owner = default_owner(in);

        take_arg(argv, g_strconcat("--map-owner=", owner, NULL));
    }
    if (mount && mount->cache != MSB_CACHE_AUTO)
        take_arg(argv, g_strconcat("--cache=", mount->cache == MSB_CACHE_NONE ? "none" : "always", NULL));
    if (mount && mount->no_xattr)
        take_arg(argv, g_strdup("--no-xattr"));
    if (!device->readonly && !is_file)
        add_quota(argv, in, mount, quota ? quota : &none);
    end_argv(plan, device, argv);
}

static void
add_mount(MsbPlan *plan, const MsbPlanInput *in, guint index, const MsbMount *mount)
{
    g_autofree char *id = msb_plan_mount_id(index);
    const MsbQuota *quota = in->quotas ? &in->quotas[index] : &mount->quota;
    g_autofree char *volume = NULL;

    switch (mount->kind) {
    case MSB_MOUNT_DIR:
    case MSB_MOUNT_FILE:
        add_share(plan, in, id, mount->source, mount, quota);
        break;
    case MSB_MOUNT_NAMED:
        if (mount->volume_is_disk) {
            volume = msb_volume_disk_path(in->home, mount->source);
            add_disk(plan, in, id, volume, &(DiskOptions){ .format = "raw", .readonly = mount->readonly });
            break;
        }
        volume = msb_volume_dir(in->home, mount->source);
        add_share(plan, in, id, volume, mount, quota);
        break;
    case MSB_MOUNT_DISK:
        add_disk(plan, in, id, mount->source,
                 &(DiskOptions){ mount->format, mount->secret_file, mount->detect_zeroes, mount->readonly });
        break;
    case MSB_MOUNT_TMPFS:
        return;
    }
    ((MsbDevice *)g_ptr_array_index(plan->devices, plan->devices->len - 1))->target = g_strdup(mount->target);
}

gboolean
msb_plan_add_devices(MsbPlan *plan, const MsbPlanInput *in, GError **error)
{
    const GPtrArray *mounts = msb_config_get_mounts(in->config);
    g_autofree char *upper = g_build_filename(plan->state_dir, "upper.raw", NULL);
    guint i;

    add_layers(plan, in);
    switch (msb_config_get_root_kind(in->config)) {
    case MSB_ROOT_IMAGE:
        add_disk(plan, in, "upper", upper, &(DiskOptions){ .format = "raw" });
        break;
    case MSB_ROOT_BIND:
        add_share(plan, in, "root", msb_config_get_image(in->config), NULL, NULL);
        break;
    case MSB_ROOT_DISK:
        add_disk(plan, in, "root", msb_config_get_image(in->config),
                 &(DiskOptions){ msb_config_get_root_format(in->config), msb_config_get_root_secret_file(in->config),
                                 msb_config_get_root_detect_zeroes(in->config),
                                 msb_config_get_root_readonly(in->config) });
        break;
    }
    for (i = 0; i < mounts->len; i++)
        add_mount(plan, in, i, g_ptr_array_index(mounts, i));
    if (plan->devices->len + OWN_SLOTS > MACHINE_SLOTS)
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "sandbox '%s' needs %u devices and a machine has room for %d; mount less", plan->name,
                             plan->devices->len, MACHINE_SLOTS - OWN_SLOTS);
    return TRUE;
}

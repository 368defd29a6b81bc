/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The checks of "msb doctor", one function each. */
#include <config.h>

#include <errno.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "msb-connection.h"
#include "msb-error.h"
#include "msb-host.h"
#include "msb-kernel.h"
#include "msb-plan.h"

#define LOW_SPACE (G_GUINT64_CONSTANT(2) << 30)

void
msb_check_free(MsbCheck *check)
{
    if (!check)
        return;
    g_free(check->found);
    g_free(check->hint);
    g_free(check);
}

char *
msb_host_choose_accel(const char *configured, char **why, GError **error)
{
    return msb_plan_choose_accel(configured, why, error);
}

/* Takes found. */
static void
add(GPtrArray *list, const char *name, MsbCheckResult result, char *found, const char *hint)
{
    MsbCheck *check = g_new0(MsbCheck, 1);

    check->name = name;
    check->result = result;
    check->found = found;
    check->hint = g_strdup(hint);
    g_ptr_array_add(list, check);
}

static void
check_home(GPtrArray *list, MsbHome *home)
{
    const char *path = msb_home_get_path(home);
    struct statvfs fs;
    g_autofree char *size = NULL;
    guint64 available;

    if (access(path, W_OK) < 0) {
        add(list, "state", MSB_CHECK_FAILED, g_strdup_printf("%s: %s", path, g_strerror(errno)),
            "set MSB_HOME to a directory of your own");
        return;
    }
    if (statvfs(path, &fs) < 0) {
        add(list, "state", MSB_CHECK_FAILED, g_strdup_printf("%s: %s", path, g_strerror(errno)), NULL);
        return;
    }
    available = (guint64)fs.f_bavail * fs.f_frsize;
    size = g_format_size_full(available, G_FORMAT_SIZE_IEC_UNITS);
    add(list, "state", available < LOW_SPACE ? MSB_CHECK_WARNING : MSB_CHECK_OK,
        g_strdup_printf("%s, %s free", path, size),
        available < LOW_SPACE ? "images and what sandboxes write need space there; MSB_HOME chooses another place" : NULL);
}

static void
check_programs(GPtrArray *list)
{
    static const char *const programs[] = { "msb-supervisor", "msb-vhost-blk", "msb-vhost-fs", "msb-agent" };
    g_autofree char *dir = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(programs); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = msb_paths_find_program(programs[i], &error);

        if (!path) {
            add(list, "programs", MSB_CHECK_FAILED, g_strdup(error->message), "install msb again, with all its programs");
            return;
        }
        g_free(dir);
        dir = g_path_get_dirname(path);
    }
    add(list, "programs", MSB_CHECK_OK, g_steal_pointer(&dir), NULL);
}

static void
check_kernel(GPtrArray *list, MsbHome *home)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbKernel) kernel = msb_kernel_lookup(home, NULL, &error);
    g_autofree char *initrd = NULL;

    if (!kernel) {
        add(list, "kernel", MSB_CHECK_FAILED, g_strdup(error->message), NULL);
        return;
    }
    initrd = msb_kernel_ensure_initrd(home, kernel, &error);
    if (initrd)
        add(list, "kernel", MSB_CHECK_OK, g_strdup(msb_kernel_get_version(kernel)), NULL);
    else
        add(list, "kernel", MSB_CHECK_FAILED, g_strdup(error->message), NULL);
}

/* udev's rule is root:kvm 0660. With root:root 0600, which a machine without udev has, a root user's libvirtd distrusts
 * its cached capabilities of QEMU and probes it anew at every start, for a minute. */
static void
check_accel(GPtrArray *list)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *why = NULL;
    g_autofree char *accel = msb_plan_choose_accel(NULL, &why, &error);
    struct stat st;

    if (!accel)
        add(list, "accelerator", MSB_CHECK_FAILED, g_strdup(error->message), NULL);
    else if (why)
        add(list, "accelerator", MSB_CHECK_WARNING, g_strdup(why), NULL);
    else
        add(list, "accelerator", MSB_CHECK_OK, g_strdup(accel), NULL);
    if (geteuid() == 0 && stat("/dev/kvm", &st) == 0 && st.st_gid == 0 && (st.st_mode & 0060) != 0060)
        add(list, "kvm-access", MSB_CHECK_WARNING, g_strdup("/dev/kvm belongs to root alone"),
            "libvirtd then probes QEMU for a minute at every start; chgrp kvm /dev/kvm; chmod 660 /dev/kvm");
}

static void
check_libvirt(GPtrArray *list)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbConnection) connection = msb_connection_open(&error);
    g_autofree char *version = NULL;
    g_autofree char *qemu = NULL;
    char *capabilities;

    if (!connection) {
        add(list, "libvirt", MSB_CHECK_FAILED, g_strdup(error->message),
            "install libvirt-daemon-system and qemu-system-x86; as root, start libvirtd and virtlogd");
        return;
    }
    version = msb_connection_dup_version(connection);
    qemu = msb_connection_dup_hypervisor_version(connection);
    add(list, "libvirt", MSB_CHECK_OK,
        g_strdup_printf("%s, libvirt %s", msb_connection_get_uri(connection), version ? version : "?"), NULL);
    capabilities = virConnectGetDomainCapabilities(msb_connection_get(connection), NULL, "x86_64", "microvm", NULL, 0);
    if (capabilities)
        add(list, "qemu", MSB_CHECK_OK, g_strdup_printf("QEMU %s with machine type microvm", qemu ? qemu : "?"), NULL);
    else
        add(list, "qemu", MSB_CHECK_FAILED, g_strdup("no QEMU with machine type microvm"), "install qemu-system-x86");
    free(capabilities);
}

static void
check_landlock(GPtrArray *list)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);

    if (abi > 0)
        add(list, "landlock", MSB_CHECK_OK, g_strdup_printf("version %ld", abi), NULL);
    else
        add(list, "landlock", MSB_CHECK_WARNING, g_strdup("the kernel of this machine has no Landlock"),
            "back-ends are confined by seccomp and lost capabilities alone; boot with lsm=landlock,…");
}

GPtrArray *
msb_host_check(MsbHome *home)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)msb_check_free);

    check_home(list, home);
    check_programs(list);
    check_kernel(list, home);
    check_accel(list);
    check_libvirt(list);
    check_landlock(list);
    return list;
}

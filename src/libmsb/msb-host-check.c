/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The checks of "msb doctor", one function each. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-connection.h"
#include "msb-error.h"
#include "msb-host-private.h"
#include "msb-kernel.h"
#include "msb-plan.h"

#define LOW_SPACE (G_GUINT64_CONSTANT(2) << 30)
#define LOW_NOFILE 4096
#define VIRTLOGD_SOCKET "/run/libvirt/virtlogd-sock"
/* "/run/" + the longest run directory + "/control.sock", out of the 107 bytes that a socket's path may have. */
#define LONG_HOME (107 - 5 - 32 - 13)

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

void
msb_check_add(GPtrArray *list, const char *name, MsbCheckResult result, char *found, const char *hint)
{
    MsbCheck *check = g_new0(MsbCheck, 1);

    check->name = name;
    check->result = result;
    check->found = found;
    check->hint = g_strdup(hint);
    g_ptr_array_add(list, check);
}

/* An unnamed file in dir with something in it, or -1. Not by O_TMPFILE, which overlayfs has not before
 * Linux 6.3. */
static int
make_probe(const char *dir)
{
    g_autofree char *path = g_build_filename(dir, ".probe.XXXXXX", NULL);
    int fd = mkostemp(path, O_CLOEXEC);

    if (fd < 0)
        return -1;
    unlink(path);
    if (write(fd, "probe", 5) != 5) {
        mb_close(fd);
        return -1;
    }
    return fd;
}

static void
check_filesystem(GPtrArray *list, const char *path)
{
    mb_autofd int from = make_probe(path), to = make_probe(path);

    if (from < 0 || to < 0) {
        msb_check_add(list, "filesystem", MSB_CHECK_WARNING,
            g_strdup_printf("cannot make a temporary file in %s: %s", path, g_strerror(errno)), NULL);
        return;
    }
    if (fsetxattr(from, "user.msb.probe", "", 1, 0) < 0)
        msb_check_add(list, "filesystem", MSB_CHECK_WARNING,
                      g_strdup_printf("no user xattrs in %s: %s", path, g_strerror(errno)),
            "volumes keep their owners and modes there; choose a place on ext4, xfs or btrfs with MSB_HOME");
    else if (ioctl(to, FICLONE, from) < 0)
        msb_check_add(list, "filesystem", MSB_CHECK_OK,
                      g_strdup("user xattrs; no reflinks, disks are copied sparsely"), NULL);
    else
        msb_check_add(list, "filesystem", MSB_CHECK_OK, g_strdup("user xattrs and reflinks"), NULL);
}

static void
check_home(GPtrArray *list, MsbHome *home)
{
    const char *path = msb_home_get_path(home);
    struct statvfs fs;
    g_autofree char *size = NULL;
    guint64 available;

    if (access(path, W_OK) < 0) {
        msb_check_add(list, "state", MSB_CHECK_FAILED, g_strdup_printf("%s: %s", path, g_strerror(errno)),
            "set MSB_HOME to a directory of your own");
        return;
    }
    if (statvfs(path, &fs) < 0) {
        msb_check_add(list, "state", MSB_CHECK_FAILED, g_strdup_printf("%s: %s", path, g_strerror(errno)), NULL);
        return;
    }
    available = (guint64)fs.f_bavail * fs.f_frsize;
    size = g_format_size_full(available, G_FORMAT_SIZE_IEC_UNITS);
    if (available >= LOW_SPACE)
        msb_check_add(list, "state", MSB_CHECK_OK, g_strdup_printf("%s, %s free", path, size), NULL);
    else
        msb_check_add(list, "state", MSB_CHECK_WARNING, g_strdup_printf("%s, only %s free", path, size),
            "images and what sandboxes write need space there; MSB_HOME chooses another place");
    if (strlen(path) > LONG_HOME)
        msb_check_add(list, "state-path", MSB_CHECK_WARNING,
            g_strdup_printf("%s is %" G_GSIZE_FORMAT " bytes long: sandboxes with long names will not start", path,
                            strlen(path)), "set MSB_HOME to a shorter directory");
    check_filesystem(list, path);
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
            msb_check_add(list, "programs", MSB_CHECK_FAILED, g_strdup(error->message),
                "install msb again, with all its programs");
            return;
        }
        g_free(dir);
        dir = g_path_get_dirname(path);
    }
    msb_check_add(list, "programs", MSB_CHECK_OK, g_steal_pointer(&dir), NULL);
}

static void
check_kernel(GPtrArray *list, MsbHome *home)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbKernel) kernel = msb_kernel_lookup(home, NULL, &error);
    g_autofree char *initrd = NULL;

    if (!kernel) {
        msb_check_add(list, "kernel", MSB_CHECK_FAILED, g_strdup(error->message), NULL);
        return;
    }
    initrd = msb_kernel_ensure_initrd(home, kernel, &error);
    if (initrd)
        msb_check_add(list, "kernel", MSB_CHECK_OK, g_strdup(msb_kernel_get_version(kernel)), NULL);
    else
        msb_check_add(list, "kernel", MSB_CHECK_FAILED, g_strdup(error->message), NULL);
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
        msb_check_add(list, "accelerator", MSB_CHECK_FAILED, g_strdup(error->message), NULL);
    else if (why)
        msb_check_add(list, "accelerator", MSB_CHECK_WARNING, g_strdup(why), NULL);
    else
        msb_check_add(list, "accelerator", MSB_CHECK_OK, g_strdup(accel), NULL);
    if (geteuid() == 0 && stat("/dev/kvm", &st) == 0 && st.st_gid == 0 && (st.st_mode & 0060) != 0060)
        msb_check_add(list, "kvm-access", MSB_CHECK_WARNING, g_strdup("/dev/kvm belongs to root alone"),
            "libvirtd then probes QEMU for a minute at every start; chgrp kvm /dev/kvm; chmod 660 /dev/kvm");
}

static gboolean
socket_answers(const char *path)
{
    mb_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un sa = { .sun_family = AF_UNIX };

    g_strlcpy(sa.sun_path, path, sizeof sa.sun_path);
    return fd >= 0 && connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0;
}

/* A user's libvirtd starts its virtlogd itself; the system's does not, and fails to start a machine with a log. */
static void
check_virtlogd(GPtrArray *list)
{
    if (socket_answers(VIRTLOGD_SOCKET))
        msb_check_add(list, "virtlogd", MSB_CHECK_OK, g_strdup(VIRTLOGD_SOCKET), NULL);
    else
        msb_check_add(list, "virtlogd", MSB_CHECK_FAILED, g_strdup("virtlogd does not answer at " VIRTLOGD_SOCKET),
            "start it: systemctl start virtlogd.socket");
}

static void
check_libvirt(GPtrArray *list)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbConnection) connection = msb_connection_open_bounded(&error);
    g_autofree char *version = NULL;
    g_autofree char *qemu = NULL;
    char *capabilities;

    if (!connection) {
        msb_check_add(list, "libvirt", MSB_CHECK_FAILED, g_strdup(error->message),
            "install libvirt-daemon-system and qemu-system-x86; as root, start libvirtd and virtlogd");
        return;
    }
    version = msb_connection_dup_version(connection);
    qemu = msb_connection_dup_hypervisor_version(connection);
    msb_check_add(list, "libvirt", MSB_CHECK_OK,
        g_strdup_printf("%s, libvirt %s", msb_connection_get_uri(connection), version ? version : "?"), NULL);
    capabilities = virConnectGetDomainCapabilities(msb_connection_get(connection), NULL, "x86_64", "microvm", NULL, 0);
    if (capabilities)
        msb_check_add(list, "qemu", MSB_CHECK_OK,
                      g_strdup_printf("QEMU %s with machine type microvm", qemu ? qemu : "?"), NULL);
    else
        msb_check_add(list, "qemu", MSB_CHECK_FAILED,
                      g_strdup("no QEMU with machine type microvm"), "install qemu-system-x86");
    free(capabilities);
    if (msb_connection_is_system(connection))
        check_virtlogd(list);
}

static void
check_landlock(GPtrArray *list)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);

    if (abi > 0)
        msb_check_add(list, "landlock", MSB_CHECK_OK, g_strdup_printf("version %ld", abi), NULL);
    else
        msb_check_add(list, "landlock", MSB_CHECK_WARNING, g_strdup("the kernel of this machine has no Landlock"),
            "back-ends are confined by seccomp and lost capabilities alone; boot with lsm=landlock,…");
}

static void
check_seccomp(GPtrArray *list)
{
    guint32 action = SECCOMP_RET_KILL_PROCESS;

    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
        msb_check_add(list, "seccomp", MSB_CHECK_OK, g_strdup("filters that kill the process"), NULL);
    else
        msb_check_add(list, "seccomp", MSB_CHECK_WARNING, g_strdup_printf("no seccomp filters: %s", g_strerror(errno)),
            "boot a kernel with CONFIG_SECCOMP_FILTER");
}

static void
check_nofile(GPtrArray *list)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    msb_check_add(list, "open-files", limit.rlim_max < LOW_NOFILE ? MSB_CHECK_WARNING : MSB_CHECK_OK,
        limit.rlim_max == RLIM_INFINITY ? g_strdup("no limit")
                                        : g_strdup_printf("at most %" G_GUINT64_FORMAT, (guint64)limit.rlim_max),
        limit.rlim_max < LOW_NOFILE ? "shared directories need more; raise the hard limit (ulimit -Hn)" : NULL);
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
    check_seccomp(list);
    msb_host_check_confinement(list, home);
    check_nofile(list);
    return list;
}

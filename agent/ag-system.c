/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every Linux system has beside its root: the kernel's file systems, /dev,
 * /run, /tmp, a host name, a loopback interface, the right time.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ag-sys.h"
#include "ag.h"
#include "mb-cleanup.h"

#define NS_PER_S INT64_C(1000000000)
#define NO_PRIVILEGES (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
#define SAFE (NO_PRIVILEGES | MOUNT_ATTR_NOEXEC)

/* Our standard descriptors go to the console, or nowhere; descriptors 0 to 2 are never anything else. */
static void
open_stdio(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);

    if (fd < 0)
        fd = open("/dev/null", O_RDWR);
    for (int i = 0; fd >= 0 && i < 3; i++) {
        if (fd != i)
            dup2(fd, i);
    }
    if (fd > 2)
        close(fd);
}

int
ag_system_early(struct ag_error *e)
{
    static const struct {
        const char *type, *path;
    } table[] = { { "devtmpfs", "/dev" }, { "proc", "/proc" }, { "sysfs", "/sys" } };
    int r = 0;

    for (size_t i = 0; i < MB_ARRAY_SIZE(table); i++) {
        mkdir(table[i].path, 0755);
        if (ag_sys_mount(table[i].type, table[i].path, table[i].type, MS_NOSUID, NULL) < 0 && errno != EBUSY)
            r = ag_fail(e, errno, table[i].path, "The initramfs cannot mount %s", table[i].type);
    }
    open_stdio();
    return r;
}

/* ---- inside the new root ---------------------------------------------------------- */

static const char *const opts_dev[] = { "mode=755", NULL };
static const char *const opts_pts[] = { "gid=5", "mode=620", "ptmxmode=666", NULL };
static const char *const opts_shm[] = { "mode=1777", NULL };
static const char *const opts_run[] = { "mode=755", "size=20%", NULL };
static const char *const opts_msb[] = { "mode=755", "size=1m", NULL };

static const struct {
    const char *target, *type;
    const char *const *opts;
    uint64_t attrs;
    bool needed;
} kernel_mounts[] = {
    { "/dev", "devtmpfs", opts_dev, MOUNT_ATTR_NOSUID, true },
    { "/proc", "proc", NULL, SAFE, true },
    { "/sys", "sysfs", NULL, SAFE, true },
    { "/sys/fs/cgroup", "cgroup2", NULL, SAFE, false },
    { "/dev/pts", "devpts", opts_pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, true },
    { "/dev/shm", "tmpfs", opts_shm, NO_PRIVILEGES, true },
    { "/dev/mqueue", "mqueue", NULL, SAFE, false },
};

static void
make_dev_links(int root_fd)
{
    static const struct {
        const char *name, *target;
    } links[] = {
        { "fd", "/proc/self/fd" },
        { "stdin", "/proc/self/fd/0" },
        { "stdout", "/proc/self/fd/1" },
        { "stderr", "/proc/self/fd/2" },
    };
    mb_autofd int dev = ag_path_open(root_fd, "/dev", 0);

    for (size_t i = 0; dev >= 0 && i < MB_ARRAY_SIZE(links); i++) {
        if (symlinkat(links[i].target, dev, links[i].name) < 0 && errno != EEXIST)
            return;
    }
}

/* A world-writable directory, if there is none. */
static void
make_tmp(int root_fd, const char *path)
{
    mb_autofd int fd = ag_path_open(root_fd, path, 0);
    mb_autofd int made = -1;

    if (fd >= 0)
        return;
    fd = ag_path_open(root_fd, path, AG_PATH_MAKE_DIR);
    made = fd < 0 ? -1 : openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (made >= 0 && fchmod(made, 01777) < 0)
        return;
}

static int
mount_run(int root_fd, struct ag_error *e)
{
    mb_autofd int fd = ag_mount_new("tmpfs", "tmpfs", opts_run, false, NO_PRIVILEGES, e);
    mb_autofd int at = fd < 0 ? -1 : ag_path_open(root_fd, "/run", AG_PATH_MAKE_DIR);
    int r;

    if (fd < 0)
        return fd;
    if (at < 0)
        return ag_fail(e, -at, "/run", "The mount point cannot be reached");
    ag_run_seed(at, fd);
    if (mkdirat(fd, "lock", 01777) == 0 && fchmodat(fd, "lock", 01777, 0) < 0)
        return ag_fail(e, errno, "/run/lock", "The directory's mode cannot be set");
    r = ag_mount_attach(fd, at);
    return r < 0 ? ag_fail(e, -r, "/run", "The file system cannot be attached to its mount point") : 0;
}

/* /.msb: what belongs to the agent in the guest. */
static void
mount_msb(int root_fd, bool make)
{
    struct ag_error ignored = { 0 };
    mb_autofd int fd = ag_mount_new("tmpfs", "msb", opts_msb, false, NO_PRIVILEGES, &ignored);
    mb_autofd int at = fd < 0 ? -1 : ag_path_open(root_fd, "/.msb", make ? AG_PATH_MAKE_DIR : 0);
    mb_autofd int version = at < 0 ? -1 : openat(fd, "version", O_CREAT | O_WRONLY | O_CLOEXEC, 0444);

    if (version >= 0 && ag_write_all(version, PACKAGE_VERSION "\n", strlen(PACKAGE_VERSION) + 1) == 0)
        (void)!ag_mount_attach(fd, at);
}

/* The modules image on /lib/modules/<version>, wherever /lib leads to. */
static int
attach_modules(const struct ag_root *r, const struct mp_boot *boot, struct ag_error *e)
{
    char path[300];
    int x;

    if (r->modules_fd < 0 || boot->kernel_version[0] == '\0')
        return 0;
    if (strchr(boot->kernel_version, '/') || strlen(boot->kernel_version) > 255)
        return ag_fail(e, EINVAL, boot->kernel_version, "The kernel's version is not a directory name");
    snprintf(path, sizeof(path), "/lib/modules/%s", boot->kernel_version);
    {
        mb_autofd int at = ag_path_open(r->fd, path, r->keep_clean ? 0 : AG_PATH_MAKE_DIR);

        x = at < 0 ? at : ag_mount_attach(r->modules_fd, at);
    }
    /* A root that cannot be written has no place for them: sandboxes live without. */
    if (x == -ENOENT || x == -EROFS)
        return 0;
    return x < 0 ? ag_fail(e, -x, path, "The kernel's modules cannot be mounted") : 0;
}

int
ag_system_mounts(const struct ag_root *root, const struct mp_boot *boot, struct ag_error *e)
{
    int r = 0;

    for (size_t i = 0; i < MB_ARRAY_SIZE(kernel_mounts); i++) {
        struct ag_error local = *e;

        r = ag_mount_on(root->fd, kernel_mounts[i].target, true, kernel_mounts[i].type, kernel_mounts[i].type,
                        kernel_mounts[i].opts, kernel_mounts[i].attrs, &local);
        if (r < 0 && kernel_mounts[i].needed) {
            *e = local;
            return r;
        }
    }
    make_dev_links(root->fd);
    r = mount_run(root->fd, e);
    if (r < 0)
        return r;
    make_tmp(root->fd, "/tmp");
    make_tmp(root->fd, "/var/tmp");
    mount_msb(root->fd, !root->keep_clean);
    r = attach_modules(root, boot, e);
    /* A file that is no file, or cannot be changed, is the image's wish. */
    if (r == 0 && ag_hosts_update(root->fd, boot->hostname, boot->hosts, root->keep_clean) == -ENOMEM)
        r = ag_fail(e, ENOMEM, "/etc/hosts", "There is no memory for the host names");
    return r;
}

/* ---- names and time --------------------------------------------------------------- */

static int
loopback_up(void)
{
    mb_autofd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr = { .ifr_name = "lo" };

    /* A kernel without networking has nothing to bring up. */
    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : -errno;
    if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
        return errno == ENODEV ? 0 : -errno;
    ifr.ifr_flags |= IFF_UP | IFF_RUNNING;
    return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

int
ag_system_names(const struct mp_boot *boot, struct ag_error *e)
{
    size_t n = strlen(boot->hostname);
    int r;

    if (n > 0 && sethostname(boot->hostname, n) < 0)
        return ag_fail(e, errno, boot->hostname, "The host name cannot be set");
    r = loopback_up();
    return r < 0 ? ag_fail(e, -r, "lo", "The loopback interface cannot be brought up") : 0;
}

void
ag_system_clock(uint64_t realtime_ns)
{
    struct timespec now, want = {
        .tv_sec = (time_t)(realtime_ns / NS_PER_S),
        .tv_nsec = (long)(realtime_ns % NS_PER_S),
    };
    int64_t diff;

    if (realtime_ns == 0 || realtime_ns > INT64_MAX || clock_gettime(CLOCK_REALTIME, &now) < 0)
        return;
    diff = (int64_t)realtime_ns - ((int64_t)now.tv_sec * NS_PER_S + now.tv_nsec);
    if (diff > NS_PER_S || diff < -NS_PER_S)
        clock_settime(CLOCK_REALTIME, &want);
}

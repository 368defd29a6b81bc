/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The root file system, put together in the initramfs:
 *
 *     /l/1 ... /l/n   image layers, EROFS, lowest first
 *     /u              the sandbox's own ext4 with upper/ and work/
 *     /d              a root disk that is read-only, below an upper/ in memory
 *     /r              the new root: an overlay of those, a virtio-fs share, or a disk
 *
 * and then made "/", as switch_root does.  The names are this short because an
 * overlay's options must fit into one page; relative to /l a layer takes two to
 * four bytes, so that the kernel's own limit of 500 layers comes first.
 */
#include <config.h>

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ag-sys.h"
#include "ag.h"
#include "mb-cleanup.h"

#define LAYERS_DIR "/l"
#define LOWER_DIR "/d"
#define UPPER_DIR "/u"
#define LAYERS_SERIAL "layers"
#define UPPER_SERIAL "upper"
#define LAYERS_MAX 500u
#define PAGE 4096
#define DEPTH_MAX 32

static int
make_dir(const char *path, struct ag_error *e)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return ag_fail(e, errno, path, "A directory cannot be made");
    return 0;
}

/* Attach a new mount to a directory of the initramfs. */
static int
attach(int mount_fd, const char *path, struct ag_error *e)
{
    mb_autofd int at = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = at < 0 ? -errno : ag_mount_attach(mount_fd, at);

    return r < 0 ? ag_fail(e, -r, path, "The file system cannot be attached to its mount point") : 0;
}

static int
mount_modules(struct ag_root *r, const struct mp_boot *boot, int events, struct ag_error *e)
{
    char path[64];
    int x;

    if (boot->modules_source[0] == '\0')
        return 0;
    x = ag_dev_wait_disk(events, boot->modules_source, boot->modules_partition, path, e);
    if (x == 0)
        x = r->modules_fd = ag_mount_new("erofs", path, NULL, true, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, e);
    return x < 0 ? x : 0;
}

static int
mount_layers(unsigned n, int events, struct ag_error *e)
{
    int r = make_dir(LAYERS_DIR, e);

    if (r == 0 && n == 0)
        return make_dir(LAYERS_DIR "/0", e);
    if (n > LAYERS_MAX)
        return ag_fail(e, E2BIG, LAYERS_SERIAL, "The image has %u layers, the kernel takes %u", n,
                       LAYERS_MAX);
    for (unsigned i = 1; r == 0 && i <= n; i++) {
        char device[64], dir[32];
        mb_autofd int fd = -1;

        snprintf(dir, sizeof(dir), LAYERS_DIR "/%u", i);
        r = make_dir(dir, e);
        if (r == 0)
            r = ag_dev_wait_disk(events, LAYERS_SERIAL, i, device, e);
        if (r < 0)
            return r;
        fd = ag_mount_new("erofs", device, NULL, true, 0, e);
        r = fd < 0 ? fd : attach(fd, dir, e);
    }
    return r;
}

static int
mount_upper(struct ag_root *root, int events, struct ag_error *e)
{
    static const char *const discard[] = { "discard", NULL };
    char device[64];
    mb_autofd int fd = -1;
    int r = make_dir(UPPER_DIR, e);

    if (r == 0)
        r = ag_dev_wait_disk(events, UPPER_SERIAL, 0, device, e);
    if (r < 0)
        return r;
    fd = ag_mount_new("ext4", device, ag_disk_can_discard(device) ? discard : NULL, false, 0, e);
    if (fd >= 0)
        ag_grow_mounted(UPPER_SERIAL, device, fd);
    r = fd < 0 ? fd : attach(fd, UPPER_DIR, e);
    if (r == 0)
        r = make_dir(UPPER_DIR "/upper", e);
    if (r == 0)
        r = make_dir(UPPER_DIR "/work", e);
    if (r == 0)
        root->upper_fd = mb_steal_fd(&fd);
    return r;
}

static int
root_overlay(struct ag_root *root, const struct mp_boot *boot, int events, struct ag_error *e)
{
    char opts[PAGE];
    size_t n;
    int r = mount_layers(boot->n_layers, events, e);

    if (r == 0)
        r = mount_upper(root, events, e);
    if (r < 0)
        return r;
    n = (size_t)snprintf(opts, sizeof(opts), "upperdir=" UPPER_DIR "/upper,workdir=" UPPER_DIR
                                             "/work,redirect_dir=on,xino=on,lowerdir=");
    for (unsigned i = boot->n_layers; i > 0; i--)
        n += (size_t)snprintf(opts + n, sizeof(opts) - n, "%u%s", i, i > 1 ? ":" : "");
    if (boot->n_layers == 0)
        snprintf(opts + n, sizeof(opts) - n, "0");
    r = chdir(LAYERS_DIR) < 0 || ag_sys_mount("overlay", AG_NEWROOT, "overlay", 0, opts) < 0 ? -errno : 0;
    if (chdir("/") < 0 && r == 0)
        r = -errno;
    if (r < 0)
        return ag_fail(e, -r, "overlay", "The image's layers and the writable layer cannot be stacked");
    return 0;
}

static int
root_virtiofs(struct ag_root *root, const struct mp_boot *boot, struct ag_error *e)
{
    mb_autofd int fd = ag_mount_new("virtiofs", boot->root_source, NULL, false, 0, e);

    root->keep_clean = true;
    return fd < 0 ? fd : attach(fd, AG_NEWROOT, e);
}

/* Changes to a root that cannot be written live in memory, and end with the machine. */
static int
root_in_memory(int lower_fd, struct ag_error *e)
{
    static const char *const opts[] = { "mode=755", NULL };
    mb_autofd int upper = -1;
    int r = make_dir(LOWER_DIR, e);

    if (r == 0)
        r = attach(lower_fd, LOWER_DIR, e);
    if (r == 0)
        r = make_dir(UPPER_DIR, e);
    if (r < 0)
        return r;
    upper = ag_mount_new("tmpfs", "tmpfs", opts, false, 0, e);
    r = upper < 0 ? upper : attach(upper, UPPER_DIR, e);
    if (r == 0)
        r = make_dir(UPPER_DIR "/upper", e);
    if (r == 0)
        r = make_dir(UPPER_DIR "/work", e);
    if (r == 0 && ag_sys_mount("overlay", AG_NEWROOT, "overlay", 0,
                               "upperdir=" UPPER_DIR "/upper,workdir=" UPPER_DIR "/work,lowerdir=" LOWER_DIR) < 0)
        r = ag_fail(e, errno, "overlay", "The read-only root disk and the memory for changes cannot be stacked");
    return r;
}

static int
root_disk(struct ag_root *root, const struct mp_boot *boot, int events, struct ag_error *e)
{
    const struct ag_disk_want want = {
        .serial = boot->root_source, .partition = boot->root_partition, .fstype = boot->root_fstype, .root = true };
    char device[64], fstype[16];
    mb_autofd int fd = -1;
    struct statvfs st;
    int r = ag_disk_find_fs(events, &want, device, fstype, e);

    if (r < 0)
        return r;
    fd = ag_disk_mount(device, fstype, false, 0, root->modules_fd, e);
    if (fd < 0)
        return fd;
    if (fstatvfs(fd, &st) == 0 && st.f_flag & ST_RDONLY)
        return root_in_memory(fd, e);
    return attach(fd, AG_NEWROOT, e);
}

int
ag_root_assemble(struct ag_root *root, const struct mp_boot *boot, int events, struct ag_error *e)
{
    int r = make_dir(AG_NEWROOT, e);

    if (r == 0)
        r = mount_modules(root, boot, events, e);
    if (r < 0)
        return r;
    switch (boot->root_kind) {
    case MP_ROOT_OVERLAY:
        r = root_overlay(root, boot, events, e);
        break;
    case MP_ROOT_VIRTIOFS:
        r = root_virtiofs(root, boot, e);
        break;
    case MP_ROOT_DISK:
        r = root_disk(root, boot, events, e);
        break;
    default:
        return ag_fail(e, EINVAL, "boot frame", "The kind of root %u is unknown", boot->root_kind);
    }
    if (r < 0)
        return r;
    root->fd = open(AG_NEWROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root->fd < 0 ? ag_fail(e, errno, AG_NEWROOT, "The new root cannot be opened") : 0;
}

int
ag_root_pivot(const struct ag_root *root, int *old_fd, struct ag_error *e)
{
    static const char *const early[] = { "/dev", "/sys", "/proc" };

    *old_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < MB_ARRAY_SIZE(early); i++)
        ag_sys_umount2(early[i], AG_MNT_DETACH);
    if (fchdir(root->fd) < 0 || ag_sys_mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0)
        return ag_fail(e, errno, "/", "The new root cannot be made the root");
    return 0;
}

/* Delete what is below a directory, on its own file system only. Takes fd. */
static void
delete_below(int fd, dev_t dev, int depth)
{
    mb_autodir DIR *dir = fdopendir(fd);
    struct dirent *de;

    if (!dir) {
        mb_close(fd);
        return;
    }
    while (depth < DEPTH_MAX && (de = readdir(dir))) {
        struct stat st;

        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != dev)
            continue;
        if (S_ISDIR(st.st_mode)) {
            int sub = openat(fd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

            if (sub >= 0)
                delete_below(sub, dev, depth + 1);
            unlinkat(fd, de->d_name, AT_REMOVEDIR);
        } else {
            unlinkat(fd, de->d_name, 0);
        }
    }
}

void
ag_root_forget(int old_fd)
{
    struct stat st;

    if (old_fd >= 0 && fstat(old_fd, &st) == 0)
        delete_below(old_fd, st.st_dev, 0);
}

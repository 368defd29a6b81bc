/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mounting by descriptors (fsopen, fsmount, move_mount): no path of the guest is
 * ever followed by the kernel on our behalf, and the kernel's own words about
 * what it did not like go into the error.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ag-sys.h"
#include "ag.h"
#include "mb-cleanup.h"

/* Where shares with a single file are mounted to bind that file from. */
#define FILES_DIR "/x"

/* The first error message in the context's log. */
static void
context_log(int fs, char *text, size_t size)
{
    ssize_t r = read(fs, text, size - 1);

    text[r > 0 ? r : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (text[0] && text[1] == ' ')
        memmove(text, text + 2, strlen(text + 2) + 1);
}

static int
set_option(int fs, const char *opt)
{
    const char *eq = strchr(opt, '=');
    char key[64];

    if (!eq)
        return ag_sys_fsconfig(fs, FSCONFIG_SET_FLAG, opt, NULL, 0);
    snprintf(key, sizeof(key), "%.*s", (int)(eq - opt), opt);
    return ag_sys_fsconfig(fs, FSCONFIG_SET_STRING, key, eq + 1, 0);
}

int
ag_mount_new(const char *fstype, const char *source, const char *const *opts, bool ro, uint64_t attrs,
             struct ag_error *e)
{
    mb_autofd int fs = ag_sys_fsopen(fstype, FSOPEN_CLOEXEC);
    int r, fd, error;

    if (fs < 0)
        return ag_fail(e, errno, source, "The kernel does not know the file system \"%s\"", fstype);
    r = ag_sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0);
    for (const char *const *o = opts; r == 0 && o && *o; o++)
        r = set_option(fs, *o);
    if (r == 0 && ro)
        r = ag_sys_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0);
    if (r == 0)
        r = ag_sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    fd = r == 0 ? ag_sys_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)(attrs | (ro ? MOUNT_ATTR_RDONLY : 0))) : -1;
    if (fd < 0) {
        char log[256];

        error = errno;
        context_log(fs, log, sizeof(log));
        return ag_fail(e, error, source, "The %s file system cannot be mounted%s%s", fstype,
                       log[0] ? ": " : "", log);
    }
    return fd;
}

int
ag_mount_attach(int mount_fd, int target_fd)
{
    if (ag_sys_move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return -errno;
    return 0;
}

static bool
same_file(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int
attach_at(int root_fd, int mount_fd, const char *target, unsigned make, struct ag_error *e)
{
    mb_autofd int at = ag_path_open(root_fd, target, make);
    int r;

    if (at < 0)
        return ag_fail(e, -at, target, "The mount point cannot be reached");
    if (same_file(at, root_fd))
        return ag_fail(e, EINVAL, target, "The mount point is the root itself");
    r = ag_mount_attach(mount_fd, at);
    return r < 0 ? ag_fail(e, -r, target, "The file system cannot be attached to its mount point") : 0;
}

int
ag_mount_on(int root_fd, const char *target, bool make, const char *fstype, const char *source,
            const char *const *opts, uint64_t attrs, struct ag_error *e)
{
    mb_autofd int fd = ag_mount_new(fstype, source, opts, false, attrs, e);

    return fd < 0 ? fd : attach_at(root_fd, fd, target, make ? AG_PATH_MAKE_DIR : 0, e);
}

/* ---- the user's ------------------------------------------------------------------- */

static uint64_t
mount_attrs(uint32_t flags, bool restricted)
{
    uint64_t attrs = 0;

    if (flags & MP_MOUNT_RO)
        attrs |= MOUNT_ATTR_RDONLY;
    if (flags & MP_MOUNT_NOEXEC)
        attrs |= MOUNT_ATTR_NOEXEC;
    if ((flags & MP_MOUNT_NOSUID) || restricted)
        attrs |= MOUNT_ATTR_NOSUID;
    if ((flags & MP_MOUNT_NODEV) || restricted)
        attrs |= MOUNT_ATTR_NODEV;
    return attrs;
}

static int
new_tmpfs(const struct mp_mount *m, uint64_t attrs, struct ag_error *e)
{
    char size[40], mode[24];
    const char *opts[3] = { NULL };
    unsigned n = 0;

    if (m->size > 0) {
        snprintf(size, sizeof(size), "size=%llu", (unsigned long long)m->size);
        opts[n++] = size;
    }
    snprintf(mode, sizeof(mode), "mode=%o", m->mode ? m->mode & 07777 : 01777);
    opts[n++] = mode;
    return ag_mount_new("tmpfs", "tmpfs", opts, (m->flags & MP_MOUNT_RO) != 0, attrs, e);
}

static int
new_disk(const struct mp_mount *m, uint64_t attrs, int events, int modules_fd, struct ag_error *e)
{
    const struct ag_disk_want want = { .serial = m->source, .partition = m->partition, .fstype = m->fstype };
    char path[64], fstype[16];
    int r = ag_disk_find_fs(events, &want, path, fstype, e);

    if (r == 0)
        r = ag_disk_mount(path, fstype, (m->flags & MP_MOUNT_RO) != 0, attrs, modules_fd, e);
    if (r >= 0 && m->flags & MP_MOUNT_GROW)
        ag_grow_mounted(m->source, path, r);
    /* The host's user knows the disk by where it was to be mounted; one that is not there is our own mistake. */
    if (r < 0 && r != -ENODEV)
        snprintf(e->object, sizeof(e->object), "%s", m->target);
    return r;
}

/* The file of a single-file share as a mount of its own. The share stays mounted only under it. */
static int
bind_file(int share, const char *name, struct ag_error *e)
{
    mb_autofd int dir = -1;
    int file = -1, r;

    if (name[0] == '\0' || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return ag_fail(e, EINVAL, name, "The file's name in the share is not one");
    if (mkdir(FILES_DIR, 0700) < 0 && errno != EEXIST)
        return ag_fail(e, errno, FILES_DIR, "A directory cannot be made in the initramfs");
    dir = open(FILES_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
    r = dir < 0 ? -errno : ag_mount_attach(share, dir);
    if (r == 0) {
        file = ag_sys_open_tree(share, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
        r = file < 0 ? -errno : 0;
        ag_sys_umount2(FILES_DIR, AG_MNT_DETACH);
    }
    return r < 0 ? ag_fail(e, -r, name, "The file cannot be taken out of its share") : file;
}

static int
mount_one(int root_fd, const struct mp_mount *m, bool restricted, int events, int modules_fd,
          struct ag_error *e)
{
    uint64_t attrs = mount_attrs(m->flags, restricted);
    bool is_file = m->kind == MP_MOUNT_VIRTIOFS && (m->flags & MP_MOUNT_FILE);
    mb_autofd int fd = -1;
    mb_autofd int file = -1;

    if (m->target[0] != '/')
        return ag_fail(e, EINVAL, m->target, "The mount point is not an absolute path");
    switch (m->kind) {
    case MP_MOUNT_VIRTIOFS:
        fd = ag_mount_new("virtiofs", m->source, NULL, (m->flags & MP_MOUNT_RO) != 0, attrs, e);
        break;
    case MP_MOUNT_DISK:
        fd = new_disk(m, attrs, events, modules_fd, e);
        break;
    case MP_MOUNT_TMPFS:
        fd = new_tmpfs(m, attrs, e);
        break;
    default:
        return ag_fail(e, EINVAL, m->target, "The kind of mount %u is unknown", m->kind);
    }
    if (fd < 0)
        return fd;
    if (!is_file)
        return attach_at(root_fd, fd, m->target, AG_PATH_MAKE_DIR, e);
    file = bind_file(fd, m->name, e);
    return file < 0 ? file : attach_at(root_fd, file, m->target, AG_PATH_MAKE_DIR | AG_PATH_MAKE_FILE, e);
}

int
ag_mount_user(int root_fd, const struct mp_boot *boot, int events, int modules_fd, struct ag_error *e)
{
    bool restricted = (boot->flags & MP_BOOT_RESTRICTED) != 0;
    int r = 0;

    for (unsigned i = 0; r >= 0 && i < boot->n_mounts; i++)
        r = mount_one(root_fd, &boot->mounts[i], restricted, events, modules_fd, e);
    return r < 0 ? r : 0;
}

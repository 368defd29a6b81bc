/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of the machine.  No process but ours is left.  Disks come first: they
 * are unmounted, or made read-only when something is mounted inside them, then
 * the root and the ext4 below it become read-only, so that no journal is left to
 * replay.  Shares may hang if their host process is dead: a child unmounts them,
 * and is not waited for longer than a second.
 */
#include <config.h>

#include <errno.h>
#include <linux/reboot.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "ag-sys.h"
#include "ag.h"
#include "mb-cleanup.h"

#define MOUNTS_MAX 4096
#define MOUNTINFO_MAX (8u * 1024 * 1024)
#define SHARES_MS 1000

struct mounted {
    char *path;
    bool disk;              /* holds data on a block device */
    bool share;
};

static bool
is_octal(const char *s)
{
    return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7';
}

/* Undo \ooo in place. */
static void
unescape(char *s)
{
    char *out = s;

    while (*s) {
        if (s[0] == '\\' && is_octal(s + 1)) {
            *out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 4;
        } else {
            *out++ = *s++;
        }
    }
    *out = '\0';
}

/* One line of mountinfo: proc(5). The path points into the line. */
static bool
parse_line(char *line, struct mounted *m)
{
    char *dash = strstr(line, " - "), *save = NULL, *field = strtok_r(line, " ", &save), *type;
    const char *device = "";

    for (int i = 1; field && i <= 4; i++) {
        field = strtok_r(NULL, " ", &save);
        if (field && i == 2)
            device = field;
    }
    if (!field || !dash)
        return false;
    type = dash + 3;
    type[strcspn(type, " ")] = '\0';
    unescape(field);
    m->path = field;
    m->disk = strncmp(device, "0:", 2) != 0 || strcmp(type, "btrfs") == 0;
    m->share = strcmp(type, "virtiofs") == 0 || strncmp(type, "fuse", 4) == 0;
    return true;
}

/* The mounts in order, in *v (free it; paths point into text). */
static size_t
list_mounts(char *text, struct mounted **v)
{
    char *save = NULL;
    size_t n = 0;

    *v = calloc(MOUNTS_MAX, sizeof(**v));
    for (char *line = *v ? strtok_r(text, "\n", &save) : NULL; line && n < MOUNTS_MAX;
         line = strtok_r(NULL, "\n", &save)) {
        if (parse_line(line, &(*v)[n]))
            n++;
    }
    return n;
}

static void
make_read_only(int fd)
{
    mb_autofd int fs = ag_sys_fspick(fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);

    if (fs >= 0 && ag_sys_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) == 0)
        ag_sys_fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0);
}

static void
unmount_shares(const struct mounted *v, size_t n)
{
    struct pollfd p = { .events = POLLIN };
    pid_t pid = fork();

    if (pid == 0) {
        while (n-- > 0) {
            if (v[n].share)
                ag_sys_umount2(v[n].path, 0);
        }
        _exit(0);
    }
    if (pid < 0)
        return;
    p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (p.fd >= 0)
        poll(&p, 1, SHARES_MS);
    mb_close(p.fd);
}

void
ag_shutdown_unmount(int proc_fd, const struct ag_root *root, bool pivoted)
{
    mb_autofree char *text = NULL;
    mb_autofree struct mounted *v = NULL;
    const char *info = proc_fd >= 0 ? "self/mountinfo" : "/proc/self/mountinfo";
    size_t n = 0;

    if (!pivoted)
        ag_sys_umount2(AG_NEWROOT, AG_MNT_DETACH);
    if (ag_read_file(proc_fd >= 0 ? proc_fd : AT_FDCWD, info, MOUNTINFO_MAX, &text) == 0)
        n = list_mounts(text, &v);
    for (size_t i = n; i-- > 0;) {
        if (!v[i].disk || strcmp(v[i].path, "/") == 0)
            continue;
        if (ag_sys_umount2(v[i].path, 0) < 0)
            ag_sys_mount(NULL, v[i].path, NULL, MS_REMOUNT | MS_RDONLY, NULL);
    }
    if (root->fd >= 0)
        make_read_only(root->fd);
    if (root->upper_fd >= 0) {
        make_read_only(root->upper_fd);
        syncfs(root->upper_fd);
    }
    unmount_shares(v, n);
}

void
ag_shutdown_machine(bool reboot)
{
    /* Without ACPI there is nothing to switch the power off with; QEMU ends at a reset as well. */
    bool can_power_off = access("/sys/firmware/acpi", F_OK) == 0;
    unsigned cmd = reboot || !can_power_off ? LINUX_REBOOT_CMD_RESTART : LINUX_REBOOT_CMD_POWER_OFF;

    for (;;) {
        syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, cmd, NULL);
        cmd = LINUX_REBOOT_CMD_RESTART;
    }
}

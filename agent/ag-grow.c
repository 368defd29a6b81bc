/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File systems that are as large as their disks.  The host makes the file behind
 * a disk larger; here the kernel is asked to make the ext4 on it larger too,
 * mounted as it is: when it is mounted, and when a uevent tells that a disk has
 * another size.  The file system of a user's own image is left as it is until
 * its disk grows: what is behind it may be somebody's.  The kernel of the guest does it, so nobody on the host reads a
 * file system that the guest wrote.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"
#include "mb-endian.h"

/* fs/ext4/ext4.h: the new size in blocks. */
#define EXT4_RESIZE_FS _IOW('f', 16, uint64_t)

/* The superblock of ext4 (Documentation/filesystems/ext4/super.rst). */
#define SUPER_OFFSET 1024
#define SUPER_SIZE 1024u
#define SUPER_BLOCKS_LO 4
#define SUPER_LOG_BLOCK_SIZE 24
#define SUPER_MAGIC 56
#define SUPER_INCOMPAT 96
#define SUPER_BLOCKS_HI 336
#define EXT4_MAGIC 0xef53u
#define INCOMPAT_64BIT 0x80u
#define LOG_BLOCK_SIZE_MAX 6u

#define MOUNTINFO_MAX (1u << 20)
#define UPPER_SERIAL "upper"

/* ---- one file system ------------------------------------------------------------------ */

/* Blocks that the file system has, and that its disk has. 0; -EMEDIUMTYPE: it is no ext4; -errno. */
static int
measure(const char *device, uint64_t *have, uint64_t *could)
{
    mb_autofd int fd = open(device, O_RDONLY | O_CLOEXEC);
    uint8_t s[SUPER_SIZE];
    uint64_t bytes;
    uint32_t shift;

    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0)
        return -errno;
    if (pread(fd, s, sizeof(s), SUPER_OFFSET) != (ssize_t)sizeof(s))
        return -EIO;
    shift = mb_get_le32(s + SUPER_LOG_BLOCK_SIZE);
    if (mb_get_le16(s + SUPER_MAGIC) != EXT4_MAGIC || shift > LOG_BLOCK_SIZE_MAX)
        return -EMEDIUMTYPE;
    *have = mb_get_le32(s + SUPER_BLOCKS_LO);
    if (mb_get_le32(s + SUPER_INCOMPAT) & INCOMPAT_64BIT)
        *have |= (uint64_t)mb_get_le32(s + SUPER_BLOCKS_HI) << 32;
    *could = bytes >> (10 + shift);
    return 0;
}

static int
grow(const char *device, int dir_fd)
{
    uint64_t have, could;
    int r = measure(device, &have, &could);
    mb_autofd int fd = -1;

    if (r < 0 || could <= have)
        return r == -EMEDIUMTYPE ? 0 : r;
    /* What fsmount() returned is an O_PATH descriptor. */
    fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || ioctl(fd, EXT4_RESIZE_FS, &could) < 0 ? -errno : 0;
}

/* What could not grow is as good as it was. */
void
ag_grow_mounted(const char *serial, const char *device, int mount_fd)
{
    int r = grow(device, mount_fd);

    if (r < 0)
        fprintf(stderr, "msb-agent: the file system of the disk \"%s\" cannot grow: %s\n", serial, strerror(-r));
}

/* ---- in a child: all that follow their disks ------------------------------------------------ */

/* \040 and its like, in place. */
static void
unescape(char *s)
{
    char *to = s;

    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

/* A directory of the file system on device number dev, somewhere in text, which is a mountinfo. */
static int
open_mounted(char *text, dev_t dev)
{
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned major_, minor_;
        int at = 0, end = 0;
        struct stat st;
        int fd;

        /* 36 35 98:0 /root /mount/point rw,... */
        if (sscanf(line, "%*d %*d %u:%u %*s %n%*s%n", &major_, &minor_, &at, &end) < 2 || end <= at ||
            makedev(major_, minor_) != dev)
            continue;
        line[end] = '\0';
        unescape(line + at);
        fd = open(line + at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == dev)
            return fd;
        mb_close(fd);
    }
    return -ENOENT;
}

static void
grow_disk(const struct ag_grow *g, const char *serial)
{
    mb_autofree char *text = NULL;
    mb_autofd int found = -1;
    struct stat st;
    char device[64];

    if (ag_dev_find_disk(serial, device) < 0 || stat(device, &st) < 0)
        return;
    if (strcmp(serial, UPPER_SERIAL) == 0) {
        ag_grow_mounted(serial, device, *g->upper_fd);
        return;
    }
    if (ag_read_file(*g->proc_fd, "self/mountinfo", MOUNTINFO_MAX, &text) == 0)
        found = open_mounted(text, st.st_rdev);
    if (found >= 0)
        ag_grow_mounted(serial, device, found);
}

/* 0: there is none such, or it cannot be asked. */
static uint64_t
disk_size(const char *serial)
{
    char device[64];
    uint64_t bytes;
    mb_autofd int fd = ag_dev_find_disk(serial, device) < 0 ? -1 : open(device, O_RDONLY | O_CLOEXEC);

    return fd >= 0 && ioctl(fd, BLKGETSIZE64, &bytes) == 0 ? bytes : 0;
}

static void
start_child(struct ag_grow *g)
{
    g->again = g->child > 0;
    if (g->child > 0)
        return;
    g->child = fork();
    if (g->child == 0) {
        for (unsigned i = 0; g->serials[i]; i++) {
            if (g->above[i] == 0 || disk_size(g->serials[i]) > g->above[i])
                grow_disk(g, g->serials[i]);
        }
        _exit(0);
    }
}

bool
ag_grow_reaped(struct ag_grow *g, pid_t pid)
{
    if (g->child <= 0 || pid != g->child)
        return false;
    g->child = 0;
    if (g->again)
        start_child(g);
    return true;
}

/* ---- events ----------------------------------------------------------------------------------- */

/* Strings, one behind the other; the last one may have no end. */
static bool
is_resize(const char *p, size_t n)
{
    static const char want[] = "RESIZE=1";

    while (n > 0) {
        size_t len = strnlen(p, n);

        if (len == sizeof(want) - 1 && memcmp(p, want, len) == 0)
            return true;
        len = MB_MIN(len + 1, n);
        p += len;
        n -= len;
    }
    return false;
}

static void
on_event(struct ag_watch *w, uint32_t events MB_UNUSED)
{
    struct ag_grow *g = MB_CONTAINER_OF(w, struct ag_grow, events);
    struct sockaddr_nl from = { 0 };
    bool resize = false;
    char buf[4096];

    for (;;) {
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(w->fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

        if (n < 0 && errno == ENOBUFS)
            resize = true; /* there were too many to keep, perhaps one of ours */
        else if (n <= 0)
            break;
        else if (from.nl_pid == 0) /* the kernel */
            resize = resize || is_resize(buf, (size_t)n);
    }
    if (resize)
        start_child(g);
}

/* own: a disk of the host's making, whose file system has all of it; others get more when the disk does. */
static int
add_serial(struct ag_grow *g, unsigned n, const char *serial, bool own)
{
    g->serials[n] = strdup(serial);
    g->above[n] = own ? 0 : disk_size(serial);
    return g->serials[n] ? 0 : -ENOMEM;
}

static int
list_serials(struct ag_grow *g, const struct mp_boot *boot)
{
    unsigned n = 0;
    int r = 0;

    g->serials = calloc(boot->n_mounts + 2, sizeof(*g->serials));
    g->above = calloc(boot->n_mounts + 2, sizeof(*g->above));
    if (!g->serials || !g->above)
        return -ENOMEM;
    if (boot->root_kind == MP_ROOT_OVERLAY)
        r = add_serial(g, n++, UPPER_SERIAL, true);
    else if (boot->root_kind == MP_ROOT_DISK)
        r = add_serial(g, n++, boot->root_source, false);
    for (unsigned i = 0; i < boot->n_mounts && r == 0; i++) {
        const struct mp_mount *m = &boot->mounts[i];

        if (m->kind == MP_MOUNT_DISK && m->flags & (MP_MOUNT_GROW | MP_MOUNT_FOLLOW))
            r = add_serial(g, n++, m->source, m->flags & MP_MOUNT_GROW);
    }
    return r;
}

int
ag_grow_start(struct ag_grow *g, struct ag_loop *l, int events, const struct mp_boot *boot)
{
    int r = list_serials(g, boot);

    g->events.fd = events;
    g->events.cb = on_event;
    if (r == 0 && g->serials[0])
        return ag_watch_set(l, &g->events, EPOLLIN);
    mb_close(mb_steal_fd(&g->events.fd));
    return r;
}

void
ag_grow_clear(struct ag_grow *g, struct ag_loop *l)
{
    if (g->events.cb)
        ag_watch_close(l, &g->events);
    mp_strv_free(g->serials);
    g->serials = NULL;
    free(g->above);
    g->above = NULL;
}

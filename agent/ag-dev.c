/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding devices: ports by name, disks by serial, partitions by number, all in
 * sysfs.  What is not there yet is waited for by the kernel's uevents.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

#define SECTOR 512u

int
ag_dev_events(void)
{
    struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
    mb_autofd int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return -errno;
    return mb_steal_fd(&fd);
}

/* The entry of a sysfs class directory whose file attr says value; name gets it. */
static int
find_by_attr(const char *class, const char *attr, const char *value, char name[64])
{
    mb_autodir DIR *dir = opendir(class);
    struct dirent *de;

    if (!dir)
        return -errno;
    while ((de = readdir(dir))) {
        char path[300], text[128];

        if (de->d_name[0] == '.' || strlen(de->d_name) >= 32)
            continue;
        snprintf(path, sizeof(path), "%s/%s", de->d_name, attr);
        if (ag_read_line(dirfd(dir), path, text, sizeof(text)) == 0 && strcmp(text, value) == 0) {
            snprintf(name, 64, "%.63s", de->d_name);
            return 0;
        }
    }
    return -ENOENT;
}

static int
find_port(const char *name, char path[64])
{
    char port[64];
    int r = find_by_attr("/sys/class/virtio-ports", "name", name, port);

    if (r == 0)
        snprintf(path, 64, "/dev/%.32s", port);
    return r;
}

static int
find_disk(const char *serial, unsigned partition, char path[64])
{
    char disk[64], part[64], class[96], number[16];
    int r = find_by_attr("/sys/block", "serial", serial, disk);

    if (r < 0)
        return r;
    if (partition == 0) {
        snprintf(path, 64, "/dev/%.32s", disk);
        return 0;
    }
    snprintf(class, sizeof(class), "/sys/block/%s", disk);
    snprintf(number, sizeof(number), "%u", partition);
    r = find_by_attr(class, "partition", number, part);
    if (r == 0)
        snprintf(path, 64, "/dev/%.32s", part);
    return r;
}

int
ag_dev_find_disk(const char *serial, char path[64])
{
    return find_disk(serial, 0, path);
}

/* Sleep until something happens to a device; false when the time is over. */
static bool
wait_event(int events, uint64_t end)
{
    struct pollfd p = { .fd = events, .events = POLLIN };
    uint64_t now = ag_now_ns();
    char buf[4096];

    if (now >= end)
        return false;
    if (poll(&p, 1, (int)((end - now) / 1000000) + 1) < 0 && errno != EINTR)
        return false;
    while (recv(events, buf, sizeof(buf), MSG_DONTWAIT) > 0)
        ;
    return true;
}

int
ag_dev_wait_port(int events, const char *name, char path[64], struct ag_error *e)
{
    uint64_t end = ag_now_ns() + AG_DEVICE_WAIT_MS * UINT64_C(1000000);

    while (find_port(name, path) < 0) {
        if (!wait_event(events, end))
            return ag_fail(e, ENODEV, name, "There is no virtio-serial port of this name");
    }
    return 0;
}

int
ag_dev_wait_disk(int events, const char *serial, unsigned partition, char path[64], struct ag_error *e)
{
    uint64_t end = ag_now_ns() + AG_DEVICE_WAIT_MS * UINT64_C(1000000);

    while (find_disk(serial, partition, path) < 0) {
        if (wait_event(events, end))
            continue;
        if (partition > 0)
            return ag_fail(e, ENODEV, serial, "There is no partition %u on the disk of this serial",
                           partition);
        return ag_fail(e, ENODEV, serial, "There is no disk of this serial");
    }
    return 0;
}

static enum ag_part_use
part_use(const char *disk, unsigned number)
{
    mb_autofd int fd = open(disk, O_RDONLY | O_CLOEXEC);
    uint8_t guid[16];

    return fd < 0 || ag_probe_gpt_type(fd, SECTOR, number, guid) < 0 ? AG_PART_ANY : ag_probe_part_use(guid);
}

static int
by_number(const void *a, const void *b)
{
    const struct ag_part *x = a, *y = b;

    return (x->number > y->number) - (x->number < y->number);
}

int
ag_dev_partitions(const char *disk, struct ag_part *parts, unsigned max)
{
    char class[96];
    mb_autodir DIR *dir = NULL;
    struct dirent *de;
    unsigned n = 0;

    snprintf(class, sizeof(class), "/sys/block/%.32s", disk + strlen("/dev/"));
    dir = opendir(class);
    if (!dir)
        return -errno;
    while (n < max && (de = readdir(dir))) {
        char path[300], number[24], size[24], node[64];
        mb_autofd int fd = -1;

        if (de->d_name[0] == '.' || strlen(de->d_name) >= 32)
            continue;
        snprintf(path, sizeof(path), "%s/partition", de->d_name);
        if (ag_read_line(dirfd(dir), path, number, sizeof(number)) < 0)
            continue;
        snprintf(path, sizeof(path), "%s/size", de->d_name);
        if (ag_read_line(dirfd(dir), path, size, sizeof(size)) < 0)
            continue;
        snprintf(node, sizeof(node), "/dev/%.32s", de->d_name);
        fd = open(node, O_RDONLY | O_CLOEXEC);
        parts[n].number = (unsigned)strtoul(number, NULL, 10);
        parts[n].size = strtoull(size, NULL, 10);
        parts[n].fstype = fd < 0 ? NULL : ag_probe_fs(fd);
        parts[n].use = part_use(disk, parts[n].number);
        n++;
    }
    qsort(parts, n, sizeof(*parts), by_number);
    return (int)n;
}

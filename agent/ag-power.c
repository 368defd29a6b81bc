/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ACPI power button ("virsh shutdown"): its driver multicasts an event over
 * generic netlink, family "acpi_event".  Messages come from the kernel alone,
 * and are nevertheless walked with every length checked.
 */
#include <config.h>

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

#define FAMILY "acpi_event"
#define EVENT_ATTR 1

/* What the event attribute holds (drivers/acpi/event.c). */
struct acpi_event {
    char device_class[20];
    char bus_id[15];
    uint32_t type;
    uint32_t data;
};

/* Attribute of this type in n bytes at p, at least min bytes of payload; NULL when there is none. */
static const uint8_t *
find_attr(const uint8_t *p, size_t n, uint16_t type, size_t min, size_t *len)
{
    while (n >= NLA_HDRLEN) {
        struct nlattr a;
        size_t step;

        memcpy(&a, p, sizeof(a));
        if (a.nla_len < NLA_HDRLEN || a.nla_len > n)
            return NULL;
        if ((a.nla_type & NLA_TYPE_MASK) == type && (size_t)a.nla_len - NLA_HDRLEN >= min) {
            *len = (size_t)a.nla_len - NLA_HDRLEN;
            return p + NLA_HDRLEN;
        }
        step = NLA_ALIGN(a.nla_len);
        if (step >= n)
            return NULL;
        p += step;
        n -= step;
    }
    return NULL;
}

/* Ask for the family and take the number of its first multicast group out of the answer. */
static int
find_group(int fd, uint32_t *group)
{
    struct {
        struct nlmsghdr n;
        struct genlmsghdr g;
        struct nlattr a;
        char name[NLA_ALIGN(sizeof(FAMILY))];
    } req = {
        .n = { .nlmsg_len = sizeof(req), .nlmsg_type = GENL_ID_CTRL, .nlmsg_flags = NLM_F_REQUEST },
        .g = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 },
        .a = { .nla_len = NLA_HDRLEN + sizeof(FAMILY), .nla_type = CTRL_ATTR_FAMILY_NAME },
        .name = FAMILY,
    };
    uint8_t buf[8192];
    const uint8_t *groups, *first, *id;
    size_t n, len, head = NLMSG_HDRLEN + GENL_HDRLEN;
    ssize_t r;

    if (send(fd, &req, sizeof(req), 0) < 0)
        return -errno;
    r = recv(fd, buf, sizeof(buf), 0);
    if (r < 0)
        return -errno;
    n = (size_t)r;
    if (n < head || ((struct nlmsghdr *)(void *)buf)->nlmsg_type != GENL_ID_CTRL)
        return -ENOENT;
    groups = find_attr(buf + head, n - head, CTRL_ATTR_MCAST_GROUPS, NLA_HDRLEN, &len);
    first = groups ? find_attr(groups, len, 1, NLA_HDRLEN, &len) : NULL;
    id = first ? find_attr(first, len, CTRL_ATTR_MCAST_GRP_ID, sizeof(*group), &len) : NULL;
    if (!id)
        return -ENOENT;
    memcpy(group, id, sizeof(*group));
    return 0;
}

static void
power_event(struct ag_watch *w, uint32_t events)
{
    struct ag_power *p = MB_CONTAINER_OF(w, struct ag_power, netlink);
    const size_t head = NLMSG_HDRLEN + GENL_HDRLEN;
    uint8_t buf[4096];
    ssize_t r;

    while ((r = recv(w->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        struct acpi_event ev;
        size_t len;
        const uint8_t *attr =
            (size_t)r < head ? NULL : find_attr(buf + head, (size_t)r - head, EVENT_ATTR, sizeof(ev), &len);

        if (!attr)
            continue;
        memcpy(&ev, attr, sizeof(ev));
        if (strncmp(ev.device_class, "button/power", sizeof(ev.device_class)) == 0)
            p->pressed(p);
    }
}

int
ag_power_start(struct ag_power *p, struct ag_loop *l)
{
    mb_autofd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    uint32_t group;
    int r;

    if (fd < 0)
        return -errno;
    r = find_group(fd, &group);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
        return -errno;
    p->netlink.fd = mb_steal_fd(&fd);
    p->netlink.cb = power_event;
    return ag_watch_set(l, &p->netlink, EPOLLIN);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages of the front-end, see vuclient.h.
 */
#include <config.h>

#include "vuclient.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "vh-msg.h"
#include "vu-priv.h"

int
vu_send(struct vu *vu, uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds,
        unsigned n_fds)
{
    struct vh_msg msg = {.request = request, .flags = VH_MSG_VERSION | flags, .size = size, .n_fds = n_fds};

    if (size > sizeof(msg.u) || n_fds > VH_MSG_MAX_FDS)
        return -EMSGSIZE;
    if (size)
        memcpy(msg.u.bytes, payload, size);
    if (n_fds)
        memcpy(msg.fds, fds, n_fds * sizeof(fds[0]));
    return vh_msg_send(vu->sock, &msg);
}

/* Wait for the socket to be readable: 0 or -ETIMEDOUT. */
static int
wait_readable(int sock, int timeout_ms)
{
    struct pollfd p = {.fd = sock, .events = POLLIN};
    int r;

    do {
        r = poll(&p, 1, timeout_ms);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

int
vu_recv(struct vu *vu, uint32_t *request, void *payload, uint32_t cap, uint32_t *size, int *fd)
{
    struct vh_msg_reader reader = {0};
    struct vh_msg *msg = &reader.msg;
    int r;

    do {
        r = wait_readable(vu->sock, VU_TIMEOUT_MS);
        if (r == 0)
            r = vh_msg_read(&reader, vu->sock);
    } while (r == 0);
    if (r == -EPIPE)
        r = -ECONNRESET;
    if (r > 0 && !(msg->flags & VH_MSG_REPLY))
        r = -EPROTO;
    if (r > 0 && msg->size > cap)
        r = -EMSGSIZE;
    if (r < 0) {
        vh_msg_clear(msg);
        return r;
    }
    memcpy(payload, msg->u.bytes, msg->size);
    if (request)
        *request = msg->request;
    if (size)
        *size = msg->size;
    if (fd)
        *fd = vh_msg_steal_fd(msg, 0);
    vh_msg_clear(msg);
    return 0;
}

int
vu_request(struct vu *vu, uint32_t request, const void *payload, uint32_t size, const int *fds,
           unsigned n_fds)
{
    bool ack = vu_has_protocol(vu, VH_PROTOCOL_F_REPLY_ACK);
    uint64_t answer = 0;
    uint32_t answered, got = 0;
    int r;

    r = vu_send(vu, request, ack ? VH_MSG_NEED_REPLY : 0, payload, size, fds, n_fds);
    if (r < 0 || !ack)
        return r;
    r = vu_recv(vu, &answered, &answer, sizeof(answer), &got, NULL);
    if (r == 0 && (got != sizeof(answer) || answered != request))
        r = -EPROTO;
    if (r == 0 && answer != 0)
        r = -EREMOTEIO;
    return r;
}

int
vu_get_u64(struct vu *vu, uint32_t request, uint64_t *value)
{
    uint32_t answered = 0, size = 0;
    int r;

    r = vu_send(vu, request, 0, NULL, 0, NULL, 0);
    if (r == 0)
        r = vu_recv(vu, &answered, value, sizeof(*value), &size, NULL);
    if (r == 0 && (size != sizeof(*value) || answered != request))
        r = -EPROTO;
    return r;
}

int
vu_wait_hangup(struct vu *vu, int timeout_ms)
{
    char byte;
    int r;

    do {
        r = wait_readable(vu->sock, timeout_ms);
    } while (r == 0 && read(vu->sock, &byte, 1) > 0);
    return r;
}

int
vu_get_config(struct vu *vu, uint32_t offset, void *buf, uint32_t len)
{
    struct vh_config c = {.offset = offset, .size = len};
    uint32_t size = 0;
    int r;

    if (len > VH_CONFIG_MAX)
        return -EINVAL;
    r = vu_send(vu, VH_GET_CONFIG, 0, &c, (uint32_t)VH_CONFIG_HEADER + len, NULL, 0);
    if (r == 0)
        r = vu_recv(vu, NULL, &c, sizeof(c), &size, NULL);
    if (r == 0 && size == 0)
        return -EREMOTEIO;
    if (r == 0 && size != VH_CONFIG_HEADER + len)
        r = -EPROTO;
    if (r == 0)
        memcpy(buf, c.data, len);
    return r;
}

int
vu_set_config(struct vu *vu, uint32_t offset, const void *buf, uint32_t len)
{
    struct vh_config c = {.offset = offset, .size = len};

    if (len > VH_CONFIG_MAX)
        return -EINVAL;
    memcpy(c.data, buf, len);
    return vu_request(vu, VH_SET_CONFIG, &c, (uint32_t)VH_CONFIG_HEADER + len, NULL, 0);
}

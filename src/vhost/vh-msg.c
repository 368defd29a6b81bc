/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages on the socket, see vh-msg.h.  The header is packed on the wire and
 * not in struct vh_msg, whose payload is aligned for direct use; it therefore
 * travels through a buffer of its own.
 */
#include <config.h>

#include "vh-msg.h"

#include <errno.h>
#include <string.h>

#include "mb-cleanup.h"
#include "mb-io.h"

#define WIRE_HEADER sizeof(((struct vh_msg_reader *)0)->header)

static void
decode_header(struct vh_msg_reader *r)
{
    memcpy(&r->msg.request, r->header, 4);
    memcpy(&r->msg.flags, r->header + 4, 4);
    memcpy(&r->msg.size, r->header + 8, 4);
}

/* Receive up to len bytes of the message at to, with what descriptors come along. */
static int
receive(struct vh_msg_reader *r, int sock, uint8_t *to, size_t len)
{
    unsigned n_fds = 0;
    ssize_t n;

    n = mb_recv_fds(sock, to, len, r->msg.fds + r->msg.n_fds, VH_MSG_MAX_FDS - r->msg.n_fds, &n_fds);
    if (n == -EAGAIN)
        return 0;
    if (n < 0)
        return (int)n;
    if (n == 0)
        return r->got == 0 ? -EPIPE : -ECONNRESET;
    r->msg.n_fds += n_fds;
    r->got += (size_t)n;
    return 1;
}

int
vh_msg_read(struct vh_msg_reader *r, int sock)
{
    int ret;

    if (r->got < WIRE_HEADER) {
        ret = receive(r, sock, r->header + r->got, WIRE_HEADER - r->got);
        if (ret <= 0)
            return ret;
        if (r->got < WIRE_HEADER)
            return 0;
        decode_header(r);
        if ((r->msg.flags & VH_MSG_VERSION_MASK) != VH_MSG_VERSION || r->msg.size > VH_MSG_MAX_PAYLOAD)
            return -EPROTO;
    } else {
        size_t payload = r->got - WIRE_HEADER;

        ret = receive(r, sock, r->msg.u.bytes + payload, r->msg.size - payload);
        if (ret <= 0)
            return ret;
    }
    if (r->got < WIRE_HEADER + r->msg.size)
        return 0;
    r->got = 0;
    return 1;
}

void
vh_msg_clear(struct vh_msg *msg)
{
    mb_close_fds(msg->fds, msg->n_fds);
    msg->n_fds = 0;
}

int
vh_msg_steal_fd(struct vh_msg *msg, unsigned i)
{
    return i < msg->n_fds ? mb_steal_fd(&msg->fds[i]) : -1;
}

int
vh_msg_send(int sock, const struct vh_msg *msg)
{
    uint8_t wire[WIRE_HEADER + VH_MSG_MAX_PAYLOAD];

    if (msg->size > VH_MSG_MAX_PAYLOAD)
        return -EMSGSIZE;
    memcpy(wire, &msg->request, 4);
    memcpy(wire + 4, &msg->flags, 4);
    memcpy(wire + 8, &msg->size, 4);
    memcpy(wire + WIRE_HEADER, msg->u.bytes, msg->size);
    return mb_send_fds(sock, wire, WIRE_HEADER + msg->size, msg->fds, msg->n_fds);
}

const char *
vh_request_name(uint32_t request)
{
    static const char *const names[VH_REQUEST_LIMIT] = {
        [VH_GET_FEATURES] = "GET_FEATURES",
        [VH_SET_FEATURES] = "SET_FEATURES",
        [VH_SET_OWNER] = "SET_OWNER",
        [VH_RESET_OWNER] = "RESET_OWNER",
        [VH_SET_MEM_TABLE] = "SET_MEM_TABLE",
        [VH_SET_LOG_BASE] = "SET_LOG_BASE",
        [VH_SET_LOG_FD] = "SET_LOG_FD",
        [VH_SET_VRING_NUM] = "SET_VRING_NUM",
        [VH_SET_VRING_ADDR] = "SET_VRING_ADDR",
        [VH_SET_VRING_BASE] = "SET_VRING_BASE",
        [VH_GET_VRING_BASE] = "GET_VRING_BASE",
        [VH_SET_VRING_KICK] = "SET_VRING_KICK",
        [VH_SET_VRING_CALL] = "SET_VRING_CALL",
        [VH_SET_VRING_ERR] = "SET_VRING_ERR",
        [VH_GET_PROTOCOL_FEATURES] = "GET_PROTOCOL_FEATURES",
        [VH_SET_PROTOCOL_FEATURES] = "SET_PROTOCOL_FEATURES",
        [VH_GET_QUEUE_NUM] = "GET_QUEUE_NUM",
        [VH_SET_VRING_ENABLE] = "SET_VRING_ENABLE",
        [VH_SET_BACKEND_REQ_FD] = "SET_BACKEND_REQ_FD",
        [VH_GET_CONFIG] = "GET_CONFIG",
        [VH_SET_CONFIG] = "SET_CONFIG",
        [VH_GET_INFLIGHT_FD] = "GET_INFLIGHT_FD",
        [VH_SET_INFLIGHT_FD] = "SET_INFLIGHT_FD",
        [VH_RESET_DEVICE] = "RESET_DEVICE",
        [VH_GET_MAX_MEM_SLOTS] = "GET_MAX_MEM_SLOTS",
        [VH_ADD_MEM_REG] = "ADD_MEM_REG",
        [VH_REM_MEM_REG] = "REM_MEM_REG",
    };

    return request < VH_REQUEST_LIMIT && names[request] ? names[request] : "unknown";
}

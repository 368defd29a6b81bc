/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wire form of the vhost-user protocol (QEMU, "Vhost-user Protocol"):
 * header, payloads, numbers, and an incremental reader.  Integers are in host
 * byte order, as the specification has it.
 */
#ifndef VH_MSG_H
#define VH_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "mb-macros.h"

enum vh_request {
    VH_GET_FEATURES = 1,
    VH_SET_FEATURES = 2,
    VH_SET_OWNER = 3,
    VH_RESET_OWNER = 4,
    VH_SET_MEM_TABLE = 5,
    VH_SET_LOG_BASE = 6,
    VH_SET_LOG_FD = 7,
    VH_SET_VRING_NUM = 8,
    VH_SET_VRING_ADDR = 9,
    VH_SET_VRING_BASE = 10,
    VH_GET_VRING_BASE = 11,
    VH_SET_VRING_KICK = 12,
    VH_SET_VRING_CALL = 13,
    VH_SET_VRING_ERR = 14,
    VH_GET_PROTOCOL_FEATURES = 15,
    VH_SET_PROTOCOL_FEATURES = 16,
    VH_GET_QUEUE_NUM = 17,
    VH_SET_VRING_ENABLE = 18,
    VH_SET_BACKEND_REQ_FD = 21,
    VH_GET_CONFIG = 24,
    VH_SET_CONFIG = 25,
    VH_GET_INFLIGHT_FD = 31,
    VH_SET_INFLIGHT_FD = 32,
    VH_RESET_DEVICE = 34,
    VH_GET_MAX_MEM_SLOTS = 36,
    VH_ADD_MEM_REG = 37,
    VH_REM_MEM_REG = 38,
};
#define VH_REQUEST_LIMIT 39             /* above every number we know */

#define VH_BACKEND_CONFIG_CHANGE 2      /* back-end to front-end */

enum vh_protocol_feature {
    VH_PROTOCOL_F_MQ = 0,
    VH_PROTOCOL_F_REPLY_ACK = 3,
    VH_PROTOCOL_F_BACKEND_REQ = 5,
    VH_PROTOCOL_F_CONFIG = 9,
    VH_PROTOCOL_F_INFLIGHT_SHMFD = 12,
    VH_PROTOCOL_F_RESET_DEVICE = 13,
    VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
};

#define VH_F_PROTOCOL_FEATURES 30       /* VHOST_USER_F_PROTOCOL_FEATURES among the virtio features */

#define VH_MSG_VERSION 1u
#define VH_MSG_VERSION_MASK 3u
#define VH_MSG_REPLY 4u
#define VH_MSG_NEED_REPLY 8u

#define VH_MSG_MAX_FDS 8
#define VH_MSG_MAX_PAYLOAD 512          /* the largest that we know has 268 bytes */
#define VH_CONFIG_MAX 256               /* bytes of configuration space in one message */
#define VH_VRING_INDEX_MASK 0xffu       /* of the u64 with a descriptor */
#define VH_VRING_NOFD 0x100u

struct vh_vring_state {
    uint32_t index;
    uint32_t num;
};

struct vh_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;                      /* user addresses */
    uint64_t used;
    uint64_t avail;
    uint64_t log;
};

struct vh_mem_region_msg {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t mmap_offset;
};

#define VH_MEM_TABLE_MAX 8
struct vh_mem_table {
    uint32_t n_regions;
    uint32_t padding;
    struct vh_mem_region_msg region[VH_MEM_TABLE_MAX];
};

struct vh_single_region {
    uint64_t padding;
    struct vh_mem_region_msg region;
};

struct vh_config {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t data[VH_CONFIG_MAX];
};
#define VH_CONFIG_HEADER offsetof(struct vh_config, data)

struct vh_inflight_msg {
    uint64_t mmap_size;
    uint64_t mmap_offset;
    uint16_t n_queues;
    uint16_t queue_size;
};
/* QEMU sends the structure with its padding, others without. */
#define VH_INFLIGHT_MSG_MIN 20

struct vh_msg {
    uint32_t request;
    uint32_t flags;
    uint32_t size;                      /* of the payload */
    union {
        uint64_t u64;
        struct vh_vring_state state;
        struct vh_vring_addr addr;
        struct vh_mem_table memory;
        struct vh_single_region region;
        struct vh_config config;
        struct vh_inflight_msg inflight;
        uint8_t bytes[VH_MSG_MAX_PAYLOAD];
    } u;
    int fds[VH_MSG_MAX_FDS];            /* not on the wire: owned by the message */
    unsigned n_fds;
};

/* A message that is being received. Zero-initialise. */
struct vh_msg_reader {
    struct vh_msg msg;
    uint8_t header[12];
    size_t got;                         /* bytes of header and payload so far */
};

/* Read what the socket has, at most up to the message's end.  1: msg is complete (its
 * descriptors belong to the caller, who calls vh_msg_clear()); 0: more to come;
 * -EPIPE: the peer hung up between messages; other -errno: the stream is unusable. */
int vh_msg_read(struct vh_msg_reader *r, int sock) MB_MUST_CHECK;

/* Close the descriptors that are still in the message. */
void vh_msg_clear(struct vh_msg *msg);

/* Take descriptor i out of the message. */
int vh_msg_steal_fd(struct vh_msg *msg, unsigned i);

/* Send header and payload of msg and its descriptors (which stay the caller's). 0 or -errno. */
int vh_msg_send(int sock, const struct vh_msg *msg) MB_MUST_CHECK;

/* "SET_MEM_TABLE", for logs. */
const char *vh_request_name(uint32_t request);

#endif

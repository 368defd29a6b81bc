/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The message stream of a front-end against a device.
 *
 * Input: messages of request (u8), kind (u8), payload size (u16), payload.
 * Bits of kind: 0-2 number of descriptors, 3 memory instead of eventfds, 4
 * need_reply, 5 a size in the header that is not the payload's, 6 and 7 a
 * wrong version.  All are sent, then the front-end leaves; the device reads
 * them and has to end.  Memory that is shared holds the input itself.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "mb-cleanup.h"
#include "mb-io.h"
#include "mb-log.h"
#include "mb-overflow.h"
#include "vh-dev.h"
#include "vh-msg.h"

#define MAX_MESSAGES 48
#define MEMORY (1u << 20)

static char config_space[64];

static int
get_config(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
    if (!mb_range_within(offset, len, sizeof(config_space)))
        return -1;
    memcpy(buf, config_space + offset, len);
    return 0;
}

static int
set_config(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
    if (!mb_range_within(offset, len, sizeof(config_space)))
        return -1;
    memcpy(config_space + offset, buf, len);
    return 0;
}

/* Touches what it is given, and gives it back. */
static void
process(void *opaque, struct vh_queue *q)
{
    struct iovec iov[32];
    struct vh_req req = {.iov = iov, .iov_cap = 32};

    while (vh_queue_pop(q, &req) == 1) {
        unsigned i;

        for (i = 0; i < req.n_in; i++)
            memset(vh_req_in(&req)[i].iov_base, 1, vh_req_in(&req)[i].iov_len);
        vh_queue_push(q, &req, 1);
    }
}

static const struct vh_dev_ops ops = {
    .name = "fuzz",
    .max_queues = 3,
    .get_config = get_config,
    .set_config = set_config,
    .process = process,
};

static bool
send_one(int sock, int memory, struct fuzz_input *in)
{
    uint32_t header[3];
    uint8_t wire[12 + VH_MSG_MAX_PAYLOAD], kind;
    uint16_t size;
    int fds[8] = {0};
    unsigned i, n_fds;
    bool sent;

    header[0] = fuzz_u8(in);
    kind = fuzz_u8(in);
    size = fuzz_u16(in);
    header[1] = (VH_MSG_VERSION ^ kind >> 6) | (kind & 0x10 ? VH_MSG_NEED_REPLY : 0);
    size = (uint16_t)MB_MIN(size, VH_MSG_MAX_PAYLOAD);
    header[2] = kind & 0x20 ? fuzz_u16(in) : size;
    memcpy(wire, header, sizeof(header));
    fuzz_take(in, wire + sizeof(header), size);
    n_fds = kind & 7;
    for (i = 0; i < n_fds; i++)
        fds[i] = kind & 8 ? memory : eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    sent = mb_send_fds(sock, wire, sizeof(header) + size, fds, n_fds) == 0;
    for (i = 0; i < n_fds && !(kind & 8); i++)
        mb_close(fds[i]);
    return sent;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    mb_autofd int memory = memfd_create("fuzz", MFD_CLOEXEC);
    struct vh_loop *loop = vh_loop_new();
    struct vh_dev *dev = vh_dev_new(&ops, NULL);
    int pair[2];
    unsigned i;

    mb_log_set_level(MB_LOG_ERROR);
    mb_log_set_fd(-1);
    if (memory < 0 || !loop || !dev || ftruncate(memory, MEMORY) < 0 ||
        (size && pwrite(memory, data, MB_MIN(size, MEMORY), 0) < 0) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    for (i = 0; i < MAX_MESSAGES && in.left > 0; i++) {
        if (!send_one(pair[0], memory, &in))
            break;
    }
    shutdown(pair[0], SHUT_WR);
    if (vh_dev_serve(dev, loop, pair[1]) > 0)
        abort();
    close(pair[0]);
    vh_dev_free(dev);
    vh_loop_free(loop);
    return 0;
}

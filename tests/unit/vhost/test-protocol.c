/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages: what the front-end may say and what it may not.  A message that is
 * wrong is refused (REPLY_ACK) or ends the connection (without); the device is
 * ready for the next front-end in any case.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mb-io.h"
#include "mb-log.h"
#include "rig.h"
#include "vh-dev.h"
#include "vh-mem.h"
#include "vh-msg.h"

#define BIT(n) (UINT64_C(1) << (n))
#define MAX_FDS 12

/* ---- what is offered ------------------------------------------------------------------- */

static void
test_features(void)
{
    struct rig rig;
    uint64_t v = 0;

    if (!open_rig(&rig, (struct vu_options){.no_start = true}))
        return;
    v = rig.vu->features_offered;
    ok((v & BIT(VIRTIO_F_VERSION_1)) && (v & BIT(VIRTIO_RING_F_INDIRECT_DESC)) &&
           (v & BIT(VIRTIO_RING_F_EVENT_IDX)) && (v & BIT(VH_F_PROTOCOL_FEATURES)) && (v & 1),
       "version 1, indirect, event index, protocol, the device's own");
    ok(!(v & BIT(26)) && !(v & BIT(VIRTIO_F_RING_PACKED)), "no logging, no packed rings");
    v = rig.vu->protocol_offered;
    ok((v & BIT(VH_PROTOCOL_F_MQ)) && (v & BIT(VH_PROTOCOL_F_REPLY_ACK)) && (v & BIT(VH_PROTOCOL_F_CONFIG)) &&
           (v & BIT(VH_PROTOCOL_F_INFLIGHT_SHMFD)) && (v & BIT(VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) &&
           (v & BIT(VH_PROTOCOL_F_RESET_DEVICE)) && (v & BIT(VH_PROTOCOL_F_BACKEND_REQ)),
       "protocol features");
    ok(!(v & BIT(1)), "no log in shared memory");
    v = BIT(63);
    eq_int(vu_request(rig.vu, VH_SET_FEATURES, &v, sizeof(v), NULL, 0), -EREMOTEIO,
           "a feature not offered is refused");
    eq_int(vu_get_u64(rig.vu, VH_GET_MAX_MEM_SLOTS, &v), 0, "memory slots are told");
    eq_int(v, VH_MEM_MAX_REGIONS, "as many as there are");
    eq_int(close_rig(&rig), 0, "the connection lived on");
}

static void
test_config(void)
{
    struct rig rig;
    char buf[TOY_CONFIG_SIZE + 1] = {0};

    if (!open_rig(&rig, (struct vu_options){.no_start = true}))
        return;
    eq_int(vu_set_config(rig.vu, 3, "hello", 5), 0, "configuration is written");
    eq_int(vu_get_config(rig.vu, 2, buf, 7), 0, "and read");
    ok(memcmp(buf, "\0hello\0", 7) == 0, "the same");
    eq_int(vu_get_config(rig.vu, 0, buf, TOY_CONFIG_SIZE + 1), -EREMOTEIO, "reading past its end is refused");
    eq_int(vu_get_config(rig.vu, 0xffffffff, buf, 1), -EREMOTEIO, "an offset that wraps is refused");
    eq_int(vu_set_config(rig.vu, TOY_CONFIG_SIZE, "x", 1), -EREMOTEIO, "writing past its end is refused");
    eq_int(close_rig(&rig), 0, "the connection lived on");
}

static void
test_backend_channel(void)
{
    struct rig rig;
    struct vh_msg_reader reader = {0};
    int pair[2], r;
    uint64_t protocol;

    if (!open_rig(&rig, (struct vu_options){.no_start = true}))
        return;
    eq_int(vh_dev_config_changed(rig.toy.dev), -ENOTSUP, "no back-end channel, no news");
    /* vuclient does not take it by itself. */
    protocol = rig.vu->protocol | BIT(VH_PROTOCOL_F_BACKEND_REQ);
    vu_request(rig.vu, VH_SET_PROTOCOL_FEATURES, &protocol, sizeof(protocol), NULL, 0);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return;
    eq_int(vu_request(rig.vu, VH_SET_BACKEND_REQ_FD, NULL, 0, NULL, 0), -EREMOTEIO,
           "a back-end channel that is none");
    eq_int(vu_request(rig.vu, VH_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0, "a back-end channel is given");
    eq_int(vh_dev_config_changed(rig.toy.dev), 0, "a change of the configuration is told");
    do {
        r = vh_msg_read(&reader, pair[0]);
    } while (r == 0);
    ok(r == 1 && reader.msg.request == VH_BACKEND_CONFIG_CHANGE && reader.msg.size == 0, "on that channel");
    close(pair[0]);
    close(pair[1]);
    close_rig(&rig);
}

/* ---- memory ------------------------------------------------------------------------------- */

static void
test_slots(void)
{
    struct vh_single_region s = {0};
    struct rig rig;
    unsigned i, added = 0;
    int fd, r = 0;

    if (!open_rig(&rig, (struct vu_options){.queues = 1}))
        return;
    fd = memfd_create("slots", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 64 * 4096) < 0)
        return;
    for (i = 0; i < VH_MEM_MAX_REGIONS; i++) {
        s.region = (struct vh_mem_region_msg){i * 8192, 4096, 0x1000 + i * 8192, i * 4096};
        r = vu_request(rig.vu, VH_ADD_MEM_REG, &s, sizeof(s), &fd, 1);
        if (r < 0)
            break;
        added++;
        if (added % 16 == 0)
            ok(echo_works(rig.vu, 0), "%u slots added while the queue runs: it works", added);
    }
    eq_int(r, -EREMOTEIO, "one slot too many is refused");
    eq_int(added, VH_MEM_MAX_REGIONS - 1, "no slot too few");
    s.region = (struct vh_mem_region_msg){0, 4096, 0x1000, 0};
    eq_int(vu_request(rig.vu, VH_REM_MEM_REG, &s, sizeof(s), NULL, 0), 0, "a slot is removed");
    eq_int(vu_request(rig.vu, VH_REM_MEM_REG, &s, sizeof(s), NULL, 0), -EREMOTEIO, "but not twice");
    s.region.guest_addr = 8192 - 2048;
    eq_int(vu_request(rig.vu, VH_ADD_MEM_REG, &s, sizeof(s), &fd, 1), -EREMOTEIO, "an overlap is refused");
    s.region = (struct vh_mem_region_msg){UINT64_MAX - 10, 4096, 0x1000, 0};
    eq_int(vu_request(rig.vu, VH_ADD_MEM_REG, &s, sizeof(s), &fd, 1), -EREMOTEIO,
           "a region that wraps is refused");
    s.region = (struct vh_mem_region_msg){0, 0, 0x1000, 0};
    eq_int(vu_request(rig.vu, VH_ADD_MEM_REG, &s, sizeof(s), &fd, 1), -EREMOTEIO,
           "an empty region is refused");
    s.region = (struct vh_mem_region_msg){0, 4096, 0x1000, 64 * 4096};
    eq_int(vu_request(rig.vu, VH_ADD_MEM_REG, &s, sizeof(s), &fd, 1), -EREMOTEIO,
           "a region past the file is refused");
    s.region = (struct vh_mem_region_msg){0, 1024, 0x1000, 512};
    eq_int(vu_request(rig.vu, VH_ADD_MEM_REG, &s, sizeof(s), &fd, 1), 0, "an offset within a page is right");
    ok(echo_works(rig.vu, 0), "the queue works still");
    close(fd);
    eq_int(close_rig(&rig), 0, "the connection lived on");
}

/* The region that the rings are in goes away under a running queue, and comes back. */
static void
test_memory_goes(void)
{
    struct vh_single_region s = {0};
    struct rig rig;

    if (!open_rig(&rig, (struct vu_options){.queues = 1}))
        return;
    ok(echo_works(rig.vu, 0), "a queue runs");
    s.region = (struct vh_mem_region_msg){VU_GPA_BASE, rig.vu->mem_size, (uintptr_t)rig.vu->mem, 0};
    eq_int(vu_request(rig.vu, VH_REM_MEM_REG, &s, sizeof(s), NULL, 0), 0, "its memory is removed");
    eq_int(rig.toy.stopped, 1, "it stopped");
    eq_int(vu_wait_err(rig.vu, 0, VU_TIMEOUT_MS), 1, "the front-end hears of it");
    eq_int(vu_request(rig.vu, VH_ADD_MEM_REG, &s, sizeof(s), &rig.vu->mem_fd, 1), 0, "the memory comes back");
    ok(echo_works(rig.vu, 0), "and the queue goes on");
    eq_int(rig.toy.started, 2, "started anew");
    eq_int(close_rig(&rig), 0, "the connection lived on");
}

/* The same with a whole table, of which the first has a region that overlaps. */
static void
test_bad_table(void)
{
    struct vh_mem_table t = {.n_regions = 2};
    const uint32_t size = offsetof(struct vh_mem_table, region) + 2 * sizeof(t.region[0]);
    struct rig rig;
    int fds[2];

    if (!open_rig(&rig, (struct vu_options){.protocol_off = BIT(VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS)}))
        return;
    fds[0] = fds[1] = rig.vu->mem_fd;
    t.region[0] = (struct vh_mem_region_msg){VU_GPA_BASE, rig.vu->mem_size, (uintptr_t)rig.vu->mem, 0};
    t.region[1] = (struct vh_mem_region_msg){VU_GPA_BASE + 4096, 4096, 0, 0};
    eq_int(vu_request(rig.vu, VH_SET_MEM_TABLE, &t, size, fds, 2), -EREMOTEIO,
           "a table with an overlap is refused");
    t.region[1] = (struct vh_mem_region_msg){0, 4096, 0, 0};
    eq_int(vu_request(rig.vu, VH_SET_MEM_TABLE, &t, size, fds, 1), -EREMOTEIO,
           "one with too few descriptors too");
    eq_int(vu_request(rig.vu, VH_SET_MEM_TABLE, &t, size - 1, fds, 2), -EREMOTEIO,
           "and one that is cut short");
    t.n_regions = UINT32_MAX;
    eq_int(vu_request(rig.vu, VH_SET_MEM_TABLE, &t, size, fds, 2), -EREMOTEIO, "and one of 2^32 - 1 regions");
    t.n_regions = 2;
    eq_int(vu_request(rig.vu, VH_SET_MEM_TABLE, &t, size, fds, 2), 0, "a good one is taken");
    ok(echo_works(rig.vu, 0), "and the queue goes on");
    eq_int(close_rig(&rig), 0, "the connection lived on");
}

/* ---- rings --------------------------------------------------------------------------------- */

struct ring_case {
    const char *name;
    uint32_t num;
    int64_t desc, avail, used; /* offsets into memory */
};

static void
test_ring_setup(void)
{
    static const struct ring_case cases[] = {
        {"ring size 0", 0, 0, 4096, 8192},
        {"ring size 3", 3, 0, 4096, 8192},
        {"ring size 2048", 2048, 0, 65536, 131072},
        {"ring size 2^31", 1u << 31, 0, 4096, 8192},
        {"descriptor table misaligned", 64, 8, 4096, 8192},
        {"available ring misaligned", 64, 0, 4097, 8192},
        {"used ring misaligned", 64, 0, 4096, 8194},
        {"descriptor table outside", 64, -4096, 4096, 8192},
        {"available ring ends outside", 64, 0, (64 << 20) - 64, 8192},
        {"used ring ends outside", 64, 0, 4096, (64 << 20) - 64},
        {"used ring at the address space's end", 64, 0, 4096, INT64_MIN},
    };
    struct rig rig;
    unsigned i;

    if (!open_rig(&rig, (struct vu_options){.queues = 1}))
        return;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct ring_case *c = &cases[i];
        uintptr_t base = (uintptr_t)rig.vu->mem;
        struct vh_vring_state num = {1, c->num}, enable = {1, 1};
        struct vh_vring_addr addr = {
            .index = 1,
            .desc = base + (uint64_t)c->desc,
            .avail = base + (uint64_t)c->avail,
            .used = base + (uint64_t)c->used,
        };
        uint64_t index = 1;
        int kick = eventfd(0, EFD_CLOEXEC), r;

        r = vu_request(rig.vu, VH_SET_VRING_NUM, &num, sizeof(num), NULL, 0);
        if (r == 0)
            r = vu_request(rig.vu, VH_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
        if (r == 0)
            r = vu_request(rig.vu, VH_SET_VRING_KICK, &index, sizeof(index), &kick, 1);
        if (r == 0)
            r = vu_request(rig.vu, VH_SET_VRING_ENABLE, &enable, sizeof(enable), NULL, 0);
        eq_int(r, -EREMOTEIO, c->name);
        vu_stop_queue(rig.vu, 1);
        enable.num = 0;
        vu_request(rig.vu, VH_SET_VRING_ENABLE, &enable, sizeof(enable), NULL, 0);
        close(kick);
    }
    ok(echo_works(rig.vu, 0), "the ring that is right works still");
    eq_int(close_rig(&rig), 0, "the connection lived on");
}

static void
test_ring_messages(void)
{
    struct rig rig;
    struct vh_vring_state s = {TOY_MAX_QUEUES, 64};
    uint64_t v;
    int fd = eventfd(0, EFD_CLOEXEC);

    if (!open_rig(&rig, (struct vu_options){.queues = 1}))
        return;
    eq_int(vu_request(rig.vu, VH_SET_VRING_NUM, &s, sizeof(s), NULL, 0), -EREMOTEIO, "a queue that is none");
    s.index = UINT32_MAX;
    eq_int(vu_request(rig.vu, VH_SET_VRING_BASE, &s, sizeof(s), NULL, 0), -EREMOTEIO, "nor that one");
    s = (struct vh_vring_state){0, 64};
    eq_int(vu_request(rig.vu, VH_SET_VRING_NUM, &s, sizeof(s), NULL, 0), -EREMOTEIO,
           "the size of a running ring");
    eq_int(vu_request(rig.vu, VH_SET_VRING_BASE, &s, sizeof(s), NULL, 0), -EREMOTEIO,
           "the base of a running ring");
    s = (struct vh_vring_state){1, 65536};
    eq_int(vu_request(rig.vu, VH_SET_VRING_BASE, &s, sizeof(s), NULL, 0), -EREMOTEIO,
           "a base that does not exist");
    v = 0x100;
    eq_int(vu_request(rig.vu, VH_SET_VRING_KICK, &v, sizeof(v), &fd, 1), -EREMOTEIO,
           "no descriptor meant, one there");
    eq_int(vu_request(rig.vu, VH_SET_VRING_CALL, &v, sizeof(v), NULL, 0), 0, "no call descriptor is right");
    v = 0;
    eq_int(vu_request(rig.vu, VH_SET_VRING_CALL, &v, sizeof(v), NULL, 0), -EREMOTEIO,
           "a descriptor meant, none there");
    eq_int(vu_request(rig.vu, VH_SET_VRING_CALL, &v, sizeof(v), &rig.vu->q[0].call_fd, 1), 0,
           "a call descriptor");
    v = 0x200;
    eq_int(vu_request(rig.vu, VH_SET_VRING_ERR, &v, sizeof(v), &fd, 1), -EREMOTEIO,
           "flags that mean nothing");
    v = rig.vu->features & ~BIT(VIRTIO_RING_F_EVENT_IDX);
    eq_int(vu_request(rig.vu, VH_SET_FEATURES, &v, sizeof(v), NULL, 0), -EREMOTEIO,
           "features while a queue runs");
    ok(echo_works(rig.vu, 0), "the queue works still");
    eq_int(vu_request(rig.vu, VH_RESET_DEVICE, NULL, 0, NULL, 0), 0, "the device is reset");
    eq_int(rig.toy.resets, 1, "it knows");
    vu_reset_ring(rig.vu, 0);
    eq_int(vu_start_queue(rig.vu, 0), 0, "the queue starts as new");
    ok(echo_works(rig.vu, 0), "and works");
    close(fd);
    eq_int(close_rig(&rig), 0, "the connection lived on");
}

/* ---- malformed messages ---------------------------------------------------------------------- */

/* Every message with every wrong number of descriptors and a set of wrong sizes: refused where an
 * answer was asked for, and the connection ended where not.  Never anything else. */
static void
test_sizes_and_fds(bool ack)
{
    static const uint32_t sizes[] = {0, 1, 4, 7, 8, 9, 12, 16, 20, 23, 24, 39, 40, 41, 264, 265, 268, 512};
    uint8_t payload[VH_MSG_MAX_PAYLOAD];
    unsigned request, i, n_fds, answered = 0, ended = 0, other = 0;
    int fds[MAX_FDS], fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    for (i = 0; i < MAX_FDS; i++)
        fds[i] = fd;
    memset(payload, 0xff, sizeof(payload));
    for (request = 0; request < VH_REQUEST_LIMIT + 3; request++) {
        for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (n_fds = 0; n_fds <= 8; n_fds += n_fds ? 7 : 1) {
                struct rig rig;
                uint64_t v;
                int r;

                if (!open_rig(&rig,
                              (struct vu_options){.no_start = true, .memory = 1 << 20, .queue_size = 4}))
                    return;
                vu_send(rig.vu, request, ack ? VH_MSG_NEED_REPLY : 0, payload, sizes[i], fds, n_fds);
                /* Either it answers, and this is still a conversation, or it hung up. */
                r = vu_get_u64(rig.vu, VH_GET_FEATURES, &v);
                if (r == 0)
                    answered++;
                else if (r == -ECONNRESET || r == -EPIPE)
                    ended++;
                else if (r == -EPROTO || r == -EMSGSIZE)
                    other++;
                else
                    ok(false, "message %u of %u bytes: %s", request, sizes[i], strerror(-r));
                close_rig(&rig);
            }
        }
    }
    close(fd);
    ok(answered + ended + other > 2000, "%s: %u messages, %u went on, %u ended it, %u had an answer",
       ack ? "answers wanted" : "no answers", answered + ended + other, answered, ended, other);
}

/* Headers that cannot be followed by anything. */
static void
test_framing(void)
{
    static const struct {
        const char *name;
        uint32_t header[3];
    } cases[] = {
        {"a payload of 4 GiB", {VH_SET_FEATURES, 1, UINT32_MAX}},
        {"a payload of one byte more than fits", {VH_SET_FEATURES, 1, VH_MSG_MAX_PAYLOAD + 1}},
        {"version 0", {VH_GET_FEATURES, 0, 0}},
        {"version 2", {VH_GET_FEATURES, 2, 0}},
    };
    unsigned i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig rig;

        if (!open_rig(&rig, (struct vu_options){.no_start = true}))
            return;
        eq_int(mb_write_full(rig.vu->sock, cases[i].header, 12), 0, cases[i].name);
        eq_int(vu_wait_hangup(rig.vu, VU_TIMEOUT_MS), 0, "  ends the connection");
        eq_int(close_rig(&rig), -EPROTO, "  with an error");
    }
}

/* The front-end leaves after n bytes of a message, for every n, also with descriptors in it. */
static void
test_leaving(void)
{
    struct {
        uint32_t header[3];
        uint64_t payload;
    } __attribute__((packed)) msg = {{VH_SET_VRING_CALL, 1, 8}, 0};
    unsigned n;

    for (n = 0; n <= sizeof(msg); n++) {
        int fd = eventfd(0, EFD_CLOEXEC), r;
        struct rig rig;

        if (!open_rig(&rig, (struct vu_options){.queues = 2}))
            return;
        if (n > 0 && mb_send_fds(rig.vu->sock, &msg, n, &fd, 1) < 0)
            ok(false, "send");
        vu_disconnect(rig.vu);
        r = close_rig(&rig);
        close(fd);
        ok(r == (n == 0 || n == sizeof(msg) ? 0 : -ECONNRESET), "leaving after %u bytes: %d", n, r);
        ok(rig.toy.started == 2 && rig.toy.stopped == 2 && rig.toy.resets == 1,
           "  the queues stopped, it was reset");
    }
}

/* Byte by byte is as good as at once. */
static void
test_dribble(void)
{
    uint8_t header[12] = {VH_GET_FEATURES, 0, 0, 0, 1};
    struct rig rig;
    unsigned i;
    uint64_t v = 0;

    if (!open_rig(&rig, (struct vu_options){.no_start = true}))
        return;
    for (i = 0; i < sizeof(header); i++) {
        if (mb_write_full(rig.vu->sock, &header[i], 1) < 0)
            ok(false, "write");
    }
    eq_int(vu_recv(rig.vu, NULL, &v, sizeof(v), NULL, NULL), 0, "a message byte by byte is answered");
    eq_int(v, rig.vu->features_offered, "rightly");
    eq_int(close_rig(&rig), 0, "the connection lived on");
}

static unsigned
open_fds(void)
{
    unsigned n = 0;
    int fd;

    for (fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

int
main(void)
{
    unsigned before;

    mb_log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    vu_quiet = true;
    before = open_fds();
    test_features();
    test_config();
    test_backend_channel();
    test_slots();
    test_memory_goes();
    test_bad_table();
    test_ring_setup();
    test_ring_messages();
    test_framing();
    test_leaving();
    test_dribble();
    test_sizes_and_fds(true);
    test_sizes_and_fds(false);
    eq_int(open_fds(), before, "no descriptor was left behind by any of it");
    return tap_done();
}

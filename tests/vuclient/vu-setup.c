/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a front-end tells a back-end before requests flow: features, memory,
 * in-flight region, queues; see vuclient.h.
 */
#include <config.h>

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>

#include "vh-msg.h"
#include "vu-priv.h"
#include "vuclient.h"

bool
vu_has_feature(const struct vu *vu, unsigned bit)
{
    return vu->features >> bit & 1;
}

bool
vu_has_protocol(const struct vu *vu, unsigned bit)
{
    return vu->protocol >> bit & 1;
}

/* ---- handshake ------------------------------------------------------------------------ */

static int
negotiate_protocol(struct vu *vu)
{
    const uint64_t known = UINT64_C(1) << VH_PROTOCOL_F_MQ | UINT64_C(1) << VH_PROTOCOL_F_REPLY_ACK |
                           UINT64_C(1) << VH_PROTOCOL_F_CONFIG | UINT64_C(1) << VH_PROTOCOL_F_INFLIGHT_SHMFD |
                           UINT64_C(1) << VH_PROTOCOL_F_RESET_DEVICE |
                           UINT64_C(1) << VH_PROTOCOL_F_BACKEND_REQ |
                           UINT64_C(1) << VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS;
    int r;

    r = vu_get_u64(vu, VH_GET_PROTOCOL_FEATURES, &vu->protocol_offered);
    if (r < 0)
        return r;
    vu->protocol = vu->protocol_offered & known & ~vu->o.protocol_off;
    r = vu_send(vu, VH_SET_PROTOCOL_FEATURES, 0, &vu->protocol, sizeof(vu->protocol), NULL, 0);
    if (r == 0 && vu_has_protocol(vu, VH_PROTOCOL_F_MQ))
        r = vu_get_u64(vu, VH_GET_QUEUE_NUM, &vu->backend_queues);
    return r;
}

int
vu_handshake(struct vu *vu)
{
    uint64_t not_ours = UINT64_C(1) << VIRTIO_F_RING_PACKED | UINT64_C(1) << VIRTIO_F_ACCESS_PLATFORM |
                        UINT64_C(1) << 40 /* ring reset */ | UINT64_C(1) << 35 /* in order */;
    int r;

    r = vu_get_u64(vu, VH_GET_FEATURES, &vu->features_offered);
    if (r < 0)
        return r;
    vu->features =
        vu->features_offered & ~not_ours & ~(UINT64_C(1) << 26 /* log all */) & ~vu->o.features_off;
    vu->protocol = 0;
    if (vu_has_feature(vu, VH_F_PROTOCOL_FEATURES)) {
        r = negotiate_protocol(vu);
        if (r < 0)
            return r;
    }
    r = vu_send(vu, VH_SET_OWNER, 0, NULL, 0, NULL, 0);
    return r < 0 ? r : vu_request(vu, VH_SET_FEATURES, &vu->features, sizeof(vu->features), NULL, 0);
}

/* ---- memory ----------------------------------------------------------------------------- */

static void
describe_region(const struct vu *vu, unsigned i, struct vh_mem_region_msg *m)
{
    size_t size = vu->mem_size / vu->o.regions;

    m->mmap_offset = i * size;
    m->guest_addr = VU_GPA_BASE + m->mmap_offset;
    m->user_addr = (uintptr_t)vu->mem + m->mmap_offset;
    m->size = size;
}

static int
add_slots(struct vu *vu)
{
    unsigned i;
    int r = 0;

    for (i = 0; i < vu->o.regions && r == 0; i++) {
        struct vh_single_region s = {0};

        describe_region(vu, i, &s.region);
        r = vu_request(vu, VH_ADD_MEM_REG, &s, sizeof(s), &vu->mem_fd, 1);
    }
    return r;
}

int
vu_share_memory(struct vu *vu)
{
    struct vh_mem_table t = {.n_regions = vu->o.regions};
    int fds[VU_MAX_REGIONS];
    unsigned i;

    if (vu_has_protocol(vu, VH_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
        return add_slots(vu);
    for (i = 0; i < vu->o.regions; i++) {
        describe_region(vu, i, &t.region[i]);
        fds[i] = vu->mem_fd;
    }
    return vu_request(vu, VH_SET_MEM_TABLE, &t,
                      (uint32_t)(offsetof(struct vh_mem_table, region) + t.n_regions * sizeof(t.region[0])),
                      fds, t.n_regions);
}

void *
vu_alloc(struct vu *vu, size_t size, size_t align)
{
    size_t at = (vu->mem_used + align - 1) / align * align;

    if (align == 0 || at > vu->mem_size || size > vu->mem_size - at)
        return NULL;
    vu->mem_used = at + size;
    return memset(vu->mem + at, 0, size);
}

size_t
vu_mark(const struct vu *vu)
{
    return vu->mem_used;
}

void
vu_release(struct vu *vu, size_t mark)
{
    vu->mem_used = mark;
}

uint64_t
vu_gpa(const struct vu *vu, const void *p)
{
    return VU_GPA_BASE + (uint64_t)((const char *)p - vu->mem);
}

void *
vu_ptr(const struct vu *vu, uint64_t gpa)
{
    return vu->mem + (gpa - VU_GPA_BASE);
}

/* ---- queues ------------------------------------------------------------------------------- */

int
vu_setup_inflight(struct vu *vu)
{
    struct vh_inflight_msg m = {.n_queues = (uint16_t)vu->o.queues, .queue_size = (uint16_t)vu->o.queue_size};
    uint32_t size = sizeof(m);
    int r;

    if (!vu_has_protocol(vu, VH_PROTOCOL_F_INFLIGHT_SHMFD))
        return 0;
    if (vu->inflight_fd < 0) {
        r = vu_send(vu, VH_GET_INFLIGHT_FD, 0, &m, sizeof(m), NULL, 0);
        if (r == 0)
            r = vu_recv(vu, NULL, &m, sizeof(m), &size, &vu->inflight_fd);
        if (r < 0)
            return r;
        if (vu->inflight_fd < 0)
            return -EPROTO;
        vu->inflight_size = m.mmap_size;
        vu->inflight_offset = m.mmap_offset;
    }
    m.mmap_size = vu->inflight_size;
    m.mmap_offset = vu->inflight_offset;
    return vu_request(vu, VH_SET_INFLIGHT_FD, &m, sizeof(m), &vu->inflight_fd, 1);
}

static int
send_vring_fd(struct vu *vu, uint32_t request, unsigned index, int fd)
{
    uint64_t v = index;

    return vu_request(vu, request, &v, sizeof(v), &fd, 1);
}

int
vu_start_queue(struct vu *vu, unsigned index)
{
    struct vu_queue *q = &vu->q[index];
    struct vh_vring_state num = {index, q->size}, base = {index, q->base}, enable = {index, 1};
    struct vh_vring_addr addr = {
        .index = index,
        .desc = (uintptr_t)q->ring.desc,
        .used = (uintptr_t)q->ring.used,
        .avail = (uintptr_t)q->ring.avail,
    };
    int r;

    q->event_idx = vu_has_feature(vu, VIRTIO_RING_F_EVENT_IDX);
    r = vu_request(vu, VH_SET_VRING_NUM, &num, sizeof(num), NULL, 0);
    if (r == 0)
        r = vu_request(vu, VH_SET_VRING_BASE, &base, sizeof(base), NULL, 0);
    if (r == 0)
        r = vu_request(vu, VH_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
    if (r == 0)
        r = send_vring_fd(vu, VH_SET_VRING_CALL, index, q->call_fd);
    if (r == 0)
        r = send_vring_fd(vu, VH_SET_VRING_ERR, index, q->err_fd);
    if (r == 0)
        r = send_vring_fd(vu, VH_SET_VRING_KICK, index, q->kick_fd);
    if (r == 0 && vu_has_feature(vu, VH_F_PROTOCOL_FEATURES))
        r = vu_request(vu, VH_SET_VRING_ENABLE, &enable, sizeof(enable), NULL, 0);
    return r;
}

int
vu_stop_queue(struct vu *vu, unsigned index)
{
    struct vh_vring_state s = {index, 0};
    uint32_t size;
    int r;

    r = vu_send(vu, VH_GET_VRING_BASE, 0, &s, sizeof(s), NULL, 0);
    if (r == 0)
        r = vu_recv(vu, NULL, &s, sizeof(s), &size, NULL);
    if (r < 0)
        return r;
    if (size != sizeof(s) || s.index != index || s.num > UINT16_MAX)
        return -EPROTO;
    vu->q[index].base = (uint16_t)s.num;
    return (int)s.num;
}

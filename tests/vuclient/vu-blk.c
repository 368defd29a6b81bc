/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * virtio-blk requests, see vu-blk.h.
 */
#include <config.h>

#include "vu-blk.h"

#include <errno.h>
#include <string.h>

#include "mb-macros.h"
#include "vu-priv.h"

int
vu_blk_open(struct vu_blk *b, const struct vu_options *o)
{
    int r;

    memset(b, 0, sizeof(*b));
    b->vu = vu_open(o);
    if (!b->vu)
        return -errno;
    b->indirect = vu_has_feature(b->vu, VIRTIO_RING_F_INDIRECT_DESC);
    /* Back-ends older than write zeroes have a shorter one. */
    r = vu_get_config(b->vu, 0, &b->config, sizeof(b->config));
    if (r < 0)
        r = vu_get_config(b->vu, 0, &b->config, offsetof(struct virtio_blk_config, max_discard_sectors));
    b->sync_data = vu_alloc(b->vu, VU_BLK_SYNC_MAX, 4096);
    b->sync_io = vu_blk_io_new(b, 0);
    if (r == 0 && (!b->sync_io || !b->sync_data))
        r = -ENOMEM;
    if (r < 0)
        vu_blk_close(b);
    return r;
}

int
vu_blk_close(struct vu_blk *b)
{
    int status = vu_close(b->vu);

    b->vu = NULL;
    return status;
}

uint64_t
vu_blk_size(const struct vu_blk *b)
{
    return b->config.capacity * 512;
}

struct vu_blk_io *
vu_blk_io_new(struct vu_blk *b, size_t data_size)
{
    struct vu_blk_io *io = vu_alloc(b->vu, sizeof(*io), 64);

    if (io && data_size) {
        io->data = vu_alloc(b->vu, data_size, 4096);
        if (!io->data)
            return NULL;
    }
    return io;
}

static bool
has_range(uint32_t type)
{
    return type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
}

int
vu_blk_submit(struct vu_blk *b, unsigned queue, struct vu_blk_io *io, unsigned submit_flags)
{
    struct iovec out[3], in[2];
    unsigned n_out = 0, n_in = 0;

    io->header = (struct virtio_blk_outhdr){.type = io->type};
    io->status = 0xff;
    out[n_out++] = (struct iovec){&io->header, sizeof(io->header)};
    if (has_range(io->type)) {
        io->range.sector = io->offset / 512;
        io->range.num_sectors = io->length / 512;
        io->range.flags = io->flags;
        out[n_out++] = (struct iovec){&io->range, sizeof(io->range)};
    } else {
        io->header.sector = io->offset / 512;
        if (io->length && io->type == VIRTIO_BLK_T_OUT)
            out[n_out++] = (struct iovec){io->data, io->length};
        else if (io->length)
            in[n_in++] = (struct iovec){io->data, io->length};
    }
    in[n_in++] = (struct iovec){&io->status, 1};
    if (b->indirect)
        submit_flags |= VU_INDIRECT;
    return vu_submit(b->vu, queue, out, n_out, in, n_in, submit_flags, io);
}

int
vu_blk_reap(struct vu_blk *b, unsigned queue, int timeout_ms, struct vu_blk_io **io)
{
    void *token = NULL;
    uint32_t len = 0;
    int r;

    r = timeout_ms ? vu_wait(b->vu, queue, timeout_ms, &token, &len) : vu_poll(b->vu, queue, &token, &len);
    if (r == 1) {
        *io = token;
        (*io)->used_len = len;
    }
    return r;
}

int
vu_blk_result(const struct vu_blk_io *io)
{
    switch (io->status) {
    case VIRTIO_BLK_S_OK:
        return 0;
    case VIRTIO_BLK_S_IOERR:
        return -EIO;
    case VIRTIO_BLK_S_UNSUPP:
        return -EOPNOTSUPP;
    default:
        return -EPROTO;
    }
}

/* ---- one at a time ------------------------------------------------------------------------ */

static int
run(struct vu_blk *b, uint32_t type, uint64_t offset, void *data, uint32_t length, uint32_t flags)
{
    struct vu_blk_io *io = b->sync_io, *done = NULL;
    int r;

    io->type = type;
    io->offset = offset;
    io->length = length;
    io->data = data;
    io->flags = flags;
    r = vu_blk_submit(b, 0, io, VU_KICK);
    if (r == 0)
        r = vu_blk_reap(b, 0, VU_TIMEOUT_MS, &done);
    if (r < 0)
        return r;
    return done == io ? vu_blk_result(io) : -EPROTO;
}

int
vu_blk_read(struct vu_blk *b, uint64_t offset, void *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        uint32_t chunk = (uint32_t)MB_MIN(len - done, VU_BLK_SYNC_MAX);
        int r = run(b, VIRTIO_BLK_T_IN, offset + done, b->sync_data, chunk, 0);

        if (r < 0)
            return r;
        memcpy((char *)buf + done, b->sync_data, chunk);
        done += chunk;
    }
    return 0;
}

int
vu_blk_write(struct vu_blk *b, uint64_t offset, const void *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        uint32_t chunk = (uint32_t)MB_MIN(len - done, VU_BLK_SYNC_MAX);
        int r;

        memcpy(b->sync_data, (const char *)buf + done, chunk);
        r = run(b, VIRTIO_BLK_T_OUT, offset + done, b->sync_data, chunk, 0);
        if (r < 0)
            return r;
        done += chunk;
    }
    return 0;
}

int
vu_blk_flush(struct vu_blk *b)
{
    return run(b, VIRTIO_BLK_T_FLUSH, 0, NULL, 0, 0);
}

/* The sector count of one range is 32 bits wide. */
static int
run_ranges(struct vu_blk *b, uint32_t type, uint64_t offset, uint64_t len, uint32_t flags)
{
    uint64_t done = 0;

    while (done < len) {
        uint32_t chunk = (uint32_t)MB_MIN(len - done, 1u << 30);
        int r = run(b, type, offset + done, NULL, chunk, flags);

        if (r < 0)
            return r;
        done += chunk;
    }
    return 0;
}

int
vu_blk_discard(struct vu_blk *b, uint64_t offset, uint64_t len)
{
    return run_ranges(b, VIRTIO_BLK_T_DISCARD, offset, len, 0);
}

int
vu_blk_write_zeroes(struct vu_blk *b, uint64_t offset, uint64_t len, bool unmap)
{
    return run_ranges(b, VIRTIO_BLK_T_WRITE_ZEROES, offset, len,
                      unmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0);
}

int
vu_blk_get_id(struct vu_blk *b, char id[VIRTIO_BLK_ID_BYTES + 1])
{
    int r;

    memset(b->sync_data, 0, VIRTIO_BLK_ID_BYTES);
    r = run(b, VIRTIO_BLK_T_GET_ID, 0, b->sync_data, VIRTIO_BLK_ID_BYTES, 0);
    if (r < 0)
        return r;
    memcpy(id, b->sync_data, VIRTIO_BLK_ID_BYTES);
    id[VIRTIO_BLK_ID_BYTES] = '\0';
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration space, made afresh at each read: it is a function of the
 * image, the settings and the cache mode.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-dev.h"

#define BIT(n) (UINT64_C(1) << (n))

uint64_t
bk_config_features(const struct bk_image *image, const struct bk_dev_settings *set)
{
    uint64_t f = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY);

    if (set->num_queues > 1)
        f |= BIT(VIRTIO_BLK_F_MQ);
    if (image->read_only)
        return f | BIT(VIRTIO_BLK_F_RO);
    f |= BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE);
    if (image->caps & BK_CAP_DISCARD && set->discard)
        f |= BIT(VIRTIO_BLK_F_DISCARD);
    if (image->caps & BK_CAP_ZERO)
        f |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
    return f;
}

static void
fill(const struct bk_dev *dev, struct virtio_blk_config *c)
{
    uint32_t sectors = dev->image->io_size / BK_SECTOR;

    memset(c, 0, sizeof(*c));
    mb_put_le64(&c->capacity, atomic_load(&dev->size) / BK_SECTOR);
    mb_put_le32(&c->seg_max, BK_SEG_MAX);
    mb_put_le32(&c->blk_size, BK_SECTOR);
    while (1u << c->physical_block_exp < sectors)
        c->physical_block_exp++;
    mb_put_le16(&c->min_io_size, (uint16_t)sectors);
    c->wce = atomic_load(&dev->wce);
    mb_put_le16(&c->num_queues, (uint16_t)dev->set.num_queues);
    if (dev->features & BIT(VIRTIO_BLK_F_DISCARD)) {
        mb_put_le32(&c->max_discard_sectors, BK_MAX_RANGE_SECTORS);
        mb_put_le32(&c->max_discard_seg, BK_MAX_SEGS);
        mb_put_le32(&c->discard_sector_alignment, sectors);
    }
    if (dev->features & BIT(VIRTIO_BLK_F_WRITE_ZEROES)) {
        mb_put_le32(&c->max_write_zeroes_sectors, BK_MAX_RANGE_SECTORS);
        mb_put_le32(&c->max_write_zeroes_seg, BK_MAX_SEGS);
        c->write_zeroes_may_unmap = dev->set.discard;
    }
}

int
bk_config_get(struct bk_dev *dev, uint32_t offset, void *buf, uint32_t len)
{
    struct virtio_blk_config c;

    fill(dev, &c);
    memset(buf, 0, len);
    if (offset < sizeof(c))
        memcpy(buf, (const char *)&c + offset, MB_MIN((size_t)len, sizeof(c) - offset));
    return 0;
}

int
bk_config_set(struct bk_dev *dev, uint32_t offset, const void *buf, uint32_t len)
{
    const size_t wce = offsetof(struct virtio_blk_config, wce);
    struct virtio_blk_config c;
    uint8_t value;

    /* A front-end may write back more than the one field; the rest has to be unchanged. */
    fill(dev, &c);
    if (!(dev->features & BIT(VIRTIO_BLK_F_CONFIG_WCE)) || !mb_range_within(offset, len, sizeof(c)) ||
        offset > wce || offset + len <= wce)
        return -EINVAL;
    value = ((const uint8_t *)buf)[wce - offset];
    c.wce = value;
    if (value > 1 || memcmp((const char *)&c + offset, buf, len) != 0)
        return -EINVAL;
    bk_dev_set_wce(dev, value);
    return 0;
}

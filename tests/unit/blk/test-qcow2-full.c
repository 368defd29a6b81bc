/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A journal that is full in the middle of a request, or of a growth that needs blocks of counts for the new L1 table, at
 * any record of it, and a power cut while what it has is brought into the file to make way for the rest: no block of
 * counts that the file leads to lacks the count of itself.
 */
#include <config.h>

#include <sys/mman.h>

#include "bk-qcow2.h"
#include "mb-endian.h"
#include "power-cut.h"

#define CLUSTER 512u
#define CLUSTERS 200u /* of the request; a block has the counts of 64 */
#define LARGE (128u << 20) /* an L1 table of 64 clusters */

static struct bk_image *
open_image(const char *path, unsigned records)
{
    int journal = memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct bk_image *image;
    struct bk_err err;
    int rc;

    if (ftruncate(journal, 4096 + 2 * 16 * records) < 0)
        abort();
    rc = bk_qcow2_open_journaled(path, journal, &image, &err);
    close(journal);
    if (rc == 0)
        rc = bk_image_begin(image, &err);
    if (rc < 0)
        tap_diag("%s", err.text);
    return rc < 0 ? NULL : image;
}

/* Of 64 bits each. */
static uint64_t
count_of(const struct disk *d, uint64_t reftable, uint64_t offset)
{
    uint64_t cluster = offset / CLUSTER;
    uint64_t block = mb_get_be64(d->data + reftable + cluster / 64 * 8);

    return block ? mb_get_be64(d->data + block + cluster % 64 * 8) : 0;
}

static bool
blocks_are_counted(const struct disk *d, unsigned c)
{
    uint64_t reftable = mb_get_be64(d->data + 48), entries = mb_get_be32(d->data + 56) * UINT64_C(64);

    for (uint64_t r = 0; r < entries; r++) {
        uint64_t block = mb_get_be64(d->data + reftable + r * 8);

        if (block && (block >= d->used || count_of(d, reftable, block) != 1)) {
            tap_diag("event %u: the block at %llu is not counted", c, (unsigned long long)block);
            return false;
        }
    }
    return true;
}

static int
write_much(struct bk_image *image)
{
    static uint8_t buf[CLUSTERS * CLUSTER];
    struct bt t;
    int rc;

    if (bt_open(&t, BK_ENGINE_THREADS, image) < 0)
        return -1;
    rc = bt_rw(&t, image, true, 0, buf, sizeof(buf), sizeof(buf));
    bt_close(&t);
    return rc;
}

static int
grow(struct bk_image *image)
{
    struct bk_err err;

    return image->ops->grow(image, LARGE, &err);
}

static bool
is_sound(struct disk *disk, const char *path, unsigned records, int (*change)(struct bk_image *image))
{
    struct bk_image *image;
    int rc;

    image = store(disk, path) ? open_image(path, records) : NULL;
    if (!image)
        return false;
    recorded_fd = image->files[0]->fd;
    rc = change(image);
    recorded_fd = -1;
    bk_image_close(image);
    if (rc == 0 && cut_everywhere(disk, MAX_EVENTS, blocks_are_counted) == 0)
        return true;
    tap_diag("%u records", records);
    return false;
}

static void
try_all(const struct disk *fresh, const char *path, int (*change)(struct bk_image *image), const char *what)
{
    struct disk disk = {.data = calloc(1, MAX_IMAGE)};
    unsigned bad = 0, most = 0;

    for (unsigned records = 16; records < 600; records++) {
        copy_disk(&disk, fresh);
        bad += !is_sound(&disk, path, records, change);
        most = MB_MAX(most, n_events);
        forget_events();
    }
    ok(most > 10, "%s: at most %u events", what, most);
    ok(bad == 0, "%s: blocks of counts are counted, whatever record the journal is full at", what);
    free(disk.data);
}

int
main(void)
{
    struct disk fresh = {.data = calloc(1, MAX_IMAGE)};
    char line[300], path[100];

    if (system("qemu-img --version >/dev/null 2>&1") != 0) {
        printf("1..0 # SKIP qemu-img is not installed\n");
        return 77;
    }
    bt_make_dir();
    seed = 1;
    snprintf(path, sizeof(path), "%s/image", bt_dir);
    snprintf(line, sizeof(line), "qemu-img create -q -f qcow2 -o cluster_size=512,refcount_bits=64 %s 4M", path);
    if (!ok(system(line) == 0, "an image with clusters of 512 bytes"))
        return tap_done();
    load(path, fresh.data, MAX_IMAGE, &fresh.size);
    fresh.used = fresh.size;
    try_all(&fresh, path, write_much, "a large write");
    try_all(&fresh, path, grow, "a growth");
    free(fresh.data);
    return tap_done();
}

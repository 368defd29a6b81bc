/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The in-flight region, see vh-inflight.h.  Noting requests is done in
 * vh-queue.c, in line; here is its life, and the recovery.
 */
#include <config.h>

#include "vh-inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-overflow.h"
#include "vh-dev.h"

#define PART_ALIGNMENT 64

/* Layout that a restarted back-end finds again: one part per queue, aligned. */
static size_t
part_size(unsigned queue_size)
{
    size_t size = sizeof(struct vh_inflight_queue) + queue_size * sizeof(struct vh_inflight_desc);

    return (size + PART_ALIGNMENT - 1) & ~(size_t)(PART_ALIGNMENT - 1);
}

static int
check_message(const struct vh_inflight_msg *m)
{
    if (m->n_queues == 0 || m->n_queues > VH_DEV_MAX_QUEUES || m->queue_size == 0 ||
        m->queue_size > VH_QUEUE_MAX_SIZE)
        return -EINVAL;
    return 0;
}

int
vh_inflight_create(struct vh_inflight *inflight, struct vh_inflight_msg *m)
{
    mb_autofd int fd = -1;
    int r;

    r = check_message(m);
    if (r < 0)
        return r;
    m->mmap_size = part_size(m->queue_size) * m->n_queues + VH_DEV_STATE_SIZE;
    m->mmap_offset = 0;
    fd = memfd_create("msb-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)m->mmap_size) < 0)
        return -errno;
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    r = vh_inflight_map(inflight, m, fd);
    return r < 0 ? r : mb_steal_fd(&fd);
}

int
vh_inflight_map(struct vh_inflight *inflight, const struct vh_inflight_msg *m, int fd)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end, skip;
    struct stat st;
    void *map;
    int r;

    r = check_message(m);
    if (r < 0)
        return r;
    if (m->mmap_size < part_size(m->queue_size) * m->n_queues ||
        MB_ADD_OVERFLOW(m->mmap_size, m->mmap_offset, &end) || end > INT64_MAX)
        return -EINVAL;
    if (fstat(fd, &st) < 0)
        return -errno;
    if ((uint64_t)st.st_size < end)
        return -EINVAL;
    skip = m->mmap_offset & (page - 1);
    map = mmap(NULL, m->mmap_size + skip, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
               (off_t)(m->mmap_offset - skip));
    if (map == MAP_FAILED)
        return -errno;
    vh_inflight_clear(inflight);
    inflight->map = map;
    inflight->map_size = m->mmap_size + skip;
    inflight->queues = (char *)map + skip;
    inflight->n_queues = m->n_queues;
    inflight->queue_size = m->queue_size;
    if (m->mmap_size - part_size(m->queue_size) * m->n_queues >= VH_DEV_STATE_SIZE)
        inflight->state = inflight->queues + part_size(m->queue_size) * m->n_queues;
    return 0;
}

void
vh_inflight_clear(struct vh_inflight *inflight)
{
    if (inflight->map)
        munmap(inflight->map, inflight->map_size);
    memset(inflight, 0, sizeof(*inflight));
}

struct vh_inflight_queue *
vh_inflight_get(const struct vh_inflight *inflight, unsigned index, unsigned size)
{
    if (!inflight->map || index >= inflight->n_queues || size > inflight->queue_size)
        return NULL;
    return (struct vh_inflight_queue *)(void *)(inflight->queues + index * part_size(inflight->queue_size));
}

/* We died between publishing a batch in the used ring and clearing its marks: clear them. */
static int
finish_last_batch(struct vh_inflight_queue *part, unsigned size, uint16_t used_idx)
{
    uint16_t batch = (uint16_t)(used_idx - part->used_idx);
    uint16_t head = part->last_batch_head;

    if (batch > size)
        return -EINVAL;
    for (; batch > 0; batch--) {
        if (head >= size)
            return -EINVAL;
        part->desc[head].inflight = 0;
        head = part->desc[head].next;
    }
    part->used_idx = used_idx;
    return 0;
}

struct entry {
    uint64_t counter;
    uint16_t head;
};

static int
compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return x->counter < y->counter ? -1 : x->counter > y->counter;
}

static void
start_fresh(struct vh_inflight_queue *part, unsigned size, uint16_t used_idx)
{
    unsigned i;

    part->features = 0;
    part->last_batch_head = 0;
    part->desc_num = (uint16_t)size;
    part->used_idx = used_idx;
    for (i = 0; i < size; i++)
        memset(&part->desc[i], 0, sizeof(part->desc[i]));
    part->version = 1;
}

int
vh_inflight_recover(struct vh_inflight_queue *part, unsigned size, uint16_t used_idx, uint16_t *heads,
                    uint64_t *counter)
{
    struct entry entries[VH_QUEUE_MAX_SIZE];
    unsigned n = 0, i;

    *counter = 0;
    /* A part that contradicts the ring is of another life of the queue. */
    if (part->version != 1 || finish_last_batch(part, size, used_idx) < 0) {
        start_fresh(part, size, used_idx);
        return -ENODATA;
    }
    for (i = 0; i < size; i++) {
        if (part->desc[i].inflight != 1)
            continue;
        entries[n].counter = part->desc[i].counter;
        entries[n].head = (uint16_t)i;
        n++;
    }
    qsort(entries, n, sizeof(entries[0]), compare_entries);
    for (i = 0; i < n; i++)
        heads[i] = entries[i].head;
    if (n > 0)
        *counter = entries[n - 1].counter + 1;
    return (int)n;
}

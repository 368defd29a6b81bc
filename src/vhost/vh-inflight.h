/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The in-flight region (vhost-user specification, "Inflight I/O tracking"):
 * memory that the front-end keeps for us while we are dead, in which every
 * queue notes the requests that it took and did not complete.
 *
 * Behind that the device has a few bytes for what of its own state has to outlive
 * the process (struct vh_dev_ops, keep).
 *
 * The region is shared, so what is read from it is checked like everything
 * else that comes from outside; how many queues and descriptors it has room
 * for is kept here, not there.
 */
#ifndef VH_INFLIGHT_H
#define VH_INFLIGHT_H

#include <linux/virtio_ring.h>
#include <stdint.h>

#include "mb-macros.h"
#include "vh-msg.h"

struct vh_inflight_desc {
    uint8_t inflight;
    uint8_t padding[5];
    uint16_t next;              /* list of the last batch of used descriptors */
    uint64_t counter;           /* order of submission */
};

struct vh_inflight_queue {
    uint64_t features;
    uint16_t version;           /* 1; 0 = fresh */
    uint16_t desc_num;
    uint16_t last_batch_head;
    uint16_t used_idx;
    struct vh_inflight_desc desc[];
};

/* One region as mapped here. Zero-initialise. */
struct vh_inflight {
    void *map;
    size_t map_size;
    char *queues;               /* the first queue's part */
    void *state;                /* VH_DEV_STATE_SIZE bytes of the device's own, behind the parts; NULL: no room */
    unsigned n_queues;
    unsigned queue_size;
};

/* Make a new, zeroed region for the queues that m tells; fills m's size and offset, maps it,
 * and returns a descriptor of it (the caller's), or -errno. */
int vh_inflight_create(struct vh_inflight *inflight, struct vh_inflight_msg *m) MB_MUST_CHECK;

/* Map what the front-end kept. 0 or -errno. */
int vh_inflight_map(struct vh_inflight *inflight, const struct vh_inflight_msg *m, int fd) MB_MUST_CHECK;

void vh_inflight_clear(struct vh_inflight *inflight);

/* The part of queue index, when it has room for size descriptors; or NULL. */
struct vh_inflight_queue *vh_inflight_get(const struct vh_inflight *inflight, unsigned index, unsigned size);

/*
 * A queue of size descriptors whose used ring stands at used_idx starts.  Brings the part in
 * order after a crash and lists the heads that are to be served again, in the order of their
 * submission, in heads (room for size); *counter is set above every counter in use.  Returns how
 * many, or -ENODATA when the part is fresh (nothing is known of the past).
 */
int vh_inflight_recover(struct vh_inflight_queue *part, unsigned size, uint16_t used_idx, uint16_t *heads,
                        uint64_t *counter) MB_MUST_CHECK;

#endif

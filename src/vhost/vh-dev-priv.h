/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device from the inside: for vh-dev.c (life and socket), vh-handlers.c
 * (messages), vh-queue.c and vh-worker.c.
 *
 * Everything but the back-end channel belongs to the protocol thread.  While
 * queues run, their workers read ops, mem and features, which change only when
 * all are stopped.
 */
#ifndef VH_DEV_PRIV_H
#define VH_DEV_PRIV_H

#include <pthread.h>

#include "vh-dev.h"
#include "vh-inflight.h"
#include "vh-mem.h"
#include "vh-msg.h"
#include "vh-queue-priv.h"

struct vh_dev {
    const struct vh_dev_ops *ops;
    void *opaque;
    uint64_t features;              /* what the driver took */
    uint64_t protocol;              /* protocol features that the front-end took */
    struct vh_mem mem;
    struct vh_inflight inflight;
    struct vh_queue *queues;        /* ops->max_queues */

    int sock;
    struct vh_msg_reader reader;
    struct vh_msg reply;            /* filled by handlers that have one */
    bool hung_up;
    bool talked;                    /* the front-end said something */
    bool refreshed;                 /* the front-end was told to ask for the configuration */
    int error;                      /* why the connection is to end, 0 = it is not */

    pthread_mutex_t backend_lock;
    int backend_fd;                 /* back-end channel, or -1 */
};

/* Handle a complete message: 0, or -errno when the connection has to end. */
int vh_dev_handle(struct vh_dev *dev, struct vh_msg *msg);

/* Start the queues that can run and do not; stop one, or all. */
int vh_dev_start_queue(struct vh_dev *dev, struct vh_queue *q);
void vh_dev_stop_queue(struct vh_queue *q);
void vh_dev_stop_all(struct vh_dev *dev);

/* All queues stopped and as new, the device's own state reset. */
void vh_dev_reset(struct vh_dev *dev);

/* The device's part of the in-flight region is there, or goes (NULL). */
void vh_dev_keep(struct vh_dev *dev, void *state);

void vh_dev_set_backend_fd(struct vh_dev *dev, int fd);

#endif

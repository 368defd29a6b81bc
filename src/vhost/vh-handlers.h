/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the files of message handlers: vh-handlers.c has the table and the
 * device's own messages, vh-handlers-mem.c memory, vh-handlers-ring.c rings.
 *
 * A handler gets a message whose size and number of descriptors the table found
 * right; what it needs of the descriptors it steals.  It returns 0, with
 * dev->reply filled if the message has a reply, or -errno.
 */
#ifndef VH_HANDLERS_H
#define VH_HANDLERS_H

#include "vh-dev-priv.h"

int vh_reply_u64(struct vh_dev *dev, uint64_t v);
bool vh_any_queue_runs(const struct vh_dev *dev);

int vh_on_set_mem_table(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_get_max_mem_slots(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_add_mem_reg(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_rem_mem_reg(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_get_inflight_fd(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_set_inflight_fd(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_set_vring_num(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_set_vring_addr(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_set_vring_base(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_get_vring_base(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_set_vring_kick(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_set_vring_call(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_set_vring_err(struct vh_dev *dev, struct vh_msg *msg);
int vh_on_set_vring_enable(struct vh_dev *dev, struct vh_msg *msg);

#endif

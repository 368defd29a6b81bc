/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What msb-vhost-blk may still do once its files are open.
 */
#ifndef BK_CONFINE_H
#define BK_CONFINE_H

#include "bk-dev.h"
#include "mb-confine.h"

/*
 * Confine the process to the open files of dev and the n_fds descriptors of
 * fds (sockets; negative ones are skipped): every other descriptor is closed,
 * no capability, no path, no system call that serving does not need.  Before
 * the first thread.  As mb_confine(); -ENOMEM.
 */
int bk_confine(const struct bk_dev *dev, const int *fds, unsigned n_fds, struct mb_confine_report *report);

#endif

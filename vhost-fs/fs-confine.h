/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the process may still do once the share is open.
 */
#ifndef FS_CONFINE_H
#define FS_CONFINE_H

#include "fs-core.h"
#include "mb-confine.h"

/* Confine the process to the share of fs; the n_fds descriptors stay open. As mb_confine(). */
int fs_confine(struct fs *fs, const int *fds, unsigned n_fds, struct mb_confine_report *report);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A transfer from the engine's side: what came of a system call for it, and
 * what is left to do.  The same whoever made the call.
 */
#ifndef BK_XFER_H
#define BK_XFER_H

#include "bk-engine.h"

/* x ends with err: BK_DONE. */
enum bk_status bk_xfer_finished(struct bk_xfer *x, int err);

/* What the result of one system call means for x; BK_PENDING: another one is needed. */
enum bk_status bk_xfer_result(struct bk_xfer *x, int res);

/* What the file system is known not to do is done another way: freeing becomes
 * zeroing, zeroing becomes writing. */
void bk_xfer_settle(struct bk_xfer *x);

#endif

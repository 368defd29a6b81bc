/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Larger disks.  A raw file others make larger, and SIGHUP says that there is
 * something to see.  An image of another format is made larger by whoever has it
 * open: at SIGHUP for what the socket of --resize-fd asks for, or by a process of
 * its own, --grow.
 *
 * On the socket (SOCK_SEQPACKET): a message with a size for us, and one for each
 * from us: "+" when the disk has it, "-" and the reason when it has not.
 */
#ifndef BK_RESIZE_H
#define BK_RESIZE_H

#include "bk-dev.h"

/* Make the disk larger: "BYTES" in all, or "+BYTES" more, rounded up to sectors; what it has already is no error. The
 * driver is not told. 0 or -errno with err. Protocol thread. */
int bk_resize(struct bk_dev *dev, const char *size, struct bk_err *err) MB_MUST_CHECK;

/* SIGHUP: carry out what is asked for, look at the size. True when that is another one. Protocol thread. */
bool bk_resize_reload(struct bk_dev *dev);

#endif

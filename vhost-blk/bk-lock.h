/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Image locks that QEMU respects and that respect QEMU's.
 */
#ifndef BK_LOCK_H
#define BK_LOCK_H

#include <stdbool.h>

#include "bk-err.h"

/*
 * Lock the image open on fd for as long as the descriptor lives: exclusively
 * for writing, shared with other readers otherwise.  0, or -EAGAIN with a
 * message that names the file and, where it can be found, the process that
 * has it.  A file system without locks is no error.
 */
int bk_lock_file(int fd, const char *path, bool writable, struct bk_err *err) MB_MUST_CHECK;

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2 images, versions 2 and 3 (docs/interop/qcow2.txt of QEMU).
 */
#ifndef BK_QCOW2_H
#define BK_QCOW2_H

#include "bk-image.h"

/*
 * Open the image at path with its chain of backing files, which are always
 * opened for reading.  Names of backing files are relative to the image's
 * directory; their format is what the image says, or else told by the
 * extension, never by their contents.  0 or -errno with err: -ENOTSUP names the
 * feature, -EINVAL the field that is wrong.  What is found out only of an image
 * that is to be written (its counts; a repair, if it was not closed), and the
 * repair itself, is left to bk_image_begin(), which also returns -EUCLEAN for an
 * image that has to be repaired by others.
 *
 * With eager what a write, discard or write-zeroes that was done changed is in
 * the file, so that after the death of this process another one can go on for
 * the same guest.  Otherwise it may be in memory until the next flush.
 */
int bk_qcow2_open(const char *path, bool read_only, bool eager, struct bk_image **image, struct bk_err *err)
    MB_MUST_CHECK;

/*
 * Open for writing with a journal in the memory file journal_fd (made by
 * memfd_create() with MFD_ALLOW_SEALING, empty at first; stays the caller's), so
 * that another process that is given the same file later finds all that was
 * done, as with eager, but nothing has to wait for that.  What a former process
 * left in it is brought into the image.  0 or -errno with err.
 */
int bk_qcow2_open_journaled(const char *path, int journal_fd, struct bk_image **image, struct bk_err *err)
    MB_MUST_CHECK;

#endif

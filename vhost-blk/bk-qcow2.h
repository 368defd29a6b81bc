/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2 images, versions 2 and 3 (docs/interop/qcow2.txt of QEMU), for reading.
 */
#ifndef BK_QCOW2_H
#define BK_QCOW2_H

#include "bk-image.h"

/*
 * Open the image at path with its chain of backing files, which are opened for
 * reading as well.  Names of backing files are relative to the image's
 * directory; their format is what the image says, or else told by the
 * extension, never by their contents.  0 or -errno with err: -ENOTSUP names the
 * feature, -EINVAL the field that is wrong.
 */
int bk_qcow2_open(const char *path, struct bk_image **image, struct bk_err *err) MB_MUST_CHECK;

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMDK images (VMware's "Virtual Disk Format 5.0"): monolithicFlat,
 * twoGbMaxExtentFlat, vmfs, monolithicSparse and twoGbMaxExtentSparse for
 * reading and writing, streamOptimized for reading.
 */
#ifndef BK_VMDK_H
#define BK_VMDK_H

#include "bk-image.h"

/*
 * Open the image at path: a descriptor with the extents that it names, which
 * must be files of its own directory, or a sparse extent with its descriptor
 * inside.  A parent (parentCID) is opened for reading, and must have the CID
 * that the image was made on.  0 or -errno with err: -ENOTSUP names what is
 * not supported, -EINVAL the field that is wrong.
 */
int bk_vmdk_open(const char *path, bool read_only, struct bk_image **image, struct bk_err *err) MB_MUST_CHECK;

#endif

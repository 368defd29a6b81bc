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

/* ---- for images of other formats that are made on one ------------------------------------ */

/* Where a range is, through the parents: in file at offset, packed in the image, or (with neither) zeros. */
struct bk_vmdk_range {
    uint64_t len;
    struct bk_file *file;
    uint64_t offset;
    bool packed;
};

/* True for the images of this format. */
bool bk_vmdk_is(const struct bk_image *image);
/* [offset, offset + len), inside the image; it holds for the range's beginning, of at least one byte. 0 or -EIO. */
int bk_vmdk_map(struct bk_image *image, uint64_t offset, uint64_t len, struct bk_vmdk_range *r) MB_MUST_CHECK;
/* Read a packed range, as long as the map said. Blocks unless only_ready: then -EAGAIN when it is not
 * unpacked already. 0, -EIO, -ENOMEM. */
int bk_vmdk_unpack(struct bk_image *image, bool only_ready, const struct iovec *iov, unsigned n_iov,
                   uint64_t offset, uint64_t len) MB_MUST_CHECK;

#endif

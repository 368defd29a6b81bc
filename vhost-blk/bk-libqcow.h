/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images that nobody makes any more, read through libqcow: qcow version 1, and
 * qcow or qcow2 version 2 with AES encryption.
 */
#ifndef BK_LIBQCOW_H
#define BK_LIBQCOW_H

#include "bk-image.h"

enum bk_libqcow_kind { BK_LIBQCOW_V1, BK_LIBQCOW_V2 };

/*
 * Open the image at path, which must be of that version, for reading.
 * secret_file has the passphrase of an encrypted one, of which, as ever, the
 * first 16 bytes count, and a newline at the end does not; NULL for one that is
 * not encrypted.  Of the image only its header is looked at, by us: the library
 * comes to see it when the process is confined, in bk_image_begin().  0 or
 * -errno with err: -ENOTSUP names what is not supported.
 */
int bk_libqcow_open(const char *path, enum bk_libqcow_kind kind, const char *secret_file, struct bk_image **image,
                    struct bk_err *err) MB_MUST_CHECK;

#endif

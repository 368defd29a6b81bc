/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Encoding of EROFS inodes, device numbers and checksums. Internal to libmsb. */
#ifndef MSB_EROFS_INODE_H
#define MSB_EROFS_INODE_H

#include "msb-erofs-tree.h"

G_BEGIN_DECLS

typedef struct {
    const MsbErofsAttr *attr;
    guint layout;          /* MSB_EROFS_FLAT_PLAIN, ... */
    guint64 size;
    guint32 u;             /* block address, device number or chunk format */
    guint32 ino;
    guint32 nlink;
    gsize xattr_size;      /* encoded, 0 = none */
} MsbErofsInode;

/* The modification time that inodes in the compact form share. */
typedef struct {
    gint64 mtime;
    guint32 mtime_nsec;
} MsbErofsEpoch;

/* Encode into out, which is large enough for the extended form (64 bytes), in the compact form (32)
 * where everything fits. Returns the size. */
gsize msb_erofs_inode_encode(const MsbErofsInode *inode, const MsbErofsEpoch *epoch, guint8 *out);
/* Where in an encoded inode the link count is, and how wide. */
gsize msb_erofs_inode_nlink_offset(gboolean extended, gsize *width);
/* TRUE if the format has that device number. */
gboolean msb_erofs_encode_device(guint64 major, guint64 minor, guint32 *device);
void msb_erofs_decode_device(guint32 device, guint64 *major, guint64 *minor);
guint8 msb_erofs_file_type(guint32 mode);     /* MSB_EROFS_FT_*, UNKNOWN for none */
/* CRC32C as the superblock has it: seed ~0, not inverted at the end. */
guint32 msb_erofs_crc32c(guint32 crc, const guint8 *bytes, gsize n);

G_END_DECLS

#endif

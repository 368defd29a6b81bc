/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Encoding of EROFS inodes: see the header. */
#include <config.h>

#include <string.h>
#include <sys/stat.h>

#include "msb-erofs-format.h"
#include "msb-erofs-inode.h"
#include "msb-erofs-xattr.h"

#define CRC32C_POLYNOMIAL 0x82F63B78u /* reflected */

static gboolean
fits_compact(const MsbErofsInode *inode, const MsbErofsEpoch *epoch)
{
    const MsbErofsAttr *attr = inode->attr;

    return attr->mtime == epoch->mtime && attr->mtime_nsec == epoch->mtime_nsec && attr->uid <= G_MAXUINT16 &&
           attr->gid <= G_MAXUINT16 && inode->size <= G_MAXUINT32 && inode->nlink <= G_MAXUINT16;
}

/* i_xattr_icount: units of 4 bytes after the header, plus one. */
static guint16
xattr_count(gsize size)
{
    return size ? (guint16)((size - sizeof(MsbErofsXattrHeader)) / sizeof(MsbErofsXattrEntry) + 1) : 0;
}

static gsize
encode_compact(const MsbErofsInode *inode, guint8 *out)
{
    const MsbErofsAttr *attr = inode->attr;
    MsbErofsInodeCompact core = {
        .i_format = GUINT16_TO_LE((guint16)(inode->layout << MSB_EROFS_LAYOUT_SHIFT)),
        .i_xattr_icount = GUINT16_TO_LE(xattr_count(inode->xattr_size)),
        .i_mode = GUINT16_TO_LE((guint16)attr->mode),
        .i_nlink = GUINT16_TO_LE((guint16)inode->nlink),
        .i_size = GUINT32_TO_LE((guint32)inode->size),
        .i_u = GUINT32_TO_LE(inode->u),
        .i_ino = GUINT32_TO_LE(inode->ino),
        .i_uid = GUINT16_TO_LE((guint16)attr->uid),
        .i_gid = GUINT16_TO_LE((guint16)attr->gid),
    };

    memcpy(out, &core, sizeof core);
    return sizeof core;
}

gsize
msb_erofs_inode_encode(const MsbErofsInode *inode, const MsbErofsEpoch *epoch, guint8 *out)
{
    const MsbErofsAttr *attr = inode->attr;
    MsbErofsInodeExtended core = {
        .i_format = GUINT16_TO_LE((guint16)(inode->layout << MSB_EROFS_LAYOUT_SHIFT | MSB_EROFS_EXTENDED)),
        .i_xattr_icount = GUINT16_TO_LE(xattr_count(inode->xattr_size)),
        .i_mode = GUINT16_TO_LE((guint16)attr->mode),
        .i_size = GUINT64_TO_LE(inode->size),
        .i_u = GUINT32_TO_LE(inode->u),
        .i_ino = GUINT32_TO_LE(inode->ino),
        .i_uid = GUINT32_TO_LE(attr->uid),
        .i_gid = GUINT32_TO_LE(attr->gid),
        .i_mtime = GUINT64_TO_LE((guint64)attr->mtime),
        .i_mtime_nsec = GUINT32_TO_LE(attr->mtime_nsec),
        .i_nlink = GUINT32_TO_LE(inode->nlink),
    };

    if (fits_compact(inode, epoch))
        return encode_compact(inode, out);
    memcpy(out, &core, sizeof core);
    return sizeof core;
}

gsize
msb_erofs_inode_nlink_offset(gboolean extended, gsize *width)
{
    if (!extended) {
        *width = sizeof(guint16);
        return offsetof(MsbErofsInodeCompact, i_nlink);
    }
    *width = sizeof(guint32);
    return offsetof(MsbErofsInodeExtended, i_nlink);
}

gboolean
msb_erofs_encode_device(guint64 major, guint64 minor, guint32 *device)
{
    if (major > 0xfff || minor > 0xfffff)
        return FALSE;
    *device = (guint32)((minor & 0xff) | major << 8 | (minor & ~0xffu) << 12);
    return TRUE;
}

void
msb_erofs_decode_device(guint32 device, guint64 *major, guint64 *minor)
{
    *major = device >> 8 & 0xfff;
    *minor = (device & 0xff) | (device >> 12 & ~0xffu);
}

guint8
msb_erofs_file_type(guint32 mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return MSB_EROFS_FT_REG;
    case S_IFDIR:
        return MSB_EROFS_FT_DIR;
    case S_IFCHR:
        return MSB_EROFS_FT_CHR;
    case S_IFBLK:
        return MSB_EROFS_FT_BLK;
    case S_IFIFO:
        return MSB_EROFS_FT_FIFO;
    case S_IFSOCK:
        return MSB_EROFS_FT_SOCK;
    case S_IFLNK:
        return MSB_EROFS_FT_SYMLINK;
    default:
        return MSB_EROFS_FT_UNKNOWN;
    }
}

guint32
msb_erofs_crc32c(guint32 crc, const guint8 *bytes, gsize n)
{
    for (gsize i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (guint bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
    }
    return crc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The on-disk format of EROFS as far as msb writes it (Linux
 * Documentation/filesystems/erofs.rst): 4 KiB blocks, no compression,
 * everything little-endian.  Internal to libmsb.
 */
#ifndef MSB_EROFS_FORMAT_H
#define MSB_EROFS_FORMAT_H

#include <glib.h>

G_BEGIN_DECLS

#define MSB_EROFS_BLOCK_BITS 12
#define MSB_EROFS_BLOCK (1u << MSB_EROFS_BLOCK_BITS)
#define MSB_EROFS_SUPER_OFFSET 1024
#define MSB_EROFS_MAGIC 0xE0F5E1E2u
#define MSB_EROFS_NID_BITS 5            /* a nid counts units of 32 bytes from meta_blkaddr */
#define MSB_EROFS_NULL_BLOCK 0xFFFFFFFFu /* a hole in a chunk map */
#define MSB_EROFS_NAME_MAX 255

#define MSB_EROFS_COMPAT_SB_CHECKSUM 0x1u
#define MSB_EROFS_COMPAT_MTIME 0x2u
#define MSB_EROFS_INCOMPAT_CHUNKED 0x4u

/* i_format: bit 0 = extended, from bit 1 the data layout. */
#define MSB_EROFS_EXTENDED 1u
#define MSB_EROFS_LAYOUT_SHIFT 1
enum { MSB_EROFS_FLAT_PLAIN = 0, MSB_EROFS_FLAT_INLINE = 2, MSB_EROFS_CHUNK_BASED = 4 };
#define MSB_EROFS_CHUNK_BITS_MASK 0x1fu  /* chunk size: 2^(n + MSB_EROFS_BLOCK_BITS) */

enum {
    MSB_EROFS_FT_UNKNOWN,
    MSB_EROFS_FT_REG,
    MSB_EROFS_FT_DIR,
    MSB_EROFS_FT_CHR,
    MSB_EROFS_FT_BLK,
    MSB_EROFS_FT_FIFO,
    MSB_EROFS_FT_SOCK,
    MSB_EROFS_FT_SYMLINK,
};

enum {
    MSB_EROFS_XATTR_USER = 1,
    MSB_EROFS_XATTR_ACL_ACCESS = 2,
    MSB_EROFS_XATTR_ACL_DEFAULT = 3,
    MSB_EROFS_XATTR_TRUSTED = 4,
    MSB_EROFS_XATTR_SECURITY = 6,
};

typedef struct {
    guint32 magic;
    guint32 checksum;      /* CRC32C of the rest of the block, with 0 here */
    guint32 feature_compat;
    guint8 blkszbits;
    guint8 sb_extslots;
    guint16 root_nid;
    guint64 inos;
    guint64 build_time;    /* modification time of compact inodes */
    guint32 build_time_nsec;
    guint32 blocks;
    guint32 meta_blkaddr;
    guint32 xattr_blkaddr;
    guint8 uuid[16];
    guint8 volume_name[16];
    guint32 feature_incompat;
    guint8 reserved[44];
} MsbErofsSuper;

typedef struct {
    guint16 i_format;
    guint16 i_xattr_icount;
    guint16 i_mode;
    guint16 i_nlink;
    guint32 i_size;
    guint32 i_reserved;
    guint32 i_u;           /* block address, device number, or chunk format */
    guint32 i_ino;
    guint16 i_uid;
    guint16 i_gid;
    guint32 i_reserved2;
} MsbErofsInodeCompact;

typedef struct {
    guint16 i_format;
    guint16 i_xattr_icount;
    guint16 i_mode;
    guint16 i_reserved;
    guint64 i_size;
    guint32 i_u;
    guint32 i_ino;
    guint32 i_uid;
    guint32 i_gid;
    guint64 i_mtime;
    guint32 i_mtime_nsec;
    guint32 i_nlink;
    guint8 i_reserved2[16];
} MsbErofsInodeExtended;

typedef struct {
    guint64 nid;
    guint16 nameoff;
    guint8 file_type;
    guint8 reserved;
} __attribute__((packed)) MsbErofsDirent;

/* Before the extended attributes that follow an inode: header, then h_shared_count
 * numbers of shared entries (units of 4 bytes from xattr_blkaddr), then inline entries. */
typedef struct {
    guint32 h_reserved;
    guint8 h_shared_count;
    guint8 h_reserved2[7];
} MsbErofsXattrHeader;

typedef struct {
    guint8 e_name_len;     /* without the prefix that e_name_index stands for */
    guint8 e_name_index;
    guint16 e_value_size;
} MsbErofsXattrEntry;      /* name, value, padding to 4 bytes follow */

G_STATIC_ASSERT(sizeof(MsbErofsSuper) == 128);
G_STATIC_ASSERT(sizeof(MsbErofsInodeCompact) == 32);
G_STATIC_ASSERT(sizeof(MsbErofsInodeExtended) == 64);
G_STATIC_ASSERT(sizeof(MsbErofsDirent) == 12);
G_STATIC_ASSERT(sizeof(MsbErofsXattrHeader) == 12);
G_STATIC_ASSERT(sizeof(MsbErofsXattrEntry) == 4);

G_END_DECLS

#endif

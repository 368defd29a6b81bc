/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fresh ext4 in a sparse file: what mke2fs would make, with what is known
 * here put to use.  The file is new, so all that is not written is zero: inode
 * tables count as zeroed (the guest's kernel need not do it, which would write
 * 64 MiB for a 4 GiB disk), the journal needs its superblock only.  Nothing is
 * reserved for the superuser, because the guest's users mostly are.
 */
#include <config.h>

#include <errno.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-ext4.h"

#define BLOCK_SIZE 4096u
#define BYTES_PER_INODE 16384u
#define MAX_JOURNAL_BLOCKS 16384     /* 64 MiB */
#define MIN_SIZE ((guint64)16 << 20)
#define MAX_SIZE ((guint64)1 << 50)
#define GROUPS_PER_FLEX_LOG 4
#define UUID_SIZE 16

static gboolean
ext4_error(errcode_t code, const char *path, GError **error)
{
    g_set_error(error, MSB_ERROR, MSB_ERROR_IO, "make the disk '%s': %s", path, error_message(code));
    return FALSE;
}

static void
init_library(void)
{
    static gsize done;

    if (g_once_init_enter(&done)) {
        initialize_ext2_error_table();
        g_once_init_leave(&done, 1);
    }
}

/* What ext2fs_initialize() starts from. */
static struct ext2_super_block
parameters(guint64 size)
{
    struct ext2_super_block super = {
        .s_log_block_size = 2,
        .s_log_cluster_size = 2,
        .s_rev_level = EXT2_DYNAMIC_REV,
        .s_inode_size = 256,
        .s_log_groups_per_flex = GROUPS_PER_FLEX_LOG,
        .s_feature_compat =
            EXT2_FEATURE_COMPAT_DIR_INDEX | EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_RESIZE_INODE,
        .s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                              EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG,
        .s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
                               EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
                               EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM,
    };

    ext2fs_blocks_count_set(&super, size / BLOCK_SIZE);
    super.s_inodes_count = (guint32)MIN(size / BYTES_PER_INODE, G_MAXUINT32 / 2);
    return super;
}

static gboolean
set_identity(struct ext2_super_block *super, const char *label)
{
    guint8 random[2 * UUID_SIZE];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return FALSE;
    memcpy(super->s_uuid, random, UUID_SIZE);
    super->s_uuid[6] = (guint8)((super->s_uuid[6] & 0x0f) | 0x40); /* RFC 4122: random */
    super->s_uuid[8] = (guint8)((super->s_uuid[8] & 0x3f) | 0x80);
    memcpy(super->s_hash_seed, random + UUID_SIZE, UUID_SIZE);
    memcpy(super->s_volume_name, label, MIN(strlen(label), sizeof super->s_volume_name));
    super->s_checksum_type = EXT2_CRC32C_CHKSUM;
    super->s_def_hash_version = EXT2_HASH_HALF_MD4;
    super->s_flags |= (char)-1 < 0 ? EXT2_FLAGS_SIGNED_HASH : EXT2_FLAGS_UNSIGNED_HASH;
    super->s_min_extra_isize = super->s_want_extra_isize =
        sizeof(struct ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
    super->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
    super->s_max_mnt_count = -1;
    return TRUE;
}

/* Inode tables need no writing: the file is new. */
static void
set_groups(ext2_filsys fs)
{
    for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
        ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
        if (group > 0)
            ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_UNINIT);
        ext2fs_bg_itable_unused_set(fs, group, fs->super->s_inodes_per_group);
        ext2fs_group_desc_csum_set(fs, group);
    }
}

static errcode_t
reserve_inodes(ext2_filsys fs)
{
    for (ext2_ino_t ino = EXT2_ROOT_INO + 1; ino < EXT2_FIRST_INODE(fs->super); ino++)
        ext2fs_inode_alloc_stats2(fs, ino, +1, 0);
    ext2fs_inode_alloc_stats2(fs, EXT2_BAD_INO, +1, 0);
    return ext2fs_update_bb_inode(fs, NULL);
}

static errcode_t
fill(ext2_filsys fs, gboolean overlay_dirs)
{
    static const char *const dirs[] = {"lost+found", "upper", "work"};
    gint32 journal = ext2fs_default_journal_size(ext2fs_blocks_count(fs->super));
    errcode_t code = ext2fs_allocate_tables(fs);

    if (code)
        return code;
    set_groups(fs);
    code = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, NULL);
    if (!code)
        code = reserve_inodes(fs);
    for (guint i = 0; !code && i < (overlay_dirs ? G_N_ELEMENTS(dirs) : 1); i++)
        code = ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, dirs[i]);
    if (!code)
        code = ext2fs_create_resize_inode(fs);
    if (!code && journal > 0)
        code = ext2fs_add_journal_inode(fs, (blk_t)MIN(journal, MAX_JOURNAL_BLOCKS),
                                        EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
    return code;
}

static gboolean
make_filesystem(const char *path, guint64 size, const char *label, gboolean overlay_dirs, GError **error)
{
    struct ext2_super_block super = parameters(size);
    ext2_filsys fs = NULL;
    errcode_t code = ext2fs_initialize(path, EXT2_FLAG_64BITS, &super, unix_io_manager, &fs);

    if (code)
        return ext4_error(code, path, error);
    if (!set_identity(fs->super, label)) {
        ext2fs_free(fs);
        return msb_error_set_errno(error, errno, "random numbers for the disk '%s'", path);
    }
    ext2fs_init_csum_seed(fs);
    code = fill(fs, overlay_dirs);
    if (code) {
        ext2fs_free(fs);
        return ext4_error(code, path, error);
    }
    code = ext2fs_close2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
    if (code) {
        ext2fs_free(fs);
        return ext4_error(code, path, error);
    }
    return TRUE;
}

guint64
msb_ext4_round_size(guint64 size)
{
    return size - size % BLOCK_SIZE;
}

gboolean
msb_ext4_create(const char *path, guint64 size, const char *label, gboolean overlay_dirs, GError **error)
{
    mb_autofd int fd = -1;

    if (size < MIN_SIZE || size > MAX_SIZE) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_INVALID,
                    "a disk of %" G_GUINT64_FORMAT " bytes: it must be between 16 MiB and 1 PiB", size);
        return FALSE;
    }
    size = msb_ext4_round_size(size);
    init_library();
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return msb_error_set_errno(error, errno, "make the disk '%s'", path);
    if (ftruncate(fd, (off_t)size) < 0) {
        msb_error_set_errno(error, errno, "make the disk '%s' of %" G_GUINT64_FORMAT " bytes", path, size);
    } else if (make_filesystem(path, size, label, overlay_dirs, error)) {
        return TRUE;
    }
    unlink(path);
    return FALSE;
}

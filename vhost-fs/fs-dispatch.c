/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The opcode table, see fs-dispatch.h.  Sizes are those of protocol 7.38
 * (linux/fuse.h); opcodes without an entry are answered with ENOSYS, which
 * makes the guest's kernel do without them.
 */
#include <config.h>

#include "fs-dispatch.h"

#include <limits.h>
#include <linux/fuse.h>

#include "fs-ops.h"
#include "mb-macros.h"

/* As much as Linux sends: that a name is too long for a file system is told by fs_name_check(). */
#define NAME (1024u + 1u)
#define ENTRY sizeof(struct fuse_entry_out)
#define ATTR sizeof(struct fuse_attr_out)
#define OPEN sizeof(struct fuse_open_out)

static const struct fs_op ops[] = {
    [FUSE_LOOKUP] = {"LOOKUP", fs_op_lookup, 1, NAME, ENTRY, 0},
    [FUSE_FORGET] = {"FORGET", fs_op_forget, sizeof(struct fuse_forget_in), 64, 0, FS_OP_NO_REPLY},
    [FUSE_GETATTR] = {"GETATTR", fs_op_getattr, sizeof(struct fuse_getattr_in), 64, ATTR, 0},
    [FUSE_SETATTR] = {"SETATTR", fs_op_setattr, sizeof(struct fuse_setattr_in), 256, ATTR, FS_OP_CHANGES},
    [FUSE_READLINK] = {"READLINK", fs_op_readlink, 0, 64, 1, 0},
    [FUSE_SYMLINK] = {"SYMLINK", fs_op_symlink, 2, NAME + PATH_MAX, ENTRY, FS_OP_CHANGES},
    [FUSE_MKNOD] = {"MKNOD", fs_op_mknod, sizeof(struct fuse_mknod_in) + 1, sizeof(struct fuse_mknod_in) + NAME,
                    ENTRY, FS_OP_CHANGES},
    [FUSE_MKDIR] = {"MKDIR", fs_op_mkdir, sizeof(struct fuse_mkdir_in) + 1, sizeof(struct fuse_mkdir_in) + NAME,
                    ENTRY, FS_OP_CHANGES},
    [FUSE_UNLINK] = {"UNLINK", fs_op_unlink, 1, NAME, 0, FS_OP_CHANGES},
    [FUSE_RMDIR] = {"RMDIR", fs_op_rmdir, 1, NAME, 0, FS_OP_CHANGES},
    [FUSE_RENAME] = {"RENAME", fs_op_rename, sizeof(struct fuse_rename_in) + 2,
                     sizeof(struct fuse_rename_in) + 2 * NAME, 0, FS_OP_CHANGES},
    [FUSE_LINK] = {"LINK", fs_op_link, sizeof(struct fuse_link_in) + 1, sizeof(struct fuse_link_in) + NAME, ENTRY,
                   FS_OP_CHANGES},
    [FUSE_OPEN] = {"OPEN", fs_op_open, sizeof(struct fuse_open_in), 64, OPEN, 0},
    [FUSE_READ] = {"READ", fs_op_read, sizeof(struct fuse_read_in), 64, 0, 0},
    [FUSE_WRITE] = {"WRITE", fs_op_write, sizeof(struct fuse_write_in), FS_MAX_WRITE + 64,
                    sizeof(struct fuse_write_out), FS_OP_CHANGES | FS_OP_DATA},
    [FUSE_STATFS] = {"STATFS", fs_op_statfs, 0, 64, sizeof(struct fuse_statfs_out), 0},
    [FUSE_RELEASE] = {"RELEASE", fs_op_release, sizeof(struct fuse_release_in), 64, 0, 0},
    [FUSE_FSYNC] = {"FSYNC", fs_op_fsync, sizeof(struct fuse_fsync_in), 64, 0, FS_OP_BLOCKS},
    [FUSE_SETXATTR] = {"SETXATTR", fs_op_setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE + 1,
                       sizeof(struct fuse_setxattr_in) + NAME + FS_MAX_XATTR, 0, FS_OP_CHANGES},
    [FUSE_GETXATTR] = {"GETXATTR", fs_op_getxattr, sizeof(struct fuse_getxattr_in) + 1,
                       sizeof(struct fuse_getxattr_in) + NAME, 0, 0},
    [FUSE_LISTXATTR] = {"LISTXATTR", fs_op_listxattr, sizeof(struct fuse_getxattr_in), 64, 0, 0},
    [FUSE_REMOVEXATTR] = {"REMOVEXATTR", fs_op_removexattr, 1, NAME, 0, FS_OP_CHANGES},
    [FUSE_FLUSH] = {"FLUSH", fs_op_flush, sizeof(struct fuse_flush_in), 64, 0, 0},
    [FUSE_INIT] = {"INIT", fs_op_init, 16, 256, FUSE_COMPAT_22_INIT_OUT_SIZE, FS_OP_FIRST},
    [FUSE_OPENDIR] = {"OPENDIR", fs_op_opendir, sizeof(struct fuse_open_in), 64, OPEN, 0},
    [FUSE_READDIR] = {"READDIR", fs_op_readdir, sizeof(struct fuse_read_in), 64, 0, 0},
    [FUSE_RELEASEDIR] = {"RELEASEDIR", fs_op_releasedir, sizeof(struct fuse_release_in), 64, 0, 0},
    [FUSE_FSYNCDIR] = {"FSYNCDIR", fs_op_fsyncdir, sizeof(struct fuse_fsync_in), 64, 0, FS_OP_BLOCKS},
    [FUSE_GETLK] = {"GETLK", fs_op_getlk, sizeof(struct fuse_lk_in), 64, sizeof(struct fuse_lk_out), 0},
    [FUSE_SETLK] = {"SETLK", fs_op_setlk, sizeof(struct fuse_lk_in), 64, 0, 0},
    [FUSE_SETLKW] = {"SETLKW", fs_op_setlkw, sizeof(struct fuse_lk_in), 64, 0, 0},
    [FUSE_ACCESS] = {"ACCESS", fs_op_access, sizeof(struct fuse_access_in), 64, 0, 0},
    [FUSE_CREATE] = {"CREATE", fs_op_create, sizeof(struct fuse_create_in) + 1,
                     sizeof(struct fuse_create_in) + NAME, ENTRY + OPEN, FS_OP_CHANGES},
    [FUSE_INTERRUPT] = {"INTERRUPT", fs_op_interrupt, sizeof(struct fuse_interrupt_in), 64, 0, FS_OP_NO_REPLY},
    [FUSE_DESTROY] = {"DESTROY", fs_op_destroy, 0, 64, 0, 0},
    [FUSE_BATCH_FORGET] = {"BATCH_FORGET", fs_op_batch_forget, sizeof(struct fuse_batch_forget_in), FS_MAX_BODY, 0,
                           FS_OP_NO_REPLY},
    [FUSE_FALLOCATE] = {"FALLOCATE", fs_op_fallocate, sizeof(struct fuse_fallocate_in), 64, 0,
                        FS_OP_CHANGES | FS_OP_BLOCKS},
    [FUSE_READDIRPLUS] = {"READDIRPLUS", fs_op_readdirplus, sizeof(struct fuse_read_in), 64, 0, 0},
    [FUSE_RENAME2] = {"RENAME2", fs_op_rename2, sizeof(struct fuse_rename2_in) + 2,
                      sizeof(struct fuse_rename2_in) + 2 * NAME, 0, FS_OP_CHANGES},
    [FUSE_LSEEK] = {"LSEEK", fs_op_lseek, sizeof(struct fuse_lseek_in), 64, sizeof(struct fuse_lseek_out), 0},
    [FUSE_COPY_FILE_RANGE] = {"COPY_FILE_RANGE", fs_op_copy_file_range, sizeof(struct fuse_copy_file_range_in), 64,
                              sizeof(struct fuse_write_out), FS_OP_CHANGES | FS_OP_BLOCKS},
    [FUSE_SYNCFS] = {"SYNCFS", fs_op_syncfs, 0, 64, 0, FS_OP_BLOCKS},
    [FUSE_TMPFILE] = {"TMPFILE", fs_op_tmpfile, sizeof(struct fuse_create_in),
                      sizeof(struct fuse_create_in) + NAME, ENTRY + OPEN, FS_OP_CHANGES},
};

const struct fs_op *
fs_op_find(uint32_t opcode)
{
    return opcode < MB_ARRAY_SIZE(ops) && ops[opcode].name ? &ops[opcode] : NULL;
}

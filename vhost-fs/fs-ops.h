/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The handlers, by family and file.  Each returns 0 with its payload in place,
 * a negative errno, or FS_OP_WAIT / FS_OP_PENDING.
 */
#ifndef FS_OPS_H
#define FS_OPS_H

#include <sys/stat.h>

#include "fs-inode.h"
#include "fs-quota.h"
#include "fs-req.h"

#define FS_OP_WAIT 1            /* would block and must not: run again where it may */
#define FS_OP_PENDING 2         /* fs_req_finish() will be called */

/* fs-init.c */
int fs_op_init(struct fs_req *req);
int fs_op_destroy(struct fs_req *req);
int fs_op_statfs(struct fs_req *req);
int fs_op_syncfs(struct fs_req *req);

/* fs-lookup.c */
int fs_op_lookup(struct fs_req *req);
int fs_op_forget(struct fs_req *req);
int fs_op_batch_forget(struct fs_req *req);

/* fs-attr.c */
int fs_op_getattr(struct fs_req *req);
int fs_op_setattr(struct fs_req *req);
int fs_op_access(struct fs_req *req);

/* fs-file.c */
int fs_op_open(struct fs_req *req);
int fs_op_create(struct fs_req *req);
int fs_op_tmpfile(struct fs_req *req);
int fs_op_flush(struct fs_req *req);
int fs_op_release(struct fs_req *req);

/* fs-io.c */
int fs_op_read(struct fs_req *req);
int fs_op_write(struct fs_req *req);
int fs_op_fsync(struct fs_req *req);
int fs_op_fallocate(struct fs_req *req);
int fs_op_lseek(struct fs_req *req);
int fs_op_copy_file_range(struct fs_req *req);

/* fs-dir.c */
int fs_op_opendir(struct fs_req *req);
int fs_op_readdir(struct fs_req *req);
int fs_op_readdirplus(struct fs_req *req);
int fs_op_releasedir(struct fs_req *req);
int fs_op_fsyncdir(struct fs_req *req);

/* fs-link.c */
int fs_op_mknod(struct fs_req *req);
int fs_op_mkdir(struct fs_req *req);
int fs_op_symlink(struct fs_req *req);
int fs_op_readlink(struct fs_req *req);
int fs_op_link(struct fs_req *req);
int fs_op_unlink(struct fs_req *req);
int fs_op_rmdir(struct fs_req *req);
int fs_op_rename(struct fs_req *req);
int fs_op_rename2(struct fs_req *req);

/* fs-xattr.c */
int fs_op_getxattr(struct fs_req *req);
int fs_op_setxattr(struct fs_req *req);
int fs_op_listxattr(struct fs_req *req);
int fs_op_removexattr(struct fs_req *req);

/* fs-lock.c */
int fs_op_getlk(struct fs_req *req);
int fs_op_setlk(struct fs_req *req);
int fs_op_setlkw(struct fs_req *req);

/* fs-lock-wait.c */
int fs_op_interrupt(struct fs_req *req);

/* ---- shared between families --------------------------------------------------------- */

/* The directory that the request names, with a descriptor; and whether name may be used in
 * it (change: to make, remove or rename something). */
struct fs_dir_ref {
    struct fs *fs;
    struct fs_node *node;
    struct fs_fd fd;
    struct fs_quota_op quota;   /* of the change that is going on, see fs_dir_change() */
};
int fs_dir_get(struct fs *fs, uint64_t nodeid, const char *name, bool change, struct fs_dir_ref *dir) MB_MUST_CHECK;
void fs_dir_put(struct fs_dir_ref *dir);

/* The directory is about to change, by an operation on name (NULL: none, or the caller calls fs_quota_names()) that
 * may make inodes new files and a few blocks; fs_dir_put() ends it. 0 or -ENOSPC. */
int fs_dir_change(struct fs_dir_ref *dir, const char *name, unsigned inodes) MB_MUST_CHECK;
#define fs_auto_dir MB_CLEANUP(fs_dir_put)

/* Look name up in dir: fills the entry and counts one look-up. *node (may be NULL) gets a reference. */
int fs_lookup_name(const struct fs_dir_ref *dir, const char *name, struct fuse_entry_out *entry,
                   struct fs_node **node) MB_MUST_CHECK;

/* The entry of a node whose attributes are known; counts one look-up. */
void fs_entry_fill(const struct fs_dir_ref *dir, struct fs_node *node, const struct statx *stx,
                   const struct fs_ident *id, struct fuse_entry_out *entry);

/* Attributes as the guest sees them. */
void fs_attr_fill(const struct statx *stx, const struct fs_ident *id, struct fuse_attr *attr);

/* How long the guest may believe what it is told, in whole seconds. */
uint64_t fs_attr_seconds(const struct fs *fs);

#endif

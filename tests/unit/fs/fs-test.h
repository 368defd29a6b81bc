/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A FUSE client for tests of vhost-fs.  The same calls drive the core directly
 * (ft_core) and a back-end process through real virtqueues (ft_vu), so that a
 * test is written once.  All return 0 or the negative errno of the server.
 */
#ifndef FS_TEST_H
#define FS_TEST_H

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fs-core.h"
#include "fs-req.h"
#include "tap.h"

struct ft {
    int (*call)(struct ft *t, uint32_t opcode, uint64_t nodeid, const void *arg, size_t arg_len, const void *arg2,
                size_t arg2_len, void *reply, size_t cap, size_t *len);
    struct fs *fs;              /* ft_core */
    struct fs_worker *worker;
    void *vu;                   /* ft_vu */
    uint32_t uid, gid, umask;
    uint64_t unique;
};

/* A directory of the test's own below $TMPDIR, absolute; removed by ft_tmp_remove(). */
const char *ft_tmp(void);
void ft_tmp_remove(void);
/* ft_tmp()/name, in one of a few static buffers. */
const char *ft_path(const char *name);
/* dir/name, likewise. */
const char *ft_at(const char *dir, const char *name);
/* An own sub-directory of the temporary one, made anew. */
const char *ft_subdir(const char *name);

/* Why tests that need "user." attributes cannot run in the temporary directory; NULL if they can. */
const char *ft_no_xattr(void);

/* A core with that configuration, INIT done; ends the test program when it cannot be had. */
struct ft *ft_core(const struct fs_config *config);
/* The program over virtqueues; args: its options after the first, NULL-terminated. */
struct ft *ft_vu(const char *const *args);
/* Any back-end, as struct vu_options tells (NULL: it does not serve), with INIT's flags. */
struct vu_options;
struct ft *ft_backend(const struct vu_options *o, uint32_t init_flags);
void ft_free(struct ft *t);

/* A request as it stands, for hostile ones: returns bytes of the reply written to in. */
size_t ft_raw(struct ft *t, const void *out, size_t out_len, void *in, size_t in_len);

int ft_init(struct ft *t, uint64_t flags);
int ft_call(struct ft *t, uint32_t opcode, uint64_t nodeid, const void *arg, size_t arg_len, const void *arg2,
            size_t arg2_len, void *reply, size_t cap, size_t *len);

/* -ENOENT also for a missing name that may be cached (node 0). */
int ft_lookup(struct ft *t, uint64_t dir, const char *name, struct fuse_entry_out *e);
/* Look a path up from the root, component by component; its node in *node. */
int ft_walk(struct ft *t, const char *path, uint64_t *node);
int ft_forget(struct ft *t, uint64_t node, uint64_t n);
int ft_getattr(struct ft *t, uint64_t node, struct fuse_attr *a);
int ft_setattr(struct ft *t, uint64_t node, const struct fuse_setattr_in *in, struct fuse_attr *a);
int ft_chmod(struct ft *t, uint64_t node, uint32_t mode);
int ft_chown(struct ft *t, uint64_t node, uint32_t uid, uint32_t gid);
int ft_truncate(struct ft *t, uint64_t node, uint64_t size);
int ft_open(struct ft *t, uint64_t node, uint32_t flags, uint64_t *fh);
int ft_create(struct ft *t, uint64_t dir, const char *name, uint32_t flags, uint32_t mode,
              struct fuse_entry_out *e, uint64_t *fh);
int ft_release(struct ft *t, uint64_t node, uint64_t fh);
int ft_flush(struct ft *t, uint64_t node, uint64_t fh, uint64_t owner);
/* Bytes, or -errno. */
int ft_read(struct ft *t, uint64_t node, uint64_t fh, uint64_t off, void *buf, uint32_t len);
int ft_write(struct ft *t, uint64_t node, uint64_t fh, uint64_t off, const void *buf, uint32_t len, uint32_t flags);
int ft_fallocate(struct ft *t, uint64_t node, uint64_t fh, uint32_t mode, uint64_t off, uint64_t len);
int ft_mkdir(struct ft *t, uint64_t dir, const char *name, uint32_t mode, struct fuse_entry_out *e);
int ft_mknod(struct ft *t, uint64_t dir, const char *name, uint32_t mode, uint32_t rdev, struct fuse_entry_out *e);
int ft_symlink(struct ft *t, uint64_t dir, const char *name, const char *target, struct fuse_entry_out *e);
int ft_readlink(struct ft *t, uint64_t node, char *buf, size_t cap);
int ft_link(struct ft *t, uint64_t node, uint64_t dir, const char *name, struct fuse_entry_out *e);
int ft_unlink(struct ft *t, uint64_t dir, const char *name);
int ft_rmdir(struct ft *t, uint64_t dir, const char *name);
int ft_rename(struct ft *t, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name, uint32_t flags);
int ft_setxattr(struct ft *t, uint64_t node, const char *name, const void *value, size_t len, uint32_t flags);
/* Bytes, or -errno. */
int ft_getxattr(struct ft *t, uint64_t node, const char *name, void *value, uint32_t cap);
int ft_listxattr(struct ft *t, uint64_t node, char *list, uint32_t cap);
int ft_removexattr(struct ft *t, uint64_t node, const char *name);
int ft_opendir(struct ft *t, uint64_t node, uint64_t *fh);
int ft_releasedir(struct ft *t, uint64_t node, uint64_t fh);
/* One READDIR or READDIRPLUS: bytes, or -errno. */
int ft_readdir(struct ft *t, uint64_t node, uint64_t fh, bool plus, uint64_t off, void *buf, uint32_t cap);
/* All entries but "." and "..": their number, or -errno; each is given to fn (may be NULL). */
int ft_list(struct ft *t, uint64_t node, bool plus, uint32_t cap,
            void (*fn)(void *data, const char *name, uint32_t type, const struct fuse_entry_out *e), void *data);
int ft_setlk(struct ft *t, uint64_t node, uint64_t fh, uint64_t owner, uint32_t type, uint64_t start, uint64_t end,
             uint32_t flags);

#endif

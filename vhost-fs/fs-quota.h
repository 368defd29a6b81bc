/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Quota: one budget of allocated bytes (and of files) for a directory, shared
 * by all processes that serve it.
 *
 * The account is a file beside the share, not in it: <dir>/<device>-<inode>.quota,
 * named by the identity of the shared directory, so that everybody who serves
 * the directory finds the same one.  It is mapped by all of them and changed
 * by atomic operations and robust locks: whoever is killed stops nobody.
 *
 *   used      the sum over all files of what they have allocated (st_blocks), as
 *             far as it is settled, and what operations have reserved
 *   limit     each server's own: it refuses what would take `used` beyond
 *
 * An operation that may allocate reserves the most it can need before it
 * begins, and is settled afterwards by looking at what the file has now, so
 * `used` is never below the truth.  Writes are settled together, once a
 * mebibyte, as long as there is plenty; close to the limit each one is.  Where
 * a file's last settled size is must be known to all who write to it: open
 * files have an entry in a table of the account.
 *
 * A file that was removed while somebody has it open still takes its space; an
 * inotify watch tells when it really goes, and only then is it credited.
 *
 * Each server holds a slot of the account with a lock that ends with it.  A
 * server that finds an account which was not left in order counts anew: by
 * itself, or with the others, if there are any, waiting meanwhile.
 */
#ifndef FS_QUOTA_H
#define FS_QUOTA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mb-macros.h"

struct fs;
struct fs_handle;
struct fs_node;
struct fs_quota;

struct fs_quota_config {
    const char *dir;            /* where accounts are, NULL: no quota; borrowed for fs_quota_open() */
    uint64_t bytes;             /* 0: no limit, but what is done counts for others, if there is an account */
    uint64_t inodes;            /* likewise */
    bool recount;               /* count when this is the only server, though the account is in order */
};

/* Take part in the account of the share behind root_fd. *quota is NULL afterwards if there is none to
 * take part in. 0, or -errno and a sentence in err (FS_ERR_MAX bytes). */
int fs_quota_open(struct fs *fs, const struct fs_quota_config *config, int root_fd, struct fs_quota **quota,
                  char *err) MB_MUST_CHECK;

/* All handles and nodes are gone. NULL is allowed. */
void fs_quota_close(struct fs_quota *quota);

/* A node that has a charge is freed; its descriptor, or -1, is closed right after that. */
void fs_quota_node_gone(struct fs_quota *quota, struct fs_node *node, int fd);

/* Descriptors that the account needs, for confinement; returns their number. */
#define FS_QUOTA_FDS 4
unsigned fs_quota_fds(const struct fs_quota *quota, int *fds);

/* What statfs() tells: of the limit and of what is free. false: no limit of that kind. */
struct fs_quota_stat {
    bool have_bytes, have_inodes;
    uint64_t bytes, bytes_free;
    uint64_t inodes, inodes_free;
};
void fs_quota_stat(struct fs_quota *quota, struct fs_quota_stat *stat);

/* ---- operations on names and whole files ------------------------------------------------ */

#define FS_QUOTA_TOUCH 6
#define FS_QUOTA_NAMES 2

struct fs_quota_stripe;

struct fs_quota_touched {
    int fd;
    uint32_t entry;
};

/* One operation; zeroed: none is going on. */
struct fs_quota_op {
    struct fs_quota *q;         /* NULL: no quota, every function below does nothing */
    uint64_t bytes, inodes;     /* reserved */
    unsigned n;
    struct fs_quota_touched touched[FS_QUOTA_TOUCH];
    struct fs_quota_stripe *names[FS_QUOTA_NAMES]; /* locked, or NULL */
};

/* Begin, with a reservation. 0 or -ENOSPC. */
int fs_quota_begin(struct fs_quota_op *op, struct fs_quota *q, uint64_t bytes, uint64_t inodes) MB_MUST_CHECK;
/* What name means in the directory with that inode number is about to change (and what other does, unless it is
 * NULL): until the end no server changes it, so that the file that is touched is the one that goes. */
void fs_quota_names(struct fs_quota_op *op, uint64_t dir, const char *name, uint64_t other_dir, const char *other);
/* What is behind fd may allocate more or less until the end; fd stays open until then. */
void fs_quota_touch(struct fs_quota_op *op, int fd);
/* A new file is behind fd; unnamed: made without a name.  One whose name is gone by now was somebody else's to
 * remove, who sees to its credit: it must not be given twice. */
void fs_quota_new(struct fs_quota_op *op, int fd, bool unnamed);
/* A name of what is behind fd, which was touched, is gone; the file may be. */
void fs_quota_gone(struct fs_quota_op *op, int fd);
/* What is behind fd, which was touched, got another name. */
void fs_quota_linked(struct fs_quota_op *op, int fd);
/* Settle what was touched; errno is kept. */
void fs_quota_end(struct fs_quota_op *op);
#define fs_auto_quota MB_CLEANUP(fs_quota_end)

/* ---- writing to open files ------------------------------------------------------------------ */

/* Reserve for writing *len bytes at offset; *len may become less, as little is left. The bytes to
 * give to fs_quota_write_end(), or -ENOSPC. */
int64_t fs_quota_write_begin(struct fs_quota *q, struct fs_handle *handle, uint64_t offset, size_t *len) MB_MUST_CHECK;
void fs_quota_write_end(struct fs_quota *q, struct fs_handle *handle, int64_t reserved);

/* Close the descriptor of the handle, which nobody else has any more, and settle what the file has then. */
void fs_quota_close_file(struct fs_quota *q, struct fs_handle *handle);

#endif

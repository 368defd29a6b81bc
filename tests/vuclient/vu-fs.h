/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * FUSE requests over vuclient (virtio 1.2, section 5.11): queue 0 is the high
 * priority queue (FORGET, INTERRUPT), queues 1.. take requests.
 */
#ifndef VU_FS_H
#define VU_FS_H

#include <linux/fuse.h>

#include "vuclient.h"

struct vu_fs {
    struct vu *vu;
    struct fuse_init_out init;  /* what the back-end answered to INIT */
    uint64_t unique;            /* of the last request */
    uint32_t uid, gid, pid;     /* put in every request; default 0 */
    bool indirect;              /* use indirect descriptors (default: if negotiated) */
    struct vu_fs_req *sync_req;
};
#define VU_FS_BUF_MAX (1u << 20)  /* argument and reply bytes of a synchronous call, each */

/* One request under way; lives in guest memory (vu_fs_req_new()), reusable. */
struct vu_fs_req {
    struct fuse_in_header in;
    struct fuse_out_header out;
    /* Below: not seen by the device. */
    char *arg;                  /* arg_cap bytes of guest memory */
    size_t arg_cap, arg_len;
    char *reply;                /* reply_cap bytes of guest memory */
    size_t reply_cap;
    size_t reply_want;          /* bytes of it to offer to the device */
    uint32_t used_len;          /* as the device told */
    void *user;
};

/* Open the device (o->queues must count the high priority queue: at least 2) and send INIT
 * with the flags wanted (FUSE_* of fuse_init_in; 0 = a default set like Linux's). 0 or -errno. */
int vu_fs_open(struct vu_fs *f, const struct vu_options *o, uint32_t init_flags);
int vu_fs_close(struct vu_fs *f);

struct vu_fs_req *vu_fs_req_new(struct vu_fs *f, size_t arg_cap, size_t reply_cap);

/* Asynchronous: set arg, arg_len and reply_want, submit; reap as vu_blk_reap(). */
int vu_fs_submit(struct vu_fs *f, unsigned queue, struct vu_fs_req *r, uint32_t opcode, uint64_t nodeid,
                 unsigned submit_flags);
int vu_fs_reap(struct vu_fs *f, unsigned queue, int timeout_ms, struct vu_fs_req **r);
/* 0 or the negative errno the device answered; -EPROTO when the reply is malformed (unique, lengths). */
int vu_fs_result(const struct vu_fs_req *r);
/* Bytes of payload in the reply. */
size_t vu_fs_reply_len(const struct vu_fs_req *r);

/*
 * One request on queue 1, to its end: arg and arg2 one behind the other (struct, then name or
 * data; NULL, 0 = none); the reply's payload copied to reply (at most reply_cap offered) and
 * its length to *reply_len (may be NULL).  0 or -errno.
 */
int vu_fs_call(struct vu_fs *f, uint32_t opcode, uint64_t nodeid, const void *arg, size_t arg_len,
               const void *arg2, size_t arg2_len, void *reply, size_t reply_cap, size_t *reply_len);

/* Common ones on top of it. 0 or -errno; -ENOENT also for a missing name that may be cached (node 0). */
int vu_fs_lookup(struct vu_fs *f, uint64_t parent, const char *name, struct fuse_entry_out *out);
int vu_fs_getattr(struct vu_fs *f, uint64_t nodeid, struct fuse_attr_out *out);
int vu_fs_setattr(struct vu_fs *f, uint64_t nodeid, const struct fuse_setattr_in *in,
                  struct fuse_attr_out *out);
int vu_fs_open_file(struct vu_fs *f, uint64_t nodeid, uint32_t flags, uint64_t *fh);
int vu_fs_release(struct vu_fs *f, uint64_t nodeid, uint64_t fh);
int vu_fs_create(struct vu_fs *f, uint64_t parent, const char *name, uint32_t flags, uint32_t mode,
                 struct fuse_entry_out *entry, uint64_t *fh);
int vu_fs_mkdir(struct vu_fs *f, uint64_t parent, const char *name, uint32_t mode,
                struct fuse_entry_out *entry);
int vu_fs_unlink(struct vu_fs *f, uint64_t parent, const char *name);
int vu_fs_rmdir(struct vu_fs *f, uint64_t parent, const char *name);
/* The bytes read or written, or -errno. */
ssize_t vu_fs_read(struct vu_fs *f, uint64_t nodeid, uint64_t fh, uint64_t offset, void *buf, size_t len);
ssize_t vu_fs_write(struct vu_fs *f, uint64_t nodeid, uint64_t fh, uint64_t offset, const void *buf,
                    size_t len);
/* FORGET on the high priority queue; has no reply, returns when the device took it. */
int vu_fs_forget(struct vu_fs *f, uint64_t nodeid, uint64_t nlookup);

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One FUSE request, wherever it came from.
 *
 * The transport describes it by two lists of segments, out (guest to us: header,
 * arguments, data to write) and in (room for the reply), and calls fs_req_run().
 * The header is copied once; only the copy is read.  Arguments are copied to
 * the scratch memory of the worker before a handler sees them, so nothing that
 * was checked can change.  File data alone is not copied: it goes between the
 * segments and the file in one system call.
 *
 * The transport owns the request and its segments until the request is done.
 */
#ifndef FS_REQ_H
#define FS_REQ_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mb-macros.h"

struct fs;

#define FS_MAX_WRITE (1024u * 1024u)    /* data in one read or write */
#define FS_LARGE_READ (512u * 1024u)    /* copying it takes longer than waking a thread */
#define FS_MAX_XATTR 65536u             /* as the kernel's XATTR_SIZE_MAX and XATTR_LIST_MAX */
#define FS_MAX_BODY (FS_MAX_XATTR + 2048u)  /* an attribute, its name, and the structure before them */
#define FS_MAX_REPLY (FS_MAX_XATTR + 1024u)

/* Scratch memory of one thread that runs requests. */
struct fs_worker {
    _Alignas(8) uint8_t body[FS_MAX_BODY];
    _Alignas(8) uint8_t reply[FS_MAX_REPLY];
    struct iovec iov[1024];
};
struct fs_worker *fs_worker_new(void) MB_MUST_CHECK;
void fs_worker_free(struct fs_worker *worker);

enum fs_req_state {
    FS_REQ_DONE,                /* the reply is in place, req->written bytes of it */
    FS_REQ_WAITS,               /* would block: run it again with may_wait set, from another thread */
    FS_REQ_PENDING,             /* req->done will be called, from any thread */
};

struct fs_req {
    /* Set by the transport. */
    struct fs *fs;
    const struct iovec *out, *in;
    unsigned n_out, n_in;
    bool may_wait;              /* this thread may block for long */
    bool others_wait;           /* more requests are there for this thread: a large one is better done by another */
    void (*done)(struct fs_req *req);
    void *opaque;
    struct fs_req *next;        /* for lists of whoever has the request */

    size_t written;             /* result: bytes of the reply, 0: no reply belongs to it */

    /* The core's own. */
    struct fs_worker *worker;
    struct fuse_in_header hdr;
    size_t out_len, in_len;     /* bytes in the lists */
    const uint8_t *arg;         /* arguments: fixed part and names */
    size_t arg_len;
    size_t reply_len;           /* payload that the handler left in worker->reply */
    size_t data_len;            /* payload that it put into the in segments itself */
};

/* Run the request on this thread with its scratch memory. */
enum fs_req_state fs_req_run(struct fs_req *req, struct fs_worker *worker);

/* Finish a pending request with a result (0 or -errno and no payload): calls req->done. */
void fs_req_finish(struct fs_req *req, int error);

/* Give up all pending requests (locks waited for): each is finished with EINTR before this returns. */
void fs_req_cancel_all(struct fs *fs);

/* ---- for handlers ------------------------------------------------------------------- */

/* The fixed part of the arguments; its size was checked by the opcode table. */
#define FS_ARG(req, type) ((const type *)(const void *)(req)->arg)

/* The name that begins at offset of the arguments and ends with NUL there; *next (may be
 * NULL) is the offset behind it. NULL if there is no end. */
const char *fs_req_string(const struct fs_req *req, size_t offset, size_t *next);

/* That, checked by fs_name_check(). 0 or -errno. */
int fs_req_name(const struct fs_req *req, size_t offset, const char **name, size_t *next) MB_MUST_CHECK;

/* len zeroed bytes of reply; len <= FS_MAX_REPLY. */
void *fs_req_reply(struct fs_req *req, size_t len);

/* Room for payload behind the reply's header. */
size_t fs_req_room(const struct fs_req *req);

/* Segments of the data: len bytes that follow the fixed arguments of size skip (out), or of
 * room for a payload of len bytes (in). Number of segments in worker->iov, or -EINVAL. */
int fs_req_data_out(struct fs_req *req, size_t skip, size_t len) MB_MUST_CHECK;
int fs_req_data_in(struct fs_req *req, size_t len) MB_MUST_CHECK;

#endif

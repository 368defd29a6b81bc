/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * FUSE requests, see vu-fs.h.
 */
#include <config.h>

#include "vu-fs.h"

#include <errno.h>
#include <string.h>

#include "mb-macros.h"
#include "vu-priv.h"

#define REQUEST_QUEUE 1

/* What a Linux guest asks for. */
#define DEFAULT_INIT_FLAGS \
    (FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES | \
     FUSE_DONT_MASK | FUSE_FLOCK_LOCKS | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | \
     FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_NO_OPEN_SUPPORT | FUSE_PARALLEL_DIROPS | \
     FUSE_HANDLE_KILLPRIV | FUSE_POSIX_ACL | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | \
     FUSE_NO_OPENDIR_SUPPORT | FUSE_EXPLICIT_INVAL_DATA)

static int
init(struct vu_fs *f, uint32_t flags)
{
    struct fuse_init_in in = {
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .max_readahead = 128 * 1024,
        .flags = flags ? flags : DEFAULT_INIT_FLAGS,
    };
    size_t len = 0;
    int r;

    r = vu_fs_call(f, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &f->init, sizeof(f->init), &len);
    if (r == 0 && (len < 24 || f->init.major != FUSE_KERNEL_VERSION))
        r = -EPROTO;
    return r;
}

int
vu_fs_open(struct vu_fs *f, const struct vu_options *o, uint32_t init_flags)
{
    int r;

    memset(f, 0, sizeof(*f));
    if (o->queues < 2)
        return -EINVAL;
    f->vu = vu_open(o);
    if (!f->vu)
        return -errno;
    f->indirect = vu_has_feature(f->vu, VIRTIO_RING_F_INDIRECT_DESC);
    f->sync_req = vu_fs_req_new(f, VU_FS_BUF_MAX, VU_FS_BUF_MAX);
    r = f->sync_req ? init(f, init_flags) : -ENOMEM;
    if (r < 0)
        vu_fs_close(f);
    return r;
}

int
vu_fs_close(struct vu_fs *f)
{
    int status = vu_close(f->vu);

    f->vu = NULL;
    return status;
}

struct vu_fs_req *
vu_fs_req_new(struct vu_fs *f, size_t arg_cap, size_t reply_cap)
{
    struct vu_fs_req *r = vu_alloc(f->vu, sizeof(*r), 64);

    if (!r)
        return NULL;
    r->arg = vu_alloc(f->vu, arg_cap, 4096);
    r->reply = vu_alloc(f->vu, reply_cap, 4096);
    r->arg_cap = arg_cap;
    r->reply_cap = reply_cap;
    return r->arg && r->reply ? r : NULL;
}

int
vu_fs_submit(struct vu_fs *f, unsigned queue, struct vu_fs_req *r, uint32_t opcode, uint64_t nodeid,
             unsigned submit_flags)
{
    struct iovec out[2], in[2];
    unsigned n_out = 0, n_in = 0;

    r->in = (struct fuse_in_header){
        .len = (uint32_t)(sizeof(r->in) + r->arg_len),
        .opcode = opcode,
        .unique = ++f->unique,
        .nodeid = nodeid,
        .uid = f->uid,
        .gid = f->gid,
        .pid = f->pid,
    };
    memset(&r->out, 0, sizeof(r->out));
    out[n_out++] = (struct iovec){&r->in, sizeof(r->in)};
    if (r->arg_len)
        out[n_out++] = (struct iovec){r->arg, r->arg_len};
    if (opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET) {
        in[n_in++] = (struct iovec){&r->out, sizeof(r->out)};
        if (r->reply_want)
            in[n_in++] = (struct iovec){r->reply, r->reply_want};
    }
    if (f->indirect)
        submit_flags |= VU_INDIRECT;
    return vu_submit(f->vu, queue, out, n_out, in, n_in, submit_flags, r);
}

int
vu_fs_reap(struct vu_fs *f, unsigned queue, int timeout_ms, struct vu_fs_req **req)
{
    void *token = NULL;
    uint32_t len = 0;
    int r;

    r = timeout_ms ? vu_wait(f->vu, queue, timeout_ms, &token, &len) : vu_poll(f->vu, queue, &token, &len);
    if (r == 1) {
        *req = token;
        (*req)->used_len = len;
    }
    return r;
}

int
vu_fs_result(const struct vu_fs_req *r)
{
    size_t max = sizeof(r->out) + r->reply_want;

    if (r->out.unique != r->in.unique || r->out.len < sizeof(r->out) || r->out.len > max ||
        r->used_len < r->out.len || r->out.error > 0 || r->out.error < -511) {
        vu_diag("malformed reply to opcode %u: unique %llu of %llu, length %u, used %u, error %d",
                r->in.opcode, (unsigned long long)r->out.unique, (unsigned long long)r->in.unique, r->out.len,
                r->used_len, r->out.error);
        return -EPROTO;
    }
    return r->out.error;
}

size_t
vu_fs_reply_len(const struct vu_fs_req *r)
{
    return r->out.len > sizeof(r->out) ? r->out.len - sizeof(r->out) : 0;
}

/* ---- one at a time -------------------------------------------------------------------------- */

static int
run(struct vu_fs *f, unsigned queue, struct vu_fs_req *r, uint32_t opcode, uint64_t nodeid)
{
    struct vu_fs_req *done = NULL;
    int ret;

    ret = vu_fs_submit(f, queue, r, opcode, nodeid, VU_KICK);
    if (ret == 0)
        ret = vu_fs_reap(f, queue, VU_TIMEOUT_MS, &done);
    if (ret < 0)
        return ret;
    return done == r ? 0 : -EPROTO;
}

int
vu_fs_call(struct vu_fs *f, uint32_t opcode, uint64_t nodeid, const void *arg, size_t arg_len,
           const void *arg2, size_t arg2_len, void *reply, size_t reply_cap, size_t *reply_len)
{
    struct vu_fs_req *r = f->sync_req;
    int ret;

    if (arg_len > r->arg_cap || arg2_len > r->arg_cap - arg_len || reply_cap > r->reply_cap)
        return -E2BIG;
    if (arg_len)
        memcpy(r->arg, arg, arg_len);
    if (arg2_len)
        memcpy(r->arg + arg_len, arg2, arg2_len);
    r->arg_len = arg_len + arg2_len;
    r->reply_want = reply_cap;
    ret = run(f, REQUEST_QUEUE, r, opcode, nodeid);
    if (ret == 0)
        ret = vu_fs_result(r);
    if (ret < 0)
        return ret;
    if (reply_cap)
        memcpy(reply, r->reply, vu_fs_reply_len(r));
    if (reply_len)
        *reply_len = vu_fs_reply_len(r);
    return 0;
}

/* A call whose reply has one size. */
static int
call_fixed(struct vu_fs *f, uint32_t opcode, uint64_t nodeid, const void *arg, size_t arg_len,
           const char *name, void *reply, size_t reply_size)
{
    size_t len = 0;
    int r;

    r = vu_fs_call(f, opcode, nodeid, arg, arg_len, name, name ? strlen(name) + 1 : 0, reply, reply_size,
                   &len);
    if (r == 0 && len != reply_size)
        r = -EPROTO;
    return r;
}

int
vu_fs_lookup(struct vu_fs *f, uint64_t parent, const char *name, struct fuse_entry_out *out)
{
    int r = call_fixed(f, FUSE_LOOKUP, parent, NULL, 0, name, out, sizeof(*out));

    return r == 0 && out->nodeid == 0 ? -ENOENT : r;
}

int
vu_fs_getattr(struct vu_fs *f, uint64_t nodeid, struct fuse_attr_out *out)
{
    struct fuse_getattr_in in = {0};

    return call_fixed(f, FUSE_GETATTR, nodeid, &in, sizeof(in), NULL, out, sizeof(*out));
}

int
vu_fs_setattr(struct vu_fs *f, uint64_t nodeid, const struct fuse_setattr_in *in, struct fuse_attr_out *out)
{
    return call_fixed(f, FUSE_SETATTR, nodeid, in, sizeof(*in), NULL, out, sizeof(*out));
}

int
vu_fs_open_file(struct vu_fs *f, uint64_t nodeid, uint32_t flags, uint64_t *fh)
{
    struct fuse_open_in in = {.flags = flags};
    struct fuse_open_out out = {0};
    int r = call_fixed(f, FUSE_OPEN, nodeid, &in, sizeof(in), NULL, &out, sizeof(out));

    if (r == 0)
        *fh = out.fh;
    return r;
}

int
vu_fs_release(struct vu_fs *f, uint64_t nodeid, uint64_t fh)
{
    struct fuse_release_in in = {.fh = fh};

    return call_fixed(f, FUSE_RELEASE, nodeid, &in, sizeof(in), NULL, NULL, 0);
}

int
vu_fs_create(struct vu_fs *f, uint64_t parent, const char *name, uint32_t flags, uint32_t mode,
             struct fuse_entry_out *entry, uint64_t *fh)
{
    struct fuse_create_in in = {.flags = flags, .mode = mode};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    int r = call_fixed(f, FUSE_CREATE, parent, &in, sizeof(in), name, &out, sizeof(out));

    if (r == 0) {
        *entry = out.entry;
        *fh = out.open.fh;
    }
    return r;
}

int
vu_fs_mkdir(struct vu_fs *f, uint64_t parent, const char *name, uint32_t mode, struct fuse_entry_out *entry)
{
    struct fuse_mkdir_in in = {.mode = mode};

    return call_fixed(f, FUSE_MKDIR, parent, &in, sizeof(in), name, entry, sizeof(*entry));
}

int
vu_fs_unlink(struct vu_fs *f, uint64_t parent, const char *name)
{
    return call_fixed(f, FUSE_UNLINK, parent, NULL, 0, name, NULL, 0);
}

int
vu_fs_rmdir(struct vu_fs *f, uint64_t parent, const char *name)
{
    return call_fixed(f, FUSE_RMDIR, parent, NULL, 0, name, NULL, 0);
}

ssize_t
vu_fs_read(struct vu_fs *f, uint64_t nodeid, uint64_t fh, uint64_t offset, void *buf, size_t len)
{
    struct fuse_read_in in = {.fh = fh, .offset = offset, .size = (uint32_t)len};
    size_t got = 0;
    int r = vu_fs_call(f, FUSE_READ, nodeid, &in, sizeof(in), NULL, 0, buf, len, &got);

    return r < 0 ? r : (ssize_t)got;
}

ssize_t
vu_fs_write(struct vu_fs *f, uint64_t nodeid, uint64_t fh, uint64_t offset, const void *buf, size_t len)
{
    struct fuse_write_in in = {.fh = fh, .offset = offset, .size = (uint32_t)len};
    struct fuse_write_out out = {0};
    size_t got = 0;
    int r = vu_fs_call(f, FUSE_WRITE, nodeid, &in, sizeof(in), buf, len, &out, sizeof(out), &got);

    if (r < 0)
        return r;
    return got == sizeof(out) ? (ssize_t)out.size : -EPROTO;
}

int
vu_fs_forget(struct vu_fs *f, uint64_t nodeid, uint64_t nlookup)
{
    struct fuse_forget_in in = {.nlookup = nlookup};
    struct vu_fs_req *r = f->sync_req;

    memcpy(r->arg, &in, sizeof(in));
    r->arg_len = sizeof(in);
    r->reply_want = 0;
    return run(f, 0, r, FUSE_FORGET, nodeid);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR.
 *
 * Offsets are the host filesystem's own (d_off), which stay valid while
 * entries come and go.  A handle reads ahead into a buffer; when the guest asks
 * for another offset than the next one, the buffer is dropped.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-ops.h"
#include "fs-path.h"

static int
get_dir(struct fs_req *req, uint64_t fh, struct fs_handle **handle)
{
    fs_auto_node struct fs_node_ref node = {req->fs, fs_node_get(req->fs, req->hdr.nodeid)};

    if (!node.node)
        return -ESTALE;
    *handle = fs_handle_get(req->fs, fh, node.node, true);
    return *handle ? 0 : -EBADF;
}

int
fs_op_opendir(struct fs_req *req)
{
    fs_auto_dir struct fs_dir_ref dir = {.fd = FS_FD_NONE};
    struct fuse_open_out *out;
    struct fs *fs = req->fs;
    uint64_t fh;
    int fd = -1, r;

    r = fs_dir_get(fs, req->hdr.nodeid, NULL, false, &dir);
    if (r < 0)
        return r;
    if (!fs->single) {
        fd = fs_path_open_dir(dir.fd.fd, fs->config.read_only);
        if (fd < 0)
            return fd;
    }
    r = fs_handle_new(fs, dir.node, fd, 0, true, &fh);
    if (r < 0)
        return r;
    out = fs_req_reply(req, sizeof(*out));
    out->fh = fh;
    if (fs->config.cache == FS_CACHE_ALWAYS)
        out->open_flags = FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR;
    return 0;
}

/* ---- entries ---------------------------------------------------------------------------------- */

struct dir_entry {
    const char *name;
    size_t name_len;
    uint64_t ino;
    uint64_t off;               /* where the entry after this one is */
    uint32_t type;              /* DT_* */
};

/* Where entries go: scratch memory of the worker. */
struct dir_out {
    struct fs_req *req;
    const struct fs_dir_ref *dir;
    bool plus;
    size_t len, cap;
};

static bool
is_dot_name(const struct dir_entry *e)
{
    return e->name[0] == '.' && (e->name_len == 1 || (e->name_len == 2 && e->name[1] == '.'));
}

/* Fill the entry part of a READDIRPLUS record. 0, or -ENOENT when the name has gone meanwhile. */
static int
add_attributes(struct dir_out *out, const struct dir_entry *e, struct fuse_direntplus *plus)
{
    int r;

    if (is_dot_name(e)) {
        plus->entry_out.attr.ino = e->ino;
        plus->entry_out.attr.mode = S_IFDIR;
        return 0;
    }
    r = fs_lookup_name(out->dir, e->name, &plus->entry_out, NULL);
    if (r == 0)
        plus->dirent.type = (plus->entry_out.attr.mode & S_IFMT) >> 12;
    else if (r != -ENOENT)
        memset(&plus->entry_out, 0, sizeof(plus->entry_out)); /* the name alone */
    return r == -ENOENT ? r : 0;
}

/* 1 when it was added or is not worth adding, 0 when there is no room. */
static int
add_entry(struct dir_out *out, const struct dir_entry *e)
{
    struct fs *fs = out->req->fs;
    size_t fixed = out->plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
    size_t size = FUSE_DIRENT_ALIGN(fixed + e->name_len);
    uint8_t *at = out->req->worker->reply + out->len;
    struct fuse_dirent *d = (void *)(out->plus ? at + offsetof(struct fuse_direntplus, dirent) : at);

    if (size > out->cap - out->len)
        return 0;
    memset(at, 0, size);
    d->ino = e->ino;
    d->off = e->off;
    d->namelen = (uint32_t)e->name_len;
    d->type = e->type;
    memcpy(d->name, e->name, e->name_len);
    /* What is above the share is none of the guest's business. */
    if (out->dir->node == fs->root && is_dot_name(e))
        d->ino = fs->root->key.ino;
    /* A regular file of the host may be any kind of file to the guest. */
    if (!out->plus && fs->config.stat_virt != FS_STAT_OFF && e->type == DT_REG)
        d->type = DT_UNKNOWN;
    if (out->plus && add_attributes(out, e, (void *)at) < 0)
        return 1;
    out->len += size;
    return 1;
}

/* ---- reading -------------------------------------------------------------------------------------- */

struct host_dirent {
    uint64_t d_ino;
    int64_t d_off;
    uint16_t d_reclen;
    uint8_t d_type;
    char d_name[];
};

/* Have at least one entry in the buffer that continues offset. 1, 0 at the end, or -errno. */
static int
fill_stream(struct fs_handle *handle, uint64_t offset)
{
    struct fs_dir_stream *s = &handle->dir;
    ssize_t got;

    if (!s->buf) {
        int r = fs_dir_stream_get(handle->fs, s);

        if (r < 0)
            return r;
    } else if (offset != 0 && offset == s->next) {
        if (s->pos < s->len)
            return 1;
    }
    s->pos = 0;
    s->len = 0;
    if (offset != s->next || offset == 0) {
        if (lseek(handle->fd, (off_t)offset, SEEK_SET) < 0)
            return -errno;
        s->next = offset;
    }
    got = getdents64(handle->fd, s->buf, FS_DIR_BUFFER);
    if (got < 0)
        return -errno;
    s->len = (uint32_t)got;
    return got > 0;
}

static int
read_stream(struct dir_out *out, struct fs_handle *handle, uint64_t offset)
{
    struct fs_dir_stream *s = &handle->dir;
    int r = 1;

    while (r > 0) {
        r = fill_stream(handle, offset);
        while (r > 0 && s->pos < s->len) {
            const struct host_dirent *h = (const void *)(s->buf + s->pos);
            struct dir_entry e = {
                .name = h->d_name,
                .name_len = strlen(h->d_name),
                .ino = h->d_ino,
                .off = (uint64_t)h->d_off,
                .type = h->d_type,
            };

            r = add_entry(out, &e);
            if (r > 0) {
                s->pos += h->d_reclen;
                s->next = (uint64_t)h->d_off;
                offset = s->next;
            }
        }
    }
    /* An error after some entries is reported by the next request. */
    return r < 0 && out->len == 0 ? r : 0;
}

/* The three entries of a single-file share. */
static int
read_single(struct dir_out *out, uint64_t offset)
{
    struct fs *fs = out->req->fs;
    const char *const names[] = {".", "..", fs->single};

    for (; offset < MB_ARRAY_SIZE(names); offset++) {
        struct dir_entry e = {
            .name = names[offset],
            .name_len = strlen(names[offset]),
            .ino = offset < 2 ? fs->root->key.ino : 1,
            .off = offset + 1,
            .type = offset < 2 ? DT_DIR : DT_REG,
        };

        if (add_entry(out, &e) == 0)
            break;
    }
    return 0;
}

static int
read_dir(struct fs_req *req, bool plus)
{
    const struct fuse_read_in *in = FS_ARG(req, struct fuse_read_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    struct fs *fs = req->fs;
    struct dir_out out = {.req = req, .plus = plus};
    struct fs_dir_ref dir;
    int r = get_dir(req, in->fh, &handle);

    if (r < 0)
        return r;
    dir = (struct fs_dir_ref){.fs = fs, .node = handle->node, .fd = {.fd = handle->fd, .real = true}};
    out.dir = &dir;
    out.cap = MB_MIN(MB_MIN(in->size, FS_MAX_REPLY), fs_req_room(req));
    if (fs->single) {
        fs_auto_dir struct fs_dir_ref root = {.fd = FS_FD_NONE};

        r = fs_dir_get(fs, req->hdr.nodeid, NULL, false, &root);
        if (r < 0)
            return r;
        out.dir = &root;
        r = read_single(&out, in->offset);
    } else {
        pthread_mutex_lock(&handle->dir.lock);
        r = read_stream(&out, handle, in->offset);
        /* At the end, or when many directories are being read, nothing is kept. */
        if (out.len == 0 || atomic_load(&fs->handles.n_dir_buffers) > FS_MAX_DIR_BUFFERS)
            fs_dir_stream_drop(fs, &handle->dir);
        pthread_mutex_unlock(&handle->dir.lock);
    }
    req->reply_len = out.len;
    return r;
}

int
fs_op_readdir(struct fs_req *req)
{
    return read_dir(req, false);
}

int
fs_op_readdirplus(struct fs_req *req)
{
    return read_dir(req, true);
}

/* ---- the rest ---------------------------------------------------------------------------------------- */

int
fs_op_releasedir(struct fs_req *req)
{
    const struct fuse_release_in *in = FS_ARG(req, struct fuse_release_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    int r = get_dir(req, in->fh, &handle);

    if (r < 0)
        return r;
    return fs_handle_release(handle) ? 0 : -EBADF;
}

int
fs_op_fsyncdir(struct fs_req *req)
{
    const struct fuse_fsync_in *in = FS_ARG(req, struct fuse_fsync_in);
    fs_auto_handle struct fs_handle *handle = NULL;
    int r = get_dir(req, in->fh, &handle);

    if (r < 0)
        return r;
    if (handle->fd < 0)
        return 0;
    r = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(handle->fd) : fsync(handle->fd);
    return r < 0 ? -errno : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The FUSE client of the tests, see fs-test.h.
 */
#include <config.h>

#include "fs-test.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "vu-fs.h"

/* ---- temporary directory ------------------------------------------------------------------------- */

static char tmp_dir[PATH_MAX];

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void
remove_tree(const char *path)
{
    nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

void
ft_tmp_remove(void)
{
    if (tmp_dir[0])
        remove_tree(tmp_dir);
    tmp_dir[0] = 0;
}

const char *
ft_tmp(void)
{
    const char *base = getenv("TMPDIR");
    char path[PATH_MAX];

    if (!tmp_dir[0]) {
        snprintf(path, sizeof(path), "%s/msb-fs-test.XXXXXX", base && *base ? base : "/tmp");
        if (!mkdtemp(path) || !realpath(path, tmp_dir)) {
            printf("Bail out! no temporary directory\n");
            exit(1);
        }
        atexit(ft_tmp_remove);
    }
    return tmp_dir;
}

const char *
ft_at(const char *dir, const char *name)
{
    static char buf[8][PATH_MAX];
    static unsigned turn;
    char *path = buf[turn++ % MB_ARRAY_SIZE(buf)];

    if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        exit(1);
    return path;
}

const char *
ft_path(const char *name)
{
    return ft_at(ft_tmp(), name);
}

const char *
ft_subdir(const char *name)
{
    const char *path = ft_path(name);

    remove_tree(path);
    if (mkdir(path, 0755) < 0) {
        printf("Bail out! mkdir '%s'\n", path);
        exit(1);
    }
    return path;
}

const char *
ft_no_xattr(void)
{
    const char *why = NULL;

    if (setxattr(ft_tmp(), "user.msb-test", "", 0, 0) < 0)
        why = "the temporary directory's filesystem has no user attributes (set TMPDIR)";
    else
        removexattr(ft_tmp(), "user.msb-test");
    return why;
}

/* ---- transports ------------------------------------------------------------------------------------- */

static int
core_call(struct ft *t, uint32_t opcode, uint64_t nodeid, const void *arg, size_t arg_len, const void *arg2,
          size_t arg2_len, void *reply, size_t cap, size_t *len)
{
    struct fuse_in_header in = {
        .len = (uint32_t)(sizeof(in) + arg_len + arg2_len),
        .opcode = opcode,
        .unique = ++t->unique,
        .nodeid = nodeid,
        .uid = t->uid,
        .gid = t->gid,
    };
    struct fuse_out_header out = {0};
    struct iovec out_iov[3] = {
        {&in, sizeof(in)},
        {(void *)(uintptr_t)arg, arg_len},
        {(void *)(uintptr_t)arg2, arg2_len},
    };
    struct iovec in_iov[2] = {{&out, sizeof(out)}, {reply, cap}};
    struct fs_req req = {
        .fs = t->fs,
        .out = out_iov,
        .n_out = 3,
        .in = in_iov,
        .n_in = 2,
        .may_wait = true,
    };

    if (fs_req_run(&req, t->worker) != FS_REQ_DONE)
        return -EPROTO;
    if (len)
        *len = 0;
    if (req.written == 0)
        return 0;
    if (req.written != out.len || out.unique != in.unique || out.error > 0 || (out.error && out.len != sizeof(out)))
        return -EPROTO;
    if (len)
        *len = out.len - sizeof(out);
    return out.error;
}

struct ft *
ft_core(const struct fs_config *config)
{
    struct ft *t = calloc(1, sizeof(*t));
    char err[FS_ERR_MAX];

    if (!t || fs_new(config, &t->fs, err) < 0) {
        printf("Bail out! %s\n", t ? err : "memory");
        exit(1);
    }
    t->worker = fs_worker_new();
    t->call = core_call;
    if (ft_init(t, ~UINT64_C(0)) < 0) {
        printf("Bail out! INIT\n");
        exit(1);
    }
    return t;
}

static int
vu_call(struct ft *t, uint32_t opcode, uint64_t nodeid, const void *arg, size_t arg_len, const void *arg2,
        size_t arg2_len, void *reply, size_t cap, size_t *len)
{
    struct vu_fs *f = t->vu;
    int r;

    f->uid = t->uid;
    f->gid = t->gid;
    if (opcode == FUSE_FORGET)
        return vu_fs_forget(f, nodeid, ((const struct fuse_forget_in *)arg)->nlookup);
    r = vu_fs_call(f, opcode, nodeid, arg, arg_len, arg2, arg2_len, reply, cap, len);
    if (r == -ETIMEDOUT || r == -EPROTO || r == -ECONNRESET) {
        printf("Bail out! opcode %u: the back-end does not answer\n", opcode);
        exit(1);
    }
    return r;
}

struct ft *
ft_backend(const struct vu_options *o, uint32_t init_flags)
{
    struct ft *t = calloc(1, sizeof(*t));
    struct vu_fs *f = calloc(1, sizeof(*f));

    if (!t || !f || vu_fs_open(f, o, init_flags) < 0) {
        free(t);
        free(f);
        return NULL;
    }
    t->vu = f;
    t->call = vu_call;
    return t;
}

struct ft *
ft_vu(const char *const *args)
{
    const char *build = getenv("abs_top_builddir");
    char program[PATH_MAX];
    const char *argv[24] = {program};
    struct vu_options o = {.argv = argv, .queues = 2, .memory = 32u << 20};
    struct ft *t;
    unsigned n;

    snprintf(program, sizeof(program), "%s/vhost-fs/msb-vhost-fs", build ? build : ".");
    for (n = 0; args[n] && n + 2 < MB_ARRAY_SIZE(argv); n++)
        argv[n + 1] = args[n];
    t = ft_backend(&o, 0);
    if (!t) {
        printf("Bail out! %s does not serve\n", program);
        exit(1);
    }
    return t;
}

void
ft_free(struct ft *t)
{
    if (t->vu) {
        vu_fs_close(t->vu);
        free(t->vu);
    }
    fs_free(t->fs);
    fs_worker_free(t->worker);
    free(t);
}

size_t
ft_raw(struct ft *t, const void *out, size_t out_len, void *in, size_t in_len)
{
    struct iovec out_iov = {(void *)(uintptr_t)out, out_len};
    struct iovec in_iov = {in, in_len};
    struct fs_req req = {.fs = t->fs, .out = &out_iov, .n_out = 1, .in = &in_iov, .n_in = 1, .may_wait = true};

    return fs_req_run(&req, t->worker) == FS_REQ_DONE ? req.written : 0;
}

/* ---- calls ---------------------------------------------------------------------------------------------- */

int
ft_call(struct ft *t, uint32_t opcode, uint64_t nodeid, const void *arg, size_t arg_len, const void *arg2,
        size_t arg2_len, void *reply, size_t cap, size_t *len)
{
    return t->call(t, opcode, nodeid, arg, arg_len, arg2, arg2_len, reply, cap, len);
}

int
ft_init(struct ft *t, uint64_t flags)
{
    struct fuse_init_in in = {
        .major = 7,
        .minor = 38,
        .max_readahead = 131072,
        .flags = (uint32_t)flags,
        .flags2 = (uint32_t)(flags >> 32),
    };
    struct fuse_init_out out;

    return ft_call(t, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL);
}

int
ft_lookup(struct ft *t, uint64_t dir, const char *name, struct fuse_entry_out *e)
{
    struct fuse_entry_out tmp;
    int r;

    if (!e)
        e = &tmp;
    r = ft_call(t, FUSE_LOOKUP, dir, name, strlen(name) + 1, NULL, 0, e, sizeof(*e), NULL);
    return r == 0 && e->nodeid == 0 ? -ENOENT : r;
}

int
ft_walk(struct ft *t, const char *path, uint64_t *node)
{
    char name[NAME_MAX + 1];
    struct fuse_entry_out e;

    *node = FUSE_ROOT_ID;
    for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
        size_t len = strcspn(path, "/");
        int r;

        memcpy(name, path, len);
        name[len] = 0;
        path += len;
        r = ft_lookup(t, *node, name, &e);
        if (r < 0)
            return r;
        *node = e.nodeid;
    }
    return 0;
}

int
ft_forget(struct ft *t, uint64_t node, uint64_t n)
{
    struct fuse_forget_in in = {.nlookup = n};

    return ft_call(t, FUSE_FORGET, node, &in, sizeof(in), NULL, 0, NULL, 0, NULL);
}

int
ft_getattr(struct ft *t, uint64_t node, struct fuse_attr *a)
{
    struct fuse_getattr_in in = {0};
    struct fuse_attr_out out;
    int r = ft_call(t, FUSE_GETATTR, node, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL);

    if (r == 0 && a)
        *a = out.attr;
    return r;
}

int
ft_setattr(struct ft *t, uint64_t node, const struct fuse_setattr_in *in, struct fuse_attr *a)
{
    struct fuse_attr_out out;
    int r = ft_call(t, FUSE_SETATTR, node, in, sizeof(*in), NULL, 0, &out, sizeof(out), NULL);

    if (r == 0 && a)
        *a = out.attr;
    return r;
}

int
ft_chmod(struct ft *t, uint64_t node, uint32_t mode)
{
    struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = mode};

    return ft_setattr(t, node, &in, NULL);
}

int
ft_chown(struct ft *t, uint64_t node, uint32_t uid, uint32_t gid)
{
    struct fuse_setattr_in in = {.uid = uid, .gid = gid};

    in.valid = (uid != UINT32_MAX ? FATTR_UID : 0) | (gid != UINT32_MAX ? FATTR_GID : 0);
    return ft_setattr(t, node, &in, NULL);
}

int
ft_truncate(struct ft *t, uint64_t node, uint64_t size)
{
    struct fuse_setattr_in in = {.valid = FATTR_SIZE, .size = size};

    return ft_setattr(t, node, &in, NULL);
}

int
ft_open(struct ft *t, uint64_t node, uint32_t flags, uint64_t *fh)
{
    struct fuse_open_in in = {.flags = flags};
    struct fuse_open_out out;
    int r = ft_call(t, FUSE_OPEN, node, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL);

    *fh = r == 0 ? out.fh : 0;
    return r;
}

int
ft_create(struct ft *t, uint64_t dir, const char *name, uint32_t flags, uint32_t mode, struct fuse_entry_out *e,
          uint64_t *fh)
{
    struct fuse_create_in in = {.flags = flags | O_CREAT, .mode = mode, .umask = t->umask};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    int r = ft_call(t, FUSE_CREATE, dir, &in, sizeof(in), name, strlen(name) + 1, &out, sizeof(out), NULL);

    if (r == 0 && e)
        *e = out.entry;
    if (r == 0)
        *fh = out.open.fh;
    return r;
}

int
ft_release(struct ft *t, uint64_t node, uint64_t fh)
{
    struct fuse_release_in in = {.fh = fh};

    return ft_call(t, FUSE_RELEASE, node, &in, sizeof(in), NULL, 0, NULL, 0, NULL);
}

int
ft_flush(struct ft *t, uint64_t node, uint64_t fh, uint64_t owner)
{
    struct fuse_flush_in in = {.fh = fh, .lock_owner = owner};

    return ft_call(t, FUSE_FLUSH, node, &in, sizeof(in), NULL, 0, NULL, 0, NULL);
}

int
ft_read(struct ft *t, uint64_t node, uint64_t fh, uint64_t off, void *buf, uint32_t len)
{
    struct fuse_read_in in = {.fh = fh, .offset = off, .size = len};
    size_t got = 0;
    int r = ft_call(t, FUSE_READ, node, &in, sizeof(in), NULL, 0, buf, len, &got);

    return r < 0 ? r : (int)got;
}

int
ft_write(struct ft *t, uint64_t node, uint64_t fh, uint64_t off, const void *buf, uint32_t len, uint32_t flags)
{
    struct fuse_write_in in = {.fh = fh, .offset = off, .size = len, .write_flags = flags};
    struct fuse_write_out out;
    int r = ft_call(t, FUSE_WRITE, node, &in, sizeof(in), buf, len, &out, sizeof(out), NULL);

    return r < 0 ? r : (int)out.size;
}

int
ft_fallocate(struct ft *t, uint64_t node, uint64_t fh, uint32_t mode, uint64_t off, uint64_t len)
{
    struct fuse_fallocate_in in = {.fh = fh, .offset = off, .length = len, .mode = mode};

    return ft_call(t, FUSE_FALLOCATE, node, &in, sizeof(in), NULL, 0, NULL, 0, NULL);
}

int
ft_mkdir(struct ft *t, uint64_t dir, const char *name, uint32_t mode, struct fuse_entry_out *e)
{
    struct fuse_mkdir_in in = {.mode = mode, .umask = t->umask};
    struct fuse_entry_out tmp;

    return ft_call(t, FUSE_MKDIR, dir, &in, sizeof(in), name, strlen(name) + 1, e ? e : &tmp, sizeof(tmp), NULL);
}

int
ft_mknod(struct ft *t, uint64_t dir, const char *name, uint32_t mode, uint32_t rdev, struct fuse_entry_out *e)
{
    struct fuse_mknod_in in = {.mode = mode, .rdev = rdev, .umask = t->umask};
    struct fuse_entry_out tmp;

    return ft_call(t, FUSE_MKNOD, dir, &in, sizeof(in), name, strlen(name) + 1, e ? e : &tmp, sizeof(tmp), NULL);
}

int
ft_symlink(struct ft *t, uint64_t dir, const char *name, const char *target, struct fuse_entry_out *e)
{
    struct fuse_entry_out tmp;

    return ft_call(t, FUSE_SYMLINK, dir, name, strlen(name) + 1, target, strlen(target) + 1, e ? e : &tmp,
                   sizeof(tmp), NULL);
}

int
ft_readlink(struct ft *t, uint64_t node, char *buf, size_t cap)
{
    size_t len = 0;
    int r = ft_call(t, FUSE_READLINK, node, NULL, 0, NULL, 0, buf, cap - 1, &len);

    buf[len] = 0;
    return r;
}

int
ft_link(struct ft *t, uint64_t node, uint64_t dir, const char *name, struct fuse_entry_out *e)
{
    struct fuse_link_in in = {.oldnodeid = node};
    struct fuse_entry_out tmp;

    return ft_call(t, FUSE_LINK, dir, &in, sizeof(in), name, strlen(name) + 1, e ? e : &tmp, sizeof(tmp), NULL);
}

int
ft_unlink(struct ft *t, uint64_t dir, const char *name)
{
    return ft_call(t, FUSE_UNLINK, dir, name, strlen(name) + 1, NULL, 0, NULL, 0, NULL);
}

int
ft_rmdir(struct ft *t, uint64_t dir, const char *name)
{
    return ft_call(t, FUSE_RMDIR, dir, name, strlen(name) + 1, NULL, 0, NULL, 0, NULL);
}

int
ft_rename(struct ft *t, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name, uint32_t flags)
{
    struct fuse_rename2_in in = {.newdir = new_dir, .flags = flags};
    char names[2 * (NAME_MAX + 2)];
    size_t a = strlen(name) + 1, b = strlen(new_name) + 1;

    if (a + b > sizeof(names))
        return -ENAMETOOLONG;
    memcpy(names, name, a);
    memcpy(names + a, new_name, b);
    return ft_call(t, FUSE_RENAME2, dir, &in, sizeof(in), names, a + b, NULL, 0, NULL);
}

int
ft_setxattr(struct ft *t, uint64_t node, const char *name, const void *value, size_t len, uint32_t flags)
{
    struct fuse_setxattr_in in = {.size = (uint32_t)len, .flags = flags};
    size_t n = strlen(name) + 1;
    char *body = malloc(n + len);
    size_t fixed = t->fs ? sizeof(in) : FUSE_COMPAT_SETXATTR_IN_SIZE;
    int r;

    memcpy(body, name, n);
    if (len)
        memcpy(body + n, value, len);
    r = ft_call(t, FUSE_SETXATTR, node, &in, fixed, body, n + len, NULL, 0, NULL);
    free(body);
    return r;
}

int
ft_getxattr(struct ft *t, uint64_t node, const char *name, void *value, uint32_t cap)
{
    struct fuse_getxattr_in in = {.size = cap};
    struct fuse_getxattr_out out;
    size_t len = 0;
    int r = ft_call(t, FUSE_GETXATTR, node, &in, sizeof(in), name, strlen(name) + 1, cap ? value : (void *)&out,
                    cap ? cap : sizeof(out), &len);

    return r < 0 ? r : cap ? (int)len : (int)out.size;
}

int
ft_listxattr(struct ft *t, uint64_t node, char *list, uint32_t cap)
{
    struct fuse_getxattr_in in = {.size = cap};
    struct fuse_getxattr_out out;
    size_t len = 0;
    int r = ft_call(t, FUSE_LISTXATTR, node, &in, sizeof(in), NULL, 0, cap ? list : (void *)&out,
                    cap ? cap : sizeof(out), &len);

    return r < 0 ? r : cap ? (int)len : (int)out.size;
}

int
ft_removexattr(struct ft *t, uint64_t node, const char *name)
{
    return ft_call(t, FUSE_REMOVEXATTR, node, name, strlen(name) + 1, NULL, 0, NULL, 0, NULL);
}

int
ft_opendir(struct ft *t, uint64_t node, uint64_t *fh)
{
    struct fuse_open_in in = {.flags = O_RDONLY | O_DIRECTORY};
    struct fuse_open_out out;
    int r = ft_call(t, FUSE_OPENDIR, node, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL);

    *fh = r == 0 ? out.fh : 0;
    return r;
}

int
ft_releasedir(struct ft *t, uint64_t node, uint64_t fh)
{
    struct fuse_release_in in = {.fh = fh};

    return ft_call(t, FUSE_RELEASEDIR, node, &in, sizeof(in), NULL, 0, NULL, 0, NULL);
}

int
ft_readdir(struct ft *t, uint64_t node, uint64_t fh, bool plus, uint64_t off, void *buf, uint32_t cap)
{
    struct fuse_read_in in = {.fh = fh, .offset = off, .size = cap};
    size_t len = 0;
    int r = ft_call(t, plus ? FUSE_READDIRPLUS : FUSE_READDIR, node, &in, sizeof(in), NULL, 0, buf, cap, &len);

    return r < 0 ? r : (int)len;
}

int
ft_list(struct ft *t, uint64_t node, bool plus, uint32_t cap,
        void (*fn)(void *data, const char *name, uint32_t type, const struct fuse_entry_out *e), void *data)
{
    size_t head = plus ? offsetof(struct fuse_direntplus, dirent) : 0;
    char *buf = malloc(cap), name[NAME_MAX + 1];
    uint64_t fh, off = 0;
    int n = 0, len, r;

    r = ft_opendir(t, node, &fh);
    if (r < 0) {
        free(buf);
        return r;
    }
    while ((len = ft_readdir(t, node, fh, plus, off, buf, cap)) > 0) {
        size_t at = 0;

        while (at + head + FUSE_NAME_OFFSET < (size_t)len) {
            const struct fuse_dirent *d = (const void *)(buf + at + head);

            memcpy(name, d->name, d->namelen);
            name[d->namelen] = 0;
            off = d->off;
            if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
                n++;
                if (fn)
                    fn(data, name, d->type, plus ? (const void *)(buf + at) : NULL);
            }
            at += FUSE_DIRENT_ALIGN(head + FUSE_NAME_OFFSET + d->namelen);
        }
    }
    ft_releasedir(t, node, fh);
    free(buf);
    return len < 0 ? len : n;
}

int
ft_setlk(struct ft *t, uint64_t node, uint64_t fh, uint64_t owner, uint32_t type, uint64_t start, uint64_t end,
         uint32_t flags)
{
    struct fuse_lk_in in = {
        .fh = fh,
        .owner = owner,
        .lk = {.start = start, .end = end, .type = type},
        .lk_flags = flags,
    };

    return ft_call(t, FUSE_SETLK, node, &in, sizeof(in), NULL, 0, NULL, 0, NULL);
}

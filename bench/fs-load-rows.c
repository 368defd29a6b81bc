/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The operations that bench/fs-load measures, as FUSE requests.
 */
#include <config.h>

#include "fs-load.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "mb-macros.h"

/* What the queue itself costs: an operation that no back-end knows. */
static double
nothing(struct side *s)
{
    int r = vu_fs_call(&s->f, 4000, FUSE_ROOT_ID, NULL, 0, NULL, 0, NULL, 0, NULL);

    if (r != -ENOSYS)
        die("an unknown operation", r);
    return 1;
}

static double
stat_existing(struct side *s)
{
    struct fuse_entry_out e;
    int r = vu_fs_lookup(&s->f, s->names, name_of(rnd() % N_NAMES), &e);

    if (r < 0)
        die("lookup", r);
    return 1;
}

static double
stat_missing(struct side *s)
{
    struct fuse_entry_out e;
    int r = vu_fs_lookup(&s->f, s->names, "no-such-name", &e);

    if (r != -ENOENT)
        die("lookup", r);
    return 1;
}

static double
open_close(struct side *s)
{
    uint64_t node = s->node[rnd() % N_NAMES], fh;
    struct fuse_flush_in flush = {0};
    int r = vu_fs_open_file(&s->f, node, O_RDONLY, &fh);

    if (r < 0)
        die("open", r);
    flush.fh = fh;
    r = vu_fs_call(&s->f, FUSE_FLUSH, node, &flush, sizeof(flush), NULL, 0, NULL, 0, NULL);
    if (r < 0)
        die("flush", r);
    vu_fs_release(&s->f, node, fh);
    return 1;
}

/* FORGET, as Linux sends it: nobody waits until it was taken. */
static void
forget(struct side *s, uint64_t nodeid)
{
    struct vu_fs_req *r = NULL;
    int got = 0;

    if (s->n_forgets < N_FORGETS)
        r = s->forget[s->n_forgets++];
    else
        got = vu_fs_reap(&s->f, 0, VU_TIMEOUT_MS, &r);
    if (!r)
        die("forget", got);
    *(struct fuse_forget_in *)(void *)r->arg = (struct fuse_forget_in){.nlookup = 1};
    r->arg_len = sizeof(struct fuse_forget_in);
    got = vu_fs_submit(&s->f, 0, r, FUSE_FORGET, nodeid, VU_KICK);
    if (got < 0)
        die("forget", got);
}

static double
create_unlink(struct side *s)
{
    struct fuse_entry_out e;
    uint64_t fh;
    int r = vu_fs_create(&s->f, s->work, "new-file", O_CREAT | O_RDWR | O_EXCL, 0644, &e, &fh);

    if (r < 0)
        die("create", r);
    vu_fs_release(&s->f, e.nodeid, fh);
    r = vu_fs_unlink(&s->f, s->work, "new-file");
    if (r < 0)
        die("unlink", r);
    forget(s, e.nodeid);
    return 1;
}

static double
read_dir_plus(struct side *s)
{
    struct fuse_open_in open_in = {.flags = O_RDONLY | O_DIRECTORY};
    struct fuse_read_in in = {.size = 4096};
    struct fuse_release_in release = {0};
    struct fuse_open_out out;
    static char buf[4096];
    double entries = 0;
    size_t len = 0;
    int r = vu_fs_call(&s->f, FUSE_OPENDIR, s->many, &open_in, sizeof(open_in), NULL, 0, &out, sizeof(out), NULL);

    in.fh = release.fh = out.fh;
    while (r == 0) {
        size_t at;

        r = vu_fs_call(&s->f, FUSE_READDIRPLUS, s->many, &in, sizeof(in), NULL, 0, buf, sizeof(buf), &len);
        if (r < 0 || len == 0)
            break;
        for (at = 0; at < len;) {
            const struct fuse_direntplus *d = (const void *)(buf + at);

            in.offset = d->dirent.off;
            at += FUSE_DIRENTPLUS_SIZE(d);
            entries++;
        }
    }
    if (r < 0)
        die("readdirplus", r);
    vu_fs_call(&s->f, FUSE_RELEASEDIR, s->many, &release, sizeof(release), NULL, 0, NULL, 0, NULL);
    return entries;
}

/* depth requests of len bytes under way, total of count. */
static void
transfer(struct side *s, bool write, unsigned depth, size_t len, unsigned count, bool random)
{
    static uint64_t position;
    unsigned sent = 0, done = 0, i;

    for (i = 0; done < count; i++) {
        struct vu_fs_req *r;
        uint64_t at;
        int got;

        if (sent < count && sent - done < depth) {
            r = s->req[sent < depth ? sent : i];
        } else {
            got = vu_fs_reap(&s->f, 1, VU_TIMEOUT_MS, &r);
            if (got < 0 || vu_fs_result(r) < 0)
                die("transfer", got < 0 ? got : vu_fs_result(r));
            done++;
            if (sent >= count)
                continue;
        }
        at = random ? (uint64_t)(rnd() % (FILE_SIZE / 4096)) * 4096 : (position += len) % FILE_SIZE;
        if (write) {
            struct fuse_write_in in = {.fh = s->big_fh, .offset = at, .size = (uint32_t)len};

            memcpy(r->arg, &in, sizeof(in));
            r->arg_len = sizeof(in) + len;
            r->reply_want = sizeof(struct fuse_write_out);
        } else {
            struct fuse_read_in in = {.fh = s->big_fh, .offset = at, .size = (uint32_t)len};

            memcpy(r->arg, &in, sizeof(in));
            r->arg_len = sizeof(in);
            r->reply_want = len;
        }
        got = vu_fs_submit(&s->f, 1, r, write ? FUSE_WRITE : FUSE_READ, s->big, VU_KICK);
        if (got < 0)
            die("submit", got);
        sent++;
    }
}

static double
read_1(struct side *s)
{
    transfer(s, false, 1, 4096, 64, true);
    return 64;
}

static double
read_32(struct side *s)
{
    transfer(s, false, 32, 4096, 512, true);
    return 512;
}

static double
write_1(struct side *s)
{
    transfer(s, true, 1, 4096, 64, true);
    return 64;
}

static double
write_32(struct side *s)
{
    transfer(s, true, 32, 4096, 512, true);
    return 512;
}

static double
read_seq(struct side *s)
{
    transfer(s, false, 2, 1u << 20, 32, false);
    return 32;
}

static double
write_seq(struct side *s)
{
    transfer(s, true, 2, 1u << 20, 32, false);
    return 32;
}

const struct row rows[] = {
    {"nothing", "ops/s", nothing, NULL, false},
    {"stat-existing", "ops/s", stat_existing, floor_stat, true},
    {"stat-missing", "ops/s", stat_missing, floor_missing, true},
    {"open-close", "ops/s", open_close, floor_open, true},
    {"create-unlink", "ops/s", create_unlink, floor_create, true},
    {"readdirplus-10000", "entries/s", read_dir_plus, floor_readdir, true},
    {"rand-read-4k-d1", "ops/s", read_1, floor_read_4k, false},
    {"rand-read-4k-d32", "ops/s", read_32, floor_read_4k, false},
    {"rand-write-4k-d1", "ops/s", write_1, floor_write_4k, false},
    {"rand-write-4k-d32", "ops/s", write_32, floor_write_4k, false},
    {"seq-read-1m", "MiB/s", read_seq, floor_read_1m, false},
    {"seq-write-1m", "MiB/s", write_seq, floor_write_1m, false},
};
const unsigned n_rows = MB_ARRAY_SIZE(rows);

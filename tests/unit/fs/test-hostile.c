/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that no kernel sends: every opcode with bodies that are empty,
 * short, huge, or noise, replies without room, and numbers that were never
 * given out.  The core must answer or stay silent, and serve the next request.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fs-test.h"
#include "rnd.h"

#define MAX_OPCODE 64u

static struct ft *t;
static uint8_t body[FS_MAX_BODY + 4096], reply[FS_MAX_REPLY + 4096];
static uint8_t huge[FS_MAX_WRITE + 4096];

static uint32_t
rnd(void)
{
    static uint64_t state = 88172645463325252u;

    return (uint32_t)(rnd_next(&state) >> 16);
}

/* One raw request; true if what came back is a well-formed reply or silence. */
static bool
send_raw(uint32_t opcode, uint64_t nodeid, uint32_t claimed, size_t len, size_t room)
{
    struct fuse_in_header in = {.len = claimed, .opcode = opcode, .unique = 7, .nodeid = nodeid};
    struct fuse_out_header out;
    size_t got;

    memcpy(body, &in, MB_MIN(sizeof(in), len));
    memset(reply, 0xaa, sizeof(out));
    got = ft_raw(t, body, len, reply, room);
    if (got == 0)
        return true;
    memcpy(&out, reply, sizeof(out));
    return got >= sizeof(out) && got <= room && out.len == got && out.unique == 7 && out.error <= 0 &&
           out.error > -4096;
}

static bool
alive(void)
{
    struct fuse_attr a;

    return ft_getattr(t, FUSE_ROOT_ID, &a) == 0 && S_ISDIR(a.mode);
}

static void
restart(const char *dir)
{
    struct fs_config config = {.shared_dir = dir, .cache = FS_CACHE_AUTO, .stat_virt = FS_STAT_STRICT};

    if (t)
        ft_free(t);
    t = ft_core(&config);
}

static void
test_sizes(void)
{
    static const size_t lens[] = {0, 1, 39, 40, 41, 44, 48, 56, 64, 104, 128, 300, 4096, 66000};
    static const size_t rooms[] = {0, 1, 15, 16, 17, 24, 100, 144, 4096, 66000};
    unsigned op, i, k, bad = 0;

    for (op = 0; op < MAX_OPCODE; op++) {
        for (i = 0; i < MB_ARRAY_SIZE(lens); i++) {
            for (k = 0; k < MB_ARRAY_SIZE(rooms); k++) {
                memset(body, 0, sizeof(body));
                bad += !send_raw(op, 1, (uint32_t)lens[i], lens[i], rooms[k]);
                memset(body, 0xff, sizeof(body));
                bad += !send_raw(op, 1, (uint32_t)lens[i], lens[i], rooms[k]);
                /* The header lies about the length. */
                bad += !send_raw(op, 1, 0, lens[i], rooms[k]);
                bad += !send_raw(op, 1, UINT32_MAX, lens[i], rooms[k]);
                bad += !send_raw(op, 1, 41, lens[i], rooms[k]);
            }
        }
        if (op == FUSE_DESTROY)
            ft_init(t, ~UINT64_C(0));
    }
    eq_int(bad, 0, "every opcode with bodies and room of odd sizes");
    ok(alive(), "and the next request is served");
}

/* The result of a request with len bytes of arguments; 1 when there is no reply. */
static int
send_huge(uint32_t opcode, size_t len)
{
    struct fuse_in_header in = {.len = (uint32_t)(sizeof(in) + len), .opcode = opcode, .unique = 7, .nodeid = 1};
    struct fuse_out_header out;

    memcpy(huge, &in, sizeof(in));
    if (ft_raw(t, huge, sizeof(in) + len, reply, sizeof(reply)) == 0)
        return 1;
    memcpy(&out, reply, sizeof(out));
    return out.error;
}

/* More than the scratch memory of a worker has room for, by a little and by far: those with data
 * behind their arguments apart, nothing of the kind is looked at. */
static void
test_huge(void)
{
    const size_t lens[] = {FS_MAX_XATTR + 1026, FS_MAX_BODY + 1, 300000, FS_MAX_WRITE};
    unsigned op, i;

    memset(huge, 'x', sizeof(huge));
    for (op = 0; op < MAX_OPCODE; op++) {
        for (i = 0; i < MB_ARRAY_SIZE(lens); i++) {
            int r = op == FUSE_WRITE ? 1 : send_huge(op, lens[i]);

            if (r != 1 && r != -ENOSYS && r != -EINVAL) {
                ok(false, "opcode %u with %zu bytes of arguments: %d", op, lens[i], r);
                return;
            }
        }
    }
    ok(alive(), "every opcode with more arguments than it can have");
}

static void
test_noise(void)
{
    unsigned i, bad = 0;
    size_t k;

    for (i = 0; i < 60000; i++) {
        size_t len = 40 + rnd() % 200;
        uint64_t node = rnd() % 4 ? rnd() % 8 : (uint64_t)rnd() << 32 | rnd() % 64;
        uint32_t op = rnd() % MAX_OPCODE;

        for (k = 40; k < len; k++)
            body[k] = rnd() % 3 ? (uint8_t)(rnd() % 4) : (uint8_t)rnd();
        /* The share's own root is not removed, and a sync of the host takes long. */
        if (op == FUSE_SYNCFS)
            continue;
        bad += !send_raw(op, node, (uint32_t)len, len, 256 + rnd() % 4096);
        if (op == FUSE_DESTROY)
            ft_init(t, ~UINT64_C(0));
    }
    eq_int(bad, 0, "60000 requests of noise");
    ok(alive(), "and the next request is served");
}

static void
test_numbers(void)
{
    static const uint64_t nodes[] = {0, 2, 3, 999, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 32, UINT64_C(5) << 32 | 2};
    struct fuse_entry_out e;
    uint64_t fh, fh2;
    unsigned i, bad = 0;
    char buf[16];

    for (i = 0; i < MB_ARRAY_SIZE(nodes); i++) {
        bad += ft_getattr(t, nodes[i], NULL) != -ESTALE;
        bad += ft_lookup(t, nodes[i], "x", &e) != -ESTALE;
        bad += ft_opendir(t, nodes[i], &fh) != -ESTALE;
        bad += ft_forget(t, nodes[i], 1) != 0;
        bad += ft_read(t, nodes[i], 1, 0, buf, 1) != -ESTALE;
    }
    eq_int(bad, 0, "node numbers that were never given out");
    ft_create(t, FUSE_ROOT_ID, "numbers", O_RDWR, 0644, &e, &fh);
    eq_int(ft_read(t, FUSE_ROOT_ID, fh, 0, buf, 1), -EBADF, "a handle with another node");
    eq_int(ft_read(t, e.nodeid, fh + 1, 0, buf, 1), -EBADF, "a handle that was never given out");
    eq_int(ft_readdir(t, e.nodeid, fh, false, 0, buf, 16), -EBADF, "a file handle for a directory");
    ft_release(t, e.nodeid, fh);
    eq_int(ft_open(t, e.nodeid, O_RDONLY, &fh2), 0, "open again");
    ok(fh2 != fh, "gives another number");
    eq_int(ft_read(t, e.nodeid, fh, 0, buf, 1), -EBADF, "the old one stays invalid");
    ft_release(t, e.nodeid, fh2);
    eq_int(ft_forget(t, e.nodeid, UINT64_MAX), 0, "forget more often than looked up");
    eq_int(ft_getattr(t, e.nodeid, NULL), -ESTALE, "forgets it");
    eq_int(ft_forget(t, e.nodeid, 1), 0, "once more");
    eq_int(ft_forget(t, FUSE_ROOT_ID, 1000), 0, "forget the root");
    ok(alive(), "the root stays");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "numbers"), 0, "unlink");
}

/* A guest that starts again says INIT without anything being closed before. */
static void
test_init_again(void)
{
    struct fuse_entry_out e;
    char buf[4];
    uint64_t fh;

    ft_create(t, FUSE_ROOT_ID, "again", O_RDWR, 0644, &e, &fh);
    eq_int(ft_init(t, ~UINT64_C(0)), 0, "a second INIT");
    eq_int(ft_getattr(t, e.nodeid, NULL), -ESTALE, "forgets the nodes");
    ok(ft_lookup(t, FUSE_ROOT_ID, "again", &e) == 0, "which can be looked up again");
    eq_int(ft_read(t, e.nodeid, fh, 0, buf, 4), -EBADF, "and closes the files");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "again"), 0, "unlink");
}

static void
test_before_init(const char *dir)
{
    struct fs_config config = {.shared_dir = dir};
    struct fuse_init_in old = {.major = 7, .minor = 12};
    struct fuse_init_out out;
    char err[FS_ERR_MAX];
    struct ft *saved = t;
    struct ft raw = *t;

    eq_int(fs_new(&config, &raw.fs, err), 0, "another core");
    t = &raw;
    eq_int(ft_getattr(t, FUSE_ROOT_ID, NULL), -EIO, "a request before INIT");
    eq_int(ft_call(t, FUSE_INIT, 0, &old, sizeof(old), NULL, 0, &out, sizeof(out), NULL), -EPROTO,
           "INIT of a client that is too old");
    old.major = 9;
    eq_int(ft_call(t, FUSE_INIT, 0, &old, sizeof(old), NULL, 0, &out, sizeof(out), NULL), 0, "of the far future");
    eq_int(out.major, 7, "is told our version");
    eq_int(ft_getattr(t, FUSE_ROOT_ID, NULL), -EIO, "and has to say INIT again");
    fs_free(raw.fs);
    t = saved;
}

int
main(void)
{
    struct rlimit limit = {16u << 20, 16u << 20};
    const char *why = ft_no_xattr(), *dir;

    if (why)
        tap_skip_all(why);
    /* Noise may ask for files of any size. */
    setrlimit(RLIMIT_FSIZE, &limit);
    dir = ft_subdir("share");
    restart(dir);
    test_before_init(dir);
    test_numbers();
    test_init_again();
    test_sizes();
    test_huge();
    restart(dir);
    test_noise();
    ft_free(t);
    return tap_done();
}

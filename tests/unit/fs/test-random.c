/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random operations, in the spirit of fsx: each is done through the core and,
 * with plain system calls, in a second directory; results and all that can be
 * seen afterwards must be the same.  Twice as many nodes are in play as there
 * are descriptors, so that they come and go all the time.
 *
 * MSB_TEST_OPS=N runs N operations per mode (default 4000), MSB_TEST_SEED
 * another sequence.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs-test.h"
#include "rnd.h"

#define N_DIRS 4u
#define N_NAMES 12u
#define MAX_LEN 20000u

static struct ft *t;
static char model[4096];
static uint64_t state;

static uint32_t
rnd(uint32_t n)
{
    return rnd_below(&state, n);
}

/* ---- names: three directories below the root, and the root ------------------------------------------- */

struct place {
    char path[64];              /* relative to the root */
    char dir[32];
    char name[32];
};

static struct place
pick(void)
{
    struct place p;
    unsigned d = rnd(N_DIRS), n = rnd(N_NAMES);

    if (d == 0)
        p.dir[0] = 0;
    else
        snprintf(p.dir, sizeof(p.dir), "d%u", d);
    snprintf(p.name, sizeof(p.name), "n%u", n);
    snprintf(p.path, sizeof(p.path), "%s%s%s", p.dir, d ? "/" : "", p.name);
    return p;
}

static const char *
model_path(const struct place *p)
{
    static char path[2][4300];
    static unsigned turn;
    char *s = path[turn++ % 2];

    snprintf(s, sizeof(path[0]), "%s/%s", model, p->path);
    return s;
}

static int
neg(int r)
{
    return r < 0 ? -errno : r;
}

static int
walk(const char *path, uint64_t *node)
{
    int r = ft_walk(t, path, node);

    return r;
}

/* ---- operations: each does the same twice and returns whether the results agree ------------------------- */

struct op {
    const char *name;
    bool (*run)(void);
};

static int last_ours, last_model;

static bool
same(int ours, int theirs)
{
    last_ours = ours;
    last_model = theirs;
    return ours == theirs;
}

static bool
op_create(void)
{
    struct place p = pick();
    int excl = rnd(2) ? O_EXCL : 0, trunc = rnd(3) == 0 ? O_TRUNC : 0, r, fd;
    uint32_t mode = 0600 | rnd(0100);
    struct fuse_entry_out e;
    uint64_t dir, fh;

    r = walk(p.dir, &dir);
    if (r == 0)
        r = ft_create(t, dir, p.name, (uint32_t)(O_RDWR | excl | trunc), mode, &e, &fh);
    if (r == 0)
        ft_release(t, e.nodeid, fh);
    fd = open(model_path(&p), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | excl | trunc, mode);
    if (fd >= 0)
        close(fd);
    return same(r, fd < 0 ? -errno : 0);
}

static bool
op_write(void)
{
    static char buf[MAX_LEN];
    struct place p = pick();
    uint32_t off = rnd(60000), len = 1 + rnd(MAX_LEN - 1), i;
    int append = rnd(4) == 0 ? O_APPEND : 0, r, fd, m;
    uint64_t node, fh;

    for (i = 0; i < len; i++)
        buf[i] = (char)rnd(256);
    r = walk(p.path, &node);
    if (r == 0)
        r = ft_open(t, node, (uint32_t)(O_WRONLY | append), &fh);
    if (r == 0) {
        r = ft_write(t, node, fh, off, buf, len, 0);
        ft_release(t, node, fh);
    }
    fd = open(model_path(&p), O_WRONLY | O_NOFOLLOW | O_CLOEXEC | append);
    m = fd < 0 ? -errno : neg((int)pwrite(fd, buf, len, off));
    if (fd >= 0)
        close(fd);
    return same(r, m);
}

static bool
op_read(void)
{
    static char ours[MAX_LEN], theirs[MAX_LEN];
    struct place p = pick();
    uint32_t off = rnd(80000), len = 1 + rnd(MAX_LEN - 1);
    uint64_t node, fh;
    int r, fd, m;

    r = walk(p.path, &node);
    if (r == 0)
        r = ft_open(t, node, O_RDONLY, &fh);
    if (r == 0) {
        r = ft_read(t, node, fh, off, ours, len);
        ft_release(t, node, fh);
    }
    fd = open(model_path(&p), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    m = fd < 0 ? -errno : neg((int)pread(fd, theirs, len, off));
    if (fd >= 0)
        close(fd);
    /* Reading a directory is refused when it is opened, there and here at different points. */
    if (r == -EISDIR && m == -EISDIR)
        return true;
    return same(r, m) && (r <= 0 || memcmp(ours, theirs, (size_t)r) == 0);
}

static bool
op_truncate(void)
{
    struct place p = pick();
    uint32_t size = rnd(70000);
    uint64_t node;
    struct stat st;
    int r, m;

    r = walk(p.path, &node);
    if (lstat(model_path(&p), &st) == 0 && S_ISLNK(st.st_mode))
        return true; /* the guest's kernel would have followed it */
    if (r == 0)
        r = ft_truncate(t, node, size);
    m = neg(truncate(model_path(&p), size));
    return same(r, m);
}

static bool
op_unlink(void)
{
    struct place p = pick();
    uint64_t dir;
    int r = walk(p.dir, &dir);

    if (r == 0)
        r = ft_unlink(t, dir, p.name);
    return same(r, neg(unlink(model_path(&p))));
}

static bool
op_mkdir(void)
{
    struct place p = pick();
    uint64_t dir;
    int r = walk(p.dir, &dir);

    if (r == 0)
        r = ft_mkdir(t, dir, p.name, 0755, NULL);
    return same(r, neg(mkdir(model_path(&p), 0755)));
}

static bool
op_rmdir(void)
{
    struct place p = pick();
    uint64_t dir;
    int r = walk(p.dir, &dir);

    if (r == 0)
        r = ft_rmdir(t, dir, p.name);
    return same(r, neg(rmdir(model_path(&p))));
}

static bool
op_symlink(void)
{
    struct place p = pick();
    uint64_t dir;
    int r = walk(p.dir, &dir);

    if (r == 0)
        r = ft_symlink(t, dir, p.name, "some/target", NULL);
    return same(r, neg(symlink("some/target", model_path(&p))));
}

static bool
op_readlink(void)
{
    char ours[256] = "", theirs[256] = "";
    struct place p = pick();
    uint64_t node;
    int r = walk(p.path, &node), m;

    if (r == 0)
        r = ft_readlink(t, node, ours, sizeof(ours));
    m = (int)readlink(model_path(&p), theirs, sizeof(theirs) - 1);
    m = m < 0 ? -errno : 0;
    return same(r, m) && strcmp(ours, theirs) == 0;
}

static bool
op_link(void)
{
    struct place p = pick(), q = pick();
    uint64_t node, dir;
    int r = walk(p.path, &node);

    if (r == 0)
        r = walk(q.dir, &dir);
    if (r == 0)
        r = ft_link(t, node, dir, q.name, NULL);
    return same(r, neg(link(model_path(&p), model_path(&q))));
}

static bool
op_rename(void)
{
    struct place p = pick(), q = pick();
    static const uint32_t flags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
    uint32_t flag = flags[rnd(MB_ARRAY_SIZE(flags))];
    uint64_t from, to;
    int r = walk(p.dir, &from);

    if (r == 0)
        r = walk(q.dir, &to);
    if (r == 0)
        r = ft_rename(t, from, p.name, to, q.name, flag);
    return same(r, neg(renameat2(AT_FDCWD, model_path(&p), AT_FDCWD, model_path(&q), flag)));
}

static bool
op_chmod(void)
{
    struct place p = pick();
    uint32_t mode = 0600 | rnd(0200);
    struct stat st;
    uint64_t node;
    int r = walk(p.path, &node), m;

    if (lstat(model_path(&p), &st) == 0 && !S_ISREG(st.st_mode))
        return true;
    if (r == 0)
        r = ft_chmod(t, node, mode);
    m = neg(chmod(model_path(&p), mode));
    return same(r, m);
}

static bool
op_stat(void)
{
    struct place p = pick();
    struct fuse_attr a = {0};
    struct stat st;
    uint64_t node;
    int r = walk(p.path, &node), m;

    if (r == 0)
        r = ft_getattr(t, node, &a);
    m = neg(lstat(model_path(&p), &st));
    if (!same(r, m) || r < 0)
        return r == m;
    return a.mode == st.st_mode && (S_ISDIR(a.mode) || a.size == (uint64_t)st.st_size) &&
           (a.nlink == st.st_nlink || S_ISDIR(a.mode));
}

static bool
op_list(void)
{
    struct place p = pick();
    char cmd_dir[4300];
    uint64_t node;
    int r = walk(p.dir, &node), m = 0;
    struct stat st;
    unsigned i;

    if (r == 0)
        r = ft_list(t, node, rnd(2), 512 + rnd(4096), NULL, NULL);
    for (i = 0; i < N_NAMES; i++) {
        snprintf(cmd_dir, sizeof(cmd_dir), "%s/%s/n%u", model, p.dir, i);
        m += lstat(cmd_dir, &st) == 0;
    }
    if (!p.dir[0])
        m += N_DIRS - 1;
    return same(r, m);
}

/* Everything is forgotten, as by a guest short of memory: numbers are found again. */
static bool
op_forget(void)
{
    struct place p = pick();
    uint64_t node;

    if (walk(p.path, &node) == 0 && node != FUSE_ROOT_ID)
        ft_forget(t, node, UINT64_MAX);
    return true;
}

static const struct op ops[] = {
    {"create", op_create}, {"create", op_create}, {"write", op_write}, {"write", op_write}, {"read", op_read},
    {"read", op_read}, {"truncate", op_truncate}, {"unlink", op_unlink}, {"mkdir", op_mkdir}, {"rmdir", op_rmdir},
    {"symlink", op_symlink}, {"readlink", op_readlink}, {"link", op_link}, {"rename", op_rename},
    {"chmod", op_chmod}, {"stat", op_stat}, {"list", op_list}, {"forget", op_forget},
};

static void
run_mode(enum fs_stat_virt virt, const char *what)
{
    const char *count = getenv("MSB_TEST_OPS"), *seed = getenv("MSB_TEST_SEED");
    unsigned n = count ? (unsigned)atoi(count) : 4000, i, wrong = 0;
    struct fs_config config = {
        .shared_dir = ft_subdir("share"), .stat_virt = virt, .cache = FS_CACHE_AUTO, .max_fds = 16};
    char name[8];

    state = UINT64_C(88172645463325252) + (seed ? strtoull(seed, NULL, 10) : 0);
    snprintf(model, sizeof(model), "%s", ft_subdir("model"));
    t = ft_core(&config);
    for (i = 1; i < N_DIRS; i++) {
        char dir[4200];

        snprintf(name, sizeof(name), "d%u", i);
        snprintf(dir, sizeof(dir), "%s/%s", model, name);
        if (ft_mkdir(t, FUSE_ROOT_ID, name, 0755, NULL) < 0 || mkdir(dir, 0755) < 0)
            exit(1);
    }
    for (i = 0; i < n && wrong < 10; i++) {
        const struct op *op = &ops[rnd(MB_ARRAY_SIZE(ops))];

        last_ours = last_model = 0;
        if (!op->run()) {
            tap_diag("operation %u: %s gave %d here and %d there", i, op->name, last_ours, last_model);
            wrong++;
        }
    }
    ok(wrong == 0, "%u random operations agree with a plain directory (%s)", i, what);
    ft_free(t);
}

int
main(void)
{
    const char *why = ft_no_xattr();

    if (why)
        tap_skip_all(why);
    run_mode(FS_STAT_STRICT, "strict");
    run_mode(FS_STAT_RELAXED, "relaxed");
    run_mode(FS_STAT_OFF, "off");
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations drawn by lot, on few names, so that they meet.
 */
#include <config.h>

#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "differ.h"
#include "rnd.h"

#define MAX_WRONG 10u

static uint64_t state;

static uint32_t
rnd(uint32_t n)
{
    return rnd_below(&state, n);
}

/* One operation's parameters, the same for both sides. */
struct plan {
    char a[4], b[4];            /* names */
    unsigned dir_a, dir_b;      /* which directory each is in */
    uint32_t op, mode, uid, pick, len, size;
    uint64_t off;
};

#define N_DIRS 4u

/* The directories of a side, made anew when they were removed: node numbers, 0 when missing. */
static uint64_t
dir_of(struct df_side *s, unsigned which)
{
    static const char *const names[N_DIRS] = {"", "A", "B", "C"};
    struct fuse_entry_out e;
    int r;

    if (which == 0)
        return s->dir;
    s->t->uid = s->t->gid = 0;
    r = ft_lookup(s->t, s->dir, names[which], &e);
    if (r == -ENOENT)
        r = ft_mkdir(s->t, s->dir, names[which], 0777, &e);
    return r == 0 ? e.nodeid : 0;
}

static void
draw(struct plan *p)
{
    *p = (struct plan){
        .dir_a = rnd(N_DIRS),
        .dir_b = rnd(N_DIRS),
        .op = rnd(17),
        .mode = rnd(3) ? 0644 : rnd(010000),
        .uid = rnd(2) ? 0 : 1000,
        .pick = rnd(1000),
        .len = rnd(20000),
        .size = rnd(100000),
        .off = rnd(100000),
    };
    snprintf(p->a, sizeof(p->a), "%c", 'a' + (int)rnd(6));
    snprintf(p->b, sizeof(p->b), "%c", 'a' + (int)rnd(6));
}

static void
write_file(struct df_side *s, const struct plan *p, uint64_t node)
{
    static char data[20000];
    uint64_t fh;
    int r = ft_open(s->t, node, O_RDWR | (p->pick % 4 == 0 ? O_TRUNC : 0), &fh);

    df_result(s, "open", r);
    if (r < 0)
        return;
    memset(data, (int)('a' + p->pick % 26), sizeof(data));
    df_result(s, "write", ft_write(s->t, node, fh, p->off, data, p->len, 0));
    s->t->uid = s->t->gid = 0; /* see fallocate-set-id */
    if (p->pick % 5 == 0)
        df_result(s, "punch", ft_fallocate(s->t, node, fh, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, p->off, 8192));
    ft_release(s->t, node, fh);
}

static void
read_file(struct df_side *s, const struct plan *p, uint64_t node)
{
    static char data[20000];
    uint64_t fh, sum = 0;
    int r = ft_open(s->t, node, O_RDONLY, &fh), i;

    df_result(s, "open", r);
    if (r < 0)
        return;
    r = ft_read(s->t, node, fh, p->off, data, p->len);
    for (i = 0; i < r; i++)
        sum = sum * 31 + (uint8_t)data[i];
    df_saw(s, "read", "%d %llx", r, (unsigned long long)sum);
    ft_release(s->t, node, fh);
}

static void
on_a_file(struct df_side *s, const struct plan *p, uint64_t dir)
{
    struct fuse_setattr_in times = {.valid = FATTR_MTIME, .mtime = p->size, .mtimensec = p->len};
    struct fuse_entry_out e;
    char buf[256] = "";
    int r = ft_lookup(s->t, dir, p->a, &e);

    df_entry(s, "look-up", r, &e);
    if (r < 0)
        return;
    switch (p->op) {
    case 0:
        df_result(s, "chmod", ft_chmod(s->t, e.nodeid, p->mode));
        break;
    case 1: /* and files root's to give away */
        s->t->uid = s->t->gid = 0;
        df_result(s, "chown", ft_chown(s->t, e.nodeid, p->pick, p->len));
        break;
    case 2:
        df_result(s, "truncate", ft_truncate(s->t, e.nodeid, p->size));
        break;
    case 3:
        df_result(s, "utimes", ft_setattr(s->t, e.nodeid, &times, NULL));
        break;
    case 4: /* as the guest's kernel allows it */
        if (S_ISREG(e.attr.mode) || S_ISDIR(e.attr.mode))
            df_result(s, "setxattr", ft_setxattr(s->t, e.nodeid, p->pick % 2 ? "user.a" : "user.b", buf, p->pick % 200, 0));
        break;
    case 5:
        if (S_ISREG(e.attr.mode) || S_ISDIR(e.attr.mode))
            df_result(s, "getxattr", ft_getxattr(s->t, e.nodeid, "user.a", buf, sizeof(buf)));
        break;
    case 6:
        if (S_ISREG(e.attr.mode))
            write_file(s, p, e.nodeid);
        break;
    case 7:
        if (S_ISREG(e.attr.mode))
            read_file(s, p, e.nodeid);
        break;
    default:
        r = ft_readlink(s->t, e.nodeid, buf, sizeof(buf));
        df_saw(s, "readlink", "%d '%s'", r, buf);
    }
    r = ft_lookup(s->t, dir, p->a, &e);
    df_entry(s, "after", r, &e);
    ft_forget(s->t, e.nodeid, 2);
}

/* A kernel changes only names that it has looked up; virtiofsd counts on it. */
static bool
known(struct df_side *s, uint64_t dir, const char *name)
{
    struct fuse_entry_out e;
    int r = ft_lookup(s->t, dir, name, &e);

    df_entry(s, "look-up", r, &e);
    return r == 0;
}

static void
on_names(struct df_side *s, const struct plan *p, uint64_t dir, uint64_t other)
{
    static const uint32_t types[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR};
    struct fuse_entry_out e = {0};
    uint64_t fh;
    int r;

    switch (p->op) {
    case 9:
        r = ft_create(s->t, dir, p->a, O_RDWR | O_EXCL, p->mode, &e, &fh);
        df_entry(s, "create", r, &e);
        if (r == 0)
            ft_release(s->t, e.nodeid, fh);
        break;
    case 10:
        r = ft_mkdir(s->t, dir, p->a, p->mode & 01777, &e);
        df_entry(s, "mkdir", r, &e);
        break;
    case 11: /* devices are root's to make */
        if (p->pick % 4 == 3)
            s->t->uid = s->t->gid = 0;
        r = ft_mknod(s->t, dir, p->a, types[p->pick % 4] | (p->mode & 0777), 0x103, &e);
        df_entry(s, "mknod", r, &e);
        break;
    case 12:
        r = ft_symlink(s->t, dir, p->a, p->b, &e);
        df_entry(s, "symlink", r, &e);
        break;
    case 13:
        if (known(s, dir, p->a))
            df_result(s, "unlink", ft_unlink(s->t, dir, p->a));
        return;
    case 14:
        if (known(s, dir, p->a))
            df_result(s, "rmdir", ft_rmdir(s->t, dir, p->a));
        return;
    case 15:
        known(s, other, p->b);
        if (known(s, dir, p->a))
            df_result(s, "rename", ft_rename(s->t, dir, p->a, other, p->b, p->pick % 3));
        return;
    default:
        r = ft_lookup(s->t, dir, p->a, &e);
        if (r == 0) {
            uint64_t node = e.nodeid;

            r = ft_link(s->t, node, other, p->b, &e);
            df_entry(s, "link", r, &e);
            ft_forget(s->t, node, 1);
        }
    }
    if (r == 0)
        ft_forget(s->t, e.nodeid, 1);
}

static void
carry_out(struct df_side *s, const struct plan *p)
{
    uint64_t dir = dir_of(s, p->dir_a), other = dir_of(s, p->dir_b);

    s->n = 0;
    if (!dir || !other)
        return;
    s->t->uid = s->t->gid = p->uid;
    if (p->op <= 8)
        on_a_file(s, p, dir);
    else
        on_names(s, p, dir, other);
}

unsigned
df_random(struct df_side sides[2], uint64_t operations, uint64_t seed)
{
    unsigned wrong = 0, k, i;
    struct fuse_entry_out e;
    struct plan p;
    uint64_t n;

    state = UINT64_C(88172645463325252) + seed * UINT64_C(0x9e3779b97f4a7c15);
    for (k = 0; k < 2; k++) {
        sides[k].t->umask = 0;
        if (ft_mkdir(sides[k].t, FUSE_ROOT_ID, "by-lot", 0777, &e) < 0)
            return 1;
        sides[k].dir = e.nodeid;
    }
    for (n = 0; n < operations && wrong < MAX_WRONG; n++) {
        draw(&p);
        for (k = 0; k < 2; k++)
            carry_out(&sides[k], &p);
        for (i = 0; i < MB_MAX(sides[0].n, sides[1].n); i++) {
            const struct df_step *a = &sides[0].steps[i], *b = &sides[1].steps[i];

            if (i < sides[0].n && i < sides[1].n && df_agree("by-lot", &sides[0], a, b))
                continue;
            printf("#   in operation %llu: op %u as %u, '%s' in %u, '%s' in %u, mode %o pick %u\n",
                   (unsigned long long)n, p.op, p.uid, p.a, p.dir_a, p.b, p.dir_b, p.mode, p.pick);
            wrong++;
            break;
        }
    }
    return wrong;
}

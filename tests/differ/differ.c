/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fs-differ MODE OURS THEIRS SOCKET OPERATIONS SEED: see differ.h.  MODE is the
 * stat-virt mode of our back-end, OURS and THEIRS the two shared directories,
 * SOCKET where virtiofsd listens.  "fs-differ list" prints the reasons of the
 * expected differences.
 */
#include <config.h>

#include "differ.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mb-parse.h"
#include "vu-fs.h"

/* What Linux 6.1 offers, but for what is negotiated in flags2. */
#define INIT_FLAGS \
    (FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES | \
     FUSE_DONT_MASK | FUSE_FLOCK_LOCKS | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | \
     FUSE_ASYNC_DIO | FUSE_NO_OPEN_SUPPORT | FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL | FUSE_MAX_PAGES | \
     FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT | FUSE_EXPLICIT_INVAL_DATA | FUSE_SUBMOUNTS | \
     FUSE_HANDLE_KILLPRIV_V2)

static bool used[256]; /* of the expected differences */

/* ---- recording ---------------------------------------------------------------------------------- */

void
df_saw(struct df_side *s, const char *step, const char *fmt, ...)
{
    struct df_step *at = &s->steps[s->n];
    va_list ap;

    if (s->n == DF_MAX_STEPS)
        abort();
    s->n++;
    snprintf(at->step, sizeof(at->step), "%s", step);
    va_start(ap, fmt);
    vsnprintf(at->seen, sizeof(at->seen), fmt, ap);
    va_end(ap);
}

const char *
df_errno(int r, char buf[32])
{
    const char *name = r < 0 ? strerrorname_np(-r) : NULL;

    if (name)
        snprintf(buf, 32, "%s", name);
    else
        snprintf(buf, 32, "%d", r);
    return buf;
}

void
df_result(struct df_side *s, const char *step, int r)
{
    char buf[32];

    df_saw(s, step, "%s", df_errno(r, buf));
}

void
df_attr(struct df_side *s, const char *step, int r, const struct fuse_attr *a)
{
    bool dir = r == 0 && S_ISDIR(a->mode);

    if (r < 0)
        df_result(s, step, r);
    else
        df_saw(s, step, "mode %o owner %u:%u links %u size %llu device %x", a->mode, a->uid, a->gid,
               dir ? 0 : a->nlink, dir ? 0ULL : (unsigned long long)a->size, a->rdev);
}

void
df_entry(struct df_side *s, const char *step, int r, const struct fuse_entry_out *e)
{
    df_attr(s, step, r, &e->attr);
}

void
df_umask(struct df_side *s, uint32_t *mode, uint32_t umask)
{
    const struct vu_fs *f = s->t->vu;

    s->t->umask = f->init.flags & FUSE_DONT_MASK ? umask : 0;
    if (!(f->init.flags & FUSE_DONT_MASK))
        *mode &= ~umask;
}

uint64_t
df_file(struct df_side *s, const char *name, const char *content, uint32_t mode)
{
    struct fuse_entry_out e = {0};
    uint64_t fh;

    if (ft_create(s->t, s->dir, name, O_WRONLY, mode, &e, &fh) < 0)
        return 0;
    if (*content)
        ft_write(s->t, e.nodeid, fh, 0, content, (uint32_t)strlen(content), 0);
    ft_release(s->t, e.nodeid, fh);
    return e.nodeid;
}

/* ---- comparing ------------------------------------------------------------------------------------ */

static const struct df_expected *
explain(enum df_mode mode, const char *where, const char *ours, const char *theirs)
{
    const struct df_expected *x;

    for (x = df_expected; x->step; x++) {
        if (x->modes & mode && fnmatch(x->step, where, 0) == 0 && fnmatch(x->ours, ours, 0) == 0 &&
            fnmatch(x->theirs, theirs, 0) == 0)
            return x;
    }
    return NULL;
}

bool
df_agree(const char *name, const struct df_side *ours, const struct df_step *a, const struct df_step *b)
{
    const struct df_expected *x;
    char where[160];

    if (strcmp(a->step, b->step) == 0 && strcmp(a->seen, b->seen) == 0)
        return true;
    snprintf(where, sizeof(where), "%s/%s", name, a->step);
    x = strcmp(a->step, b->step) == 0 ? explain(ours->mode, where, a->seen, b->seen) : NULL;
    if (x) {
        used[x - df_expected] = true;
        return true;
    }
    printf("# %s: ours \"%s\", virtiofsd \"%s\"%s\n", where, a->seen, b->seen,
           strcmp(a->step, b->step) ? ", and the steps are not the same" : "");
    return false;
}

static void
run_case(struct df_side sides[2], const struct df_case *c)
{
    struct fuse_entry_out e;
    unsigned i, bad = 0;

    for (i = 0; i < 2; i++) {
        struct df_side *s = &sides[i];

        s->n = 0;
        s->t->uid = s->t->gid = s->t->umask = 0;
        if (ft_mkdir(s->t, FUSE_ROOT_ID, c->name, 0777, &e) < 0)
            exit(1);
        s->dir = e.nodeid;
        c->run(s);
        s->t->uid = s->t->gid = s->t->umask = 0;
    }
    for (i = 0; i < sides[0].n && i < sides[1].n; i++)
        bad += !df_agree(c->name, &sides[0], &sides[0].steps[i], &sides[1].steps[i]);
    ok(bad == 0 && sides[0].n == sides[1].n && sides[0].n > 0, "%s: %u steps", c->name, sides[0].n);
}

/* A difference that no longer shows is no longer true; but the lot may not have met it. */
static void
check_used(enum df_mode mode)
{
    const struct df_expected *x;
    unsigned idle = 0;

    for (x = df_expected; x->step; x++) {
        if (x->modes & mode && !used[x - df_expected] && strncmp(x->step, "by-lot", 6) != 0) {
            printf("# expected and not met: %s: \"%s\" and \"%s\"\n", x->step, x->ours, x->theirs);
            idle++;
        }
    }
    eq_int(idle, 0, "every expected difference is one");
}

/* ---- the run ----------------------------------------------------------------------------------------- */

static int
list_reasons(void)
{
    const struct df_expected *x;

    for (x = df_expected; x->step; x++)
        printf("%s\n", x->why);
    return 0;
}

static void
open_sides(struct df_side sides[2], const char *mode, char **argv)
{
    const char *build = getenv("abs_top_builddir");
    char program[PATH_MAX], dir[PATH_MAX], virt[32];
    const char *const args[] = {program, dir, virt, NULL};
    struct vu_options ours = {.argv = args, .queues = 2, .memory = 32u << 20};
    struct vu_options theirs = {.socket_path = argv[4], .queues = 2, .memory = 32u << 20};
    unsigned i;

    snprintf(program, sizeof(program), "%s/vhost-fs/msb-vhost-fs", build ? build : ".");
    snprintf(dir, sizeof(dir), "--shared-dir=%s", argv[2]);
    snprintf(virt, sizeof(virt), "--stat-virt=%s", mode);
    sides[0].ours = true;
    sides[0].t = ft_backend(&ours, INIT_FLAGS);
    sides[1].t = ft_backend(&theirs, INIT_FLAGS);
    for (i = 0; i < 2; i++) {
        sides[i].mode = strcmp(mode, "off") == 0 ? DF_OFF : strcmp(mode, "strict") == 0 ? DF_STRICT : DF_RELAXED;
        sides[i].steps = calloc(DF_MAX_STEPS, sizeof(*sides[i].steps));
        snprintf(sides[i].host, sizeof(sides[i].host), "%s", argv[2 + i]);
        if (!sides[i].t || !sides[i].steps) {
            printf("Bail out! %s does not serve\n", i ? "virtiofsd" : program);
            exit(1);
        }
    }
}

int
main(int argc, char **argv)
{
    static const struct df_case *const tables[] = {df_names, df_files, df_attrs};
    static struct df_side sides[2];
    const struct df_case *c;
    uint64_t operations, seed;
    unsigned i;

    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list_reasons();
    if (argc != 7 || mb_parse_u64(argv[5], &operations) < 0 || mb_parse_u64(argv[6], &seed) < 0) {
        fprintf(stderr, "usage: fs-differ MODE OURS THEIRS SOCKET OPERATIONS SEED | fs-differ list\n");
        return 2;
    }
    open_sides(sides, argv[1], argv);
    for (i = 0; i < MB_ARRAY_SIZE(tables); i++) {
        for (c = tables[i]; c->name; c++)
            run_case(sides, c);
    }
    check_used(sides[0].mode);
    ok(df_random(sides, operations, seed) == 0, "%llu operations by lot, seed %llu", (unsigned long long)operations,
       (unsigned long long)seed);
    for (i = 0; i < 2; i++) {
        ft_free(sides[i].t);
        free(sides[i].steps);
    }
    return tap_done();
}

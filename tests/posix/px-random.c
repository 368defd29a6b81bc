/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * px-random DIR JUDGE OPERATIONS [SEED [LIMIT...]]: see px.h.  Both directories
 * have the same in them, nothing at first; as root, operations are done as root
 * and as two other users.  LIMITs name what DIR cannot have: link-owner,
 * no-shared-mmap; "acls" what it has beyond the rest.  With "find" the trees are compared after each operation,
 * which tells the guilty one.
 */
#include <config.h>

#include "px.h"
#include "rnd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mb-parse.h"

#define COMPARE_EVERY 1000u
#define MAX_WRONG 10u

struct px_limits px_limits = {.link_owner = true, .shared_mmap = true};

static struct px_side sides[2];
static uint64_t state = UINT64_C(88172645463325252);

uint32_t
px_rnd(uint32_t n)
{
    return rnd_below(&state, n);
}

long
px_result(long r)
{
    return r < 0 ? -errno : r;
}

void
px_saw(struct px_side *s, const void *data, size_t len)
{
    len = MB_MIN(len, sizeof(s->out) - s->n_out);
    memcpy(s->out + s->n_out, data, len);
    s->n_out += len;
}

void
px_saw_stat(struct px_side *s, const char *path, int fd)
{
    struct {
        uint64_t mode, uid, gid, rdev, size, nlink;
        int64_t r;
    } seen = {0};
    struct stat st;
    int saved = errno;

    seen.r = px_result(fd >= 0 ? fstat(fd, &st) : lstat(path, &st));
    if (seen.r == 0) {
        bool owner = px_limits.link_owner || !S_ISLNK(st.st_mode);

        seen.mode = st.st_mode;
        seen.uid = owner ? st.st_uid : 0;
        seen.gid = owner ? st.st_gid : 0;
        seen.rdev = st.st_rdev;
        seen.size = S_ISDIR(st.st_mode) ? 0 : (uint64_t)st.st_size;
        seen.nlink = S_ISDIR(st.st_mode) ? 0 : st.st_nlink;
    }
    px_saw(s, &seen, sizeof(seen));
    errno = saved;
}

/* ---- one operation --------------------------------------------------------------------------------- */

static void
draw(struct px_plan *p)
{
    static const uint32_t users[] = {0, 0, 0, 1000, 1001};
    static const uint32_t umasks[] = {022, 022, 0, 077};

    px_pick_path(p->path, sizeof(p->path));
    px_pick_path(p->path2, sizeof(p->path2));
    p->file = px_rnd(PX_FILES);
    p->file2 = px_rnd(PX_FILES);
    p->uid = geteuid() == 0 ? users[px_rnd(MB_ARRAY_SIZE(users))] : geteuid();
    p->gid = geteuid() == 0 ? p->uid : getegid();
    p->mode = px_rnd(3) ? 0755 : px_rnd(010000);
    p->umask = umasks[px_rnd(MB_ARRAY_SIZE(umasks))];
    p->pick = px_rnd(UINT32_MAX);
    p->pick2 = px_rnd(UINT32_MAX);
    p->off = px_rnd(3) ? px_rnd(PX_MAX_SIZE) : px_rnd(64) * 4096;
    p->off2 = px_rnd(3) ? px_rnd(PX_MAX_SIZE) : px_rnd(64) * 4096;
    p->len = px_rnd(3) ? px_rnd(8192) : px_rnd(PX_DATA);
}

/* Only the effective ones: the process itself stays root.  No further groups: the FUSE protocol does not
 * tell of them, and set-group-ID of a file goes rather than stays. */
static void
become(uint32_t uid, uint32_t gid)
{
    if (getuid() != 0)
        return;
    if (uid == 0 && syscall(SYS_setresuid, -1, 0, -1) < 0)
        abort();
    if (setgroups(0, NULL) < 0 || syscall(SYS_setresgid, -1, gid, -1) < 0 ||
        (uid != 0 && syscall(SYS_setresuid, -1, uid, -1) < 0))
        abort();
}

static long
run(struct px_side *s, const struct px_op *op, const struct px_plan *p)
{
    long r;

    s->n_out = 0;
    if (fchdir(s->dir) < 0)
        abort();
    umask(p->umask);
    become(p->uid, p->gid);
    r = op->run(s, p);
    become(0, 0);
    return r;
}

static const struct px_op *
choose(const struct px_plan *p)
{
    bool open_file = sides[1].fd[p->file] >= 0;
    const struct px_op *table = px_rnd(3) ? px_name_ops : px_file_ops, *op;
    unsigned total = 0, at;

    for (op = table; op->name; op++)
        total += op->weight;
    at = px_rnd(total);
    for (op = table; at >= op->weight; op++)
        at -= op->weight;
    /* An open file is what most operations of its table need; opening ends it. */
    if (table == px_file_ops && !open_file) {
        for (op = table; op[1].name; op++)
            ;
    }
    return op;
}

/* Do the next operation, or tell of the last one again. */
static bool
one(uint64_t number, bool tell)
{
    static struct px_plan p;
    static const struct px_op *op;
    static long r[2];

    if (!tell) {
        draw(&p);
        op = choose(&p);
        r[0] = run(&sides[0], op, &p);
        r[1] = run(&sides[1], op, &p);
    }
    if (r[0] == r[1] && sides[0].n_out == sides[1].n_out &&
        memcmp(sides[0].out, sides[1].out, sides[0].n_out) == 0 && !tell)
        return true;
    printf(
        "# operation %llu: %s as %u '%s' '%s' mode %o umask %o off %llu %llu len %u pick %u %u file %u %u: "
        "%ld here, %ld there%s\n",
        (unsigned long long)number, op->name, p.uid, p.path, p.path2, p.mode, p.umask,
        (unsigned long long)p.off, (unsigned long long)p.off2, p.len, p.pick, p.pick2, p.file, p.file2, r[0],
        r[1], r[0] == r[1] ? ", what was seen differs" : "");
    if (r[0] == r[1] && !tell) {
        size_t i;

        for (i = 0; i + 8 <= sides[0].n_out && i < 112; i += 8) {
            uint64_t a, b;

            memcpy(&a, sides[0].out + i, 8);
            memcpy(&b, sides[1].out + i, 8);
            if (a != b)
                printf("#   at %zu: %#llx here, %#llx there\n", i, (unsigned long long)a,
                       (unsigned long long)b);
        }
    }
    return false;
}

/* ---- the run ------------------------------------------------------------------------------------------- */

/* The kernel in front forgets the names it knows, and the side under test hears of it. */
static void
forget_names(const char *dir)
{
    (void)!mount(NULL, dir, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, NULL);
}

static int
usage(void)
{
    fprintf(stderr, "usage: px-random DIR JUDGE OPERATIONS [SEED [link-owner] [no-shared-mmap] [acls] [find]]\n");
    return 2;
}

int
main(int argc, char **argv)
{
    uint64_t n, i, seed = 1;
    unsigned wrong = 0, k, f;
    bool find = false;

    if (argc < 4 || mb_parse_u64(argv[3], &n) < 0 || (argc > 4 && mb_parse_u64(argv[4], &seed) < 0))
        return usage();
    for (k = 5; k < (unsigned)argc; k++) {
        if (strcmp(argv[k], "link-owner") == 0)
            px_limits.link_owner = false;
        else if (strcmp(argv[k], "no-shared-mmap") == 0)
            px_limits.shared_mmap = false;
        else if (strcmp(argv[k], "acls") == 0)
            px_limits.acls = true;
        else if (strcmp(argv[k], "find") == 0)
            find = true;
        else
            return usage();
    }
    state += seed * UINT64_C(0x9e3779b97f4a7c15);
    for (k = 0; k < 2; k++) {
        sides[k].dir = open(argv[1 + k], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (sides[k].dir < 0 || fchownat(sides[k].dir, "", 0, 0, AT_EMPTY_PATH) < 0 ||
            chmod(argv[1 + k], 0777) < 0) {
            fprintf(stderr, "px-random: %s: %s\n", argv[1 + k], strerror(errno));
            return 1;
        }
        for (f = 0; f < PX_FILES; f++)
            sides[k].fd[f] = -1;
    }
    for (i = 0; i < n && wrong < MAX_WRONG; i++) {
        wrong += !one(i, false);
        if (i % 777 == 776)
            forget_names(argv[1]);
        if (find || i % COMPARE_EVERY == COMPARE_EVERY - 1 || i == n - 1)
            wrong += px_compare_trees(sides[0].dir, sides[1].dir, "");
        if (find && wrong) {
            one(i, true);
            break;
        }
    }
    if (n == 0)
        wrong += px_compare_trees(sides[0].dir, sides[1].dir, "");
    printf("# seed %llu: %llu operations, %u differences\n", (unsigned long long)seed, (unsigned long long)i,
           wrong);
    return wrong != 0;
}

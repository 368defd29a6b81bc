/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Quota: what the account says is what the host has allocated, whatever was
 * done, by however many servers, and whoever of them was killed.
 */
#include <config.h>

#include <errno.h>
#include <ftw.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs-test.h"
#include "mb-cleanup.h"
#include "mb-io.h"

#define MIB (1024 * 1024)

static char host_dir[4096], account_dir[4096];
static char block[MIB];

/* ---- the truth ------------------------------------------------------------------------------------- */

static int64_t true_bytes, true_inodes;
static uint64_t seen[65536];
static unsigned n_seen;

static int
add_truth(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    unsigned i;

    (void)path, (void)flag, (void)ftw;
    if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
        for (i = 0; i < n_seen; i++) {
            if (seen[i] == st->st_ino)
                return 0;
        }
        if (n_seen < MB_ARRAY_SIZE(seen))
            seen[n_seen++] = st->st_ino;
    }
    true_bytes += st->st_blocks * 512;
    true_inodes++;
    return 0;
}

static void
measure(void)
{
    true_bytes = true_inodes = 0;
    n_seen = 0;
    nftw(host_dir, add_truth, 16, FTW_PHYS);
}

static void
get_usage(struct ft *t, int64_t *bytes, int64_t *inodes)
{
    struct fuse_statfs_out st = {0};

    if (ft_call(t, FUSE_STATFS, FUSE_ROOT_ID, NULL, 0, NULL, 0, &st, sizeof(st), NULL) < 0)
        exit(1);
    *bytes = (int64_t)((st.st.blocks - st.st.bfree) * st.st.frsize);
    *inodes = (int64_t)(st.st.files - st.st.ffree);
}

/* Removed files are credited by another thread: give it a moment. */
static bool
usage_is_true(struct ft *t, const char *what)
{
    struct timespec tick = {.tv_nsec = 5000000};
    int64_t bytes, inodes;
    unsigned i;

    for (i = 0; i < 200; i++) {
        measure();
        get_usage(t, &bytes, &inodes);
        if (bytes == true_bytes && inodes == true_inodes)
            break;
        nanosleep(&tick, NULL);
    }
    if (bytes != true_bytes || inodes != true_inodes)
        tap_diag("%s: %lld bytes in %lld files charged, %lld in %lld there", what, (long long)bytes,
                 (long long)inodes, (long long)true_bytes, (long long)true_inodes);
    return bytes == true_bytes && inodes == true_inodes;
}

/* ---- set-up --------------------------------------------------------------------------------------------- */

static void
prepare(void)
{
    snprintf(host_dir, sizeof(host_dir), "%s", ft_subdir("share"));
    snprintf(account_dir, sizeof(account_dir), "%s", ft_subdir("accounts"));
}

static struct ft *
start(uint64_t bytes, uint64_t inodes, bool recount)
{
    struct fs_config config = {
        .shared_dir = host_dir,
        .cache = FS_CACHE_AUTO,
        .quota = {.dir = account_dir, .bytes = bytes, .inodes = inodes, .recount = recount},
    };

    return ft_core(&config);
}

static uint64_t
make_file(struct ft *t, const char *name, uint64_t *fh)
{
    struct fuse_entry_out e = {0};

    return ft_create(t, FUSE_ROOT_ID, name, O_RDWR, 0644, &e, fh) == 0 ? e.nodeid : 0;
}

static int
allocate(struct ft *t, uint64_t node, uint64_t fh, uint32_t mode, uint64_t offset, uint64_t len)
{
    struct fuse_fallocate_in in = {.fh = fh, .mode = mode, .offset = offset, .length = len};

    return ft_call(t, FUSE_FALLOCATE, node, &in, sizeof(in), NULL, 0, NULL, 0, NULL);
}

/* The guest lets go of all it knows. */
static void
forget_all(struct ft *t)
{
    fs_forget_guest(t->fs);
    ft_init(t, 0);
}

/* ---- one server -------------------------------------------------------------------------------------------- */

static void
test_limit(void)
{
    struct fuse_statfs_out st;
    uint64_t f, g, fh, gh, written = 0;
    struct ft *t;
    int r;

    prepare();
    t = start(8 * MIB, 100000, false);
    ok(usage_is_true(t, "empty"), "an empty share");
    ft_call(t, FUSE_STATFS, FUSE_ROOT_ID, NULL, 0, NULL, 0, &st, sizeof(st), NULL);
    eq_int(st.st.blocks * st.st.frsize, 8 * MIB, "statfs tells the limit");
    f = make_file(t, "f", &fh);
    while ((r = ft_write(t, f, fh, written, block, MIB, 0)) > 0)
        written += (unsigned)r;
    eq_int(r, -ENOSPC, "writing ends with ENOSPC");
    ok(written > 7 * MIB && written <= 8 * MIB, "when the limit is reached");
    /* On some file systems the directory itself takes nothing. */
    ok(written % MIB != 0 || written == 8 * MIB, "what fits of the last write is written");
    ok(usage_is_true(t, "full"), "the account is right");
    eq_int(ft_write(t, f, fh, 0, block, MIB, 0), MIB, "writing over what is there goes on");
    eq_int(make_file(t, "g", &gh), 0, "another file does not fit");
    eq_int(ft_truncate(t, f, 4 * MIB), 0, "truncate");
    ok(usage_is_true(t, "truncated"), "credits");
    g = make_file(t, "g", &gh);
    eq_int(allocate(t, g, gh, 0, 0, 5 * MIB), -ENOSPC, "fallocate beyond the limit");
    eq_int(allocate(t, g, gh, 0, 0, 3 * MIB), 0, "and within");
    ok(usage_is_true(t, "fallocate"), "is charged");
    for (written = 4 * MIB; (r = ft_write(t, f, fh, written, block, 65536, 0)) > 0;)
        written += (unsigned)r;
    eq_int(r, -ENOSPC, "full again");
    eq_int(ft_write(t, g, gh, 4096, block, MIB, 0), MIB, "what was allocated before can be written");
    eq_int(ft_write(t, g, gh, 3 * MIB, block, 4096, 0), -ENOSPC, "what was not cannot");
    eq_int(allocate(t, g, gh, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, MIB), 0, "punching a hole");
    ok(usage_is_true(t, "punched"), "credits");
    eq_int(ft_unlink(t, FUSE_ROOT_ID, "f"), 0, "a file removed while it is open");
    eq_int(ft_write(t, g, gh, 8 * MIB, block, 2 * MIB - 1, 0) <= MIB, 1, "still takes its space");
    ft_release(t, f, fh);
    ft_forget(t, f, 1);
    ok(usage_is_true(t, "gone"), "until it is closed");
    ft_release(t, g, gh);
    ft_free(t);
}

static void
test_inodes(void)
{
    struct fuse_entry_out e;
    struct ft *t;

    prepare();
    t = start(64 * MIB, 4, false);
    eq_int(ft_mkdir(t, FUSE_ROOT_ID, "a", 0755, &e), 0, "a directory");
    eq_int(ft_symlink(t, FUSE_ROOT_ID, "b", "x", &e), 0, "a link");
    eq_int(ft_mknod(t, FUSE_ROOT_ID, "c", S_IFREG | 0644, 0, &e), 0, "a file");
    eq_int(ft_mknod(t, FUSE_ROOT_ID, "d", S_IFREG | 0644, 0, &e), -ENOSPC, "one too many");
    eq_int(ft_link(t, e.nodeid, FUSE_ROOT_ID, "l", &e) <= 0, 1, "another name is none");
    eq_int(ft_rename(t, FUSE_ROOT_ID, "a", FUSE_ROOT_ID, "a", 0), 0, "a directory renamed to itself");
    ok(usage_is_true(t, "renamed to itself"), "is still charged");
    eq_int(ft_rmdir(t, FUSE_ROOT_ID, "a"), 0, "rmdir");
    forget_all(t);
    ok(usage_is_true(t, "rmdir"), "is credited");
    eq_int(ft_mknod(t, FUSE_ROOT_ID, "d", S_IFREG | 0644, 0, &e), 0, "makes room");
    ft_free(t);
}

/* What a filesystem allocated behind the end of a file that grows (XFS does) goes when the file is closed. */
static void
test_preallocation(void)
{
    uint64_t f, fh, written;
    struct ft *t;

    prepare();
    t = start(UINT64_C(256) * MIB, 100000, false);
    f = make_file(t, "f", &fh);
    for (written = 0; written < 10 * MIB; written += 65536)
        ft_write(t, f, fh, written, block, 65536, 0);
    ft_release(t, f, fh);
    ok(usage_is_true(t, "written and closed"), "closing a file charges what is left of it");
    ft_free(t);
}

/* Everything that changes what is allocated, by chance; the account has to be right all the way. */
static void
one_change(struct ft *t, unsigned seed)
{
    static __thread unsigned state;
    struct fuse_entry_out e;
    char name[16], other[16];
    uint64_t fh;

    state = state * 1103515245u + 12345u + seed;
    snprintf(name, sizeof(name), "n%u", state >> 8 & 15);
    snprintf(other, sizeof(other), "n%u", state >> 12 & 15);
    switch (state >> 16 & 15) {
    case 0:
        ft_mkdir(t, FUSE_ROOT_ID, name, 0755, &e);
        break;
    case 1:
        ft_symlink(t, FUSE_ROOT_ID, name, "target", &e);
        break;
    case 2:
        ft_rename(t, FUSE_ROOT_ID, name, FUSE_ROOT_ID, other, 0);
        break;
    case 3:
    case 4:
        if (ft_unlink(t, FUSE_ROOT_ID, name) == -EISDIR)
            ft_rmdir(t, FUSE_ROOT_ID, name);
        break;
    case 5:
        if (ft_lookup(t, FUSE_ROOT_ID, name, &e) == 0) {
            ft_link(t, e.nodeid, FUSE_ROOT_ID, other, &e);
            ft_setxattr(t, e.nodeid, "user.big", block, state >> 20 & 2047, 0);
        }
        break;
    case 6:
        if (ft_lookup(t, FUSE_ROOT_ID, name, &e) == 0)
            ft_truncate(t, e.nodeid, (state >> 20 & 255) * 1000);
        break;
    default:
        if (ft_create(t, FUSE_ROOT_ID, name, O_RDWR | (state & 256 ? O_TRUNC : 0), 0644, &e, &fh) < 0)
            break;
        ft_write(t, e.nodeid, fh, (state >> 20 & 255) * 1111, block, (state >> 18 & 127) * 999, 0);
        if (state & 512)
            allocate(t, e.nodeid, fh, state & 1024 ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0,
                     (state >> 17 & 63) * 4096, 16384);
        if (state & 2048)
            ft_unlink(t, FUSE_ROOT_ID, name);
        ft_release(t, e.nodeid, fh);
        break;
    }
}

static void
test_changes(void)
{
    struct ft *t;
    unsigned i, wrong = 0;

    prepare();
    t = start(3 * MIB, 1000, false);
    for (i = 0; i < 4000 && !wrong; i++) {
        one_change(t, 0);
        if (i % 100 == 99) {
            forget_all(t);
            wrong += !usage_is_true(t, "after changes");
        }
    }
    eq_int(wrong, 0, "4000 changes of all kinds");
    ft_free(t);
}

static void
test_persistent(void)
{
    uint64_t f, fh;
    int64_t bytes, inodes, before;
    struct ft *t;
    char path[4400];
    int fd;

    prepare();
    t = start(64 * MIB, 100000, false);
    f = make_file(t, "f", &fh);
    ft_write(t, f, fh, 0, block, MIB, 0);
    ft_release(t, f, fh);
    get_usage(t, &before, &inodes);
    ft_free(t);
    snprintf(path, sizeof(path), "%s/by-host", host_dir);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    ok(fd >= 0 && write(fd, block, MIB) == MIB, "the host writes beside");
    close(fd);
    t = start(64 * MIB, 100000, false);
    get_usage(t, &bytes, &inodes);
    eq_int(bytes, before, "an account that was left in order is taken as it is");
    ft_free(t);
    t = start(64 * MIB, 100000, true);
    ok(usage_is_true(t, "recount"), "or counted, if asked for");
    ft_free(t);
    t = start(MIB, 100000, false);
    f = make_file(t, "small", &fh);
    eq_int(f, 0, "a limit below what is there lets nothing more in");
    unlink(path);
    ft_free(t);
    /* Another directory in its place. */
    ft_subdir("share");
    t = start(64 * MIB, 100000, false);
    ok(usage_is_true(t, "new directory"), "another directory of that name begins anew");
    ft_free(t);
    snprintf(account_dir, sizeof(account_dir), "%s", ft_subdir("none"));
    t = start(0, 0, false);
    ok(!t->fs->quota, "without a limit and without an account there is none");
    ft_free(t);
}

/* A deep tree, with something beside the way down at every level. */
static void
test_deep(void)
{
    struct ft *t;
    int fd, i;

    prepare();
    fd = open(host_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (i = 0; i < 1000 && fd >= 0; i++) {
        int dir = fd, beside;

        if (mkdirat(dir, "a", 0700) < 0 || mkdirat(dir, "d", 0700) < 0 || mkdirat(dir, "z", 0700) < 0)
            break;
        beside = openat(dir, i % 2 ? "a/f" : "z/f", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (beside < 0 || write(beside, block, 4096) != 4096)
            break;
        close(beside);
        fd = openat(dir, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close(dir);
    }
    close(fd);
    eq_int(i, 1000, "a tree of a thousand levels");
    t = start(64 * MIB, 100000, false);
    ok(usage_is_true(t, "deep tree"), "is counted");
    ft_free(t);
}

/* The program, confined as it is. Were it killed for a system call, its account would not be in order. */
static void
test_program(void)
{
    char share[4400], accounts[4400], path[4400];
    const char *args[] = {share, accounts, "--quota=8M", "--quota-inodes=1000", NULL};
    int64_t before, bytes, inodes;
    uint64_t f, fh, at = 0;
    struct ft *t;
    int fd, r;

    prepare();
    snprintf(share, sizeof(share), "--shared-dir=%s", host_dir);
    snprintf(accounts, sizeof(accounts), "--quota-dir=%s", account_dir);
    t = ft_vu(args);
    f = make_file(t, "f", &fh);
    while ((r = ft_write(t, f, fh, at, block, 65536, 0)) > 0)
        at += (unsigned)r;
    eq_int(r, -ENOSPC, "the program has a limit");
    ok(usage_is_true(t, "program"), "and is right");
    ft_unlink(t, FUSE_ROOT_ID, "f");
    ft_release(t, f, fh);
    ft_forget(t, f, 1);
    ok(usage_is_true(t, "program, removed"), "also when files go");
    get_usage(t, &before, &inodes);
    ft_free(t);
    snprintf(path, sizeof(path), "%s/by-host", host_dir);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    ok(fd >= 0 && write(fd, block, 8192) == 8192, "the host writes beside");
    close(fd);
    t = start(8 * MIB, 1000, false);
    get_usage(t, &bytes, &inodes);
    eq_int(bytes, before, "it leaves its account in order");
    ft_free(t);
}

/* ---- several servers ------------------------------------------------------------------------------------------ */

static struct ft *servers[2];
static atomic_int_fast64_t stored;

static void *
fill(void *data)
{
    unsigned id = (unsigned)(uintptr_t)data;
    struct ft t = *servers[id % 2];
    char name[16];
    uint64_t fh, at = 0;
    struct fuse_entry_out e;
    int r;

    t.worker = fs_worker_new();
    snprintf(name, sizeof(name), "fill%u", id);
    if (ft_create(&t, FUSE_ROOT_ID, name, O_RDWR, 0644, &e, &fh) == 0) {
        while ((r = ft_write(&t, e.nodeid, fh, at, block, 4096 * (1 + id), 0)) > 0)
            at += (unsigned)r;
        stored += (int64_t)at;
        ft_release(&t, e.nodeid, fh);
    }
    fs_worker_free(t.worker);
    return NULL;
}

static void *
change(void *data)
{
    unsigned id = (unsigned)(uintptr_t)data, i;
    struct ft t = *servers[id % 2];

    t.worker = fs_worker_new();
    for (i = 0; i < 1500; i++)
        one_change(&t, id);
    fs_worker_free(t.worker);
    return NULL;
}

/* Names come and go as fast as they can, the same ones at both servers. */
static void *
come_and_go(void *data)
{
    unsigned id = (unsigned)(uintptr_t)data, i;
    struct ft t = *servers[id % 2];
    struct fuse_entry_out e;
    char name[16];
    uint64_t fh;

    t.worker = fs_worker_new();
    for (i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "lock%u", i & 3);
        if (ft_create(&t, FUSE_ROOT_ID, name, O_RDWR | O_EXCL, 0644, &e, &fh) == 0)
            ft_release(&t, e.nodeid, fh);
        ft_unlink(&t, FUSE_ROOT_ID, name);
    }
    fs_worker_free(t.worker);
    return NULL;
}

static void
run_threads(void *(*fn)(void *))
{
    pthread_t threads[4];
    uintptr_t i;

    for (i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, fn, (void *)i);
    for (i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

static void
test_two(void)
{
    int64_t bytes, inodes;

    prepare();
    servers[0] = start(20 * MIB, 1000, false);
    servers[1] = start(20 * MIB, 1000, false);
    stored = 0;
    run_threads(fill);
    get_usage(servers[0], &bytes, &inodes);
    ok(bytes <= 20 * MIB && bytes > 20 * MIB - 5 * 16384, "four threads of two servers fill the share to its limit");
    ok(stored <= 20 * MIB, "and store no more");
    ok(usage_is_true(servers[1], "filled by two"), "the account is right");
    run_threads(change);
    forget_all(servers[0]);
    forget_all(servers[1]);
    ok(usage_is_true(servers[0], "changed by two"), "also after they changed the same files");
    ft_free(servers[0]);
    ok(usage_is_true(servers[1], "one left"), "and after one left");
    ft_free(servers[1]);
}

/* Who makes a file and who removes it may be two, and the second be faster than the first. */
static void
test_contended_names(void)
{
    prepare();
    servers[0] = start(20 * MIB, 1000, false);
    servers[1] = start(20 * MIB, 1000, false);
    run_threads(come_and_go);
    forget_all(servers[0]);
    forget_all(servers[1]);
    ok(usage_is_true(servers[0], "contended names"), "files are credited once, whoever made and whoever removed them");
    run_threads(change);
    forget_all(servers[0]);
    forget_all(servers[1]);
    ok(usage_is_true(servers[0], "contended files"), "and charged once, while there is room for changes of all kinds");
    ft_free(servers[0]);
    ft_free(servers[1]);
}

/* Unlinked by one server, open in another. */
static void
test_open_elsewhere(void)
{
    struct fuse_entry_out e;
    int64_t bytes, inodes;
    uint64_t f, fh, other;

    prepare();
    servers[0] = start(20 * MIB, 100000, false);
    servers[1] = start(20 * MIB, 100000, false);
    f = make_file(servers[0], "f", &fh);
    ft_write(servers[0], f, fh, 0, block, MIB, 0);
    ft_release(servers[0], f, fh);
    ft_lookup(servers[1], FUSE_ROOT_ID, "f", &e);
    ft_open(servers[1], e.nodeid, O_RDWR, &other);
    ft_unlink(servers[0], FUSE_ROOT_ID, "f");
    forget_all(servers[0]);
    ft_write(servers[1], e.nodeid, other, MIB, block, MIB, 0);
    get_usage(servers[0], &bytes, &inodes);
    ok(bytes >= 2 * MIB, "what one server removed and another has open is charged");
    ft_release(servers[1], e.nodeid, other);
    forget_all(servers[1]);
    ok(usage_is_true(servers[0], "closed elsewhere"), "until it is closed there");
    ft_free(servers[0]);
    ft_free(servers[1]);
}

/* A guest holds on to a file that it has no name and no handle of: by another name than it was opened by. */
static void
test_several_names(void)
{
    struct fuse_entry_out e;
    int64_t bytes, inodes;
    struct fuse_attr a;
    uint64_t f, fh;
    struct ft *t;

    prepare();
    t = start(20 * MIB, 1000, false);
    f = make_file(t, "f", &fh);
    ft_write(t, f, fh, 0, block, MIB, 0);
    ft_link(t, f, FUSE_ROOT_ID, "g", &e);
    ft_unlink(t, FUSE_ROOT_ID, "f");
    ft_unlink(t, FUSE_ROOT_ID, "g");
    ft_release(t, f, fh);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    ok(ft_getattr(t, f, &a) == 0 && a.blocks >= MIB / 512, "a file without names that the guest still knows");
    get_usage(t, &bytes, &inodes);
    ok(bytes >= MIB && inodes == 2, "is charged, also when one of the names it had is used no more");
    forget_all(t);
    ok(usage_is_true(t, "several names, forgotten"), "until it is forgotten");
    ft_free(t);
}

/* Make a file and take away its name, all the guest has of it, and so its space. */
static void
make_and_remove(struct ft *t, const char *name, uint64_t size)
{
    uint64_t fh, f = make_file(t, name, &fh);

    ok(allocate(t, f, fh, 0, 0, size) == 0, "%s is made", name);
    ft_release(t, f, fh);
    ft_unlink(t, FUSE_ROOT_ID, name);
    ft_forget(t, f, 1);
}

/* What is credited together later is there for who needs it at once. */
static void
test_room_at_once(void)
{
    uint64_t f, fh;
    struct ft *t;

    prepare();
    t = start(256 * MIB, 100000, false);
    make_and_remove(t, "small", MIB);
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); /* credited, and now more is waited for */
    make_and_remove(t, "large", 170 * MIB);
    f = make_file(t, "new", &fh);
    eq_int(allocate(t, f, fh, 0, 0, 170 * MIB), 0, "there is room for another one");
    ft_release(t, f, fh);
    forget_all(t);
    ok(usage_is_true(t, "room at once"), "the account is right");
    ft_free(t);
}

static pid_t
child_that_writes(void)
{
    pid_t pid = fork();
    unsigned i;

    if (pid == 0) {
        struct ft *t = start(40 * MIB, 100000, false);

        for (i = 0;; i++)
            one_change(t, i);
    }
    return pid;
}

static void
test_killed(void)
{
    struct timespec while_it_works = {.tv_nsec = 50000000};
    unsigned i, wrong = 0;
    struct ft *t;
    pid_t pid;

    prepare();
    for (i = 0; i < 5; i++) {
        pid = child_that_writes();
        nanosleep(&while_it_works, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        t = start(40 * MIB, 100000, false);
        wrong += !usage_is_true(t, "after kill");
        ft_free(t);
    }
    eq_int(wrong, 0, "a server that was killed: the next one counts");
    t = start(40 * MIB, 100000, false);
    for (i = 0; i < 5; i++) {
        pid = child_that_writes();
        nanosleep(&while_it_works, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        servers[1] = start(40 * MIB, 100000, false);
        wrong += !usage_is_true(t, "after kill beside another");
        one_change(t, i);
        forget_all(t);
        wrong += !usage_is_true(t, "and on");
        ft_free(servers[1]);
    }
    eq_int(wrong, 0, "killed beside one that goes on");
    ft_free(t);
}

/* ---- overlayfs ---------------------------------------------------------------------------------------------- */

static int
write_line(const char *path, const char *line)
{
    mb_autofd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    return fd < 0 ? -errno : mb_write_full(fd, line, strlen(line));
}

/* A mount namespace, and for an ordinary user one of users, where he is root. */
static int
leave_namespaces(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char line[32];
    int r;

    if (uid == 0)
        return unshare(CLONE_NEWNS) < 0 ? -errno : 0;
    if (unshare(CLONE_NEWNS | CLONE_NEWUSER) < 0)
        return -errno;
    r = write_line("/proc/self/setgroups", "deny");
    snprintf(line, sizeof(line), "0 %u 1", gid);
    if (r == 0)
        r = write_line("/proc/self/gid_map", line);
    snprintf(line, sizeof(line), "0 %u 1", uid);
    return r < 0 ? r : write_line("/proc/self/uid_map", line);
}

/* An overlay of a tmpfs and of a directory on another filesystem at host_dir, for this process alone. */
static int
mount_overlay(void)
{
    bool root = geteuid() == 0;
    char options[3 * 4096 + 64];
    int r = leave_namespaces();

    if (r < 0)
        return r;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("lower", ft_subdir("lower"), "tmpfs", 0, NULL) < 0)
        return -errno;
    r = write_line(ft_path("lower/below"), "");
    if (r < 0)
        return r;
    snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s%s", ft_path("lower"), ft_subdir("upper"),
             ft_subdir("work"), root ? "" : ",userxattr");
    return mount("overlay", host_dir, "overlay", 0, options) < 0 ? -errno : 0;
}

/* The limit, and the account, in the mount namespace of this process. */
static int
fill_overlay(void)
{
    struct fuse_entry_out e = {0};
    uint64_t fh, written = 0;
    struct stat dir, file;
    struct ft *t;
    int r;

    t = start(4 * MIB, 100000, false);
    ft_create(t, FUSE_ROOT_ID, "f", O_RDWR, 0644, &e, &fh);
    if (stat(host_dir, &dir) < 0 || stat(ft_path("share/f"), &file) < 0 || dir.st_dev == file.st_dev) {
        tap_diag("the file has the directory's device number: this tests nothing");
        return 2;
    }
    while (written < 8 * MIB && (r = ft_write(t, e.nodeid, fh, written, block, 65536, 0)) > 0)
        written += (unsigned)r;
    if (written > 4 * MIB || r != -ENOSPC) {
        tap_diag("%llu bytes were written, then %d", (unsigned long long)written, r);
        return 1;
    }
    if (!usage_is_true(t, "overlay"))
        return 1;
    ft_free(t);
    t = start(4 * MIB, 100000, true);
    return !usage_is_true(t, "overlay, counted anew");
}

/* There the device numbers of a share's files need not be its own. */
static void
test_overlay(void)
{
    int status = 0, r;
    pid_t pid;

    prepare();
    pid = fork();
    if (pid == 0) {
        r = mount_overlay();
        if (r < 0)
            tap_diag("overlay: %s", strerror(-r));
        r = r < 0 ? 77 : fill_overlay();
        fflush(stdout);
        _exit(r);
    }
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        tap_skip("the limit holds on overlayfs", "no overlay can be mounted here");
    else
        eq_int(status, 0, "the limit holds on overlayfs");
}

/* test-quota [preallocation] */
int
main(int argc, char **argv)
{
    const char *why = ft_no_xattr();

    if (why)
        tap_skip_all(why);
    memset(block, 'q', sizeof(block));
    test_preallocation();
    if (argc > 1 && strcmp(argv[1], "preallocation") == 0)
        return tap_done();
    test_limit();
    test_inodes();
    test_changes();
    test_persistent();
    test_deep();
    test_program();
    test_two();
    test_contended_names();
    test_open_elsewhere();
    test_several_names();
    test_room_at_once();
    test_killed();
    test_overlay();
    return tap_done();
}

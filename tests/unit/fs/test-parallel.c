/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many threads on one core, and two cores on one directory, with so few
 * descriptors that nodes are closed and found again all the time.  What is
 * looked for is a crash, a hang, a wrong content, or (built with
 * -fsanitize=thread) a race.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs-test.h"

#define N_THREADS 6u
#define N_ROUNDS 400u

#define DEPTH 6u
#define FEW_FDS 4u
#define N_WALKS 3000u

static struct ft *cores[2];
static atomic_uint wrong;

static void
files_of_its_own(struct ft *t, unsigned id, unsigned round)
{
    struct fuse_entry_out d, e;
    char name[32], text[32], buf[32] = "";
    uint64_t fh;

    snprintf(name, sizeof(name), "own-%u", id);
    snprintf(text, sizeof(text), "thread %u, round %u", id, round);
    if (ft_mkdir(t, FUSE_ROOT_ID, name, 0755, &d) < 0 && ft_lookup(t, FUSE_ROOT_ID, name, &d) < 0) {
        wrong++;
        return;
    }
    if (ft_create(t, d.nodeid, "file", O_RDWR, 0644, &e, &fh) < 0) {
        wrong++;
        return;
    }
    if (ft_write(t, e.nodeid, fh, 0, text, sizeof(text), 0) != sizeof(text) ||
        ft_read(t, e.nodeid, fh, 0, buf, sizeof(buf)) != sizeof(buf) || strcmp(buf, text) != 0)
        wrong++;
    ft_release(t, e.nodeid, fh);
    if (ft_rename(t, d.nodeid, "file", d.nodeid, "renamed", 0) < 0 || ft_open(t, e.nodeid, O_RDONLY, &fh) < 0) {
        wrong++;
    } else {
        if (ft_read(t, e.nodeid, fh, 0, buf, sizeof(buf)) != sizeof(buf) || strcmp(buf, text) != 0)
            wrong++;
        ft_release(t, e.nodeid, fh);
    }
    if (ft_unlink(t, d.nodeid, "renamed") < 0)
        wrong++;
    ft_forget(t, e.nodeid, 1);
    ft_forget(t, d.nodeid, 1);
}

/* Names that all threads create, look up, list, rename and remove at once: any outcome that
 * the operation can have is right. */
static void
common_files(struct ft *t, unsigned round)
{
    struct fuse_entry_out e;
    char name[16], other[16];
    uint64_t fh;

    snprintf(name, sizeof(name), "common-%u", round % 7);
    snprintf(other, sizeof(other), "common-%u", (round * 3 + 1) % 7);
    if (ft_create(t, FUSE_ROOT_ID, name, O_RDWR, 0644, &e, &fh) == 0) {
        ft_write(t, e.nodeid, fh, round, "x", 1, 0);
        ft_chmod(t, e.nodeid, 0600 + round % 64);
        ft_release(t, e.nodeid, fh);
        ft_forget(t, e.nodeid, 1);
    }
    ft_rename(t, FUSE_ROOT_ID, name, FUSE_ROOT_ID, other, round % 2 ? RENAME_EXCHANGE : 0);
    if (ft_lookup(t, FUSE_ROOT_ID, other, &e) == 0) {
        ft_getattr(t, e.nodeid, NULL);
        if (ft_open(t, e.nodeid, O_RDONLY, &fh) == 0)
            ft_release(t, e.nodeid, fh);
        ft_forget(t, e.nodeid, 1 + round % 2);
    }
    if (round % 16 == 0)
        ft_list(t, FUSE_ROOT_ID, true, 4096, NULL, NULL);
    ft_unlink(t, FUSE_ROOT_ID, other);
}

static void *
worker(void *data)
{
    unsigned id = (unsigned)(uintptr_t)data, i;
    struct ft mine = *cores[id % 2];

    mine.worker = fs_worker_new();
    for (i = 0; i < N_ROUNDS; i++) {
        files_of_its_own(&mine, id, i);
        common_files(&mine, id + i);
    }
    fs_worker_free(mine.worker);
    return NULL;
}

/* ---- walks --------------------------------------------------------------------------------- */

static struct ft *walk_core;
static uint64_t leaf;
static atomic_bool walked;

/* A guest that uses a file whose ancestors have no descriptors: every look at it is a walk. */
static void *
walker(void *data)
{
    struct ft mine = *walk_core;
    unsigned i;

    (void)data;
    mine.worker = fs_worker_new();
    for (i = 0; i < N_WALKS; i++) {
        struct fuse_entry_out e;
        char name[16];

        /* It may be ESTALE meanwhile. */
        ft_getattr(&mine, leaf, NULL);
        snprintf(name, sizeof(name), "other-%u", i % 8);
        if (ft_lookup(&mine, FUSE_ROOT_ID, name, &e) == 0) {
            ft_setxattr(&mine, e.nodeid, "user.a", "b", 1, 0);
            ft_forget(&mine, e.nodeid, 1);
        }
    }
    atomic_store(&walked, true);
    fs_worker_free(mine.worker);
    return NULL;
}

/* And that moves a part of the tree elsewhere, and forgets where it was. */
static void *
mover(void *data)
{
    struct ft mine = *walk_core;
    const char *const places[] = {"m", "n"};
    unsigned i;

    (void)data;
    mine.worker = fs_worker_new();
    for (i = 0; !atomic_load(&walked); i++) {
        struct fuse_entry_out from, to;

        if (ft_lookup(&mine, FUSE_ROOT_ID, places[i % 2], &from) < 0 ||
            ft_lookup(&mine, FUSE_ROOT_ID, places[(i + 1) % 2], &to) < 0) {
            wrong++;
            break;
        }
        if (ft_rename(&mine, from.nodeid, "1", to.nodeid, "1", 0) < 0)
            wrong++;
        ft_forget(&mine, from.nodeid, 1);
        ft_forget(&mine, to.nodeid, 1);
    }
    fs_worker_free(mine.worker);
    return NULL;
}

/* The guest has begun again: nobody holds anything. */
static bool
nothing_is_held(struct fs *fs)
{
    struct fs_node *node;
    uint32_t i;

    fs_reset(fs);
    for (i = 1; (node = fs_slab_at(&fs->nodes.slab, i)); i++) {
        if (node != fs->root && (node->slot.refs || node->fd_state)) {
            tap_diag("node %u: %u references, descriptor word %#llx", i, node->slot.refs,
                     (unsigned long long)node->fd_state);
            return false;
        }
    }
    return fs->nodes.n_fds == 1 && fs->nodes.slab.live == 1 && fs->handles.slab.live == 0;
}

static void
test_walks(void)
{
    struct fs_config config = {.cache = FS_CACHE_AUTO, .max_fds = FEW_FDS};
    struct fuse_entry_out e, d = {.nodeid = FUSE_ROOT_ID};
    pthread_t threads[3];
    char name[16];
    uint64_t fh;
    unsigned i;

    config.shared_dir = ft_subdir("deep");
    walk_core = ft_core(&config);
    for (i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "other-%u", i);
        if (ft_create(walk_core, FUSE_ROOT_ID, name, O_RDWR, 0644, &e, &fh) == 0)
            ft_release(walk_core, e.nodeid, fh);
        ft_forget(walk_core, e.nodeid, 1);
    }
    ft_mkdir(walk_core, FUSE_ROOT_ID, "n", 0755, &e);
    ft_forget(walk_core, e.nodeid, 1);
    ft_mkdir(walk_core, FUSE_ROOT_ID, "m", 0755, &d);
    for (i = 1; i <= DEPTH; i++) {
        snprintf(name, sizeof(name), "%u", i);
        ft_mkdir(walk_core, d.nodeid, name, 0755, &e);
        ft_forget(walk_core, d.nodeid, 1);
        d = e;
    }
    leaf = e.nodeid;
    eq_int(ft_getattr(walk_core, leaf, NULL), 0, "a file far below");
    pthread_create(&threads[0], NULL, mover, NULL);
    pthread_create(&threads[1], NULL, walker, NULL);
    pthread_create(&threads[2], NULL, walker, NULL);
    for (i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    eq_int(wrong, 0, "is walked to while its ancestors move and are forgotten");
    ok(nothing_is_held(walk_core->fs), "and nothing is held of them in the end");
    ft_free(walk_core);
}

/* ---- names that change hands --------------------------------------------------------------------- */

static char kept[4096], contended[4096];
static atomic_bool stop_moving;

/* The host puts a directory in the place of the one that is being made, and takes it back. */
static void *
replacer(void *data)
{
    (void)data;
    while (!atomic_load(&stop_moving)) {
        if (rename(kept, contended) == 0)
            (void)!rename(contended, kept);
    }
    return NULL;
}

static void
test_replaced_while_made(void)
{
    struct fs_config config = {.cache = FS_CACHE_AUTO};
    struct fuse_entry_out e, inside;
    uint8_t before[32] = {0}, after[32] = {0};
    pthread_t thread;
    char share[4096];
    struct ft *t;
    unsigned i;

    snprintf(share, sizeof(share), "%s", ft_subdir("hands"));
    config.shared_dir = share;
    t = ft_core(&config);
    snprintf(kept, sizeof(kept), "%s", ft_at(share, "kept"));
    snprintf(contended, sizeof(contended), "%s", ft_at(share, "contended"));
    ft_mkdir(t, FUSE_ROOT_ID, "kept", 0700, &e);
    ft_mkdir(t, e.nodeid, "inside", 0700, &inside);
    ft_chown(t, e.nodeid, 7, 7);
    eq_int(getxattr(kept, FS_IDENT_XATTR, before, sizeof(before)), FS_IDENT_SIZE, "a directory with an identity");
    pthread_create(&thread, NULL, replacer, NULL);
    for (i = 0; i < 4000; i++) {
        ft_mkdir(t, FUSE_ROOT_ID, "contended", 0755, &e);
        ft_rmdir(t, FUSE_ROOT_ID, "contended");
    }
    atomic_store(&stop_moving, true);
    pthread_join(thread, NULL);
    if (access(kept, F_OK) < 0)
        (void)!rename(contended, kept);
    (void)!getxattr(kept, FS_IDENT_XATTR, after, sizeof(after));
    ok(memcmp(before, after, sizeof(before)) == 0, "keeps it when it gets the name of one that is being made");
    ft_free(t);
}

int
main(void)
{
    const char *why = ft_no_xattr();
    struct fs_config config = {.cache = FS_CACHE_AUTO, .max_fds = 64};
    pthread_t threads[N_THREADS];
    struct fuse_attr a;
    unsigned i;

    if (why)
        tap_skip_all(why);
    config.shared_dir = ft_subdir("share");
    cores[0] = ft_core(&config);
    cores[1] = ft_core(&config);
    for (i = 0; i < N_THREADS; i++)
        pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i);
    for (i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    eq_int(wrong, 0, "six threads, two cores, one directory");
    eq_int(ft_getattr(cores[0], FUSE_ROOT_ID, &a), 0, "both still serve");
    eq_int(ft_getattr(cores[1], FUSE_ROOT_ID, &a), 0, "it");
    for (i = 0; i < 2; i++) {
        ok(nothing_is_held(cores[i]->fs), "nothing is held when its guest begins again");
        ft_free(cores[i]);
    }
    test_walks();
    test_replaced_while_made();
    return tap_done();
}

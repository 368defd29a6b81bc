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
#include <unistd.h>

#include "fs-test.h"

#define N_THREADS 6u
#define N_ROUNDS 400u

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
    ft_free(cores[0]);
    ft_free(cores[1]);
    return tap_done();
}

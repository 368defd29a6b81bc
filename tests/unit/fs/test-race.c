/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containment while the host moves things under our feet: a process swaps
 * directories and files of the share for symbolic links into a secret directory,
 * FIFOs, and each other, and moves them out of the share and back, while a guest
 * uses all of them.  Nothing of the secret may be read, listed or changed.
 * A second for each way to find files; MSB_TEST_LONG=1: a minute.
 */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "fs-test.h"
#include "rnd.h"

#define SECRET "SECRET"

static char share[4096], secret[4096], outside[4096];
static uint64_t seed;

static uint32_t
rnd(uint32_t n)
{
    return rnd_below(&seed, n);
}

static void
put(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_NOFOLLOW, 0644);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return;
    close(fd);
}

/* ---- the host ------------------------------------------------------------------------------------ */

/* What is at name becomes something else for a moment. */
static void
swap_once(const char *name, const char *target)
{
    const char *path = ft_at(share, name), *aside = ft_at(share, "aside"), *out = ft_at(outside, "moved");
    unsigned i;

    switch (rnd(4)) {
    case 0: /* away, and a link in its place */
        if (rename(path, aside) < 0)
            return;
        (void)!symlink(target, path);
        for (i = rnd(30); i; i--)
            (void)!access(path, F_OK);
        unlink(path);
        rename(aside, path);
        break;
    case 1: /* a link in its place at once */
        (void)!symlink(target, aside);
        if (renameat2(AT_FDCWD, path, AT_FDCWD, aside, RENAME_EXCHANGE) == 0) {
            for (i = rnd(30); i; i--)
                (void)!access(path, F_OK);
            renameat2(AT_FDCWD, path, AT_FDCWD, aside, RENAME_EXCHANGE);
        }
        unlink(aside);
        break;
    case 2: /* out of the share */
        if (rename(path, out) == 0)
            rename(out, path);
        break;
    default: /* a FIFO */
        if (rename(path, aside) < 0)
            return;
        (void)!mkfifo(path, 0600);
        unlink(path);
        rename(aside, path);
    }
    /* Time for the other side to get in. */
    for (i = rnd(60); i; i--)
        (void)!access(path, F_OK);
}

/* The guest removes and renames these, too. */
static void
host_process(void)
{
    const char *file = ft_at(secret, "file");

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        char target[4400];

        mkdir(ft_at(share, "d"), 0755);
        mkdir(ft_at(share, "d/e"), 0755);
        put(ft_at(share, "d/file"), "public");
        put(ft_at(share, "d/e/file"), "public");
        snprintf(target, sizeof(target), "%s", secret);
        switch (rnd(3)) {
        case 0:
            swap_once("d", target);
            break;
        case 1:
            swap_once("d/e", target);
            break;
        default:
            swap_once("d/file", file);
        }
    }
}

/* ---- the guest ------------------------------------------------------------------------------------ */

static struct {
    unsigned reached, leaked, rounds;
} seen;

static void
found_name(void *data, const char *name, uint32_t type, const struct fuse_entry_out *e)
{
    (void)data;
    (void)type;
    seen.leaked += strncmp(name, "secret-", 7) == 0 || (e && e->attr.size == sizeof(SECRET) + 99);
}

static void
use_file(struct ft *t, uint64_t node)
{
    struct fuse_setattr_in times = {.valid = FATTR_MTIME, .mtime = 1};
    char buf[64] = "";
    uint64_t fh;

    switch (rnd(6)) {
    case 0:
        ft_setattr(t, node, &times, NULL);
        break;
    case 1:
        ft_truncate(t, node, 3);
        break;
    case 2:
        ft_setxattr(t, node, "user.guest", "1", 1, 0);
        break;
    case 3:
        ft_chmod(t, node, 0777);
        ft_chown(t, node, 1, 1);
        break;
    default:
        if (ft_open(t, node, rnd(2) ? O_RDONLY : O_RDWR, &fh) < 0)
            break;
        seen.reached += ft_read(t, node, fh, 0, buf, sizeof(buf) - 1) > 0;
        seen.leaked += strncmp(buf, SECRET, strlen(SECRET)) == 0;
        ft_write(t, node, fh, 0, "guest", 5, 0);
        ft_release(t, node, fh);
    }
}

static void
change_dir(struct ft *t, uint64_t dir)
{
    struct fuse_entry_out e;
    uint64_t fh;

    switch (rnd(7)) {
    case 0:
        if (ft_create(t, dir, "planted", O_WRONLY, 0644, &e, &fh) == 0) {
            ft_release(t, e.nodeid, fh);
            ft_forget(t, e.nodeid, 1);
        }
        ft_unlink(t, dir, "planted");
        break;
    case 1:
        if (ft_mkdir(t, dir, "made", 0755, &e) == 0)
            ft_forget(t, e.nodeid, 1);
        ft_rmdir(t, dir, "made");
        break;
    case 2:
        if (ft_symlink(t, dir, "sym", secret, &e) == 0)
            ft_forget(t, e.nodeid, 1);
        ft_unlink(t, dir, "sym");
        break;
    case 3:
        ft_rename(t, dir, "file", dir, "renamed", 0);
        ft_rename(t, dir, "renamed", dir, "file", 0);
        break;
    case 4:
        ft_unlink(t, dir, "secret-name");
        ft_rename(t, dir, "secret-name", FUSE_ROOT_ID, "stolen", 0);
        break;
    case 5:
        ft_unlink(t, dir, "file");
        break;
    default:
        ft_list(t, dir, rnd(2), 4096, found_name, NULL);
    }
}

static void
use_dir(struct ft *t, uint64_t dir, unsigned depth)
{
    struct fuse_entry_out e, linked;

    if (ft_lookup(t, dir, "file", &e) == 0) {
        use_file(t, e.nodeid);
        if (rnd(4) == 0 && ft_link(t, e.nodeid, dir, "hard", &linked) == 0) {
            use_file(t, linked.nodeid);
            ft_forget(t, linked.nodeid, 1);
            ft_unlink(t, dir, "hard");
        }
        ft_forget(t, e.nodeid, 1);
    }
    change_dir(t, dir);
    if (depth && ft_lookup(t, dir, "e", &e) == 0) {
        use_dir(t, e.nodeid, depth - 1);
        ft_forget(t, e.nodeid, 1);
    }
}

static void
guest(struct ft *t, unsigned seconds)
{
    struct timespec now, end;
    struct fuse_entry_out d;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += seconds;
    do {
        if (ft_lookup(t, FUSE_ROOT_ID, "d", &d) == 0) {
            use_dir(t, d.nodeid, 1);
            ft_forget(t, d.nodeid, 1);
        }
        seen.rounds++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
}

/* ---- the test ---------------------------------------------------------------------------------------- */

struct picture {
    struct stat dir, file, hidden;
    ssize_t attributes[2];
    char text[256];
};

static void
take_picture(struct picture *p)
{
    int fd = open(ft_at(secret, "file"), O_RDONLY | O_NOATIME);

    memset(p, 0, sizeof(*p));
    if (stat(secret, &p->dir) < 0 || stat(ft_at(secret, "file"), &p->file) < 0 ||
        stat(ft_at(secret, "secret-name"), &p->hidden) < 0 || fd < 0 || read(fd, p->text, sizeof(p->text)) < 0)
        exit(1);
    close(fd);
    p->attributes[0] = listxattr(secret, NULL, 0);
    p->attributes[1] = listxattr(ft_at(secret, "file"), NULL, 0);
    p->dir.st_atim = p->file.st_atim = p->hidden.st_atim = (struct timespec){0};
}

static void
test_race(bool no_openat2, enum fs_stat_virt virt)
{
    struct fs_config config = {
        .shared_dir = share,
        .stat_virt = virt,
        .cache = FS_CACHE_AUTO,
        .no_openat2 = no_openat2,
        .max_fds = 64, /* so that nodes are evicted and found again */
    };
    struct picture before, after;
    char text[sizeof(SECRET) + 100];
    struct ft *t;
    pid_t pid;

    snprintf(secret, sizeof(secret), "%s", ft_subdir("secret"));
    snprintf(outside, sizeof(outside), "%s", ft_subdir("outside"));
    snprintf(share, sizeof(share), "%s", ft_subdir("share"));
    memset(text, 's', sizeof(text));
    memcpy(text, SECRET, strlen(SECRET));
    text[sizeof(SECRET) + 99] = 0;
    put(ft_at(secret, "file"), text);
    put(ft_at(secret, "secret-name"), text);
    take_picture(&before);
    memset(&seen, 0, sizeof(seen));
    fflush(stdout);
    seed = UINT64_C(88172645463325252);
    pid = fork();
    if (pid == 0)
        host_process();
    seed = UINT64_C(1234567890987654321);
    t = ft_core(&config);
    guest(t, getenv("MSB_TEST_LONG") ? 60 : 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ft_free(t);
    take_picture(&after);
    tap_diag("%s openat2(), stat-virt %d: %u rounds, a file was read in %u", no_openat2 ? "without" : "with",
             (int)virt, seen.rounds, seen.reached);
    eq_int(seen.leaked, 0, "what is swapped for a link never leads out");
    ok(memcmp(&before, &after, sizeof(before)) == 0, "nothing out there changed");
    ok(seen.reached > 0, "and within the share files were reached");
}

int
main(void)
{
    const char *why = ft_no_xattr();

    if (why)
        tap_skip_all(why);
    test_race(false, FS_STAT_RELAXED);
    test_race(true, FS_STAT_RELAXED);
    test_race(false, FS_STAT_OFF);
    return tap_done();
}

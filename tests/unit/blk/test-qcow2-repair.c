/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The repair of a qcow2 image with lazy refcounts whose QEMU was killed, with the power cut at any moment of it
 * (power-cut.h), and killed before each of its system calls that change the image.  Whatever is left has the contents
 * that it had, can be opened for writing, which goes on with the repair, and is an image that qemu-img check finds
 * nothing wrong with then.
 */
#include <config.h>

#include <sys/wait.h>

#include "bk-qcow2.h"
#include "mb-log.h"
#include "power-cut.h"

#define DISK (6u << 20)
#define MOMENTS 14u

static uint8_t expected[DISK]; /* contents, before and after */

/* Open the image for writing, which repairs it, recording from event 0 on. 0 or -errno. */
static int
repair(const char *path)
{
    struct bk_image *image;
    struct bk_err err;
    int rc = bk_qcow2_open(path, false, false, &image, &err);

    if (rc == 0) {
        n_events = 0;
        recorded_fd = image->files[0]->fd;
        rc = bk_image_begin(image, &err);
        recorded_fd = -1;
        bk_image_close(image);
    }
    if (rc < 0)
        tap_diag("%s", err.text);
    return rc;
}

static bool
has_contents(const char *path)
{
    static uint8_t buf[DISK];
    struct bk_image *image;
    struct bk_err err;
    struct bt t;
    int rc;

    if (bk_qcow2_open(path, true, false, &image, &err) < 0) {
        tap_diag("%s", err.text);
        return false;
    }
    rc = bt_open(&t, BK_ENGINE_THREADS, image);
    if (rc == 0)
        rc = bt_rw(&t, image, false, 0, buf, DISK, DISK);
    bt_close(&t);
    bk_image_close(image);
    return rc == 0 && memcmp(buf, expected, DISK) == 0;
}

/* Nothing is wrong with it, not even a leak. */
static bool
is_clean(const char *path)
{
    char line[400];

    snprintf(line, sizeof(line), "qemu-img check -f qcow2 %s >%s/log 2>&1 && ! grep -q leaked %s/log", path, bt_dir,
             bt_dir);
    return system(line) == 0;
}

/* Of an image that a repair did not come to the end of. */
static bool
can_go_on(const char *path, const char *when, unsigned c)
{
    unsigned events_before = n_events;
    struct event *kept = NULL;
    bool before = has_contents(path), repaired, clean, after;

    /* What is recorded is about the first repair. */
    kept = malloc(events_before * sizeof(*kept));
    memcpy(kept, events, events_before * sizeof(*kept));
    repaired = repair(path) == 0;
    forget_events();
    memcpy(events, kept, events_before * sizeof(*kept));
    n_events = events_before;
    free(kept);
    clean = is_clean(path);
    after = has_contents(path);
    if (before && repaired && clean && after)
        return true;
    tap_diag("%s event %u: contents %d, repaired %d, clean %d, contents then %d", when, c, before, repaired, clean,
             after);
    return false;
}

static bool
is_sound(const struct disk *d, unsigned c)
{
    char path[100];

    snprintf(path, sizeof(path), "%s/cut", bt_dir);
    return store(d, path) && can_go_on(path, "a power cut at", c);
}

/* Killed in place of event n. */
static bool
survives_kill(const char *image, unsigned n)
{
    char line[300], path[100];
    int status;
    pid_t pid;

    snprintf(path, sizeof(path), "%s/killed", bt_dir);
    snprintf(line, sizeof(line), "cp %s %s", image, path);
    if (system(line) != 0)
        return false;
    pid = fork();
    if (pid == 0) {
        kill_at = n;
        _exit(repair(path) == 0 ? 0 : 1);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        tap_diag("event %u did not come", n);
        return false;
    }
    return can_go_on(path, "killed before", n);
}

static void
scenario(const char *name, const char *create, const char *commands)
{
    struct disk durable = {.data = calloc(1, MAX_IMAGE)};
    unsigned bad = 0, n, every;
    char line[1000], path[100];
    uint64_t size;

    snprintf(line, sizeof(line),
             "cd %s && rm -f image && { %s; qemu-io -f qcow2 %s -c 'sigraise 9' image; } >log 2>&1; cp image dirty && "
             "qemu-img convert -f qcow2 -O raw image raw",
             bt_dir, create, commands);
    if (!ok(system(line) == 0, "%s: made", name))
        return;
    snprintf(path, sizeof(path), "%s/raw", bt_dir);
    load(path, expected, DISK, &size);
    snprintf(path, sizeof(path), "%s/image", bt_dir);
    load(path, durable.data, MAX_IMAGE, &durable.size);
    durable.used = durable.size;
    if (!ok(!is_clean(path), "%s: it needs a repair", name))
        return;
    ok(repair(path) == 0 && is_clean(path) && has_contents(path), "%s: and is repaired", name);
    n = n_events;
    ok(n > 6, "%s: by %u system calls", name, n);
    ok(cut_everywhere(&durable, MOMENTS, is_sound) == 0, "%s: whenever the power is cut", name);
    forget_events();
    snprintf(path, sizeof(path), "%s/dirty", bt_dir);
    every = getenv("MSB_TEST_LONG") ? 1 : n / MOMENTS + 1;
    for (unsigned i = 0; i < n && bad < 3; i += every)
        bad += !survives_kill(path, i);
    ok(bad == 0, "%s: and whenever it is killed", name);
    free(durable.data);
}

int
main(void)
{
    if (system("qemu-img --version >/dev/null 2>&1 && qemu-io --version >/dev/null 2>&1") != 0) {
        printf("1..0 # SKIP qemu-img or qemu-io is not installed\n");
        return 77;
    }
    bt_make_dir();
    mb_log_set_level(MB_LOG_WARN);
    seed = getenv("MSB_TEST_SEED") ? strtoull(getenv("MSB_TEST_SEED"), NULL, 10) : 1;
    scenario("clusters of 64 KiB", "qemu-img create -f qcow2 -o lazy_refcounts=on image 6M",
             "-c 'write -P 1 0 300k' -c 'write -P 2 3M 2M' -c 'discard 4M 512k'");
    scenario("clusters of 512 bytes, wide counts",
             "qemu-img create -f qcow2 -o lazy_refcounts=on,cluster_size=512,refcount_bits=64 image 6M",
             "-c 'write -P 7 0 3M' -c 'write -P 8 5M 3k'");
    scenario("with a snapshot",
             "qemu-img create -f qcow2 -o lazy_refcounts=on,cluster_size=4k image 6M && "
             "qemu-io -c 'write -P 1 0 2M' image && qemu-img snapshot -c one image",
             "-c 'write -P 2 1M 2M' -c 'discard 0 512k'");
    scenario("compressed",
             "yes abc | head -c 6M >data; qemu-img convert -c -f raw -O qcow2 -o lazy_refcounts=on,cluster_size=4k "
             "data image",
             "-c 'write -P 1 100k 300k'");
    return tap_done();
}

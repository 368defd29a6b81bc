/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The back-end of a qcow2 image, with a journal or writing its tables at once, is killed while it makes the disk larger:
 * before each of the system calls that change the image.  Its successor finds one of the two sizes and all
 * that was written before, flushed or not, makes the disk as large, and qemu-img check finds nothing but leaks.
 */
#include <config.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "bk-qcow2.h"
#include "power-cut.h"

#define DISK (2u << 20)
#define LARGE (24u << 20)
#define UNIT 2048u
#define STEP (7u * UNIT) /* between what is written */

static bool journaled;
static int journal = -1; /* of the image */

static struct bk_image *
open_image(const char *path)
{
    struct bk_image *image;
    struct bk_err err;
    int rc = journaled ? bk_qcow2_open_journaled(path, journal, &image, &err)
                       : bk_qcow2_open(path, false, true, &image, &err);

    if (rc == 0)
        rc = bk_image_begin(image, &err);
    if (rc < 0)
        tap_diag("%s", err.text);
    return rc < 0 ? NULL : image;
}

static void
fill(uint8_t *buf, uint64_t offset)
{
    for (unsigned i = 0; i < UNIT; i++)
        buf[i] = bt_byte(11, offset + i);
}

/* Write, which nobody flushes; grow, recording from event 0 on. 0 or -errno. */
static int
write_and_grow(struct bk_image *image)
{
    uint8_t buf[UNIT];
    struct bk_err err;
    struct bt t;
    int rc = bt_open(&t, BK_ENGINE_THREADS, image);

    for (uint64_t offset = 0; offset < DISK && rc == 0; offset += STEP) {
        fill(buf, offset);
        rc = bt_rw(&t, image, true, offset, buf, UNIT, UNIT);
    }
    bt_close(&t);
    if (rc < 0)
        return rc;
    n_events = 0;
    recorded_fd = image->files[0]->fd;
    rc = image->ops->grow(image, LARGE, &err);
    recorded_fd = -1;
    return rc;
}

static bool
has_all(struct bk_image *image)
{
    uint8_t want[UNIT], got[UNIT];
    bool right;
    struct bt t;

    right = bt_open(&t, BK_ENGINE_THREADS, image) == 0;
    for (uint64_t offset = 0; offset < DISK && right; offset += STEP) {
        fill(want, offset);
        right = bt_rw(&t, image, false, offset, got, UNIT, UNIT) == 0 && memcmp(want, got, UNIT) == 0;
    }
    bt_close(&t);
    return right;
}

static bool
is_sound(const char *path)
{
    char line[300];

    snprintf(line, sizeof(line), "qemu-img check -f qcow2 %s >%s/log 2>&1; r=$?; test $r = 0 || test $r = 3", path, bt_dir);
    return system(line) == 0;
}

/* What the successor of one that was killed finds, and does. */
static bool
can_go_on(const char *path, unsigned n)
{
    struct bk_image *image = open_image(path);
    bool size, before, after, sound;
    struct bk_err err;

    if (!image)
        return false;
    size = image->size == DISK || image->size == LARGE;
    before = has_all(image);
    after = image->ops->grow(image, LARGE, &err) == 0 && has_all(image);
    bk_image_close(image);
    sound = is_sound(path);
    if (size && before && after && sound)
        return true;
    tap_diag("killed before event %u: size %d, contents %d, grown then %d, sound %d", n, size, before, after, sound);
    return false;
}

static int
make_image(const char *create, char *path, size_t size)
{
    char line[300];

    snprintf(path, size, "%s/image", bt_dir);
    snprintf(line, sizeof(line), "cd %s && rm -f image && { %s; } >log 2>&1", bt_dir, create);
    mb_close(mb_steal_fd(&journal));
    journal = memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return system(line);
}

/* Killed in place of event n. */
static bool
survives_kill(const char *create, unsigned n)
{
    char path[100];
    int status;
    pid_t pid;

    if (make_image(create, path, sizeof(path)) != 0)
        return false;
    pid = fork();
    if (pid == 0) {
        struct bk_image *image = open_image(path);

        kill_at = n;
        _exit(image && write_and_grow(image) == 0 ? 0 : 1);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        tap_diag("event %u did not come", n);
        return false;
    }
    return can_go_on(path, n);
}

static void
scenario(const char *name, bool with_journal, const char *create)
{
    struct bk_image *image = NULL;
    unsigned n, bad = 0;
    char path[100];

    journaled = with_journal;
    if (!ok(make_image(create, path, sizeof(path)) == 0 && (image = open_image(path)), "%s: made", name))
        return;
    ok(write_and_grow(image) == 0 && has_all(image), "%s: grows", name);
    bk_image_close(image);
    ok(is_sound(path), "%s: and is sound", name);
    n = n_events;
    ok(n > 2, "%s: by %u system calls", name, n);
    forget_events();
    for (unsigned i = 0; i < n && bad < 3; i++)
        bad += !survives_kill(create, i);
    ok(bad == 0, "%s: whenever it is killed", name);
}

int
main(void)
{
    if (system("qemu-img --version >/dev/null 2>&1") != 0) {
        printf("1..0 # SKIP qemu-img is not installed\n");
        return 77;
    }
    bt_make_dir();
    for (unsigned j = 0; j < 2; j++) {
        scenario(j ? "the size, journal" : "the size", j, "qemu-img create -f qcow2 image 2M");
        scenario(j ? "a larger L1, journal" : "a larger L1", j, "qemu-img create -f qcow2 -o cluster_size=1k image 2M");
        scenario(j ? "L1 with counts of its own, journal" : "L1 with counts of its own", j,
                 "qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=64 image 2M");
    }
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A power cut at any moment (power-cut.h) of a random workload on a qcow2 or
 * VMDK image.  qemu-img check must find nothing but leaks, and each sector must
 * have what the last completed flush had put there, or something newer.  With a
 * journal the back-end is also killed several times meanwhile; its successor's
 * recovery is part of the record, and finds all that the guest was told.  In
 * some scenarios the host has no room now and then.
 *
 * Each write fills its sectors with a number of its own, so that a sector says
 * which write it is from.
 */
#include <config.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "bk-qcow2.h"
#include "bk-vmdk.h"
#include "mb-endian.h"
#include "power-cut.h"

#define UNIT 4096u
#define SECTORS (UNIT / 512)
#define DISK (4u << 20)
#define UNITS (DISK / UNIT)
#define MAX_WRITES 20000u
#define BATCH 6u
#define ROUNDS 70u
#define LIFE 15u /* rounds, with a journal */

static const char *format; /* of the image: qcow2, vmdk */

/* ---- what the guest did ------------------------------------------------------------ */

#define ANYTHING UINT64_MAX /* a discard: whatever is there is right */

struct guest_write {
    unsigned unit;
    uint64_t number;       /* 0: zeros */
    unsigned began, ended; /* in events */
    bool failed;           /* it may be there or not */
};

static struct guest_write writes[MAX_WRITES];
static unsigned n_writes;
static struct {
    unsigned n_writes, began, ended;
} flushes[ROUNDS + 1];
static unsigned n_flushes;
static unsigned units = UNITS;          /* that the disk has now */
static unsigned grown_at;               /* round in which it becomes twice as large; 0: it does not */
static unsigned grow_began, grow_ended; /* in events; UINT32_MAX: not yet */
static uint8_t initial[DISK];
struct op {
    struct bt_io io;
    struct iovec iov;
    unsigned first_write, n;
};

static void
start_op(struct bt *t, struct bk_image *image, struct op *op, const bool *busy, uint8_t *buf)
{
    unsigned n = pick(4) ? 1 + pick(3) : 1 + pick(40), unit = pick(units - n + 1), kind = pick(10);
    struct bk_io *io = &op->io.io;

    while (n > 0 && busy[unit + n - 1])
        n--;
    for (unsigned i = 0; i < n; i++) {
        if (busy[unit + i])
            n = 0;
    }
    op->n = n;
    if (n == 0)
        return;
    *io = (struct bk_io){.engine = t->engine,
                         .offset = unit * UNIT,
                         .len = n * UNIT,
                         .iov = &op->iov,
                         .n_iov = 1,
                         .done = bt_done,
                         .unmap = kind == 8};
    op->iov = (struct iovec){buf, n * UNIT};
    op->first_write = n_writes;
    for (unsigned i = 0; i < n; i++) {
        uint64_t number = kind < 7 ? n_writes + 1 : kind < 9 ? 0 : ANYTHING;

        for (unsigned k = 0; k < UNIT; k += 8)
            mb_put_be64(buf + i * UNIT + k, number);
        writes[n_writes++] = (struct guest_write){unit + i, number, events_so_far(), UINT32_MAX, false};
    }
    (kind < 7 ? bk_image_write : kind < 9 ? bk_image_zero : bk_image_discard)(image, io);
}

static unsigned
run_round(struct bt *t, struct bk_image *image)
{
    static struct op ops[BATCH];
    static uint8_t bufs[BATCH][40 * UNIT];
    bool busy[UNITS] = {false};
    unsigned n = 1 + pick(BATCH), bad = 0;

    if (bk_engine_attach(t->engine, t->loop, bt_nothing, NULL) < 0)
        abort();
    for (unsigned i = 0; i < n; i++) {
        ops[i].io.calls = 0;
        start_op(t, image, &ops[i], busy, bufs[i]);
        for (unsigned k = 0; k < ops[i].n; k++)
            busy[writes[ops[i].first_write + k].unit] = true;
    }
    bk_engine_detach(t->engine);
    for (unsigned i = 0; i < n; i++) {
        bad += ops[i].n && (ops[i].io.calls != 1 || (ops[i].io.err && !scarce));
        for (unsigned k = 0; k < ops[i].n; k++) {
            writes[ops[i].first_write + k].ended = n_events;
            writes[ops[i].first_write + k].failed = ops[i].io.err;
        }
    }
    return bad;
}

/* How an image is opened for writing. */
static int
open_image(const char *path, bool read_only, bool eager, struct bk_image **image, struct bk_err *err)
{
    int rc;

    if (strcmp(format, "vmdk") == 0)
        return bk_vmdk_open(path, read_only, image, err);
    rc = bk_qcow2_open(path, read_only, eager, image, err);
    return rc < 0 ? rc : bk_image_begin(*image, err);
}

enum mode { LAZY, EAGER, JOURNAL };

static struct bk_image *lives[ROUNDS]; /* those that were killed are never freed */
static int journal = -1;

static struct bk_image *
open_life(const char *path, enum mode mode)
{
    static unsigned n;
    bool was_scarce = scarce;
    struct bk_image *image;
    struct bk_err err;
    int rc;

    scarce = false;
    if (mode == JOURNAL && journal < 0) {
        journal = memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (ftruncate(journal, 4096 + 2 * 16 * 512) < 0)
            abort();
    }
    rc = mode == JOURNAL ? bk_qcow2_open_journaled(path, journal, &image, &err)
                         : open_image(path, false, mode == EAGER, &image, &err);
    if (rc == 0 && mode == JOURNAL)
        rc = bk_image_begin(image, &err);
    scarce = was_scarce;
    if (rc < 0) {
        tap_diag("%s", err.text);
        return NULL;
    }
    return lives[n++ % ROUNDS] = image;
}

/* The image is left as a killed process leaves it; another one opens it. */
static struct bk_image *
next_life(struct bk_image *image, const char *path)
{
    int fd = image->files[0]->fd;

    for (unsigned i = 0; i < image->n_files; i++) {
        close(image->files[i]->lock_fd);
        if (i > 0)
            close(image->files[i]->fd);
    }
    /* What the recovery writes is recorded: it gets the number that is free. */
    close(fd);
    image = open_life(path, JOURNAL);
    if (image && image->files[0]->fd != fd)
        abort();
    return image;
}

static unsigned
grow(struct bk_image *image)
{
    bool was_scarce = scarce;
    struct bk_err err;
    int rc = -EAGAIN;

    grow_began = n_events;
    for (unsigned tries = 0; tries < 4 && rc < 0; tries++) {
        scarce = was_scarce && tries < 3;
        rc = image->ops->grow(image, DISK, &err);
    }
    scarce = was_scarce;
    if (rc < 0) {
        tap_diag("%s", err.text);
        return 1;
    }
    grow_ended = n_events;
    closely_from = grow_began;
    closely_to = grow_ended;
    units = UNITS;
    return 0;
}

/* May the sector of the unit be so after a cut at event c? */
static bool
allowed(const uint8_t *sector, unsigned unit, unsigned within, unsigned c)
{
    unsigned from = 0;
    bool initially = memcmp(sector, initial + unit * UNIT + within, 512) == 0;
    uint64_t number = mb_get_be64(sector);

    for (unsigned i = 0; i < n_flushes && flushes[i].ended <= c; i++)
        from = flushes[i].n_writes;
    for (unsigned k = 8; k < 512; k += 8) {
        if (mb_get_be64(sector + k) != number)
            number = ANYTHING - 1;
    }
    for (unsigned i = n_writes; i-- > 0;) {
        const struct guest_write *w = &writes[i];

        if (w->unit != unit || w->began >= c)
            continue;
        if (w->number == ANYTHING || w->number == number)
            return true;
        if (i < from && !w->failed)
            return false; /* older ones were replaced by this one, and it was flushed */
    }
    return initially;
}

static unsigned
wrong_sectors(struct bk_image *image, unsigned c)
{
    static uint8_t buf[DISK];
    unsigned wrong = 0;
    struct bt t;

    if (bt_open(&t, BK_ENGINE_THREADS, image) < 0 || bt_rw(&t, image, false, 0, buf, image->size, image->size) != 0)
        wrong = UNITS;
    for (unsigned u = 0; u < image->size / UNIT; u++) {
        for (unsigned s = 0; s < UNIT; s += 512) {
            if (wrong < 3 && !allowed(buf + u * UNIT + s, u, s, c)) {
                tap_diag("event %u: unit %u has %llu", c, u,
                         (unsigned long long)mb_get_be64(buf + u * UNIT + s));
                wrong++;
            }
        }
    }
    bt_close(&t);
    return wrong;
}

/* Whoever comes after a kill finds all that the guest was told is done, flushed or not. */
static unsigned
lost_sectors(struct bk_image *image)
{
    unsigned lost;

    flushes[n_flushes].n_writes = n_writes;
    flushes[n_flushes].ended = n_events;
    n_flushes++;
    lost = wrong_sectors(image, UINT32_MAX);
    n_flushes--;
    return lost;
}

static unsigned
run_workload(struct bk_image **image, const char *path, enum mode mode)
{
    bool was_scarce = scarce;
    unsigned bad = 0;
    struct bt t;

    if (bt_open(&t, BK_ENGINE_THREADS, *image) < 0)
        abort();
    n_events = n_writes = n_flushes = 0;
    grow_began = grow_ended = closely_from = UINT32_MAX;
    units = grown_at ? UNITS / 2 : UNITS;
    recorded_fd = (*image)->files[0]->fd;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct bt_io b = {.io = {.len = 0}};
        bool last = was_scarce && i == ROUNDS - 1;

        if (mode == JOURNAL && i % LIFE == LIFE - 1) {
            *image = next_life(*image, path);
            if (!*image)
                return 1;
            bad += lost_sectors(*image);
        }
        if (grown_at && i == grown_at)
            bad += grow(*image);
        bad += run_round(&t, *image);
        if (pick(3) && !last)
            continue;
        scarce &= !last; /* there is room again in the end */
        flushes[n_flushes].n_writes = n_writes;
        flushes[n_flushes].began = n_events;
        if (bt_run(&t, *image, bk_image_flush, &b) == 0)
            flushes[n_flushes++].ended = n_events;
        else
            bad += !scarce;
    }
    scarce = was_scarce;
    bt_close(&t);
    return bad;
}

static bool
has_right_size(uint64_t size, unsigned c)
{
    if (!grown_at || c >= grow_ended)
        return size == DISK;
    return size == DISK / 2 || (size == DISK && c > grow_began);
}

static bool
has_right_contents(const char *path, unsigned c)
{
    struct bk_image *image;
    struct bk_err err;
    bool right;

    if (open_image(path, true, false, &image, &err) < 0) {
        tap_diag("%s", err.text);
        return false;
    }
    right = has_right_size(image->size, c);
    if (!right)
        tap_diag("event %u: %llu bytes", c, (unsigned long long)image->size);
    right = wrong_sectors(image, c) == 0 && right;
    bk_image_close(image);
    return right;
}

static bool
is_sound(const struct disk *d, unsigned c)
{
    char path[128], command[400];
    int status;

    snprintf(path, sizeof(path), "%s/cut", bt_dir);
    snprintf(command, sizeof(command), "qemu-img check -f %s %s >%s/check 2>&1", format, path, bt_dir);
    status = store(d, path) ? system(command) : -1;
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3)) {
        tap_diag("event %u: qemu-img check ends with %d", c, status);
        snprintf(command, sizeof(command), "head -n 3 %s/check | sed 's/^/# /'", bt_dir);
        if (system(command) < 0)
            return false;
        return false;
    }
    return has_right_contents(path, c);
}

/* ---- scenarios ---------------------------------------------------------------------------- */

static void
scenario(const char *name, enum mode mode, const char *commands)
{
    struct disk durable = {.data = calloc(1, MAX_IMAGE)};
    char line[1000], path[100];
    struct bk_image *image;
    uint64_t size;
    unsigned bad;

    snprintf(line, sizeof(line),
             "cd %s && rm -f image && { %s; } >log 2>&1 && qemu-img convert -f %s -O raw image raw",
             bt_dir, commands, format);
    if (system(line) != 0) {
        ok(false, "%s: made", name);
        return;
    }
    snprintf(path, sizeof(path), "%s/raw", bt_dir);
    load(path, initial, DISK, &size);
    snprintf(path, sizeof(path), "%s/image", bt_dir);
    load(path, durable.data, MAX_IMAGE, &durable.size);
    durable.used = durable.size;
    recorded_fd = -1;
    mb_close(mb_steal_fd(&journal));
    image = open_life(path, mode);
    if (!ok(image, "%s: opened", name))
        return;
    ok(run_workload(&image, path, mode) == 0, "%s: the workload", name);
    bk_image_close(image);
    recorded_fd = -1;
    bad = cut_everywhere(&durable, 12, is_sound);
    ok(bad == 0, "%s: sound after power cuts among %u events", name, n_events);
    forget_events();
    free(durable.data);
}

/* The same with a disk that becomes larger in the middle of it, in each mode. */
static void
growing(const char *name, unsigned round, const char *commands)
{
    static const char *const modes[] = {[LAZY] = "", [EAGER] = ", eager", [JOURNAL] = ", journal"};

    grown_at = round;
    for (enum mode mode = LAZY; mode <= JOURNAL; mode++) {
        char whole[200];

        snprintf(whole, sizeof(whole), "growing, %s%s", name, modes[mode]);
        memset(initial, 0, sizeof(initial));
        scenario(whole, mode, commands);
    }
    grown_at = 0;
}

/* Something is flushed, all the same. */
static void
scarce_scenario(const char *name, enum mode mode, const char *commands)
{
    scarce = true;
    scenario(name, mode, commands);
    scarce = false;
    ok(n_flushes > 0, "%s: %u flushes succeeded", name, n_flushes);
}

/* A flush that comes between the data of a new grain and its entry does not cover the entry: the next one must. */
static void
flush_amid_allocation(void)
{
    static uint8_t buf[UNIT];
    struct bt_io b = {.io = {.len = 0}};
    char line[300], path[100];
    struct bk_image *image;
    struct bk_err err;
    struct bt t;

    snprintf(line, sizeof(line), "cd %s && rm -f image && qemu-img create -q -f vmdk image 4M", bt_dir);
    snprintf(path, sizeof(path), "%s/image", bt_dir);
    if (system(line) != 0 || open_image(path, false, false, &image, &err) < 0) {
        ok(false, "an empty VMDK");
        return;
    }
    if (bt_open(&t, BK_ENGINE_THREADS, image) < 0)
        abort();
    n_events = 0;
    recorded_fd = image->files[0]->fd;
    eq_int(bt_rw(&t, image, true, 0, buf, UNIT, UNIT), 0, "a first write");
    amid = image->files[0];
    eq_int(bt_rw(&t, image, true, 1u << 20, buf, UNIT, UNIT), 0, "an allocation with a flush amid");
    amid = NULL;
    eq_int(bt_run(&t, image, bk_image_flush, &b), 0, "a flush after it");
    eq_int(events[n_events - 1].type, SYNC, "reaches the disk, as there is an entry to bring there");
    recorded_fd = -1;
    bt_close(&t);
    bk_image_close(image);
    forget_events();
}

/* Whatever the sync was for that failed, what it lost may be a guest's: its flushes fail, though the kernel
 * tells once. */
static void
failed_sync(void)
{
    static uint8_t buf[UNIT];
    struct bt_io b = {.io = {.len = 0}};
    char line[300], path[100];
    struct bk_image *image;
    struct bk_err err;
    struct bt t;

    snprintf(line, sizeof(line), "cd %s && rm -f image && qemu-img create -q -f %s image 4M", bt_dir, format);
    snprintf(path, sizeof(path), "%s/image", bt_dir);
    if (system(line) != 0 || open_image(path, false, false, &image, &err) < 0) {
        ok(false, "an empty %s", format);
        return;
    }
    if (bt_open(&t, BK_ENGINE_THREADS, image) < 0)
        abort();
    sync_fails = true;
    bt_rw(&t, image, true, 0, buf, UNIT, UNIT);
    if (sync_fails)
        bt_run(&t, image, bk_image_flush, &b);
    ok(!sync_fails, "%s: a sync fails", format);
    bt_rw(&t, image, true, 1u << 20, buf, UNIT, UNIT);
    b = (struct bt_io){.io = {.len = 0}};
    ok(bt_run(&t, image, bk_image_flush, &b) == -EIO, "%s: so does the flush after it", format);
    bt_close(&t);
    bk_image_close(image);
}

int
main(void)
{
    if (system("qemu-img --version >/dev/null 2>&1 && qemu-io --version >/dev/null 2>&1") != 0) {
        printf("1..0 # SKIP qemu-img or qemu-io is not installed\n");
        return 77;
    }
    bt_make_dir();
    seed = getenv("MSB_TEST_SEED") ? strtoull(getenv("MSB_TEST_SEED"), NULL, 10) : 1;
    format = "qcow2";
    scenario("empty", LAZY, "qemu-img create -f qcow2 image 4M");
    scenario("empty, journal", JOURNAL, "qemu-img create -f qcow2 image 4M");
    scenario("clusters of 4 KiB, eager", EAGER, "qemu-img create -f qcow2 -o cluster_size=4k image 4M");
    scenario("version 2, clusters of 512 bytes", LAZY,
             "qemu-img create -f qcow2 -o cluster_size=512,compat=0.10 image 4M");
    scenario("clusters of 512 bytes, journal", JOURNAL,
             "qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=64 image 4M");
    scenario("over a raw file", LAZY,
             "head -c 4M /dev/urandom >base; "
             "qemu-img create -f qcow2 -b base -F raw -o cluster_size=16k image 4M");
    scenario("over a raw file, journal", JOURNAL,
             "head -c 4M /dev/urandom >base; qemu-img create -f qcow2 -b base -F raw -o cluster_size=16k image 4M");
    scenario("compressed, eager", EAGER,
             "yes abc | head -c 4M >base; qemu-img convert -c -f raw -O qcow2 base image");
    scenario("with a snapshot", LAZY,
             "qemu-img create -f qcow2 -o cluster_size=8k image 4M && "
             "qemu-io -c 'write -P 1 0 3M' image && qemu-img snapshot -c s image");
    scenario("with a snapshot, journal", JOURNAL,
             "qemu-img create -f qcow2 -o cluster_size=8k image 4M && "
             "qemu-io -c 'write -P 1 0 3M' image && qemu-img snapshot -c s image");
    growing("only the size", 20, "qemu-img create -f qcow2 image 2M");
    growing("L1 with counts of its own", 35, "qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=64 image 2M");
    growing("with a snapshot", 13,
            "qemu-img create -f qcow2 -o cluster_size=1k image 2M && "
            "qemu-io -c 'write -P 1 0 1M' image && qemu-img snapshot -c s image");
    scarce = true;
    growing("no room", 20, "qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=64 image 2M");
    scarce = false;
    scarce_scenario("no room", LAZY, "qemu-img create -f qcow2 image 4M");
    scarce_scenario("no room, clusters of 512 bytes, journal", JOURNAL,
                    "qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=64 image 4M");
    scarce_scenario("no room, clusters of 4 KiB, eager", EAGER, "qemu-img create -f qcow2 -o cluster_size=4k image 4M");
    format = "vmdk";
    scarce_scenario("VMDK, no room", LAZY, "qemu-img create -f vmdk image 4M");
    scenario("VMDK, empty", LAZY, "qemu-img create -f vmdk image 4M");
    scenario("VMDK, half written", LAZY,
             "qemu-img create -f vmdk image 4M && qemu-io -f vmdk -c 'write -P 1 1M 2M' image");
    scenario("VMDK, over a parent", LAZY,
             "qemu-img create -f vmdk base.vmdk 4M && qemu-io -f vmdk -c 'write -P 1 0 3M' base.vmdk && "
             "qemu-img create -f vmdk -b base.vmdk -F vmdk image");
    flush_amid_allocation();
    failed_sync();
    format = "qcow2";
    failed_sync();
    return tap_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The back-end is killed while it writes a qcow2 image that was opened to
 * survive that, by writing its tables at once or with a journal: another process finds all that the guest was told is done,
 * flushed or not, and qemu-img check finds nothing but leaks.
 */
#include <config.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bk-qcow2.h"
#include "blk-test.h"

#define UNIT 2048u
#define DISK (8u << 20)
#define UNITS (DISK / UNIT)
#define KILLS 4u

/* Shared with the child that writes; the numbers survive it. */
struct ledger {
    _Atomic(uint64_t) told[UNITS]; /* last number the guest was told is written */
    _Atomic(uint64_t) begun;       /* number that was begun last, */
    _Atomic(unsigned) unit;        /* here; UNITS: none */
    _Atomic(uint64_t) next;
};

static struct ledger *ledger;
static uint64_t seed;
static int journal = -1; /* of the scenario */

static int
open_writable(const char *path, struct bk_image **image)
{
    struct bk_err err;
    int rc = journal < 0 ? bk_qcow2_open(path, false, true, image, &err)
                         : bk_qcow2_open_journaled(path, journal, image, &err);

    if (rc == 0)
        rc = bk_image_begin(*image, &err);
    if (rc < 0)
        tap_diag("%s", err.text);
    return rc;
}

static void
fill(uint8_t *buf, uint64_t number)
{
    for (unsigned i = 0; i < UNIT; i += 8)
        memcpy(buf + i, &number, 8);
}

/* The number, or zeros, into the unit; the guest is told. */
static void
write_unit(struct bt *t, struct bk_image *image, unsigned unit, uint64_t number)
{
    uint8_t buf[UNIT];
    struct bt_io b = {.io = {.offset = (uint64_t)unit * UNIT, .len = UNIT, .unmap = true}};
    int rc;

    fill(buf, number);
    if (number)
        rc = bt_rw(t, image, true, (uint64_t)unit * UNIT, buf, UNIT, UNIT);
    else
        rc = bt_run(t, image, bk_image_zero, &b);
    if (rc != 0)
        _exit(1);
    atomic_store(&ledger->told[unit], number);
}

/* Does again what its predecessor was at, then writes until it is killed. */
static void
child(const char *path, uint64_t random)
{
    struct bk_image *image;
    struct bt t;

    if (open_writable(path, &image) < 0 || bt_open(&t, BK_ENGINE_THREADS, image) < 0)
        _exit(1);
    if (atomic_load(&ledger->unit) < UNITS)
        write_unit(&t, image, atomic_load(&ledger->unit), atomic_load(&ledger->begun));
    for (;;) {
        uint64_t number = atomic_fetch_add(&ledger->next, 1) + 1;
        struct bt_io b = {.io = {.len = 0}};
        unsigned unit;

        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        unit = (unsigned)(random >> 33) % UNITS;
        atomic_store(&ledger->unit, UNITS);
        atomic_store(&ledger->begun, number % 8 ? number : 0);
        atomic_store(&ledger->unit, unit);
        write_unit(&t, image, unit, number % 8 ? number : 0);
        if (number % 61 == 0 && bt_run(&t, image, bk_image_flush, &b) != 0)
            _exit(1);
    }
}

/* What was told is there; in the unit that was being written each sector may have either. */
static bool
is_right(unsigned unit, const uint8_t *data)
{
    uint8_t told[UNIT], begun[UNIT];

    fill(told, atomic_load(&ledger->told[unit]));
    fill(begun, atomic_load(&ledger->begun));
    for (unsigned i = 0; i < UNIT; i += 512) {
        if (memcmp(data + i, told + i, 512) != 0 &&
            (unit != atomic_load(&ledger->unit) || memcmp(data + i, begun + i, 512) != 0))
            return false;
    }
    return true;
}

/* Its successor has what the journal says when it has opened the image. */
static unsigned
count_lost(const char *path)
{
    static uint8_t buf[DISK];
    struct bk_image *image;
    struct bk_err err;
    unsigned lost = 0;
    struct bt t;
    int rc;

    rc = journal < 0 ? bk_qcow2_open(path, true, false, &image, &err) : open_writable(path, &image);
    if (rc < 0 || bt_open(&t, BK_ENGINE_THREADS, image) < 0 ||
        bt_rw(&t, image, false, 0, buf, DISK, DISK) != 0)
        return UNITS;
    for (unsigned u = 0; u < UNITS; u++)
        lost += !is_right(u, buf + u * UNIT);
    bt_close(&t);
    bk_image_close(image);
    return lost;
}

/* Kill it after about so many more operations. */
static void
kill_after(pid_t pid, uint64_t n)
{
    uint64_t until = atomic_load(&ledger->next) + n, end = bk_now_ns() + UINT64_C(20000000000);

    while (atomic_load(&ledger->next) < until && bk_now_ns() < end && waitpid(pid, NULL, WNOHANG) == 0)
        ;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void
scenario(const char *name, const char *command, unsigned journal_records)
{
    char line[400], path[100];
    unsigned lost = 0, broken = 0;

    snprintf(line, sizeof(line), "cd %s && rm -f image && { %s; } >log 2>&1", bt_dir, command);
    if (system(line) != 0) {
        ok(false, "%s: made", name);
        return;
    }
    memset(ledger, 0, sizeof(*ledger));
    ledger->unit = UNITS;
    mb_close(journal);
    journal = journal_records ? memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    if (journal_records && ftruncate(journal, 4096 + 2 * 16 * journal_records) < 0)
        abort();
    snprintf(path, sizeof(path), "%s/image", bt_dir);
    for (unsigned i = 0; i < KILLS; i++) {
        pid_t pid = fork();

        if (pid == 0)
            child(path, seed + i * 7 + 3);
        kill_after(pid, 200 + i * 131);
        lost += count_lost(path);
        snprintf(line, sizeof(line),
                 "qemu-img check -f qcow2 %s >%s/log 2>&1; r=$?; test $r = 0 || test $r = 3", path, bt_dir);
        broken += system(line) != 0;
    }
    ok(atomic_load(&ledger->next) > 200 * KILLS, "%s, journal of %u: writes", name, journal_records);
    ok(lost == 0, "%s, journal of %u: nothing that was done is lost (%u)", name, journal_records, lost);
    ok(broken == 0, "%s, journal of %u: and the image is sound", name, journal_records);
}

int
main(void)
{
    if (system("qemu-img --version >/dev/null 2>&1") != 0) {
        printf("1..0 # SKIP qemu-img is not installed\n");
        return 77;
    }
    bt_make_dir();
    seed = getenv("MSB_TEST_SEED") ? strtoull(getenv("MSB_TEST_SEED"), NULL, 10) : 0;
    ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ledger == MAP_FAILED)
        return 1;
    for (unsigned records = 0; records <= 65536; records = records ? records * 256 : 256) {
        scenario("empty", "qemu-img create -f qcow2 -o cluster_size=4k image 8M", records);
        scenario("clusters of 512 bytes", "qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=64 image 8M",
                 records);
        scenario("over a file of zeros", "truncate -s 8M base; qemu-img create -f qcow2 -b base -F raw image 8M",
                 records);
        scenario("with a snapshot",
                 "qemu-img create -f qcow2 -o cluster_size=8k image 8M && qemu-img snapshot -c s image", records);
    }
    return tap_done();
}

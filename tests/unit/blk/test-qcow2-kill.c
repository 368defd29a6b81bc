/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The back-end is killed while it writes a qcow2 image that was opened to
 * survive that: another process finds all that the guest was told is done,
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
    _Atomic(uint64_t) told[UNITS];  /* last number the guest was told is written */
    _Atomic(uint64_t) begun[UNITS]; /* last number that was begun */
    _Atomic(uint64_t) next;
};

static struct ledger *ledger;

static void
fill(uint8_t *buf, uint64_t number)
{
    for (unsigned i = 0; i < UNIT; i += 8)
        memcpy(buf + i, &number, 8);
}

/* Writes until it is killed. */
static void
child(const char *path, uint64_t seed)
{
    struct bk_image *image;
    struct bk_err err;
    struct bt t;

    if (bk_qcow2_open(path, false, true, &image, &err) < 0 || bt_open(&t, BK_ENGINE_THREADS, image) < 0) {
        tap_diag("%s", err.text);
        _exit(1);
    }
    for (;;) {
        uint8_t buf[UNIT];
        uint64_t number = atomic_fetch_add(&ledger->next, 1) + 1;
        unsigned unit;

        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        unit = (unsigned)(seed >> 33) % UNITS;
        fill(buf, number % 8 ? number : 0);
        atomic_store(&ledger->begun[unit], number % 8 ? number : 0);
        if (number % 8) {
            if (bt_rw(&t, image, true, (uint64_t)unit * UNIT, buf, UNIT, UNIT) != 0)
                _exit(1);
        } else {
            struct bt_io b = {.io = {.offset = (uint64_t)unit * UNIT, .len = UNIT, .unmap = true}};

            if (bt_run(&t, image, bk_image_zero, &b) != 0)
                _exit(1);
        }
        atomic_store(&ledger->told[unit], number % 8 ? number : 0);
        if (number % 61 == 0) {
            struct bt_io b = {.io = {.len = 0}};

            if (bt_run(&t, image, bk_image_flush, &b) != 0)
                _exit(1);
        }
    }
}

static unsigned
count_lost(const char *path)
{
    static uint8_t buf[DISK];
    struct bk_image *image;
    struct bk_err err;
    unsigned lost = 0;
    struct bt t;

    if (bk_qcow2_open(path, true, false, &image, &err) < 0 || bt_open(&t, BK_ENGINE_THREADS, image) < 0 ||
        bt_rw(&t, image, false, 0, buf, DISK, DISK) != 0)
        return UNITS;
    for (unsigned u = 0; u < UNITS; u++) {
        uint8_t told[UNIT], begun[UNIT];

        fill(told, ledger->told[u]);
        fill(begun, ledger->begun[u]);
        lost += memcmp(buf + u * UNIT, told, UNIT) != 0 && memcmp(buf + u * UNIT, begun, UNIT) != 0;
        /* What was begun and not told may be there or not from here on. */
        if (memcmp(buf + u * UNIT, begun, UNIT) == 0)
            ledger->told[u] = ledger->begun[u];
    }
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
scenario(const char *name, const char *command)
{
    char line[400], path[100];
    unsigned lost = 0, broken = 0;

    snprintf(line, sizeof(line), "cd %s && rm -f image && { %s; } >log 2>&1", bt_dir, command);
    if (system(line) != 0) {
        ok(false, "%s: made", name);
        return;
    }
    memset(ledger, 0, sizeof(*ledger));
    snprintf(path, sizeof(path), "%s/image", bt_dir);
    for (unsigned i = 0; i < KILLS; i++) {
        pid_t pid = fork();

        if (pid == 0)
            child(path, i * 7 + 3);
        kill_after(pid, 200 + i * 131);
        lost += count_lost(path);
        snprintf(line, sizeof(line),
                 "qemu-img check -f qcow2 %s >%s/log 2>&1; r=$?; test $r = 0 || test $r = 3", path, bt_dir);
        broken += system(line) != 0;
    }
    ok(atomic_load(&ledger->next) > 200 * KILLS, "%s: writes", name);
    ok(lost == 0, "%s: nothing that was done is lost (%u)", name, lost);
    ok(broken == 0, "%s: and the image is sound", name);
}

int
main(void)
{
    if (system("qemu-img --version >/dev/null 2>&1") != 0) {
        printf("1..0 # SKIP qemu-img is not installed\n");
        return 77;
    }
    bt_make_dir();
    ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ledger == MAP_FAILED)
        return 1;
    scenario("empty", "qemu-img create -f qcow2 -o cluster_size=4k image 8M");
    scenario("over a file of zeros", "truncate -s 8M base; qemu-img create -f qcow2 -b base -F raw image 8M");
    scenario("with a snapshot",
             "qemu-img create -f qcow2 -o cluster_size=8k image 8M && qemu-img snapshot -c s image");
    return tap_done();
}

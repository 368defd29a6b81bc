/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vhost-blk/bk-raw.c on the engines: contents, ends of file, flushes, discard, zeroing, locks. */
#include <config.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "bk-lock.h"
#include "blk-test.h"

static long
blocks_of(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? -1 : (long)st.st_blocks;
}

static void
test_rw(struct bt *t, struct bk_image *image)
{
    static uint8_t out[256 * 1024], in[256 * 1024];
    unsigned bad = 0;

    for (unsigned i = 0; i < 200; i++) {
        size_t len = (i * 37 % 128 + 1) * 512;
        uint64_t offset = i * 7919 % ((image->size - len) / 512) * 512;

        for (size_t k = 0; k < len; k++)
            out[k] = bt_byte(i, k);
        if (bt_rw(t, image, true, offset, out, len, 700 + i) != 0 ||
            bt_rw(t, image, false, offset, in, len, 4096) != 0 || memcmp(in, out, len) != 0)
            bad++;
    }
    eq_int(bad, 0, "what is written is read");
}

static bool
all_are(const uint8_t *p, size_t n, uint8_t want)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != want)
            return false;
    }
    return true;
}

static int
run_range(struct bt *t, struct bk_image *image, void (*start)(struct bk_image *, struct bk_io *), uint64_t offset,
          uint64_t len, bool unmap)
{
    struct bt_io b = {.io = {.offset = offset, .len = len, .unmap = unmap}};

    return bt_run(t, image, start, &b);
}

static void
test_ranges(struct bt *t, struct bk_image *image, const char *path)
{
    static uint8_t buf[1024 * 1024];
    long full, after;

    memset(buf, 0x55, sizeof(buf));
    eq_int(bt_rw(t, image, true, 0, buf, sizeof(buf), sizeof(buf)), 0, "fill");
    eq_int(run_range(t, image, bk_image_flush, 0, 0, false), 0, "flush");
    full = blocks_of(path);

    eq_int(run_range(t, image, bk_image_discard, 4096, 512 * 1024, false), 0, "discard");
    after = blocks_of(path);
    ok(after <= full - 900, "which frees blocks: %ld, %ld", full, after);

    eq_int(run_range(t, image, bk_image_zero, 600 * 1024, 8192, false), 0, "write zeroes");
    eq_int(run_range(t, image, bk_image_zero, 700 * 1024 + 512, 1024, false), 0, "write zeroes, parts of blocks");
    eq_int(run_range(t, image, bk_image_zero, 800 * 1024, 64 * 1024, true), 0, "write zeroes and unmap");
    ok(blocks_of(path) <= after - 100, "which frees blocks");

    eq_int(bt_rw(t, image, false, 0, buf, sizeof(buf), sizeof(buf)), 0, "read it all");
    ok(all_are(buf, 4096, 0x55) && all_are(buf + 4096, 512 * 1024, 0), "zeros from the discarded byte on");
    ok(all_are(buf + 600 * 1024, 8192, 0) && buf[600 * 1024 - 1] == 0x55 && buf[608 * 1024] == 0x55, "zeroed range");
    ok(all_are(buf + 700 * 1024 + 512, 1024, 0) && buf[700 * 1024 + 511] == 0x55 && buf[700 * 1024 + 1536] == 0x55,
       "zeroed part of a block");
    ok(all_are(buf + 800 * 1024, 65536, 0) && buf[864 * 1024] == 0x55, "unmapped range");
}

/* A file system that can neither punch nor zero: written by hand, in more pieces than one. */
static void
test_by_writing(struct bt *t, struct bk_image *image)
{
    static uint8_t buf[512 * 1024];
    struct bk_file *f = image->files[0];

    memset(buf, 0x77, sizeof(buf));
    eq_int(bt_rw(t, image, true, 0, buf, sizeof(buf), sizeof(buf)), 0, "fill");
    atomic_store(&f->no_punch, true);
    atomic_store(&f->no_zero_range, true);
    eq_int(run_range(t, image, bk_image_zero, 512, 300 * 1024, true), 0, "zeroes without the file system's help");
    eq_int(run_range(t, image, bk_image_discard, 400 * 1024, 4096, false), 0, "a discard is only a hint");
    eq_int(bt_rw(t, image, false, 0, buf, sizeof(buf), 4096), 0, "read");
    ok(all_are(buf, 512, 0x77) && all_are(buf + 512, 300 * 1024, 0) && buf[512 + 300 * 1024] == 0x77, "exactly those");
    eq_int(buf[400 * 1024], 0x77, "and the discarded one is as it was");
    atomic_store(&f->no_punch, false);
    atomic_store(&f->no_zero_range, false);
}

static void
test_flush_state(struct bt *t, struct bk_image *image)
{
    struct bk_file *f = image->files[0];
    uint8_t buf[512] = {1};

    eq_int(run_range(t, image, bk_image_flush, 0, 0, false), 0, "flush");
    ok(atomic_load(&f->dirty_gen) == atomic_load(&f->synced_gen), "after which the file is clean");
    eq_int(bt_rw(t, image, true, 0, buf, 512, 512), 0, "write");
    ok(atomic_load(&f->dirty_gen) > atomic_load(&f->synced_gen), "after which it is not");
    atomic_store(&f->sync_error, -EIO);
    eq_int(run_range(t, image, bk_image_flush, 0, 0, false), -EIO, "after a failed flush every flush fails");
    atomic_store(&f->sync_error, 0);
}

#define LARGE (128u * 1024)
#define N_LARGE 64u

/* Requests of LARGE bytes, one behind the other, as a queue finds them. */
struct large {
    struct bt_io ios[N_LARGE];
    struct iovec iov[N_LARGE][2];
    uint8_t data[N_LARGE][LARGE];
};

static void
run_large(struct bt *t, struct bk_image *image, bool write, struct large *l, unsigned n, void (*before)(unsigned i))
{
    eq_int(bk_engine_attach(t->engine, t->loop, bt_nothing, NULL), 0, "as a queue does:");
    bk_engine_wakes(t->engine);
    for (unsigned i = 0; i < n; i++) {
        struct bk_io *io = &l->ios[i].io;

        before(i);
        l->iov[i][0] = (struct iovec){l->data[i], 4096};
        l->iov[i][1] = (struct iovec){l->data[i] + 4096, LARGE - 4096};
        l->ios[i] = (struct bt_io){.io = {.engine = t->engine, .done = bt_done, .iov = l->iov[i], .n_iov = 2}};
        io->offset = i % 8 * LARGE;
        io->len = LARGE;
        bk_engine_expect(t->engine, i + 1 < n);
        if (write)
            bk_image_write(image, io);
        else
            bk_image_read(image, io);
        if (bk_engine_pending(t->engine))
            bk_engine_poll(t->engine);
    }
    bk_engine_submit(t->engine);
    bk_engine_detach(t->engine);
}

static int large_fd = -1;

static void
leave_memory(unsigned i)
{
    if (i == N_LARGE / 2)
        posix_fadvise(large_fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* A thread of the pool takes part in them; also in those of what is not in memory. */
static void
test_large_reads(struct bt *t, struct bk_image *image, struct large *l)
{
    static uint8_t want[8 * LARGE];
    unsigned bad = 0;

    eq_int(run_range(t, image, bk_image_flush, 0, 0, false), 0, "flush");
    eq_int(bt_rw(t, image, false, 0, want, sizeof(want), 4096), 0, "read it all");
    run_large(t, image, false, l, N_LARGE, leave_memory);
    for (unsigned i = 0; i < N_LARGE; i++)
        bad += l->ios[i].calls != 1 || l->ios[i].err || memcmp(l->data[i], want + i % 8 * LARGE, LARGE) != 0;
    eq_int(bad, 0, "large reads side by side, each done once");
}

static void
nothing_before(unsigned i)
{
}

static void
limit_files(rlim_t size)
{
    struct rlimit limit = {.rlim_cur = size, .rlim_max = RLIM_INFINITY};

    setrlimit(RLIMIT_FSIZE, &limit);
}

/* Writes up to the limit of file sizes, and behind it. */
static void
test_large_errors(struct bt *t, struct bk_image *image, struct large *l)
{
    unsigned bad = 0;

    limit_files(2 * LARGE + 8192);
    run_large(t, image, true, l, 8, nothing_before);
    limit_files(RLIM_INFINITY);
    for (unsigned i = 0; i < 8; i++)
        bad += l->ios[i].calls != 1 || l->ios[i].err != (i < 2 ? 0 : -EFBIG);
    eq_int(bad, 0, "an error is that of the requests it is about");
}

/* Those that adjoin are written together. */
static void
test_large_writes(struct bt *t, struct bk_image *image, struct large *l)
{
    static uint8_t got[8 * LARGE];
    unsigned bad = 0;

    bk_engine_sleeps(t->engine);
    test_large_errors(t, image, l);
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 8; i++)
            memset(l->data[i], (int)(8 * round + i + 1), LARGE);
        run_large(t, image, true, l, 8, nothing_before);
        for (unsigned i = 0; i < 8; i++)
            bad += l->ios[i].calls != 1 || l->ios[i].err;
        eq_int(bt_rw(t, image, false, 0, got, sizeof(got), sizeof(got)), 0, "read it all");
        for (unsigned i = 0; i < 8; i++)
            bad += !all_are(got + i * LARGE, LARGE, (uint8_t)(8 * round + i + 1));
    }
    eq_int(bad, 0, "large writes, each done once and where it belongs");
    test_large_errors(t, image, l);
}

/* A disk of 1000 bytes has two sectors. */
static void
test_ragged(enum bk_engine_kind kind)
{
    const char *path = bt_file("ragged", 1000, 5);
    struct bk_image *image;
    struct bk_err err;
    uint8_t buf[1024];
    struct stat st;
    struct bt t;

    eq_int(bk_raw_open(path, false, &image, &err), 0, "a file of 1000 bytes");
    eq_int(image->size, 1024, "is a disk of two sectors");
    if (bt_open(&t, kind, image) == 0) {
        memset(buf, 0xaa, sizeof(buf));
        eq_int(bt_rw(&t, image, false, 0, buf, 1024, 1024), 0, "read both");
        ok(buf[999] == bt_byte(5, 999) && all_are(buf + 1000, 24, 0), "zeros behind the end");
        memset(buf, 0xbb, sizeof(buf));
        eq_int(bt_rw(&t, image, true, 512, buf, 512, 512), 0, "write the second");
        stat(path, &st);
        eq_int(st.st_size, 1024, "which completes the file");
        eq_int(truncate(path, 100), 0, "somebody truncates it");
        eq_int(bt_rw(&t, image, false, 0, buf, 512, 512), -EIO, "missing data is an error");
    }
    bt_close(&t);
    bk_image_close(image);
}

/* Try to open in another process: the exit status of a child. */
static int
open_elsewhere(const char *path, bool read_only, char *text, size_t size)
{
    int fds[2], status;
    ssize_t n;
    pid_t pid;

    if (pipe(fds) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        struct bk_image *image;
        struct bk_err err = {""};
        int rc = bk_raw_open(path, read_only, &image, &err);

        if (write(fds[1], err.text, strlen(err.text)) < 0)
            _exit(99);
        _exit(-rc);
    }
    close(fds[1]);
    n = read(fds[0], text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static void
test_locks(void)
{
    const char *path = bt_file("locked", 8192, 1);
    struct bk_image *image;
    struct bk_err err;
    char text[600], me[32];

    snprintf(me, sizeof(me), "process %d ", getpid());
    eq_int(bk_raw_open(path, false, &image, &err), 0, "open for writing");
    eq_int(open_elsewhere(path, false, text, sizeof(text)), EAGAIN, "a second writer is refused");
    ok(strstr(text, path) && strstr(text, me), "told who has it: %s", text);
    eq_int(open_elsewhere(path, true, text, sizeof(text)), EAGAIN, "so is a reader");
    bk_image_close(image);
    eq_int(bk_raw_open(path, true, &image, &err), 0, "open for reading");
    eq_int(open_elsewhere(path, true, text, sizeof(text)), 0, "a second reader is welcome");
    eq_int(open_elsewhere(path, false, text, sizeof(text)), EAGAIN, "a writer is not");
    bk_image_close(image);
    eq_int(open_elsewhere(path, false, text, sizeof(text)), 0, "afterwards it is");
}

static void
test_engine(enum bk_engine_kind kind)
{
    static struct large large;
    const char *path = bt_file("disk", 1024 * 1024, 3);
    struct bk_image *image;
    struct bk_err err;
    struct bt t;

    eq_int(bk_raw_open(path, false, &image, &err), 0, "open");
    if (bt_open(&t, kind, image) < 0) {
        tap_skip("the engine", "no io_uring");
    } else {
        tap_diag("engine %s", bk_engine_name(t.engine));
        test_rw(&t, image);
        test_ranges(&t, image, path);
        test_by_writing(&t, image);
        large_fd = open(path, O_RDONLY | O_CLOEXEC);
        test_large_reads(&t, image, &large);
        test_large_writes(&t, image, &large);
        mb_close(large_fd);
        test_flush_state(&t, image);
    }
    bt_close(&t);
    bk_image_close(image);
    test_ragged(kind);
}

/* What a guest writes into a raw disk stays what it is: contents. */
static void
test_never_probed(void)
{
    const char *path = bt_file("escape", 65536, 3);
    struct bk_image *image;
    struct bk_err err;
    uint8_t buf[512];
    struct bt t;
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    ok(pwrite(fd, "QFI\xfb\0\0\0\3\0\0\0\0\0\0\0\x68\0\0\0\x0b/etc/passwd", 31, 0) == 31, "a qcow2 header");
    close(fd);
    eq_int(bk_raw_open(path, false, &image, &err), 0, "opened as raw");
    eq_int(image->size, 65536, "is as large as the file");
    bt_open(&t, BK_ENGINE_THREADS, image);
    eq_int(bt_rw(&t, image, false, 0, buf, 512, 512), 0, "read it");
    ok(memcmp(buf, "QFI\xfb", 4) == 0, "and shows the header itself");
    bt_close(&t);
    bk_image_close(image);
}

int
main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    bt_make_dir();
    test_engine(BK_ENGINE_URING);
    test_engine(BK_ENGINE_THREADS);
    test_locks();
    test_never_probed();
    return tap_done();
}

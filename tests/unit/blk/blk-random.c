/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blk-random IMAGE MODEL SEED OPS ENGINE THREADS
 *
 * Random operations on a qcow2 image, from several threads each with several
 * under way, and on a model, a raw file of the same size that has to read the
 * same before and has what the image must have afterwards.  Each thread
 * changes blocks of its own, but they share clusters.
 */
#include <config.h>

#include <pthread.h>
#include <sys/mman.h>

#include "bk-qcow2.h"
#include "blk-test.h"

#define BLOCK 2048u /* a thread's own: blocks whose number modulo the threads is its own */
#define MAX_LEN (64u * BLOCK)
#define MAX_THREADS 4u
#define BATCH 16u

struct job {
    struct bt_io io;
    int kind; /* 'r', 'w', 'z', 'u', 'd', 'f' */
    uint64_t offset, len;
    struct iovec iov[MAX_LEN / BLOCK];
    uint8_t *buf;
};

struct worker {
    struct bt t;
    pthread_t thread;
    unsigned index;
    uint64_t seed;
    struct job jobs[BATCH];
    unsigned bad;
};

static struct bk_image *image;
static uint8_t *model;
static uint64_t model_size;
static unsigned n_threads;
static unsigned long n_ops;

static uint64_t
next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

/* A range of the thread's: one block, or, when it is alone, any sectors. */
static bool
choose_range(struct worker *w, struct job *j)
{
    uint64_t blocks = image->size / (BLOCK * n_threads);

    if (n_threads == 1) {
        uint64_t sectors = image->size / 512;

        j->offset = next_random(&w->seed) % sectors * 512;
        j->len = (next_random(&w->seed) % (next_random(&w->seed) % 4 ? 16 : MAX_LEN / 512) + 1) * 512;
        j->len = MB_MIN(j->len, image->size - j->offset);
    } else {
        j->offset = (next_random(&w->seed) % blocks * n_threads + w->index) * BLOCK;
        j->len = BLOCK;
    }
    for (struct job *k = w->jobs; k < j; k++) {
        if (k->kind != 'f' && j->offset < k->offset + k->len && k->offset < j->offset + j->len)
            return false;
    }
    return true;
}

static void
choose(struct worker *w, struct job *j)
{
    static const char kinds[] = "rrrrrrwwwwwwwwwzudf";

    j->kind = kinds[next_random(&w->seed) % (sizeof(kinds) - 1)];
    if (j->kind == 'f' || !choose_range(w, j)) {
        j->kind = 'f';
        j->offset = j->len = 0;
        return;
    }
    /* Reads and writes of different threads see different blocks; a discard leaves what it likes. */
    for (uint64_t i = 0; j->kind == 'w' && i < j->len; i++)
        j->buf[i] = (uint8_t)(next_random(&w->seed) >> 5);
    if (j->kind == 'w')
        memcpy(model + j->offset, j->buf, j->len);
    if (j->kind == 'z' || j->kind == 'u')
        memset(model + j->offset, 0, j->len);
}

static void
start(struct worker *w, struct job *j)
{
    struct bk_io *io = &j->io.io;

    *io = (struct bk_io){
        .engine = w->t.engine, .offset = j->offset, .len = j->len, .iov = j->iov, .done = bt_done};
    j->io.calls = 0;
    io->unmap = j->kind == 'u';
    for (uint64_t at = 0; at < j->len && (j->kind == 'r' || j->kind == 'w'); at += BLOCK)
        j->iov[io->n_iov++] = (struct iovec){j->buf + at, MB_MIN(BLOCK, j->len - at)};
    if (j->kind == 'r')
        bk_image_read(image, io);
    else if (j->kind == 'w')
        bk_image_write(image, io);
    else if (j->kind == 'f')
        bk_image_flush(image, io);
    else if (j->kind == 'd')
        bk_image_discard(image, io);
    else
        bk_image_zero(image, io);
}

/* After a discard the model follows the image. */
static int
follow(struct worker *w, struct job *j)
{
    struct bt_io b = {.io = {.offset = j->offset, .len = j->len, .iov = j->iov, .n_iov = 1}};

    j->iov[0] = (struct iovec){model + j->offset, j->len};
    return bt_run(&w->t, image, bk_image_read, &b);
}

static void
check_job(struct worker *w, struct job *j)
{
    bool wrong = j->io.calls != 1 || j->io.err != 0;

    if (j->kind == 'r')
        wrong = wrong || memcmp(j->buf, model + j->offset, j->len) != 0;
    if (j->kind == 'd')
        wrong = wrong || follow(w, j) != 0;
    if (wrong) {
        w->bad++;
        tap_diag("%c at %llu, %llu bytes: %u calls, error %d", j->kind, (unsigned long long)j->offset,
                 (unsigned long long)j->len, j->io.calls, j->io.err);
    }
}

/* Start them all and see them to their end: every other time as a queue does that finds one behind the other. */
static void
run_batch(struct worker *w, bool as_queue)
{
    if (bk_engine_attach(w->t.engine, w->t.loop, bt_nothing, NULL) < 0)
        abort();
    if (as_queue)
        bk_engine_wakes(w->t.engine);
    for (unsigned i = 0; i < BATCH; i++) {
        bk_engine_expect(w->t.engine, as_queue && i + 1 < BATCH);
        start(w, &w->jobs[i]);
        if (as_queue && bk_engine_pending(w->t.engine))
            bk_engine_poll(w->t.engine);
    }
    bk_engine_detach(w->t.engine);
}

static void *
work(void *data)
{
    struct worker *w = data;

    for (unsigned i = 0; i < BATCH; i++)
        w->jobs[i].buf = malloc(MAX_LEN);
    for (unsigned long n = 0; n < n_ops && w->bad < 5; n += BATCH) {
        for (unsigned i = 0; i < BATCH; i++)
            choose(w, &w->jobs[i]);
        run_batch(w, n / BATCH % 2);
        for (unsigned i = 0; i < BATCH; i++)
            check_job(w, &w->jobs[i]);
    }
    for (unsigned i = 0; i < BATCH; i++)
        free(w->jobs[i].buf);
    return NULL;
}

static unsigned
run(enum bk_engine_kind kind, uint64_t seed)
{
    static struct worker workers[MAX_THREADS];
    unsigned bad = 0;

    for (unsigned i = 0; i < n_threads; i++) {
        workers[i].index = i;
        workers[i].seed = seed * 1000003 + i + 1;
        if (bt_open(&workers[i].t, kind, image) < 0)
            exit(77);
    }
    for (unsigned i = 0; i < n_threads; i++)
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    for (unsigned i = 0; i < n_threads; i++) {
        pthread_join(workers[i].thread, NULL);
        bad += workers[i].bad;
        bt_close(&workers[i].t);
    }
    return bad;
}

int
main(int argc, char **argv)
{
    enum bk_engine_kind kind;
    struct bk_err err;
    unsigned bad;
    int fd;

    if (argc != 7 || bk_engine_parse_kind(argv[5], &kind) < 0) {
        fprintf(stderr, "usage: blk-random IMAGE MODEL SEED OPS ENGINE THREADS\n");
        return 2;
    }
    n_ops = strtoul(argv[4], NULL, 10);
    n_threads = MB_MIN((unsigned)strtoul(argv[6], NULL, 10), MAX_THREADS);
    if (bk_qcow2_open(argv[1], false, n_ops % 2, &image, &err) < 0 || bk_image_begin(image, &err) < 0) {
        fprintf(stderr, "blk-random: %s\n", err.text);
        return 1;
    }
    fd = open(argv[2], O_RDWR | O_CLOEXEC);
    model_size = image->size;
    model = mmap(NULL, model_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || model == MAP_FAILED) {
        perror(argv[2]);
        return 1;
    }
    bad = run(kind, strtoull(argv[3], NULL, 10));
    bk_image_close(image);
    munmap(model, model_size);
    close(fd);
    return bad != 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Work of an engine's callers, by more than one thread. */
#include <config.h>

#include "blk-test.h"

#define N 64u

struct item {
    struct bk_xfer x;
    int wanted;             /* the result; -EAGAIN: none before it may block */
    atomic_uint calls;
    unsigned done;
    atomic_bool elsewhere;  /* the last call was on another thread than the queue's, */
    atomic_bool blocking;   /* where it might block */
};

static struct item items[N];
static pthread_t queue_thread;

static int
call(struct bk_xfer *x)
{
    struct item *i = MB_CONTAINER_OF(x, struct item, x);

    atomic_fetch_add(&i->calls, 1);
    atomic_store(&i->elsewhere, !pthread_equal(pthread_self(), queue_thread));
    atomic_store(&i->blocking, x->op == BK_XFER_CALL);
    return i->wanted == -EAGAIN && x->op == BK_XFER_CALL ? 0 : i->wanted;
}

static void
on_done(struct bk_xfer *x)
{
    MB_CONTAINER_OF(x, struct item, x)->done++;
}

static void
make_items(struct bk_image *image)
{
    for (unsigned i = 0; i < N; i++)
        items[i] = (struct item){
            .x = {.op = BK_XFER_WORK, .file = image->files[0], .call = call, .done = on_done}};
}

/* As a queue does that finds one behind the other. */
static void
run_items(struct bt *t, unsigned n)
{
    queue_thread = pthread_self();
    eq_int(bk_engine_attach(t->engine, t->loop, bt_nothing, NULL), 0, "as a queue does:");
    bk_engine_wakes(t->engine);
    for (unsigned i = 0; i < n; i++) {
        bk_engine_expect(t->engine, i + 1 < n);
        if (bk_engine_start(t->engine, &items[i].x) == BK_DONE)
            items[i].done++;
        if (bk_engine_pending(t->engine))
            bk_engine_poll(t->engine);
    }
    bk_engine_submit(t->engine);
    bk_engine_detach(t->engine);
}

/* How many did not end once with the error they were to have, after so many calls. */
static unsigned
count_bad(unsigned n)
{
    unsigned bad = 0;

    for (unsigned i = 0; i < n; i++) {
        bool again = items[i].wanted == -EAGAIN;

        bad += items[i].done != 1 || items[i].calls != (again ? 2 : 1) || items[i].blocking != again ||
               items[i].x.err != (again ? 0 : items[i].wanted);
    }
    return bad;
}

static void
test_alone(struct bt *t, struct bk_image *image)
{
    make_items(image);
    items[0].wanted = -EIO;
    run_items(t, 1);
    eq_int(count_bad(1), 0, "alone");
    ok(!items[0].elsewhere, "on the queue's thread");
    make_items(image);
    items[0].wanted = -EAGAIN;
    run_items(t, 1);
    eq_int(count_bad(1), 0, "where it may block, if it has to");
    ok(items[0].elsewhere, "on another thread");
}

static void
test_many(struct bt *t, struct bk_image *image, bool shared)
{
    unsigned elsewhere = 0;

    make_items(image);
    run_items(t, N);
    for (unsigned i = 0; i < N; i++)
        elsewhere += items[i].elsewhere;
    eq_int(count_bad(N), 0, "one behind the other");
    if (shared)
        ok(elsewhere > 0 && elsewhere < N, "which two threads share: %u of %u", elsewhere, N);
}

static void
test_results(struct bt *t, struct bk_image *image)
{
    make_items(image);
    for (unsigned i = 0; i < N; i++)
        items[i].wanted = i % 5 == 0 ? -EAGAIN : i % 7 == 0 ? -EIO : 0;
    run_items(t, N);
    eq_int(count_bad(N), 0, "each has its own result");
}

static void
test_engine(enum bk_engine_kind kind)
{
    const char *path = bt_file("work", 4096, 1);
    struct bk_image *image;
    struct bk_err err;
    struct bt t;

    eq_int(bk_raw_open(path, false, &image, &err), 0, "open");
    if (bt_open(&t, kind, image) < 0) {
        tap_skip("the engine", "no io_uring");
    } else {
        tap_diag("engine %s", bk_engine_name(t.engine));
        test_alone(&t, image);
        for (unsigned round = 0; round < 8; round++)
            test_many(&t, image, sysconf(_SC_NPROCESSORS_ONLN) > 1);
        test_results(&t, image);
    }
    bt_close(&t);
    bk_image_close(image);
}

int
main(void)
{
    bt_make_dir();
    test_engine(BK_ENGINE_URING);
    test_engine(BK_ENGINE_THREADS);
    return tap_done();
}

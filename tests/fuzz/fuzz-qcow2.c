/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes as a qcow2 image: opened for reading or writing, read, written,
 * zeroed, discarded, flushed.
 *
 * Input: flags (u8: 1 read-only, 2 eager, 4 with a journal), the number of
 * operations (u8), each of them kind (u8), place (u16), length (u8); with a journal
 * the number of its records (u8), each of them stage (u8), place (u16), value (u16);
 * the rest is the file, which a cluster of zeros follows.  An image without a backing file only: what other
 * files are opened is not the fuzzer's to choose.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bk-pool.h"
#include "bk-qcow2.h"
#include "fuzz.h"
#include "mb-endian.h"
#include "mb-log.h"

#define MAX_OPS 32u
#define MAX_LEN (256u * 512)
#define RECORDS 32u /* of the journal, per half */

struct op {
    uint8_t kind, len;
    uint16_t place;
};

static struct bk_pool *pool;
static struct vh_loop *loop;
static uint8_t buf[MAX_LEN];

static void
nothing(void *opaque)
{
}

static void
done(struct bk_io *io, int err)
{
    io->image = NULL;
}

static void
run(struct bk_image *image, struct bk_engine *engine, const struct op *op)
{
    uint64_t sectors = image->size / BK_SECTOR;
    struct iovec iov = {buf, 0};
    struct bk_io io = {.engine = engine, .iov = &iov, .n_iov = 1, .done = done, .unmap = op->len & 1};

    if (sectors == 0)
        return;
    /* Near the beginning mostly, and all over. */
    io.offset = (op->kind & 128 ? op->place * (sectors / 65536 + 1) : op->place) % sectors * BK_SECTOR;
    io.len = MB_MIN((uint64_t)(op->len + 1) * BK_SECTOR, image->size - io.offset);
    iov.iov_len = io.len;
    if (bk_engine_attach(engine, loop, nothing, NULL) < 0)
        abort();
    if (image->read_only || op->kind % 6 < 2)
        bk_image_read(image, &io);
    else if (op->kind % 6 == 2)
        bk_image_write(image, &io);
    else if (op->kind % 6 == 3)
        bk_image_zero(image, &io);
    else if (op->kind % 6 == 4)
        bk_image_discard(image, &io);
    else
        bk_image_flush(image, &io);
    bk_engine_detach(engine);
    if (io.image)
        abort(); /* never ended */
}

/* A journal as bk-qcow2-journal.c describes it, of the image in the file. */
static void
make_journal(struct fuzz_input *in, int journal, int file)
{
    static uint64_t memory[(4096 + 2 * 16 * RECORDS) / 8];
    unsigned n = fuzz_u8(in) % (2 * RECORDS + 2); /* more than there is room for, too */
    struct stat st;

    memset(memory, 0, sizeof(memory));
    if (fstat(file, &st) < 0)
        abort();
    memory[0] = UINT64_C(0x6a32776f63716273);
    memory[1] = 1 | (uint64_t)RECORDS << 32;
    memory[2] = st.st_dev;
    memory[3] = st.st_ino;
    memory[4] = 1;
    memory[5] = MB_MIN(n, RECORDS + 1);
    memory[7] = n - memory[5];
    for (unsigned i = 0; i < MB_MIN(n, 2 * RECORDS); i++) {
        memory[512 + 2 * i] = fuzz_u8(in);
        memory[512 + 2 * i] |= (uint64_t)fuzz_u16(in) << 3;
        memory[512 + 2 * i + 1] = (uint64_t)fuzz_u16(in) << 9 | UINT64_C(1) << 63;
    }
    if (pwrite(journal, memory, sizeof(memory), 0) != (ssize_t)sizeof(memory))
        abort();
}

static void
try(const char *path, uint8_t flags, int journal, const struct op *ops, unsigned n)
{
    struct bk_image *image;
    struct bk_engine *engine;
    struct bk_err err;

    if (flags & 4 && bk_qcow2_open_journaled(path, journal, &image, &err) < 0)
        return;
    if (!(flags & 4) && bk_qcow2_open(path, flags & 1, flags & 2, &image, &err) < 0)
        return;
    if (bk_image_begin(image, &err) < 0) {
        bk_image_close(image);
        return;
    }
    if (bk_engine_new(BK_ENGINE_THREADS, image->files, image->n_files, pool, &engine, &err) < 0)
        abort();
    for (unsigned i = 0; i < n; i++)
        run(image, engine, &ops[i]);
    bk_engine_free(engine);
    bk_image_close(image);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1, journal;
    struct fuzz_input in = {data, size};
    struct op ops[MAX_OPS];
    uint8_t flags = fuzz_u8(&in), n = fuzz_u8(&in) % MAX_OPS;
    uint8_t head[16] = {0};
    char path[64];

    if (file < 0) {
        mb_log_set_fd(-1);
        file = memfd_create("image", MFD_CLOEXEC);
        journal = memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        pool = bk_pool_new(1);
        loop = vh_loop_new();
        if (file < 0 || journal < 0 || !pool || !loop)
            abort();
    }
    for (unsigned i = 0; i < n; i++)
        ops[i] = (struct op){.kind = fuzz_u8(&in), .len = fuzz_u8(&in), .place = fuzz_u16(&in)};
    if (flags & 4)
        make_journal(&in, journal, file);
    memcpy(head, in.p, MB_MIN(in.left, sizeof(head)));
    if (mb_get_be64(head + 8) != 0)
        return 0;
    if (ftruncate(file, 0) < 0 || pwrite(file, in.p, in.left, 0) != (ssize_t)in.left ||
        ftruncate(file, (off_t)in.left + 512) < 0)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    try(path, flags, journal, ops, n);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vhost-blk/bk-concat.c: every byte of the disk, in reads of every shape, with both engines. */
#include <config.h>

#include "bk-concat.h"
#include "blk-test.h"

#define MIB (1024 * 1024)

static const size_t sizes[] = {4096, 1000, MIB, MIB + 1, 3 * MIB - 4095, 7};
#define N (sizeof(sizes) / sizeof(sizes[0]))

static struct bk_concat_file files[N];
static char paths[N][128];

static void
make_files(void)
{
    for (unsigned i = 0; i < N; i++) {
        char name[32];

        snprintf(name, sizeof(name), "layer%u", i);
        snprintf(paths[i], sizeof(paths[i]), "%s", bt_file(name, sizes[i], i + 1));
        files[i].path = paths[i];
    }
    files[1].name = "second";
}

/* What the disk has to be, behind the first table and before the second. */
static uint8_t *
expected(uint64_t size, uint64_t starts[N])
{
    uint8_t *disk = calloc(1, size);
    uint64_t pos = MIB;

    for (unsigned i = 0; i < N; i++) {
        starts[i] = pos;
        for (size_t k = 0; k < sizes[i]; k++)
            disk[pos + k] = bt_byte(i + 1, k);
        pos += (sizes[i] + MIB - 1) / MIB * MIB;
    }
    return disk;
}

static void
test_contents(enum bk_engine_kind kind, struct bk_image *image)
{
    uint64_t starts[N];
    uint8_t *want = expected(image->size, starts);
    uint8_t *got = malloc(image->size);
    struct bt t;
    unsigned bad = 0;

    if (bt_open(&t, kind, image) < 0) {
        tap_skip("contents", "no io_uring");
        free(want);
        free(got);
        return;
    }
    memset(got, 0xaa, image->size);
    eq_int(bt_rw(&t, image, false, 0, got, image->size, 64 * 1024), 0, "the whole disk in one read");
    ok(memcmp(got + 34 * 512, want + 34 * 512, image->size - 67 * 512) == 0, "everything between the tables");
    ok(memcmp(got + 512, "EFI PART", 8) == 0, "the table in front");
    ok(memcmp(got + image->size - 512, "EFI PART", 8) == 0, "the table behind");
    memcpy(want, got, 34 * 512);
    memcpy(want + image->size - 33 * 512, got + image->size - 33 * 512, 33 * 512);

    for (unsigned i = 0; i < 400; i++) {
        uint64_t offset = (i * UINT64_C(0x9e3779b97f4a7c15) >> 20) % (image->size / 512) * 512;
        size_t len = (size_t)MB_MIN(image->size - offset, (i * 7919 % 300 + 1) * 512);
        size_t seg = i % 5 == 0 ? 100 : i % 5 == 1 ? 4096 : 513 + i;

        if (len / seg >= IOV_MAX)
            seg = len;
        memset(got, 0xaa, len + 16);
        if (bt_rw(&t, image, false, offset, got, len, seg) != 0 || memcmp(got, want + offset, len) != 0 ||
            got[len] != 0xaa)
            bad++;
    }
    eq_int(bad, 0, "reads of all shapes across all borders");
    bt_close(&t);
    free(want);
    free(got);
}

static void
test_shrunk(void)
{
    struct bk_concat_file one = {.path = bt_file("shrinks", 64 * 1024, 9)};
    struct bk_image *image;
    struct bk_err err;
    uint8_t buf[4096];
    struct bt t;

    eq_int(bk_concat_open(&one, 1, NULL, &image, &err), 0, "one file");
    eq_int(bt_open(&t, BK_ENGINE_THREADS, image), 0, "engine");
    eq_int(truncate(one.path, 8192), 0, "the file shrinks");
    eq_int(bt_rw(&t, image, false, MIB + 4096, buf, 4096, 4096), 0, "what is still there is read");
    eq_int(bt_rw(&t, image, false, MIB + 16384, buf, 4096, 4096), -EIO, "what is missing is an error, not zeros");
    bt_close(&t);
    bk_image_close(image);
}

static void
test_deterministic(void)
{
    struct bk_image *a, *b;
    struct bk_uuid id = {{7}};
    uint8_t table[2][34 * 512];
    struct bk_err err;
    struct bt t;

    for (unsigned i = 0; i < 2; i++) {
        eq_int(bk_concat_open(files, N, NULL, &a, &err), 0, "open");
        bt_open(&t, BK_ENGINE_THREADS, a);
        bt_rw(&t, a, false, 0, table[i], sizeof(table[i]), sizeof(table[i]));
        bt_close(&t);
        bk_image_close(a);
    }
    ok(memcmp(table[0], table[1], sizeof(table[0])) == 0, "the same files give the same tables");
    ok(memcmp(table[0] + 1024 + 16, table[0] + 1024 + 128 + 16, 16) != 0, "partitions have different GUIDs");
    ok(table[0][1024 + 128 + 56] == 's' && table[0][1024 + 128 + 58] == 'e', "a name that was given");
    ok(table[0][1024 + 56] == 'l' && table[0][1024 + 58] == 'a', "a name from the path");

    eq_int(bk_concat_open(files, N, &id, &b, &err), 0, "open with an identity");
    bt_open(&t, BK_ENGINE_THREADS, b);
    bt_rw(&t, b, false, 0, table[1], sizeof(table[1]), sizeof(table[1]));
    ok(table[1][512 + 56 + 3] == 7, "which is the disk's GUID");
    ok(memcmp(table[0] + 1024 + 16, table[1] + 1024 + 16, 16) != 0, "and changes the partitions' GUIDs");
    bt_close(&t);
    bk_image_close(b);
}

static void
test_many(void)
{
    static struct bk_concat_file many[300];
    struct bk_image *image;
    struct bk_err err;
    uint8_t buf[512];
    struct bt t;

    for (unsigned i = 0; i < 300; i++)
        many[i].path = paths[i % N];
    eq_int(bk_concat_open(many, 255, NULL, &image, &err), 0, "255 files, some of them the same");
    eq_int(bt_open(&t, BK_ENGINE_THREADS, image), 0, "engine");
    eq_int(bt_rw(&t, image, false, image->size - 512, buf, 512, 512), 0, "read the last block");
    ok(memcmp(buf, "EFI PART", 8) == 0, "which is the backup header");
    bt_close(&t);
    bk_image_close(image);
    eq_int(bk_concat_open(many, 256, NULL, &image, &err), -EINVAL, "256 are too many");
}

static void
test_refused(void)
{
    struct bk_concat_file bad[] = {{.path = bt_file("empty", 0, 0)}, {.path = bt_dir}, {.path = "/dev/null"}};
    static const int want[] = {-EINVAL, -EINVAL, -EINVAL};
    struct bk_image *image;
    struct bk_err err;

    for (unsigned i = 0; i < 3; i++) {
        eq_int(bk_concat_open(&bad[i], 1, NULL, &image, &err), want[i], "refused");
        ok(strstr(err.text, bad[i].path) != NULL, "the message names it: %s", err.text);
    }
    bad[0].path = "does/not/exist";
    eq_int(bk_concat_open(bad, 1, NULL, &image, &err), -ENOENT, "a file that is missing");
    eq_int(bk_concat_open(bad, 0, NULL, &image, &err), -EINVAL, "no file");
}

int
main(void)
{
    struct bk_image *image;
    struct bk_err err;

    bt_make_dir();
    make_files();
    eq_int(bk_concat_open(files, N, NULL, &image, &err), 0, "open");
    ok(image->read_only && image->size % MIB == 0, "read-only, whole mebibytes");
    test_contents(BK_ENGINE_URING, image);
    test_contents(BK_ENGINE_THREADS, image);
    bk_image_close(image);
    test_shrunk();
    test_deterministic();
    test_many();
    test_refused();
    return tap_done();
}

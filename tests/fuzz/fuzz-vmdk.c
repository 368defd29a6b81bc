/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMDK images: the input is the file, a sparse extent or a descriptor; beside it
 * is a file "data" for flat extents.  It is read, then, if it can be, written, and
 * what was written must be there.
 */
#include <config.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bk-vmdk-priv.h"
#include "fuzz.h"
#include "mb-io.h"

#define PIECE 5000u
#define LIMIT (UINT64_C(256) << 20)

static char dir[64];
static char image_path[80], data_path[80];

static void
remove_all(void)
{
    unlink(image_path);
    unlink(data_path);
    rmdir(dir);
}

static void
put_file(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || mb_pwrite_full(fd, data, n, 0) < 0 || close(fd) < 0)
        abort();
}

static void
set_up(void)
{
    static uint8_t data[64u << 10];
    const char *base = getenv("TMPDIR");

    if (image_path[0])
        return;
    snprintf(dir, sizeof(dir), "%.40s/fuzz-vmdk.XXXXXX", base && *base == '/' ? base : "/tmp");
    if (!mkdtemp(dir))
        abort();
    snprintf(image_path, sizeof(image_path), "%s/image", dir);
    snprintf(data_path, sizeof(data_path), "%s/data", dir);
    memset(data, 0xd5, sizeof(data));
    put_file(data_path, data, sizeof(data));
    atexit(remove_all);
}

static void
read_some(struct vmdk *v)
{
    static uint8_t buf[64u << 10];
    uint64_t size = v->image.size, step = MB_MAX(size / 16, (uint64_t)sizeof(buf));

    for (uint64_t at = 0; at < size; at += step)
        (void)!vmdk_pread(v, buf, MB_MIN(size - at, (uint64_t)sizeof(buf)), at);
    (void)!vmdk_pread(v, buf, BK_SECTOR, size - BK_SECTOR);
}

/* Only what lies in one sparse extent and is not allocated yet goes this way. */
static void
write_some(struct vmdk *v)
{
    static uint8_t out[PIECE], in[PIECE];
    uint64_t step = MB_MAX(v->image.size / 7, (uint64_t)PIECE);

    memset(out, 0x6b, sizeof(out));
    for (uint64_t at = 0; at + PIECE <= v->image.size; at += step) {
        struct iovec iov = {.iov_base = out, .iov_len = PIECE};
        struct vmdk_place p;

        if (vmdk_map_here(v, at, PIECE, &p) < 0 || (p.kind != VMDK_AT_NONE && p.kind != VMDK_AT_ZERO) ||
            p.len < PIECE || p.extent->type != VMDK_SPARSE || p.extent->alloc_end > LIMIT)
            continue;
        if (vmdk_write_new(v, &iov, 1, at, PIECE, false) < 0)
            continue;
        if (vmdk_pread(v, in, PIECE, at) < 0 || memcmp(in, out, PIECE) != 0)
            abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bk_image *image;
    struct bk_err err = {.text = ""};

    set_up();
    put_file(image_path, data, size);
    for (int writable = 0; writable < 2; writable++) {
        if (bk_vmdk_open(image_path, !writable, &image, &err) < 0) {
            if (!err.text[0])
                abort();
            continue;
        }
        read_some(vmdk_of(image));
        if (writable)
            write_some(vmdk_of(image));
        bk_image_close(image);
    }
    return 0;
}

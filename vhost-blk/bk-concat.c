/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disk is a list of extents without gaps, in order: memory (the partition
 * tables), ranges of files, zeros (what is between).  A request is served
 * extent by extent, so it may cross as many as it likes.
 *
 *   | GPT | zeros | file 0 | zeros | file 1 | zeros | … | zeros | GPT |
 *                 ^ 1 MiB          ^ 1 MiB
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-concat.h"

#define PAD 4096u

struct extent {
    uint64_t start;         /* on the disk; the next extent's start is the end */
    struct bk_file *file;   /* a whole file from its beginning, or */
    const uint8_t *data;    /* memory, or with neither: zeros */
};

struct concat {
    struct bk_image image;
    struct bk_gpt gpt;
    struct bk_file *files[BK_GPT_MAX_PARTS];
    unsigned n_extents;
    struct extent extents[2 * BK_GPT_MAX_PARTS + 4]; /* the last is a sentinel at the disk's end */
};

/* "msb concatenation disk" namespace: version 5 of the DNS namespace, concat.msb.invalid */
static const struct bk_uuid concat_namespace = {
    {0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}};
static const char concat_name[] = "concat.msb.invalid";

/* ---- reading ----------------------------------------------------------------------- */

/* The extent that has the byte at offset, which is inside the disk. */
static const struct extent *
find_extent(const struct concat *c, uint64_t offset)
{
    unsigned low = 0, high = c->n_extents - 1;

    while (low < high) {
        unsigned mid = (low + high + 1) / 2;

        if (c->extents[mid].start <= offset)
            low = mid;
        else
            high = mid - 1;
    }
    return &c->extents[low];
}

static void
concat_step(struct bk_io *io)
{
    struct concat *c = MB_CONTAINER_OF(io->image, struct concat, image);

    while (io->len > 0 && io->xfer.err == 0) {
        const struct extent *x = find_extent(c, io->offset);
        uint64_t within = io->offset - x->start;
        uint64_t n = MB_MIN(io->len, x[1].start - io->offset);

        if (!x->file)
            bk_io_fill(io, x->data ? x->data + within : NULL, n);
        else if (bk_io_piece(io, BK_XFER_READ, x->file, within, n) == BK_PENDING)
            return;
    }
    io->done(io, io->xfer.err);
}

static void
concat_read(struct bk_image *image, struct bk_io *io)
{
    io->step = concat_step;
    io->xfer.err = 0;
    concat_step(io);
}

static void
concat_close(struct bk_image *image)
{
    struct concat *c = MB_CONTAINER_OF(image, struct concat, image);

    for (unsigned i = 0; i < c->image.n_files; i++)
        bk_file_close(c->files[i]);
    bk_gpt_clear(&c->gpt);
    free(c);
}

static const struct bk_image_ops concat_ops = {
    .format = "concat",
    .read = concat_read,
    .close = concat_close,
};

/* ---- opening ------------------------------------------------------------------------ */

/* The name as far as it fits; what is not printable ASCII becomes '_'. */
static void
set_name(struct bk_gpt_part *part, const struct bk_concat_file *file)
{
    const char *name = file->name;

    if (!name) {
        name = strrchr(file->path, '/');
        name = name ? name + 1 : file->path;
    }
    for (unsigned i = 0; i < BK_GPT_NAME_UNITS && name[i]; i++)
        part->name[i] = (char)(name[i] >= ' ' && name[i] <= '~' ? name[i] : '_');
}

/* A chain of version 5 UUIDs over names and sizes. */
static struct bk_uuid
derive_disk_id(const struct bk_gpt_part *parts, unsigned n)
{
    struct bk_uuid id = bk_uuid_v5(&concat_namespace, concat_name, strlen(concat_name));

    for (unsigned i = 0; i < n; i++) {
        uint8_t text[BK_GPT_NAME_UNITS + 8];

        memcpy(text, parts[i].name, BK_GPT_NAME_UNITS);
        mb_put_le64(text + BK_GPT_NAME_UNITS, parts[i].size);
        id = bk_uuid_v5(&id, text, sizeof(text));
    }
    return id;
}

/* The index is part of the name: an image may contain the same layer twice. */
static void
set_part_ids(struct bk_gpt_part *parts, unsigned n, const struct bk_uuid *disk_id)
{
    for (unsigned i = 0; i < n; i++) {
        uint8_t text[4 + BK_GPT_NAME_UNITS];

        mb_put_le32(text, i);
        memcpy(text + 4, parts[i].name, BK_GPT_NAME_UNITS);
        parts[i].id = bk_uuid_v5(disk_id, text, sizeof(text));
    }
}

static void
add_extent(struct concat *c, uint64_t start, struct bk_file *file, const uint8_t *data)
{
    c->extents[c->n_extents++] = (struct extent){.start = start, .file = file, .data = data};
}

static void
make_extents(struct concat *c, const struct bk_gpt_part *parts, unsigned n)
{
    add_extent(c, 0, NULL, c->gpt.head);
    add_extent(c, c->gpt.head_len, NULL, NULL);
    for (unsigned i = 0; i < n; i++) {
        add_extent(c, parts[i].start, c->files[i], NULL);
        add_extent(c, parts[i].start + c->files[i]->size, NULL, NULL);
    }
    add_extent(c, c->gpt.disk_size - c->gpt.tail_len, NULL, c->gpt.tail);
    c->extents[c->n_extents].start = c->gpt.disk_size;
}

static int
open_files(struct concat *c, const struct bk_concat_file *files, unsigned n, struct bk_gpt_part *parts,
           struct bk_err *err)
{
    for (unsigned i = 0; i < n; i++) {
        struct bk_file *f;
        int rc = bk_file_open(files[i].path, false, &f, err);

        if (rc < 0)
            return rc;
        c->files[c->image.n_files++] = f;
        if (f->size == 0)
            return bk_fail(err, -EINVAL, "\"%s\" is empty: a partition needs contents", f->path);
        if (!mb_round_up(f->size, PAD, &parts[i].size))
            return bk_fail(err, -EFBIG, "\"%s\" is too large", f->path);
        /* All of it is mapped; a file that shrank is an error, not zeros. */
        f->zeros_from = UINT64_MAX;
        set_name(&parts[i], &files[i]);
    }
    return 0;
}

int
bk_concat_open(const struct bk_concat_file *files, unsigned n, const struct bk_uuid *disk_id, struct bk_image **image,
               struct bk_err *err)
{
    struct bk_gpt_part parts[BK_GPT_MAX_PARTS] = {0};
    struct bk_uuid id;
    struct concat *c;
    int rc;

    if (n == 0 || n > BK_GPT_MAX_PARTS)
        return bk_fail(err, -EINVAL, "a concatenation has 1 to %d files, not %u", BK_GPT_MAX_PARTS, n);
    c = calloc(1, sizeof(*c));
    if (!c)
        return bk_fail(err, -ENOMEM, "out of memory");
    c->image.ops = &concat_ops;
    c->image.read_only = true;
    c->image.files = c->files;
    c->image.io_size = PAD;
    rc = open_files(c, files, n, parts, err);
    if (rc < 0) {
        concat_close(&c->image);
        return rc;
    }
    id = disk_id ? *disk_id : derive_disk_id(parts, n);
    set_part_ids(parts, n, &id);
    rc = bk_gpt_layout(&c->gpt, &id, parts, n);
    if (rc < 0) {
        concat_close(&c->image);
        return bk_fail(err, rc, "cannot lay out the partitions: %s", strerror(-rc));
    }
    make_extents(c, parts, n);
    c->image.size = c->gpt.disk_size;
    *image = &c->image;
    return 0;
}

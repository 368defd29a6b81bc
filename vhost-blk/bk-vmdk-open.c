/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Putting a VMDK image together: the descriptor's file, its extents' files, the
 * image that it was made on.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "mb-cleanup.h"
#include "mb-overflow.h"

#include "bk-vmdk-priv.h"

static const char signature[] = "# Disk DescriptorFile";

static int
no_memory(const char *path, struct bk_err *err)
{
    return bk_fail(err, -ENOMEM, "\"%s\": out of memory", path);
}

/* Beside the image, unless it is absolute; the caller frees it. NULL: no memory. */
static char *
beside(const char *image, const char *name)
{
    const char *slash = strrchr(image, '/');
    size_t dir = slash && name[0] != '/' ? (size_t)(slash - image) + 1 : 0;
    char *p = malloc(dir + strlen(name) + 1);

    if (p) {
        memcpy(p, image, dir);
        memcpy(p + dir, name, strlen(name) + 1);
    }
    return p;
}

/* ---- extents ----------------------------------------------------------------------------- */

static int
check_access(const struct vmdk *v, const struct vmdk_extent_line *line, struct bk_err *err)
{
    if (line->access == VMDK_NOACCESS)
        return bk_fail(err, -EACCES, "\"%s\": the extent \"%s\" is marked NOACCESS", v->own[0]->path, line->name);
    if (!v->image.read_only && (line->access == VMDK_RDONLY || line->type == VMDK_ZERO))
        return bk_fail(err, -EACCES, "\"%s\": the VMDK has an extent (\"%s\") that can only be read", v->own[0]->path,
                       line->name);
    return 0;
}

/* The file of an extent. Flat ones may share one; nothing else may. */
static int
open_extent_file(struct vmdk *v, struct vmdk_extent *x, const struct vmdk_extent_line *line, struct bk_err *err)
{
    mb_autofree char *path = beside(v->own[0]->path, line->name);
    int rc;

    if (!path)
        return no_memory(v->own[0]->path, err);
    for (unsigned i = 0; i < v->n_own; i++) {
        if (strcmp(v->own[i]->path, path) != 0)
            continue;
        if (i == 0 || x->type != VMDK_FLAT || x[-1].file != v->own[i] || x[-1].type != VMDK_FLAT)
            return bk_fail(err, -EINVAL, "\"%s\": the file \"%s\" is used twice", v->own[0]->path, line->name);
        x->file = v->own[i];
        return 0;
    }
    rc = bk_file_open(path, !v->image.read_only, &x->file, err);
    if (rc == 0)
        v->own[v->n_own++] = x->file;
    return rc;
}

static int
open_flat(struct vmdk *v, struct vmdk_extent *x, const struct vmdk_extent_line *line, struct bk_err *err)
{
    x->offset = line->offset * BK_SECTOR;
    if (!mb_range_within(x->offset, line->sectors * BK_SECTOR, x->file->size))
        return bk_fail(err, -EINVAL, "\"%s\": the flat extent \"%s\" is longer than its file", v->own[0]->path,
                       line->name);
    return 0;
}

static int
open_extent(struct vmdk *v, struct vmdk_extent *x, const struct vmdk_extent_line *line, struct bk_err *err)
{
    uint64_t sectors = line->sectors, at, len;
    int rc = check_access(v, line, err);

    x->type = line->type;
    if (rc < 0 || x->type == VMDK_ZERO)
        return rc;
    rc = open_extent_file(v, x, line, err);
    if (rc < 0)
        return rc;
    if (x->type == VMDK_FLAT)
        return open_flat(v, x, line, err);
    x->file->zeros_from = 0;
    return vmdk_open_sparse(x, &sectors, &at, &len, err);
}

static int
open_extents(struct vmdk *v, const struct vmdk_descriptor *d, struct bk_err *err)
{
    uint64_t sectors = 0;

    if (d->n_lines == 0)
        return bk_fail(err, -EINVAL, "\"%s\": not a usable VMDK descriptor: no extents", v->own[0]->path);
    v->extents = calloc(d->n_lines + 1, sizeof(*v->extents));
    if (!v->extents)
        return no_memory(v->own[0]->path, err);
    for (unsigned i = 0; i < d->n_lines; i++) {
        int rc;

        v->extents[i].start = sectors * BK_SECTOR;
        bk_unpacked_init(&v->extents[i].unpacked, 0);
        v->n_extents++;
        rc = open_extent(v, &v->extents[i], &d->lines[i], err);
        if (rc < 0)
            return rc;
        sectors += d->lines[i].sectors;
    }
    if (sectors > VMDK_MAX_SECTORS)
        return bk_fail(err, -EFBIG, "\"%s\": the VMDK's extents are larger than %llu sectors together",
                       v->own[0]->path, (unsigned long long)VMDK_MAX_SECTORS);
    v->image.size = v->extents[d->n_lines].start = sectors * BK_SECTOR;
    return 0;
}

/* ---- the two kinds of file ----------------------------------------------------------------- */

static int
read_text(const struct bk_file *file, uint64_t at, uint64_t len, char **text, struct bk_err *err)
{
    if (len > VMDK_MAX_DESCRIPTOR || !mb_range_within(at, len, file->size))
        return bk_fail(err, -EINVAL, "\"%s\": not a usable VMDK image: size or place of the descriptor", file->path);
    *text = malloc(len + 1);
    if (!*text)
        return no_memory(file->path, err);
    if (bk_file_pread(file, *text, len, at) < 0)
        return bk_fail(err, -EIO, "\"%s\": the VMDK descriptor cannot be read", file->path);
    (*text)[len] = '\0';
    return 0;
}

/* A sparse extent by itself; the descriptor inside tells about the parent. */
static int
open_monolithic(struct vmdk *v, struct vmdk_descriptor *d, struct bk_err *err)
{
    mb_autofree char *text = NULL;
    uint64_t sectors = 0, at, len;
    struct vmdk_extent *x;
    int rc;

    v->extents = calloc(2, sizeof(*v->extents));
    if (!v->extents)
        return no_memory(v->own[0]->path, err);
    v->n_extents = 1;
    bk_unpacked_init(&v->extents[0].unpacked, 0);
    x = &v->extents[0];
    x->type = VMDK_SPARSE;
    x->file = v->own[0];
    x->file->zeros_from = 0;
    rc = vmdk_open_sparse(x, &sectors, &at, &len, err);
    if (rc < 0)
        return rc;
    v->image.size = x[1].start = sectors * BK_SECTOR;
    if (at == 0 || len == 0)
        return 0;
    rc = read_text(v->own[0], at, len, &text, err);
    if (rc == 0)
        rc = vmdk_parse_descriptor(v->own[0]->path, text, len, d, err);
    if (rc == 0 && d->cid_at)
        v->cid_offset = at + d->cid_at;
    return rc;
}

static int
open_descriptor(struct vmdk *v, struct vmdk_descriptor *d, struct bk_err *err)
{
    mb_autofree char *text = NULL;
    char head[sizeof(signature)] = "";
    int rc;

    if (v->own[0]->size < sizeof(head) || bk_file_pread(v->own[0], head, sizeof(head) - 1, 0) < 0 ||
        strcasecmp(head, signature) != 0)
        return bk_fail(err, -EINVAL, "\"%s\": not a VMDK image: magic", v->own[0]->path);
    rc = read_text(v->own[0], 0, v->own[0]->size, &text, err);
    if (rc < 0)
        return rc;
    rc = vmdk_parse_descriptor(v->own[0]->path, text, (size_t)v->own[0]->size, d, err);
    if (rc == 0)
        rc = open_extents(v, d, err);
    if (rc == 0)
        v->cid_offset = d->cid_at;
    return rc;
}

static int open_at_depth(const char *path, bool read_only, unsigned depth, struct bk_image **image, struct bk_err *err);

static int
open_parent(struct vmdk *v, const struct vmdk_descriptor *d, unsigned depth, struct bk_err *err)
{
    mb_autofree char *path = NULL;
    struct bk_image *parent;
    int rc;

    if (d->parent_cid == VMDK_NO_PARENT)
        return 0;
    if (!d->parent[0])
        return bk_fail(err, -EINVAL, "\"%s\": not a usable VMDK descriptor: parentFileNameHint is missing",
                       v->own[0]->path);
    if (depth == VMDK_MAX_CHAIN)
        return bk_fail(err, -ELOOP, "\"%s\": the chain of VMDK parents is longer than %d, or a loop", v->own[0]->path,
                       VMDK_MAX_CHAIN);
    path = beside(v->own[0]->path, d->parent);
    if (!path)
        return no_memory(v->own[0]->path, err);
    rc = open_at_depth(path, true, depth + 1, &parent, err);
    if (rc < 0)
        return rc;
    v->parent = vmdk_of(parent);
    if (v->parent->cid != d->parent_cid)
        return bk_fail(err, -ESTALE, "\"%s\": parentCID is %08x and the CID of \"%s\" is %08x: it was changed since",
                       v->own[0]->path, d->parent_cid, path, v->parent->cid);
    return 0;
}

/* Our files and the parents', as the image's. */
static int
list_files(struct vmdk *v, struct bk_err *err)
{
    unsigned above = v->parent ? v->parent->image.n_files : 0;

    v->image.files = calloc(v->n_own + above, sizeof(*v->image.files));
    if (!v->image.files)
        return no_memory(v->own[0]->path, err);
    memcpy(v->image.files, v->own, v->n_own * sizeof(*v->own));
    if (above)
        memcpy(v->image.files + v->n_own, v->parent->image.files, above * sizeof(*v->own));
    v->image.n_files = v->n_own + above;
    return 0;
}

static int
open_all(struct vmdk *v, const char *path, unsigned depth, struct bk_err *err)
{
    struct vmdk_descriptor d = {.parent_cid = VMDK_NO_PARENT};
    char magic[4] = "";
    int rc = bk_file_open(path, !v->image.read_only, &v->own[0], err);

    if (rc < 0)
        return rc;
    v->n_own = 1;
    if (v->own[0]->size < sizeof(magic) || bk_file_pread(v->own[0], magic, sizeof(magic), 0) < 0)
        return bk_fail(err, -EINVAL, "\"%s\": not a VMDK image: magic", path);
    if (memcmp(magic, "COWD", 4) == 0)
        return bk_fail(err, -ENOTSUP, "\"%s\": VMDK extents of type VMFSSPARSE are not supported", path);
    rc = memcmp(magic, "KDMV", 4) == 0 ? open_monolithic(v, &d, err) : open_descriptor(v, &d, err);
    if (rc == 0)
        rc = open_parent(v, &d, depth, err);
    if (rc == 0)
        rc = list_files(v, err);
    v->cid = d.cid;
    v->cid_digits = d.cid_digits;
    if (v->cid_offset && !v->image.read_only)
        v->cid_file = v->own[0];
    free(d.lines);
    return rc;
}

static int
open_at_depth(const char *path, bool read_only, unsigned depth, struct bk_image **image, struct bk_err *err)
{
    struct vmdk *v = calloc(1, sizeof(*v));
    int rc;

    if (!v)
        return no_memory(path, err);
    v->image.ops = &vmdk_ops;
    v->image.read_only = read_only;
    v->image.caps = BK_CAP_DISCARD | BK_CAP_ZERO;
    v->image.io_size = 4096;
    pthread_mutex_init(&v->lock, NULL);
    rc = open_all(v, path, depth, err);
    if (rc == 0 && getrandom(&v->new_cid, sizeof(v->new_cid), 0) != sizeof(v->new_cid))
        rc = bk_fail(err, -errno, "\"%s\": no random number: %s", path, strerror(errno));
    if (rc < 0) {
        vmdk_free(v);
        return rc;
    }
    /* All ones means "no parent". */
    v->new_cid &= ~UINT32_C(1);
    /* In place: images made by QEMU have no leading zeros. */
    if (v->cid_digits < 8)
        v->new_cid &= (UINT32_C(1) << 4 * v->cid_digits) - 1;
    if (v->new_cid == v->cid)
        v->new_cid ^= 2;
    *image = &v->image;
    return 0;
}

int
bk_vmdk_open(const char *path, bool read_only, struct bk_image **image, struct bk_err *err)
{
    return open_at_depth(path, read_only, 0, image, err);
}

void
vmdk_free(struct vmdk *v)
{
    for (unsigned i = 0; i < v->n_extents; i++) {
        vmdk_cut_room(&v->extents[i]);
        free(v->extents[i].gte);
        free(v->extents[i].gt);
        free(v->extents[i].rgt);
        bk_unpacked_clear(&v->extents[i].unpacked);
    }
    for (unsigned i = 0; i < v->n_own; i++)
        bk_file_close(v->own[i]);
    if (v->parent)
        vmdk_free(v->parent);
    free(v->extents);
    free(v->image.files);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening a qcow2 image.  The header is read once, each field checked before
 * it is used; what we do not know or do not do is refused by name.
 *
 *   0 magic  4 version  8 backing name: offset  16 length  20 cluster bits
 *   24 size  32 encryption  36 L1 entries  40 L1 offset  48 refcount table …
 *   version 3: 72 incompatible features … 100 header length  104 compression
 *   header extensions: type, length, data padded to 8, until type 0
 */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"
#include "bk-vmdk.h"

#define MAGIC 0x514649fbu
#define EXT_BACKING_FORMAT 0xe2792acau
#define V2_HEADER 72u
#define V3_HEADER 104u
#define BACKING_NAME_MAX 1023u
#define FORMAT_MAX (sizeof(((struct qcow2_header *)0)->backing_format) - 1)

int
qcow2_bad(const struct qcow2 *q, struct bk_err *err, const char *field)
{
    return bk_fail(err, -EINVAL, "\"%s\": not a usable qcow2 image: %s", q->file->path, field);
}

int
qcow2_unsupported(const struct qcow2 *q, struct bk_err *err, const char *feature)
{
    return bk_fail(err, -ENOTSUP, "\"%s\": qcow2 with %s is not supported", q->file->path, feature);
}

static int
check_features(struct qcow2 *q, const struct qcow2_header *h, struct bk_err *err)
{
    const uint64_t known = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_COMPRESSION |
                           QCOW2_INCOMPAT_EXTENDED_L2;
    uint8_t type = h->incompatible & QCOW2_INCOMPAT_COMPRESSION && h->length > 104 ? h->raw[104] : 0;

    if (h->incompatible & QCOW2_INCOMPAT_DATA_FILE)
        return qcow2_unsupported(q, err, "an external data file");
    if (h->incompatible & ~known)
        return qcow2_unsupported(q, err, "an unknown incompatible feature");
    if (type > QCOW2_ZSTD)
        return qcow2_unsupported(q, err, "an unknown compression type");
#ifndef HAVE_ZSTD
    if (type == QCOW2_ZSTD)
        return qcow2_unsupported(q, err, "zstd compression (left out of this build)");
#endif
    q->compression = (enum qcow2_compression)type;
    q->extended_l2 = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
    if (q->extended_l2 && q->cluster_bits < 14)
        return qcow2_bad(q, err, "cluster size too small for extended L2 entries");
    return 0;
}

static int
check_encryption(const struct qcow2 *q, uint32_t method, struct bk_err *err)
{
    if (method == 0)
        return 0;
    if (method == 1 && q->version == 2)
        return bk_fail(err, -EINVAL, "\"%s\" is encrypted: give the file with its passphrase, --secret-file=",
                       q->file->path);
    return qcow2_unsupported(q, err,
                             method == 1   ? "AES encryption in version 3"
                             : method == 2 ? "LUKS encryption"
                                           : "an unknown encryption");
}

static int
parse_header(struct qcow2 *q, struct qcow2_header *h, struct bk_err *err)
{
    const uint8_t *p = h->raw;
    int rc;

    if (mb_get_be32(p) != MAGIC)
        return qcow2_bad(q, err, "magic");
    q->version = mb_get_be32(p + 4);
    if (q->version != 2 && q->version != 3)
        return qcow2_unsupported(q, err, "a version other than 2 and 3");
    h->backing_offset = mb_get_be64(p + 8);
    h->backing_len = mb_get_be32(p + 16);
    q->cluster_bits = mb_get_be32(p + 20);
    q->size = mb_get_be64(p + 24);
    h->l1_entries = mb_get_be32(p + 36);
    h->l1_offset = mb_get_be64(p + 40);
    if (q->cluster_bits < QCOW2_MIN_CLUSTER_BITS || q->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        return qcow2_bad(q, err, "cluster size");
    rc = check_encryption(q, mb_get_be32(p + 32), err);
    if (rc < 0)
        return rc;
    h->length = V2_HEADER;
    if (q->version == 3) {
        h->incompatible = mb_get_be64(p + 72);
        h->length = mb_get_be32(p + 100);
        if (h->length < V3_HEADER || h->length > sizeof(h->raw) || h->length % 8)
            return qcow2_bad(q, err, "header length");
    }
    q->cluster_size = UINT64_C(1) << q->cluster_bits;
    return check_features(q, h, err);
}

/* Of the extensions only the backing format concerns us. */
static int
parse_extensions(struct qcow2 *q, struct qcow2_header *h, struct bk_err *err)
{
    uint64_t pos = h->length;
    uint64_t end = h->backing_offset ? h->backing_offset : q->cluster_size;

    if (end < pos || end > q->cluster_size)
        return qcow2_bad(q, err, "offset of the backing file's name");
    while (end - pos >= 8) {
        uint8_t ext[8];
        uint32_t type, len;

        if (bk_file_pread(q->file, ext, sizeof(ext), pos) < 0)
            return qcow2_bad(q, err, "header extensions end too soon");
        type = mb_get_be32(ext);
        len = mb_get_be32(ext + 4);
        pos += 8;
        if (type == 0)
            return 0;
        if (len > end - pos)
            return qcow2_bad(q, err, "length of a header extension");
        if (type == EXT_BACKING_FORMAT) {
            if (len > FORMAT_MAX || bk_file_pread(q->file, h->backing_format, len, pos) < 0)
                return qcow2_bad(q, err, "backing format");
            h->backing_format[len] = '\0';
        }
        pos += MB_MIN(((uint64_t)len + 7) / 8 * 8, end - pos);
    }
    return 0;
}

/* ---- the chain ----------------------------------------------------------------------- */

/* Where the backing file is; in full, an absolute path or one relative to us. The caller frees it. */
static int
backing_path(const struct qcow2 *q, const struct qcow2_header *h, char **path, struct bk_err *err)
{
    const char *slash = strrchr(q->file->path, '/');
    size_t dir = slash ? (size_t)(slash - q->file->path) + 1 : 0;
    char name[BACKING_NAME_MAX + 1] = "";
    const char *n = name;
    char *p;

    if (h->backing_len == 0 || h->backing_len > BACKING_NAME_MAX ||
        !mb_range_within(h->backing_offset, h->backing_len, q->cluster_size) ||
        bk_file_pread(q->file, name, h->backing_len, h->backing_offset) < 0 || strlen(name) != h->backing_len)
        return qcow2_bad(q, err, "backing file's name");
    if (strncmp(n, "file:", 5) == 0)
        n += 5;
    else if (n[0] != '/' && strchr(n, ':') && strcspn(n, ":") < strcspn(n, "/"))
        return bk_fail(err, -ENOTSUP, "\"%s\": backing file \"%s\" is not a file's name", q->file->path,
                       name);
    if (n[0] == '/')
        dir = 0;
    p = malloc(dir + strlen(n) + 1);
    if (!p)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", q->file->path);
    memcpy(p, q->file->path, dir);
    memcpy(p + dir, n, strlen(n) + 1);
    *path = p;
    return 0;
}

/* By what the image says, or else by the extension; NULL when neither tells. */
static const char *
format_of(const char *path, const char *told)
{
    static const char *const known[] = {"raw", "qcow2", "vmdk", "qcow"};
    const char *dot = strrchr(path, '.');

    if (told[0])
        return told;
    for (unsigned i = 0; dot && i < MB_ARRAY_SIZE(known); i++) {
        if (strcasecmp(dot + 1, known[i]) == 0)
            return known[i];
    }
    return NULL;
}

/* As nobody told its format, it is raw; but what would be wrong for sure is not read as such. Whatever it looks like,
 * it is opened as nothing else: a guest may have written it. */
static int
check_untold(const struct qcow2 *q, const struct bk_file *f, struct bk_err *err)
{
    uint8_t magic[4] = {0};

    if (f->size < sizeof(magic) || bk_file_pread(f, magic, sizeof(magic), 0) < 0 ||
        (mb_get_be32(magic) != MAGIC && memcmp(magic, "KDMV", 4) != 0))
        return 0;
    return bk_fail(err, -EINVAL,
                   "\"%s\" does not tell the format of its backing file \"%s\", which looks like %s: "
                   "qemu-img rebase -u -b FILE -F FORMAT tells it",
                   q->file->path, f->path, magic[0] == 'K' ? "vmdk" : "qcow2");
}

static int open_at_depth(const char *path, bool read_only, int journal_fd, unsigned depth,
                         struct bk_image **image, struct bk_err *err);

static int
open_backing(struct qcow2 *q, const struct qcow2_header *h, unsigned depth, struct bk_err *err)
{
    mb_autofree char *path = NULL;
    const char *format;
    int rc;

    if (h->backing_offset == 0)
        return 0;
    rc = backing_path(q, h, &path, err);
    if (rc < 0)
        return rc;
    /* A loop is a chain that does not end. */
    if (depth == QCOW2_MAX_CHAIN)
        return bk_fail(err, -ELOOP, "\"%s\": the chain of backing files is longer than %d, or a loop",
                       q->file->path, QCOW2_MAX_CHAIN);
    format = format_of(path, h->backing_format);
    if (format && strcmp(format, "qcow2") == 0)
        return open_at_depth(path, true, -1, depth + 1, &q->backing, err);
    if (format && strcmp(format, "vmdk") == 0)
        return bk_vmdk_open(path, true, &q->backing, err);
    if (format && strcmp(format, "raw") != 0)
        return bk_fail(err, -ENOTSUP, "\"%s\": a backing file of format \"%s\" is not supported",
                       q->file->path, format);
    rc = bk_raw_open(path, true, &q->backing, err);
    return rc == 0 && !format ? check_untold(q, q->backing->files[0], err) : rc;
}

/* A name that the user never gave is told with the image that has it. */
static int
name_opener(const struct qcow2 *q, int rc, struct bk_err *err)
{
    struct bk_err inner = *err;

    if (rc == -ENOENT || rc == -EACCES)
        bk_fail(err, rc, "\"%s\": its backing file: %s", q->file->path, inner.text);
    return rc;
}

/* Our file and those of the chain, as the image's. */
static int
list_files(struct qcow2 *q, struct bk_err *err)
{
    unsigned below = q->backing ? q->backing->n_files : 0;

    q->image.files = calloc(1 + below, sizeof(*q->image.files));
    if (!q->image.files)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", q->file->path);
    q->image.files[0] = q->file;
    if (below)
        memcpy(q->image.files + 1, q->backing->files, below * sizeof(*q->image.files));
    q->image.n_files = 1 + below;
    /* The file may end inside of its last cluster; so may a raw one below. */
    for (unsigned i = 0; i < q->image.n_files; i++)
        q->image.files[i]->zeros_from = 0;
    return 0;
}

int
qcow2_read_header(struct qcow2 *q, struct qcow2_header *h, struct bk_err *err)
{
    *h = (struct qcow2_header){.raw = {0}};
    if (q->file->size < V2_HEADER ||
        bk_file_pread(q->file, h->raw, (size_t)MB_MIN(q->file->size, sizeof(h->raw)), 0) < 0)
        return qcow2_bad(q, err, "shorter than a header");
    return parse_header(q, h, err);
}

static int
open_file(struct qcow2 *q, const char *path, bool read_only, int journal_fd, unsigned depth,
          struct bk_err *err)
{
    struct qcow2_header *h = &q->header;
    int rc = bk_file_open(path, !read_only, &q->file, err);

    if (rc == 0)
        rc = qcow2_read_header(q, h, err);
    if (rc == 0 && journal_fd >= 0)
        rc = qcow2_journal_open(q, journal_fd, err);
    if (rc > 0) /* it may have changed the header */
        rc = qcow2_read_header(q, h, err);
    if (rc == 0)
        rc = parse_extensions(q, h, err);
    if (rc == 0)
        rc = qcow2_tables_init(q, h, err);
    if (rc == 0)
        rc = name_opener(q, open_backing(q, h, depth, err), err);
    return rc < 0 ? rc : list_files(q, err);
}

static int
open_at_depth(const char *path, bool read_only, int journal_fd, unsigned depth, struct bk_image **image,
              struct bk_err *err)
{
    struct qcow2 *q = calloc(1, sizeof(*q));
    int rc;

    if (!q)
        return bk_fail(err, -ENOMEM, "\"%s\": out of memory", path);
    q->image.ops = &qcow2_ops;
    q->image.read_only = read_only;
    q->image.caps = BK_CAP_DISCARD | BK_CAP_ZERO;
    pthread_mutex_init(&q->lock, NULL);
    bk_unpacked_init(&q->unpacked, 0);
    rc = open_file(q, path, read_only, journal_fd, depth, err);
    if (rc < 0) {
        qcow2_free(q);
        return rc;
    }
    q->image.io_size = 4096;
    q->unpacked.size = q->cluster_size;
    *image = &q->image;
    return 0;
}

int
bk_qcow2_open(const char *path, bool read_only, bool eager, struct bk_image **image, struct bk_err *err)
{
    int rc = open_at_depth(path, read_only, -1, 0, image, err);

    if (rc == 0)
        qcow2_of(*image)->eager = eager;
    return rc;
}

int
bk_qcow2_open_journaled(const char *path, int journal_fd, struct bk_image **image, struct bk_err *err)
{
    return open_at_depth(path, false, journal_fd, 0, image, err);
}

void
qcow2_free(struct qcow2 *q)
{
    qcow2_rw_close(q);
    qcow2_journal_free(q->journal);
    bk_image_close(q->backing);
    bk_file_close(q->file);
    qcow2_tables_free(q);
    bk_unpacked_clear(&q->unpacked);
    free(q->image.files);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copy-on-write.  What a new cluster shows beside the data of the request is
 * copied from where it is now: a cluster shared with a snapshot, a compressed
 * one, the backing file.  Zeros need not be copied, the new cluster has them.
 *
 * What comes before and behind little data is put together with it in memory
 * and written as one: a third of the system calls, and the host's page cache
 * gets the cluster in one piece instead of three.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mb-cleanup.h"
#include "mb-iov.h"
#include "mb-overflow.h"

#include "bk-qcow2-rw.h"

/* Behind the end of the file is nothing but zeros. */
static int
read_data(const struct qcow2_extent *x, uint8_t *buf, bool may_block)
{
    uint64_t done = 0;

    while (done < x->len) {
        struct iovec iov = {buf + done, x->len - done};
        ssize_t n = preadv2(x->file->fd, &iov, 1, (off_t)(x->offset + done), may_block ? 0 : RWF_NOWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && !may_block)
            return -EAGAIN;
        if (n < 0)
            return -errno;
        if (n == 0) {
            memset(buf + done, 0, x->len - done);
            break;
        }
        done += (uint64_t)n;
    }
    return 0;
}

static int
read_extent(const struct qcow2_extent *x, uint8_t *buf, bool may_block)
{
    struct iovec iov = {buf, x->len};

    if (x->kind == QCOW2_DATA)
        return read_data(x, buf, may_block);
    if (x->kind == QCOW2_COMPRESSED)
        return qcow2_inflate(x, !may_block, &iov, 1, x->len);
    memset(buf, 0, x->len);
    return 0;
}

static int
copy_extent(struct qcow2 *q, const struct qcow2_extent *x, uint64_t host, uint8_t *buf, bool may_block)
{
    int rc;

    if (x->kind == QCOW2_ZERO)
        return 0;
    rc = read_extent(x, buf, may_block);
    return rc == 0 ? qcow2_write_at(q, host, buf, x->len) : rc;
}

int
qcow2_copy(struct qcow2 *q, uint64_t offset, uint64_t host, uint64_t len, bool may_block)
{
    mb_autofree uint8_t *buf = NULL;

    while (len > 0) {
        struct qcow2_extent x;
        int rc = qcow2_map(q, offset, len, &x);

        if (rc == 0 && x.kind != QCOW2_ZERO && !buf) {
            buf = malloc(q->cluster_size);
            rc = buf ? 0 : -ENOMEM;
        }
        if (rc == 0)
            rc = copy_extent(q, &x, host, buf, may_block);
        if (rc < 0)
            return rc;
        offset += x.len;
        host += x.len;
        len -= x.len;
    }
    return 0;
}

int
qcow2_copy_around(struct qcow2 *q, struct bk_io *io, bool may_block)
{
    struct bk_io_qcow2 *a = &io->qcow2;
    uint64_t first = a->first << q->cluster_bits, len = a->count << q->cluster_bits;
    uint64_t data = io->offset - first;
    uint64_t from = data, to = data + a->data_len; /* what is not zeros at the borders */
    mb_autofree uint8_t *buf = malloc(len);
    struct qcow2_extent x;

    if (!buf)
        return -ENOMEM;
    for (uint64_t at = 0; at < len; at += x.len) {
        int rc = qcow2_map(q, first + at, len - at, &x);

        if (rc == 0)
            rc = read_extent(&x, buf + at, may_block);
        if (rc < 0)
            return rc;
        if (x.kind != QCOW2_ZERO) {
            from = MB_MIN(from, at);
            to = MB_MAX(to, at + x.len);
        }
    }
    mb_iov_to_buf(io->iov, io->n_iov, 0, buf + data, (size_t)a->data_len);
    return qcow2_write_at(q, (a->host << q->cluster_bits) + from, buf + from, (size_t)(to - from));
}

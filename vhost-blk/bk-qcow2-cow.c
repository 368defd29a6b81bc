/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copy-on-write.  What a new cluster shows beside the data of the request is
 * copied from where it is now: a cluster shared with a snapshot, a compressed
 * one, the backing file.  Zeros need not be copied, the new cluster has them.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mb-cleanup.h"
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
copy_extent(struct qcow2 *q, const struct qcow2_extent *x, uint64_t host, uint8_t *buf, bool may_block)
{
    struct iovec iov = {buf, x->len};
    struct bk_xfer w = {
        .op = BK_XFER_WRITE, .file = q->file, .offset = host, .len = x->len, .iov = &iov, .n_iov = 1};
    int rc;

    if (x->kind == QCOW2_ZERO)
        return 0;
    if (x->kind == QCOW2_DATA)
        rc = read_data(x, buf, may_block);
    else
        rc = qcow2_inflate(x, !may_block, &iov, 1, x->len);
    if (rc == 0)
        rc = bk_xfer_run(&w);
    return rc;
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

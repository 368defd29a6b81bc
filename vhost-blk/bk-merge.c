/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Large writes together, see bk-merge.h.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "bk-merge.h"

bool
bk_merge_wants(const struct bk_xfer *x)
{
    return x->len >= BK_MERGE_MIN && x->len <= BK_MERGE_MAX && x->n_iov <= BK_MERGE_IOV && !x->dsync;
}

bool
bk_merge_fits(const struct bk_merge *m, const struct bk_xfer *x)
{
    return x->file == m->first->file && x->offset == m->end && m->len + x->len <= BK_MERGE_MAX &&
           m->n_iov + x->n_iov <= BK_MERGE_IOV;
}

void
bk_merge_add(struct bk_merge *m, struct bk_xfer *x)
{
    if (!m->first) {
        m->last = &m->first;
        m->len = 0;
        m->n_iov = 0;
    }
    memcpy(m->iov + m->n_iov, x->iov, x->n_iov * sizeof(*x->iov));
    m->n_iov += x->n_iov;
    m->len += x->len;
    m->end = x->offset + x->len;
    x->next = NULL;
    *m->last = x;
    m->last = &x->next;
}

struct bk_xfer *
bk_merge_write(struct bk_merge *m)
{
    struct bk_xfer *list = m->first;
    ssize_t n = pwritev(list->file->fd, m->iov, (int)m->n_iov, (off_t)list->offset);
    int none = n < 0 ? -errno : -EAGAIN;

    m->first = NULL;
    for (struct bk_xfer *x = list; x; x = x->next) {
        x->result = n > 0 ? (int)MB_MIN((uint64_t)n, x->len) : none;
        n -= MB_MAX(x->result, 0);
        none = -EAGAIN;
    }
    return list;
}

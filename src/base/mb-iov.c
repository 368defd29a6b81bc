/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scatter/gather lists, see mb-iov.h.  mb_iov_each() walks the segments that a
 * byte range of a list touches; copying and filling are visitors of it.
 */
#include <config.h>

#include "mb-iov.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "mb-overflow.h"

size_t
mb_iov_size(const struct iovec *iov, unsigned n)
{
    size_t total = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        if (MB_ADD_OVERFLOW(total, iov[i].iov_len, &total))
            return SIZE_MAX;
    }
    return total;
}

typedef void (*segment_fn)(void *segment, size_t len, size_t done, const void *data);

/* Call fn for every piece of [offset, offset + len); returns the bytes visited. */
static inline size_t
mb_iov_each(const struct iovec *iov, unsigned n, size_t offset, size_t len, segment_fn fn, const void *data)
{
    size_t done = 0;
    unsigned i;

    for (i = 0; i < n && done < len; i++) {
        size_t chunk;

        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        chunk = MB_MIN(iov[i].iov_len - offset, len - done);
        fn((char *)iov[i].iov_base + offset, chunk, done, data);
        done += chunk;
        offset = 0;
    }
    return done;
}

struct to_buf {
    char *buf;
};

static void
segment_to_buf(void *segment, size_t len, size_t done, const void *data)
{
    const struct to_buf *to = data;

    memcpy(to->buf + done, segment, len);
}

static void
segment_from_buf(void *segment, size_t len, size_t done, const void *data)
{
    memcpy(segment, (const char *)data + done, len);
}

static void
segment_set(void *segment, size_t len, size_t done, const void *data)
{
    (void)done;
    memset(segment, *(const int *)data, len);
}

size_t
mb_iov_to_buf(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len)
{
    struct to_buf to = {buf};

    return mb_iov_each(iov, n, offset, len, segment_to_buf, &to);
}

size_t
mb_iov_from_buf(const struct iovec *iov, unsigned n, size_t offset, const void *buf, size_t len)
{
    return mb_iov_each(iov, n, offset, len, segment_from_buf, buf);
}

size_t
mb_iov_memset(const struct iovec *iov, unsigned n, size_t offset, int c, size_t len)
{
    return mb_iov_each(iov, n, offset, len, segment_set, &c);
}

/* A range of zeros is one that is the same as itself a few bytes further on, and begins with zeros: memcmp() is as fast
 * as the machine. */
bool
mb_iov_is_zero(const struct iovec *iov, unsigned n)
{
    static const char zeros[16];

    for (unsigned i = 0; i < n; i++) {
        const char *p = iov[i].iov_base;
        size_t len = iov[i].iov_len, head = MB_MIN(len, sizeof(zeros));

        if (len == 0)
            continue;
        if (memcmp(p, zeros, head) != 0 || (len > head && memcmp(p, p + head, len - head) != 0))
            return false;
    }
    return true;
}

size_t
mb_iov_cut_front(struct iovec **iov, unsigned *n, size_t bytes)
{
    size_t done = 0;

    while (*n > 0) {
        size_t left = bytes - done;

        if (left < (*iov)->iov_len) {
            (*iov)->iov_base = (char *)(*iov)->iov_base + left;
            (*iov)->iov_len -= left;
            return bytes;
        }
        done += (*iov)->iov_len;
        (*iov)++;
        (*n)--;
    }
    return done;
}

size_t
mb_iov_cut_back(struct iovec *iov, unsigned *n, size_t bytes)
{
    size_t done = 0;

    while (*n > 0) {
        struct iovec *last = &iov[*n - 1];
        size_t left = bytes - done;

        if (left < last->iov_len) {
            last->iov_len -= left;
            return bytes;
        }
        done += last->iov_len;
        (*n)--;
    }
    return done;
}

int
mb_iov_slice(struct iovec *dst, unsigned dst_cap, const struct iovec *src, unsigned n, size_t offset,
             size_t len)
{
    unsigned used = 0, i;

    for (i = 0; i < n && len > 0; i++) {
        size_t chunk;

        if (offset >= src[i].iov_len) {
            offset -= src[i].iov_len;
            continue;
        }
        if (used == dst_cap)
            return -ENOBUFS;
        chunk = MB_MIN(src[i].iov_len - offset, len);
        dst[used].iov_base = (char *)src[i].iov_base + offset;
        dst[used].iov_len = chunk;
        used++;
        len -= chunk;
        offset = 0;
    }
    return len > 0 ? -EINVAL : (int)used;
}

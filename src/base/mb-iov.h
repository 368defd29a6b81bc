/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scatter/gather lists.  An iovec array and its count are borrowed; the
 * functions never allocate.  Those that cut change the array in place.
 */
#ifndef MB_IOV_H
#define MB_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "mb-macros.h"

/* Bytes in all segments; SIZE_MAX when the sum does not fit. */
size_t mb_iov_size(const struct iovec *iov, unsigned n);

/* Copy up to len bytes that begin at offset of the list; returns how many were
 * copied (fewer than len when the list ends before). */
size_t mb_iov_to_buf(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len);
size_t mb_iov_from_buf(const struct iovec *iov, unsigned n, size_t offset, const void *buf, size_t len);

/* Set up to len bytes at offset to c; returns how many were set. */
size_t mb_iov_memset(const struct iovec *iov, unsigned n, size_t offset, int c, size_t len);

/* Whether all bytes of all segments are zero. */
bool mb_iov_is_zero(const struct iovec *iov, unsigned n);

/* Take up to bytes off the front or the back: *iov and *n then describe what
 * remains (empty segments are dropped), the result is how many were taken. */
size_t mb_iov_cut_front(struct iovec **iov, unsigned *n, size_t bytes);
size_t mb_iov_cut_back(struct iovec *iov, unsigned *n, size_t bytes);

/* Describe [offset, offset + len) of src in dst, which has room for dst_cap
 * segments.  Returns the segments used, or -EINVAL when src is shorter than
 * that, or -ENOBUFS when dst is too small. */
int mb_iov_slice(struct iovec *dst, unsigned dst_cap, const struct iovec *src, unsigned n, size_t offset,
                 size_t len) MB_MUST_CHECK;

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whole reads and writes, small files, and messages with descriptors.
 * Everything returns a negative errno on failure and restarts after EINTR.
 */
#ifndef MB_IO_H
#define MB_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "mb-macros.h"

/* Descriptors in one message, as far as mb_send_fds() and mb_recv_fds() go. */
#define MB_IO_MAX_FDS 64

/* Read until len bytes are there or the file ends; the bytes read. */
ssize_t mb_read_full(int fd, void *buf, size_t len) MB_MUST_CHECK;
ssize_t mb_pread_full(int fd, void *buf, size_t len, off_t offset) MB_MUST_CHECK;

/* Write all of it: 0 or -errno (-EIO when the file takes nothing more). */
int mb_write_full(int fd, const void *buf, size_t len) MB_MUST_CHECK;
int mb_pwrite_full(int fd, const void *buf, size_t len, off_t offset) MB_MUST_CHECK;

/*
 * The whole of a file of at most max bytes, path being relative to dir_fd (or
 * AT_FDCWD).  *buf is malloc'ed, NUL-terminated and the caller's; *len (may be
 * NULL) excludes the NUL.  -EFBIG when the file is larger.
 */
int mb_read_file_at(int dir_fd, const char *path, size_t max, char **buf, size_t *len) MB_MUST_CHECK;

/*
 * Send len (> 0) bytes on a stream socket with n_fds descriptors attached to
 * the first of them; blocks until all is sent.  No SIGPIPE.  0 or -errno.
 */
int mb_send_fds(int sock, const void *buf, size_t len, const int *fds, unsigned n_fds) MB_MUST_CHECK;

/*
 * Receive at most len bytes and at most max_fds descriptors (close-on-exec,
 * the caller's).  Returns the bytes (0: the peer closed), -EAGAIN as the
 * socket does, -EMSGSIZE when the peer sent more descriptors than max_fds (all
 * of them are closed then).
 */
ssize_t mb_recv_fds(int sock, void *buf, size_t len, int *fds, unsigned max_fds,
                    unsigned *n_fds) MB_MUST_CHECK;

void mb_close_fds(int *fds, unsigned n);

/* 0 or -errno. */
int mb_set_nonblock(int fd, bool on) MB_MUST_CHECK;
int mb_set_cloexec(int fd, bool on) MB_MUST_CHECK;

#endif

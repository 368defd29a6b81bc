/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Confinement: by now the image's files, the rings and the socket are open,
 * and serving them needs nothing by name.  So Landlock gets no path at all.
 *
 * The system calls are those of serving: transfers on open descriptors,
 * waiting, threads for queues and pool, memory shared by the front-end.
 * io_uring_setup() and io_uring_register() are not among them: the rings exist
 * and are restricted already, see bk-uring.c.  ioctl() is there for block
 * devices only.
 */
#include <config.h>

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "bk-confine.h"
#include "vh-syscalls.h"

/* Transfers, and waiting for them when a queue stops; the transport has a list of its own. */
static const int calls_common[] = {
    SYS_fallocate,
    SYS_fdatasync,
    SYS_lseek,
    SYS_pread64,
    SYS_preadv,
    SYS_preadv2,
    SYS_pwrite64,
    SYS_pwritev,
    SYS_pwritev2,
#ifdef SYS_poll
    SYS_poll,
#endif
    SYS_ppoll,
};

static const int calls_ring[] = {SYS_io_uring_enter};
static const int calls_block[] = {SYS_ioctl};

#define MAX_CALLS (MB_ARRAY_SIZE(calls_common) + MB_ARRAY_SIZE(calls_ring) + MB_ARRAY_SIZE(calls_block))

static bool
has_block_device(const struct bk_image *image)
{
    for (unsigned i = 0; i < image->n_files; i++) {
        if (image->files[i]->is_block)
            return true;
    }
    return false;
}

static unsigned
choose_calls(const struct bk_dev *dev, int *calls)
{
    unsigned n = MB_ARRAY_SIZE(calls_common);

    memcpy(calls, calls_common, sizeof(calls_common));
    if (bk_engine_has_ring(dev->engines[0]))
        calls[n++] = calls_ring[0];
    if (has_block_device(dev->image))
        calls[n++] = calls_block[0];
    return n;
}

/* A sanitizer makes system calls of its own, and reads /proc when it has something to tell. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STAGES (MB_CONFINE_ALL & ~(1u << MB_CONFINE_SECCOMP | 1u << MB_CONFINE_LANDLOCK))
#else
#define STAGES MB_CONFINE_ALL
#endif

int
bk_confine(const struct bk_dev *dev, const int *fds, unsigned n_fds, struct mb_confine_report *report)
{
    int calls[MAX_CALLS];
    unsigned n = 0;
    int *keep;
    struct mb_confine_policy policy = {
        .stages = STAGES,
        .syscalls = calls,
        .n_syscalls = choose_calls(dev, calls),
        .more_syscalls = vh_syscalls,
        .n_more_syscalls = vh_n_syscalls,
    };
    int rc;

    /* With more arenas malloc() and free() read /sys and /proc now and then. */
    mallopt(M_ARENA_MAX, 1);
    keep = calloc(n_fds + 2 * dev->image->n_files + 2 * dev->set.num_queues, sizeof(*keep));
    if (!keep)
        return -ENOMEM;
    for (unsigned i = 0; i < n_fds; i++)
        keep[n++] = fds[i];
    for (unsigned i = 0; i < dev->image->n_files; i++) {
        keep[n++] = dev->image->files[i]->fd;
        keep[n++] = dev->image->files[i]->lock_fd;
    }
    for (unsigned i = 0; i < dev->set.num_queues; i++) {
        bk_engine_get_fds(dev->engines[i], keep + n);
        n += 2;
    }
    policy.fds = keep;
    policy.n_fds = n;
    rc = mb_confine(&policy, report);
    free(keep);
    return rc;
}

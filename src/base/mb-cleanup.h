/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scope clean-up: a variable declared with one of these attributes releases
 * what it holds when it goes out of scope, errno preserved.  Ownership moves
 * with mb_steal_ptr() and mb_steal_fd().
 */
#ifndef MB_CLEANUP_H
#define MB_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mb-macros.h"

/* Close a descriptor unless it is negative; errno is left alone. */
static inline void
mb_close(int fd)
{
    if (fd >= 0) {
        int saved = errno;

        close(fd);
        errno = saved;
    }
}

static inline void
mb_cleanup_fd(int *fd)
{
    mb_close(*fd);
    *fd = -1;
}

static inline void
mb_cleanup_free(void *p)
{
    int saved = errno;

    free(*(void **)p);
    errno = saved;
}

static inline void
mb_cleanup_file(FILE **f)
{
    int saved = errno;

    if (*f)
        fclose(*f);
    errno = saved;
}

static inline void
mb_cleanup_dir(DIR **d)
{
    int saved = errno;

    if (*d)
        closedir(*d);
    errno = saved;
}

#define mb_autofd MB_CLEANUP(mb_cleanup_fd)
#define mb_autofree MB_CLEANUP(mb_cleanup_free)
#define mb_autofile MB_CLEANUP(mb_cleanup_file)
#define mb_autodir MB_CLEANUP(mb_cleanup_dir)

/* Take the descriptor out of a variable that would close it. */
static inline int
mb_steal_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* Take the pointer out of a variable that would free it. */
#define mb_steal_ptr(pp) \
    __extension__({ \
        __typeof__(pp) mb_pp_ = (pp); \
        __typeof__(*mb_pp_) mb_p_ = *mb_pp_; \
        *mb_pp_ = NULL; \
        mb_p_; \
    })

#endif

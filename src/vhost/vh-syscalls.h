/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The system calls that the transport makes once vh_main_serve() was called:
 * the socket, shared memory, loops, worker threads, signals, and what libc
 * needs for them.  A back-end's seccomp list is these and its own.
 */
#ifndef VH_SYSCALLS_H
#define VH_SYSCALLS_H

extern const int vh_syscalls[];
extern const unsigned vh_n_syscalls;

#endif

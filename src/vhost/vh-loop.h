/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small epoll loop.  The protocol runs on one, every queue worker has its
 * own.  Functions are called on the loop's thread except where said.
 */
#ifndef VH_LOOP_H
#define VH_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "mb-macros.h"

struct vh_loop;

typedef void (*vh_loop_fn)(void *data, uint32_t epoll_events);

/* New loop, NULL with errno set on failure. */
struct vh_loop *vh_loop_new(void) MB_MUST_CHECK;
void vh_loop_free(struct vh_loop *loop);

/* Watch fd (borrowed) for the EPOLL* events; 0 or -errno. */
int vh_loop_add(struct vh_loop *loop, int fd, uint32_t events, vh_loop_fn fn, void *data) MB_MUST_CHECK;
int vh_loop_mod(struct vh_loop *loop, int fd, uint32_t events) MB_MUST_CHECK;
/* Safe from within a callback, also for a descriptor whose event is pending. */
void vh_loop_del(struct vh_loop *loop, int fd);

/* Run until vh_loop_quit(), which is safe from any thread and from a signal handler. */
int vh_loop_run(struct vh_loop *loop);
/* One round: wait at most timeout_ms (-1: for ever) and dispatch.  0 to go on, 1 when
 * quit was asked for (it stays so), -errno. */
int vh_loop_step(struct vh_loop *loop, int timeout_ms);
void vh_loop_quit(struct vh_loop *loop);

/* Run fn(data) on the loop's thread and wait until it returned.  From any
 * other thread; on the loop's own thread it is a plain call. */
void vh_loop_call(struct vh_loop *loop, void (*fn)(void *data), void *data);

/* Run fn(data) once, after the loop has looked at its descriptors the next time, which it then
 * does without waiting.  One at a time: a second call before it ran replaces the first.  On
 * the loop's thread. */
void vh_loop_defer(struct vh_loop *loop, void (*fn)(void *data), void *data);

#endif

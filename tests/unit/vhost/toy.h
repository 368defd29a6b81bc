/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device for tests of the transport: it answers a request with the bytes of
 * the request, front to back, as far as they fit.  Requests that begin with 'H'
 * are held until one that begins with 'R' comes or the queue stops; requests
 * that begin with 'B' break the queue.
 */
#ifndef TOY_H
#define TOY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vh-dev.h"

#define TOY_CONFIG_SIZE 64
#define TOY_MAX_QUEUES 4

struct toy {
    struct vh_dev *dev;
    struct vh_loop *loop;
    int sock;                   /* the device's end */
    pthread_t thread;
    int result;                 /* of vh_dev_serve() */
    uint8_t config[TOY_CONFIG_SIZE];
    unsigned resets, started, stopped;
    _Atomic unsigned served;    /* requests taken */
    bool stamp;                 /* the first reply byte is the number of the request, from 0 */
};

/* The device, for those who serve it themselves. 0 or -1. */
int toy_init(struct toy *t);

/* Serve one front-end on a thread; returns the front-end's end of the socket. */
int toy_start(struct toy *t);
/* Wait until the front-end went (quit: tell the device to end); the result of vh_dev_serve(). */
int toy_join(struct toy *t, bool quit);

/* Wait until the device took n requests: false at the deadline. */
bool toy_wait_served(const struct toy *t, unsigned n);

/* The same in a child process, to be killed; its pid. */
pid_t toy_fork(int *sock, bool stamp);

#endif

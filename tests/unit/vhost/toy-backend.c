/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The toy device as a back-end program: what every msb-vhost-* main() does,
 * confined to the transport's own system calls.
 */
#include <config.h>

#include <stdlib.h>

#include "mb-confine.h"
#include "toy.h"
#include "vh-main.h"
#include "vh-syscalls.h"

/* A sanitizer makes system calls of its own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

#define OPT_STAMP VH_MAIN_OPT_FIRST

static int
toy_option(void *opaque, int val, const char *arg)
{
    struct toy *t = opaque;

    if (val == OPT_STAMP)
        t->stamp = true;
    return 0;
}

static const struct option options[] = {{"stamp", no_argument, NULL, OPT_STAMP}, {0}};
static const char *const help[] = {"  --stamp               number the replies", NULL};
static const struct vh_main_program program = {
    .name = "toy-backend",
    .synopsis = "Answers requests with themselves.",
    .help = help,
    .capabilities = "{\"type\": \"toy\", \"features\": []}",
    .options = options,
    .option = toy_option,
};

static void
confine(int listen_fd, int conn_fd, int ready_fd)
{
    const int fds[] = {listen_fd, conn_fd, ready_fd};
    struct mb_confine_report report;
    struct mb_confine_policy policy = {
        .stages = MB_CONFINE_ALL,
        .fds = fds,
        .n_fds = 3,
        .more_syscalls = vh_syscalls,
        .n_more_syscalls = vh_n_syscalls,
    };

    mb_confine(&policy, &report);
}

int
main(int argc, char **argv)
{
    struct toy toy = {0};
    struct vh_main_options opts;
    int listen_fd, conn_fd, r;

    r = vh_main_parse(&program, &toy, argc, argv, &opts);
    if (r != 0)
        return r < 0 ? 2 : 0;
    if (toy_init(&toy) < 0 || vh_main_listen(&opts, &listen_fd, &conn_fd) < 0)
        return EXIT_FAILURE;
    if (!SANITIZED)
        confine(listen_fd, conn_fd, opts.ready_fd);
    r = vh_main_serve(&opts, toy.dev, listen_fd, conn_fd);
    vh_dev_free(toy.dev);
    return r;
}

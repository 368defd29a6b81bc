/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every back-end program's main() has in common: the options of the
 * "Backend program conventions" in QEMU's vhost-user document, the listening
 * socket, signals, and the serve loop.
 *
 *   --socket-path=PATH   listen there (an existing stale socket is replaced)
 *   --fd=N               an inherited descriptor: a listening or a connected socket
 *   --print-capabilities JSON on stdout, exit 0
 *   --exit-with-parent   die with the process that started us (PR_SET_PDEATHSIG)
 *   --ready-fd=N         one byte '\n' is written and N closed once the socket listens
 *   --reconnect          keep listening after a front-end left (default: exit 0)
 *   --log-level=error|warn|info|debug
 *   --help --version
 *
 * Never daemonizes; SIGTERM and SIGINT end it within a moment.
 */
#ifndef VH_MAIN_H
#define VH_MAIN_H

#include <getopt.h>
#include <stdbool.h>

#include "vh-dev.h"

struct vh_main_options {
    const char *socket_path;
    int fd;
    int ready_fd;
    bool print_capabilities;
    bool exit_with_parent;
    bool reconnect;
};

/* Options a program adds to the common ones. */
struct vh_main_program {
    const char *name;              /* "msb-vhost-blk" */
    const char *synopsis;          /* one line for --help */
    const char *const *help;       /* lines of the program's own options, NULL-terminated */
    const char *capabilities;      /* JSON for --print-capabilities */
    const struct option *options;  /* own long options, val >= VH_MAIN_OPT_FIRST, zero-terminated */
    /* Own option val with its argument; 0, or -1 after a message on stderr. */
    int (*option)(void *opaque, int val, const char *arg);
    /* True when what the options ask for needs no socket (--print-confinement, say). Optional. */
    bool (*without_socket)(void *opaque);
};
#define VH_MAIN_OPT_FIRST 1000

/* Parse; returns 0 to go on, 1 when the program is done (help, capabilities; exit 0),
 * -1 on a usage error (message printed, exit 2). */
int vh_main_parse(const struct vh_main_program *prog, void *opaque, int argc, char **argv,
                  struct vh_main_options *opts);

/* For option(): what is wrong with the argument of --option; returns -1. */
int vh_main_bad_value(const char *option, const char *arg, const char *want);

/* A number from min to max in arg to *value; 0, or -1 after a message. */
int vh_main_number(const char *option, const char *arg, uint32_t min, uint32_t max, uint32_t *value) MB_MUST_CHECK;

/* Create (or take over) the listening socket, before confinement.  Fills *listen_fd or
 * *conn_fd, the other is -1. 0 or -errno, message logged. */
int vh_main_listen(const struct vh_main_options *opts, int *listen_fd, int *conn_fd);

/* Signal ready, accept, serve, until told to end.  Returns the exit status. */
int vh_main_serve(const struct vh_main_options *opts, struct vh_dev *dev, int listen_fd, int conn_fd);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * msb-supervisor: one per running sandbox, started by libmsb.
 *
 *     msb-supervisor --home DIR --name NAME [--ready-fd N]
 *
 * On N goes one message and then its end: "ok\n" when the guest is ready, or
 * "error CODE MESSAGE" (CODE an MsbError, MESSAGE possibly of several lines).
 * Exit status: 0 when the sandbox ended by request or powered itself off, 1
 * otherwise, 2 for a command line that is wrong.
 */
#include <config.h>

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "mb-parse.h"
#include "msb-connection.h"
#include "sv-run.h"

typedef struct {
    const char *home;
    const char *name;
    int ready_fd;
} Options;

static int
usage(FILE *to, int status)
{
    fprintf(to, "Usage: msb-supervisor --home DIR --name NAME [--ready-fd N]\n"
                "Runs one sandbox. Started by msb; not meant to be started by hand.\n");
    return status;
}

/* -1 to go on, otherwise the exit status. */
static int
parse(int argc, char **argv, Options *options)
{
    static const struct option table[] = {
        { "home", required_argument, NULL, 'H' },     { "name", required_argument, NULL, 'n' },
        { "ready-fd", required_argument, NULL, 'r' }, { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },        { NULL, 0, NULL, 0 },
    };
    uint32_t fd;
    int c;

    while ((c = getopt_long(argc, argv, "hV", table, NULL)) != -1) {
        switch (c) {
        case 'H':
            options->home = optarg;
            break;
        case 'n':
            options->name = optarg;
            break;
        case 'r':
            if (mb_parse_u32(optarg, &fd) < 0 || fd > 65535 || mb_set_cloexec((int)fd, true) < 0) {
                fprintf(stderr, "msb-supervisor: --ready-fd: '%s' is not an open descriptor\n", optarg);
                return 2;
            }
            options->ready_fd = (int)fd;
            break;
        case 'h':
            return usage(stdout, 0);
        case 'V':
            printf("msb-supervisor %s\n", PACKAGE_VERSION);
            return 0;
        default:
            return usage(stderr, 2);
        }
    }
    if (!options->home || !options->name || optind != argc)
        return usage(stderr, 2);
    return -1;
}

/* A process of its own. Standard output and error are the log already, if msb started us. */
static void
settle(void)
{
    struct rlimit files;

    (void)setsid();
    (void)!chdir("/");
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

int
main(int argc, char **argv)
{
    Options options = { NULL, NULL, -1 };
    g_autoptr(SvRun) run = NULL;
    g_autoptr(GError) error = NULL;
    int status = parse(argc, argv, &options);

    if (status >= 0)
        return status;
    settle();
    msb_connection_enable_events();
    run = sv_run_new(options.home, options.name, options.ready_fd, &error);
    if (!run) {
        if (options.ready_fd < 0)
            fprintf(stderr, "msb-supervisor: %s\n", error->message);
        sv_report_ready(options.ready_fd, error);
        return 1;
    }
    return sv_run_main(run);
}

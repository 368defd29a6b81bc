/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The options of every back-end, see vh-main.h; vh-serve.c goes on from there.
 */
#include <config.h>

#include "vh-main.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mb-cleanup.h"
#include "mb-log.h"
#include "mb-parse.h"

enum common_option {
    OPT_SOCKET_PATH = 256,
    OPT_FD,
    OPT_PRINT_CAPABILITIES,
    OPT_EXIT_WITH_PARENT,
    OPT_READY_FD,
    OPT_RECONNECT,
    OPT_LOG_LEVEL,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option common_options[] = {
    {"socket-path", required_argument, NULL, OPT_SOCKET_PATH},
    {"fd", required_argument, NULL, OPT_FD},
    {"print-capabilities", no_argument, NULL, OPT_PRINT_CAPABILITIES},
    {"exit-with-parent", no_argument, NULL, OPT_EXIT_WITH_PARENT},
    {"ready-fd", required_argument, NULL, OPT_READY_FD},
    {"reconnect", no_argument, NULL, OPT_RECONNECT},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
};

static const char common_help[] =
    "  --socket-path=PATH    listen on the socket PATH (a stale one is replaced)\n"
    "  --fd=N                use the inherited descriptor N, listening or connected\n"
    "  --print-capabilities  print the capabilities as JSON and exit\n"
    "  --exit-with-parent    end when the parent process ends\n"
    "  --ready-fd=N          write a newline to descriptor N once the socket listens\n"
    "  --reconnect           wait for another front-end when one left\n"
    "  --log-level=LEVEL     error, warn, info or debug (default: info)\n"
    "  --help                print this help and exit\n"
    "  --version             print the version and exit\n";

/* ---- options --------------------------------------------------------------------------- */

static void
print_help(const struct vh_main_program *prog)
{
    unsigned i;

    printf("Usage: %s (--socket-path=PATH | --fd=N) [OPTION...]\n%s\n\n%s", prog->name, prog->synopsis,
           common_help);
    for (i = 0; prog->help && prog->help[i]; i++)
        printf("%s\n", prog->help[i]);
}

/* Both option tables in one, zero-terminated; the caller frees it. */
static struct option *
merge_options(const struct vh_main_program *prog)
{
    size_t common = MB_ARRAY_SIZE(common_options), own = 0;
    struct option *all;

    while (prog->options && prog->options[own].name)
        own++;
    all = calloc(common + own + 1, sizeof(*all));
    if (!all)
        return NULL;
    memcpy(all, common_options, sizeof(common_options));
    if (own)
        memcpy(all + common, prog->options, own * sizeof(*all));
    return all;
}

static int
usage_error(const struct vh_main_program *prog, const char *what, const char *value)
{
    if (what)
        fprintf(stderr, "%s: %s '%s'\n", prog->name, what, value);
    fprintf(stderr, "Try '%s --help' for more information.\n", prog->name);
    return -1;
}

static int
parse_fd(const struct vh_main_program *prog, const char *arg, int *fd)
{
    uint32_t v;

    if (mb_parse_u32(arg, &v) < 0 || v > INT32_MAX)
        return usage_error(prog, "not a file descriptor:", arg);
    *fd = (int)v;
    return 0;
}

/* 0 to go on, 1 when done, -1 on error. */
static int
common_option(const struct vh_main_program *prog, int val, const char *arg, struct vh_main_options *opts)
{
    enum mb_log_level level;

    switch (val) {
    case OPT_SOCKET_PATH:
        opts->socket_path = arg;
        return 0;
    case OPT_FD:
        return parse_fd(prog, arg, &opts->fd);
    case OPT_READY_FD:
        return parse_fd(prog, arg, &opts->ready_fd);
    case OPT_PRINT_CAPABILITIES:
        opts->print_capabilities = true;
        return 0;
    case OPT_EXIT_WITH_PARENT:
        opts->exit_with_parent = true;
        return 0;
    case OPT_RECONNECT:
        opts->reconnect = true;
        return 0;
    case OPT_LOG_LEVEL:
        if (mb_log_parse_level(arg, &level) < 0)
            return usage_error(prog, "unknown log level", arg);
        mb_log_set_level(level);
        return 0;
    case OPT_HELP:
        print_help(prog);
        return 1;
    case OPT_VERSION:
        printf("%s (%s) %s\n", prog->name, PACKAGE_NAME, PACKAGE_VERSION);
        return 1;
    default:
        return usage_error(prog, NULL, NULL);
    }
}

int
vh_main_bad_value(const char *option, const char *arg, const char *want)
{
    mb_error("--%s=%s: expected %s", option, arg, want);
    return -1;
}

int
vh_main_number(const char *option, const char *arg, uint32_t min, uint32_t max, uint32_t *value)
{
    char want[64];
    uint32_t v;

    if (mb_parse_u32(arg, &v) == 0 && v >= min && v <= max) {
        *value = v;
        return 0;
    }
    snprintf(want, sizeof(want), "a number from %u to %u", min, max);
    return vh_main_bad_value(option, arg, want);
}

/* --print-capabilities is obeyed whatever else the command line says. */
static bool
asks_for_capabilities(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--print-capabilities") == 0)
            return true;
    }
    return false;
}

static int
parse_all(const struct vh_main_program *prog, void *opaque, int argc, char **argv, const struct option *all,
          struct vh_main_options *opts)
{
    int val, r;

    optind = 1;
    while ((val = getopt_long(argc, argv, "", all, NULL)) != -1) {
        if (val >= VH_MAIN_OPT_FIRST)
            r = prog->option(opaque, val, optarg);
        else
            r = common_option(prog, val, optarg, opts);
        if (r != 0)
            return r;
    }
    if (optind < argc)
        return usage_error(prog, "unexpected argument", argv[optind]);
    if (prog->without_socket && prog->without_socket(opaque))
        return 0;
    if (!opts->socket_path == (opts->fd < 0)) {
        fprintf(stderr, "%s: give either --socket-path or --fd\n", prog->name);
        return usage_error(prog, NULL, NULL);
    }
    return 0;
}

/* What the one who started us was told to log; --log-level overrides it. */
static void
take_level_from_environment(void)
{
    const char *name = getenv("MSB_LOG_LEVEL");
    enum mb_log_level level;

    if (name && mb_log_parse_level(name, &level) == 0)
        mb_log_set_level(level);
}

int
vh_main_parse(const struct vh_main_program *prog, void *opaque, int argc, char **argv,
              struct vh_main_options *opts)
{
    mb_autofree struct option *all = merge_options(prog);

    *opts = (struct vh_main_options){.fd = -1, .ready_fd = -1};
    mb_log_set_name(prog->name);
    take_level_from_environment();
    if (!all) {
        fprintf(stderr, "%s: %s\n", prog->name, strerror(ENOMEM));
        return -1;
    }
    if (asks_for_capabilities(argc, argv)) {
        opts->print_capabilities = true;
        printf("%s\n", prog->capabilities);
        return 1;
    }
    return parse_all(prog, opaque, argc, argv, all, opts);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msb-agent: PID 1 of every sandbox, from its initrd.
 *
 *     /init                    (as PID 1) boot and serve
 *     /init --bare             load the modules and power off: the least a boot can be, for benchmarks
 *                              (also by "msb.bare" on the kernel's command line)
 *     msb-agent --serve-fd=N   run commands for the peer on N as an ordinary process, for tests
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ag.h"
#include "mb-cleanup.h"

#define FILES_MAX 65536

/* Power off without a word to the host: there is no port, or it is closed already. */
static void MB_NORETURN
machine_off(struct ag_agent *a)
{
    ag_shutdown_unmount(a->defaults.proc_fd, &a->root, a->pivoted);
    ag_shutdown_machine(a->reboot);
}

static bool
cmdline_has(const char *word)
{
    mb_autofree char *text = NULL;
    char *save = NULL;

    if (ag_read_file(AT_FDCWD, "/proc/cmdline", 65536, &text) < 0)
        return false;
    for (char *w = strtok_r(text, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
        if (strcmp(w, word) == 0)
            return true;
    }
    return false;
}

static void MB_NORETURN
run_as_init(bool bare)
{
    static struct ag_agent agent = {
        .mode = AG_MODE_INIT,
        .root = { .fd = -1, .upper_fd = -1, .modules_fd = -1 },
        .defaults = { .proc_fd = -1 },
        .console = { .tty.fd = -1 },
        .power = { .netlink.fd = -1 },
        .events = -1,
        .old_fd = -1,
    };
    struct rlimit files = { FILES_MAX, FILES_MAX };
    struct ag_error e = { .stage = MP_STAGE_SYSTEM };
    int port, r;

    agent.ready.started_ns = ag_now_ns();
    r = ag_system_early(&e);
    if (r == 0 && (bare || cmdline_has("msb.bare"))) {
        e.stage = MP_STAGE_MODULES;
        r = ag_module_load_list(AT_FDCWD, "/modules", false, &e);
        if (r == 0)
            ag_shutdown_machine(false);
    }
    setrlimit(RLIMIT_NOFILE, &files);
    ag_write_file(AT_FDCWD, "/proc/self/oom_score_adj", "-1000");
    port = r == 0 ? ag_boot_open_port(&agent, &e) : r;
    if (port < 0) {
        fprintf(stderr, "msb-agent: boot failed (%s, \"%s\"): %s: %s\n", mp_stage_name(e.stage), e.object,
                e.message, strerror(e.error));
        machine_off(&agent);
    }
    agent.ready.port_ns = ag_now_ns();
    r = ag_serve(&agent, port);
    if (r < 0)
        fprintf(stderr, "msb-agent: cannot go on: %s\n", strerror(-r));
    machine_off(&agent);
}

static int
run_as_test(int fd)
{
    struct ag_agent agent = {
        .mode = AG_MODE_SERVE,
        .defaults = { .proc_fd = -1 },
        .console = { .tty.fd = -1 },
        .power = { .netlink.fd = -1 },
    };

    agent.ready.started_ns = agent.ready.port_ns = ag_now_ns();
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        fprintf(stderr, "msb-agent: descriptor %d: %s\n", fd, strerror(errno));
        return EXIT_FAILURE;
    }
    return ag_serve(&agent, fd) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
    const char *arg = argc > 1 ? argv[1] : "";
    bool bare = strcmp(arg, "--bare") == 0;
    uint32_t fd;

    if (getpid() == 1)
        run_as_init(bare);
    if (strncmp(arg, "--serve-fd=", 11) == 0 && ag_parse_id(arg + 11, &fd) && fd <= FILES_MAX)
        return run_as_test((int)fd);
    if (strcmp(arg, "--version") == 0) {
        printf("msb-agent %s\n", PACKAGE_VERSION);
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "msb-agent runs as PID 1 of a sandbox.\nUsage: msb-agent --version | --serve-fd=N\n");
    return EXIT_FAILURE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mock-sandbox NAME: a sandbox that runs, as far as the command line can tell, without a machine: its files
 * in $MSB_HOME, the supervisor's relay on its control socket, and the guest agent as an ordinary process of
 * this user behind it. Prints "ready", and ends when its standard input does.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "msb-run-state.h"
#include "msb-state.h"

static gboolean
save_config(MsbHome *home, const char *name, GError **error)
{
    g_autofree char *dir = msb_home_sandbox_dir(home, name);
    g_autofree char *path = g_build_filename(dir, "config.json", NULL);
    g_autoptr(MsbConfig) config = msb_config_new();
    g_autoptr(JsonNode) node = NULL;

    msb_config_set_name(config, name);
    msb_config_set_image(config, "/");
    node = msb_config_to_json(config);
    return msb_paths_make_dir(dir, 0700, error) && msb_state_save(path, json_node_get_object(node), error);
}

/* The relay's socket and the lock are where a supervisor would have them. */
static MsbLock *
take_run_directory(MsbHome *home, const char *name, const Fixture *f, GError **error)
{
    g_autofree char *dir = msb_home_run_dir(home, name);
    g_autofree char *lock_path = msb_run_lock_path(home, name);
    g_autofree char *socket = msb_run_control_socket(home, name);
    MsbRunStatus status = {.state = MSB_STATE_RUNNING, .supervisor_pid = (guint)getpid()};
    g_autoptr(MsbLock) lock = NULL;

    if (!msb_paths_make_dir(dir, 0700, error) ||
        !(lock = msb_lock_acquire(lock_path, MSB_LOCK_EXCLUSIVE, 0, error)))
        return NULL;
    if (symlink(f->socket, socket) < 0) {
        msb_error_set_errno(error, errno, "cannot create '%s'", socket);
        return NULL;
    }
    return msb_run_status_save(home, name, &status, error) ? g_steal_pointer(&lock) : NULL;
}

static void
wait_for_end_of_input(void)
{
    char byte;

    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbHome) home = NULL;
    g_autoptr(MsbLock) lock = NULL;
    g_autofree char *agent = NULL;
    Fixture *f;

    if (argc != 2)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    agent = msb_paths_find_program("msb-agent", NULL);
    home = fixture_use_agent(agent) ? msb_home_open(NULL, &error) : NULL;
    if (!home) {
        fprintf(stderr, "mock-sandbox: %s\n", error ? error->message : "no agent");
        return 1;
    }
    f = fixture_start(fixture_run_agent, 500);
    if (save_config(home, argv[1], &error) && (lock = take_run_directory(home, argv[1], f, &error))) {
        puts("ready");
        fflush(stdout);
        wait_for_end_of_input();
    } else {
        fprintf(stderr, "mock-sandbox: %s\n", error->message);
    }
    fixture_stop(f);
    if (lock)
        msb_run_remove(home, argv[1], NULL);
    return error ? 1 : 0;
}

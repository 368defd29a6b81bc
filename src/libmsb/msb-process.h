/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Child processes: the only place of libmsb and the supervisor that starts
 * any.  Internal.
 */
#ifndef MSB_PROCESS_H
#define MSB_PROCESS_H

#include <gio/gio.h>
#include <sys/types.h>

G_BEGIN_DECLS

typedef struct {
    int source;             /* our descriptor, stays open */
    int target;             /* its number in the child */
} MsbFdMap;

typedef struct {
    const char *const *argv;    /* argv[0] is a path; no PATH search */
    const char *const *envp;    /* NULL = our own environment */
    const char *cwd;            /* NULL = ours */
    int stdin_fd;               /* stay open; -1 = /dev/null */
    int stdout_fd;
    int stderr_fd;
    const MsbFdMap *fds;        /* beyond 0-2; every other descriptor is closed in the child */
    guint n_fds;
    gboolean new_session;       /* setsid() */
    /* Not our child: its parent is init. It cannot be reaped; *pidfd tells when it ends. */
    gboolean detach;
    /* Signal the child gets when the *thread* that spawned it ends, 0 = none: spawn from the main thread. */
    int death_signal;
} MsbSpawn;

#define MSB_SPAWN_INIT { .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 }

/* Start a child with default signal handling and an empty signal mask. *pidfd (may be NULL) becomes readable
 * when it ends; reap with msb_process_reap(). A program that cannot be executed is an error here, naming it. */
gboolean msb_process_spawn(const MsbSpawn *spawn, pid_t *pid, int *pidfd, GError **error);
/* Wait until the child has ended, at most timeout_ms (-1 = for ever). TRUE with *status as of waitpid();
 * FALSE with TIMEOUT if it still runs. */
gboolean msb_process_reap(pid_t pid, int pidfd, gint timeout_ms, int *status, GError **error);
/* "exit status 3", "signal 9 (Killed)" (transfer full). */
char *msb_process_describe_status(int status);
/* Run to the end; stdout (may be NULL) is collected up to 1 MiB, stderr goes into the message of a failure
 * (non-zero exit). The child is killed when timeout_ms passes. */
gboolean msb_process_run(const char *const *argv, gint timeout_ms, char **out, GError **error);
/* The same with a standard input (stays open; -1 = /dev/null). */
gboolean msb_process_run_with_input(const char *const *argv, int input_fd, gint timeout_ms, char **out,
                                    GError **error);

G_END_DECLS

#endif

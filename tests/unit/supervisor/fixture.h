/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A relay in a process of its own, with an agent behind it and a control socket
 * in front; and commands run over it with the client library, their output
 * collected.  Every wait has a deadline.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <glib.h>
#include <sys/types.h>

#include "msb-client-private.h"
#include "msb-error.h"

#define DEADLINE_S 120

typedef struct {
    char *dir;
    char *socket;
    char *log;
    pid_t server;
    pid_t agent;
} Fixture;

/* run_agent serves its end of the channel and does not return. */
Fixture *fixture_start(void (*run_agent)(int fd), guint hangup_grace_ms);
/* The real agent as a run_agent, after having said where it is. FALSE if it cannot be executed. */
gboolean fixture_use_agent(const char *path);
void fixture_run_agent(int fd);
void fixture_stop(Fixture *f);
/* Wait for a server that ends by itself. */
void fixture_stopped(Fixture *f);
MsbClient *fixture_connect(Fixture *f);
/* The most memory the server ever had, in KiB. */
guint64 fixture_peak_kib(const Fixture *f);
/* The exec log, whole. */
char *fixture_read_log(const Fixture *f);

typedef struct {
    MsbExec *exec;
    GByteArray *out[2];
    gboolean keep;            /* collect (default); otherwise only count */
    guint64 count[2];
    gboolean hold;            /* take one piece, then pause */
    gboolean started, ended, ready;
    guint pid;
    int status, signum;
    char *error;
} Run;

#define RUN(client, ...) run_start(client, FALSE, (const char *const[]){ __VA_ARGS__, NULL })
#define RUN_TTY(client, ...) run_start(client, TRUE, (const char *const[]){ __VA_ARGS__, NULL })
Run *run_start(MsbClient *client, gboolean tty, const char *const *argv);
Run *run_attach(MsbClient *client, guint id);
void run_free(Run *run);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Run, run_free)
/* Its stdout as a string. */
const char *run_text(Run *run, int stream);

/* Turn the main loop until the expression is true; the test fails at the deadline. */
#define WAIT_FOR(expr) \
    G_STMT_START { \
        gint64 wait_end_ = g_get_monotonic_time() + DEADLINE_S * G_USEC_PER_SEC; \
        while (!(expr)) { \
            if (g_get_monotonic_time() > wait_end_) \
                g_error("%s:%d: waited in vain for: %s", __FILE__, __LINE__, #expr); \
            fixture_turn(); \
        } \
    } G_STMT_END
/* One turn of the main loop, at most 50 ms. */
void fixture_turn(void);

#endif

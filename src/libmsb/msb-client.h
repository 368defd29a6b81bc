/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection to a running sandbox's supervisor (run/<name>/control.sock), and
 * the commands that run over it.  Works on the caller's thread-default main
 * context; all callbacks come from there.
 */
#ifndef MSB_CLIENT_H
#define MSB_CLIENT_H

#include <gio/gio.h>

#include "msb-sandbox.h"

G_BEGIN_DECLS

typedef struct _MsbClient MsbClient;
typedef struct _MsbExec MsbExec;

MsbClient *msb_client_connect(MsbSandbox *sandbox, GError **error);    /* NOT_RUNNING if it does not run */
void msb_client_unref(MsbClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbClient, msb_client_unref)

/* Where the time of the boot went: "stage=microseconds" in order (transfer full). */
char **msb_client_dup_timings(MsbClient *client);

typedef struct {
    const char *const *argv;   /* NULL-terminated, at least one */
    const char *const *env;    /* K=V on top of the sandbox's, may be NULL */
    const char *cwd;           /* NULL = the sandbox's */
    const char *user;          /* NULL = the sandbox's */
    gboolean tty;
    guint rows, cols;
    gboolean no_stdin;
} MsbExecOptions;

typedef struct {
    void (*started)(MsbExec *exec, guint pid, gpointer data);
    /* stream 1 = stdout (or the PTY), 2 = stderr. Return FALSE to be sent no more for now: then call
     * msb_exec_resume() when there is room (that is the flow control: unread output stops the command). */
    gboolean (*output)(MsbExec *exec, int stream, const guint8 *bytes, gsize n, gpointer data);
    /* There is room for stdin again. */
    void (*stdin_ready)(MsbExec *exec, gpointer data);
    /* The end, exactly once. status: exit code, or 128+signal (signal != 0 then), or 127/126/1 with error set
     * (borrowed) when it could not be started, or -1 with error set when the connection was lost; -2 = detached. */
    void (*ended)(MsbExec *exec, int status, int signal, const GError *error, gpointer data);
} MsbExecCallbacks;

MsbExec *msb_client_exec(MsbClient *client, const MsbExecOptions *options,
                         const MsbExecCallbacks *callbacks, gpointer data, GError **error);
/* Attach to a command that runs detached: id from msb_exec_get_id() or the session list. */
MsbExec *msb_client_attach(MsbClient *client, guint id, const MsbExecCallbacks *callbacks, gpointer data,
                           GError **error);
/* One line per running command (transfer full, element-type MsbExecInfo). */
typedef struct { guint id; guint pid; gboolean tty; guint attached; gint64 started; char **argv; } MsbExecInfo;
GPtrArray *msb_client_list_execs(MsbClient *client, GError **error);
void msb_exec_info_free(MsbExecInfo *info);

guint msb_exec_get_id(MsbExec *exec);
/* How many of the n bytes were taken (the rest when stdin_ready comes). */
gsize msb_exec_write_stdin(MsbExec *exec, const guint8 *bytes, gsize n);
void msb_exec_close_stdin(MsbExec *exec);
void msb_exec_resume(MsbExec *exec);
void msb_exec_resize(MsbExec *exec, guint rows, guint cols);
void msb_exec_signal(MsbExec *exec, int signum);
void msb_exec_detach(MsbExec *exec);   /* leaves it running; ended() comes with -2 */
/* It is what the sandbox is for: when it ends, the sandbox is stopped, whether anybody is connected or not. */
void msb_exec_set_workload(MsbExec *exec);
void msb_exec_unref(MsbExec *exec);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbExec, msb_exec_unref)

/* Run to the end with everything collected (for programs). stdout and stderr (transfer full, may be NULL). */
gboolean msb_client_exec_sync(MsbClient *client, const MsbExecOptions *options, GBytes *input,
                              GBytes **out, GBytes **err, int *status, int *signal, GError **error);

G_END_DECLS

#endif

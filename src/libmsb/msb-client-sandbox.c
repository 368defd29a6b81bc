/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connecting to a sandbox, and reading its logs, by the sandbox itself. */
#include <config.h>

#include "msb-client-private.h"
#include "msb-logs-private.h"
#include "msb-run-state.h"
#include "msb-sandbox-private.h"

MsbClient *
msb_client_connect(MsbSandbox *sandbox, GError **error)
{
    g_autofree char *path = msb_run_control_socket(sandbox->home, sandbox->name);

    return msb_client_open(path, sandbox->name, TRUE, error);
}

static gboolean
is_supervised(gpointer data)
{
    const MsbSandbox *sandbox = data;

    return msb_sandbox_is_supervised(sandbox->home, sandbox->name);
}

gboolean
msb_logs_read(MsbSandbox *sandbox, const MsbLogOptions *options, MsbLogFunc func, gpointer data,
              GCancellable *cancellable, GError **error)
{
    g_autofree char *path = msb_sandbox_dup_log_path(sandbox, "exec");

    return msb_logs_read_path(path, options, func, data, is_supervised, sandbox, cancellable, error);
}

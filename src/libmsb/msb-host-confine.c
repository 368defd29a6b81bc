/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What confines the back-ends on this machine.  Only they know: each is asked
 * to confine itself, around something harmless, and to print what came of it.
 */
#include <config.h>

#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "msb-host-private.h"
#include "msb-json.h"
#include "msb-process.h"

#define TIMEOUT_MS 10000
#define PROBE_BYTES 65536

static const char *const stages[] = { "fds", "no_new_privs", "bounding", "capabilities", "landlock", "seccomp", NULL };

static gboolean
stage_applied(JsonObject *object, const char *stage)
{
    JsonNode *node = json_object_get_member(object, stage);
    JsonNode *state = node && JSON_NODE_HOLDS_OBJECT(node)
                          ? json_object_get_member(json_node_get_object(node), "state") : NULL;

    return state && JSON_NODE_HOLDS_VALUE(state) && g_strcmp0(json_node_get_string(state), "applied") == 0;
}

/* The bounding set matters to who may gain capabilities from files: nobody, with no_new_privs.  Only the privileged can
 * empty it. */
static gboolean
stage_matters(JsonObject *object, const char *stage)
{
    return strcmp(stage, "bounding") != 0 || !stage_applied(object, "no_new_privs");
}

char *
msb_host_describe_confinement(const char *json, gboolean *complete, GError **error)
{
    g_autoptr(JsonNode) node = msb_json_parse("confinement", json, strlen(json), error);
    g_autoptr(GString) applied = g_string_new(NULL), missing = g_string_new(NULL);
    JsonObject *object;

    if (!node)
        return NULL;
    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "confinement: not an object");
        return NULL;
    }
    object = json_node_get_object(node);
    for (guint i = 0; stages[i]; i++) {
        GString *which = stage_applied(object, stages[i]) ? applied : missing;

        if (which == applied || stage_matters(object, stages[i]))
            g_string_append_printf(which, "%s%s", which->len ? ", " : "", stages[i]);
    }
    *complete = missing->len == 0;
    if (*complete)
        return g_strdup(applied->str);
    return g_strdup_printf("%s; not wholly: %s", applied->len ? applied->str : "nothing", missing->str);
}

static void
check_program(GPtrArray *list, const char *name, const char *program, const char *share)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = msb_paths_find_program(program, NULL), *out = NULL, *found = NULL;
    const char *argv[] = { path, share, "--read-only", "--print-confinement", NULL };
    gboolean complete = FALSE;

    /* That a program is missing is told by another check. */
    if (!path)
        return;
    if (msb_process_run(argv, TIMEOUT_MS, &out, &error))
        found = msb_host_describe_confinement(out, &complete, &error);
    if (!found)
        msb_check_add(list, name, MSB_CHECK_WARNING, g_strdup(error->message), NULL);
    else if (complete)
        msb_check_add(list, name, MSB_CHECK_OK, g_steal_pointer(&found), NULL);
    else
        msb_check_add(list, name, MSB_CHECK_WARNING, g_steal_pointer(&found),
                           "the kernel, or what msb runs in, does not allow the rest; sandboxes run without it");
}

void
msb_host_check_confinement(GPtrArray *list, const MsbHome *home)
{
    g_autofree char *run = msb_home_build_path(home, "run", NULL), *real = realpath(run, NULL);
    g_autofree char *file = NULL, *dir_arg = NULL, *file_arg = NULL;
    mb_autofd int fd = -1;

    if (!real)
        return;
    dir_arg = g_strconcat("--shared-dir=", real, NULL);
    check_program(list, "fs-confined", "msb-vhost-fs", dir_arg);
    file = g_build_filename(real, ".probe.XXXXXX", NULL);
    fd = g_mkstemp(file);
    if (fd < 0 || ftruncate(fd, PROBE_BYTES) < 0)
        return;
    file_arg = g_strconcat("--blk-file=", file, NULL);
    check_program(list, "blk-confined", "msb-vhost-blk", file_arg);
    unlink(file);
}

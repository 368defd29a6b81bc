/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The boot frame of a plan: what the agent is told before it assembles the
 * root.  Strings in it belong to the frame, allocated as mp_boot_clear() frees
 * them (g_malloc is malloc).
 */
#include <config.h>

#include <string.h>

#include "msb-plan-private.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- mounts -------------------------------------------------------------------------------- */

typedef struct {
    const MsbMount *mount;
    guint index;
    guint depth;
} Ordered;

static int
parents_first(gconstpointer a, gconstpointer b)
{
    const Ordered *x = a, *y = b;

    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    return strcmp(x->mount->target, y->mount->target);
}

static guint
depth_of(const char *path)
{
    guint depth = 0;

    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

static uint32_t
mount_flags(const MsbMount *m)
{
    return (m->readonly ? MP_MOUNT_RO : 0u) | (m->noexec ? MP_MOUNT_NOEXEC : 0u) |
           (m->nosuid ? MP_MOUNT_NOSUID : 0u) | (m->nodev ? MP_MOUNT_NODEV : 0u) |
           (m->kind == MSB_MOUNT_FILE ? MP_MOUNT_FILE : 0u) |
           (m->kind == MSB_MOUNT_NAMED && m->volume_is_disk && !m->readonly ? MP_MOUNT_GROW : 0u) |
           (m->kind == MSB_MOUNT_DISK && !m->readonly ? MP_MOUNT_FOLLOW : 0u);
}

static gboolean
is_scratch(const char *target)
{
    return g_str_equal(target, "/tmp") || g_str_equal(target, "/var/tmp");
}

static void
fill_mount(struct mp_mount *out, const Ordered *in)
{
    const MsbMount *m = in->mount;

    out->flags = mount_flags(m);
    out->source = m->kind == MSB_MOUNT_TMPFS ? g_strdup("") : msb_plan_mount_id(in->index);
    out->target = g_strdup(m->target);
    out->fstype = g_strdup(m->fstype ? m->fstype : "");
    out->partition = m->partition;
    out->name = m->kind == MSB_MOUNT_FILE ? g_path_get_basename(m->source) : g_strdup("");
    switch (m->kind) {
    case MSB_MOUNT_DISK:
        out->kind = MP_MOUNT_DISK;
        break;
    case MSB_MOUNT_NAMED:
        out->kind = m->volume_is_disk ? MP_MOUNT_DISK : MP_MOUNT_VIRTIOFS;
        break;
    case MSB_MOUNT_TMPFS:
        out->kind = MP_MOUNT_TMPFS;
        out->size = m->size;
        out->mode = is_scratch(m->target) ? 01777 : 0755;
        break;
    default:
        out->kind = MP_MOUNT_VIRTIOFS;
        break;
    }
}

static void
fill_mounts(struct mp_boot *boot, const MsbConfig *config)
{
    const GPtrArray *mounts = msb_config_get_mounts(config);
    g_autoptr(GArray) order = g_array_new(FALSE, FALSE, sizeof(Ordered));
    guint i;

    for (i = 0; i < mounts->len; i++) {
        const MsbMount *m = g_ptr_array_index(mounts, i);
        Ordered item = { m, i, depth_of(m->target) };

        g_array_append_val(order, item);
    }
    g_array_sort(order, parents_first);
    boot->n_mounts = order->len;
    boot->mounts = g_new0(struct mp_mount, MAX(order->len, 1));
    for (i = 0; i < order->len; i++)
        fill_mount(&boot->mounts[i], &g_array_index(order, Ordered, i));
}

/* ---- environment ----------------------------------------------------------------------------- */

/* Take assignment in; the same key moves to the end with the new value. */
static void
merge(GPtrArray *env, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    guint i;

    if (!equals || equals == assignment)
        return;
    for (i = 0; i < env->len; i++) {
        if (strncmp(g_ptr_array_index(env, i), assignment, (gsize)(equals - assignment) + 1) == 0) {
            g_ptr_array_remove_index(env, i);
            break;
        }
    }
    g_ptr_array_add(env, g_strdup(assignment));
}

static char **
merge_env(const char *const *image_env, const char *const *user_env)
{
    GPtrArray *env = g_ptr_array_new_with_free_func(g_free);

    merge(env, DEFAULT_PATH);
    for (; image_env && *image_env; image_env++)
        merge(env, *image_env);
    for (; user_env && *user_env; user_env++)
        merge(env, *user_env);
    g_ptr_array_add(env, NULL);
    return (char **)g_ptr_array_free(env, FALSE);
}

/* ---- the frame --------------------------------------------------------------------------------- */

/* The first that is given, or "". */
static char *
dup_first(const char *a, const char *b)
{
    if (a && *a)
        return g_strdup(a);
    return g_strdup(b ? b : "");
}

static void
fill_root(struct mp_boot *boot, const MsbPlanInput *in)
{
    boot->n_layers = in->n_layers;
    boot->root_fstype = dup_first(msb_config_get_root_fstype(in->config), "");
    boot->root_partition = msb_config_get_root_partition(in->config);
    switch (msb_config_get_root_kind(in->config)) {
    case MSB_ROOT_IMAGE:
        boot->root_kind = MP_ROOT_OVERLAY;
        boot->root_source = g_strdup("");
        break;
    case MSB_ROOT_BIND:
        boot->root_kind = MP_ROOT_VIRTIOFS;
        boot->root_source = g_strdup("root");
        break;
    case MSB_ROOT_DISK:
        boot->root_kind = MP_ROOT_DISK;
        boot->root_source = g_strdup("root");
        break;
    }
}

void
msb_plan_fill_boot(MsbPlan *plan, const MsbPlanInput *in)
{
    struct mp_boot *boot = &plan->boot;

    fill_root(boot, in);
    boot->modules_source = g_strdup("layers");
    boot->modules_partition = in->n_layers + 1;
    boot->kernel_version = g_strdup(in->kernel_version);
    boot->hostname = msb_config_dup_hostname(in->config);
    fill_mounts(boot, in->config);
    boot->hosts = g_new0(char *, 1);
    boot->env = merge_env(in->image_env, msb_config_get_env(in->config));
    boot->user = dup_first(msb_config_get_user(in->config), in->image_user);
    boot->workdir = dup_first(msb_config_get_workdir(in->config), in->image_workdir);
    boot->shell = g_strdup(msb_config_get_shell(in->config));
}

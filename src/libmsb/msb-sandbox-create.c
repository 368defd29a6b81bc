/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Creation is a transaction: everything is made in sandboxes/.<name>.<random>
 * under the name lock and renamed into place at the end; what fails before is
 * taken back, volumes that came into being for it too.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msb-config-private.h"
#include "msb-error.h"
#include "msb-ext4.h"
#include "msb-image-private.h"
#include "msb-plan-private.h"
#include "msb-sandbox-private.h"
#include "msb-volume.h"

#define LOCK_TIMEOUT_MS 30000
#define NAME_TRIES 16

/* What has been done so far, to be undone. */
typedef struct {
    MsbHome *home;
    char *stage;            /* directory, NULL = none */
    GPtrArray *volumes;     /* names of those that were made */
} Creation;

static void
creation_clear(Creation *c)
{
    guint i;

    if (c->stage)
        (void)msb_paths_remove_tree(c->stage, NULL);
    for (i = 0; i < c->volumes->len; i++)
        (void)msb_volume_discard(c->home, g_ptr_array_index(c->volumes, i), NULL);
    g_free(c->stage);
    g_ptr_array_unref(c->volumes);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Creation, creation_clear)

/* ---- what is mounted --------------------------------------------------------------------------- */

static gboolean
check_source(const char *what, const char *path, gboolean directory, gboolean file, gboolean block, GError **error)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return msb_error_set_errno(error, errno, "%s '%s'", what, path);
    if ((directory && S_ISDIR(st.st_mode)) || (file && S_ISREG(st.st_mode)) || (block && S_ISBLK(st.st_mode)))
        return TRUE;
    return msb_error_set(error, MSB_ERROR_INVALID, "%s '%s' is not a %s", what, path,
                         directory ? "directory" : block ? "disk image" : "regular file");
}

static gboolean
check_mount_source(MsbHome *home, const MsbMount *m, GError **error)
{
    g_autofree char *what = g_strdup_printf("mount on '%s':", m->target);
    g_autofree char *dir = NULL;

    switch (m->kind) {
    case MSB_MOUNT_DIR:
        return check_source(what, m->source, TRUE, FALSE, FALSE, error);
    case MSB_MOUNT_FILE:
        return check_source(what, m->source, FALSE, TRUE, FALSE, error);
    case MSB_MOUNT_DISK:
        return check_source(what, m->source, FALSE, TRUE, TRUE, error);
    case MSB_MOUNT_NAMED:
        dir = m->volume_is_disk ? msb_volume_disk_path(home, m->source) : msb_volume_dir(home, m->source);
        if (access(dir, F_OK) == 0)
            return TRUE;
        return msb_error_set(error, MSB_ERROR_NOT_FOUND, "mount on '%s': there is no volume '%s' any more", m->target,
                             m->source);
    case MSB_MOUNT_TMPFS:
        break;
    }
    return TRUE;
}

gboolean
msb_sandbox_check_sources(MsbHome *home, const MsbConfig *config, GError **error)
{
    const GPtrArray *mounts = msb_config_get_mounts(config);
    guint i;

    switch (msb_config_get_root_kind(config)) {
    case MSB_ROOT_BIND:
        if (!check_source("root directory", msb_config_get_image(config), TRUE, FALSE, FALSE, error))
            return FALSE;
        break;
    case MSB_ROOT_DISK:
        if (!check_source("root disk image", msb_config_get_image(config), FALSE, TRUE, TRUE, error))
            return FALSE;
        break;
    case MSB_ROOT_IMAGE:
        break;
    }
    for (i = 0; i < mounts->len; i++) {
        if (!check_mount_source(home, g_ptr_array_index(mounts, i), error))
            return FALSE;
    }
    return TRUE;
}

/* The kind of a volume that exists need not be told. */
static void
infer_volume_kinds(MsbHome *home, const MsbConfig *config)
{
    const GPtrArray *mounts = msb_config_get_mounts(config);
    guint i;

    for (i = 0; i < mounts->len; i++) {
        MsbMount *m = g_ptr_array_index(mounts, i);

        if (m->kind == MSB_MOUNT_NAMED && !m->volume_kind_given && msb_volume_is_disk(home, m->source))
            m->volume_kind_given = m->volume_is_disk = TRUE;
    }
}

static gboolean
ensure_volume(MsbHome *home, const MsbMount *m, gboolean *created, GError **error)
{
    if (m->volume_is_disk)
        return msb_volume_ensure_disk(home, m->source, m->size, created, error);
    return msb_volume_ensure_dir(home, m->source, &m->quota, created, error);
}

static gboolean
ensure_volumes(Creation *c, const MsbConfig *config, GError **error)
{
    const GPtrArray *mounts = msb_config_get_mounts(config);
    guint i;

    for (i = 0; i < mounts->len; i++) {
        const MsbMount *m = g_ptr_array_index(mounts, i);
        gboolean created;

        if (m->kind != MSB_MOUNT_NAMED)
            continue;
        if (!ensure_volume(c->home, m, &created, error))
            return FALSE;
        if (created)
            g_ptr_array_add(c->volumes, g_strdup(m->source));
    }
    return TRUE;
}

/* ---- names ---------------------------------------------------------------------------------------- */

/* The lock of a name that nobody has, made up if config has none. */
static MsbLock *
claim_name(MsbHome *home, MsbConfig *config, GError **error)
{
    const char *name = msb_config_get_name(config);
    int i;

    if (name)
        return msb_name_validate("sandbox", name, error) ? msb_sandbox_lock_name(home, name, LOCK_TIMEOUT_MS, error)
                                                         : NULL;
    for (i = 0; i < NAME_TRIES; i++) {
        g_autofree char *made = g_strdup_printf("msb-%08x", g_random_int());
        g_autoptr(MsbLock) lock = msb_sandbox_lock_name(home, made, 0, NULL);

        if (lock && !msb_sandbox_exists(home, made)) {
            msb_config_set_name(config, made);
            return g_steal_pointer(&lock);
        }
    }
    msb_error_set(error, MSB_ERROR_FAILED, "cannot find a free name for the sandbox");
    return NULL;
}

static gboolean
name_is_taken(const char *name, GError **error)
{
    return msb_error_set(error, MSB_ERROR_EXISTS,
                         "sandbox '%s' exists already; start it (msb start %s), remove it (msb rm %s), or give "
                         "--replace or another name", name, name, name);
}

/* ---- stages ------------------------------------------------------------------------------------------ */

/* The plan's limits (socket paths, number of devices) are known now: fail before anything is made. */
static gboolean
check_plan(MsbHome *home, const MsbConfig *config, GError **error)
{
    const MsbPlanInput in = {
        .home = home,
        .config = config,
        .vhost_blk = "",
        .vhost_fs = "",
        .kernel_version = "",
        .vmlinux = "",
        .modules_image = "",
        .initrd = "",
        .accel = "tcg",
    };
    g_autoptr(MsbPlan) plan = msb_plan_build(&in, error);

    return plan != NULL;
}

static gboolean
resolve_image(MsbHome *home, MsbConfig *config, GError **error)
{
    g_autoptr(MsbImage) image = NULL;

    if (msb_config_get_root_kind(config) != MSB_ROOT_IMAGE)
        return TRUE;
    image = msb_image_lookup(home, msb_config_get_image(config), error);
    if (!image || !msb_image_check_platform(msb_image_get_os(image), msb_image_get_architecture(image),
                                            msb_image_get_reference(image), error))
        return FALSE;
    msb_config_set_image_digest(config, msb_image_get_digest(image));
    return TRUE;
}

static gboolean
make_stage(Creation *c, const char *name, GError **error)
{
    g_autofree char *file = g_strdup_printf(".%s.XXXXXX", name);
    g_autofree char *path = msb_home_build_path(c->home, "sandboxes", file, NULL);

    if (!g_mkdtemp_full(path, 0700))
        return msb_error_set_errno(error, errno, "cannot make a directory for sandbox '%s' in '%s/sandboxes'", name,
                                   msb_home_get_path(c->home));
    c->stage = g_steal_pointer(&path);
    return TRUE;
}

static gboolean
fill_stage(Creation *c, const MsbConfig *config, GError **error)
{
    g_autofree char *config_path = g_build_filename(c->stage, "config.json", NULL);
    g_autofree char *logs = g_build_filename(c->stage, "logs", NULL);
    g_autofree char *upper = g_build_filename(c->stage, "upper.raw", NULL);
    g_autoptr(JsonNode) node = msb_config_to_json(config);

    if (!msb_paths_make_dir(logs, 0700, error))
        return FALSE;
    if (msb_config_get_root_kind(config) == MSB_ROOT_IMAGE &&
        !msb_ext4_create(upper, msb_config_get_root_disk_bytes(config), "msb-upper", TRUE, error))
        return FALSE;
    return msb_state_save(config_path, json_node_get_object(node), error);
}

static gboolean
commit_stage(Creation *c, const char *name, GError **error)
{
    g_autofree char *dir = msb_home_sandbox_dir(c->home, name);

    if (renameat2(AT_FDCWD, c->stage, AT_FDCWD, dir, RENAME_NOREPLACE) < 0)
        return errno == EEXIST ? name_is_taken(name, error)
                               : msb_error_set_errno(error, errno, "cannot make sandbox '%s'", name);
    g_clear_pointer(&c->stage, g_free);
    g_ptr_array_set_size(c->volumes, 0);
    return TRUE;
}

static gboolean
create_locked(Creation *c, MsbConfig *config, GError **error)
{
    const char *name = msb_config_get_name(config);
    /* The image stays in the store until the sandbox's own configuration keeps it there. */
    g_autoptr(MsbLock) hold = msb_store_hold(c->home, error);

    if (!hold || !msb_sandbox_reap(c->home, name, TRUE, error))
        return FALSE;
    if (msb_sandbox_exists(c->home, name))
        return name_is_taken(name, error);
    infer_volume_kinds(c->home, config);
    if (!msb_config_validate(config, error) || !check_plan(c->home, config, error) ||
        !resolve_image(c->home, config, error) || !ensure_volumes(c, config, error) ||
        !msb_sandbox_check_sources(c->home, config, error))
        return FALSE;
    msb_config_set_created(config, g_get_real_time());
    return make_stage(c, name, error) && fill_stage(c, config, error) && commit_stage(c, name, error);
}

MsbSandbox *
msb_sandbox_create(MsbHome *home, MsbConfig *config, GError **error)
{
    g_auto(Creation) c = { .home = home, .volumes = g_ptr_array_new_with_free_func(g_free) };
    g_autoptr(MsbLock) lock = claim_name(home, config, error);

    if (!lock || !create_locked(&c, config, error))
        return NULL;
    return msb_sandbox_open(home, msb_config_get_name(config), error);
}

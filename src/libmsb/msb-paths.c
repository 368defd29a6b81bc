/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state directory and the places of our own programs and data.
 *
 * MsbHome is an immutable, atomically counted handle around an absolute path.
 * Opening it makes the directory and its first level and refuses one that
 * somebody else owns or may write to: everything below it is trusted to be ours.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msb-error.h"
#include "msb-paths.h"
#include "msb-refs.h"

/* Longest run directory element; longer names are cut and get a hash. */
#define RUN_NAME_MAX 32
#define RUN_NAME_KEEP 23

struct _MsbHome {
    gatomicrefcount refs;
    char *path;
};

static const char *const home_subdirs[] = {
    "images", "sandboxes", "sandboxes/.locks", "volumes", "volumes/.meta",
    "volumes/.locks", "volumes/.quota", "snapshots", "kernel", "run",
};

static gboolean
check_home_owner(const char *path, GError **error)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return msb_error_set_errno(error, errno, "state directory '%s'", path);
    if (!S_ISDIR(st.st_mode))
        return msb_error_set(error, MSB_ERROR_INVALID, "state directory '%s' is not a directory", path);
    if (st.st_uid != geteuid())
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "state directory '%s' belongs to user %u, not to you (user %u); "
                             "set MSB_HOME to a directory of your own",
                             path, (unsigned)st.st_uid, (unsigned)geteuid());
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return msb_error_set(error, MSB_ERROR_INVALID,
                             "others may write to state directory '%s' (mode %04o); run: chmod go-w '%s'",
                             path, st.st_mode & 07777u, path);
    return TRUE;
}

static char *
resolve_home(const char *path)
{
    const char *env = g_getenv("MSB_HOME");

    if (!path && env && *env)
        path = env;
    if (!path)
        return g_build_filename(g_get_home_dir(), ".microsandbox", NULL);
    return g_canonicalize_filename(path, NULL);
}

MsbHome *
msb_home_open(const char *path, GError **error)
{
    g_autofree char *absolute = resolve_home(path);
    MsbHome *home;
    gsize i;

    if (!msb_paths_make_dir(absolute, 0700, error) || !check_home_owner(absolute, error))
        return NULL;
    for (i = 0; i < G_N_ELEMENTS(home_subdirs); i++) {
        g_autofree char *dir = g_build_filename(absolute, home_subdirs[i], NULL);

        if (!msb_paths_make_dir(dir, 0700, error))
            return NULL;
    }
    home = g_new0(MsbHome, 1);
    g_atomic_ref_count_init(&home->refs);
    home->path = g_steal_pointer(&absolute);
    return home;
}

static void
home_free(MsbHome *home)
{
    g_free(home->path);
    g_free(home);
}

MSB_DEFINE_REFS(MsbHome, msb_home, home_free)

const char *
msb_home_get_path(const MsbHome *home)
{
    return home->path;
}

char *
msb_home_build_path(const MsbHome *home, const char *first, ...)
{
    g_autoptr(GPtrArray) parts = g_ptr_array_new();
    const char *element;
    va_list ap;

    g_ptr_array_add(parts, home->path);
    va_start(ap, first);
    for (element = first; element; element = va_arg(ap, const char *))
        g_ptr_array_add(parts, (gpointer)element);
    va_end(ap);
    g_ptr_array_add(parts, NULL);
    return g_build_filenamev((char **)parts->pdata);
}

char *
msb_home_sandbox_dir(const MsbHome *home, const char *name)
{
    return g_build_filename(home->path, "sandboxes", name, NULL);
}

char *
msb_home_run_dir(const MsbHome *home, const char *name)
{
    g_autofree char *digest = NULL;
    g_autofree char *element = NULL;

    if (strlen(name) <= RUN_NAME_MAX)
        return g_build_filename(home->path, "run", name, NULL);
    digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, name, -1);
    element = g_strdup_printf("%.*s-%.8s", RUN_NAME_KEEP, name, digest);
    return g_build_filename(home->path, "run", element, NULL);
}

/* ---- programs and data ------------------------------------------------------ */

static const struct {
    const char *name;
    const char *folder;     /* in the build tree */
} programs[] = {
    { "msb-supervisor", "src/supervisor" },
    { "msb-vhost-blk", "vhost-blk" },
    { "msb-vhost-fs", "vhost-fs" },
    { "msb-agent", "agent" },
};

static const char *
folder_of_program(const char *name)
{
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(programs); i++) {
        if (g_str_equal(programs[i].name, name))
            return programs[i].folder;
    }
    return NULL;
}

static const char *
getenv_nonempty(const char *name)
{
    const char *value = g_getenv(name);

    return value && *value ? value : NULL;
}

char *
msb_paths_find_program(const char *name, GError **error)
{
    const char *build = getenv_nonempty("MSB_BUILDDIR");
    const char *libexec = getenv_nonempty("MSB_LIBEXECDIR");
    const char *folder = folder_of_program(name);
    g_autofree char *path = NULL;

    if (!folder || strchr(name, '/')) {
        msb_error_set(error, MSB_ERROR_NOT_FOUND, "'%s' is not a program of msb", name);
        return NULL;
    }
    if (build)
        path = g_build_filename(build, folder, name, NULL);
    else
        path = g_build_filename(libexec ? libexec : MSB_LIBEXECDIR, name, NULL);
    if (access(path, X_OK) < 0) {
        msb_error_set(error, MSB_ERROR_NOT_FOUND, "program '%s' of msb: %s; is the installation complete?", path,
                      g_strerror(errno));
        return NULL;
    }
    return g_steal_pointer(&path);
}

char *
msb_paths_find_data(const char *name, GError **error)
{
    const char *roots[3] = { NULL };
    gsize n = 0, i;

    if (getenv_nonempty("MSB_BUILDDIR")) {
        roots[n++] = getenv_nonempty("MSB_BUILDDIR");
        if (getenv_nonempty("MSB_SRCDIR"))
            roots[n++] = getenv_nonempty("MSB_SRCDIR");
    }
    for (i = 0; i < n; i++) {
        g_autofree char *path = g_build_filename(roots[i], "data", name, NULL);

        if (access(path, R_OK) == 0)
            return g_steal_pointer(&path);
    }
    if (n == 0) {
        const char *datadir = getenv_nonempty("MSB_DATADIR");
        g_autofree char *path = g_build_filename(datadir ? datadir : MSB_DATADIR, name, NULL);

        if (access(path, R_OK) == 0)
            return g_steal_pointer(&path);
    }
    msb_error_set(error, MSB_ERROR_NOT_FOUND, "data file '%s' of msb is not there; is the installation complete?",
                  name);
    return NULL;
}

gboolean
msb_paths_make_dir(const char *path, guint mode, GError **error)
{
    struct stat st;

    if (g_mkdir_with_parents(path, (int)mode) == 0)
        return TRUE;
    if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return TRUE;
    if (errno == EEXIST)
        errno = ENOTDIR;
    return msb_error_set_errno(error, errno, "cannot make directory '%s'", path);
}

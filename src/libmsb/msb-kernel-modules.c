/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which modules the initrd must hold, and in which order they load.
 *
 * The module tree's own index files decide, as depmod(8) writes them:
 * modules.dep (file: the files it needs), modules.softdep ("softdep NAME pre:
 * A B post: C"), modules.alias ("alias PATTERN NAME"), modules.builtin and
 * modules.builtin.modinfo. The walk is depth first, so that what a module needs comes before it; a soft
 * dependency that does not exist is passed over, as modprobe does.
 */
#include <config.h>

#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-error.h"
#include "msb-kernel-private.h"
#include "msb-process.h"

#define MAX_INDEX_FILE (16 * 1024 * 1024)
#define DEPMOD_TIMEOUT_MS (120 * 1000)

/* What the boot uses. A kernel may have any of them built in; those that are not required
 * may be missing altogether. */
static const struct {
    const char *name;
    gboolean required;
} wanted[] = {
    {"virtio_mmio", TRUE}, {"virtio_blk", TRUE}, {"virtio_console", TRUE}, {"erofs", TRUE},
    {"overlay", TRUE},     {"ext4", TRUE},       {"virtiofs", TRUE},       {"virtio_rng", FALSE},
    {"button", FALSE}, /* the ACPI power button: virsh shutdown */
};

typedef struct {
    GHashTable *files;   /* name -> relative path */
    GHashTable *needs;   /* name -> GPtrArray of relative paths */
    GHashTable *builtin; /* set of names */
    GHashTable *pre;     /* name -> GPtrArray of names, soft dependencies to load before */
    GPtrArray *aliases;  /* pattern, name, pattern, name, ... */
    GHashTable *visited; /* set of names */
    GPtrArray *order;    /* relative paths */
} Modules;

static void
modules_clear(Modules *m)
{
    g_clear_pointer(&m->files, g_hash_table_unref);
    g_clear_pointer(&m->needs, g_hash_table_unref);
    g_clear_pointer(&m->builtin, g_hash_table_unref);
    g_clear_pointer(&m->pre, g_hash_table_unref);
    g_clear_pointer(&m->aliases, g_ptr_array_unref);
    g_clear_pointer(&m->visited, g_hash_table_unref);
    g_clear_pointer(&m->order, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Modules, modules_clear)

static void
modules_init(Modules *m)
{
    m->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    m->needs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    m->builtin = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    m->pre = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    m->aliases = g_ptr_array_new_with_free_func(g_free);
    m->visited = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    m->order = g_ptr_array_new_with_free_func(g_free);
}

char *
msb_module_name(const char *path)
{
    char *name = g_path_get_basename(path);
    char *dot = strstr(name, ".ko");

    if (dot)
        *dot = '\0';
    return g_strdelimit(name, "-", '_');
}

/* A path out of an index file must stay below the tree. */
static gboolean
path_is_safe(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    for (guint i = 0; parts[i]; i++)
        if (parts[i][0] == '\0' || strcmp(parts[i], ".") == 0 || strcmp(parts[i], "..") == 0)
            return FALSE;
    return parts[0] != NULL;
}

/* The lines of an index file; a missing optional one has none. */
static char **
read_lines(const char *dir, const char *name, gboolean optional, GError **error)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *text = NULL;
    g_autoptr(GError) local = NULL;
    gsize n;

    if (!g_file_get_contents(path, &text, &n, &local)) {
        if (optional && g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return g_new0(char *, 1);
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "the module tree cannot be used: %s",
                    local->message);
        return NULL;
    }
    if (n > MAX_INDEX_FILE || memchr(text, '\0', n)) {
        g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' is not a module index", path);
        return NULL;
    }
    return g_strsplit(text, "\n", -1);
}

static gboolean
load_dep(Modules *m, const char *dir, GError **error)
{
    g_auto(GStrv) lines = read_lines(dir, "modules.dep", FALSE, error);

    if (!lines)
        return FALSE;
    for (guint i = 0; lines[i]; i++) {
        char *colon = strchr(lines[i], ':');
        g_auto(GStrv) needs = NULL;
        GPtrArray *list;

        if (!colon)
            continue;
        *colon = '\0';
        if (!path_is_safe(lines[i])) {
            g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "modules.dep names the unsafe path '%s'",
                        lines[i]);
            return FALSE;
        }
        list = g_ptr_array_new_with_free_func(g_free);
        needs = g_strsplit_set(colon + 1, " \t", -1);
        for (guint k = 0; needs[k]; k++)
            if (needs[k][0])
                g_ptr_array_add(list, msb_module_name(needs[k]));
        g_hash_table_replace(m->needs, msb_module_name(lines[i]), list);
        g_hash_table_replace(m->files, msb_module_name(lines[i]), g_strdup(lines[i]));
    }
    return TRUE;
}

static gboolean
load_builtin(Modules *m, const char *dir, GError **error)
{
    g_auto(GStrv) lines = read_lines(dir, "modules.builtin", TRUE, error);

    if (!lines)
        return FALSE;
    for (guint i = 0; lines[i]; i++)
        if (lines[i][0])
            g_hash_table_add(m->builtin, msb_module_name(lines[i]));
    return TRUE;
}

/* softdep NAME pre: A B post: C; kmod passes over names that stand before any keyword, and so does this. */
static gboolean
load_softdep(Modules *m, const char *dir, GError **error)
{
    g_auto(GStrv) lines = read_lines(dir, "modules.softdep", TRUE, error);

    if (!lines)
        return FALSE;
    for (guint i = 0; lines[i]; i++) {
        g_auto(GStrv) words = g_strsplit_set(lines[i], " \t", -1);
        g_autofree char *name = NULL;
        gboolean pre = FALSE;
        GPtrArray *list;

        if (g_strv_length(words) < 3 || strcmp(words[0], "softdep") != 0)
            continue;
        name = msb_module_name(words[1]);
        list = g_hash_table_lookup(m->pre, name);
        if (!list) {
            list = g_ptr_array_new_with_free_func(g_free);
            g_hash_table_insert(m->pre, g_strdup(name), list);
        }
        for (guint k = 2; words[k]; k++) {
            if (strcmp(words[k], "pre:") == 0)
                pre = TRUE;
            else if (strcmp(words[k], "post:") == 0)
                pre = FALSE;
            else if (words[k][0] && pre)
                g_ptr_array_add(list, msb_module_name(words[k]));
        }
    }
    return TRUE;
}

static gboolean
load_aliases(Modules *m, const char *dir, GError **error)
{
    g_auto(GStrv) lines = read_lines(dir, "modules.alias", TRUE, error);

    if (!lines)
        return FALSE;
    for (guint i = 0; lines[i]; i++) {
        g_auto(GStrv) words = g_strsplit_set(lines[i], " \t", -1);

        if (g_strv_length(words) != 3 || strcmp(words[0], "alias") != 0)
            continue;
        g_ptr_array_add(m->aliases, g_strdelimit(g_strdup(words[1]), "-", '_'));
        g_ptr_array_add(m->aliases, msb_module_name(words[2]));
    }
    return TRUE;
}

/* modules.builtin.modinfo: "MODULE.KEY=VALUE", each ended by a NUL. What a built-in module is an alias of is
 * there already, and counts as built in. */
static void
load_builtin_aliases(Modules *m, const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "modules.builtin.modinfo", NULL);
    mb_autofree char *text = NULL;
    size_t n = 0;

    if (mb_read_file_at(AT_FDCWD, path, MAX_INDEX_FILE, &text, &n) < 0)
        return; /* older kernels have none */
    for (const char *p = text; p < text + n; p += strlen(p) + 1) {
        const char *alias = strstr(p, ".alias=");

        if (alias)
            g_hash_table_add(m->builtin, msb_module_name(alias + strlen(".alias=")));
    }
}

static void visit(Modules *m, const char *name);

/* A soft dependency is a module's name or an alias of any number of modules. */
static void
visit_soft(Modules *m, const char *name)
{
    if (g_hash_table_contains(m->builtin, name))
        return;
    if (g_hash_table_contains(m->files, name)) {
        visit(m, name);
        return;
    }
    for (guint i = 0; i + 1 < m->aliases->len; i += 2)
        if (fnmatch(m->aliases->pdata[i], name, 0) == 0)
            visit(m, m->aliases->pdata[i + 1]);
}

static void
visit(Modules *m, const char *name)
{
    const char *file = g_hash_table_lookup(m->files, name);
    const GPtrArray *list;

    if (!file || !g_hash_table_add(m->visited, g_strdup(name)))
        return;
    list = g_hash_table_lookup(m->pre, name);
    for (guint i = 0; list && i < list->len; i++)
        visit_soft(m, list->pdata[i]);
    list = g_hash_table_lookup(m->needs, name);
    for (guint i = 0; list && i < list->len; i++)
        visit(m, list->pdata[i]);
    g_ptr_array_add(m->order, g_strdup(file));
}

gboolean
msb_modules_run_depmod(const char *base, const char *version, GError **error)
{
    /* An ordinary user's PATH often lacks the directories of the administrator's programs. */
    static const char *const places[] = {"/usr/sbin/depmod", "/sbin/depmod", "/usr/bin/depmod"};
    g_autofree char *depmod = g_find_program_in_path("depmod");

    for (guint i = 0; !depmod && i < G_N_ELEMENTS(places); i++)
        if (g_file_test(places[i], G_FILE_TEST_IS_EXECUTABLE))
            depmod = g_strdup(places[i]);
    if (!depmod) {
        g_set_error_literal(error, MSB_ERROR, MSB_ERROR_NOT_FOUND,
                            "depmod is not installed; it comes with the package kmod");
        return FALSE;
    }
    return msb_process_run((const char *const[]){depmod, "-b", base, version, NULL}, DEPMOD_TIMEOUT_MS, NULL,
                           error);
}

char **
msb_modules_pick(const char *dir, GError **error)
{
    g_auto(Modules) m = {0};

    modules_init(&m);
    if (!load_dep(&m, dir, error) || !load_builtin(&m, dir, error) || !load_softdep(&m, dir, error) ||
        !load_aliases(&m, dir, error))
        return NULL;
    load_builtin_aliases(&m, dir);
    for (guint i = 0; i < G_N_ELEMENTS(wanted); i++) {
        if (wanted[i].required && !g_hash_table_contains(m.files, wanted[i].name) &&
            !g_hash_table_contains(m.builtin, wanted[i].name)) {
            g_set_error(error, MSB_ERROR, MSB_ERROR_NOT_FOUND,
                        "the kernel has no '%s', neither as a module nor built in; sandboxes need it",
                        wanted[i].name);
            return NULL;
        }
        visit(&m, wanted[i].name);
    }
    g_ptr_array_add(m.order, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&m.order), FALSE);
}

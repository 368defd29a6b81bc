/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel modules: those of the initrd in the order of its list, and later ones
 * by name from the modules image with modules.dep telling what they need and
 * modules.softdep what they will ask for: there is no modprobe that the kernel
 * could call.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/module.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ag-sys.h"
#include "ag.h"
#include "mb-cleanup.h"

#ifndef MODULE_INIT_COMPRESSED_FILE
#define MODULE_INIT_COMPRESSED_FILE 4
#endif
#define LIST_MAX (64u * 1024)
#define DEP_MAX (16u * 1024 * 1024)
#define MODULE_NAME_MAX 64
#define SOFTDEP_DEPTH_MAX 4u

/* Modules of the initrd that a boot may do without; they are loaded when asked for, or once there is time. */
static const char *const optional[] = { "fuse", "virtiofs", "button", "rng_core", "virtio_rng" };

/* Length without the signature that is appended to a module: its bytes, a struct module_signature whose last
 * field is their number (big endian), and a marker. */
static size_t
unsigned_size(const uint8_t *p, size_t n)
{
    static const char marker[] = "~Module signature appended~\n";
    const size_t tail = 12 + sizeof(marker) - 1;
    uint32_t len;

    if (n < tail || memcmp(p + n - (sizeof(marker) - 1), marker, sizeof(marker) - 1) != 0)
        return n;
    memcpy(&len, p + n - (sizeof(marker) - 1) - 4, sizeof(len));
    len = be32toh(len);
    return len > n - tail ? n : n - tail - len;
}

/*
 * Checking signatures is three quarters of the time that loading takes in an
 * emulated guest, and says nothing here: the initrd comes from where the kernel
 * comes from.  So they are left out, unless the kernel insists.
 */
static int
load_without_signature(int fd)
{
    struct stat st;
    void *p;
    int r;

    if (fstat(fd, &st) < 0 || st.st_size <= 0)
        return -EINVAL;
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    r = ag_sys_init_module(p, unsigned_size(p, (size_t)st.st_size), "") < 0 ? -errno : 0;
    munmap(p, (size_t)st.st_size);
    return r;
}

/* Compressed ones are unpacked by the kernel. */
static int
load_file(int dirfd, const char *path)
{
    mb_autofd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    const char *dot = strrchr(path, '.');
    bool compressed = dot && strcmp(dot, ".ko") != 0;
    int r;

    if (fd < 0)
        return -errno;
    r = compressed ? -EINVAL : load_without_signature(fd);
    if (r < 0 && r != -EEXIST)
        r = ag_sys_finit_module(fd, "", compressed ? MODULE_INIT_COMPRESSED_FILE : 0) < 0 ? -errno : 0;
    return r == -EEXIST ? 0 : r;
}

/* Whether a path ends in the module's file name; '-' and '_' are the same there. */
static bool
is_module(const char *path, size_t n, const char *name)
{
    size_t len = strlen(name), start = n;

    while (start > 0 && path[start - 1] != '/')
        start--;
    if (n - start < len + 3 || memcmp(path + start + len, ".ko", 3) != 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        char a = path[start + i], b = name[i];

        if ((a == '-' ? '_' : a) != (b == '-' ? '_' : b))
            return false;
    }
    return true;
}

static bool
is_optional(const char *file)
{
    for (size_t i = 0; i < MB_ARRAY_SIZE(optional); i++) {
        if (is_module(file, strlen(file), optional[i]))
            return true;
    }
    return false;
}

int
ag_module_load_list(int at, const char *dir, bool optional_ones, struct ag_error *e)
{
    mb_autofd int dirfd = openat(at, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mb_autofree char *list = NULL;
    char *save = NULL;
    int r;

    /* A kernel with everything built in comes without. */
    if (dirfd < 0 && errno == ENOENT)
        return 0;
    r = dirfd < 0 ? -errno : ag_read_file(dirfd, "load", LIST_MAX, &list);
    if (r < 0)
        return ag_fail(e, -r, dir, "The initrd's list of modules cannot be read");
    for (char *name = strtok_r(list, "\n", &save); name; name = strtok_r(NULL, "\n", &save)) {
        r = is_optional(name) == optional_ones ? load_file(dirfd, name) : 0;
        if (r < 0)
            return ag_fail(e, -r, name, "A kernel module of the initrd cannot be loaded");
    }
    return 0;
}

/* "a.ko: b.ko c.ko" gives c, b, a. */
static char **
split_reversed(const char *line, size_t n)
{
    size_t count = 1, i = 0, at;
    char **v;

    while (i < n)
        count += line[i++] == ' ';
    at = count;
    v = calloc(count + 1, sizeof(*v));
    for (i = 0; v && i < n;) {
        size_t k = 0;

        while (i + k < n && line[i + k] != ' ' && line[i + k] != ':')
            k++;
        if (k > 0) {
            v[--at] = strndup(line + i, k);
            if (!v[at]) {
                while (++at < count)
                    free(v[at]);
                free(v);
                return NULL;
            }
        }
        i += k + 1;
    }
    if (v && at > 0)
        memmove(v, v + at, (count + 1 - at) * sizeof(*v));
    return v;
}

int
ag_module_resolve(const char *modules_dep, const char *name, char ***out)
{
    const char *p = modules_dep;

    while (*p) {
        size_t n = strcspn(p, "\n"), path = strcspn(p, ":\n");

        if (path < n && is_module(p, path, name)) {
            *out = split_reversed(p, n);
            return *out ? 0 : -ENOMEM;
        }
        p += n + (p[n] == '\n');
    }
    return -ENOENT;
}

/* ---- by name, with everything that it needs ------------------------------------------ */

/* The module tree's own tables, read once. */
struct tree {
    int fd;
    char *dep, *alias, *softdep;
};

/* The next word of a line; its length, 0 at the end. */
static size_t
next_word(const char **p)
{
    *p += strspn(*p, " \t");
    return strcspn(*p, " \t\n");
}

static bool
same_name(const char *word, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        char a = word[i], b = name[i];

        if ((a == '-' ? '_' : a) != (b == '-' ? '_' : b))
            return false;
    }
    return name[n] == '\0';
}

/* "alias PATTERN MODULE": the first whose pattern is the name itself; the file system's and the algorithm's names
 * that matter here have no wildcards. */
static bool
find_alias(const char *table, const char *name, char module[MODULE_NAME_MAX])
{
    for (const char *p = table; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        const char *w = p;
        size_t n = next_word(&w);

        if (n != 5 || memcmp(w, "alias", 5) != 0)
            continue;
        w += n;
        n = next_word(&w);
        if (n == 0 || !same_name(w, n, name))
            continue;
        w += n;
        n = next_word(&w);
        if (n > 0 && n < MODULE_NAME_MAX) {
            snprintf(module, MODULE_NAME_MAX, "%.*s", (int)n, w);
            return true;
        }
    }
    return false;
}

static int load_tree(const struct tree *t, const char *name, unsigned depth);

/* "softdep MODULE pre: A B post: C". What does not exist is passed over, as modprobe does. */
static void
load_soft(const struct tree *t, const char *name, unsigned depth)
{
    for (const char *p = t->softdep; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        const char *w = p;
        size_t n = next_word(&w);
        bool pre = false;

        if (n != 7 || memcmp(w, "softdep", 7) != 0)
            continue;
        w += n;
        n = next_word(&w);
        if (!same_name(w, n, name))
            continue;
        for (w += n; (n = next_word(&w)) > 0; w += n) {
            char soft[MODULE_NAME_MAX];

            if (w[n - 1] == ':')
                pre = n == 4 && memcmp(w, "pre", 3) == 0;
            else if (pre && (size_t)snprintf(soft, sizeof(soft), "%.*s", (int)n, w) < sizeof(soft))
                (void)!load_tree(t, soft, depth + 1);
        }
    }
}

/* The module name of a path of modules.dep. */
static void
name_of(const char *path, char name[MODULE_NAME_MAX])
{
    const char *base = strrchr(path, '/');

    snprintf(name, MODULE_NAME_MAX, "%s", base ? base + 1 : path);
    name[strcspn(name, ".")] = '\0';
}

static int
load_tree(const struct tree *t, const char *name, unsigned depth)
{
    char module[MODULE_NAME_MAX], **files = NULL;
    int r = ag_module_resolve(t->dep, name, &files);

    if (r == -ENOENT && find_alias(t->alias, name, module))
        r = ag_module_resolve(t->dep, module, &files);
    for (char **f = files; r == 0 && *f; f++) {
        name_of(*f, module);
        if (depth < SOFTDEP_DEPTH_MAX)
            load_soft(t, module, depth);
        r = load_file(t->fd, *f);
    }
    mp_strv_free(files);
    return r;
}

/* A table that a kernel may do without. */
static int
read_table(int fd, const char *name, char **text)
{
    int r = ag_read_file(fd, name, DEP_MAX, text);

    if (r != -ENOENT)
        return r;
    *text = calloc(1, 1);
    return *text ? 0 : -ENOMEM;
}

int
ag_module_probe(int tree_fd, const char *name)
{
    struct tree t = { .fd = tree_fd };
    int r = ag_read_file(tree_fd, "modules.dep", DEP_MAX, &t.dep);

    if (r == 0)
        r = read_table(tree_fd, "modules.alias", &t.alias);
    if (r == 0)
        r = read_table(tree_fd, "modules.softdep", &t.softdep);
    if (r == 0)
        r = load_tree(&t, name, 0);
    free(t.dep);
    free(t.alias);
    free(t.softdep);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel modules: those of the initrd in the order of its list, and later ones
 * by name from the modules image with modules.dep telling what they need.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/module.h>
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

int
ag_module_probe(int tree_fd, const char *name)
{
    mb_autofree char *dep = NULL;
    char **files = NULL;
    int r = ag_read_file(tree_fd, "modules.dep", DEP_MAX, &dep);

    if (r == 0)
        r = ag_module_resolve(dep, name, &files);
    for (char **f = files; r == 0 && *f; f++)
        r = load_file(tree_fd, *f);
    mp_strv_free(files);
    return r;
}

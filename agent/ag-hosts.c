/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /etc/hosts.  The image's own lines stay as they are; ours stand at the end
 * between two marks and are replaced on every boot, so nothing piles up.  The
 * file is rewritten in place and never shortened before the image's lines: a
 * crash cannot lose them.  Where it must not or cannot be written, a copy in
 * /run is bound over it.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ag-sys.h"
#include "ag.h"
#include "mb-cleanup.h"

#define HOSTS "/etc/hosts"
#define HOSTS_MAX (4u * 1024 * 1024)
#define BEGIN "# Added by msb; replaced at every start.\n"
#define END "# End of what msb added.\n"
#define STANDARD \
    "127.0.0.1\tlocalhost\n" \
    "::1\tlocalhost ip6-localhost ip6-loopback\n"

static bool
is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* The bytes, and a newline if the last line lacks it. */
static void
put_lines(FILE *f, const char *text, size_t n)
{
    fwrite(text, 1, n, f);
    if (n > 0 && text[n - 1] != '\n')
        fputc('\n', f);
}

char *
ag_hosts_edit(const char *old, const char *hostname, char *const *lines)
{
    const char *begin = strstr(old, BEGIN);
    const char *end = begin ? strstr(begin, END) : NULL;
    const char *rest = !begin ? "" : end ? end + strlen(END) : begin + strlen(BEGIN);
    size_t keep = begin ? (size_t)(begin - old) : strlen(old);
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    if (!f)
        return NULL;
    if (is_blank(old))
        keep = 0;
    put_lines(f, old, keep);
    put_lines(f, rest, strlen(rest));
    fputs(BEGIN, f);
    if (keep == 0 && is_blank(rest))
        fputs(STANDARD, f);
    if (hostname && hostname[0])
        fprintf(f, "127.0.1.1\t%s\n", hostname);
    for (char *const *l = lines; l && *l; l++)
        fprintf(f, "%s\n", *l);
    fputs(END, f);
    if (ferror(f)) {
        fclose(f);
        free(text);
        return NULL;
    }
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* Open what an O_PATH descriptor stands for. */
static int
reopen(int path_fd, int flags)
{
    char path[40];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
    fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

static int
rewrite(int path_fd, const char *text)
{
    mb_autofd int fd = reopen(path_fd, O_WRONLY);
    int r = fd < 0 ? fd : ag_write_all(fd, text, strlen(text));

    return r == 0 && ftruncate(fd, (off_t)strlen(text)) < 0 ? -errno : r;
}

/* Put a file with this text into /run/msb and bind it over the other. */
static int
bind_over(int root_fd, int path_fd, const char *text)
{
    mb_autofd int dir = ag_path_open(root_fd, "/run/msb", AG_PATH_MAKE_DIR);
    mb_autofd int fd = -1;
    mb_autofd int tree = -1;
    int r;

    if (dir < 0)
        return dir;
    fd = openat(dir, "hosts", O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
    r = fd < 0 ? -errno : ag_write_all(fd, text, strlen(text));
    if (r < 0)
        return r;
    tree = ag_sys_open_tree(dir, "hosts", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    return tree < 0 ? -errno : ag_mount_attach(tree, path_fd);
}

int
ag_hosts_update(int root_fd, const char *hostname, char *const *lines, bool read_only)
{
    mb_autofd int at = ag_path_open(root_fd, HOSTS, read_only ? 0 : AG_PATH_MAKE_DIR | AG_PATH_MAKE_FILE);
    mb_autofree char *old = NULL;
    mb_autofree char *text = NULL;
    char path[40];
    struct stat st;
    int r;

    if (at < 0)
        return at;
    if (fstat(at, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", at);
    r = ag_read_file(AT_FDCWD, path, HOSTS_MAX, &old);
    if (r < 0)
        return r;
    text = ag_hosts_edit(old, hostname, lines);
    if (!text)
        return -ENOMEM;
    if (strcmp(text, old) == 0)
        return 0;
    r = read_only ? -EROFS : rewrite(at, text);
    return r == -EROFS || r == -EPERM || r == -EACCES ? bind_over(root_fd, at, text) : r;
}

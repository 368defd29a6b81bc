/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz-fs-share.h"
#include "mb-cleanup.h"

#define SECRET_SIZE 16

struct fuzz_fs_paths fuzz_fs_paths;
static uint8_t secret_text[SECRET_SIZE];

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static bool denied;

static int
open_up(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if ((type == FTW_D || type == FTW_DNR) && chmod(path, 0700) == 0 && type == FTW_DNR)
        denied = true;
    return 0;
}

/* Also directories that the guest has closed to an ordinary user who runs this. */
static void
remove_tree(const char *path)
{
    do {
        denied = false;
        if (geteuid() != 0)
            nftw(path, open_up, 16, FTW_PHYS);
    } while (denied);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
remove_top(void)
{
    remove_tree(fuzz_fs_paths.top);
}

void
fuzz_fs_put_file(const char *path, const void *data, size_t n)
{
    mb_autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, data, n) != (ssize_t)n)
        abort();
}

/* Compared byte by byte: a fuzzer learns what memcmp() is given, and writes it itself. */
static bool
is_secret(const uint8_t *p)
{
    unsigned same = 0;

    for (unsigned i = 0; i < SECRET_SIZE; i++)
        same += p[i] == secret_text[i];
    return same == SECRET_SIZE;
}

void
fuzz_fs_set_up(void)
{
    struct rlimit limit = {16u << 20, 16u << 20};
    const char *base = getenv("TMPDIR");

    /* A guest may ask for files of any size. */
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_IGN);
    snprintf(fuzz_fs_paths.top, sizeof(fuzz_fs_paths.top), "%.40s/fuzz-fs.XXXXXX",
             base && *base == '/' ? base : "/tmp");
    if (!mkdtemp(fuzz_fs_paths.top))
        abort();
    atexit(remove_top);
    snprintf(fuzz_fs_paths.share, sizeof(fuzz_fs_paths.share), "%s/share", fuzz_fs_paths.top);
    snprintf(fuzz_fs_paths.file, sizeof(fuzz_fs_paths.file), "%s/a", fuzz_fs_paths.share);
    snprintf(fuzz_fs_paths.accounts, sizeof(fuzz_fs_paths.accounts), "%s/accounts", fuzz_fs_paths.top);
    snprintf(fuzz_fs_paths.secret, sizeof(fuzz_fs_paths.secret), "%s/secret", fuzz_fs_paths.top);
    if (getrandom(secret_text, sizeof(secret_text), 0) != sizeof(secret_text))
        abort();
    fuzz_fs_put_file(fuzz_fs_paths.secret, secret_text, sizeof(secret_text));
}

/* The directory above the share has what was in it before, and the secret is the same. */
static void
check_outside(void)
{
    mb_autofd int fd = open(fuzz_fs_paths.secret, O_RDONLY | O_CLOEXEC);
    uint8_t text[SECRET_SIZE + 1];
    struct dirent *e;
    DIR *d = opendir(fuzz_fs_paths.top);

    if (!d || fd < 0 || read(fd, text, sizeof(text)) != SECRET_SIZE || !is_secret(text))
        abort();
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, "share") != 0 &&
            strcmp(e->d_name, "accounts") != 0 && strcmp(e->d_name, "secret") != 0)
            abort();
    }
    closedir(d);
}

void
fuzz_fs_no_secret(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i + SECRET_SIZE <= len; i++) {
        if (data[i] == secret_text[0] && is_secret(data + i))
            abort();
    }
}

void
fuzz_fs_make_share(bool accounts)
{
    if (mkdir(fuzz_fs_paths.share, 0700) < 0 || (accounts && mkdir(fuzz_fs_paths.accounts, 0700) < 0))
        abort();
}

void
fuzz_fs_remove_share(void)
{
    remove_tree(fuzz_fs_paths.share);
    remove_tree(fuzz_fs_paths.accounts);
    check_outside();
}

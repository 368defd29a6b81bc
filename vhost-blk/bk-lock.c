/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's scheme: open file description locks, all of them shared, on single
 * bytes.  Byte 100+i says "I use permission i", byte 200+i says "I do not let
 * others use permission i".  After setting its own, a process looks whether
 * anybody denies what it uses or uses what it denies; the one that comes
 * second sees the conflict and lets go.  Permissions: 0 consistent read,
 * 1 write, 2 write unchanged, 3 resize.
 *
 * We use 0, and 1 when writable; we deny 1 and 3.  Two writers therefore
 * collide, so do a reader and a writer, and readers do not.
 *
 * The kernel does not tell the owner of such a lock (F_OFD_GETLK and
 * /proc/locks say -1), but /proc/PID/fdinfo/N lists the locks held through that
 * descriptor; so the holder is looked up there among the processes we may see.
 */
#include <config.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"

#include "bk-lock.h"

#define USES_BASE 100
#define DENIES_BASE 200
#define PERM_READ 0x1u
#define PERM_WRITE 0x2u
#define PERM_RESIZE 0x8u
#define N_PERMS 4u

static int
set_lock(int fd, off_t byte, short type)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* 1 if somebody else has the byte locked, 0 if not, -errno. */
static int
test_lock(int fd, off_t byte)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    if (fcntl(fd, F_OFD_GETLK, &fl) < 0)
        return -errno;
    return fl.l_type != F_UNLCK;
}

static int
set_mask(int fd, off_t base, unsigned mask)
{
    for (unsigned i = 0; i < N_PERMS; i++) {
        int rc = mask & 1u << i ? set_lock(fd, base + i, F_RDLCK) : 0;

        if (rc < 0)
            return rc;
    }
    return 0;
}

/* 1 on a conflict with a byte of the mask. */
static int
test_mask(int fd, off_t base, unsigned mask)
{
    for (unsigned i = 0; i < N_PERMS; i++) {
        int rc = mask & 1u << i ? test_lock(fd, base + i) : 0;

        if (rc != 0)
            return rc;
    }
    return 0;
}

static void
unlock_all(int fd)
{
    for (unsigned i = 0; i < N_PERMS; i++) {
        set_lock(fd, USES_BASE + i, F_UNLCK);
        set_lock(fd, DENIES_BASE + i, F_UNLCK);
    }
}

/* Does /proc/PID/fdinfo/N list a lock on the inode?  The lines are
 * "lock:  1: OFDLCK  ADVISORY  READ -1 MAJ:MIN:INO START END", MAJ and MIN in hex. */
static bool
fdinfo_has_lock(int dirfd, const char *name, ino_t ino)
{
    mb_autofile FILE *f = NULL;
    char line[256];
    char want[40];
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    f = fdopen(fd, "re");
    if (!f) {
        mb_close(fd);
        return false;
    }
    snprintf(want, sizeof(want), ":%ju ", (uintmax_t)ino);
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, "lock:", 5) == 0 && strstr(line, want))
            return true;
    }
    return false;
}

static bool
process_has_lock(const char *pid, ino_t ino)
{
    mb_autodir DIR *dir = NULL;
    char path[64];
    struct dirent *de;

    snprintf(path, sizeof(path), "/proc/%.20s/fdinfo", pid);
    dir = opendir(path);
    if (!dir)
        return false;
    while ((de = readdir(dir))) {
        if (isdigit((unsigned char)de->d_name[0]) && fdinfo_has_lock(dirfd(dir), de->d_name, ino))
            return true;
    }
    return false;
}

/* Who serves whom: the socket that a back-end of this kind was started with, " on PATH", or nothing. */
static void
describe_socket(const char *pid, char *text, size_t size)
{
    static const char option[] = "--socket-path=";
    mb_autofile FILE *f = NULL;
    char path[64];
    char args[4096];
    size_t n;

    text[0] = '\0';
    snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
    f = fopen(path, "re");
    n = f ? fread(args, 1, sizeof(args) - 1, f) : 0;
    args[n] = '\0';
    for (size_t i = 0; i < n; i += strlen(args + i) + 1) {
        if (strncmp(args + i, option, sizeof(option) - 1) == 0)
            snprintf(text, size, " on %.150s", args + i + sizeof(option) - 1);
    }
}

/* "process 123 (msb-vhost-blk on /run/disk.sock)" of whoever else holds a lock on the inode. */
static bool
find_holder(int fd, char *text, size_t size)
{
    mb_autodir DIR *proc = opendir("/proc");
    struct stat st;
    struct dirent *de;

    if (!proc || fstat(fd, &st) < 0)
        return false;
    while ((de = readdir(proc))) {
        mb_autofile FILE *f = NULL;
        char path[64];
        char comm[32] = "";
        char socket[160];

        if (!isdigit((unsigned char)de->d_name[0]) || !process_has_lock(de->d_name, st.st_ino))
            continue;
        snprintf(path, sizeof(path), "/proc/%.20s/comm", de->d_name);
        f = fopen(path, "re");
        if (f && fgets(comm, sizeof(comm), f))
            comm[strcspn(comm, "\n")] = '\0';
        describe_socket(de->d_name, socket, sizeof(socket));
        snprintf(text, size, "process %.20s (%s%s)", de->d_name, comm, socket);
        return true;
    }
    return false;
}

int
bk_lock_file(int fd, const char *path, bool writable, struct bk_err *err)
{
    unsigned uses = PERM_READ | (writable ? PERM_WRITE : 0);
    unsigned denies = PERM_WRITE | PERM_RESIZE;
    char holder[256];
    int rc;

    rc = set_mask(fd, USES_BASE, uses);
    if (rc == 0)
        rc = set_mask(fd, DENIES_BASE, denies);
    if (rc == 0)
        rc = test_mask(fd, DENIES_BASE, uses);
    if (rc == 0)
        rc = test_mask(fd, USES_BASE, denies);
    if (rc == 0)
        return 0;
    if (rc == -ENOLCK || rc == -EINVAL || rc == -EOPNOTSUPP || rc == -ENOSYS)
        return 0;
    unlock_all(fd);
    if (rc < 0 && rc != -EAGAIN && rc != -EACCES)
        return bk_fail(err, rc, "cannot lock \"%s\": %s", path, strerror(-rc));
    if (!find_holder(fd, holder, sizeof(holder)))
        snprintf(holder, sizeof(holder), "another process");
    return bk_fail(err, -EAGAIN, "\"%s\" is in use by %s: cannot open it for %s", path, holder,
                   writable ? "writing" : "reading while it is written");
}

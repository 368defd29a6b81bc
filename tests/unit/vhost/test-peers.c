/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The front-end of these tests against back-ends that others wrote, so that it
 * does not only agree with ourselves: qemu-storage-daemon's vhost-user-blk and
 * QEMU's virtiofsd.  Skipped where they are not installed.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "tap.h"
#include "vu-blk.h"
#include "vu-fs.h"

#define STORAGE_DAEMON "/usr/bin/qemu-storage-daemon"
#define VIRTIOFSD "/usr/lib/qemu/virtiofsd"
#define DISK_SIZE (8u << 20)

static char dir[] = "/tmp/msb-test-XXXXXX";

static pid_t
spawn_quietly(const char *const *argv)
{
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ) != 0)
        pid = -1;
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void
test_storage_daemon(void)
{
    char blockdev[256], export[256], sock[64], disk[64];
    const char *const argv[] = {STORAGE_DAEMON, "--blockdev", blockdev, "--export", export, NULL};
    struct vu_options o = {.socket_path = sock};
    mb_autofree char *a = malloc(1 << 20), *b = malloc(1 << 20);
    char id[VIRTIO_BLK_ID_BYTES + 1] = "";
    struct vu_blk blk;
    mb_autofd int fd = -1;
    pid_t pid;

    if (access(STORAGE_DAEMON, X_OK) < 0) {
        tap_skip("qemu-storage-daemon", "not installed");
        return;
    }
    snprintf(disk, sizeof(disk), "%s/disk", dir);
    snprintf(sock, sizeof(sock), "%s/blk.sock", dir);
    snprintf(blockdev, sizeof(blockdev), "driver=file,node-name=f,filename=%s", disk);
    snprintf(export, sizeof(export),
             "type=vhost-user-blk,id=e,node-name=f,addr.type=unix,addr.path=%s,writable=on", sock);
    fd = open(disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (!a || !b || fd < 0 || ftruncate(fd, DISK_SIZE) < 0)
        return;
    pid = spawn_quietly(argv);
    if (ok(vu_blk_open(&blk, &o) == 0, "qemu-storage-daemon is reached")) {
        eq_int(vu_blk_size(&blk), DISK_SIZE, "  it tells the disk's size");
        memset(a, 'm', 1 << 20);
        eq_int(vu_blk_write(&blk, 4096, a, 1 << 20), 0, "  writing");
        eq_int(vu_blk_flush(&blk), 0, "  flushing");
        eq_int(vu_blk_read(&blk, 4096, b, 1 << 20), 0, "  reading");
        ok(memcmp(a, b, 1 << 20) == 0, "  the same");
        ok(pread(fd, b, 512, 4096) == 512 && memcmp(a, b, 512) == 0, "  it is in the file");
        eq_int(vu_blk_read(&blk, DISK_SIZE, b, 512), -EIO, "  reading past the end fails");
        eq_int(vu_blk_write_zeroes(&blk, 4096, 65536, true), 0, "  writing zeroes");
        eq_int(vu_blk_get_id(&blk, id), 0, "  its name");
        vu_blk_close(&blk);
    }
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    unlink(disk);
    unlink(sock);
}

/* virtiofsd names it after the socket, and leaves it behind. */
static void
remove_pid_file(const char *sock)
{
    char path[128];
    int prefix = snprintf(path, sizeof(path), "/run/virtiofsd/"), i;

    snprintf(path + prefix, sizeof(path) - (size_t)prefix, "%s.pid", sock);
    for (i = prefix; path[i]; i++) {
        if (path[i] == '/')
            path[i] = '.';
    }
    unlink(path);
}

static void
test_virtiofsd(void)
{
    char source[128], sock[64], option[96], shared[64], path[96];
    const char *const argv[] = {VIRTIOFSD, "-f", option, "-o", source, NULL};
    struct vu_options o = {.socket_path = sock, .queues = 2};
    struct fuse_entry_out entry;
    struct fuse_attr_out attr;
    struct vu_fs fs;
    uint64_t fh = 0;
    char buf[64] = "";
    pid_t pid;

    if (access(VIRTIOFSD, X_OK) < 0 || geteuid() != 0) {
        tap_skip("virtiofsd", "not installed, or not run by root");
        return;
    }
    snprintf(sock, sizeof(sock), "%s/fs.sock", dir);
    snprintf(option, sizeof(option), "--socket-path=%s", sock);
    snprintf(shared, sizeof(shared), "%s/shared", dir);
    snprintf(source, sizeof(source), "source=%s,sandbox=chroot,no_posix_lock", shared);
    snprintf(path, sizeof(path), "%s/file", shared);
    mkdir(shared, 0755);
    pid = spawn_quietly(argv);
    if (ok(vu_fs_open(&fs, &o, 0) == 0, "virtiofsd is reached")) {
        eq_int(vu_fs_create(&fs, FUSE_ROOT_ID, "file", O_RDWR, S_IFREG | 0644, &entry, &fh), 0,
               "  creating a file");
        eq_int(vu_fs_write(&fs, entry.nodeid, fh, 0, "contents", 8), 8, "  writing");
        eq_int(vu_fs_read(&fs, entry.nodeid, fh, 3, buf, 60), 5, "  reading");
        eq_str(buf, "tents", "  what was written");
        ok(vu_fs_getattr(&fs, entry.nodeid, &attr) == 0 && attr.attr.size == 8, "  its size");
        eq_int(vu_fs_release(&fs, entry.nodeid, fh), 0, "  closing");
        eq_int(vu_fs_lookup(&fs, FUSE_ROOT_ID, "none", &entry), -ENOENT, "  looking up what is not there");
        eq_int(access(path, R_OK), 0, "  it is on the host");
        eq_int(vu_fs_unlink(&fs, FUSE_ROOT_ID, "file"), 0, "  removing");
        eq_int(vu_fs_forget(&fs, entry.nodeid, 1), 0, "  forgetting");
        vu_fs_close(&fs);
    }
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    unlink(path);
    rmdir(shared);
    unlink(sock);
    remove_pid_file(sock);
}

int
main(void)
{
    if (!mkdtemp(dir))
        return 1;
    test_storage_daemon();
    test_virtiofsd();
    rmdir(dir);
    return tap_done();
}

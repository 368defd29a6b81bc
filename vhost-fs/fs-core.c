/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening a share, see fs-core.h.
 */
#include <config.h>

#include "fs-core.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs-inode-priv.h"
#include "fs-path.h"
#include "fs-req.h"
#include "mb-cleanup.h"

/* Descriptors left to the rest of the process. */
#define RESERVED_FDS 256u
#define LEAST_FDS 64u

#define XFS_MAGIC 0x58465342

int
fs_fail(char *err, int error, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(err, FS_ERR_MAX, fmt, ap);
    va_end(ap);
    if (n >= 0 && n < FS_ERR_MAX)
        snprintf(err + n, FS_ERR_MAX - (size_t)n, ": %s", strerror(-error));
    return error;
}

/* ---- limits -------------------------------------------------------------------------------------- */

/* Raise the soft limit on descriptors, and give a third each to nodes and to open files; the
 * last is for lock owners, directories that are being read, and the process. */
static uint32_t
choose_max_fds(const struct fs_config *config)
{
    struct rlimit limit;
    uint64_t n;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return LEAST_FDS;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t hard = limit.rlim_max;

        limit.rlim_cur = hard;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            (void)!getrlimit(RLIMIT_NOFILE, &limit);
    }
    n = limit.rlim_cur > RESERVED_FDS ? (limit.rlim_cur - RESERVED_FDS) / 3 : 0;
    n = MB_MAX(n, (uint64_t)LEAST_FDS);
    n = MB_MIN(n, (uint64_t)FS_MAX_FDS);
    if (config->max_fds)
        n = MB_MIN(n, (uint64_t)config->max_fds);
    return (uint32_t)n;
}

/* Filesystems of which it is known that setting an xattr changes ctime. */
static bool
ctime_is_witness(int fd)
{
    struct statfs st;

    if (fstatfs(fd, &st) < 0)
        return false;
    switch ((uint32_t)st.f_type) {
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case XFS_MAGIC:
        return true;
    default:
        return false;
    }
}

/* ---- the share ------------------------------------------------------------------------------------ */

/* A share of one file is its directory, with everything else in it hidden. */
static int
open_single(struct fs *fs, const char *path, int *fd, char *err)
{
    mb_autofree char *copy = strdup(path);
    struct statx stx;
    char *slash;
    int r;

    if (!copy)
        return fs_fail(err, -ENOMEM, "share '%s'", path);
    slash = strrchr(copy, '/');
    fs->single = strdup(slash ? slash + 1 : copy);
    if (!fs->single)
        return fs_fail(err, -ENOMEM, "share '%s'", path);
    r = fs_name_check(fs->single, strlen(fs->single));
    if (r < 0)
        return fs_fail(err, r, "share '%s'", path);
    if (slash)
        slash[slash == copy ? 1 : 0] = 0;
    r = fs_path_open_root(slash ? copy : ".", fs->config.follow_root_symlinks, fd);
    if (r == 0)
        r = fs_path_stat(*fd, fs->single, &stx);
    if (r == 0 && !S_ISREG(stx.stx_mode))
        r = S_ISLNK(stx.stx_mode) ? -ELOOP : S_ISDIR(stx.stx_mode) ? -EISDIR : -EINVAL;
    if (r == 0 && fs_path_is_proc(*fd))
        r = -EPERM;
    return r < 0 ? fs_fail(err, r, "share the file '%s'", path) : 0;
}

static int
open_share(struct fs *fs, const struct fs_config *config, int *fd, char *err)
{
    struct stat st;
    int r;

    if (config->shared_file)
        return open_single(fs, config->shared_file, fd, err);
    r = fs_path_open_root(config->shared_dir, config->follow_root_symlinks, fd);
    if (r == -ELOOP)
        return fs_fail(err, r, "share '%s': a part of this path is a symbolic link", config->shared_dir);
    if (r == 0 && fstat(*fd, &st) == 0 && !S_ISDIR(st.st_mode))
        r = -ENOTDIR;
    if (r == 0 && fs_path_is_proc(*fd))
        return fs_fail(err, -EPERM, "share '%s': what is in it are processes, not files", config->shared_dir);
    return r < 0 ? fs_fail(err, r, "share '%s'", config->shared_dir) : 0;
}

/* strict: the attribute must work where the guest will need it. */
static int
check_identity(struct fs *fs, int root_fd, const char *path, char *err)
{
    fs_auto_fd struct fs_fd file = FS_FD_NONE;
    struct fs_fd root = {.fd = root_fd};
    int r;

    if (fs->config.stat_virt != FS_STAT_STRICT)
        return 0;
    if (fs->single) {
        file.fd = fs_path_open(fs, root_fd, fs->single);
        r = file.fd < 0 ? file.fd : fs_ident_probe(fs, &file);
    } else {
        r = fs_ident_probe(fs, &root);
    }
    return r < 0 ? fs_fail(err, r, "share '%s': its filesystem does not take the extended attribute "
                                "that stat-virt=strict needs", path) : 0;
}

static int
make_root(struct fs *fs, int root_fd)
{
    struct fs_fd fd;
    struct statx stx;
    int r = fs_path_stat_fd(root_fd, &stx);

    if (r == 0) {
        fs->root_mnt = fs_statx_mnt(&stx);
        fs->root = fs_node_make(fs, &stx, NULL, NULL);
        r = fs->root ? 0 : -errno;
    }
    if (r < 0) {
        close(root_fd);
        return r;
    }
    fs_node_adopt_fd(fs, fs->root, root_fd, &fd);
    /* In use for ever: never evicted. */
    return 0;
}

static int
fs_open(struct fs *fs, const struct fs_config *config, char *err)
{
    const char *path = config->shared_file ? config->shared_file : config->shared_dir;
    mb_autofd int root_fd = -1;
    uint32_t max_fds = choose_max_fds(config);
    int r;

    r = open_share(fs, config, &root_fd, err);
    if (r < 0)
        return r;
    fs->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fs->proc_fd < 0 || fchdir(fs->proc_fd) < 0)
        return fs_fail(err, -errno, "open '/proc/self/fd'");
    fs->sync_fd = fs_path_open_dir(root_fd, config->read_only);
    if (fs->sync_fd < 0)
        return fs_fail(err, fs->sync_fd, "open '%s'", path);
    r = check_identity(fs, root_fd, path, err);
    if (r < 0)
        return r;
    /* The file of that name may be another one with every request. */
    fs->ident_cache = !fs->single && ctime_is_witness(root_fd);
    r = fs_nodes_init(&fs->nodes, config->max_nodes ? config->max_nodes : FS_MAX_NODES, max_fds);
    if (r == 0)
        r = fs_handles_init(&fs->handles, max_fds);
    if (r == 0)
        r = fs_locks_init(&fs->locks, max_fds / 2);
    if (r == 0)
        r = make_root(fs, mb_steal_fd(&root_fd));
    if (r == 0 && fs->single) {
        fs->single_node = fs_node_make_single(fs);
        r = fs->single_node ? 0 : -errno;
    }
    if (r < 0)
        return fs_fail(err, r, "share '%s'", path);
    /* What cannot change takes no part. */
    return config->read_only ? 0 : fs_quota_open(fs, &config->quota, fs->sync_fd, &fs->quota, err);
}

int
fs_new(const struct fs_config *config, struct fs **ret, char *err)
{
    struct fs *fs = calloc(1, sizeof(*fs));
    int r;

    if (!fs)
        return fs_fail(err, -ENOMEM, "share");
    fs->config = *config;
    fs->config.shared_dir = NULL;
    fs->config.shared_file = NULL;
    fs->config.quota.dir = NULL;
    fs->proc_fd = -1;
    fs->sync_fd = -1;
    fs->euid = geteuid();
    fs->openat2 = !config->no_openat2 && fs_path_probe_openat2();
    umask(0);
    /* A file that grows beyond RLIMIT_FSIZE is an error for the guest, not our end. */
    signal(SIGXFSZ, SIG_IGN);
    r = fs_open(fs, config, err);
    if (r < 0) {
        fs_free(fs);
        return r;
    }
    *ret = fs;
    return 0;
}

void
fs_forget_guest(struct fs *fs)
{
    atomic_store(&fs->init_flags, 0);
    fs_handles_release_all(fs);
    fs_node_forget_all(fs);
}

void
fs_reset(struct fs *fs)
{
    fs_req_cancel_all(fs);
    fs_forget_guest(fs);
}

void
fs_free(struct fs *fs)
{
    if (!fs)
        return;
    if (fs->root)
        fs_reset(fs);
    fs_handles_destroy(fs);
    fs_nodes_destroy(fs);
    fs_locks_destroy(&fs->locks);
    fs_quota_close(fs->quota);
    mb_close(fs->proc_fd);
    mb_close(fs->sync_fd);
    free(fs->single);
    free(fs);
}
